//! Leases, pools and their ends.

use super::*;
use kavadam_domain::session::terminate_cause;

/// Long enough for a halted session's meters to be final.
const SETTLED: Duration = Duration::from_millis(50);

#[test]
fn low_water_asks_for_more_after_reporting_what_was_used() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, 4 * MB);
    scene.pass(Duration::from_secs(30));
    assert!(scene.asked.is_empty(), "six of ten are left");
    scene.flow(1, 4 * MB);
    scene.pass(Duration::from_secs(5));
    let (_, request) = &scene.asked[0];
    assert_eq!(request.service, ServiceType::AuthorizeOnly);
    assert_eq!(request.classes, [b"class".to_vec()]);
    assert_eq!(request.user_name, "alias");
    let interim = scene.last_report();
    assert_eq!((interim.kind, interim.down_octets), (Kind::Interim, 8 * MB));
    scene.accept(lease(20 * MB));
    assert_eq!(scene.pool_limit(scene.kernel.pool_of(mac(1))), Some(20 * MB));
    assert_eq!(scene.flow(1, 12 * MB), 12 * MB, "not one octet is refused on the way");
}

#[test]
fn half_a_lease_that_stands_still_is_filled_up_and_one_that_flows_is_not() {
    let mut scene = Scene::new();
    scene.online(1, lease(40 * MB));
    scene.flow(1, 21 * MB);
    for _ in 0..20 {
        scene.flow(1, MB / 4);
        scene.pass(Duration::from_secs(1));
        assert!(scene.asked.is_empty(), "as long as something flows");
    }
    scene.pass(Duration::from_secs(10));
    scene.accept(lease(66 * MB));
    scene.pass(Duration::from_mins(5));
    assert!(scene.asked.is_empty(), "once");
}

#[test]
fn a_renewal_waits_for_the_reports_of_every_device_that_drew_on_the_lease() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.online(2, lease(0));
    scene.flow(1, 11 * MB);
    assert_eq!(scene.asked.len(), 1);
    assert_eq!(
        scene.asked_after,
        [mac(1), mac(2)],
        "whoever asks, what the other used counts"
    );
    scene.accept(lease(20 * MB));
    scene.handle(Input::Logoff(mac(1), None));
    scene.step(SETTLED);
    scene.flow(2, 11 * MB);
    assert_eq!(scene.asked_after, [mac(1), mac(2)], "and what one used that has left");
}

#[test]
fn used_up_and_refused_ends_with_every_octet_reported() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    assert_eq!(scene.flow(1, 11 * MB), 10 * MB);
    assert_eq!(scene.asked.len(), 1, "asks once more");
    scene.reject();
    assert_eq!(scene.flow(1, MB), 0);
    scene.step(SETTLED);
    let stop = scene.last_report();
    assert_eq!(stop.kind, Kind::Stop(terminate_cause::NAS_REQUEST));
    assert_eq!(stop.down_octets, 10 * MB);
    assert_eq!(scene.forgotten, std::slice::from_ref(&stop.id));
    assert!(!scene.kernel.is_open(mac(1)));
}

#[test]
fn used_up_and_not_raised_ends() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, 11 * MB);
    scene.accept(lease(10 * MB));
    scene.step(SETTLED);
    assert_eq!(scene.last_report().kind, Kind::Stop(terminate_cause::NAS_REQUEST));
}

#[test]
fn what_was_not_raised_before_the_server_knew_what_was_used_is_asked_again_for_a_minute() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, 11 * MB);
    let mut questions = 0;
    for _ in 0..59 {
        if !scene.asked.is_empty() {
            questions += 1;
            scene.accept_unsettled(lease(10 * MB));
        }
        scene.pass(Duration::from_secs(1));
        assert!(scene.kernel.is_open(mac(1)));
    }
    assert!((10..40).contains(&questions), "{questions}");
    scene.pass(Duration::from_secs(3));
    assert!(!scene.kernel.is_open(mac(1)), "for a minute, and no longer");

    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, 11 * MB);
    scene.accept_unsettled(lease(10 * MB));
    scene.pass(Duration::from_secs(3));
    scene.accept(lease(20 * MB));
    assert_eq!(scene.flow(1, 5 * MB), 5 * MB, "the reports have arrived meanwhile");
}

#[test]
fn low_water_is_asked_about_again_if_the_server_did_not_know_what_was_used() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, 8 * MB);
    scene.pass(Duration::from_secs(30));
    scene.accept_unsettled(lease(10 * MB));
    assert!(scene.asked.is_empty(), "not at once");
    scene.pass(Duration::from_secs(3));
    scene.accept_unsettled(lease(20 * MB));
    assert_eq!(scene.flow(1, 12 * MB), 12 * MB, "what is raised holds");
}

#[test]
fn used_up_and_raised_goes_on() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, 11 * MB);
    scene.accept(lease(15 * MB));
    assert_eq!(scene.flow(1, 9 * MB), 5 * MB);
    assert_eq!(scene.asked.len(), 1);
}

#[test]
fn a_remainder_too_small_for_a_packet_counts_as_used_up() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB + 60_000));
    scene.flow(1, 10 * MB);
    scene.pass(Duration::from_secs(30));
    scene.reject();
    scene.step(SETTLED);
    assert_eq!(scene.last_report().kind, Kind::Stop(terminate_cause::NAS_REQUEST));
}

#[test]
fn a_refusal_at_low_water_leaves_what_was_granted() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, 8 * MB);
    scene.pass(Duration::from_secs(30));
    scene.reject();
    scene.pass(Duration::from_secs(30));
    assert!(scene.asked.is_empty(), "does not ask again until all is used up");
    assert_eq!(scene.flow(1, 5 * MB), 2 * MB);
    assert_eq!(scene.asked.len(), 1, "then once, since a top-up may have come");
    scene.reject();
    scene.step(SETTLED);
    assert!(matches!(scene.last_report().kind, Kind::Stop(_)));
}

#[test]
fn a_silent_server_keeps_the_pool_closed_and_is_asked_again_for_a_minute() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, 11 * MB);
    let mut questions = 0;
    for _ in 0..59 {
        if !scene.asked.is_empty() {
            questions += 1;
            scene.stay_silent();
        }
        scene.pass(Duration::from_secs(1));
        assert_eq!(scene.flow(1, MB), 0);
    }
    assert!((10..40).contains(&questions), "{questions}");
    assert!(scene.kernel.is_open(mac(1)));
    scene.pass(Duration::from_secs(3));
    assert!(!scene.kernel.is_open(mac(1)));
    assert_eq!(scene.last_report().down_octets, 10 * MB);
}

#[test]
fn a_server_that_returns_in_time_saves_the_session() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, 11 * MB);
    scene.stay_silent();
    scene.pass(Duration::from_secs(4));
    scene.accept(lease(20 * MB));
    assert_eq!(scene.flow(1, 10 * MB), 10 * MB);
}

#[test]
fn two_devices_of_a_person_share_one_quota_and_end_together() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.online(2, lease(10 * MB));
    assert_eq!(scene.kernel.pool_of(mac(1)), scene.kernel.pool_of(mac(2)));
    assert_eq!(scene.flow(2, 15 * MB), 15 * MB, "one may use the other's");
    assert_eq!(scene.flow(1, 10 * MB), 5 * MB);
    let (_, request) = &scene.asked[0];
    assert_eq!(request.mac, Some(mac(2)), "asks for the one that drew most");
    scene.reject();
    scene.step(SETTLED);
    let stops: Vec<u64> = scene
        .reports
        .iter()
        .filter(|report| matches!(report.kind, Kind::Stop(_)))
        .map(|report| report.down_octets)
        .collect();
    assert_eq!(stops.iter().sum::<u64>(), 20 * MB);
    assert_eq!(stops.len(), 2);
}

#[test]
fn who_is_let_in_at_the_same_moment_is_opened_together_and_one_that_fails_keeps_nobody_out() {
    let mut scene = Scene::new();
    let asks: Vec<_> = [2, 3, 4]
        .map(|number| (scene.log_on(number), scene.question().0))
        .into();
    scene.kernel.state().refused = Some(mac(3));
    let mut commands = Vec::new();
    for (_, ask) in &asks {
        let answer = Input::Answered(*ask, Answer::Accept(Box::new(lease(MB))));
        commands.extend(scene.core.handle(answer, scene.now));
    }
    scene.take(commands);
    let is_open = [2, 3, 4].map(|number| scene.kernel.is_open(mac(number)));
    assert_eq!(is_open, [true, false, true]);
    assert_eq!(scene.kernel.state().asked_to_open, [3], "all of them at once");
    for ((waiter, _), expected) in asks.iter().zip([Told::Online, Told::Unavailable, Told::Online]) {
        assert!(scene.told.contains(&(*waiter, expected)), "{:?}", scene.told);
    }
    assert_eq!(
        scene.kernel.pool_of(mac(2)),
        scene.kernel.pool_of(mac(4)),
        "they are one person's"
    );
}

#[test]
fn people_do_not_share_and_neither_do_sessions_without_a_name_for_their_person() {
    let mut scene = Scene::new();
    scene.online(1, lease(MB));
    let other = Grant {
        cui: Some(b"other".to_vec()),
        ..lease(MB)
    };
    scene.online(2, other);
    for number in [3, 4] {
        let nameless = Grant { cui: None, ..lease(MB) };
        scene.online(number, nameless);
    }
    let pools: std::collections::HashSet<_> = (1..=4).map(|n| scene.kernel.pool_of(mac(n))).collect();
    assert_eq!(pools.len(), 4);
}

#[test]
fn what_an_ended_session_was_granted_stays_in_the_pool() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.online(2, lease(10 * MB));
    scene.flow(1, MB);
    scene.handle(Input::Logoff(mac(1), None));
    scene.step(SETTLED);
    assert_eq!(scene.pool_limit(scene.kernel.pool_of(mac(2))), Some(20 * MB));
    assert_eq!(scene.flow(2, 30 * MB), 19 * MB);
}

#[test]
fn a_throttled_person_is_throttled_on_every_device() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.online(2, lease(10 * MB));
    scene.flow(1, 30 * MB);
    let mut slow = lease(0);
    slow.limits.max_total_octets = None;
    slow.limits.up_bits_per_sec = Some(64_000);
    slow.limits.down_bits_per_sec = Some(64_000);
    scene.accept(slow.clone());
    assert_eq!(scene.kernel.rates_of(mac(1)), (Some(64_000), Some(64_000)));
    assert_eq!(scene.question().1.mac, Some(mac(2)), "the other hears of it at once");
    assert_eq!(scene.pool_limit(scene.kernel.pool_of(mac(1))), None);
    assert_eq!(scene.flow(1, 5 * MB), 5 * MB);
}

#[test]
fn a_throttled_session_that_is_metered_again_asks_again() {
    let mut scene = Scene::new();
    let mut slow = lease(0);
    slow.limits.max_total_octets = None;
    slow.limits.down_bits_per_sec = Some(64_000);
    scene.online(1, slow);
    assert_eq!(scene.flow(1, 5 * MB), 5 * MB);
    scene.pass(Duration::from_mins(1));
    assert!(scene.asked.is_empty(), "there is nothing to ask for");
    let waiter = scene.waiter();
    let target = kavadam_radius::Target {
        mac: Some(mac(1)),
        ..kavadam_radius::Target::default()
    };
    scene.handle(Input::Change(target, lease(15 * MB).limits.into(), waiter));
    assert_eq!(scene.flow(1, 12 * MB), 10 * MB);
    assert_eq!(scene.asked.len(), 1);
    scene.accept(lease(25 * MB));
    assert_eq!(scene.flow(1, 5 * MB), 5 * MB, "gigabytes remain: it goes on");
}

#[test]
fn a_lease_that_cannot_be_renewed_ends_without_a_question() {
    let mut scene = Scene::new();
    let fixed = Grant {
        is_renewable: false,
        ..lease(10 * MB)
    };
    scene.online(1, fixed);
    scene.flow(1, 11 * MB);
    assert!(scene.asked.is_empty());
    scene.step(SETTLED);
    assert_eq!(scene.last_report().kind, Kind::Stop(terminate_cause::NAS_REQUEST));
}

#[test]
fn shows_what_the_person_has_left_now() {
    let mut scene = Scene::new();
    scene.online(1, lease(10 * MB));
    scene.flow(1, 4 * MB);
    scene.pass(Duration::from_secs(10));
    let view = scene.core.view(mac(1), scene.now).unwrap();
    assert_eq!(view.octets_remaining, Some(96 * MB));
    assert_eq!(view.seconds_remaining, Some(3_590));
    assert_eq!(view.session_secs, 10);
    assert_eq!(view.meter.down_octets, 4 * MB);
    assert_eq!(scene.core.view(mac(2), scene.now), None);
}

#[test]
fn with_more_sessions_due_than_a_tick_reads_all_have_their_turn() {
    let mut scene = Scene::new();
    let most = super::super::meters::MOST_READ;
    let sessions = u32::try_from(most + 100).unwrap();
    for number in 0..sessions {
        let [_, _, high, low] = number.to_be_bytes();
        let device = Device {
            mac: Mac([2, 1, 0, 0, high, low]),
            ipv4: None,
            ipv6: None,
        };
        scene.handle(Input::Knock(device, None));
        let nameless = Grant { cui: None, ..lease(MB) };
        scene.accept(nameless);
    }
    scene.kernel.state().reads.clear();
    for _ in 0..2 {
        // All are due at each tick: what was read is due again at the next.
        scene.pass(Duration::from_secs(1));
        assert!(
            scene.core.wake_at().is_some_and(|at| at <= scene.now.mono),
            "the rest at once"
        );
    }
    assert_eq!(scene.kernel.state().reads.len(), most + 100);
}
