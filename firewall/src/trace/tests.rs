use std::net::{Ipv4Addr, Ipv6Addr};

use kavadam_domain::Mac;
use kavadam_domain::accounting::FreeOctets;

use super::*;
use crate::session::{AdoptedSession, Meter, PoolKey, Slot};

fn unknown() -> SeenDevice {
    SeenDevice {
        mac: Mac([2, 0, 0, 0, 0, 1]),
        leases: Vec::new(),
        may_use_ipv6: None,
        auth4: None,
        auth6: None,
        holds: Vec::new(),
        held_by_others: Vec::new(),
        session: None,
    }
}

fn leased() -> SeenDevice {
    SeenDevice {
        leases: vec![(Ipv4Addr::new(10, 80, 0, 11), Some(Duration::from_secs(90)))],
        may_use_ipv6: Some(Some(Duration::from_secs(90))),
        ..unknown()
    }
}

/// Of a limit of 40,000,000: the next packet did not fit.
const USED_UP: u64 = 39_999_400;

fn with_session(used: u64, state: SessionState) -> SeenDevice {
    let is_online = state != SessionState::Expired;
    let session = AdoptedSession {
        slot: Slot(7),
        mac: unknown().mac,
        ipv4: Some(Ipv4Addr::new(10, 80, 0, 11)),
        label: Vec::new(),
        filter: None,
        class: None,
        state,
        meter: Meter {
            up_octets: 1_234_567,
            up_packets: 1000,
            free: Some(FreeOctets {
                up: 5_000,
                down: 70_000,
            }),
            ..Meter::default()
        },
        pool: PoolKey(3),
        pool_limit_octets: Some(40_000_000),
        pool_used_octets: used,
    };
    SeenDevice {
        auth4: is_online.then_some((Slot(7), Some(Duration::from_secs(3700)))),
        session: Some(SeenSession {
            session,
            up_octets_per_sec: Some(1_250_000),
            down_octets_per_sec: None,
            queue: None,
            is_used_up: used >= USED_UP,
        }),
        ..leased()
    }
}

const ONLINE: SessionState = SessionState::Online {
    remaining: Some(Duration::from_secs(3700)),
};

fn facts(device: &SeenDevice) -> (DeviceState, String) {
    let trace = Trace::of(device, true);
    let steps: Vec<String> = trace
        .steps
        .iter()
        .map(|step| format!("{}: {}", step.rule, step.fact))
        .collect();
    (trace.state, steps.join("\n"))
}

#[test]
fn who_has_no_lease_is_unheard_unless_everybody_is_heard() {
    let (state, steps) = facts(&unknown());
    assert_eq!(state, DeviceState::Unheard);
    assert!(steps.contains("leases: it has no DHCP lease"), "{steps}");
    assert_eq!(Trace::of(&unknown(), false).state, DeviceState::Stranger);
}

#[test]
fn who_has_a_lease_is_a_stranger_until_login() {
    let (state, steps) = facts(&leased());
    assert_eq!(state, DeviceState::Stranger);
    assert!(
        steps.contains("may speak from 10.80.0.11, for another 1 min 30 s"),
        "{steps}"
    );
    assert!(
        steps.contains("auth4: its IPv4 packets belong to no session"),
        "{steps}"
    );
}

#[test]
fn who_is_online_meets_speed_quota_and_meters_in_that_order() {
    let (state, steps) = facts(&with_session(39_999_000, ONLINE));
    assert_eq!(state, DeviceState::Online);
    let rules: Vec<&str> = steps.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(
        rules,
        [
            "auth4",
            "auth6",
            "lim_up",
            "lim_down",
            "total",
            "cnt_up",
            "cnt_down",
            "cnt_free_up",
            "cnt_free_down"
        ]
    );
    for part in [
        "belong to slot 7, for another 1 h 1 min",
        "towards the internet: 10,000,000 bit/s",
        "towards the device: no limit",
        "pool 3 has used 39,999,000 octets of 40,000,000 octets",
        "1,234,567 octets in 1,000 packets went up",
        "70,000 octets came down free of charge",
    ] {
        assert!(steps.contains(part), "{part}: {steps}");
    }
}

#[test]
fn a_filter_is_met_before_the_limits() {
    let mut filtered = with_session(0, ONLINE);
    if let Some(seen) = &mut filtered.session {
        seen.session.filter = Some("minors".parse().unwrap());
    }
    let (_, steps) = facts(&filtered);
    assert!(
        steps.contains("filtered: where it may go is asked of the filter minors too"),
        "{steps}"
    );
    assert!(steps.find("filtered:") < steps.find("lim_up:"), "{steps}");
}

#[test]
fn a_full_pool_is_used_up_and_an_ended_session_expired() {
    assert_eq!(facts(&with_session(USED_UP, ONLINE)).0, DeviceState::UsedUp);
    let (state, steps) = facts(&with_session(0, SessionState::Expired));
    assert_eq!(state, DeviceState::Expired);
    assert!(steps.contains("total: slot 7 has come to its end"), "{steps}");
}

/// DHCP gave it another one since.
fn with_another_address() -> SeenDevice {
    SeenDevice {
        leases: vec![(Ipv4Addr::new(10, 80, 0, 99), None)],
        auth4: None,
        auth6: Some((Slot(7), None)),
        ..with_session(1, ONLINE)
    }
}

#[test]
fn a_session_for_another_address_is_not_called_online_or_expired() {
    let (state, steps) = facts(&with_another_address());
    assert_eq!(state, DeviceState::Misaddressed);
    assert!(
        steps.contains("its session is for 10.80.0.11, and DHCP has given it 10.80.0.99"),
        "{steps}"
    );
    let unreachable = SeenDevice {
        auth6: None,
        ..with_another_address()
    };
    assert_eq!(facts(&unreachable).0, DeviceState::Misaddressed);
    let fixed = SeenDevice {
        leases: Vec::new(),
        ..with_session(1, ONLINE)
    };
    assert_eq!(
        facts(&fixed).0,
        DeviceState::Online,
        "an address of its own choice is no other one"
    );
}

#[test]
fn addresses_that_are_held_are_told_whoever_holds_them() {
    let address = |last| Ipv6Addr::new(0xfd00, 0x80, 0, 0, 0, 0, 0, last);
    let seen = SeenDevice {
        holds: vec![(address(0x11), Some(Duration::from_secs(3700)))],
        held_by_others: vec![(address(0x12), Some(Mac([2, 0, 0, 0, 0, 2]))), (address(0x13), None)],
        ..with_session(0, ONLINE)
    };
    let (state, steps) = facts(&seen);
    assert_eq!(state, DeviceState::Online, "it has other addresses");
    for told in [
        "held6: it holds fd00:80::11, for another 1 h 1 min: nobody else is heard from there",
        "held6: fd00:80::12 is held by 02-00-00-xx-xx-xx: what it sends from there is dropped",
        "held6: fd00:80::13 is held by another device",
    ] {
        assert!(steps.contains(told), "{told}: {steps}");
    }
}

#[test]
fn every_state_says_what_to_do_next() {
    for device in [
        unknown(),
        leased(),
        with_session(1, ONLINE),
        with_session(USED_UP, ONLINE),
        with_another_address(),
    ] {
        assert!(Trace::of(&device, true).next.len() > 40);
    }
}
