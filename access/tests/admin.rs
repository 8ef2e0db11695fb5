//! What administrators do, and what becomes of those who are online, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::AccessError;
use kavadam_access::admin::{NasChange, SessionQuery};
use kavadam_access::api::*;
use kavadam_access::voucher::Worth;
use kavadam_domain::{MobileNumber, Plan, Reason};
use lab::{Database, Lab, MAC, MB, NUMBER, OTHER_MAC, cases, granted, plan, refused};

cases! {
    a_blocked_number_is_sent_away_and_kept_out_until_it_is_unblocked,
    a_number_can_be_blocked_before_it_ever_comes,
    a_top_up_counts_at_once,
    a_plan_of_ones_own_goes_before_the_sites,
    a_session_is_listed_until_its_gate_has_ended_it,
    what_is_not_there_is_named,
    every_change_is_on_record,
    what_was_and_what_is_stands_in_the_audit_and_never_a_secret,
    octets_go_to_the_plan_of_the_site_where_the_person_was_last,
    nobody_knows_which_period_to_top_up_of_a_number_never_online,
    all_sessions_of_a_number_end_at_once,
    a_voucher_ended_is_good_no_more,
    the_newest_people_come_first,
}

fn number() -> MobileNumber {
    NUMBER.parse().unwrap()
}

async fn a_blocked_number_is_sent_away_and_kept_out_until_it_is_unblocked(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    lab.access.block(&number(), true, "test", lab.now).await.unwrap();
    assert_eq!(lab.orders().await[0].action, OrderAction::End);
    let renewal = lab.authorize(MAC, Service::Renewal, "", "s1").await;
    assert_eq!(
        refused(renewal),
        Reason::UnknownSession,
        "not renewed while it is to end"
    );
    lab.report(AccountingKind::Stop(6), "s1", MB, 1).await;
    assert_eq!(
        refused(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await),
        Reason::Blocked
    );
    lab.pass(Duration::from_mins(1));
    assert_eq!(lab.ask(MAC).await, Started::Refused(Reason::Blocked), "no code is sent");
    lab.access.block(&number(), false, "test", lab.now).await.unwrap();
    granted(lab.authorize(MAC, Service::CallCheck, "mac", "s3").await);
}

async fn a_number_can_be_blocked_before_it_ever_comes(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    lab.access.block(&number(), true, "test", lab.now).await.unwrap();
    assert_eq!(lab.ask(MAC).await, Started::Refused(Reason::Blocked));
}

async fn a_top_up_counts_at_once(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", 5 * MB, 60).await;
    lab.access.top_up(&number(), 100 * MB, "test", lab.now).await.unwrap();
    let orders = lab.orders().await;
    let OrderAction::Change(limits) = &orders[0].action else {
        panic!("{orders:?}")
    };
    assert_eq!(limits.remaining_octets, Some(115 * MB));
    let view = lab.access.subscriber(&number(), lab.now).await.unwrap().unwrap();
    assert_eq!((view.used_octets, view.topped_up_octets), (5 * MB, 100 * MB));
    assert_eq!(
        view.leased_octets,
        limits.max_total_octets.unwrap() - 5 * MB,
        "promised and not yet used"
    );
}

async fn a_plan_of_ones_own_goes_before_the_sites(database: Database) {
    let lab = Lab::new(database, &plan(20 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    let staff = Plan {
        name: "staff".into(),
        quota_octets: None,
        ..plan(MB)
    };
    lab.access.set_plan(&staff, "test", lab.now).await.unwrap();
    lab.access
        .set_subscriber_plan(&number(), Some("staff"), "test", lab.now)
        .await
        .unwrap();
    let orders = lab.orders().await;
    let OrderAction::Change(limits) = &orders[0].action else {
        panic!("{orders:?}")
    };
    assert_eq!(limits.max_total_octets, None, "no quota any more");
    lab.access
        .set_subscriber_plan(&number(), None, "test", lab.now)
        .await
        .unwrap();
    let orders = lab.orders().await;
    let OrderAction::Change(limits) = &orders[0].action else {
        panic!("{orders:?}")
    };
    assert!(limits.max_total_octets.is_some(), "and one again");
}

async fn a_session_is_listed_until_its_gate_has_ended_it(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let id = lab.online(MAC, "s1").await.session;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    let state = async |lab: &Lab| lab.access.session(id).await.unwrap().unwrap().state;
    assert_eq!(state(&lab).await, "open");
    assert!(lab.access.end_session(id, "test", lab.now).await.unwrap());
    assert_eq!(state(&lab).await, "ending");
    lab.report(AccountingKind::Stop(6), "s1", 3 * MB, 1).await;
    assert!(
        !lab.access.end_session(id, "test", lab.now).await.unwrap(),
        "it is over"
    );
    let live = SessionQuery {
        is_live: true,
        number: Some(number()),
        ..SessionQuery::default()
    };
    assert!(lab.access.sessions(&live).await.unwrap().is_empty());
    let all = lab.access.sessions(&SessionQuery::default()).await.unwrap();
    assert_eq!(
        (all[0].state, all[0].counters.down_octets, all[0].nas.as_str()),
        ("ended", 3 * MB, "gate-1")
    );
}

async fn what_is_not_there_is_named(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let problem = lab.access.top_up(&number(), MB, "test", lab.now).await.unwrap_err();
    assert_eq!(problem.to_string(), "there is no subscriber `xxxxxx3210`");
    assert_eq!(lab.access.subscriber(&number(), lab.now).await.unwrap(), None);
    let elsewhere = SessionQuery {
        site: Some("Kochi".into()),
        ..SessionQuery::default()
    };
    assert!(matches!(
        lab.access.sessions(&elsewhere).await,
        Err(AccessError::Missing { kind: "site", .. })
    ));
}

async fn octets_go_to_the_plan_of_the_site_where_the_person_was_last(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    let market = Plan {
        name: "market".into(),
        ..plan(2 * MB)
    };
    lab.access.set_plan(&market, "test", lab.now).await.unwrap();
    // First in the alphabet, and never visited.
    lab.access
        .set_site("Aluva market", true, "market", "test", lab.now)
        .await
        .unwrap();
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Stop(10), "s1", 20 * MB, 60).await;
    lab.access.top_up(&number(), 50 * MB, "test", lab.now).await.unwrap();
    let view = lab.access.subscriber(&number(), lab.now).await.unwrap().unwrap();
    assert_eq!(view.plan.map(|plan| plan.name), Some("citizen".into()));
    let grant = granted(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await);
    assert_eq!(grant.limits.remaining_octets, Some(50 * MB));
}

async fn nobody_knows_which_period_to_top_up_of_a_number_never_online(database: Database) {
    let lab = Lab::new(database, &plan(20 * MB)).await;
    lab.access.block(&number(), true, "test", lab.now).await.unwrap();
    let problem = lab.access.top_up(&number(), MB, "test", lab.now).await.unwrap_err();
    assert!(problem.to_string().contains("plan of its own"), "{problem}");
    let view = lab.access.subscriber(&number(), lab.now).await.unwrap().unwrap();
    assert_eq!((view.plan, view.is_blocked), (None, true));
    lab.access
        .set_subscriber_plan(&number(), Some("citizen"), "test", lab.now)
        .await
        .unwrap();
    lab.access.top_up(&number(), MB, "test", lab.now).await.unwrap();
}

async fn ordered(lab: &Lab) -> Vec<OrderAction> {
    lab.orders().await.into_iter().map(|order| order.action).collect()
}

async fn all_sessions_of_a_number_end_at_once(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    lab.pass(Duration::from_secs(31));
    lab.online(OTHER_MAC, "s2").await;
    lab.report(AccountingKind::Start, "s2", 0, 0).await;
    let ending = lab.access.end_sessions_of(&number(), "test", lab.now).await.unwrap();
    assert_eq!(ending, 2);
    assert_eq!(ordered(&lab).await, [OrderAction::End, OrderAction::End]);
}

async fn a_voucher_ended_is_good_no_more(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    lab.online(MAC, "s1").await;
    let codes = lab
        .access
        .create_vouchers(3, Worth::octets(30 * MB), "lot", None, "test", lab.now)
        .await
        .unwrap();
    let redeem = async |code: &str| {
        let outcome = lab.access.redeem_voucher(&lab.visit(MAC), code, lab.now).await.unwrap();
        matches!(outcome, Verified::Ticket(_))
    };
    assert!(redeem(&codes[0]).await);
    let list = lab.access.vouchers(Some("lot"), 9).await.unwrap();
    let used = list.iter().find(|voucher| voucher.used_at.is_some()).unwrap().id;
    let unused = list.iter().find(|voucher| voucher.used_at.is_none()).unwrap().id;
    let end = async |id| lab.access.end_voucher(id, "test", lab.now).await;
    assert!(!end(used).await.unwrap(), "used already");
    assert!(end(unused).await.unwrap());
    assert!(!end(unused).await.unwrap(), "once");
    assert!(matches!(
        end(99).await,
        Err(AccessError::Missing { kind: "voucher", .. })
    ));
    assert_eq!(
        lab.access.end_vouchers("lot", "test", lab.now).await.unwrap(),
        1,
        "the last one"
    );
    assert!(!redeem(&codes[1]).await && !redeem(&codes[2]).await);
    assert_eq!(lab.access.audits(1).await.unwrap()[0].action, "voucher.end");
}

async fn the_newest_people_come_first(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    for person in ["9876500001", "9876500002", "9876500003"] {
        lab.access
            .block(&person.parse().unwrap(), true, "test", lab.now)
            .await
            .unwrap();
    }
    let newest = lab.access.subscribers(2).await.unwrap();
    let numbers: Vec<_> = newest.iter().map(|line| line.number.digits()).collect();
    assert_eq!(numbers, ["9876500003", "9876500002"]);
    assert!(newest[0].is_blocked && newest[0].own_plan.is_none());
}

async fn every_change_is_on_record(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    lab.access.block(&number(), true, "anu", lab.now).await.unwrap();
    lab.access.block(&number(), false, "anu", lab.now).await.unwrap();
    let acts = lab.access.audits(9).await.unwrap();
    let actions: Vec<_> = acts
        .iter()
        .map(|act| (act.actor.as_str(), act.action.as_str()))
        .collect();
    assert_eq!(
        actions[..2],
        [("anu", "subscriber.unblock"), ("anu", "subscriber.block")]
    );
    assert_eq!(
        actions[2..],
        [("test", "nas.set"), ("test", "site.set"), ("test", "plan.set")]
    );
    let sites = lab.access.sites().await.unwrap();
    assert_eq!((sites[0].plan.as_str(), sites[0].is_open), ("citizen", true));
    assert!(lab.access.nases().await.unwrap()[0].last_seen.is_some());
    assert_eq!(lab.access.plans().await.unwrap().len(), 1);
}

async fn what_was_and_what_is_stands_in_the_audit_and_never_a_secret(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let (access, now) = (&lab.access, lab.now);
    let detail = async || access.audits(1).await.unwrap().remove(0).detail;
    let wider = Plan {
        max_devices: 3,
        session_secs: None,
        ..plan(200 * MB)
    };
    access.set_plan(&wider, "anu", now).await.unwrap();
    assert_eq!(
        detail().await,
        "quota 100000000 octets → 200000000 octets, session time 14400 s → none, devices 2 → 3"
    );
    access.set_plan(&wider, "anu", now).await.unwrap();
    assert_eq!(detail().await, "as before");
    let other = Plan {
        name: "other".into(),
        ..plan(100 * MB)
    };
    access.set_plan(&other, "anu", now).await.unwrap();
    assert!(detail().await.starts_with("new: quota 100000000 octets, period day"));

    access
        .set_site("Vizhinjam bus stand", false, "other", "anu", now)
        .await
        .unwrap();
    assert_eq!(detail().await, "state open → closed, plan citizen → other");

    let change = NasChange {
        secret: Some(b"another secret of the gate"),
        coa_port: Some(1700),
        is_ms_chap_allowed: Some(true),
        ..NasChange::default()
    };
    access.change_nas("gate-1", &change, "anu", now).await.unwrap();
    assert_eq!(detail().await, "CoA port 3799 → 1700, MS-CHAPv2 no → yes, new secret");
    let change = NasChange {
        secret: Some(b"another secret of the gate"),
        is_ms_chap_allowed: Some(false),
        ..NasChange::default()
    };
    access.change_nas("gate-1", &change, "anu", now).await.unwrap();
    assert_eq!(detail().await, "MS-CHAPv2 yes → no");
    let change = NasChange {
        uam_secret: Some(b"another secret of redirects"),
        ..NasChange::default()
    };
    access.change_nas("gate-1", &change, "anu", now).await.unwrap();
    assert_eq!(detail().await, "new UAM secret");
}
