//! Restarts.

use super::*;
use kavadam_domain::accounting::FreeOctets;
use kavadam_domain::session::terminate_cause;

/// Another process takes over the same kernel, with what was committed.
pub(super) fn restarted(old: &Scene, rows: Vec<SessionRow>) -> Scene {
    let mut scene = Scene::new();
    scene.kernel = old.kernel.clone();
    scene.now = old.now;
    scene.core = Core::new(
        Settings {
            interim: Duration::from_mins(1),
            called_station_id: "AA-BB-CC-00-00-01".into(),
            seed: 8,
        },
        old.kernel.clone(),
    );
    let commands = scene.core.adopt(scene.kernel.found(), rows, scene.now);
    scene.take(commands);
    scene
}

#[test]
fn goes_on_with_every_octet_counted_once() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.online(2, lease(10 * MB));
    scene.flow(1, 4 * MB);
    scene.pass(Duration::from_secs(100));
    let rows = scene.saved.clone();
    let mut scene = restarted(&scene, rows);
    assert!(scene.reports.is_empty(), "nothing has happened");
    let view = scene.core.view(mac(1), scene.now).unwrap();
    assert_eq!((view.meter.down_octets, view.session_secs), (4 * MB, 100));
    assert_eq!(view.octets_remaining, Some(96 * MB));
    assert_eq!(view.seconds_remaining, Some(3_500));
    assert_eq!(scene.flow(2, 20 * MB), 16 * MB, "the quota holds as before");
    assert_eq!(scene.asked.len(), 1);
    scene.accept(lease(30 * MB));
    assert_eq!(scene.pool_limit(scene.kernel.pool_of(mac(1))), Some(40 * MB));
    scene.handle(Input::Logoff(mac(1), None));
    scene.step(Duration::from_millis(50));
    let stop = scene.last_report();
    assert_eq!((stop.down_octets, stop.session_secs), (4 * MB, 100));
    assert_eq!(stop.classes, [b"class".to_vec()]);
}

#[test]
fn tells_what_was_free_beside_the_meters_over_a_restart_too() {
    let free = |up, down| Some(FreeOctets { up, down });
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.online(2, lease(10 * MB));
    scene.flow(1, 4 * MB);
    scene.kernel.flow_free(mac(1), MB, 50 * MB);
    scene.pass(Duration::from_secs(100));
    let interims = |scene: &Scene| {
        let of_kind = scene.reports.iter().filter(|report| report.kind == Kind::Interim);
        let mut told: Vec<_> = of_kind
            .map(|report| (report.mac, report.down_octets, report.free))
            .collect();
        told.sort_by_key(|(mac, ..)| *mac);
        told.dedup();
        told
    };
    assert_eq!(
        interims(&scene),
        [(Some(mac(1)), 4 * MB, free(MB, 50 * MB)), (Some(mac(2)), 0, None)],
        "who moved nothing so says nothing"
    );
    assert!(scene.asked.is_empty(), "it is no reason to ask for more");
    // Killed, and more flows while nobody looks.
    scene.kernel.flow_free(mac(1), 0, MB);
    let rows = scene.saved.clone();
    let mut scene = restarted(&scene, rows);
    scene.kernel.flow_free(mac(1), MB, 0);
    scene.handle(Input::Logoff(mac(1), None));
    scene.step(Duration::from_millis(50));
    let stop = scene.last_report();
    assert_eq!((stop.down_octets, stop.free), (4 * MB, free(2 * MB, 51 * MB)));
}

#[test]
fn ends_what_the_kernel_lost_with_the_octets_last_read() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.online(2, lease(10 * MB));
    scene.flow(1, 4 * MB);
    scene.pass(Duration::from_secs(31));
    let slots: Vec<_> = scene.kernel.state().sessions.drain().map(|(slot, _)| slot).collect();
    let commands = scene.core.lost(&slots);
    scene.take(commands);
    scene.step(Duration::from_millis(50));
    let lost = Kind::Stop(terminate_cause::NAS_ERROR);
    let stops: Vec<_> = scene.reports.iter().filter(|report| report.kind == lost).collect();
    assert_eq!(stops.len(), 2);
    assert_eq!(stops.iter().map(|stop| stop.down_octets).sum::<u64>(), 4 * MB);
    assert_eq!(scene.forgotten.len(), 2);
    assert_eq!(scene.core.online(), 0);
    scene.online(1, lease(10 * MB));
}

#[test]
fn ends_what_expired_while_nobody_looked() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, 3 * MB);
    scene.kernel.pass(Duration::from_hours(2));
    let rows = scene.saved.clone();
    let mut scene = restarted(&scene, rows);
    scene.pass(Duration::from_secs(2));
    let stop = scene.last_report();
    assert_eq!(
        (stop.kind, stop.down_octets),
        (Kind::Stop(terminate_cause::SESSION_TIMEOUT), 3 * MB)
    );
    assert!(!scene.kernel.is_open(mac(1)));
}

#[test]
fn ends_sessions_that_only_one_side_knows() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, MB);
    let id = scene.last_report().id.clone();
    let mut scene = restarted(&scene, vec![row("lost")]);
    scene.step(Duration::from_millis(50));
    let mut ended: Vec<(String, Kind, u64)> = scene
        .reports
        .iter()
        .map(|report| (report.id.clone(), report.kind, report.down_octets))
        .collect();
    ended.sort_by_key(|(_, _, octets)| *octets);
    let reboot = Kind::Stop(terminate_cause::NAS_REBOOT);
    assert_eq!(ended, [("lost".to_owned(), reboot, 0), (id.clone(), reboot, MB)]);
    assert_eq!(scene.forgotten, ["lost".to_owned(), id]);
    assert!(!scene.kernel.is_open(mac(1)));
}

#[test]
fn a_pool_that_was_used_up_while_nobody_listened_asks_at_once() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.kernel.flow(mac(1), 11 * MB);
    let rows = scene.saved.clone();
    let scene = restarted(&scene, rows);
    assert_eq!(scene.asked.len(), 1);
    assert_eq!(scene.last_report().down_octets, 10 * MB);
}

#[test]
fn what_ended_sessions_left_in_a_pool_survives() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.online(2, lease(10 * MB));
    scene.flow(1, 2 * MB);
    scene.handle(Input::Logoff(mac(1), None));
    scene.step(Duration::from_millis(50));
    let rows = scene.saved.iter().filter(|row| row.mac == mac(2)).cloned().collect();
    let mut scene = restarted(&scene, rows);
    scene.flow(2, 14 * MB);
    scene.pass(Duration::from_secs(30));
    scene.accept(lease(25 * MB));
    assert_eq!(scene.pool_limit(scene.kernel.pool_of(mac(2))), Some(35 * MB));
}

/// What the rows say after all that was saved and forgotten.
pub(super) fn kept(scene: &Scene) -> Vec<SessionRow> {
    let mut rows: std::collections::BTreeMap<String, SessionRow> = std::collections::BTreeMap::new();
    rows.extend(scene.saved.iter().map(|row| (row.id.clone(), row.clone())));
    for id in &scene.forgotten {
        rows.remove(id);
    }
    rows.into_values().collect()
}

#[test]
fn a_session_that_was_written_down_and_never_opened_ends_with_nothing() {
    let mut scene = Scene::new();
    scene.log_on(1);
    scene.steps_to_live = Some(1);
    scene.accept(lease(10 * MB));
    assert!(scene.is_dead && !scene.kernel.is_open(mac(1)));
    let rows = kept(&scene);
    let mut scene = restarted(&scene, rows);
    let stop = scene.last_report();
    assert_eq!(
        (stop.kind, stop.down_octets),
        (Kind::Stop(terminate_cause::NAS_REBOOT), 0)
    );
    scene.online(1, lease(10 * MB));
}

#[test]
fn a_session_whose_record_was_not_written_is_not_opened() {
    let mut scene = Scene::new();
    scene.log_on(1);
    scene.steps_to_live = Some(0);
    scene.accept(lease(10 * MB));
    assert!(!scene.kernel.is_open(mac(1)) && scene.told.is_empty());
}

#[test]
fn a_raise_counts_once_whichever_side_of_it_was_lost() {
    for steps in 0..3 {
        let mut scene = Scene::new();
        scene.online(1, lease(10 * MB));
        scene.flow(1, 8 * MB);
        scene.pass(Duration::from_secs(30));
        scene.steps_to_live = Some(steps);
        scene.accept(lease(20 * MB));
        let rows = kept(&scene);
        let mut scene = restarted(&scene, rows);
        scene.flow(1, 20 * MB);
        if !scene.asked.is_empty() {
            scene.accept(lease(30 * MB));
        }
        let limit = scene.pool_limit(scene.kernel.pool_of(mac(1)));
        assert_eq!(limit, Some(30 * MB), "dead after {steps} steps");
    }
}

#[test]
fn a_change_that_was_written_down_and_not_carried_out_holds_after_the_restart() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    let target = kavadam_radius::Target {
        mac: Some(mac(1)),
        ..Default::default()
    };
    let mut limits = lease(15 * MB).limits;
    limits.down_bits_per_sec = Some(1_000_000);
    limits.session_secs = Some(600);
    let waiter = scene.waiter();
    scene.told.clear();
    scene.steps_to_live = Some(1);
    scene.handle(Input::Change(target, limits.into(), waiter));
    assert!(scene.told.is_empty());
    let rows = kept(&scene);
    let mut scene = restarted(&scene, rows);
    scene.pass(Duration::from_secs(1));
    assert_eq!(scene.pool_limit(scene.kernel.pool_of(mac(1))), Some(15 * MB));
    assert_eq!(scene.kernel.rates_of(mac(1)).1, Some(1_000_000));
    scene.pass(Duration::from_secs(601));
    assert!(!scene.kernel.is_open(mac(1)));
}

#[test]
fn a_stop_that_is_written_is_not_written_again() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, MB);
    scene.handle(Input::Logoff(mac(1), None));
    scene.steps_to_live = Some(1);
    scene.step(Duration::from_millis(50));
    assert!(scene.is_dead && scene.kernel.is_open(mac(1)));
    assert_eq!(scene.last_report().kind, Kind::Stop(terminate_cause::USER_REQUEST));
    let rows = kept(&scene);
    let scene = restarted(&scene, rows);
    assert!(scene.reports.is_empty(), "{:?}", scene.kinds());
    assert!(!scene.kernel.is_open(mac(1)));
    assert_eq!(scene.forgotten.len(), 1);
}

#[test]
fn what_an_unknown_session_carries_until_it_is_halted_is_reported() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, MB);
    let found = scene.kernel.found();
    // While the gateway starts, the device goes on.
    scene.flow(1, MB);
    let mut scene = restarted(&scene, Vec::new());
    assert!(scene.reports.is_empty() && scene.kernel.is_open(mac(1)));
    assert_eq!(scene.flow(1, MB), 0, "halted");
    scene.step(Duration::from_millis(50));
    let stop = scene.last_report();
    assert_eq!(
        (stop.kind, stop.down_octets),
        (Kind::Stop(terminate_cause::NAS_REBOOT), 2 * MB)
    );
    assert_eq!(found[0].meter.down_octets, MB);
}

#[test]
fn a_step_of_the_wall_clock_over_a_restart_ends_nobody_and_ages_nobody() {
    for has_boot_clock in [true, false] {
        let mut scene = Scene::new();
        scene.online(1, lease(10 * MB));
        scene.pass(Duration::from_secs(100));
        scene.now.wall = scene.now.wall + Duration::from_hours(48);
        let mut rows = kept(&scene);
        if !has_boot_clock {
            rows[0].started_boot = None;
        }
        let mut scene = restarted(&scene, rows);
        let view = scene.core.view(mac(1), scene.now).unwrap();
        assert_eq!((view.session_secs, view.seconds_remaining), (100, Some(3_500)));
        scene.pass(Duration::from_secs(2));
        assert!(scene.kernel.is_open(mac(1)));
    }
}

#[test]
fn an_order_that_comes_before_the_first_tick_of_a_new_process_is_acknowledged() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    let mut again = restarted(&scene, kept(&scene));
    for speed in [Some(1_000_000), Some(1_000_000)] {
        let waiter = again.waiter();
        let limits = Limits {
            down_bits_per_sec: speed,
            ..lease(10 * MB).limits
        };
        again.handle(Input::Change(super::endings::target(mac(1)), limits.into(), waiter));
        assert_eq!(again.told.last(), Some(&(waiter, Told::Ordered(Ok(())))));
        assert_eq!(again.kernel.rates_of(mac(1)).1, speed);
    }
    let mut untouched = restarted(&scene, kept(&scene));
    let waiter = untouched.waiter();
    untouched.handle(Input::Change(
        super::endings::target(mac(1)),
        lease(10 * MB).limits.into(),
        waiter,
    ));
    assert_eq!(
        untouched.told.last(),
        Some(&(waiter, Told::Ordered(Ok(())))),
        "which changes nothing"
    );
}
