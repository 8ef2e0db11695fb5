//! Devices that speak in another's name, and others that only ask too much.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use kavadam_domain::Mac;
use kavadam_firewall::{Gate, Layout, View};

use crate::Case;
use crate::addresses::Server;
use crate::frames::{self, ADVERTISEMENT, ROUTER_SOLICITATION, SOLICITATION};
use crate::lab::{GATEWAY_WAN4, Inside, Phone, WEB4, WEB6, eventually, layout};

pub const CASES: &[Case] = &[
    (
        "hears_nobody_give_up_anothers_lease",
        hears_nobody_give_up_anothers_lease,
    ),
    (
        "hears_who_asks_from_an_address_that_is_nobodys_any_longer",
        hears_who_asks_from_an_address_that_is_nobodys,
    ),
    ("hears_only_clients_ask_for_addresses", hears_only_clients_ask),
    ("answers_dhcp_of_ipv6_slowly", answers_dhcp_of_ipv6_slowly),
    (
        "believes_no_neighbour_that_names_anothers_hardware",
        believes_no_neighbour_that_names_anothers_hardware,
    ),
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
        "leaves_an_ipv6_address_to_all_where_there_is_no_room_to_hold_it",
        leaves_an_ipv6_address_to_all_where_there_is_no_room,
    ),
    (
        "lets_a_device_take_a_few_ipv6_addresses",
        lets_a_device_take_a_few_ipv6_addresses,
    ),
    (
        "leaves_a_leased_ipv4_address_to_its_device",
        leaves_a_leased_ipv4_address_to_its_device,
    ),
    (
        "leaves_a_connection_to_its_device_whoever_tells_of_an_error",
        leaves_a_connection_to_its_device,
    ),
];

const GATEWAY4: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 1);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x80, 0, 0, 0, 0, 0, 1);
const RELAYS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// Options of neighbour discovery: the sender's hardware address, that of the target, and a random number.
const SENDER: u8 = 1;
const TARGET: u8 = 2;
const NONCE: u8 = 14;

fn gateway() -> Mac {
    let address = fs::read_to_string("/sys/class/net/lan0/address").unwrap();
    address.trim().parse().unwrap()
}

/// An address of the LAN that nobody was given.
fn made(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x80, 0, 0, 0, 0, 0, last)
}

fn link_local(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)
}

/// What the gateway takes for the device at this address.
fn neighbour(address: &str) -> String {
    let shown = Command::new("ip")
        .args(["neighbour", "show", address, "dev", "lan0"])
        .output();
    String::from_utf8(shown.unwrap().stdout).unwrap()
}

fn is_at(address: &str, mac: Mac) -> bool {
    neighbour(address).contains(&mac.to_string().replace('-', ":").to_lowercase())
}

fn impostors() -> u64 {
    refused("impostors")
}

fn refused(kind: &str) -> u64 {
    let told = View::open(&layout()).unwrap().rogues().unwrap();
    told.into_iter().find(|(what, _)| *what == kind).unwrap().1
}

/// A gate where both phones hold a lease.
fn leased(lab: &Inside) -> Gate {
    let gate = lab.gate();
    for phone in [&lab.phone, &lab.other] {
        gate.admit_lease(phone.mac(), phone.ipv4(), None).unwrap();
    }
    gate
}

fn hears_nobody_give_up_anothers_lease(lab: &Inside) {
    let (_gate, server) = (leased(lab), Server::start());
    let said = |from: Mac| [frames::dhcp(from, lab.phone.mac(), 6)];
    assert_eq!(server.hears_of(&lab.other.node, &said(lab.other.mac())), 0);
    assert_eq!(impostors(), 1);
    assert_eq!(server.hears_of(&lab.phone.node, &said(lab.phone.mac())), 1);
    // From an address that is another's.
    let request = frames::dhcp(lab.other.mac(), lab.other.mac(), 6);
    let payload = &request[14 + 20 + 8..];
    let from = |ipv4| frames::udp4((lab.other.mac(), gateway()), (ipv4, GATEWAY4), (68, 67), payload);
    assert_eq!(server.hears_of(&lab.other.node, &[from(lab.phone.ipv4())]), 0);
    assert_eq!(server.hears_of(&lab.other.node, &[from(lab.other.ipv4())]), 1);
}

fn hears_who_asks_from_an_address_that_is_nobodys(lab: &Inside) {
    let (gate, server) = (leased(lab), Server::start());
    let (mac, ipv4) = (lab.phone.mac(), lab.phone.ipv4());
    let payload = &frames::dhcp(mac, mac, 6)[14 + 20 + 8..];
    let heard_by = |to| {
        server.hears_of(
            &lab.phone.node,
            &[frames::udp4((mac, gateway()), (ipv4, to), (68, 67), payload)],
        )
    };
    // It slept over the end of its lease, and renews it, or asks whoever may be there.
    gate.revoke_lease(mac, ipv4).unwrap();
    assert_eq!(heard_by(GATEWAY4), 1);
    assert_eq!(heard_by(Ipv4Addr::BROADCAST), 1);
    assert_eq!(impostors(), 0);
    gate.admit_lease(lab.other.mac(), ipv4, None).unwrap();
    assert_eq!(heard_by(GATEWAY4), 0, "it is another's");
    gate.admit_lease(mac, ipv4, None).unwrap();
    gate.revoke_lease(lab.other.mac(), ipv4).unwrap();
    assert_eq!(heard_by(GATEWAY4), 1);
    gate.admit_lease(lab.other.mac(), ipv4, None).unwrap();
    gate.revoke_lease(mac, ipv4).unwrap();
    assert_eq!(heard_by(GATEWAY4), 0, "it was another's before it was given back");
    assert_eq!(impostors(), 2);
}

fn hears_only_clients_ask(lab: &Inside) {
    let (gate, server) = (lab.gate(), Server::start());
    let other_server = Server::of(UdpSocket::bind("0.0.0.0:547").unwrap());
    // Of a stranger more is heard than of who has no lease.
    gate.admit_lease(lab.phone.mac(), lab.phone.ipv4(), None).unwrap();
    let from = lab.phone.mac();
    let payload = &frames::dhcp(from, from, 6)[14 + 20 + 8..];
    let ask = |ends, ports| frames::udp4((from, gateway()), ends, ports, payload);
    let (own, nowhere, all) = (lab.phone.ipv4(), Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    for ends in [(nowhere, all), (own, GATEWAY4)] {
        for source in [9, 67] {
            assert_eq!(server.hears_of(&lab.phone.node, &[ask(ends, (source, 67))]), 0);
        }
        assert_eq!(other_server.hears_of(&lab.phone.node, &[ask(ends, (68, 547))]), 0);
    }
    assert_eq!(refused("dhcp_relays"), 2);
    // Through the gate to a garden: nobody's connection.
    let garden = crate::lab::GARDEN4.parse().unwrap();
    let through = [(68, 67), (68, 547), (68, 1547)].map(|ports| ask((own, garden), ports));
    lab.phone.node.send("eth0", &through);
    thread::sleep(Duration::from_millis(50));
    let known = fs::read_to_string("/proc/net/nf_conntrack").expect("a kernel that shows its connections");
    assert!(known.contains("dport=1547 "), "the garden is open: {known}");
    assert!(!known.contains("dport=67 ") && !known.contains("dport=547 "), "{known}");
    assert_eq!(server.hears_of(&lab.phone.node, &[ask((nowhere, all), (68, 67))]), 1);
    assert_eq!(server.hears_of(&lab.phone.node, &[ask((own, GATEWAY4), (68, 67))]), 1);
}

fn answers_dhcp_of_ipv6_slowly(lab: &Inside) {
    let socket = UdpSocket::bind("[::]:547").unwrap();
    let lan: u32 = fs::read_to_string("/sys/class/net/lan0/ifindex")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    socket.join_multicast_v6(&RELAYS, lan).unwrap();
    let (gate, server) = (lab.gate(), Server::of(socket));
    let (mac, node) = (lab.phone.mac(), &lab.phone.node);
    let group = Mac([0x33, 0x33, 0, 1, 0, 2]);
    let ask = |from, number: u16| frames::udp6((mac, group), (from, RELAYS), (1000 + number, 547), b"solicit");
    let heard = server.hears_of(
        node,
        &(0..200).map(|number| ask(link_local(1), number)).collect::<Vec<_>>(),
    );
    assert!((20..=25).contains(&heard), "{heard}");
    let others = (0..200).map(|number| ask(made(0x11), number));
    assert_eq!(
        server.hears_of(node, &others.collect::<Vec<_>>()),
        0,
        "clients ask from link-local addresses"
    );

    // With a lease the gateway hears it, but not in this.
    gate.admit_lease(mac, lab.phone.ipv4(), None).unwrap();
    let straight = |ports| frames::udp6((mac, gateway()), (made(0x11), GATEWAY6), ports, b"solicit");
    assert_eq!(server.hears_of(node, &[straight((546, 547))]), 0);
    let discovering = Server::of(UdpSocket::bind("[::]:67").unwrap());
    assert_eq!(discovering.hears_of(node, &[straight((68, 67))]), 0);
}

fn believes_no_neighbour_that_names_anothers_hardware(lab: &Inside) {
    let _gate = leased(lab);
    let (own, victim) = (lab.other.mac(), lab.phone.mac());
    let say = |from, kind, options: &[(u8, Mac)]| {
        let about = (kind != ROUTER_SOLICITATION).then_some(GATEWAY6);
        let frame = frames::discovery((own, gateway()), (from, GATEWAY6), (kind, about), options);
        lab.other.node.send("eth0", &[frame]);
        thread::sleep(Duration::from_millis(50));
    };
    say(made(0x71), SOLICITATION, &[(SENDER, own)]);
    assert!(is_at("fd00:80::71", own), "{}", neighbour("fd00:80::71"));
    let lies: [(u8, &[(u8, Mac)]); 4] = [
        (SOLICITATION, &[(SENDER, victim)]),
        (SOLICITATION, &[(NONCE, own), (SENDER, victim)]),
        (ADVERTISEMENT, &[(TARGET, victim)]),
        (ROUTER_SOLICITATION, &[(SENDER, victim)]),
    ];
    for (number, (kind, options)) in (1..).zip(lies) {
        say(made(0x71), kind, options);
        assert!(is_at("fd00:80::71", own), "{kind}: {}", neighbour("fd00:80::71"));
        assert_eq!(impostors(), number, "{kind}");
    }
    say(made(0x72), ROUTER_SOLICITATION, &[(SENDER, own)]);
    assert!(is_at("fd00:80::72", own), "{}", neighbour("fd00:80::72"));
}

fn lets_nobody_use_an_ipv6_address_that_another_holds(lab: &Inside) {
    let (gate, pool, _) = lab.online();
    gate.open(&lab.other.session(pool)).unwrap();
    assert_eq!(lab.phone.node.upload(WEB6, 5, 100), 5);
    assert_eq!(lab.other.node.upload(WEB6, 5, 100), 5);
    let (own, victims) = (lab.other.mac(), made(0x11));
    let web: Ipv6Addr = WEB6.parse().unwrap();
    lab.other.node.send(
        "eth0",
        &[frames::udp6((own, gateway()), (victims, web), (4000, 7000), b"stolen")],
    );
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

fn nft(words: &str) {
    assert!(Command::new("nft").arg(words).status().unwrap().success(), "{words}");
}

/// A datagram to the internet from any address.
fn from(phone: &Phone, address: Ipv6Addr) -> Vec<u8> {
    let web = WEB6.parse().unwrap();
    frames::udp6((phone.mac(), gateway()), (address, web), (4000, 7000), b"hello")
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
    /// Seconds, of the only element.
    fn left(set: &str) -> u64 {
        let words = ["-j", "list", "set", "inet", "kavadam", set];
        let listed = Command::new("nft").args(words).output().unwrap();
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        let elements = listed["nftables"][1]["set"]["elem"].as_array().unwrap();
        assert_eq!(elements.len(), 1, "{listed}");
        elements[0]["elem"]["expires"].as_u64().unwrap()
    }
    let (_gate, _, _) = lab.online_shared();
    assert_eq!(lab.phone.node.upload(WEB6, 5, 100), 5);
    thread::sleep(Duration::from_millis(2100));
    let before = ["held6", "holders6"].map(left);
    assert!(before[1] > before[0], "who holds it is known for longer: {before:?}");
    nft("flush set inet kavadam known6");
    assert_eq!(lab.phone.node.upload(WEB6, 5, 100), 5);
    let after = ["held6", "holders6"].map(left);
    assert!(
        after[0] > before[0] && after[1] > before[1],
        "{after:?} after {before:?}"
    );
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
    let web: Ipv6Addr = WEB6.parse().unwrap();
    let from = |last| frames::udp6((lab.phone.mac(), gateway()), (made(last), web), (4000, 7000), b"hello");
    let many: Vec<_> = (0x1000..0x1100).map(from).collect();
    lab.phone.node.send("eth0", &many);
    let passed = gate.read(&[slot]).unwrap()[0].1.up_packets;
    assert!((32..40).contains(&passed), "{passed}");
    lab.phone.node.send("eth0", &many[..20]);
    let more = gate.read(&[slot]).unwrap()[0].1.up_packets;
    assert_eq!(more - passed, 20, "those it has");
}

fn leaves_a_leased_ipv4_address_to_its_device(lab: &Inside) {
    let gate = leased(lab);
    let claim = |ipv4| {
        lab.other
            .node
            .send("eth0", &[frames::arp(lab.other.mac(), ipv4, GATEWAY4)]);
        thread::sleep(Duration::from_millis(50));
    };
    lab.phone
        .node
        .send("eth0", &[frames::arp(lab.phone.mac(), lab.phone.ipv4(), GATEWAY4)]);
    claim(lab.phone.ipv4());
    assert!(is_at("10.80.0.11", lab.phone.mac()), "{}", neighbour("10.80.0.11"));
    claim(lab.other.ipv4());
    assert!(is_at("10.80.0.12", lab.other.mac()), "{}", neighbour("10.80.0.12"));
    gate.revoke_lease(lab.phone.mac(), lab.phone.ipv4()).unwrap();
    gate.admit_lease(lab.other.mac(), lab.phone.ipv4(), None).unwrap();
    claim(lab.phone.ipv4());
    assert!(
        is_at("10.80.0.11", lab.other.mac()),
        "it has that lease now: {}",
        neighbour("10.80.0.11")
    );
}

fn leaves_a_connection_to_its_device(lab: &Inside) {
    let (gate, _, victims) = lab.online();
    let pool = gate.create_pool(None).unwrap();
    let others = gate.open(&lab.other.session(pool)).unwrap();
    let web: Ipv4Addr = WEB4.parse().unwrap();
    let phone = (lab.phone.mac(), gateway());
    lab.phone.node.send(
        "eth0",
        &[frames::udp4(phone, (lab.phone.ipv4(), web), (4000, 7001), b"1 100")],
    );
    thread::sleep(Duration::from_millis(50));
    let down = |slot| gate.read(&[slot]).unwrap()[0].1.down_packets;
    assert_eq!((down(victims), down(others)), (1, 0));
    // "What you sent to the phone could not be delivered."
    let about = frames::udp4(phone, (web, lab.phone.ipv4()), (7001, 4000), b"hello");
    let liar = (lab.other.mac(), gateway());
    let error = frames::unreachable4(liar, (lab.other.ipv4(), web), &about[14..]);
    lab.other.node.send("eth0", &[error]);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(
        gate.read(&[others]).unwrap()[0].1.up_packets,
        1,
        "it went out, at its sender's cost"
    );
    let wan = fs::read_to_string("/sys/class/net/wan0/address")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let far = Mac([2, 0, 0, 0, 9, 9]);
    let answer = frames::udp4((far, wan), (web, GATEWAY_WAN4.parse().unwrap()), (7001, 4000), b"more");
    lab.net.send("wan0", &[answer]);
    thread::sleep(Duration::from_millis(50));
    assert_eq!((down(victims), down(others)), (2, 0));
}
