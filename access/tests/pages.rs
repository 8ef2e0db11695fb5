//! What the pages show, and vouchers, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::api::*;
use kavadam_access::voucher::Worth;
use kavadam_domain::plan::AfterQuota;
use kavadam_domain::{Plan, Reason};
use lab::{Database, Lab, MAC, MB, NUMBER, OTHER_MAC, cases, granted, plan, refused};

cases! {
    where_no_device_is_remembered_a_voucher_still_brings_the_last_holder_back,
    a_voucher_may_be_worth_a_plan,
    a_blocked_citizen_keeps_the_voucher,
    a_closed_site_leaves_the_voucher_unused,
    a_second_tap_on_a_voucher_lets_in_and_adds_nothing,
    who_disconnects_after_the_quota_comes_back_slowly_where_the_plan_goes_on,
    the_time_left_ends_with_the_period,
    only_a_session_that_was_slowed_is_called_slow,
    a_page_view_needs_no_writer,
}

fn forgetful(quota_octets: u64) -> Plan {
    Plan {
        remembered_days: 0,
        ..plan(quota_octets)
    }
}

async fn voucher(lab: &Lab, octets: u64) -> String {
    let made = lab
        .access
        .create_vouchers(1, Worth::octets(octets), "lot", None, "test", lab.now);
    made.await.unwrap().remove(0).to_string()
}

async fn step(lab: &Lab) -> Step {
    lab.access.step(&lab.visit(MAC), lab.now).await.unwrap()
}

async fn redeem(lab: &Lab, code: &str) -> Result<Ticket, Reason> {
    match lab.access.redeem_voucher(&lab.visit(MAC), code, lab.now).await.unwrap() {
        Verified::Ticket(ticket) => Ok(ticket),
        Verified::Refused(reason) => Err(reason),
    }
}

async fn where_no_device_is_remembered_a_voucher_still_brings_the_last_holder_back(database: Database) {
    let mut lab = Lab::new(database, &forgetful(20 * MB)).await;
    let (first, second) = (voucher(&lab, 30 * MB).await, voucher(&lab, 30 * MB).await);
    assert_eq!(redeem(&lab, &first).await.err(), Some(Reason::UnknownDevice));
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Stop(10), "s1", 20 * MB, 60).await;
    assert!(matches!(step(&lab).await, Step::UsedUp(_)));
    assert_eq!(
        refused(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await),
        Reason::UnknownDevice,
        "not remembered for that"
    );
    let ticket = redeem(&lab, &first).await.unwrap_or_else(|reason| panic!("{reason:?}"));
    let grant = granted(lab.logon(MAC, &ticket, "s3").await);
    assert_eq!(grant.limits.remaining_octets, Some(30 * MB));
    lab.report(AccountingKind::Stop(10), "s3", 30 * MB, 60).await;
    lab.access.change_number(&lab.visit(MAC), lab.now).await.unwrap();
    assert_eq!(step(&lab).await, Step::Number, "another number may be given");
    assert_eq!(redeem(&lab, &second).await.err(), Some(Reason::UnknownDevice));
    lab.pass(Duration::from_mins(1));
    lab.ticket(MAC).await;
    assert!(matches!(step(&lab).await, Step::UsedUp(_)));
    lab.pass(Duration::from_hours(25));
    assert_eq!(
        redeem(&lab, &second).await.err(),
        Some(Reason::UnknownDevice),
        "a day later"
    );
}

async fn a_voucher_may_be_worth_a_plan(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    let staff = Plan {
        name: "staff".into(),
        ..plan(500 * MB)
    };
    lab.access.set_plan(&staff, "test", lab.now).await.unwrap();
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Stop(10), "s1", 20 * MB, 60).await;
    let worth = Worth {
        octets: None,
        plan: Some("staff"),
    };
    let made = lab.access.create_vouchers(1, worth, "lot", None, "test", lab.now);
    let code = made.await.unwrap().remove(0);
    let ticket = redeem(&lab, &code.to_lowercase())
        .await
        .unwrap_or_else(|reason| panic!("{reason:?}"));
    let grant = granted(lab.logon(MAC, &ticket, "s2").await);
    assert_eq!(grant.limits.remaining_octets, Some(500 * MB));
}

async fn a_blocked_citizen_keeps_the_voucher(database: Database) {
    let lab = Lab::new(database, &plan(20 * MB)).await;
    lab.online(MAC, "s1").await;
    let code = voucher(&lab, 30 * MB).await;
    let number = NUMBER.parse().unwrap();
    lab.access.block(&number, true, "test", lab.now).await.unwrap();
    assert_eq!(redeem(&lab, &code).await.err(), Some(Reason::Blocked));
    lab.access.block(&number, false, "test", lab.now).await.unwrap();
    assert!(redeem(&lab, &code).await.is_ok());
}

async fn a_closed_site_leaves_the_voucher_unused(database: Database) {
    let lab = Lab::new(database, &plan(20 * MB)).await;
    lab.online(MAC, "s1").await;
    let code = voucher(&lab, 30 * MB).await;
    let set = |is_open| {
        lab.access
            .set_site("Vizhinjam bus stand", is_open, "citizen", "test", lab.now)
    };
    set(false).await.unwrap();
    assert_eq!(redeem(&lab, &code).await.err(), Some(Reason::SiteClosed));
    set(true).await.unwrap();
    assert!(redeem(&lab, &code).await.is_ok());
}

async fn a_second_tap_on_a_voucher_lets_in_and_adds_nothing(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Stop(10), "s1", 20 * MB, 60).await;
    let code = voucher(&lab, 30 * MB).await;
    redeem(&lab, &code).await.unwrap_or_else(|reason| panic!("{reason:?}"));
    lab.pass(Duration::from_secs(10));
    let again = redeem(&lab, &code).await;
    let ticket = again.unwrap_or_else(|reason| panic!("the answer to the first was lost: {reason:?}"));
    let grant = granted(lab.logon(MAC, &ticket, "s2").await);
    assert_eq!(grant.limits.remaining_octets, Some(30 * MB), "once");
    // It is nobody else's for that.
    let stranger = lab.visit(OTHER_MAC);
    let started = lab.access.start_login(&stranger, "9876500000", true, lab.now).await;
    assert!(matches!(started.unwrap(), Started::Sent(_)));
    assert_eq!(lab.enter(OTHER_MAC, &lab.code(OTHER_MAC).await).await, None);
    let theirs = lab.access.redeem_voucher(&stranger, &code, lab.now).await.unwrap();
    assert!(matches!(theirs, Verified::Refused(Reason::BadVoucher)));
    lab.pass(Duration::from_mins(1));
    assert_eq!(
        redeem(&lab, &code).await.err(),
        Some(Reason::BadVoucher),
        "a minute later"
    );
}

async fn who_disconnects_after_the_quota_comes_back_slowly_where_the_plan_goes_on(database: Database) {
    let slow = Plan {
        after_quota: AfterQuota::Throttle { bits_per_sec: 256_000 },
        ..plan(20 * MB)
    };
    let mut lab = Lab::new(database, &slow).await;
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Stop(1), "s1", 20 * MB, 60).await;
    lab.access.disconnect(&lab.visit(MAC), lab.now).await.unwrap();
    let shown = step(&lab).await;
    assert!(matches!(shown, Step::Returning { .. }), "{shown:?}");
    let Verified::Ticket(ticket) = lab.access.reconnect(&lab.visit(MAC), lab.now).await.unwrap() else {
        panic!("no ticket")
    };
    assert!(granted(lab.logon(MAC, &ticket, "s2").await).is_throttled);
    lab.report(AccountingKind::Stop(1), "s2", MB, 60).await;
    lab.access.set_plan(&plan(20 * MB), "test", lab.now).await.unwrap();
    assert!(matches!(step(&lab).await, Step::UsedUp(_)), "a plan that closes");
}

async fn the_time_left_ends_with_the_period(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    // From noon in Kerala to 22 h: two hours to midnight, and the plan gives four.
    lab.pass(Duration::from_hours(10));
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    let Step::Online(status) = step(&lab).await else {
        panic!("not online")
    };
    assert_eq!(status.session_left, Some(Duration::from_hours(2)));
    assert_eq!(status.period_left, Some(Duration::from_hours(2)));
}

async fn only_a_session_that_was_slowed_is_called_slow(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", 20 * MB, 60).await;
    let Step::Online(status) = step(&lab).await else {
        panic!("not online")
    };
    assert!(!status.is_throttled, "the plan closes");
    let slow = Plan {
        after_quota: AfterQuota::Throttle { bits_per_sec: 256_000 },
        ..plan(20 * MB)
    };
    lab.access.set_plan(&slow, "test", lab.now).await.unwrap();
    granted(lab.authorize(MAC, Service::Renewal, "", "s1").await);
    let Step::Online(status) = step(&lab).await else {
        panic!("not online")
    };
    assert!(status.is_throttled);
    assert_eq!(status.down_bits_per_sec, Some(256_000), "at the speed it has");
}

async fn a_page_view_needs_no_writer(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Stop(1), "s1", MB, 60).await;
    // A period nobody has looked at yet.
    lab.pass(Duration::from_hours(24));
    let _writer = lab.store.write().await.unwrap();
    let viewed = tokio::time::timeout(Duration::from_secs(2), step(&lab)).await;
    assert!(matches!(viewed, Ok(Step::Returning { .. })), "{viewed:?}");
}
