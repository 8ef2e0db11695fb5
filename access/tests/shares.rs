//! What kinds of gates get: those that renew, those that only take a limit, and the slowed, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::admin::NasSetting;
use kavadam_access::api::*;
use kavadam_domain::Plan;
use kavadam_domain::plan::AfterQuota;
use lab::{Database, Lab, MAC, MB, OTHER_MAC, cases, granted, plan};

cases! {
    a_session_is_slowed_while_another_gate_holds_the_rest_and_quick_again_when_it_comes_back,
    a_session_begun_slowly_or_without_a_quota_may_ask_again_once_it_is_metered,
    a_vendors_gate_that_asks_for_an_identity_gets_a_share_for_each_device,
    a_gate_that_should_have_asked_again_is_told_when_its_lease_is_used_up,
}

async fn a_session_is_slowed_while_another_gate_holds_the_rest_and_quick_again_when_it_comes_back(database: Database) {
    let slow = Plan {
        after_quota: AfterQuota::Throttle { bits_per_sec: 256_000 },
        ..plan(20 * MB)
    };
    let mut lab = Lab::new(database, &slow).await;
    let half = lab.online_fixed(MAC, "s1").await;
    assert_eq!(half.limits.max_total_octets, Some(10 * MB));
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    lab.pass(Duration::from_secs(31));
    lab.online(OTHER_MAC, "s2").await;
    lab.report(AccountingKind::Interim, "s2", 5 * MB, 10).await;
    assert_eq!(
        granted(lab.renew(OTHER_MAC, "s2").await).limits.max_total_octets,
        Some(10 * MB)
    );
    lab.report(AccountingKind::Interim, "s2", 10 * MB, 20).await;
    let slowed = granted(lab.renew(OTHER_MAC, "s2").await).limits;
    assert_eq!(
        (slowed.max_total_octets, slowed.down_bits_per_sec),
        (None, Some(256_000))
    );
    lab.report(AccountingKind::Stop(1), "s1", MB, 60).await;
    let orders = lab.orders().await;
    let OrderAction::Change(limits) = &orders[0].action else {
        panic!("{orders:?}")
    };
    assert_eq!(
        (limits.max_total_octets, limits.down_bits_per_sec),
        (Some(15 * MB), Some(10_000_000))
    );
}

async fn a_session_begun_slowly_or_without_a_quota_may_ask_again_once_it_is_metered(database: Database) {
    let slow = Plan {
        after_quota: AfterQuota::Throttle { bits_per_sec: 256_000 },
        ..plan(20 * MB)
    };
    let mut lab = Lab::new(database, &slow).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Stop(1), "s1", 20 * MB, 60).await;
    lab.pass(Duration::from_secs(31));
    let slowed = granted(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await);
    assert_eq!((slowed.limits.max_total_octets, slowed.is_renewable), (None, true));
    let unlimited = Plan {
        quota_octets: None,
        ..slow
    };
    lab.access.set_plan(&unlimited, "test", lab.now).await.unwrap();
    let free = lab.online(OTHER_MAC, "s3").await;
    assert_eq!((free.limits.max_total_octets, free.is_renewable), (None, true));
}

async fn a_vendors_gate_that_asks_for_an_identity_gets_a_share_for_each_device(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    let vendor = NasSetting {
        name: "gate-1",
        site: "Vizhinjam bus stand",
        source: "127.0.0.1/32".parse().unwrap(),
        secret: b"a secret of the gate",
        uam_secret: b"a secret of redirects",
        coa_port: 3799,
        coa_host: None,
        profile: "kavadam",
        is_renewing: false,
    };
    lab.access.set_nas(&vendor, "test", lab.now).await.unwrap();
    let first = lab.online(MAC, "s1").await;
    assert_eq!(
        (first.limits.max_total_octets, first.is_renewable),
        (Some(20 * MB), false)
    );
    lab.pass(Duration::from_secs(31));
    let second = lab.online(OTHER_MAC, "s2").await;
    assert_eq!(
        second.limits.max_total_octets,
        Some(10 * MB),
        "half of the rest, and not of the first's"
    );
}

async fn a_gate_that_should_have_asked_again_is_told_when_its_lease_is_used_up(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Interim, "s1", 9 * MB, 8).await;
    assert_eq!(lab.orders().await, [], "it may still ask");
    lab.report(AccountingKind::Interim, "s1", 11 * MB, 9).await;
    assert_eq!(lab.orders().await, [], "it may be about to");
    lab.pass(Duration::from_secs(10));
    let orders = lab.orders().await;
    assert!(
        matches!(orders[0].action, OrderAction::Change(limits) if limits.max_total_octets == Some(21 * MB)),
        "{orders:?}"
    );
}
