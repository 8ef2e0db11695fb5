//! Orders to gates that answer late, twice or never, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::api::*;
use kavadam_access::{Access, Settings};
use kavadam_domain::Plan;
use lab::{Database, Lab, MAC, MB, cases, granted, plan};

cases! {
    a_late_answer_to_a_change_leaves_an_end_ordered_since,
    a_late_answer_leaves_a_top_up_made_since,
    a_late_answer_leaves_a_plan_changed_since,
    a_plans_filter_reaches_those_who_are_online_and_leaves_them_again,
    a_plans_class_reaches_those_who_are_online_and_leaves_them_again,
    a_gate_that_has_no_such_session_ends_it_whatever_was_ordered_since,
    a_gate_that_has_not_begun_a_session_yet_may_still_begin_it,
    an_order_is_decided_once_for_each_sending,
    an_order_goes_where_its_gate_was_seen_last_though_that_is_not_written_yet,
    a_gate_that_only_takes_a_limit_is_not_given_more_by_being_told_again,
    a_silent_gate_is_not_kept_alive_by_orders,
    a_session_past_its_end_is_ended_and_not_drawn_into_the_next_day,
    an_order_that_cannot_be_sent_yet_is_told_with_its_reason,
    an_order_that_a_clock_ahead_put_off_goes_out_now,
    an_order_that_waits_for_a_start_goes_out_with_it,
    an_order_whose_gate_was_never_heard_goes_out_with_its_first_report,
}

async fn online(database: Database) -> Lab {
    let lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    lab
}

/// A change under way.
async fn changing(database: Database) -> (Lab, Order) {
    let lab = online(database).await;
    lab.top_up(MB).await;
    let order = lab.orders().await.remove(0);
    assert!(matches!(order.action, OrderAction::Change(_)));
    (lab, order)
}

async fn a_late_answer_to_a_change_leaves_an_end_ordered_since(database: Database) {
    let (mut lab, change) = changing(database).await;
    lab.block().await;
    for answer in [OrderAnswer::Done, OrderAnswer::Refused(404), OrderAnswer::Silence] {
        assert!(!lab.answer(&change, answer).await, "{answer:?}");
    }
    let end = lab.orders().await.remove(0);
    assert_eq!(end.action, OrderAction::End, "due at once");
    assert!(lab.answer(&end, OrderAnswer::Done).await);
    lab.pass(Duration::from_mins(1));
    assert_eq!(lab.orders().await, []);
}

async fn a_late_answer_leaves_a_top_up_made_since(database: Database) {
    let (lab, change) = changing(database).await;
    lab.top_up(30 * MB).await;
    assert!(!lab.answer(&change, OrderAnswer::Done).await);
    let again = lab.orders().await.remove(0);
    assert!(matches!(again.action, OrderAction::Change(limits) if limits.remaining_octets == Some(71 * MB)));
    assert!(lab.answer(&again, OrderAnswer::Done).await);
    assert!(lab.answer(&change, OrderAnswer::Silence).await, "long settled");
    assert_eq!(lab.orders().await, []);
}

async fn a_late_answer_leaves_a_plan_changed_since(database: Database) {
    let (lab, change) = changing(database).await;
    let faster = Plan {
        down_bits_per_sec: Some(20_000_000),
        ..plan(40 * MB)
    };
    lab.access.set_plan(&faster, "test", lab.now).await.unwrap();
    assert!(!lab.answer(&change, OrderAnswer::Done).await);
    let again = lab.orders().await.remove(0);
    assert!(matches!(again.action, OrderAction::Change(limits) if limits.down_bits_per_sec == Some(20_000_000)));
    lab.block().await;
    lab.access.set_plan(&plan(40 * MB), "test", lab.now).await.unwrap();
    assert_eq!(lab.orders().await[0].action, OrderAction::End, "a plan softens no end");
}

async fn a_plans_filter_reaches_those_who_are_online_and_leaves_them_again(database: Database) {
    let lab = online(database).await;
    for filter in ["minors".parse().ok(), None] {
        let filtered = Plan {
            filter,
            ..plan(40 * MB)
        };
        lab.access.set_plan(&filtered, "test", lab.now).await.unwrap();
        assert_eq!(lab.access.plans().await.unwrap()[0].filter, filter);
        let order = lab.orders().await.remove(0);
        assert!(matches!(order.action, OrderAction::Change(limits) if limits.filter == filter));
        assert!(lab.answer(&order, OrderAnswer::Done).await);
    }
}

async fn a_plans_class_reaches_those_who_are_online_and_leaves_them_again(database: Database) {
    let lab = online(database).await;
    for class in ["free".parse().ok(), None] {
        let classed = Plan { class, ..plan(40 * MB) };
        lab.access.set_plan(&classed, "test", lab.now).await.unwrap();
        assert_eq!(lab.access.plans().await.unwrap()[0].class, class);
        let order = lab.orders().await.remove(0);
        assert!(matches!(order.action, OrderAction::Change(limits) if limits.class == class));
        assert!(lab.answer(&order, OrderAnswer::Done).await);
    }
}

async fn a_gate_that_has_no_such_session_ends_it_whatever_was_ordered_since(database: Database) {
    let (lab, change) = changing(database).await;
    lab.top_up(MB).await;
    assert!(lab.answer(&change, OrderAnswer::SessionGone).await);
    assert_eq!(lab.orders().await, []);
    lab.report(AccountingKind::Interim, "s1", 2 * MB, 9).await;
    assert_eq!(lab.session(MAC).await.state, "ended");
    assert_eq!(lab.used_and_promised().await, (2 * MB, 0));
}

async fn a_gate_that_has_not_begun_a_session_yet_may_still_begin_it(database: Database) {
    let lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.top_up(MB).await;
    let change = lab.orders().await.remove(0);
    assert!(lab.answer(&change, OrderAnswer::SessionGone).await);
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    assert_eq!(lab.session(MAC).await.state, "open");
    assert!(matches!(
        lab.orders().await[..],
        [Order {
            action: OrderAction::Change(_),
            ..
        }]
    ));
}

async fn an_order_is_decided_once_for_each_sending(database: Database) {
    let (mut lab, change) = changing(database).await;
    assert_eq!(lab.orders().await, [], "under way");
    lab.pass(Duration::from_secs(29));
    assert_eq!(lab.orders().await, []);
    lab.pass(Duration::from_secs(1));
    assert_eq!(lab.orders().await.len(), 1, "whoever sent it must have died");
    assert!(lab.answer(&change, OrderAnswer::Done).await, "it was the same order");
}

async fn an_order_goes_where_its_gate_was_seen_last_though_that_is_not_written_yet(database: Database) {
    let lab = online(database).await;
    let new = "127.0.0.9:40000".parse().unwrap();
    // Nobody can write anything.
    let busy = lab.store.write().await.unwrap();
    lab.access.nas_seen(lab.nas, new, lab.now);
    drop(busy);
    lab.top_up(MB).await;
    let order = lab.orders().await.remove(0);
    assert_eq!(order.to, Destination::Seen("127.0.0.9:3799".parse().unwrap()));
    // Other processes learn of it.
    let written = async {
        loop {
            let nas = lab.store.read().await.unwrap().nas(lab.nas).await.unwrap().unwrap();
            if nas.last_seen_address == Some(new.ip()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written).await.unwrap();
}

async fn a_gate_that_only_takes_a_limit_is_not_given_more_by_being_told_again(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    let grant = lab.online_fixed(MAC, "s1").await;
    assert_eq!(grant.limits.max_total_octets, Some(20 * MB));
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    lab.top_up(4 * MB).await;
    for _ in 0..5 {
        let change = lab.orders().await.remove(0);
        assert!(matches!(change.action, OrderAction::Change(limits) if limits.max_total_octets == Some(22 * MB)));
        lab.answer(&change, OrderAnswer::Silence).await;
        lab.pass(Duration::from_mins(5));
    }
    assert_eq!(lab.used_and_promised().await, (0, 22 * MB));
}

async fn a_silent_gate_is_not_kept_alive_by_orders(database: Database) {
    let (mut lab, mut change) = changing(database).await;
    for _ in 0..4 {
        lab.answer(&change, OrderAnswer::Silence).await;
        lab.pass(Duration::from_mins(5));
        change = lab.orders().await.remove(0);
    }
    assert_eq!(lab.sweep().await, 1);
}

async fn a_session_past_its_end_is_ended_and_not_drawn_into_the_next_day(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    lab.pass(Duration::from_mins(12 * 60 - 4));
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    lab.pass(Duration::from_mins(4));
    lab.top_up(MB).await;
    assert_eq!(lab.orders().await[0].action, OrderAction::End);
    lab.report(AccountingKind::Stop(5), "s1", 2 * MB, 240).await;
    assert_eq!(lab.used_and_promised().await, (0, 0), "it flowed yesterday");
}

/// Somebody online at a gate that names no visits when it asks, and who is to be ended before there was a Start.
async fn ended_before_the_start(database: Database) -> (Lab, Grant) {
    let lab = Lab::new(database, &plan(40 * MB)).await;
    lab.ticket(MAC).await;
    let nameless = AuthorizeRequest {
        nas: lab.nas,
        user_name: "mac".to_owned(),
        service: Service::CallCheck,
        mac: Some(MAC),
        ip: None,
        acct_session_id: None,
        class: None,
        wants_cui: false,
        seen: Seen::default(),
    };
    let grant = granted(lab.access.authorize(nameless, lab.now).await.unwrap());
    lab.block().await;
    assert_eq!(lab.orders().await, []);
    (lab, grant)
}

async fn an_order_that_cannot_be_sent_yet_is_told_with_its_reason(database: Database) {
    let (lab, _) = ended_before_the_start(database).await;
    let trouble = lab.session(MAC).await.trouble.unwrap();
    assert!(trouble.starts_with("its Start has not come yet"), "{trouble}");

    let lab = online(database).await;
    lab.block().await;
    // Another process of the centre, which has not heard the gate; nor is it written down yet.
    let other = Access::new(lab.store.clone(), lab.sealer.clone(), Settings::default());
    for (session, _) in other.due_orders(lab.now).await.unwrap() {
        assert_eq!(other.decide_order(session, lab.now).await.unwrap(), None);
    }
    let trouble = lab.session(MAC).await.trouble.unwrap();
    assert!(trouble.starts_with("its gate was never heard of"), "{trouble}");
}

async fn an_order_that_a_clock_ahead_put_off_goes_out_now(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    let right = lab.now;
    lab.pass(Duration::from_hours(1));
    assert!(lab.access.disconnect(&lab.visit(MAC), lab.now).await.unwrap());
    lab.now = right;
    let orders = lab.orders().await;
    assert_eq!(orders.len(), 1);
    assert!(lab.orders().await.is_empty(), "once");
}

/// Whether somebody who sends orders is told to look at once.
async fn is_awake(access: &Access) -> bool {
    let woken = tokio::time::timeout(Duration::from_millis(10), access.orders_changed());
    woken.await.is_ok()
}

async fn an_order_that_waits_for_a_start_goes_out_with_it(database: Database) {
    let (mut lab, grant) = ended_before_the_start(database).await;
    for _ in 0..4 {
        lab.pass(Duration::from_mins(1));
        assert_eq!(lab.orders().await, []);
    }
    while is_awake(&lab.access).await {}
    let start = AccountingReport {
        nas: lab.nas,
        from: None,
        kind: AccountingKind::Start,
        acct_session_id: "s1".to_owned(),
        class: Some(grant.class),
        user_name: None,
        mac: Some(MAC),
        ip: None,
        ports: None,
        free: None,
        counters: Counters::default(),
        at: lab.now,
    };
    lab.access.account(start, lab.now).await.unwrap();
    assert!(is_awake(&lab.access).await);
    assert_eq!(lab.orders().await[0].action, OrderAction::End);
    lab.report(AccountingKind::Interim, "s1", MB, 1).await;
    assert_eq!(lab.orders().await, [], "it is under way");
}

async fn an_order_whose_gate_was_never_heard_goes_out_with_its_first_report(database: Database) {
    let mut lab = online(database).await;
    lab.block().await;
    lab.access = Access::new(lab.store.clone(), lab.sealer.clone(), Settings::default());
    for _ in 0..4 {
        lab.pass(Duration::from_mins(1));
        assert_eq!(lab.orders().await, []);
    }
    lab.access.nas_seen(lab.nas, lab::SEEN_AT.parse().unwrap(), lab.now);
    lab.report(AccountingKind::Interim, "s1", MB, 240).await;
    assert!(is_awake(&lab.access).await);
    assert_eq!(lab.orders().await[0].action, OrderAction::End);
}
