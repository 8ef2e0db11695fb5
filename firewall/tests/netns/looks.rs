//! Looking on, while others use the gate.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kavadam_domain::Mac;
use kavadam_firewall::{Gate, Layout, OpenSession, Opening, View};

use crate::Case;
use crate::lab::{Inside, WEB4, layout, octets4};

pub const CASES: &[Case] = &[
    ("shows_a_gate_that_is_never_at_rest", shows_a_busy_gate),
    (
        "shows_a_device_with_what_its_pool_has_used",
        shows_a_device_with_its_pool,
    ),
];

/// More than the kernel lists between two changes.
const MANY: u16 = 8_000;

fn device(number: u16) -> (Mac, Ipv4Addr) {
    let [high, low] = number.to_be_bytes();
    (Mac([2, 1, 0, 0, high, low]), Ipv4Addr::new(10, 80, 8 + high, low))
}

fn shows_a_busy_gate(lab: &Inside) {
    let layout = Layout {
        max_sessions: 32_768,
        ..layout()
    };
    let gate = Gate::load(&layout).unwrap();
    let slot = gate.open(&lab.phone.session(gate.create_pool(None).unwrap())).unwrap();
    let session = |(mac, ipv4)| OpenSession {
        mac,
        ipv4: Some(ipv4),
        ..lab.phone.session(gate.create_pool(None).unwrap())
    };
    let sessions: Vec<OpenSession> = (0..MANY).map(device).map(session).collect();
    for opened in gate.open_all(&sessions) {
        opened.unwrap();
    }
    gate.admit_lease(lab.phone.mac(), lab.phone.ipv4(), None).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for some in 0..4 {
            let (gate, is_over) = (&gate, &is_over);
            // Nothing is taken away, which would give others the time to look.
            let addresses = (0..16_000).map(move |number| Ipv4Addr::from_bits(0x2000_0000 + some * 16_000 + number));
            scope.spawn(move || {
                for address in addresses.take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    gate.open_name(Opening::Garden, address.into(), Duration::from_mins(1))
                        .unwrap();
                }
            });
        }
        let mut view = View::open(&layout).unwrap();
        let (sessions, seen) = (view.sessions(), view.device(lab.phone.mac()));
        let addresses = view.addresses(layout.dhcp);
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(sessions.unwrap().len(), usize::from(MANY) + 1);
        assert_eq!(seen.unwrap().session.unwrap().session.slot, slot);
        assert_eq!(addresses.unwrap().held, 1);
    });
}

fn shows_a_device_with_its_pool(lab: &Inside) {
    let gate = lab.gate();
    let pool = gate.create_pool(Some(1_000_000)).unwrap();
    let [first, _] = [&lab.phone, &lab.other].map(|phone| gate.open(&phone.session(pool)).unwrap());
    let elsewhere = gate.create_pool(None).unwrap();
    let (mac, ipv4) = device(1);
    gate.open(&OpenSession {
        mac,
        ipv4: Some(ipv4),
        ..lab.phone.session(elsewhere)
    })
    .unwrap();
    for phone in [&lab.phone, &lab.other] {
        assert_eq!(phone.node.upload(WEB4, 5, 1000), 5);
    }
    gate.close(first).unwrap();
    let mut view = View::open(&layout()).unwrap();
    let seen = view.device(lab.other.mac()).unwrap().session.unwrap();
    assert_eq!(seen.session.pool_used_octets, octets4(10, 1000));
    let all = view.sessions().unwrap();
    assert_eq!(all.len(), 2);
    assert!(all.contains(&seen), "{all:?}");
    assert_eq!(view.device(lab.phone.mac()).unwrap().session, None);
}
