//! Ends and changes.

use super::*;
use kavadam_domain::session::terminate_cause;
use kavadam_radius::{Change, ErrorCause, LimitsPatch, Target};

const SETTLED: Duration = Duration::from_millis(50);

pub(super) fn target(mac: Mac) -> Target {
    Target {
        mac: Some(mac),
        ..Target::default()
    }
}

#[test]
fn whoever_ends_a_session_is_told_when_it_is_over() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    let waiter = scene.waiter();
    scene.told.clear();
    scene.handle(Input::Logoff(mac(1), Some(waiter)));
    assert_eq!(scene.flow(1, MB), 0, "stopped at once");
    assert!(scene.told.is_empty() && scene.core.wake_at().is_some());
    scene.step(SETTLED);
    assert_eq!(scene.told, [(waiter, Told::Over)]);
    assert_eq!(scene.last_report().kind, Kind::Stop(terminate_cause::USER_REQUEST));
    assert_eq!(scene.core.wake_at(), None);
    scene.online(1, lease(10 * MB));
}

#[test]
fn a_knock_on_a_session_that_is_ending_waits_for_its_end() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.told.clear();
    scene.handle(Input::Logoff(mac(1), None));
    let waiter = scene.waiter();
    scene.handle(Input::Knock(device(1), Some(waiter)));
    assert!(scene.told.is_empty() && scene.asked.is_empty());
    scene.step(SETTLED);
    assert_eq!(scene.told, [(waiter, Told::Over)]);
}

#[test]
fn session_time_ends_in_the_kernel_and_is_reported() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, MB);
    scene.pass(Duration::from_hours(1));
    assert_eq!(scene.flow(1, MB), 0);
    scene.pass(Duration::from_secs(1));
    let stop = scene.last_report();
    assert_eq!(stop.kind, Kind::Stop(terminate_cause::SESSION_TIMEOUT));
    assert_eq!((stop.down_octets, stop.session_secs), (MB, 3_601));
}

#[test]
fn an_idle_session_ends_and_a_busy_one_does_not() {
    let mut scene = Scene::new();
    let mut grant = lease(100 * MB);
    grant.limits.idle_secs = Some(120);
    scene.online(1, grant.clone());
    for number in [2, 3] {
        let grant = Grant {
            cui: None,
            ..grant.clone()
        };
        scene.online(number, grant);
    }
    for _ in 0..15 {
        scene.flow(2, 10_000);
        scene.kernel.flow_free(mac(3), 0, 10_000);
        scene.pass(Duration::from_secs(10));
    }
    assert!(!scene.kernel.is_open(mac(1)));
    assert!(scene.kernel.is_open(mac(2)));
    assert!(scene.kernel.is_open(mac(3)), "who is where it is free is not idle");
    assert_eq!(scene.last_report().kind, Kind::Stop(terminate_cause::IDLE_TIMEOUT));
}

#[test]
fn interims_come_at_the_interval_and_not_all_at_once() {
    let mut scene = Scene::new();
    for number in 1..=50 {
        let grant = Grant {
            cui: None,
            ..lease(100 * MB)
        };
        scene.online(number, grant);
    }
    scene.reports.clear();
    let mut by_second = Vec::new();
    for _ in 0..600 {
        let before = scene.reports.len();
        scene.pass(Duration::from_secs(1));
        by_second.push(scene.reports.len() - before);
    }
    let total: usize = by_second.iter().sum();
    assert!(
        (450..=550).contains(&total),
        "{total} reports of 50 sessions in ten minutes"
    );
    assert!(by_second.iter().all(|&reports| reports <= 10), "{by_second:?}");
    assert!(by_second.iter().take(29).all(|&reports| reports == 0));
}

#[test]
fn a_disconnect_is_acknowledged_when_nothing_flows_and_the_stop_is_written() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    let (first, second) = (scene.waiter(), scene.waiter());
    scene.told.clear();
    scene.handle(Input::Disconnect(target(mac(1)), first));
    scene.handle(Input::Disconnect(target(mac(1)), second));
    scene.step(SETTLED);
    assert_eq!(
        scene.told,
        [(first, Told::Ordered(Ok(()))), (second, Told::Ordered(Ok(())))]
    );
    assert_eq!(scene.last_report().kind, Kind::Stop(terminate_cause::ADMIN_RESET));
    assert_eq!(
        scene
            .kinds()
            .iter()
            .filter(|kind| matches!(kind, Kind::Stop(_)))
            .count(),
        1
    );
}

#[test]
fn refuses_orders_for_sessions_that_are_not_there_or_not_meant() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.told.clear();
    let wrong = [
        target(mac(9)),
        Target {
            acct_session_id: Some("no such".into()),
            ..Target::default()
        },
        Target {
            user_name: Some("somebody else".into()),
            ..target(mac(1))
        },
    ];
    for target in wrong {
        let waiter = scene.waiter();
        scene.handle(Input::Disconnect(target.clone(), waiter));
        scene.handle(Input::Change(target, Limits::default().into(), waiter));
        let refused = Told::Ordered(Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND));
        assert_eq!(scene.told, [(waiter, refused.clone()), (waiter, refused)]);
        scene.told.clear();
    }
    scene.online(2, lease(10 * MB));
    let both = Target {
        user_name: Some("alias".into()),
        ..Target::default()
    };
    let waiter = scene.waiter();
    scene.handle(Input::Disconnect(both, waiter));
    assert_eq!(
        scene.told.last(),
        Some(&(waiter, Told::Ordered(Err(ErrorCause::MULTIPLE_SESSIONS))))
    );
    assert!(scene.kernel.is_open(mac(1)) && scene.kernel.is_open(mac(2)));
}

#[test]
fn an_order_with_every_limit_holds_at_once_and_leaves_none_of_the_old_ones() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.pass(Duration::from_secs(10));
    let waiter = scene.waiter();
    let limits = Limits {
        max_total_octets: Some(50 * MB),
        down_bits_per_sec: Some(1_000_000),
        session_secs: Some(60),
        interim_secs: Some(60),
        ..Limits::default()
    };
    scene.handle(Input::Change(target(mac(1)), limits.into(), waiter));
    assert_eq!(scene.told.last(), Some(&(waiter, Told::Ordered(Ok(())))));
    assert_eq!(scene.kernel.rates_of(mac(1)), (None, Some(1_000_000)));
    assert_eq!(scene.pool_limit(scene.kernel.pool_of(mac(1))), Some(50 * MB));
    assert_eq!(scene.saved.last().unwrap().limits, limits);
    assert!(scene.saved.last().unwrap().is_renewable, "a lease stays one");
    scene.pass(Duration::from_secs(49));
    assert!(scene.kernel.is_open(mac(1)));
    scene.pass(Duration::from_secs(3));
    assert!(!scene.kernel.is_open(mac(1)), "counted from the session's start");
}

#[test]
fn an_answer_decided_before_an_order_takes_nothing_of_it_back() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, 8 * MB);
    scene.pass(Duration::from_secs(30));
    let waiter = scene.waiter();
    let limits = Limits {
        down_bits_per_sec: Some(20_000_000),
        ..lease(50 * MB).limits
    };
    scene.handle(Input::Change(target(mac(1)), limits.into(), waiter));
    scene.accept(lease(20 * MB));
    assert_eq!(scene.pool_limit(scene.kernel.pool_of(mac(1))), Some(50 * MB));
    assert_eq!(scene.kernel.rates_of(mac(1)).1, Some(20_000_000));
    scene.flow(1, 34 * MB);
    scene.pass(Duration::from_secs(30));
    scene.accept(lease(45 * MB));
    let limit = scene.pool_limit(scene.kernel.pool_of(mac(1)));
    assert_eq!(limit, Some(45 * MB), "what is asked after it counts as ever");
}

/// Time passes, and nobody has looked yet.
fn unnoticed(scene: &mut Scene, span: Duration) {
    scene.now = Now {
        wall: scene.now.wall + span,
        mono: scene.now.mono + span,
        boot: scene.now.boot.map(|boot| boot + span),
    };
    scene.kernel.pass(span);
}

#[test]
fn more_time_that_comes_when_the_time_is_over_leaves_nobody_offline_in_a_session() {
    let mut scene = Scene::new();
    for number in [1, 2] {
        let cui = Some(vec![number]);
        scene.online(number, Grant { cui, ..lease(10 * MB) });
    }
    scene.flow(2, 8 * MB);
    scene.step(Duration::from_secs(2));
    let (ask, _) = scene.question();
    unnoticed(&mut scene, Duration::from_hours(1));
    let waiter = scene.waiter();
    let more = Limits {
        session_secs: Some(7_200),
        ..lease(10 * MB).limits
    };
    scene.handle(Input::Change(target(mac(1)), more.into(), waiter));
    let refused = Told::Ordered(Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND));
    assert_eq!(scene.told.last(), Some(&(waiter, refused)));
    let renewed = Grant {
        limits: Limits {
            max_total_octets: Some(20 * MB),
            ..more
        },
        ..lease(0)
    };
    scene.handle(Input::Answered(ask, Answer::Accept(Box::new(renewed))));
    scene.step(SETTLED);
    let stop = Kind::Stop(terminate_cause::SESSION_TIMEOUT);
    assert_eq!(scene.kinds().iter().filter(|kind| **kind == stop).count(), 2);
    for number in [1, 2] {
        scene.online(number, lease(10 * MB));
    }
}

#[test]
fn more_time_that_the_kernel_hears_of_too_late_ends_the_session_and_whoever_ordered_it_is_told() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.pass(Duration::from_secs(3_599));
    let waiter = scene.waiter();
    let more = Limits {
        session_secs: Some(7_200),
        ..lease(10 * MB).limits
    };
    let order = Input::Change(target(mac(1)), more.into(), waiter);
    let commands = scene.core.handle(order, scene.now);
    // As long as it takes to write it down.
    scene.kernel.pass(Duration::from_secs(1));
    scene.take(commands);
    let refused = Told::Ordered(Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND));
    assert_eq!(scene.told.last(), Some(&(waiter, refused)));
    scene.step(SETTLED);
    assert_eq!(scene.last_report().kind, Kind::Stop(terminate_cause::SESSION_TIMEOUT));
    scene.online(1, lease(10 * MB));
}

#[test]
fn an_order_that_the_kernel_does_not_take_is_not_acknowledged_and_tried_again() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.kernel.state().is_stubborn = true;
    let waiter = scene.waiter();
    let slower = Limits {
        down_bits_per_sec: Some(1_000_000),
        ..lease(10 * MB).limits
    };
    scene.handle(Input::Change(target(mac(1)), slower.into(), waiter));
    let failed = Told::Ordered(Err(ErrorCause::RESOURCES_UNAVAILABLE));
    assert_eq!(scene.told.last(), Some(&(waiter, failed)));
    scene.kernel.state().is_stubborn = false;
    scene.step(Duration::from_secs(1));
    assert_eq!(scene.kernel.rates_of(mac(1)).1, Some(1_000_000));
}

#[test]
fn what_passes_until_the_kernel_halts_a_session_is_in_its_stop() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.kernel.state().is_stubborn = true;
    scene.handle(Input::Logoff(mac(1), None));
    scene.step(Duration::from_secs(1));
    assert_eq!(scene.flow(1, MB), MB, "it was not halted");
    scene.kernel.state().is_stubborn = false;
    scene.step(Duration::from_secs(1));
    assert_eq!(scene.flow(1, MB), 0);
    scene.step(SETTLED);
    assert_eq!(scene.last_report().kind, Kind::Stop(terminate_cause::USER_REQUEST));
    assert_eq!(scene.last_report().down_octets, MB);
}

#[test]
fn who_ends_at_the_same_moment_is_removed_together() {
    let mut scene = Scene::new();
    for number in 1..=5 {
        let cui = Some(vec![number]);
        scene.online(number, Grant { cui, ..lease(10 * MB) });
    }
    scene.pass(Duration::from_hours(1));
    scene.step(SETTLED);
    assert_eq!(scene.kernel.state().asked_to_close, [5]);
    assert!((1..=5).all(|number| !scene.kernel.is_open(mac(number))));
}

#[test]
fn a_session_that_the_kernel_does_not_let_go_is_tried_again() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.kernel.state().is_clinging = true;
    scene.handle(Input::Logoff(mac(1), None));
    scene.step(SETTLED);
    assert!(scene.kernel.is_open(mac(1)) && scene.forgotten.is_empty());
    scene.kernel.state().is_clinging = false;
    scene.pass(Duration::from_secs(1));
    assert!(!scene.kernel.is_open(mac(1)));
    assert_eq!(scene.forgotten.len(), 1);
    assert_eq!(scene.kinds().len(), 2, "a Start, and one Stop");
    scene.online(1, lease(10 * MB));
}

#[test]
fn a_device_whose_last_session_still_clings_can_log_in_when_it_lets_go() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.kernel.state().is_clinging = true;
    scene.handle(Input::Logoff(mac(1), None));
    scene.step(SETTLED);
    scene.kernel.state().is_clinging = false;
    let waiter = scene.log_on(1);
    scene.accept(lease(10 * MB));
    assert_eq!(scene.told.last(), Some(&(waiter, Told::Online)));
}

#[test]
fn an_order_leaves_every_limit_that_it_does_not_name() {
    let mut scene = Scene::new();
    let mut grant = lease(10 * MB);
    grant.limits.down_bits_per_sec = Some(1_000_000);
    grant.limits.remaining_octets = Some(90 * MB);
    scene.online(1, grant.clone());
    scene.pass(Duration::from_secs(10));
    let waiter = scene.waiter();
    let patch = LimitsPatch {
        session_secs: Change::Set(60),
        ..LimitsPatch::default()
    };
    scene.handle(Input::Change(target(mac(1)), patch, waiter));
    assert_eq!(scene.told.last(), Some(&(waiter, Told::Ordered(Ok(())))));
    assert_eq!(
        scene.kernel.rates_of(mac(1)),
        (grant.limits.up_bits_per_sec, Some(1_000_000))
    );
    assert_eq!(scene.pool_limit(scene.kernel.pool_of(mac(1))), Some(10 * MB));
    let saved = scene.saved.last().unwrap();
    assert_eq!(
        saved.limits,
        Limits {
            session_secs: Some(60),
            ..grant.limits
        }
    );
    assert_eq!(saved.left.unwrap().octets, 90 * MB);
}

#[test]
fn an_order_is_for_the_session_of_its_class_and_its_chargeable_identity() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    let row = scene.saved.last().unwrap().clone();
    for (classes, cui) in [
        (vec![b"another".to_vec()], None),
        (vec![row.classes[0].clone(), b"another".to_vec()], None),
        (Vec::new(), Some(b"another".to_vec())),
    ] {
        let waiter = scene.waiter();
        let target = Target {
            classes,
            cui,
            ..target(mac(1))
        };
        scene.handle(Input::Disconnect(target, waiter));
        let refused = Told::Ordered(Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND));
        assert_eq!(scene.told.last(), Some(&(waiter, refused)));
    }
    let target = Target {
        classes: row.classes,
        cui: row.cui,
        ..target(mac(1))
    };
    let waiter = scene.waiter();
    scene.handle(Input::Disconnect(target, waiter));
    scene.pass(SETTLED);
    assert_eq!(scene.told.last(), Some(&(waiter, Told::Ordered(Ok(())))));
}
