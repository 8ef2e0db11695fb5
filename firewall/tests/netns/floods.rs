//! One device asks for all that the gateway gives: the others have theirs. And what none may say is counted wherever it comes.

use std::net::{Ipv4Addr, Ipv6Addr};

use kavadam_firewall::View;

use crate::Case;
use crate::frames;
use crate::impostors::gateway;
use crate::lab::{Inside, WEB4, eventually, layout, sent_by};

pub const CASES: &[Case] = &[
    (
        "refuses_others_at_once_while_one_asks_for_all_refusals",
        refuses_others_at_once,
    ),
    ("answers_others_pings_while_one_sends_many", answers_others_pings),
    (
        "counts_false_routers_and_dhcp_servers_that_only_the_gateway_hears",
        counts_false_routers_and_servers,
    ),
];

const SYN: u8 = 2;
const ROUTER_ADVERTISEMENT: u8 = 134;

fn refuses_others_at_once(lab: &Inside) {
    let gate = lab.gate();
    for phone in [&lab.phone, &lab.other] {
        gate.admit_lease(phone.mac(), phone.ipv4(), None).unwrap();
    }
    let macs = (lab.phone.mac(), gateway());
    let ends = (lab.phone.ipv4(), WEB4.parse().unwrap());
    let greedy: Vec<Vec<u8>> = (0..12_000_u32)
        .map(|number| {
            let port = u16::try_from(1024 + number).unwrap();
            frames::tcp4(macs, ends, (port, 443), (number, SYN))
        })
        .collect();
    let datagrams: Vec<Vec<u8>> = (0..6_000_u16)
        .map(|number| frames::udp4(macs, ends, (1024 + number, 443), b"Initial"))
        .collect();
    let before = sent_by("lan0");
    lab.phone.node.send("eth0", &greedy);
    let refused = sent_by("lan0") - before;
    assert!((1_000..3_000).contains(&refused), "{refused} of 12000 were refused");
    assert_eq!(lab.other.node.run(&["tcp-try", WEB4, "443"]), "refused");
    lab.phone.node.send("eth0", &datagrams);
    assert_eq!(lab.other.node.run(&["udp-try", WEB4, "443"]), "prohibited");
    eventually("it is refused at once itself, a moment later", || {
        lab.phone.node.run(&["tcp-try", WEB4, "443"]) == "refused"
    });
}

fn answers_others_pings(lab: &Inside) {
    let gate = lab.gate();
    let pool = gate.create_pool(None).unwrap();
    gate.open(&lab.phone.session(pool)).unwrap();
    gate.admit_lease(lab.other.mac(), lab.other.ipv4(), None).unwrap();
    for host in ["10.80.0.1", "fd00:80::1"] {
        let before = sent_by("lan0");
        lab.phone.node.succeeds(&["ping", "-q", "-f", "-c1000", "-w2", host]);
        let answered = sent_by("lan0") - before;
        assert!(
            (10..200).contains(&answered),
            "{answered} of 1000 to {host} were answered"
        );
    }
    for host in ["10.80.0.1", "fd00:80::1"] {
        assert!(lab.other.node.succeeds(&["ping", "-c1", "-W1", host]), "{host}");
    }
}

fn counts_false_routers_and_servers(lab: &Inside) {
    let gate = lab.gate();
    let pool = gate.create_pool(None).unwrap();
    gate.open(&lab.other.session(pool)).unwrap();
    let to_all = |from| (from, kavadam_domain::Mac([0xff; 6]));
    let offers = |from, own: Ipv4Addr| {
        let ends = (own, Ipv4Addr::BROADCAST);
        vec![frames::udp4(to_all(from), ends, (67, 68), &[2; 300])]
    };
    let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11);
    let all = (own, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
    let advertisement = |mac| vec![frames::discovery(to_all(mac), all, (ROUTER_ADVERTISEMENT, None), &[])];
    // A router of somebody's home, in the wrong way round, and one that is online.
    lab.phone
        .node
        .send("eth0", &offers(lab.phone.mac(), Ipv4Addr::new(192, 168, 1, 1)));
    lab.phone.node.send("eth0", &advertisement(lab.phone.mac()));
    lab.other.node.send("eth0", &offers(lab.other.mac(), lab.other.ipv4()));
    lab.other.node.send("eth0", &advertisement(lab.other.mac()));
    eventually("they are counted", || {
        let told = View::open(&layout()).unwrap().rogues().unwrap();
        ["router_advertisements", "dhcp_servers"]
            .iter()
            .all(|kind| told.contains(&(kind, 2)))
    });
}
