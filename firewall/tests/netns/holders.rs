//! Who holds an IPv6 address: whoever used it first, for as long as he does and for a while after.

use std::net::Ipv6Addr;
use std::thread;
use std::time::Duration;

use kavadam_firewall::{Gate, Layout, View};

use crate::Case;
use crate::frames::{self, ADVERTISEMENT, SOLICITATION};
use crate::impostors::{GATEWAY6, SENDER, TARGET, gateway, impostors, is_at, made, neighbour};
use crate::lab::{Inside, Phone, WEB6, eventually, layout};
use crate::nft::{left, nft};

pub const CASES: &[Case] = &[
    (
        "lets_nobody_use_an_ipv6_address_that_another_holds",
        lets_nobody_use_an_ipv6_address_that_another_holds,
    ),
    (
        "leaves_a_sleeping_phone_its_ipv6_address_for_a_leases_time",
        leaves_a_sleeping_phone_its_ipv6_address,
    ),
    (
        "tells_who_holds_the_ipv6_address_that_a_device_is_known_by",
        tells_who_holds_the_ipv6_address,
    ),
    (
        "holds_an_ipv6_address_for_as_long_as_it_is_used",
        holds_an_ipv6_address_for_as_long_as_it_is_used,
    ),
    (
        "asks_no_stranger_whose_ipv6_address_it_is_where_everybody_is_heard",
        asks_no_stranger_whose_ipv6_address_it_is,
    ),
    (
        "leaves_an_ipv6_address_to_all_where_there_is_no_room_to_hold_it",
        leaves_an_ipv6_address_to_all_where_there_is_no_room,
    ),
    (
        "lets_a_device_take_a_few_ipv6_addresses",
        lets_a_device_take_a_few_ipv6_addresses,
    ),
];

/// A datagram to the internet from any address.
fn from(phone: &Phone, address: Ipv6Addr) -> Vec<u8> {
    let web = WEB6.parse().unwrap();
    frames::udp6((phone.mac(), gateway()), (address, web), (4000, 7000), b"hello")
}

fn lets_nobody_use_an_ipv6_address_that_another_holds(lab: &Inside) {
    let (gate, pool, _) = lab.online();
    gate.open(&lab.other.session(pool)).unwrap();
    assert_eq!(lab.phone.node.upload(WEB6, 5, 100), 5);
    assert_eq!(lab.other.node.upload(WEB6, 5, 100), 5);
    let (own, victims) = (lab.other.mac(), made(0x11));
    lab.other.node.send("eth0", &[from(&lab.other, victims)]);
    assert_eq!(impostors(), 1);
    for (from, kind, option) in [(victims, SOLICITATION, SENDER), (made(0x12), ADVERTISEMENT, TARGET)] {
        let about = if kind == ADVERTISEMENT { victims } else { GATEWAY6 };
        let frame = frames::discovery(
            (own, gateway()),
            (from, GATEWAY6),
            (kind, Some(about)),
            &[(option, own)],
        );
        lab.other.node.send("eth0", &[frame]);
    }
    assert_eq!(impostors(), 3);
    assert!(is_at("fd00:80::11", lab.phone.mac()), "{}", neighbour("fd00:80::11"));
    assert_eq!(lab.phone.node.download(WEB6, 5, 100), 5, "it has its answers");
    assert_eq!(lab.other.node.upload(WEB6, 5, 100), 5, "from an address of its own");
}

fn leaves_a_sleeping_phone_its_ipv6_address(lab: &Inside) {
    let (gate, pool, _) = lab.online_shared();
    let others = gate.open(&lab.other.session(pool)).unwrap();
    assert_eq!(lab.phone.node.upload(WEB6, 5, 100), 5);
    let seen = View::open(&layout()).unwrap().device(lab.phone.mac()).unwrap();
    let (address, stay) = seen.holds[0];
    assert_eq!(address, made(0x11));
    assert!(stay.unwrap() > layout().dhcp.lease, "{stay:?}");
    // It says nothing for some minutes.
    nft("flush set inet kavadam known6");
    lab.other.node.send("eth0", &[from(&lab.other, address)]);
    assert_eq!(impostors(), 1);
    assert_eq!(gate.read(&[others]).unwrap()[0].1.up_packets, 0);
    assert_eq!(lab.phone.node.upload(WEB6, 5, 100), 5, "it wakes");
}

fn tells_who_holds_the_ipv6_address(lab: &Inside) {
    let (gate, pool, _) = lab.online_shared();
    gate.open(&lab.other.session(pool)).unwrap();
    let held_by = |phone: &Phone| {
        let seen = View::open(&layout()).unwrap().device(phone.mac()).unwrap();
        let holds: Vec<_> = seen.holds.iter().map(|one| one.0).collect();
        (holds, seen.held_by_others)
    };
    let (own, address) = (lab.other.mac(), made(0x73));
    let solicitation = frames::discovery(
        (own, gateway()),
        (address, GATEWAY6),
        (SOLICITATION, Some(GATEWAY6)),
        &[(SENDER, own)],
    );
    lab.other.node.send("eth0", &[solicitation]);
    eventually("it is a neighbour", || is_at("fd00:80::73", own));
    assert_eq!(held_by(&lab.other), (vec![address], vec![]));
    // It says nothing for longer than a lease, and somebody else takes the address.
    nft("flush set inet kavadam held6; flush set inet kavadam holders6; flush set inet kavadam known6");
    assert_eq!(held_by(&lab.other), (vec![], vec![]));
    lab.phone.node.send("eth0", &[from(&lab.phone, address)]);
    assert_eq!(held_by(&lab.phone), (vec![address], vec![]));
    assert_eq!(held_by(&lab.other), (vec![], vec![(address, Some(lab.phone.mac()))]));
}

fn holds_an_ipv6_address_for_as_long_as_it_is_used(lab: &Inside) {
    let (_gate, _, _) = lab.online_shared();
    assert_eq!(lab.phone.node.upload(WEB6, 5, 100), 5);
    thread::sleep(Duration::from_millis(2100));
    let before = ["held6", "holders6"].map(left);
    assert_eq!(before.each_ref().map(Vec::len), [1, 1]);
    assert!(before[1] > before[0], "who holds it is known for longer: {before:?}");
    nft("flush set inet kavadam known6");
    assert_eq!(lab.phone.node.upload(WEB6, 5, 100), 5);
    let after = ["held6", "holders6"].map(left);
    assert!(
        after[0] > before[0] && after[1] > before[1],
        "{after:?} after {before:?}"
    );
}

fn asks_no_stranger_whose_ipv6_address_it_is(lab: &Inside) {
    let open = Layout {
        strict: false,
        ..layout()
    };
    let gate = Gate::load(&open).unwrap();
    gate.open(&lab.phone.session(gate.create_pool(None).unwrap())).unwrap();
    assert_eq!(lab.phone.node.upload(WEB6, 5, 100), 5);
    let (own, victims) = (lab.other.mac(), made(0x11));
    let garden = crate::lab::GARDEN6.parse().unwrap();
    let macs = (own, gateway());
    let free = || View::open(&open).unwrap().uncharged().unwrap().up_octets;
    let before = free();
    let datagram = frames::udp6(macs, (victims, garden), (4000, 7000), b"stolen");
    lab.other.node.send("eth0", &[datagram]);
    assert!(free() > before, "a stranger is not asked");
    let ends = (victims, GATEWAY6);
    let solicitation = frames::discovery(macs, ends, (SOLICITATION, Some(GATEWAY6)), &[(SENDER, own)]);
    lab.other.node.send("eth0", &[solicitation]);
    assert_eq!(impostors(), 1, "but is no neighbour there");
    // Whoever is online is asked.
    gate.open(&lab.other.session(gate.create_pool(None).unwrap())).unwrap();
    lab.other.node.send("eth0", &[from(&lab.other, victims)]);
    assert_eq!(impostors(), 2);
}

fn leaves_an_ipv6_address_to_all_where_there_is_no_room(lab: &Inside) {
    nft("add table inet kavadam");
    let small = Layout {
        max_sessions: 4,
        ..layout()
    };
    let gate = Gate::load(&small).unwrap();
    let pool = gate.create_pool(None).unwrap();
    let slot = gate.open(&lab.phone.session(pool)).unwrap();
    gate.open(&lab.other.session(pool)).unwrap();
    // Room for sixteen, and it is full of holders.
    let many: Vec<_> = (0x1000..0x1010).map(|last| from(&lab.other, made(last))).collect();
    lab.other.node.send("eth0", &many);
    nft("flush set inet kavadam held6");
    for passed in 1..=3 {
        nft("flush set inet kavadam known6");
        lab.phone.node.send("eth0", &[from(&lab.phone, made(0x2000))]);
        assert_eq!(gate.read(&[slot]).unwrap()[0].1.up_packets, passed);
    }
    assert_eq!(impostors(), 0);
}

fn lets_a_device_take_a_few_ipv6_addresses(lab: &Inside) {
    let (gate, _, slot) = lab.online();
    let many: Vec<_> = (0x1000..0x1100).map(|last| from(&lab.phone, made(last))).collect();
    lab.phone.node.send("eth0", &many);
    let passed = gate.read(&[slot]).unwrap()[0].1.up_packets;
    assert!((32..40).contains(&passed), "{passed}");
    lab.phone.node.send("eth0", &many[..20]);
    let more = gate.read(&[slot]).unwrap()[0].1.up_packets;
    assert_eq!(more - passed, 20, "those it has");
}
