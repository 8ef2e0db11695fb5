//! Filters: had, not had, changed, and known again.

use kavadam_domain::FilterName;
use kavadam_domain::session::terminate_cause;
use kavadam_radius::{Change, ErrorCause, LimitsPatch};

use super::adoption::{kept, restarted};
use super::endings::target;
use super::*;

fn minors() -> Option<FilterName> {
    "minors".parse().ok()
}

fn filtered(octets: u64) -> Grant {
    let mut grant = lease(octets);
    grant.limits.filter = minors();
    grant
}

/// A gate that has the filter.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.kernel.state().filters.extend(minors());
    scene
}

#[test]
fn a_filter_that_this_gate_has_holds_from_the_first_packet() {
    let mut scene = scene();
    scene.online(1, filtered(10 * MB));
    scene.online(2, lease(10 * MB));
    assert_eq!(scene.kernel.filter_of(mac(1)), minors());
    assert_eq!(scene.kernel.filter_of(mac(2)), None);
    assert_eq!(scene.saved[0].limits.filter, minors());
}

#[test]
fn an_accept_with_a_filter_that_this_gate_has_not_is_a_refusal() {
    let mut scene = Scene::new();
    let waiter = scene.log_on(1);
    scene.accept(filtered(10 * MB));
    assert_eq!(scene.told.last(), Some(&(waiter, Told::Refused(None))));
    assert!(!scene.kernel.is_open(mac(1)));
    assert!(scene.saved.is_empty() && scene.reports.is_empty());
    // It is not asked for at every packet either.
    scene.handle(Input::Knock(device(2), None));
    scene.accept(filtered(10 * MB));
    scene.handle(Input::Knock(device(2), None));
    assert!(scene.asked.is_empty(), "the refusal is remembered");
}

#[test]
fn an_order_gives_another_filter_takes_it_away_or_is_refused_as_a_whole() {
    let mut scene = scene();
    scene.online(1, lease(10 * MB));
    let mut change = |filter| {
        let waiter = scene.waiter();
        let patch = LimitsPatch {
            down_bits_per_sec: Change::Set(1_000_000),
            filter,
            ..LimitsPatch::default()
        };
        scene.handle(Input::Change(target(mac(1)), patch, waiter));
        let told = scene.told.last().unwrap().clone();
        assert_eq!(told.0, waiter);
        (told.1, scene.kernel.filter_of(mac(1)), scene.kernel.rates_of(mac(1)).1)
    };
    let refused = Told::Ordered(Err(ErrorCause::INVALID_ATTRIBUTE_VALUE));
    let unknown = Change::Set("nobodys".parse().unwrap());
    assert_eq!(change(unknown), (refused, None, Some(8_000_000)), "nothing has changed");
    let done = Told::Ordered(Ok(()));
    assert_eq!(
        change(Change::Set(minors().unwrap())),
        (done.clone(), minors(), Some(1_000_000))
    );
    assert_eq!(change(Change::Keep), (done.clone(), minors(), Some(1_000_000)));
    assert_eq!(change(Change::Lift), (done, None, Some(1_000_000)));
}

#[test]
fn a_renewal_brings_the_filter_of_the_plan_as_it_is_by_then_to_every_device_of_the_person() {
    let mut scene = scene();
    scene.online(1, lease(10 * MB));
    scene.online(2, lease(10 * MB));
    scene.flow(1, 17 * MB);
    scene.pass(Duration::from_secs(30));
    scene.accept(filtered(30 * MB));
    scene.accept(filtered(30 * MB));
    assert_eq!(scene.kernel.filter_of(mac(1)), minors());
    assert_eq!(scene.kernel.filter_of(mac(2)), minors());
}

#[test]
fn a_renewal_with_a_filter_that_this_gate_has_not_gives_no_more() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, 8 * MB);
    scene.pass(Duration::from_secs(30));
    scene.accept(filtered(30 * MB));
    assert_eq!(scene.flow(1, 20 * MB), 2 * MB, "what was granted before");
}

#[test]
fn a_session_whose_filter_has_gone_ends_at_the_restart() {
    let mut scene = scene();
    scene.online(1, filtered(10 * MB));
    scene.online(2, lease(10 * MB));
    let mut again = restarted(&scene, kept(&scene));
    again.pass(Duration::from_secs(2));
    assert!(again.kernel.is_open(mac(1)) && again.reports.is_empty());
    assert_eq!(again.kernel.filter_of(mac(1)), minors());
    scene.kernel.state().filters.clear();
    let mut again = restarted(&scene, kept(&scene));
    again.pass(Duration::from_secs(2));
    assert!(!again.kernel.is_open(mac(1)), "it would go on without");
    assert!(again.kernel.is_open(mac(2)));
    assert_eq!(
        again.reports.last().unwrap().kind,
        Kind::Stop(terminate_cause::NAS_ERROR)
    );
}
