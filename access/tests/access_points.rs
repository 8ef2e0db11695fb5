//! One record that stands for many access points of a vendor's, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::admin::NasChange;
use kavadam_access::api::*;
use kavadam_domain::Mac;
use lab::gates::by;
use lab::{Database, Lab, MAC, MB, OTHER_MAC, cases};

cases! {
    an_order_goes_where_its_session_was_reported_from_whoever_spoke_last,
    an_order_goes_where_its_session_was_asked_for_until_a_report_tells_where_it_is,
    an_order_in_vain_goes_at_once_where_its_session_is_heard_of_next,
    an_order_goes_nowhere_that_is_not_the_records,
    a_namesake_of_who_does_not_say_who_it_is_ends_no_session_for_good,
    what_is_told_of_one_device_is_not_charged_to_another_of_the_same_name,
    a_gate_that_calls_itself_otherwise_in_its_reports_is_the_same,
    a_gate_that_calls_itself_otherwise_from_now_on_is_the_same,
    an_order_calls_a_gate_as_that_calls_itself,
}

const FIRST: &str = "10.9.0.1";
const SECOND: &str = "10.9.0.2";

async fn log_in(lab: &Lab, mac: Mac, name: Option<String>, seen: Seen) -> Grant {
    lab.call_check(mac, name, seen).await
}

fn seen_from(from: &str) -> Seen {
    Seen {
        from: Some(from.parse().unwrap()),
        ..Seen::default()
    }
}

/// Without a Class.
fn interim(lab: &Lab, name: &str, mac: Mac, octets: u64) -> AccountingReport {
    lab.words(AccountingKind::Interim, name, Some(mac), octets, 1)
}

async fn report_from(lab: &mut Lab, from: &str) {
    lab.pass(Duration::from_secs(1));
    let report = AccountingReport {
        from: Some(from.parse().unwrap()),
        ..interim(lab, "s1", MAC, MB)
    };
    assert_ne!(lab.access.account(report, lab.now).await.unwrap(), Accounted::Unknown);
    // Another of them spoke since.
    lab.access
        .nas_seen(lab.nas, "10.9.0.77:40000".parse().unwrap(), lab.now);
}

async fn octets_of(lab: &Lab, mac: Mac) -> u64 {
    lab.session(mac).await.counters.down_octets
}

async fn end(lab: &Lab, mac: Mac) -> Order {
    assert!(lab.access.disconnect(&lab.visit(mac), lab.now).await.unwrap());
    lab.orders().await.remove(0)
}

fn at(address: &str) -> Destination {
    Destination::Seen(format!("{address}:3799").parse().unwrap())
}

async fn an_order_goes_where_its_session_was_reported_from_whoever_spoke_last(database: Database) {
    let mut lab = Lab::at_access_points(database).await;
    log_in(&lab, MAC, Some("s1".to_owned()), seen_from(FIRST)).await;
    report_from(&mut lab, FIRST).await;
    assert_eq!(end(&lab, MAC).await.to, at(FIRST));
}

async fn an_order_goes_where_its_session_was_asked_for_until_a_report_tells_where_it_is(database: Database) {
    let mut lab = Lab::at_access_points(database).await;
    log_in(&lab, MAC, Some("s1".to_owned()), seen_from(FIRST)).await;
    lab.access
        .nas_seen(lab.nas, "10.9.0.77:40000".parse().unwrap(), lab.now);
    let order = end(&lab, MAC).await;
    assert_eq!(order.to, at(FIRST));
    lab.answer(&order, OrderAnswer::Silence).await;
    report_from(&mut lab, SECOND).await;
    // Whoever asks for the supplicant asks again.
    let refused = AuthorizeRequest {
        nas: lab.nas,
        user_name: "mac".to_owned(),
        service: Service::CallCheck,
        mac: Some(MAC),
        ip: None,
        acct_session_id: Some("s1".to_owned()),
        class: None,
        wants_cui: false,
        seen: seen_from(FIRST),
    };
    lab.access.authorize(refused, lab.now).await.unwrap();
    assert_eq!(lab.orders().await.remove(0).to, at(SECOND));
}

async fn an_order_in_vain_goes_at_once_where_its_session_is_heard_of_next(database: Database) {
    let mut lab = Lab::at_access_points(database).await;
    log_in(&lab, MAC, Some("s1".to_owned()), seen_from(FIRST)).await;
    report_from(&mut lab, FIRST).await;
    let mut order = end(&lab, MAC).await;
    for _ in 0..8 {
        lab.answer(&order, OrderAnswer::Silence).await;
        lab.pass(Duration::from_mins(5));
        order = lab.orders().await.remove(0);
    }
    lab.answer(&order, OrderAnswer::Silence).await;
    report_from(&mut lab, FIRST).await;
    assert_eq!(lab.orders().await, [], "where it was in vain");
    report_from(&mut lab, SECOND).await;
    assert_eq!(lab.orders().await.remove(0).to, at(SECOND));
}

async fn an_order_goes_nowhere_that_is_not_the_records(database: Database) {
    let mut lab = Lab::at_access_points(database).await;
    log_in(&lab, MAC, Some("s1".to_owned()), seen_from(FIRST)).await;
    report_from(&mut lab, FIRST).await;
    let moved = NasChange {
        source: Some("10.9.0.64/26".parse().unwrap()),
        ..NasChange::default()
    };
    lab.access.change_nas("gate-1", &moved, "test", lab.now).await.unwrap();
    assert_eq!(end(&lab, MAC).await.to, at("10.9.0.77"));
}

async fn a_namesake_of_who_does_not_say_who_it_is_ends_no_session_for_good(database: Database) {
    let mut lab = Lab::at_access_points(database).await;
    let first = log_in(&lab, MAC, Some("s1".to_owned()), Seen::default()).await;
    let report = interim(&lab, "s1", MAC, MB);
    lab.access.account(report, lab.now).await.unwrap();
    lab.pass(Duration::from_mins(1));
    let second = log_in(&lab, OTHER_MAC, Some("s1".to_owned()), Seen::default()).await;
    let stop = AccountingReport {
        kind: AccountingKind::Stop(1),
        class: Some(second.class),
        ..interim(&lab, "s1", OTHER_MAC, 2 * MB)
    };
    lab.access.account(stop, lab.now).await.unwrap();
    assert_eq!(lab.session(MAC).await.state, "ended");
    lab.pass(Duration::from_mins(1));
    let alive = AccountingReport {
        class: Some(first.class),
        ..interim(&lab, "s1", MAC, 3 * MB)
    };
    lab.access.account(alive, lab.now).await.unwrap();
    assert_eq!(lab.session(MAC).await.state, "open");
    assert_eq!(end(&lab, MAC).await.action, OrderAction::End, "it can be cut");
    assert_eq!(
        (octets_of(&lab, MAC).await, octets_of(&lab, OTHER_MAC).await),
        (3 * MB, 2 * MB)
    );
}

async fn what_is_told_of_one_device_is_not_charged_to_another_of_the_same_name(database: Database) {
    let lab = Lab::at_access_points(database).await;
    log_in(&lab, MAC, Some("s1".to_owned()), Seen::default()).await;
    let accounted = lab.access.account(interim(&lab, "s1", OTHER_MAC, MB), lab.now).await;
    assert_eq!(accounted.unwrap(), Accounted::Unknown);
    let accounted = lab.access.account(interim(&lab, "s1", MAC, 2 * MB), lab.now).await;
    assert_eq!(accounted.unwrap(), Accounted::Charged(2 * MB));
}

async fn a_gate_that_calls_itself_otherwise_in_its_reports_is_the_same(database: Database) {
    let mut lab = Lab::at_access_points(database).await;
    // FreeRADIUS asks for a supplicant, and its controller reports.
    let asked = by("s1", "radius");
    let grant = log_in(&lab, MAC, Some(asked.clone()), Seen::default()).await;
    for minute in 1..4 {
        lab.pass(Duration::from_mins(1));
        let report = interim(&lab, &by("s1", "controller/10.9.0.2"), MAC, minute * MB);
        let accounted = lab.access.account(report, lab.now).await.unwrap();
        assert_eq!(accounted, Accounted::Charged(MB));
        let again = log_in(&lab, MAC, Some(asked.clone()), Seen::default()).await;
        assert_eq!(again.session, grant.session, "it is open already");
    }
    assert_eq!(end(&lab, MAC).await.acct_session_id, "s1", "as the gate has it");
}

async fn a_gate_that_calls_itself_otherwise_from_now_on_is_the_same(database: Database) {
    let mut lab = Lab::at_access_points(database).await;
    let grant = log_in(&lab, MAC, Some(by("s1", "old")), Seen::default()).await;
    let first = interim(&lab, &by("s1", "old"), MAC, 5 * MB);
    lab.access.account(first, lab.now).await.unwrap();
    for (octets, class) in [(6 * MB, Some(grant.class)), (7 * MB, None)] {
        lab.pass(Duration::from_mins(1));
        let report = AccountingReport {
            class,
            ..interim(&lab, &by("s1", "new"), MAC, octets)
        };
        let accounted = lab.access.account(report, lab.now).await.unwrap();
        assert_eq!(accounted, Accounted::Charged(MB), "not the whole once more");
    }
}

async fn an_order_calls_a_gate_as_that_calls_itself(database: Database) {
    let lab = Lab::at_access_points(database).await;
    let calls = Calls {
        nas_identifier: Some("ap-7".to_owned()),
        nas_ip: Some("2001:db8::7".parse().unwrap()),
        called_station_id: Some("02-00-00-00-00-07:Kerala Wi-Fi".to_owned()),
    };
    let seen = Seen {
        calls: calls.clone(),
        ..Seen::default()
    };
    log_in(&lab, MAC, Some("s1".to_owned()), seen).await;
    assert_eq!(end(&lab, MAC).await.calls, calls);
}
