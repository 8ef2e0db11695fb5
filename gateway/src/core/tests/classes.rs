//! Shaping classes: had, not had, changed, and known again.

use kavadam_domain::ClassName;
use kavadam_radius::{Change, LimitsPatch};

use super::adoption::{kept, restarted};
use super::endings::target;
use super::*;

fn free() -> Option<ClassName> {
    "free".parse().ok()
}

fn classed(octets: u64) -> Grant {
    let mut grant = lease(octets);
    grant.limits.class = free();
    grant
}

#[test]
fn a_session_is_in_the_class_of_its_plan_whether_this_gate_has_it_or_not() {
    for is_here in [true, false] {
        let mut scene = Scene::new();
        scene.kernel.state().classes.extend(free().filter(|_| is_here));
        scene.online(1, classed(10 * MB));
        scene.online(2, lease(10 * MB));
        assert_eq!(scene.kernel.class_of(mac(1)), free());
        assert_eq!(scene.kernel.class_of(mac(2)), None);
        assert_eq!(scene.saved[0].limits.class, free());
    }
}

#[test]
fn an_order_gives_another_class_or_takes_it_away() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    for (class, is) in [
        (Change::Set(free().unwrap()), free()),
        (Change::Keep, free()),
        (Change::Lift, None),
    ] {
        let waiter = scene.waiter();
        let patch = LimitsPatch {
            class,
            ..LimitsPatch::default()
        };
        scene.handle(Input::Change(target(mac(1)), patch, waiter));
        assert_eq!(scene.told.last(), Some(&(waiter, Told::Ordered(Ok(())))));
        assert_eq!(scene.kernel.class_of(mac(1)), is);
    }
}

#[test]
fn a_renewal_brings_the_class_of_the_plan_to_every_device_of_the_person() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.online(2, lease(10 * MB));
    scene.flow(1, 17 * MB);
    scene.pass(Duration::from_secs(30));
    scene.accept(classed(30 * MB));
    scene.accept(classed(30 * MB));
    assert_eq!(scene.kernel.class_of(mac(1)), free());
    assert_eq!(scene.kernel.class_of(mac(2)), free());
}

#[test]
fn a_session_whose_class_has_gone_goes_on_over_a_restart() {
    let mut scene = Scene::new();
    scene.kernel.state().classes.extend(free());
    scene.online(1, classed(10 * MB));
    scene.kernel.state().classes.clear();
    let mut again = restarted(&scene, kept(&scene));
    again.pass(Duration::from_secs(2));
    assert!(again.kernel.is_open(mac(1)) && again.reports.is_empty());
    assert_eq!(again.kernel.class_of(mac(1)), free());
}
