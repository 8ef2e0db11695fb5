//! A stranger: what is captured, what is refused at once, what is not heard at all.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::Case;
use crate::frames;
use crate::lab::{
    GARDEN4, GARDEN6, GATEWAY_WAN4, Inside, SINK, TCP, WEB4, WEB6, eventually, first_line, go_on, layout,
};
use crate::nft::nft;
use kavadam_firewall::{Gate, Layout, View};

pub const CASES: &[Case] = &[
    ("captures_http_to_anywhere", captures_http_to_anywhere),
    ("refuses_https_and_quic_at_once", refuses_https_and_quic_at_once),
    (
        "answers_dns_itself_whoever_was_asked",
        answers_dns_itself_whoever_was_asked,
    ),
    ("limits_a_strangers_dns", limits_a_strangers_dns),
    ("limits_a_used_up_devices_dns", limits_a_used_up_devices_dns),
    ("hears_no_long_question_of_a_stranger", hears_no_long_question),
    ("answers_dns_slowly_to_whoever_asks_for_much", answers_dns_slowly),
    ("bounds_a_strangers_connections", bounds_a_strangers_connections),
    (
        "lets_strangers_ping_the_gateway_only",
        lets_strangers_ping_the_gateway_only,
    ),
    ("opens_the_garden_to_strangers", opens_the_garden_to_strangers),
    (
        "ends_no_garden_connection_for_a_segment_out_of_its_window",
        ends_no_garden_connection_for_an_odd_segment,
    ),
    (
        "does_not_hear_devices_without_a_lease",
        does_not_hear_devices_without_a_lease,
    ),
    (
        "hears_devices_with_ipv6_only_where_wanted",
        hears_devices_with_ipv6_only_where_wanted,
    ),
    ("hears_everybody_when_not_strict", hears_everybody_when_not_strict),
    ("shows_the_portal_to_the_lan_only", shows_the_portal_to_the_lan_only),
    ("lets_nothing_in_from_the_internet", lets_nothing_in_from_the_internet),
];

/// A gate at which the phone holds a lease.
fn leased(lab: &Inside) -> Gate {
    let gate = lab.gate();
    gate.admit_lease(lab.phone.mac(), lab.phone.ipv4(), None)
        .expect("a lease");
    gate
}

/// Answers every connection to this port of the gateway with one word, on any interface.
pub fn answer_tcp(port: u16) {
    let listener = TcpListener::bind(("::", port)).expect("listener");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, b"gateway");
        }
    });
}

/// Answers every datagram to this port of the gateway.
fn answer_udp(port: u16) {
    for host in ["10.80.0.1", "fd00:80::1"] {
        let socket = UdpSocket::bind((host, port)).expect("socket");
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(b"gateway", peer);
            }
        });
    }
}

fn ends_no_garden_connection_for_an_odd_segment(lab: &Inside) {
    const ACK: u8 = 0x10;
    const SYN_AND_FIN: u8 = 3;
    let _gate = leased(lab);
    nft("add table inet watching");
    nft("add chain inet watching out { type filter hook output priority 0; }");
    nft("add counter inet watching resets");
    nft("add rule inet watching out oifname lan0 tcp flags & rst == rst counter name resets");
    let resets = || nft("list counter inet watching resets");
    let mut held = lab.phone.node.spawn(&["tcp-hold", GARDEN4, TCP]);
    assert_eq!(first_line(&mut held), "ready");
    let known = fs::read_to_string("/proc/net/nf_conntrack").expect("a kernel that shows its connections");
    let line = known.lines().find(|line| line.contains("dport=5001 ")).unwrap();
    let source = line.split(' ').find_map(|word| word.strip_prefix("sport=")).unwrap();
    let odd = |host: &str, ports, place| {
        let gateway = fs::read_to_string("/sys/class/net/lan0/address").unwrap();
        let macs = (lab.phone.mac(), gateway.trim().parse().unwrap());
        frames::tcp4(macs, (lab.phone.ipv4(), host.parse().unwrap()), ports, place)
    };
    let ports = (source.parse().unwrap(), 5001);
    // One of each two is out of any window.
    let places = [
        (0, ACK),
        (1 << 30, ACK),
        (1 << 31, ACK),
        (3 << 30, ACK),
        (0, SYN_AND_FIN),
    ];
    lab.phone
        .node
        .send("eth0", &places.map(|place| odd(GARDEN4, ports, place)));
    thread::sleep(Duration::from_millis(50));
    assert!(resets().contains("packets 0 "), "{}", resets());
    assert_eq!(go_on(held), "alive");
    lab.phone.node.send("eth0", &[odd(WEB4, (4000, 80), (0, SYN_AND_FIN))]);
    thread::sleep(Duration::from_millis(50));
    assert!(resets().contains("packets 1 "), "elsewhere: {}", resets());
}

fn captures_http_to_anywhere(lab: &Inside) {
    let _gate = leased(lab);
    answer_tcp(8080);
    for host in [WEB4, WEB6, "192.0.2.99", "10.80.0.1"] {
        assert_eq!(
            lab.phone.node.run(&["tcp-try", host, "80"]),
            "answered gateway",
            "{host}"
        );
    }
}

fn refuses_https_and_quic_at_once(lab: &Inside) {
    let _gate = leased(lab);
    for host in [WEB4, WEB6] {
        assert_eq!(
            lab.phone.node.run(&["tcp-try", host, "443"]),
            "refused",
            "TCP to {host}"
        );
        assert_eq!(
            lab.phone.node.run(&["udp-try", host, "443"]),
            "prohibited",
            "QUIC to {host}"
        );
        assert_eq!(lab.phone.node.upload(host, 5, 100), 0, "any UDP to {host}");
    }
}

fn answers_dns_itself_whoever_was_asked(lab: &Inside) {
    let (gate, phone) = (leased(lab), &lab.phone);
    answer_udp(53);
    let hosts = ["10.80.0.1", "fd00:80::1", "203.0.113.53", WEB6];
    for host in hosts {
        assert_eq!(phone.node.run(&["udp-try", host, "53"]), "gateway", "{host}");
    }
    gate.open(&phone.session(gate.create_pool(None).unwrap())).unwrap();
    for host in hosts.into_iter().take(2) {
        assert_eq!(phone.node.run(&["udp-try", host, "53"]), "gateway", "online, {host}");
    }
}

fn limits_a_strangers_dns(lab: &Inside) {
    let _gate = leased(lab);
    let socket = UdpSocket::bind(("10.80.0.1", 53)).unwrap();
    socket.set_nonblocking(true).unwrap();
    lab.phone.node.run(&["udp-send", WEB4, "53", "1000", "40"]);
    let mut buffer = [0; 64];
    let heard = std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count();
    // A burst of 40 at once and 10 a second after it; a thousand datagrams take well below ten seconds.
    assert!((40..140).contains(&heard), "{heard} of 1000 questions were heard");
}

fn hears_no_long_question(lab: &Inside) {
    let gate = leased(lab);
    answer_udp(53);
    let asks = |size| lab.phone.node.run(&["udp-ask", WEB4, "53", &"?".repeat(size)]);
    assert_eq!(asks(512), "1");
    assert_eq!(asks(513), "0");
    gate.open(&lab.phone.session(gate.create_pool(None).unwrap())).unwrap();
    let asks = |size| lab.phone.node.run(&["udp-ask", "10.80.0.1", "53", &"?".repeat(size)]);
    assert_eq!(asks(513), "1", "online");
}

fn answers_dns_slowly(lab: &Inside) {
    let (gate, phone) = (leased(lab), &lab.phone);
    gate.open(&phone.session(gate.create_pool(Some(0)).unwrap())).unwrap();
    let listener = TcpListener::bind(("10.80.0.1", 53)).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, &vec![0; 10_000_000]);
        }
    });
    let start = std::time::Instant::now();
    let mut download = phone.node.spawn(&["tcp-get", "10.80.0.1", "53", "1"]);
    thread::sleep(std::time::Duration::from_secs(5));
    download.kill().unwrap();
    download.wait().unwrap();
    // A second's worth and the burst, then the rate; the kernel counts packets here, the interface frames and the rest of the LAN too.
    let most = 1.1 * (16_384.0 + 65_536.0 + 16_384.0 * start.elapsed().as_secs_f64());
    let carried = octets_sent_to_lan();
    assert!(
        carried > 20_000.0 && carried < most,
        "{carried} octets, at most {most} were expected"
    );
}

/// Octets that the gateway sent to the LAN, everything counted.
fn octets_sent_to_lan() -> f64 {
    let text = std::fs::read_to_string("/sys/class/net/lan0/statistics/tx_bytes").unwrap();
    text.trim().parse().unwrap()
}

fn bounds_a_strangers_connections(lab: &Inside) {
    let gate = leased(lab);
    gate.admit_lease(lab.other.mac(), lab.other.ipv4(), None).unwrap();
    answer_tcp(3990);
    // Both families together.
    let first = lab.phone.node.upload_from_ports(GARDEN4, 30);
    let second = lab.phone.node.upload_from_ports(GARDEN6, 500);
    assert_eq!((first, second), (30, 20));
    assert_eq!(
        lab.phone.node.run(&["tcp-many", "10.80.0.1", "3990", "5"]),
        "0",
        "the gateway's ports too"
    );
    assert_eq!(
        lab.other.node.run(&["tcp-try", GARDEN4, TCP]),
        "answered",
        "the others have theirs"
    );
    assert_eq!(lab.other.node.run(&["tcp-many", "10.80.0.1", "3990", "60"]), "50");
    gate.open(&lab.phone.session(gate.create_pool(None).unwrap())).unwrap();
    assert_eq!(
        lab.phone.node.upload_from_ports(WEB4, 100),
        100,
        "online it may have more"
    );
}

fn limits_a_used_up_devices_dns(lab: &Inside) {
    let gate = leased(lab);
    gate.open(&lab.phone.session(gate.create_pool(Some(0)).unwrap()))
        .unwrap();
    let socket = UdpSocket::bind(("10.80.0.1", 53)).unwrap();
    socket.set_nonblocking(true).unwrap();
    lab.phone.node.run(&["udp-send", "10.80.0.1", "53", "1000", "40"]);
    let mut buffer = [0; 64];
    let heard = std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count();
    assert!((100..300).contains(&heard), "{heard} of 1000 questions were heard");
}

fn lets_strangers_ping_the_gateway_only(lab: &Inside) {
    let _gate = leased(lab);
    let pings = |host| lab.phone.node.succeeds(&["ping", "-c1", "-W1", host]);
    assert!(pings("10.80.0.1") && pings("fd00:80::1"));
    assert!(!pings(WEB4) && !pings(WEB6));
}

fn opens_the_garden_to_strangers(lab: &Inside) {
    let _gate = leased(lab);
    for host in [GARDEN4, GARDEN6] {
        assert_eq!(lab.phone.node.run(&["tcp-try", host, TCP]), "answered", "{host}");
        assert_eq!(
            lab.phone.node.run(&["tcp-try", host, "80"]),
            "answered",
            "not captured: {host}"
        );
        assert_eq!(lab.phone.node.upload(host, 5, 100), 5, "{host}");
    }
}

fn does_not_hear_devices_without_a_lease(lab: &Inside) {
    let (gate, other) = (leased(lab), &lab.other);
    answer_tcp(8080);
    let reaches = |node: &crate::lab::Node, host| node.run(&["tcp-try", host, "8080"]);
    for host in ["10.80.0.1", "fd00:80::1"] {
        assert_eq!(reaches(&lab.phone.node, host), "answered gateway");
        assert_eq!(reaches(&other.node, host), "silence");
    }
    gate.admit_lease(other.mac(), other.ipv4(), None).unwrap();
    gate.admit_lease(other.mac(), other.ipv4(), None).expect("renewed");
    for host in ["10.80.0.1", "fd00:80::1"] {
        assert_eq!(reaches(&other.node, host), "answered gateway");
    }
    gate.revoke_lease(other.mac(), other.ipv4()).unwrap();
    gate.revoke_lease(other.mac(), other.ipv4()).expect("revoked twice");
    for host in ["10.80.0.1", "fd00:80::1"] {
        assert_eq!(reaches(&other.node, host), "silence");
    }
    gate.admit_lease(other.mac(), other.ipv4(), Some(std::time::Duration::from_millis(1500)))
        .unwrap();
    assert_eq!(reaches(&other.node, "10.80.0.1"), "answered gateway");
    eventually("the lease ends", || reaches(&other.node, "10.80.0.1") == "silence");
}

fn hears_devices_with_ipv6_only_where_wanted(lab: &Inside) {
    let admitting = Layout {
        admit_ipv6_only: true,
        ..layout()
    };
    let gate = Gate::load(&admitting).unwrap();
    answer_tcp(8080);
    let reaches = |host| lab.other.node.run(&["tcp-try", host, "8080"]);
    assert_eq!(reaches("fd00:80::1"), "answered gateway");
    assert_eq!(reaches("10.80.0.1"), "silence", "IPv4 wants a lease");
    assert_eq!(
        lab.other.node.run(&["tcp-try", WEB6, TCP]),
        "refused",
        "a stranger all the same"
    );
    // A neighbour that has not said a word yet.
    let is_admitted = |mac| {
        View::open(&admitting)
            .unwrap()
            .device(mac)
            .unwrap()
            .may_use_ipv6
            .is_some()
    };
    assert!(is_admitted(lab.other.mac()) && !is_admitted(lab.phone.mac()));
    drop(gate);
}

fn hears_everybody_when_not_strict(lab: &Inside) {
    let _gate = Gate::load(&Layout {
        strict: false,
        ..layout()
    })
    .unwrap();
    answer_tcp(8080);
    assert_eq!(lab.phone.node.run(&["tcp-try", WEB4, "80"]), "answered gateway");
    assert_eq!(lab.phone.node.run(&["tcp-try", WEB4, "443"]), "refused");
}

fn shows_the_portal_to_the_lan_only(lab: &Inside) {
    let _gate = leased(lab);
    for port in [8080, 3990, 53] {
        answer_tcp(port);
    }
    for port in ["8080", "3990"] {
        assert_eq!(lab.phone.node.run(&["tcp-try", "10.80.0.1", port]), "answered gateway");
    }
    for port in ["8080", "3990", "53"] {
        for host in [GATEWAY_WAN4, "2001:db8:51::2", "10.80.0.1"] {
            lab.net
                .succeeds(&["ip", "route", "replace", "10.80.0.0/16", "via", GATEWAY_WAN4]);
            assert_eq!(
                lab.net.run(&["tcp-try", host, port]),
                "silence",
                "{host} port {port} from the internet"
            );
        }
    }
}

fn lets_nothing_in_from_the_internet(lab: &Inside) {
    let (gate, _, slot) = lab.online();
    lab.net
        .succeeds(&["ip", "route", "replace", "10.80.0.0/16", "via", GATEWAY_WAN4]);
    for host in ["10.80.0.11", "fd00:80::11"] {
        assert_eq!(lab.net.run(&["udp-try", host, SINK]), "silence", "{host}");
        assert_eq!(lab.net.run(&["tcp-try", host, TCP]), "silence", "{host}");
    }
    assert_eq!(gate.read(&[slot]).unwrap()[0].1.total_octets(), 0);
}
