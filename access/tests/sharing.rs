//! One quota, several devices, gates and reports at once, on both databases.

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
use kavadam_access::voucher::Worth;
use kavadam_domain::plan::AfterQuota;
use kavadam_domain::{Mac, NasId, Plan, Reason};
use lab::{Database, Lab, MAC, MB, OTHER_MAC, cases, granted, plan, refused};

cases! {
    many_devices_at_once_never_get_more_than_remains,
    many_reports_at_once_charge_each_octet_once,
    devices_at_one_gate_share_a_lease_and_at_two_gates_have_one_each,
    a_gates_quota_dies_with_its_last_session_and_what_was_left_comes_back,
    a_restart_of_the_gate_ends_its_sessions_and_frees_their_leases,
    a_stop_without_a_start_is_charged_to_the_session_of_its_class,
    a_session_is_slowed_after_the_quota_and_quick_again_after_a_top_up,
    a_name_given_again_by_a_gate_ends_the_session_that_had_it,
    a_changed_plan_reaches_those_online,
    a_changed_number_is_asked_for_anew,
}

async fn second_gate(lab: &Lab) -> NasId {
    let nas = NasSetting {
        name: "gate-2",
        site: "Vizhinjam bus stand",
        source: "127.0.0.2/32".parse().unwrap(),
        secret: b"a secret of the gate",
        uam_secret: b"a secret of redirects",
        coa_port: 3799,
        coa_host: None,
        profile: "kavadam",
        is_renewing: true,
    };
    lab.access.set_nas(&nas, "test", lab.now).await.unwrap()
}

async fn at_gate(lab: &Lab, nas: NasId, mac: Mac, id: &str) -> Decision {
    let request = AuthorizeRequest {
        nas,
        user_name: mac.to_string(),
        service: Service::CallCheck,
        mac: Some(mac),
        ip: None,
        acct_session_id: Some(id.to_owned()),
        class: None,
        wants_cui: true,
        seen: Seen::default(),
    };
    lab.access.authorize(request, lab.now).await.unwrap()
}

fn leased(decision: Decision) -> u64 {
    granted(decision).limits.max_total_octets.unwrap()
}

async fn many_devices_at_once_never_get_more_than_remains(database: Database) {
    let crowd = Plan {
        max_devices: 40,
        ..plan(25 * MB)
    };
    let mut lab = Lab::new(database, &crowd).await;
    let other = second_gate(&lab).await;
    let macs: Vec<Mac> = (0..24).map(|n| Mac([2, 0, 0, 0, 1, n])).collect();
    let subscriber = {
        lab.online(MAC, "first").await;
        let mut tx = lab.store.write().await.unwrap();
        let row = tx
            .subscriber_numbered(&lab::NUMBER.parse().unwrap())
            .await
            .unwrap()
            .unwrap();
        for mac in &macs {
            tx.remember_device(row.id, *mac, Some(lab.now + Duration::from_hours(1)), lab.now)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        row.id
    };
    lab.report(AccountingKind::Stop(1), "first", 0, 0).await;
    lab.pass(Duration::from_secs(1));
    let now = lab.now;
    let tasks: Vec<_> = macs
        .iter()
        .enumerate()
        .map(|(index, mac)| {
            let request = AuthorizeRequest {
                nas: if index % 2 == 0 { lab.nas } else { other },
                user_name: mac.to_string(),
                service: Service::CallCheck,
                mac: Some(*mac),
                ip: None,
                acct_session_id: Some(format!("crowd-{index}")),
                class: None,
                wants_cui: index % 3 != 0,
                seen: Seen::default(),
            };
            let access = lab.access.clone();
            tokio::spawn(async move { access.authorize(request, now).await.unwrap() })
        })
        .collect();
    let mut handed_out = 0;
    for task in tasks {
        if let Decision::Accept(grant) = task.await.unwrap() {
            handed_out += grant.limits.max_total_octets.unwrap();
        }
    }
    assert!((20 * MB..=25 * MB).contains(&handed_out), "{handed_out}");
    let mut tx = lab.store.read().await.unwrap();
    let live = tx.live_sessions_of(subscriber).await.unwrap();
    assert_eq!(
        live.iter().map(|session| session.granted_octets).sum::<u64>(),
        handed_out
    );
    let promised = tx.promised_octets(live[0].entitlement_id).await.unwrap();
    assert_eq!(promised, handed_out, "what gates were told is what is written down");
}

async fn many_reports_at_once_charge_each_octet_once(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_secs(100));
    let tasks: Vec<_> = (0..40u32)
        .map(|n| {
            // Twenty different reports, each sent twice, all on the wire together.
            let secs = n % 20 + 1;
            let report = AccountingReport {
                nas: lab.nas,
                from: None,
                kind: AccountingKind::Interim,
                acct_session_id: "s1".to_owned(),
                class: None,
                user_name: None,
                mac: None,
                ip: None,
                ports: None,
                free: None,
                counters: Counters {
                    down_octets: u64::from(secs) * MB,
                    session_secs: secs,
                    ..Counters::default()
                },
                at: lab.now - Duration::from_secs(u64::from(50 - secs)),
            };
            let (access, now) = (lab.access.clone(), lab.now);
            tokio::spawn(async move { access.account(report, now).await.unwrap() })
        })
        .collect();
    let mut charged = 0;
    for task in tasks {
        let Accounted::Charged(octets) = task.await.unwrap() else {
            panic!("not charged")
        };
        charged += octets;
    }
    assert_eq!(charged, 20 * MB);
    let Step::Online(status) = lab.access.step(&lab.visit(MAC), lab.now).await.unwrap() else {
        panic!("not online")
    };
    assert_eq!(status.used_octets, 20 * MB);
}

async fn devices_at_one_gate_share_a_lease_and_at_two_gates_have_one_each(database: Database) {
    let mut lab = Lab::new(
        database,
        &Plan {
            max_devices: 3,
            ..plan(40 * MB)
        },
    )
    .await;
    let other = second_gate(&lab).await;
    let first = lab.online(MAC, "s1").await;
    assert_eq!(
        first.limits.max_total_octets,
        Some(10 * MB),
        "a quarter of a small quota"
    );
    lab.pass(Duration::from_secs(31));
    let second = lab.online(OTHER_MAC, "s2").await;
    assert_eq!(first.cui, second.cui, "one person");
    assert_eq!(
        second.limits.max_total_octets,
        Some(0),
        "the gate has a full lease for both"
    );
    assert_eq!(
        leased(at_gate(&lab, other, MAC, "s3").await),
        10 * MB,
        "another gate knows nothing of it"
    );
    lab.report(AccountingKind::Interim, "s2", 9 * MB, 10).await;
    let renewed = lab
        .authorize(OTHER_MAC, Service::Renewal, &second.user_name, "s2")
        .await;
    assert_eq!(
        leased(renewed),
        9 * MB,
        "added to what both may use, though another's lease was used"
    );
}

async fn a_gates_quota_dies_with_its_last_session_and_what_was_left_comes_back(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    lab.pass(Duration::from_secs(31));
    let ticket = lab.ticket(OTHER_MAC).await;
    assert_eq!(
        leased(lab.logon(OTHER_MAC, &ticket, "s2").await),
        0,
        "it joins what the gate has"
    );
    // The first ends before the second began: the gate's shared quota is gone, the second has nothing of it.
    lab.report(AccountingKind::Stop(1), "s1", MB, 31).await;
    lab.report(AccountingKind::Start, "s2", 0, 0).await;
    let renewed = lab.authorize(OTHER_MAC, Service::Renewal, "", "s2").await;
    assert_eq!(leased(renewed), 10 * MB);
    let Step::Online(status) = lab.access.step(&lab.visit(OTHER_MAC), lab.now).await.unwrap() else {
        panic!("not online")
    };
    assert_eq!(status.used_octets, MB);
}

async fn a_restart_of_the_gate_ends_its_sessions_and_frees_their_leases(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Interim, "s1", 2 * MB, 5).await;
    lab.pass(Duration::from_mins(1));
    assert_eq!(lab.report(AccountingKind::On, "", 0, 0).await, Accounted::Closed(1));
    assert_eq!(lab.report(AccountingKind::On, "", 0, 0).await, Accounted::Closed(0));
    let grant = granted(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await);
    assert_eq!(grant.limits.remaining_octets, Some(18 * MB));
    assert_eq!(
        refused(lab.authorize(MAC, Service::Renewal, "", "s1").await),
        Reason::UnknownSession
    );
}

async fn a_stop_without_a_start_is_charged_to_the_session_of_its_class(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    let grant = lab.online(MAC, "as-asked").await;
    lab.pass(Duration::from_mins(1));
    let report = AccountingReport {
        nas: lab.nas,
        from: None,
        kind: AccountingKind::Stop(1),
        acct_session_id: "as-reported".to_owned(),
        class: Some(grant.class),
        user_name: None,
        mac: Some(MAC),
        ip: None,
        ports: None,
        free: None,
        counters: Counters {
            up_octets: MB,
            down_octets: 2 * MB,
            session_secs: 60,
            ..Counters::default()
        },
        at: lab.now,
    };
    assert_eq!(
        lab.access.account(report.clone(), lab.now).await.unwrap(),
        Accounted::Charged(3 * MB)
    );
    assert_eq!(
        lab.access.account(report, lab.now).await.unwrap(),
        Accounted::Charged(0),
        "twice"
    );
}

async fn a_session_is_slowed_after_the_quota_and_quick_again_after_a_top_up(database: Database) {
    let slow = Plan {
        after_quota: AfterQuota::Throttle { bits_per_sec: 256_000 },
        ..plan(20 * MB)
    };
    let mut lab = Lab::new(database, &slow).await;
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", 20 * MB, 60).await;
    let grant = granted(lab.authorize(MAC, Service::Renewal, "", "s1").await);
    assert_eq!(
        (grant.limits.down_bits_per_sec, grant.limits.max_total_octets),
        (Some(256_000), None)
    );
    assert!(grant.is_renewable, "a limit may come again");
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", 21 * MB, 120).await;

    let codes = lab
        .access
        .create_vouchers(1, Worth::octets(11 * MB), "lot", None, "test", lab.now)
        .await
        .unwrap();
    lab.access
        .redeem_voucher(&lab.visit(MAC), &codes[0], lab.now)
        .await
        .unwrap();
    let orders = lab.orders().await;
    let OrderAction::Change(limits) = &orders[0].action else {
        panic!("{orders:?}")
    };
    assert_eq!(limits.down_bits_per_sec, Some(10_000_000));
    assert_eq!(limits.remaining_octets, Some(10 * MB), "what went slowly was counted");
    let total = limits.max_total_octets.unwrap();
    assert!(
        (21 * MB + 1..=31 * MB).contains(&total),
        "on top of what it has used: {total}"
    );
    assert!(lab.answer(&orders[0], OrderAnswer::Done).await);
    assert!(lab.orders().await.is_empty());
}

async fn a_name_given_again_by_a_gate_ends_the_session_that_had_it(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    lab.online(MAC, "0001").await;
    lab.report(AccountingKind::Interim, "0001", 5 * MB, 10).await;
    lab.pass(Duration::from_secs(31));
    let second = lab.online(OTHER_MAC, "asked-as-another").await;
    let report = AccountingReport {
        nas: lab.nas,
        from: None,
        kind: AccountingKind::Start,
        acct_session_id: "0001".to_owned(),
        class: Some(second.class),
        user_name: None,
        mac: Some(OTHER_MAC),
        ip: None,
        ports: None,
        free: None,
        counters: Counters::default(),
        at: lab.now,
    };
    assert_eq!(
        lab.access.account(report, lab.now).await.unwrap(),
        Accounted::Charged(0)
    );
    let now_its = lab.report(AccountingKind::Interim, "0001", MB, 5).await;
    assert_eq!(now_its, Accounted::Charged(MB), "counted from the new session's start");
    let Step::Online(status) = lab.access.step(&lab.visit(OTHER_MAC), lab.now).await.unwrap() else {
        panic!("not online")
    };
    assert_eq!((status.devices_online, status.used_octets), (1, 6 * MB));
}

async fn a_changed_plan_reaches_those_online(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    let faster = Plan {
        down_bits_per_sec: Some(20_000_000),
        ..plan(100 * MB)
    };
    lab.access.set_plan(&faster, "test", lab.now).await.unwrap();
    let orders = lab.orders().await;
    let OrderAction::Change(limits) = &orders[0].action else {
        panic!("{orders:?}")
    };
    assert_eq!(limits.down_bits_per_sec, Some(20_000_000));
}

async fn a_changed_number_is_asked_for_anew(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Stop(10), "s1", 20 * MB, 60).await;
    assert!(matches!(
        lab.access.step(&lab.visit(MAC), lab.now).await.unwrap(),
        Step::UsedUp(_)
    ));
    lab.access.change_number(&lab.visit(MAC), lab.now).await.unwrap();
    assert_eq!(lab.access.step(&lab.visit(MAC), lab.now).await.unwrap(), Step::Number);
    assert_eq!(
        refused(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await),
        Reason::UnknownDevice
    );
}
