//! Gates that fall silent, and what becomes of their sessions, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::api::*;
use kavadam_access::sweep::Round;
use kavadam_domain::session::terminate_cause;
use kavadam_domain::{EntitlementId, Language, Reason};
use kavadam_store::{NewSession, OrderKind};
use lab::{Database, Lab, MAC, MB, cases, granted, plan, refused};

cases! {
    a_session_that_fell_silent_ends_with_its_octets_and_gives_its_lease_back,
    nobody_is_taken_for_ended_before_the_gates_had_time_to_be_heard,
    of_very_many_sessions_a_sweep_ends_some_and_the_next_goes_on,
    a_grant_that_was_never_begun_ends_soon_and_a_late_start_brings_it_back,
    a_report_reopens_a_session_taken_for_ended_and_its_lease_is_promised_again,
    a_renewal_reopens_a_session_taken_for_ended,
    what_was_given_to_others_meanwhile_becomes_debt,
    a_copy_of_an_old_report_is_no_sign_of_life,
    a_report_that_no_line_carries_is_a_sign_of_life,
    a_block_reaches_a_session_taken_for_ended_once_it_is_heard_of,
    a_block_reaches_a_session_taken_for_ended_that_asks_again,
    an_end_that_was_ordered_is_not_forgotten_in_the_silence,
    an_end_that_was_ordered_is_forgotten_once_its_session_was_silent_for_a_day,
    an_end_that_is_under_way_when_silence_is_presumed_is_ordered_again,
    a_newer_session_in_its_place_keeps_the_old_one_ended,
    a_stop_replaces_the_presumed_end_and_the_first_true_cause_stands,
    a_session_that_a_clock_ahead_heard_of_is_silent_from_now_on,
    a_restart_ends_what_a_clock_ahead_has_granted,
    a_gate_that_is_retired_leaves_nothing_that_a_clock_ahead_has_granted,
    counters_begin_anew_though_a_clock_ahead_took_the_report_before,
    the_next_report_of_what_a_clock_ahead_took_for_ended_is_news,
    a_renewal_takes_back_what_a_clock_ahead_has_noted,
}

const LONG: Duration = Duration::from_mins(16);

async fn online(database: Database) -> Lab {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", MB, 60).await;
    lab
}

/// One session of 1 MB, taken for ended.
async fn swept(database: Database) -> Lab {
    let mut lab = online(database).await;
    lab.pass(LONG);
    assert_eq!(lab.sweep().await, 1);
    assert_eq!(lab.used_and_promised().await, (MB, 0));
    lab
}

async fn orders(lab: &Lab) -> Vec<OrderAction> {
    let orders = lab.orders().await;
    orders.into_iter().map(|order| order.action).collect()
}

async fn a_session_that_fell_silent_ends_with_its_octets_and_gives_its_lease_back(database: Database) {
    let mut lab = online(database).await;
    lab.pass(Duration::from_secs(15 * 60 - 1));
    assert_eq!(lab.sweep().await, 0, "not yet");
    lab.pass(Duration::from_secs(2));
    assert_eq!(lab.sweep().await, 1);
    assert_eq!(lab.sweep().await, 0, "once");
    let grant = granted(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await);
    assert_eq!(grant.limits.remaining_octets, Some(39 * MB));
    assert_eq!(
        lab.report(AccountingKind::Stop(1), "s1", 3 * MB, 200).await,
        Accounted::Charged(2 * MB),
        "late, yet charged"
    );
}

async fn nobody_is_taken_for_ended_before_the_gates_had_time_to_be_heard(database: Database) {
    let mut lab = online(database).await;
    lab.pass(Duration::from_hours(1));
    lab.up_since = lab.now - Duration::from_secs(10);
    assert_eq!(lab.sweep().await, 0, "the service was away, not the gate");
    lab.pass(Duration::from_mins(14));
    assert_eq!(lab.sweep().await, 0);
    lab.pass(Duration::from_mins(1));
    assert_eq!(lab.sweep().await, 1);
}

/// Sessions of as many people, heard of now.
async fn crowd(lab: &Lab, people: std::ops::Range<u32>) {
    let mut tx = lab.store.write().await.unwrap();
    for person in people {
        let number = format!("+9198{person:08}").parse().unwrap();
        let alias = format!("crowd-{person}");
        let subscriber = tx
            .ensure_subscriber(&number, &alias, Language::En, lab.now)
            .await
            .unwrap();
        let new = NewSession {
            nonce: [0; 8],
            subscriber_id: subscriber.id,
            entitlement_id: EntitlementId(1),
            lease_id: None,
            nas_id: lab.nas,
            site_id: lab.site,
            acct_session_id: Some(format!("crowd-{person}")),
            mac: None,
            ip: None,
            is_renewable: false,
            is_throttled: false,
            granted_at: lab.now,
            ends_at: None,
            granted_octets: 0,
        };
        tx.add_session(&new).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn of_very_many_sessions_a_sweep_ends_some_and_the_next_goes_on(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    let mut round = Round::default();
    let born = lab.now;
    crowd(&lab, 3_000..4_050).await;
    lab.pass(Duration::from_secs(121));
    crowd(&lab, 0..10).await;
    let sweep = async |round: &mut Round| lab.access.sweep(round, born, lab.now).await.unwrap();
    assert_eq!(sweep(&mut round).await, 1_000, "as many as are ended in one go");
    assert_eq!(sweep(&mut round).await, 51, "the rest");
    assert_eq!(sweep(&mut round).await, 0, "who was heard of stays");
    let mut tx = lab.store.read().await.unwrap();
    assert_eq!(tx.live_sessions_at(lab.nas).await.unwrap().len(), 10);
}

async fn a_grant_that_was_never_begun_ends_soon_and_a_late_start_brings_it_back(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_secs(121));
    assert_eq!(lab.sweep().await, 1);
    assert_eq!(lab.used_and_promised().await, (0, 0));
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    assert_eq!(lab.session(MAC).await.state, "open");
    assert_eq!(lab.used_and_promised().await, (0, 10 * MB));
}

async fn a_report_reopens_a_session_taken_for_ended_and_its_lease_is_promised_again(database: Database) {
    let lab = swept(database).await;
    let charged = lab.report(AccountingKind::Interim, "s1", 3 * MB, 900).await;
    assert_eq!(charged, Accounted::Charged(2 * MB));
    let session = lab.session(MAC).await;
    assert_eq!(
        (session.state, session.ended_at, session.terminate_cause),
        ("open", None, None)
    );
    assert_eq!(
        lab.used_and_promised().await,
        (3 * MB, 7 * MB),
        "what the gate still holds"
    );
    assert!(
        matches!(orders(&lab).await[..], [OrderAction::Change(_)]),
        "it learns of what it missed"
    );
    lab.report(AccountingKind::Stop(1), "s1", 4 * MB, 960).await;
    assert_eq!(lab.used_and_promised().await, (4 * MB, 0));
}

async fn a_renewal_reopens_a_session_taken_for_ended(database: Database) {
    let lab = swept(database).await;
    let grant = granted(lab.renew(MAC, "s1").await);
    assert_eq!(grant.limits.max_total_octets, Some(11 * MB));
    assert_eq!(lab.session(MAC).await.state, "open");
    assert_eq!(lab.used_and_promised().await, (MB, 10 * MB));
    assert_eq!(orders(&lab).await, [], "the answer said it all");
    lab.report(AccountingKind::Stop(1), "s1", 4 * MB, 960).await;
    assert_eq!(
        refused(lab.renew(MAC, "s1").await),
        Reason::UnknownSession,
        "a Stop is final"
    );
}

async fn what_was_given_to_others_meanwhile_becomes_debt(database: Database) {
    let lab = swept(database).await;
    lab.top_up(MB).await;
    // The rest of the period, 40 MB, goes to another device.
    let mut total = lab.online(lab::OTHER_MAC, "s2").await;
    lab.report(AccountingKind::Start, "s2", 0, 0).await;
    for _ in 0..20 {
        let used = total.limits.max_total_octets.unwrap();
        lab.report(AccountingKind::Interim, "s2", used, 1).await;
        match lab.renew(lab::OTHER_MAC, "s2").await {
            Decision::Accept(more) => total = more,
            Decision::Reject { .. } => break,
        }
    }
    assert_eq!(lab.used_and_promised().await, (41 * MB, 0));
    lab.report(AccountingKind::Interim, "s1", 3 * MB, 900).await;
    assert_eq!(
        lab.used_and_promised().await,
        (43 * MB, 7 * MB),
        "two more than there was"
    );
    let orders = lab.orders().await;
    let told = orders.iter().find(|order| order.acct_session_id == "s1").unwrap();
    assert!(matches!(told.action, OrderAction::Change(limits) if limits.remaining_octets == Some(0)));
}

async fn a_copy_of_an_old_report_is_no_sign_of_life(database: Database) {
    let mut lab = swept(database).await;
    let now = lab.now;
    lab.now = now - LONG;
    lab.report(AccountingKind::Interim, "s1", MB, 60).await;
    lab.now = now;
    assert_eq!(lab.session(MAC).await.state, "ended");
    assert_eq!(lab.used_and_promised().await, (MB, 0));
}

async fn a_report_that_no_line_carries_is_a_sign_of_life(database: Database) {
    let lab = swept(database).await;
    lab.block().await;
    let accounted = lab.report(AccountingKind::Interim, "s1", u64::MAX - 9, 900).await;
    assert_eq!(accounted, Accounted::Implausible);
    assert_eq!(orders(&lab).await, [OrderAction::End]);
}

async fn a_block_reaches_a_session_taken_for_ended_once_it_is_heard_of(database: Database) {
    let lab = swept(database).await;
    lab.block().await;
    assert_eq!(orders(&lab).await, []);
    lab.report(AccountingKind::Interim, "s1", 2 * MB, 900).await;
    assert_eq!(orders(&lab).await, [OrderAction::End]);
}

async fn a_block_reaches_a_session_taken_for_ended_that_asks_again(database: Database) {
    let lab = swept(database).await;
    lab.block().await;
    assert_eq!(refused(lab.renew(MAC, "s1").await), Reason::Blocked);
    assert_eq!(orders(&lab).await, [OrderAction::End]);
}

async fn an_end_that_was_ordered_is_not_forgotten_in_the_silence(database: Database) {
    let mut lab = online(database).await;
    assert!(lab.access.disconnect(&lab.visit(MAC), lab.now).await.unwrap());
    lab.pass(LONG);
    assert_eq!(lab.sweep().await, 1);
    assert_eq!(orders(&lab).await, [], "nobody to ask");
    assert_eq!(refused(lab.renew(MAC, "s1").await), Reason::UnknownSession);
    lab.report(AccountingKind::Interim, "s1", 2 * MB, 900).await;
    assert_eq!(orders(&lab).await, [OrderAction::End]);
}

async fn an_end_that_was_ordered_is_forgotten_once_its_session_was_silent_for_a_day(database: Database) {
    let mut lab = online(database).await;
    let id = granted(lab.renew(MAC, "s1").await).session;
    assert!(lab.access.disconnect(&lab.visit(MAC), lab.now).await.unwrap());
    lab.pass(LONG);
    assert_eq!(lab.sweep().await, 1);
    lab.pass(Duration::from_hours(23));
    lab.sweep().await;
    assert_eq!(lab::others::ordered(&lab, id).await.0, Some(OrderKind::End));
    lab.pass(Duration::from_hours(2));
    lab.sweep().await;
    assert_eq!(lab::others::ordered(&lab, id).await.0, None);
}

async fn an_end_that_is_under_way_when_silence_is_presumed_is_ordered_again(database: Database) {
    let mut lab = online(database).await;
    assert!(lab.access.disconnect(&lab.visit(MAC), lab.now).await.unwrap());
    lab.pass(LONG);
    let end = lab.orders().await.remove(0);
    assert_eq!(lab.sweep().await, 1);
    for answer in [OrderAnswer::Silence, OrderAnswer::Refused(506)] {
        lab.answer(&end, answer).await;
        lab.pass(Duration::from_mins(5));
        assert_eq!(orders(&lab).await, [], "nobody to ask");
    }
    lab.report(AccountingKind::Interim, "s1", 2 * MB, 900).await;
    assert_eq!(orders(&lab).await, [OrderAction::End]);
}

async fn a_newer_session_in_its_place_keeps_the_old_one_ended(database: Database) {
    let lab = swept(database).await;
    granted(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await);
    let charged = lab.report(AccountingKind::Interim, "s1", 3 * MB, 900).await;
    assert_eq!(charged, Accounted::Charged(2 * MB));
    let live = kavadam_access::admin::SessionQuery {
        is_live: true,
        ..Default::default()
    };
    assert_eq!(lab.access.sessions(&live).await.unwrap().len(), 1);
}

async fn a_stop_replaces_the_presumed_end_and_the_first_true_cause_stands(database: Database) {
    let mut lab = swept(database).await;
    assert_eq!(
        lab.session(MAC).await.terminate_cause,
        Some(terminate_cause::LOST_SERVICE)
    );
    lab.pass(Duration::from_mins(1));
    let stopped_at = lab.now;
    lab.report(AccountingKind::Stop(4), "s1", 3 * MB, 900).await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Stop(1), "s1", 3 * MB, 900).await;
    let session = lab.session(MAC).await;
    assert_eq!(
        (session.terminate_cause, session.ended_at),
        (Some(4), Some(stopped_at)),
        "told twice"
    );
}

/// One session of 1 MB, all of it while the centre's clock was five hours ahead. It is right again.
async fn after_a_clock_ahead(database: Database) -> Lab {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    let right = lab.now;
    lab.pass(Duration::from_hours(5));
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", MB, 60).await;
    lab.now = right;
    lab.pass(Duration::from_mins(3));
    lab
}

async fn a_session_that_a_clock_ahead_heard_of_is_silent_from_now_on(database: Database) {
    let mut lab = after_a_clock_ahead(database).await;
    assert_eq!(lab.sweep().await, 0, "from now on");
    lab.pass(LONG);
    assert_eq!(lab.sweep().await, 1);
    assert_eq!(lab.used_and_promised().await, (MB, 0));
}

async fn a_restart_ends_what_a_clock_ahead_has_granted(database: Database) {
    let mut lab = after_a_clock_ahead(database).await;
    let ended_at = lab.now;
    assert_eq!(lab.report(AccountingKind::On, "", 0, 0).await, Accounted::Closed(1));
    assert_eq!(lab.session(MAC).await.ended_at, Some(ended_at));
    assert_eq!(lab.used_and_promised().await, (MB, 0));
    // What the gate's new life was granted meanwhile, before its own word arrived, stays.
    lab.pass(Duration::from_secs(30));
    granted(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await);
    let late = lab.now;
    lab.now = ended_at;
    assert_eq!(lab.report(AccountingKind::On, "", 0, 0).await, Accounted::Closed(0));
    lab.now = late;
}

async fn a_gate_that_is_retired_leaves_nothing_that_a_clock_ahead_has_granted(database: Database) {
    let lab = after_a_clock_ahead(database).await;
    assert_eq!(lab.access.end_nas("gate-1", "test", lab.now).await.unwrap(), 1);
    assert_eq!(lab.used_and_promised().await, (MB, 0));
}

async fn counters_begin_anew_though_a_clock_ahead_took_the_report_before(database: Database) {
    let mut lab = after_a_clock_ahead(database).await;
    lab.report(AccountingKind::Interim, "s1", 2 * MB, 120).await;
    lab.pass(Duration::from_mins(10));
    let anew = lab.report(AccountingKind::Interim, "s1", MB, 60).await;
    assert_eq!(anew, Accounted::Charged(MB));
    lab.pass(LONG);
    assert_eq!(lab.sweep().await, 1);
    assert_eq!(lab.used_and_promised().await, (3 * MB, 0));
}

async fn the_next_report_of_what_a_clock_ahead_took_for_ended_is_news(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    let right = lab.now;
    lab.pass(Duration::from_hours(5));
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    lab.pass(LONG);
    assert_eq!(lab.sweep().await, 1);
    lab.now = right;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", MB, 60).await;
    assert_eq!(lab.session(MAC).await.state, "open");
}

async fn a_renewal_takes_back_what_a_clock_ahead_has_noted(database: Database) {
    let mut lab = after_a_clock_ahead(database).await;
    granted(lab.renew(MAC, "s1").await);
    lab.pass(Duration::from_mins(10));
    let anew = lab.report(AccountingKind::Interim, "s1", MB / 2, 50).await;
    assert_eq!(anew, Accounted::Charged(MB / 2));
}
