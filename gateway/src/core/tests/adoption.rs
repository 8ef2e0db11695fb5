//! Restarts.

use super::*;
use kavadam_domain::session::terminate_cause;

/// Another process takes over the same kernel, with what was committed.
fn restarted(old: &Scene, rows: Vec<SessionRow>) -> Scene {
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
    scene.step(Duration::from_millis(30));
    let stop = scene.last_report();
    assert_eq!((stop.down_octets, stop.session_secs), (4 * MB, 100));
    assert_eq!(stop.classes, [b"class".to_vec()]);
}

#[test]
fn ends_what_the_kernel_lost_with_the_octets_last_read() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.online(2, lease(10 * MB));
    scene.flow(1, 4 * MB);
    scene.pass(Duration::from_secs(31));
    let slots: Vec<_> = scene.kernel.state().sessions.drain().map(|(slot, _)| slot).collect();
    let commands = scene.core.lost(&slots, scene.now);
    scene.take(commands);
    scene.step(Duration::from_millis(30));
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
    let scene = restarted(&scene, vec![row("lost")]);
    let mut ended: Vec<(String, Kind, u64)> = scene
        .reports
        .iter()
        .map(|report| (report.id.clone(), report.kind, report.down_octets))
        .collect();
    ended.sort_by_key(|(_, _, octets)| *octets);
    let reboot = Kind::Stop(terminate_cause::NAS_REBOOT);
    assert_eq!(ended, [("lost".to_owned(), reboot, 0), (id, reboot, MB)]);
    assert_eq!(scene.forgotten, ["lost"]);
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
    scene.step(Duration::from_millis(30));
    let rows = scene.saved.iter().filter(|row| row.mac == mac(2)).cloned().collect();
    let mut scene = restarted(&scene, rows);
    scene.flow(2, 14 * MB);
    scene.pass(Duration::from_secs(30));
    scene.accept(lease(25 * MB));
    assert_eq!(scene.pool_limit(scene.kernel.pool_of(mac(2))), Some(35 * MB));
}
