//! Gates of one vendor's record that ask without a name, give no Class back, and number their sessions alike. On both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::admin::SessionQuery;
use kavadam_access::api::*;
use kavadam_domain::{Mac, MobileNumber};
use lab::gates::by;
use lab::{Database, Lab, MAC, MB, OTHER_MAC, cases};

cases! {
    each_gate_begins_its_own_grant_though_they_number_alike,
    of_gates_that_call_themselves_alike_each_begins_its_own_grant,
    what_was_asked_for_without_a_name_goes_on_where_its_gate_calls_itself_otherwise,
    a_session_that_begins_in_place_of_another_follows_on_whatever_its_gate_calls_itself,
    a_stop_of_the_gate_before_is_not_the_last_word,
    a_late_word_of_another_gates_session_begins_no_grant,
    whoever_is_blocked_cuts_nobody_who_took_the_name,
}

/// Without an Acct-Session-Id.
async fn ask(lab: &Lab, mac: Mac) -> Grant {
    lab.call_check(mac, None, Seen::default()).await
}

/// Without a Class.
async fn report(lab: &Lab, kind: AccountingKind, name: &str, mac: Mac, octets: u64, secs: u32) -> Accounted {
    lab.account(lab.words(kind, name, Some(mac), octets, secs)).await
}

async fn begin(lab: &Lab, name: &str, mac: Mac) {
    ask(lab, mac).await;
    let begun = report(lab, AccountingKind::Start, name, mac, 0, 0).await;
    assert_eq!(begun, Accounted::Charged(0));
}

async fn interim(lab: &Lab, name: &str, mac: Mac, octets: u64, secs: u32) -> Accounted {
    report(lab, AccountingKind::Interim, name, mac, octets, secs).await
}

async fn is_online(lab: &Lab, mac: Mac, octets: u64) {
    let session = lab.session(mac).await;
    assert_eq!((session.state, session.counters.down_octets), ("open", octets));
}

fn pass(lab: &mut Lab, secs: u64) {
    lab.pass(Duration::from_secs(secs));
}

async fn each_gate_begins_its_own_grant_though_they_number_alike(database: Database) {
    let mut lab = Lab::at_access_points(database).await;
    let (first, second) = (by("1", "ap-1"), by("1", "ap-2"));
    begin(&lab, &first, MAC).await;
    begin(&lab, &second, OTHER_MAC).await;
    pass(&mut lab, 60);
    assert_eq!(interim(&lab, &first, MAC, 2 * MB, 60).await, Accounted::Charged(2 * MB));
    let charged = interim(&lab, &second, OTHER_MAC, 3 * MB, 60).await;
    assert_eq!(charged, Accounted::Charged(3 * MB));
    is_online(&lab, MAC, 2 * MB).await;
    is_online(&lab, OTHER_MAC, 3 * MB).await;
}

async fn of_gates_that_call_themselves_alike_each_begins_its_own_grant(database: Database) {
    let mut lab = Lab::at_access_points(database).await;
    begin(&lab, "1", MAC).await;
    begin(&lab, "1", OTHER_MAC).await;
    pass(&mut lab, 60);
    assert_eq!(interim(&lab, "1", MAC, 2 * MB, 60).await, Accounted::Charged(2 * MB));
    let charged = interim(&lab, "1", OTHER_MAC, 3 * MB, 60).await;
    assert_eq!(charged, Accounted::Charged(3 * MB));
    is_online(&lab, OTHER_MAC, 3 * MB).await;
    report(&lab, AccountingKind::Stop(1), "1", OTHER_MAC, 3 * MB, 61).await;
    pass(&mut lab, 60);
    assert_eq!(interim(&lab, "1", MAC, 4 * MB, 120).await, Accounted::Charged(2 * MB));
    is_online(&lab, MAC, 4 * MB).await;
}

async fn what_was_asked_for_without_a_name_goes_on_where_its_gate_calls_itself_otherwise(database: Database) {
    let mut lab = Lab::at_access_points(database).await;
    begin(&lab, &by("1", "old"), MAC).await;
    for minute in 1..20 {
        // Proven again all the while.
        ask(&lab, MAC).await;
        pass(&mut lab, 60);
        let charged = interim(&lab, &by("1", "new"), MAC, u64::from(minute) * MB, minute * 60).await;
        assert_eq!(charged, Accounted::Charged(MB), "not the whole once more");
    }
    is_online(&lab, MAC, 19 * MB).await;
    let sessions = lab.access.sessions(&SessionQuery::default()).await;
    assert_eq!(sessions.unwrap().len(), 1);
}

async fn a_session_that_begins_in_place_of_another_follows_on_whatever_its_gate_calls_itself(database: Database) {
    for number in ["7", "1"] {
        let mut lab = Lab::at_access_points(database).await;
        begin(&lab, &by("1", "ap-1"), MAC).await;
        pass(&mut lab, 120);
        interim(&lab, &by("1", "ap-1"), MAC, MB, 120).await;
        // It roams.
        begin(&lab, &by(number, "ap-2"), MAC).await;
        pass(&mut lab, 60);
        let charged = interim(&lab, &by(number, "ap-2"), MAC, 2 * MB, 60).await;
        assert_eq!(charged, Accounted::Charged(2 * MB), "{number}");
        let late = report(&lab, AccountingKind::Stop(1), &by("1", "ap-1"), MAC, 3 * MB, 121).await;
        assert_eq!(late, Accounted::Charged(2 * MB), "{number}");
        is_online(&lab, MAC, 2 * MB).await;
    }
}

/// Before there was an Interim of it: the two are one here, but what the first gate says of its end is not the end of what goes on at the other.
async fn a_stop_of_the_gate_before_is_not_the_last_word(database: Database) {
    let mut lab = Lab::at_access_points(database).await;
    begin(&lab, &by("1", "ap-1"), MAC).await;
    begin(&lab, &by("1", "ap-2"), MAC).await;
    report(&lab, AccountingKind::Stop(1), &by("1", "ap-1"), MAC, 0, 1).await;
    pass(&mut lab, 60);
    interim(&lab, &by("1", "ap-2"), MAC, MB, 60).await;
    is_online(&lab, MAC, MB).await;
}

async fn a_late_word_of_another_gates_session_begins_no_grant(database: Database) {
    let mut lab = Lab::at_access_points(database).await;
    begin(&lab, &by("1", "ap-1"), MAC).await;
    report(&lab, AccountingKind::Stop(1), &by("1", "ap-1"), MAC, MB, 1).await;
    begin(&lab, &by("1", "ap-2"), MAC).await;
    pass(&mut lab, 60);
    let late = report(&lab, AccountingKind::Stop(1), &by("1", "ap-1"), MAC, 2 * MB, 2).await;
    assert_eq!(late, Accounted::Charged(MB));
    is_online(&lab, MAC, 0).await;
}

async fn whoever_is_blocked_cuts_nobody_who_took_the_name(database: Database) {
    let mut lab = Lab::at_access_points(database).await;
    begin(&lab, "1", MAC).await;
    pass(&mut lab, 60);
    begin(&lab, "1", OTHER_MAC).await;
    assert_eq!(lab.session(MAC).await.state, "ended");
    let number: MobileNumber = "9876543201".parse().unwrap();
    lab.access.block(&number, true, "test", lab.now).await.unwrap();
    assert_eq!(lab.orders().await, []);
    is_online(&lab, OTHER_MAC, 0).await;
}
