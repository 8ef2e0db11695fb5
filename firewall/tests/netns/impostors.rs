//! Devices that speak in another's name, and others that only ask too much. Who holds an IPv6 address is in `holders`.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use kavadam_domain::Mac;
use kavadam_firewall::{Gate, View};

use crate::Case;
use crate::addresses::Server;
use crate::frames::{self, ADVERTISEMENT, ROUTER_SOLICITATION, SOLICITATION};
use crate::lab::{GATEWAY_WAN4, Inside, WEB4, layout};

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
        "leaves_a_leased_ipv4_address_to_its_device",
        leaves_a_leased_ipv4_address_to_its_device,
    ),
    (
        "ties_addresses_to_their_devices_again_after_the_interface_was_down",
        ties_addresses_again,
    ),
    (
        "leaves_a_connection_to_its_device_whoever_tells_of_an_error",
        leaves_a_connection_to_its_device,
    ),
];

const GATEWAY4: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 1);
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x80, 0, 0, 0, 0, 0, 1);
const RELAYS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// Options of neighbour discovery: the sender's hardware address, that of the target, and a random number.
pub const SENDER: u8 = 1;
pub const TARGET: u8 = 2;
const NONCE: u8 = 14;

pub fn gateway() -> Mac {
    let address = fs::read_to_string("/sys/class/net/lan0/address").unwrap();
    address.trim().parse().unwrap()
}

/// An address of the LAN that nobody was given.
pub fn made(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x80, 0, 0, 0, 0, 0, last)
}

fn link_local(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)
}

/// What the gateway takes for the device at this address.
pub fn neighbour(address: &str) -> String {
    let shown = Command::new("ip")
        .args(["neighbour", "show", address, "dev", "lan0"])
        .output();
    String::from_utf8(shown.unwrap().stdout).unwrap()
}

pub fn is_at(address: &str, mac: Mac) -> bool {
    neighbour(address).contains(&mac.to_string().replace('-', ":").to_lowercase())
}

pub fn impostors() -> u64 {
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

fn ties_addresses_again(lab: &Inside) {
    let (gate, pool, _) = lab.online();
    gate.open(&lab.other.session(pool)).unwrap();
    let ip = |words: &str| {
        let output = Command::new("ip").args(words.split(' ')).output().unwrap();
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let tied = || ip("neighbour show dev lan0").matches("PERMANENT").count();
    assert_eq!((tied(), gate.keep_pins().unwrap()), (2, 0));
    ip("link set lan0 down");
    ip("link set lan0 up");
    assert_eq!(tied(), 0, "the kernel forgets them");
    assert_eq!((gate.keep_pins().unwrap(), tied()), (2, 2));
    let shown = ip("neighbour show 10.80.0.11 dev lan0");
    assert!(shown.contains("02:00:00:00:00:11 PERMANENT"), "{shown}");
    assert_eq!(gate.keep_pins().unwrap(), 0);
    ip("link set lan0 name lan9");
    assert_eq!(gate.keep_pins().unwrap(), 0, "as long as there is no such interface");
}
