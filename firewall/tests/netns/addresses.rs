//! Requests for an address by DHCP: whose are let in, and how many.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use kavadam_domain::Mac;
use kavadam_firewall::{DhcpPool, Gate, Layout};

use crate::Case;
use crate::frames;
use crate::lab::{Inside, Node, Phone, layout};
use crate::nft;

pub const CASES: &[Case] = &[
    (
        "gives_the_last_addresses_slowly_where_all_come_by_one_port",
        gives_the_last_addresses_slowly,
    ),
    (
        "counts_who_renews_for_as_long_as_he_does",
        counts_who_renews_for_as_long_as_he_does,
    ),
    ("hears_each_device_ask_a_few_times", hears_each_device_ask_a_few_times),
    (
        "spends_nothing_of_what_a_device_may_ask_at_its_port_by_requests_at_another",
        spends_nothing_of_what_a_device_may_ask_at_its_port,
    ),
    (
        "hears_and_keeps_who_is_counted_at_another_port_where_there_is_no_room",
        hears_and_keeps_who_is_counted_at_another_port,
    ),
    (
        "lets_those_online_ask_for_themselves",
        lets_those_online_ask_for_themselves,
    ),
];

const INVENTED: Mac = Mac([0x0a, 0, 0, 0, 0, 1]);

/// What a DHCP server would get.
pub struct Server(Arc<AtomicU32>);

impl Server {
    pub fn start() -> Self {
        Self::of(UdpSocket::bind("0.0.0.0:67").expect("the server's port"))
    }

    pub fn of(socket: UdpSocket) -> Self {
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        thread::spawn(move || {
            while socket.recv_from(&mut [0; 512]).is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self(count)
    }

    /// How many come of so many requests: the first for this device, whose hardware address is said to be so long, and the others for devices so
    /// far apart. All are in frames of the first.
    pub fn hears(&self, lab: &Inside, device: Mac, (count, length, step): (u32, u8, u32)) -> u32 {
        let last = u32::from_be_bytes([device.0[2], device.0[3], device.0[4], device.0[5]]);
        let client = |number: u32| {
            let [c, d, e, f] = (last + number * step).to_be_bytes();
            Mac([device.0[0], device.0[1], c, d, e, f])
        };
        let requests = (0..count).map(|number| frames::dhcp(device, client(number), length));
        self.hears_of(&lab.phone.node, &requests.collect::<Vec<_>>())
    }

    /// How many come of these frames.
    pub fn hears_of(&self, node: &Node, requests: &[Vec<u8>]) -> u32 {
        let before = self.0.load(Ordering::Relaxed);
        node.send("eth0", requests);
        thread::sleep(Duration::from_millis(50));
        self.0.load(Ordering::Relaxed) - before
    }
}

fn gate_of(addresses: u32) -> Gate {
    let dhcp = DhcpPool {
        addresses,
        ..DhcpPool::default()
    };
    Gate::load(&Layout { dhcp, ..layout() }).unwrap()
}

fn gives_the_last_addresses_slowly(lab: &Inside) {
    let (gate, server) = (gate_of(100), Server::start());
    let later = Mac([0x0a, 0, 0, 1, 0, 0]);
    assert_eq!(
        server.hears(lab, INVENTED, (200, 16, 1)),
        0,
        "of an address that is longer than Ethernet's"
    );
    let heard = server.hears(lab, INVENTED, (200, 6, 1));
    assert!(
        (95..=96).contains(&heard),
        "{heard}: nine tenths at once, and a few of the last"
    );
    assert_eq!(server.hears(lab, INVENTED, (90, 6, 1)), 90, "they are known");
    assert_eq!(server.hears(lab, later, (20, 6, 1)), 0, "the others come by and by");
    gate.admit_lease(later, "10.80.1.1".parse().unwrap(), Some(Duration::from_mins(1)))
        .unwrap();
    assert_eq!(server.hears(lab, later, (20, 6, 1)), 1, "it has a lease");
    gate.reload(&layout()).unwrap();
    assert_eq!(server.hears(lab, later, (20, 6, 1)), 20, "there are more addresses");
    assert_eq!(gate.refused_requests().unwrap(), 200 + u64::from(200 - heard) + 20 + 19);
}

fn counts_who_renews_for_as_long_as_he_does(lab: &Inside) {
    /// Seconds, of the only one who is counted.
    fn left() -> u64 {
        let [secs] = nft::left("dhcp_0")[..] else {
            panic!("one is counted")
        };
        secs
    }
    let (gate, server) = (gate_of(100), Server::start());
    assert_eq!(server.hears(lab, INVENTED, (1, 6, 0)), 1);
    gate.admit_lease(INVENTED, "10.80.1.1".parse().unwrap(), None).unwrap();
    thread::sleep(Duration::from_millis(2100));
    let before = left();
    assert!(before > 3600, "a lease's time, and not only {before} s");
    assert_eq!(server.hears(lab, INVENTED, (1, 6, 0)), 1);
    assert!(left() > before, "{} s, and {before} s before", left());
}

fn hears_each_device_ask_a_few_times(lab: &Inside) {
    let (gate, server) = (gate_of(100), Server::start());
    let heard = server.hears(lab, INVENTED, (200, 6, 0));
    assert!((20..=25).contains(&heard), "{heard}");
    gate.admit_lease(INVENTED, "10.80.1.1".parse().unwrap(), None).unwrap();
    let heard = server.hears(lab, INVENTED, (200, 6, 0));
    assert!(heard <= 30, "{heard}, with a lease");
}

/// As the bridge does with requests that come by one of its ports, by the device that sends the frame.
fn at_ports(phones: &[(&Phone, u16)]) {
    let made = "add table inet marking; add chain inet marking raw { type filter hook prerouting priority -310; }";
    let marked = phones.iter().map(|(phone, bay)| {
        let mac = phone.mac().to_string().replace('-', ":");
        format!("; add rule inet marking raw ether saddr {mac} meta mark set {bay}")
    });
    let rules = made.to_owned() + &marked.collect::<String>();
    assert!(Command::new("nft").arg(rules).status().unwrap().success());
}

fn spends_nothing_of_what_a_device_may_ask_at_its_port(lab: &Inside) {
    let (_gate, server) = (gate_of(100), Server::start());
    let (own, liar) = (&lab.other, &lab.phone);
    at_ports(&[(liar, 1), (own, 2)]);
    let said_by = |phone: &Phone, count| vec![frames::dhcp(phone.mac(), own.mac(), 6); count];
    assert_eq!(server.hears_of(&own.node, &said_by(own, 1)), 1);
    let heard = server.hears_of(&liar.node, &said_by(liar, 500));
    assert!(heard <= 30, "{heard}");
    assert_eq!(server.hears_of(&own.node, &said_by(own, 10)), 10);
}

fn hears_and_keeps_who_is_counted_at_another_port(lab: &Inside) {
    /// Seconds, of each that is counted at the second port.
    fn left() -> Vec<u64> {
        nft::left("dhcp_2")
    }
    let (_gate, server) = (gate_of(20), Server::start());
    let (own, other) = (&lab.other, &lab.phone);
    at_ports(&[(other, 1), (own, 2)]);
    let said_by = |phone: &Phone, count| vec![frames::dhcp(phone.mac(), own.mac(), 6); count];
    assert_eq!(server.hears_of(&own.node, &said_by(own, 1)), 1);
    let invented = (0..50).map(|last| frames::dhcp(other.mac(), Mac([0x0a, 0, 0, 0, 0, last]), 6));
    let heard = server.hears_of(&other.node, &invented.collect::<Vec<_>>());
    assert_eq!(heard, 10, "all that one port may have");
    thread::sleep(Duration::from_millis(2100));
    let before = left();
    assert_eq!(server.hears_of(&other.node, &said_by(other, 5)), 5, "it has walked");
    assert!(left()[0] > before[0], "{:?} after {before:?}", left());
    let heard = server.hears_of(&other.node, &said_by(other, 500));
    assert!((10..=30).contains(&heard), "{heard}");
    assert_eq!(
        server.hears_of(&own.node, &said_by(own, 15)),
        15,
        "and has what it may ask there"
    );
}

fn lets_those_online_ask_for_themselves(lab: &Inside) {
    let (gate, server) = (gate_of(100), Server::start());
    let own = lab.phone.mac();
    gate.admit_lease(own, lab.phone.ipv4(), None).unwrap();
    gate.open(&lab.phone.session(gate.create_pool(None).unwrap())).unwrap();
    let from_its_address = |client, length| {
        let payload = &frames::dhcp(own, client, length)[14 + 20 + 8..];
        let ends = (lab.phone.ipv4(), "10.80.0.1".parse().unwrap());
        frames::udp4((own, Mac([0xff; 6])), ends, (68, 67), payload)
    };
    let hears =
        |client, length, count| server.hears_of(&lab.phone.node, &vec![from_its_address(client, length); count]);
    assert_eq!(hears(own, 6, 1), 1);
    assert_eq!(hears(INVENTED, 6, 50), 0);
    assert_eq!(hears(own, 16, 5), 0);
    assert_eq!(gate.refused_requests().unwrap(), 55);
}
