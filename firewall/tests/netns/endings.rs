//! How sessions end: by us, or by the kernel when nobody looks.

use std::time::Duration;

use kavadam_firewall::{FirewallError, OpenSession, SessionLimits, SessionState};

use crate::Case;
use crate::lab::{Inside, TCP, WEB4, WEB6, eventually, first_line, go_on, limit, octets4, octets6};

pub const CASES: &[Case] = &[
    (
        "ends_established_connections_with_the_session",
        ends_established_connections_with_the_session,
    ),
    ("ends_the_session_in_the_kernel_when_its_time_is_up", ends_in_the_kernel),
    (
        "ends_established_connections_when_the_time_is_up",
        ends_established_connections_by_time,
    ),
    ("moves_the_end_of_an_open_session", moves_the_end_of_an_open_session),
    ("ends_a_session_with_ipv6_only", ends_a_session_with_ipv6_only),
];

/// Resets the server has seen, asked from the gateway itself.
fn resets() -> u32 {
    let mut stream = std::net::TcpStream::connect((WEB4, 5001)).unwrap();
    std::io::Write::write_all(&mut stream, b"resets\n").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    answer.parse().unwrap()
}

fn ends_established_connections_with_the_session(lab: &Inside) {
    let (gate, _, slot) = lab.online();
    gate.admit_lease(lab.phone.mac(), lab.phone.ipv4(), None).unwrap();
    for host in [WEB4, WEB6] {
        let before = resets();
        let slot = if host == WEB4 {
            slot
        } else {
            gate.open(&lab.phone.session(gate.create_pool(None).unwrap())).unwrap()
        };
        let mut held = lab.phone.node.spawn(&["tcp-hold", host, TCP]);
        assert_eq!(first_line(&mut held), "ready");
        gate.close(slot).unwrap();
        assert_eq!(go_on(held), "reset", "the phone's end, {host}");
        eventually("the server's end is reset", || resets() == before + 1);
    }
    gate.admit_lease(lab.phone.mac(), lab.phone.ipv4(), None).unwrap();
    assert_eq!(
        lab.phone.node.run(&["tcp-try", WEB4, "443"]),
        "refused",
        "a stranger again"
    );
}

fn ends_in_the_kernel(lab: &Inside) {
    let gate = lab.gate();
    let pool = gate.create_pool(None).unwrap();
    let timeout = Some(Duration::from_secs(2));
    let slot = gate
        .open(&OpenSession {
            timeout,
            ..lab.phone.session(pool)
        })
        .unwrap();
    assert_eq!(lab.phone.node.upload(WEB4, 5, 1000), 5);
    assert_eq!(lab.phone.node.upload(WEB6, 5, 1000), 5);
    assert_eq!(gate.expired().unwrap(), []);
    // Nobody is there to end it.
    drop(gate);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(lab.phone.node.upload(WEB4, 5, 1000), 0);
    assert_eq!(lab.phone.node.upload(WEB6, 5, 1000), 0);

    let gate = lab.gate();
    assert_eq!(gate.expired().unwrap(), [slot]);
    let adopted = gate.adopt().unwrap();
    assert_eq!(adopted[0].state, SessionState::Expired);
    assert_eq!(adopted[0].label, b"phone 1");
    assert!(matches!(
        limit(&gate, slot, SessionLimits::default()),
        Err(FirewallError::Expired(_))
    ));
    assert_eq!(
        gate.close(slot).unwrap().up_octets,
        octets4(5, 1000) + octets6(5, 1000),
        "no octet is lost"
    );
    assert_eq!(gate.expired().unwrap(), []);
}

fn ends_established_connections_by_time(lab: &Inside) {
    let gate = lab.gate();
    let pool = gate.create_pool(None).unwrap();
    let slot = gate.open(&lab.phone.session(pool)).unwrap();
    let before = resets();
    let mut held = lab.phone.node.spawn(&["tcp-hold", WEB4, TCP]);
    assert_eq!(first_line(&mut held), "ready");
    gate.set_timeout(slot, Some(Duration::from_millis(300))).unwrap();
    eventually("the server's end is reset", || resets() == before + 1);
    assert_ne!(go_on(held), "alive");
    assert_eq!(gate.expired().unwrap(), [slot]);
}

fn moves_the_end_of_an_open_session(lab: &Inside) {
    let gate = lab.gate();
    let pool = gate.create_pool(None).unwrap();
    let timeout = Some(Duration::from_secs(2));
    let slot = gate
        .open(&OpenSession {
            timeout,
            ..lab.phone.session(pool)
        })
        .unwrap();
    gate.set_timeout(slot, Some(Duration::from_hours(1))).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(lab.phone.node.upload(WEB4, 5, 1000), 5, "later");
    gate.set_timeout(slot, None).unwrap();
    assert_eq!(gate.adopt().unwrap()[0].state, SessionState::Online { remaining: None });
    gate.set_timeout(slot, Some(Duration::from_millis(1))).unwrap();
    eventually("it ends", || gate.expired().unwrap() == [slot]);
    assert_eq!(lab.phone.node.upload(WEB4, 5, 1000), 0, "sooner");
}

fn ends_a_session_with_ipv6_only(lab: &Inside) {
    let gate = lab.gate();
    let pool = gate.create_pool(None).unwrap();
    let slot = gate
        .open(&OpenSession {
            ipv4: None,
            ..lab.phone.session(pool)
        })
        .unwrap();
    assert_eq!(lab.phone.node.upload(WEB6, 5, 1000), 5);
    assert_eq!(lab.phone.node.upload(WEB4, 5, 1000), 0);
    assert_eq!(gate.close(slot).unwrap().up_octets, octets6(5, 1000));
    assert_eq!(lab.phone.node.upload(WEB6, 5, 1000), 0);
}
