//! Forms that are sent again and again, or while the clock was wrong, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::api::*;
use kavadam_domain::Reason;
use lab::{Database, Lab, MAC, MB, cases, plan};

cases! {
    a_device_has_so_many_tickets_for_no_more_than_asking,
    a_clock_that_was_ahead_keeps_nobody_waiting_until_it_is_right,
}

async fn a_device_has_so_many_tickets_for_no_more_than_asking(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    lab.ask(MAC).await;
    let code = lab.code(MAC).await;
    assert_eq!(lab.enter(MAC, &code).await, None);
    for _ in 0..10 {
        assert_eq!(lab.enter(MAC, &code).await, None, "tapped again");
    }
    let reconnect = async |lab: &Lab| lab.access.reconnect(&lab.visit(MAC), lab.now).await.unwrap();
    for _ in 0..10 {
        assert!(matches!(reconnect(&lab).await, Verified::Ticket(_)));
    }
    let wait = Reason::TooMany(Duration::from_mins(10));
    assert_eq!(lab.enter(MAC, &code).await, Some(wait));
    assert!(matches!(reconnect(&lab).await, Verified::Refused(Reason::TooMany(_))));
    lab.pass(Duration::from_mins(10));
    assert!(matches!(reconnect(&lab).await, Verified::Ticket(_)));
}

async fn a_clock_that_was_ahead_keeps_nobody_waiting_until_it_is_right(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    let right = lab.now;
    lab.pass(Duration::from_hours(5));
    for _ in 0..3 {
        lab.pass(Duration::from_secs(31));
        assert!(matches!(lab.ask(MAC).await, Started::Sent(_)));
    }
    assert!(matches!(lab.ask(MAC).await, Started::Sent(pending) if !pending.resend_in.is_zero()));
    lab.now = right;
    let Started::Sent(pending) = lab.ask(MAC).await else {
        panic!("locked out")
    };
    assert_eq!((pending.resend_in, pending.tries_left), (Duration::from_secs(30), 5));
    lab.pass(Duration::from_secs(30));
    let resent = lab.access.resend_code(&lab.visit(MAC), lab.now).await.unwrap();
    assert!(matches!(resent, Started::Sent(_)));
}

#[tokio::test]
async fn a_code_that_is_over_is_refused_without_waiting_for_anybody() {
    let mut lab = Lab::new(Database::Postgres, &plan(100 * MB)).await;
    lab.ask(MAC).await;
    let code = lab.code(MAC).await;
    let mut other = lab.store.write().await.unwrap();
    let row = other.last_challenge(lab.site, MAC).await.unwrap().unwrap();
    other.lock_challenge(row.id).await.unwrap();
    lab.pass(Duration::from_mins(11));
    let answered = tokio::time::timeout(Duration::from_secs(2), lab.enter(MAC, &code)).await;
    assert_eq!(answered, Ok(Some(Reason::CodeExpired)));
}
