//! Gates of vendors that cannot be told everything, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::AccessError;
use kavadam_access::admin::NasChange;
use kavadam_access::api::*;
use kavadam_domain::Plan;
use kavadam_domain::accounting::FreeOctets;
use kavadam_domain::gate::{Abilities, Hold};
use kavadam_domain::plan::AfterQuota;
use lab::{Database, Lab, MAC, MB, OTHER_MAC, cases, granted, plan};

cases! {
    a_gate_that_only_reports_is_cut_when_its_reports_show_the_quota_used_up,
    what_a_reporting_gate_let_through_beyond_the_quota_is_a_debt,
    a_gate_that_only_reports_leaves_the_rest_of_the_quota_to_another_device,
    a_plan_that_goes_on_slowly_does_so_from_the_next_login_at_a_gate_that_takes_no_change,
    a_plan_that_goes_on_slowly_does_so_at_once_at_a_gate_that_takes_another_role,
    octets_added_at_a_gate_told_at_the_login_alone_wait_for_the_next_one,
    a_slower_plan_ends_the_session_at_a_gate_that_takes_no_change,
    a_faster_plan_waits_for_the_next_login_at_a_gate_that_takes_no_change,
    a_slower_plan_reaches_a_gate_that_takes_speeds_but_no_octets,
    a_change_that_the_gate_will_never_make_ends_the_session_or_waits,
    a_change_that_is_refused_without_a_reason_is_one_that_will_never_be_made,
    a_session_that_cannot_be_cut_is_shown_as_such_and_not_asked_for_again,
    an_order_names_the_session_as_its_gate_does,
    a_session_that_its_gate_numbers_anew_is_still_told_what_it_was,
    orders_go_to_the_host_of_the_gates_record,
    a_session_that_one_access_point_does_not_know_is_asked_for_again_where_it_is_heard_of,
    a_session_that_no_access_point_reports_any_more_stays_ended,
    a_restart_of_one_access_point_ends_no_session_that_another_reports_after_it,
    a_gates_profile_must_be_known_and_only_ours_renews,
}

/// As MikroTik: octets at the login alone.
const TOLD_ONCE: Abilities = Abilities {
    octets: Hold::AtLogin,
    ..Abilities::ALL
};
/// As Aruba: no octets, nothing changed later.
const REPORTING: Abilities = Abilities {
    octets: Hold::Never,
    ..ALL_AT_LOGIN
};
const ALL_AT_LOGIN: Abilities = Abilities {
    octets: Hold::AtLogin,
    rate: Hold::AtLogin,
    session_secs: Hold::AtLogin,
    idle_secs: Hold::AtLogin,
    is_cut: true,
};
/// As pfSense.
const UNCUT: Abilities = Abilities {
    is_cut: false,
    ..ALL_AT_LOGIN
};

async fn online(lab: &Lab) -> Grant {
    let grant = lab.online_fixed(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    grant
}

fn is_end(orders: &[Order]) -> bool {
    matches!(
        orders,
        [Order {
            action: OrderAction::End,
            ..
        }]
    )
}

async fn a_gate_that_only_reports_is_cut_when_its_reports_show_the_quota_used_up(database: Database) {
    let mut lab = Lab::at_a_vendors(database, &plan(40 * MB), REPORTING, None).await;
    online(&lab).await;
    for (minute, octets) in [(1, 12), (2, 25), (3, 39)] {
        lab.pass(Duration::from_mins(1));
        lab.report(AccountingKind::Interim, "s1", octets * MB, minute * 60)
            .await;
        assert_eq!(lab.orders().await, [], "{octets} MB of 40: nothing to tell it");
        assert_eq!(lab.session(MAC).await.trouble, None);
    }
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", 40 * MB, 240).await;
    assert!(is_end(&lab.orders().await));
}

async fn what_a_reporting_gate_let_through_beyond_the_quota_is_a_debt(database: Database) {
    let mut lab = Lab::at_a_vendors(database, &plan(40 * MB), REPORTING, None).await;
    online(&lab).await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", 55 * MB, 60).await;
    assert!(is_end(&lab.orders().await));
    lab.report(AccountingKind::Stop(6), "s1", 56 * MB, 61).await;
    assert_eq!(lab.used_and_promised().await, (56 * MB, 0));
    lab.top_up(10 * MB).await;
    let still_used_up = lab.authorize_as(MAC, Service::CallCheck, "mac", "s2", false).await;
    assert!(matches!(still_used_up, Decision::Reject { .. }), "50 of 56");
}

async fn a_gate_that_only_reports_leaves_the_rest_of_the_quota_to_another_device(database: Database) {
    let mut lab = Lab::at_a_vendors(database, &plan(400 * MB), REPORTING, None).await;
    let first = online(&lab).await;
    assert_eq!(first.limits.max_total_octets, Some(100 * MB), "a quarter at a time");
    lab.pass(Duration::from_secs(31));
    lab.online_fixed(OTHER_MAC, "s2").await;
    assert_eq!(lab.used_and_promised().await, (0, 200 * MB));
}

async fn a_plan_that_goes_on_slowly_does_so_from_the_next_login_at_a_gate_that_takes_no_change(database: Database) {
    let slow = Plan {
        after_quota: AfterQuota::Throttle { bits_per_sec: 256_000 },
        ..plan(40 * MB)
    };
    let mut lab = Lab::at_a_vendors(database, &slow, REPORTING, None).await;
    assert!(!online(&lab).await.is_throttled);
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", 40 * MB, 60).await;
    assert!(is_end(&lab.orders().await), "it would go on at full speed");
    lab.report(AccountingKind::Stop(6), "s1", 40 * MB, 61).await;
    let slowed = granted(lab.authorize_as(MAC, Service::CallCheck, "mac", "s2", false).await);
    assert!(slowed.is_throttled);
    assert_eq!(slowed.limits.down_bits_per_sec, Some(256_000));
    lab.report(AccountingKind::Start, "s2", 0, 0).await;
    lab.top_up(10 * MB).await;
    assert_eq!(lab.orders().await, [], "faster again from the next login on");
}

async fn a_plan_that_goes_on_slowly_does_so_at_once_at_a_gate_that_takes_another_role(database: Database) {
    let slow = Plan {
        after_quota: AfterQuota::Throttle { bits_per_sec: 256_000 },
        ..plan(40 * MB)
    };
    let by_role = Abilities {
        rate: Hold::Always,
        ..REPORTING
    };
    let mut lab = Lab::at_a_vendors(database, &slow, by_role, None).await;
    online(&lab).await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", 40 * MB, 60).await;
    let role = |is_throttled| {
        Some(Role {
            plan: slow.name.clone(),
            is_throttled,
        })
    };
    let change = lab.orders().await.remove(0);
    assert!(matches!(change.action, OrderAction::Change(_)), "{change:?}");
    assert_eq!(change.role, role(true));
    assert!(lab.answer(&change, OrderAnswer::Done).await);
    lab.top_up(10 * MB).await;
    let back = lab.orders().await.remove(0);
    assert_eq!(back.role, role(false), "and fast again");
    lab.block().await;
    let end = lab.orders().await.remove(0);
    assert_eq!((end.action, end.role), (OrderAction::End, None));
}

async fn octets_added_at_a_gate_told_at_the_login_alone_wait_for_the_next_one(database: Database) {
    let mut lab = Lab::at_a_vendors(database, &plan(40 * MB), TOLD_ONCE, None).await;
    let grant = online(&lab).await;
    assert_eq!(grant.limits.max_total_octets, Some(20 * MB));
    lab.top_up(100 * MB).await;
    assert_eq!(lab.orders().await, []);
    assert_eq!(
        lab.used_and_promised().await,
        (0, 20 * MB),
        "nothing is promised that it is not told"
    );
    lab.report(AccountingKind::Stop(10), "s1", 20 * MB, 60).await;
    lab.pass(Duration::from_secs(1));
    let again = granted(lab.authorize_as(MAC, Service::CallCheck, "mac", "s2", false).await);
    assert_eq!(again.limits.max_total_octets, Some(60 * MB), "half of what is left");
}

fn with_speed(down_bits_per_sec: u64) -> Plan {
    Plan {
        down_bits_per_sec: Some(down_bits_per_sec),
        ..plan(40 * MB)
    }
}

async fn a_slower_plan_ends_the_session_at_a_gate_that_takes_no_change(database: Database) {
    let lab = Lab::at_a_vendors(database, &with_speed(10_000_000), ALL_AT_LOGIN, None).await;
    online(&lab).await;
    lab.access
        .set_plan(&with_speed(5_000_000), "test", lab.now)
        .await
        .unwrap();
    assert!(is_end(&lab.orders().await));
}

async fn a_faster_plan_waits_for_the_next_login_at_a_gate_that_takes_no_change(database: Database) {
    let lab = Lab::at_a_vendors(database, &with_speed(10_000_000), ALL_AT_LOGIN, None).await;
    online(&lab).await;
    lab.access
        .set_plan(&with_speed(20_000_000), "test", lab.now)
        .await
        .unwrap();
    assert_eq!(lab.orders().await, []);
    assert_eq!(lab.session(MAC).await.state, "open");
}

async fn a_slower_plan_reaches_a_gate_that_takes_speeds_but_no_octets(database: Database) {
    let lab = Lab::at_a_vendors(database, &with_speed(10_000_000), TOLD_ONCE, None).await;
    online(&lab).await;
    lab.access
        .set_plan(&with_speed(5_000_000), "test", lab.now)
        .await
        .unwrap();
    let change = lab.orders().await.remove(0);
    assert!(
        matches!(change.action, OrderAction::Change(limits) if limits.down_bits_per_sec == Some(5_000_000)),
        "{change:?}"
    );
    assert!(lab.answer(&change, OrderAnswer::Done).await);
    lab.access
        .set_plan(&with_speed(5_000_000), "test", lab.now)
        .await
        .unwrap();
    assert_eq!(lab.orders().await, [], "it was told that already");
}

async fn a_change_that_the_gate_will_never_make_ends_the_session_or_waits(database: Database) {
    let lab = Lab::at_a_vendors(database, &with_speed(10_000_000), TOLD_ONCE, None).await;
    online(&lab).await;
    lab.access
        .set_plan(&with_speed(20_000_000), "test", lab.now)
        .await
        .unwrap();
    let wider = lab.orders().await.remove(0);
    assert!(lab.answer(&wider, OrderAnswer::Refused(401)).await, "it waits");
    lab.access
        .set_plan(&with_speed(5_000_000), "test", lab.now)
        .await
        .unwrap();
    let narrower = lab.orders().await.remove(0);
    assert!(!lab.answer(&narrower, OrderAnswer::Refused(401)).await);
    let trouble = lab.session(MAC).await.trouble.unwrap();
    assert!(trouble.contains("does not know an attribute"), "{trouble}");
    assert!(is_end(&lab.orders().await));
}

async fn a_change_that_is_refused_without_a_reason_is_one_that_will_never_be_made(database: Database) {
    let lab = Lab::at_a_vendors(database, &with_speed(10_000_000), TOLD_ONCE, None).await;
    online(&lab).await;
    let slower = with_speed(5_000_000);
    lab.access.set_plan(&slower, "test", lab.now).await.unwrap();
    let change = lab.orders().await.remove(0);
    assert!(!lab.answer(&change, OrderAnswer::Refused(0)).await);
    assert!(is_end(&lab.orders().await));
}

async fn a_session_that_cannot_be_cut_is_shown_as_such_and_not_asked_for_again(database: Database) {
    let mut lab = Lab::at_a_vendors(database, &plan(40 * MB), UNCUT, None).await;
    online(&lab).await;
    lab.block().await;
    assert_eq!(lab.orders().await, []);
    let session = lab.session(MAC).await;
    assert_eq!(session.state, "ending");
    assert!(session.trouble.unwrap().starts_with("cannot be cut"));
    assert_eq!(lab.access.troubled_sessions().await.unwrap(), 1);
    lab.pass(Duration::from_mins(10));
    assert_eq!(lab.access.due_orders(lab.now).await.unwrap(), []);
    lab.report(AccountingKind::Stop(5), "s1", MB, 600).await;
    assert_eq!(lab.access.troubled_sessions().await.unwrap(), 0);
    assert_eq!(lab.session(MAC).await.trouble, None);
}

async fn an_order_names_the_session_as_its_gate_does(database: Database) {
    let lab = Lab::at_a_vendors(database, &plan(40 * MB), ALL_AT_LOGIN, None).await;
    lab.ticket(MAC).await;
    let request = AuthorizeRequest {
        nas: lab.nas,
        user_name: "mac".to_owned(),
        service: Service::CallCheck,
        mac: Some(MAC),
        ip: Some("10.80.1.1".parse().unwrap()),
        acct_session_id: None,
        class: None,
        wants_cui: false,
        seen: Seen {
            handle: Some("0A07".to_owned()),
            ssid: Some("Kerala Wi-Fi".to_owned()),
            ..Seen::default()
        },
    };
    let grant = granted(lab.access.authorize(request, lab.now).await.unwrap());
    let start = AccountingReport {
        nas: lab.nas,
        from: None,
        kind: AccountingKind::Start,
        acct_session_id: "00000001".to_owned(),
        class: Some(grant.class),
        user_name: Some("02:00:00:00:00:01".to_owned()),
        mac: Some(MAC),
        ip: None,
        ports: None,
        free: Some(FreeOctets { up: 1, down: 2 }),
        counters: Counters::default(),
        at: lab.now,
    };
    lab.access.account(start, lab.now).await.unwrap();
    lab.block().await;
    let order = lab.orders().await.remove(0);
    assert_eq!(
        order.user_name, "02:00:00:00:00:01",
        "as it reports, not as it was told"
    );
    assert_eq!(order.acct_session_id, "00000001");
    assert_eq!(order.handle.as_deref(), Some("0A07"));
    let shown = lab.access.session(grant.session).await.unwrap().unwrap();
    assert_eq!(shown.ssid.as_deref(), Some("Kerala Wi-Fi"));
    assert_eq!(shown.free, None, "what is free is ours to say alone");
}

async fn a_session_that_its_gate_numbers_anew_is_still_told_what_it_was(database: Database) {
    let mut lab = Lab::at_a_vendors(database, &with_speed(10_000_000), ALL_AT_LOGIN, None).await;
    let grant = online(&lab).await;
    lab.report(AccountingKind::Interim, "s1", 5 * MB, 600).await;
    lab.pass(Duration::from_mins(10));
    let renamed = AccountingReport {
        nas: lab.nas,
        from: None,
        kind: AccountingKind::Start,
        acct_session_id: "s2".to_owned(),
        class: Some(grant.class),
        user_name: None,
        mac: Some(MAC),
        ip: None,
        ports: None,
        free: None,
        counters: Counters::default(),
        at: lab.now,
    };
    lab.access.account(renamed, lab.now).await.unwrap();
    lab.top_up(MB).await;
    assert_eq!(lab.orders().await, [], "not ended for want of having been told");
    lab.block().await;
    let end = lab.orders().await.remove(0);
    assert_eq!((end.acct_session_id.as_str(), end.action), ("s2", OrderAction::End));
}

async fn orders_go_to_the_host_of_the_gates_record(database: Database) {
    let lab = Lab::at_a_vendors(database, &plan(40 * MB), ALL_AT_LOGIN, None).await;
    let set = async |host: &'static str| {
        let change = NasChange {
            coa_host: Some(host),
            ..NasChange::default()
        };
        lab.access.change_nas("gate-1", &change, "test", lab.now).await
    };
    set("n123.meraki.example").await.unwrap();
    assert!(matches!(set("http://x/").await, Err(AccessError::Invalid(_))));
    online(&lab).await;
    lab.block().await;
    let order = lab.orders().await.remove(0);
    assert_eq!(order.to, Destination::Given("n123.meraki.example".to_owned(), 3799));
    let gate = lab.access.nas_of_order(&order).await.unwrap().unwrap();
    assert_eq!(gate.id, lab.nas);
    set("").await.unwrap();
    lab.answer(&order, OrderAnswer::Silence).await;
    assert_eq!(lab.access.nases().await.unwrap()[0].coa_host, None);
}

async fn a_gates_profile_must_be_known_and_only_ours_renews(database: Database) {
    let lab = Lab::at_a_vendors(database, &plan(40 * MB), ALL_AT_LOGIN, None).await;
    let refused =
        async |change: NasChange<'static>| match lab.access.change_nas("gate-1", &change, "test", lab.now).await {
            Err(AccessError::Invalid(text)) => text,
            other => panic!("{other:?}"),
        };
    let unknown = NasChange {
        profile: Some("nobody"),
        ..NasChange::default()
    };
    assert_eq!(
        refused(unknown).await,
        "no profile is called `nobody`: use one of kavadam, other"
    );
    let renewing = NasChange {
        is_renewing: Some(true),
        ..NasChange::default()
    };
    assert!(refused(renewing).await.contains("renews no leases"));
}

async fn a_session_that_one_access_point_does_not_know_is_asked_for_again_where_it_is_heard_of(database: Database) {
    let mut lab = Lab::at_a_vendors(database, &plan(40 * MB), REPORTING, None).await;
    online(&lab).await;
    lab.block().await;
    let end = lab.orders().await.remove(0);
    lab.answer(&end, OrderAnswer::SessionGone).await;
    assert_eq!(lab.session(MAC).await.state, "ended");
    assert_eq!(
        lab.used_and_promised().await.1,
        0,
        "what it was promised is there for others"
    );
    // Told twice, as two processes may be.
    lab.answer(&end, OrderAnswer::SessionGone).await;
    lab.pass(Duration::from_mins(5));
    assert_eq!(lab.orders().await, [], "nobody to ask");
    let elsewhere = "127.0.0.7:40000".parse().unwrap();
    lab.access.nas_seen(lab.nas, elsewhere, lab.now);
    lab.report(AccountingKind::Interim, "s1", 2 * MB, 300).await;
    assert_eq!(lab.session(MAC).await.state, "ending", "alive, and to be cut");
    let again = lab.orders().await.remove(0);
    assert_eq!(again.action, OrderAction::End);
    assert_eq!(again.to, Destination::Seen("127.0.0.7:3799".parse().unwrap()));
    lab.answer(&again, OrderAnswer::Done).await;
    lab.report(AccountingKind::Stop(6), "s1", 3 * MB, 301).await;
    assert_eq!(lab.used_and_promised().await, (3 * MB, 0));
}

async fn a_session_that_no_access_point_reports_any_more_stays_ended(database: Database) {
    let mut lab = Lab::at_a_vendors(database, &plan(40 * MB), REPORTING, None).await;
    online(&lab).await;
    lab.block().await;
    let end = lab.orders().await.remove(0);
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Stop(1), "s1", 2 * MB, 60).await;
    lab.answer(&end, OrderAnswer::SessionGone).await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", 2 * MB, 60).await;
    let session = lab.session(MAC).await;
    assert_eq!(
        (session.state, session.terminate_cause),
        ("ended", Some(1)),
        "a Stop is final"
    );
    assert_eq!(lab.orders().await, []);
}

async fn a_restart_of_one_access_point_ends_no_session_that_another_reports_after_it(database: Database) {
    let mut lab = Lab::at_a_vendors(database, &plan(40 * MB), TOLD_ONCE, None).await;
    online(&lab).await;
    lab.pass(Duration::from_mins(1));
    let before = lab.now;
    lab.pass(Duration::from_mins(1));
    assert_eq!(lab.report(AccountingKind::On, "", 0, 0).await, Accounted::Closed(1));
    let restarted = lab.now;
    lab.now = before;
    lab.report(AccountingKind::Interim, "s1", MB, 60).await;
    lab.now = restarted;
    assert_eq!(lab.session(MAC).await.state, "ended", "it was made before");
    assert_eq!(lab.used_and_promised().await, (MB, 0));
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Interim, "s1", 2 * MB, 180).await;
    assert_eq!(lab.session(MAC).await.state, "open");
    assert!(
        lab.used_and_promised().await.1 > 0,
        "what it was promised is promised again"
    );
}
