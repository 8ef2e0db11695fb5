//! What reports are charged, to whom and to which period, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::net::Ipv4Addr;
use std::time::Duration;

use kavadam_access::admin::SessionQuery;
use kavadam_access::api::*;
use kavadam_domain::accounting::FreeOctets;
use kavadam_domain::{PortNews, PortRange, SessionId, Timestamp};
use lab::{Database, Lab, MAC, MB, NUMBER, OTHER_MAC, cases, granted, plan};

cases! {
    what_no_line_carries_is_kept_and_acknowledged_but_not_charged,
    what_no_line_carries_is_not_charged_however_often_it_is_told,
    a_stop_that_no_line_carries_still_ends_its_session,
    reports_that_are_nobodys_are_kept_within_bounds,
    a_report_of_another_type_is_kept_and_touches_no_session,
    a_name_that_ends_with_nul_is_the_name_without,
    an_address_a_port_and_a_time_tell_whose_a_connection_was,
    what_was_free_is_kept_for_the_record_and_charged_to_nobody,
    what_was_free_stays_with_the_session_that_moved_it,
    a_late_copy_from_a_gate_without_a_clock_is_not_charged_again,
    what_flowed_before_midnight_and_comes_after_is_charged_to_the_day_before,
    a_session_that_ended_with_its_day_is_not_drawn_into_the_next,
    a_session_that_goes_on_after_its_day_is_charged_to_the_next,
    a_gate_whose_clock_is_behind_charges_no_day_before_the_grant,
    a_session_numbered_anew_is_charged_to_the_same_person_out_of_the_same_lease,
    a_session_numbered_anew_after_its_stop_learns_of_what_was_decided,
    a_name_that_another_person_had_is_charged_by_class,
}

async fn online(database: Database) -> Lab {
    let lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Interim, "s1", MB, 1).await;
    lab
}

/// Tunnels and failures (RFC 2867), or a session that is not named: with whatever Class and figures it comes.
async fn a_report_of_another_type_is_kept_and_touches_no_session(database: Database) {
    let mut lab = online(database).await;
    let before = (lab.used_and_promised().await, lab.session(MAC).await);
    lab.pass(Duration::from_secs(1));
    for (kind, id) in [(9, "s1"), (15, "s1"), (2, "")] {
        let told = lab.report(AccountingKind::Other(kind), id, 9 * MB, 60).await;
        assert_eq!(told, Accounted::Unknown);
    }
    assert_eq!((lab.used_and_promised().await, lab.session(MAC).await), before);
    let kept = lab.access.unowned_reports_kept().await.unwrap();
    assert_eq!(kept, [("gate-1".to_owned(), 3)]);
}

const ABSURD: u64 = u64::MAX - 9;

async fn what_no_line_carries_is_kept_and_acknowledged_but_not_charged(database: Database) {
    let mut lab = online(database).await;
    lab.pass(Duration::from_mins(1));
    for octets in [ABSURD, 1 << 62, 200_000 * MB] {
        assert_eq!(
            lab.report(AccountingKind::Interim, "s1", octets, 60).await,
            Accounted::Implausible
        );
    }
    assert_eq!(
        lab.report(AccountingKind::Interim, "other", ABSURD, 60).await,
        Accounted::Unknown
    );
    assert_eq!(
        lab.report(AccountingKind::Interim, "s1", 3 * MB, 61).await,
        Accounted::Charged(2 * MB),
        "the truth is charged as ever"
    );
    assert_eq!(lab.used_and_promised().await, (3 * MB, 7 * MB));
}

async fn what_no_line_carries_is_not_charged_however_often_it_is_told(database: Database) {
    let mut lab = online(database).await;
    for minute in 1..=20 {
        lab.pass(Duration::from_mins(1));
        let told = lab.report(AccountingKind::Interim, "s1", 1 << 40, 60 * minute).await;
        assert_eq!(told, Accounted::Implausible, "after {minute} minutes");
    }
    assert_eq!(lab.sweep().await, 0, "it is no silence either");
    // One made before the last of them comes late.
    let ago = Duration::from_secs(30);
    assert_eq!(
        report_of(&lab, AccountingKind::Interim, 2 * MB, 1170, ago).await,
        Accounted::Charged(MB)
    );
    assert_eq!(
        lab.report(AccountingKind::Interim, "s1", 3 * MB, 1200).await,
        Accounted::Charged(MB)
    );
    assert_eq!(lab.used_and_promised().await, (3 * MB, 7 * MB));
}

async fn a_stop_that_no_line_carries_still_ends_its_session(database: Database) {
    let lab = online(database).await;
    lab.report(AccountingKind::Stop(1), "s1", ABSURD, 60).await;
    assert_eq!(lab.session(MAC).await.state, "ended");
    assert_eq!(lab.used_and_promised().await, (MB, 0));
}

async fn reports_that_are_nobodys_are_kept_within_bounds(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    let kept = async |lab: &Lab| {
        let mut tx = lab.store.read().await.unwrap();
        let kept = tx.unknown_reports_by_nas().await.unwrap();
        kept.iter().map(|row| row.figure).sum::<u64>()
    };
    for minute in 1..=5 {
        lab.pass(Duration::from_mins(1));
        for number in 0..510 {
            let told = lab.report(AccountingKind::Stop(1), &number.to_string(), MB, 60).await;
            assert_eq!(told, Accounted::Unknown, "acknowledged, kept or not");
        }
        assert_eq!(kept(&lab).await, 500 * minute);
        assert_eq!(
            lab.access.unowned_reports()[&lab.nas],
            510 * minute,
            "counted, kept or not"
        );
        let named = lab.access.unowned_reports_kept().await.unwrap();
        assert_eq!(named, [("gate-1".to_owned(), 500 * minute)]);
    }
    lab.sweep().await;
    assert_eq!(kept(&lab).await, 2000);
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Stop(1), "one more", MB, 60).await;
    lab.sweep().await;
    assert_eq!(kept(&lab).await, 2001, "for few it is not looked at");
}

async fn a_name_that_ends_with_nul_is_the_name_without(database: Database) {
    let lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1\0").await;
    assert_eq!(
        lab.report(AccountingKind::Interim, "s\u{0}1", MB, 1).await,
        Accounted::Charged(MB)
    );
    let report = AccountingReport {
        nas: lab.nas,
        from: None,
        kind: AccountingKind::Stop(1),
        acct_session_id: "\0".to_owned(),
        class: None,
        user_name: Some("al\0ias".to_owned()),
        mac: None,
        ip: None,
        ports: None,
        free: None,
        counters: Counters::default(),
        at: lab.now,
    };
    assert_eq!(lab.access.account(report, lab.now).await.unwrap(), Accounted::Unknown);
}

/// An Interim of a session that moved so much free of charge, and was charged for so much.
fn interim(lab: &Lab, id: &str, (up, down): (u64, u64), charged: u64, secs: u32) -> AccountingReport {
    AccountingReport {
        nas: lab.nas,
        from: None,
        kind: AccountingKind::Interim,
        acct_session_id: id.to_owned(),
        class: None,
        user_name: None,
        mac: None,
        ip: None,
        ports: None,
        free: Some(FreeOctets { up, down }),
        counters: Counters {
            down_octets: charged,
            session_secs: secs,
            ..Counters::default()
        },
        at: lab.now,
    }
}

async fn what_was_free_is_kept_for_the_record_and_charged_to_nobody(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.online(OTHER_MAC, "s2").await;
    lab.pass(Duration::from_mins(1));
    assert_eq!(lab.session(MAC).await.free, None, "nobody has said it");
    let kept = |up, down| Some(FreeOctets { up, down });
    let first = interim(&lab, "s1", (3 * MB, 500 * MB), MB, 60);
    assert_eq!(
        lab.access.account(first.clone(), lab.now).await.unwrap(),
        Accounted::Charged(MB)
    );
    assert_eq!(lab.session(MAC).await.free, kept(3 * MB, 500 * MB));
    lab.pass(Duration::from_mins(1));
    let second = interim(&lab, "s1", (4 * MB, 600 * MB), MB, 120);
    lab.access.account(second, lab.now).await.unwrap();
    // A copy, what comes late, a report that does not tell, and what no line carries.
    lab.access.account(first, lab.now).await.unwrap();
    lab.report(AccountingKind::Interim, "s1", MB, 120).await;
    for absurd in [(ABSURD, 0), (0, 1 << 62), (ABSURD, ABSURD)] {
        let report = interim(&lab, "s1", absurd, 2 * MB, 121);
        assert!(matches!(
            lab.access.account(report, lab.now).await.unwrap(),
            Accounted::Charged(_)
        ));
    }
    assert_eq!(lab.session(MAC).await.free, kept(4 * MB, 600 * MB));
    assert_eq!(lab.session(OTHER_MAC).await.free, None);
    assert_eq!(
        lab.used_and_promised().await.0,
        2 * MB,
        "far beyond the quota, and not of it"
    );
    lab.pass(Duration::from_secs(1));
    let stop = AccountingReport {
        kind: AccountingKind::Stop(1),
        ..interim(&lab, "s1", (5 * MB, 600 * MB), 2 * MB, 122)
    };
    lab.access.account(stop, lab.now).await.unwrap();
    let ended = lab.session(MAC).await;
    assert_eq!((ended.state, ended.free), ("ended", kept(5 * MB, 600 * MB)));
    assert_eq!(ended.counters.down_octets, 2 * MB);
}

async fn what_was_free_stays_with_the_session_that_moved_it(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    let class = lab.online(MAC, "s1").await.class;
    lab.pass(Duration::from_mins(1));
    let first = interim(&lab, "s1", (MB, MB), MB, 60);
    lab.access.account(first, lab.now).await.unwrap();
    // Its gate gives it another number.
    lab.pass(Duration::from_mins(1));
    let renamed = AccountingReport {
        class: Some(class),
        free: None,
        ..interim(&lab, "s1-again", (0, 0), 0, 0)
    };
    lab.access.account(renamed, lab.now).await.unwrap();
    let mut told: Vec<_> = lab.access.sessions(&SessionQuery::default()).await.unwrap();
    told.sort_by_key(|session| session.id);
    let free: Vec<_> = told.iter().map(|session| session.free).collect();
    assert_eq!(free, [Some(FreeOctets { up: MB, down: MB }), None]);
}

/// Which sessions the internet saw by this port at that time.
async fn behind(lab: &Lab, port: u16, at: Timestamp) -> Vec<SessionId> {
    let found = lab
        .access
        .sessions_behind("198.51.100.2".parse().unwrap(), port, at)
        .await;
    found.unwrap().iter().map(|session| session.id).collect()
}

async fn an_address_a_port_and_a_time_tell_whose_a_connection_was(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    let session = lab.session(MAC).await.id;
    let range = |first, last| PortRange {
        address: Ipv4Addr::new(198, 51, 100, 2),
        first,
        last,
    };
    let ports = |first, last| Some(PortNews::Held(range(first, last)));
    let began = lab.now;
    let mut report = AccountingReport {
        nas: lab.nas,
        from: None,
        kind: AccountingKind::Interim,
        acct_session_id: "s1".to_owned(),
        class: None,
        user_name: None,
        mac: None,
        ip: None,
        ports: ports(1024, 1535),
        free: None,
        counters: Counters::default(),
        at: lab.now,
    };
    lab.access.account(report.clone(), lab.now).await.unwrap();
    lab.pass(Duration::from_mins(1));
    assert_eq!(behind(&lab, 1024, lab.now).await, [session]);
    assert_eq!(behind(&lab, 1535, began).await, [session]);
    assert_eq!(behind(&lab, 1536, lab.now).await, [], "another device's port");
    let before = Timestamp(began.0 - 3_600_000_000);
    assert_eq!(behind(&lab, 1024, before).await, [], "before the session");

    // What a later report does not tell stays; what it tells anew is how it is.
    report.ports = None;
    report.at = lab.now;
    lab.access.account(report.clone(), lab.now).await.unwrap();
    assert_eq!(behind(&lab, 1024, lab.now).await, [session]);
    let first_known = lab.now;
    lab.pass(Duration::from_mins(1));
    let late = AccountingReport {
        at: Timestamp(lab.now.0 - 30_000_000),
        ports: ports(4096, 4607),
        free: None,
        ..report.clone()
    };
    report.ports = ports(2048, 2559);
    report.at = lab.now;
    lab.access.account(report.clone(), lab.now).await.unwrap();
    assert_eq!(behind(&lab, 1024, first_known).await, [session], "it was there then");
    assert_eq!(behind(&lab, 2100, first_known).await, [], "and not here yet");
    lab.access.account(late, lab.now).await.unwrap();
    lab.pass(Duration::from_mins(1));
    assert_eq!(behind(&lab, 1024, lab.now).await, [], "there no longer");
    assert_eq!(behind(&lab, 4096, lab.now).await, [], "what comes late is no news");
    assert_eq!(behind(&lab, 2100, lab.now).await, [session]);

    // It has none for a while, and then the same again, until it ends.
    report.ports = Some(PortNews::GivenBack(range(2048, 2559)));
    report.at = lab.now;
    lab.access.account(report.clone(), lab.now).await.unwrap();
    lab.pass(Duration::from_mins(1));
    assert_eq!(behind(&lab, 2100, lab.now).await, []);
    report.ports = ports(2048, 2559);
    report.kind = AccountingKind::Stop(1);
    report.at = lab.now;
    lab.access.account(report, lab.now).await.unwrap();
    assert_eq!(behind(&lab, 2100, lab.now).await, [session]);
    let ended = lab.now;
    lab.pass(Duration::from_mins(1));
    assert_eq!(behind(&lab, 2100, lab.now).await, [], "it has ended");
    assert_eq!(behind(&lab, 2100, ended).await, [session]);
    let view = lab.access.session(session).await.unwrap().unwrap();
    assert_eq!(view.ports, Some(range(2048, 2559)));
}

async fn a_late_copy_from_a_gate_without_a_clock_is_not_charged_again(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    for (wait, octets, secs) in [(60, MB, 60), (60, 2 * MB, 120), (5, MB, 60), (55, 3 * MB, 180)] {
        lab.pass(Duration::from_secs(wait));
        lab.report(AccountingKind::Interim, "s1", octets, secs).await;
    }
    assert_eq!(lab.used_and_promised().await.0, 3 * MB);
}

/// Online since four minutes to midnight in Kerala, with 1 MB.
async fn online_late(database: Database) -> Lab {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    lab.pass(Duration::from_mins(12 * 60 - 4));
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", MB, 60).await;
    lab
}

async fn used_on_the_first_day(lab: &Lab) -> u64 {
    let view = lab.access.subscriber(&NUMBER.parse().unwrap(), lab.up_since).await;
    view.unwrap().unwrap().used_octets
}

async fn report_of(lab: &Lab, kind: AccountingKind, octets: u64, secs: u32, ago: Duration) -> Accounted {
    let report = AccountingReport {
        at: lab.now - ago,
        ..lab.words(kind, "s1", None, octets, secs)
    };
    lab.access.account(report, lab.now).await.unwrap()
}

async fn what_flowed_before_midnight_and_comes_after_is_charged_to_the_day_before(database: Database) {
    let mut lab = online_late(database).await;
    lab.pass(Duration::from_mins(10));
    granted(lab.renew(MAC, "s1").await);
    report_of(&lab, AccountingKind::Interim, 3 * MB, 120, Duration::from_mins(9)).await;
    assert_eq!(
        (used_on_the_first_day(&lab).await, lab.used_and_promised().await.0),
        (3 * MB, 0)
    );
    report_of(&lab, AccountingKind::Interim, 4 * MB, 600, Duration::ZERO).await;
    assert_eq!(
        (used_on_the_first_day(&lab).await, lab.used_and_promised().await.0),
        (3 * MB, MB)
    );
}

async fn a_session_that_ended_with_its_day_is_not_drawn_into_the_next(database: Database) {
    let mut lab = online_late(database).await;
    lab.pass(Duration::from_secs(181));
    let morning = lab.online(OTHER_MAC, "s2").await;
    assert_eq!(morning.limits.max_total_octets, Some(10 * MB), "a lease of its own");
    report_of(&lab, AccountingKind::Stop(5), 6 * MB, 240, Duration::ZERO).await;
    assert_eq!(used_on_the_first_day(&lab).await, 6 * MB);
    assert_eq!(lab.used_and_promised().await, (0, 10 * MB));
}

async fn a_session_that_goes_on_after_its_day_is_charged_to_the_next(database: Database) {
    let mut lab = online_late(database).await;
    lab.pass(Duration::from_mins(10));
    report_of(&lab, AccountingKind::Interim, 5 * MB, 600, Duration::ZERO).await;
    assert_eq!(
        (used_on_the_first_day(&lab).await, lab.used_and_promised().await.0),
        (MB, 4 * MB)
    );
}

async fn a_gate_whose_clock_is_behind_charges_no_day_before_the_grant(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    lab.pass(Duration::from_hours(24));
    lab.online(MAC, "s1").await;
    report_of(&lab, AccountingKind::Interim, MB, 1, Duration::from_hours(24)).await;
    assert_eq!(
        (used_on_the_first_day(&lab).await, lab.used_and_promised().await.0),
        (0, MB)
    );
}

async fn report_by_class(lab: &Lab, kind: AccountingKind, grant: &Grant, name: &str, octets: u64) -> Accounted {
    let report = AccountingReport {
        nas: lab.nas,
        from: None,
        kind,
        acct_session_id: name.to_owned(),
        class: Some(grant.class.clone()),
        user_name: None,
        mac: None,
        ip: None,
        ports: None,
        free: None,
        counters: Counters {
            down_octets: octets,
            session_secs: 1,
            ..Counters::default()
        },
        at: lab.now,
    };
    lab.access.account(report, lab.now).await.unwrap()
}

async fn a_session_numbered_anew_is_charged_to_the_same_person_out_of_the_same_lease(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    let grant = lab.online_fixed(MAC, "s1").await;
    report_by_class(&lab, AccountingKind::Interim, &grant, "s1", 4 * MB).await;
    lab.pass(Duration::from_mins(1));
    for (kind, name, octets, new) in [
        (AccountingKind::Start, "s2", 0, 0),
        (AccountingKind::Interim, "s2", 3 * MB, 3),
        (AccountingKind::Interim, "s2", 3 * MB, 0),
        (AccountingKind::Stop(1), "s1", 5 * MB, 1),
        (AccountingKind::Interim, "s2", 5 * MB, 2),
    ] {
        let charged = report_by_class(&lab, kind, &grant, name, octets).await;
        assert_eq!(charged, Accounted::Charged(new * MB), "{kind:?} {name} {octets}");
    }
    assert_eq!(lab.used_and_promised().await, (10 * MB, 10 * MB), "20 MB were given");
    lab.top_up(20 * MB).await;
    let change = lab.orders().await.remove(0);
    assert_eq!(change.acct_session_id, "s2");
    report_by_class(&lab, AccountingKind::Stop(1), &grant, "s2", 6 * MB).await;
    assert_eq!(lab.used_and_promised().await, (11 * MB, 0));
}

async fn a_session_numbered_anew_after_its_stop_learns_of_what_was_decided(database: Database) {
    let lab = Lab::new(database, &plan(40 * MB)).await;
    let grant = lab.online_fixed(MAC, "s1").await;
    report_by_class(&lab, AccountingKind::Stop(1), &grant, "s1", 4 * MB).await;
    lab.block().await;
    report_by_class(&lab, AccountingKind::Start, &grant, "s2", 0).await;
    let orders = lab.orders().await;
    assert_eq!(
        (orders[0].acct_session_id.as_str(), &orders[0].action),
        ("s2", &OrderAction::End)
    );
}

async fn a_name_that_another_person_had_is_charged_by_class(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    let first = lab.online(MAC, "1").await;
    report_by_class(&lab, AccountingKind::Stop(1), &first, "1", 4 * MB).await;
    lab.pass(Duration::from_mins(1));
    let second = lab.online(OTHER_MAC, "2").await;
    report_by_class(&lab, AccountingKind::Start, &second, "2", 0).await;
    let charged = report_by_class(&lab, AccountingKind::Interim, &second, "1", MB).await;
    assert_eq!(charged, Accounted::Charged(MB), "not the growth of a session long over");
}
