//! What reports are charged, to whom and to which period, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::api::*;
use lab::{Database, Lab, MAC, MB, cases, plan};

cases! {
    what_no_line_carries_is_kept_and_acknowledged_but_not_charged,
    a_stop_that_no_line_carries_still_ends_its_session,
    a_name_that_ends_with_nul_is_the_name_without,
    a_late_copy_from_a_gate_without_a_clock_is_not_charged_again,
}

async fn online(database: Database) -> Lab {
    let lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Interim, "s1", MB, 1).await;
    lab
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

async fn a_stop_that_no_line_carries_still_ends_its_session(database: Database) {
    let lab = online(database).await;
    lab.report(AccountingKind::Stop(1), "s1", ABSURD, 60).await;
    assert_eq!(lab.session(MAC).await.state, "ended");
    assert_eq!(lab.used_and_promised().await, (MB, 0));
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
        kind: AccountingKind::Stop(1),
        acct_session_id: "\0".to_owned(),
        class: None,
        user_name: Some("al\0ias".to_owned()),
        mac: None,
        ip: None,
        counters: Counters::default(),
        at: lab.now,
    };
    assert_eq!(lab.access.account(report, lab.now).await.unwrap(), Accounted::Unknown);
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
