//! The process dies, is replaced, or loads its rules again, while people are online.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use kavadam_domain::accounting::FreeOctets;
use kavadam_firewall::{FirewallError, Gate, Layout, Meter, OpenSession, SessionState};

use crate::Case;
use crate::lab::{Inside, SINK, TCP, WEB4, WEB6, eventually, first_line, go_on, layout, octets4, sent_by};
use crate::nft::nft;

pub const CASES: &[Case] = &[
    (
        "adopts_every_session_with_every_octet",
        adopts_every_session_with_every_octet,
    ),
    (
        "keeps_traffic_and_limits_while_nobody_is_there",
        keeps_traffic_and_limits_while_nobody_is_there,
    ),
    ("reloads_without_losing_a_packet", reloads_without_losing_a_packet),
    ("never_uses_a_number_twice", never_uses_a_number_twice),
    (
        "keeps_its_table_and_the_rules_before_when_new_ones_are_refused",
        keeps_the_rules_before_when_new_ones_are_refused,
    ),
    (
        "outlives_its_process_and_belongs_to_the_next",
        outlives_its_process_and_belongs_to_the_next,
    ),
    (
        "mends_what_others_did_to_sessions_while_the_table_was_nobodys",
        mends_what_others_did_meanwhile,
    ),
    (
        "looks_at_its_sessions_again_when_the_kernel_misses_an_element",
        looks_again_at_what_is_missing,
    ),
    ("stands_before_the_interfaces_do", stands_before_the_interfaces_do),
    ("can_be_read_by_nft_itself", can_be_read_by_nft_itself),
];

fn adopts_every_session_with_every_octet(lab: &Inside) {
    let gate = lab.gate();
    let (mine, shared) = (
        gate.create_pool(Some(1_000_000)).unwrap(),
        gate.create_pool(None).unwrap(),
    );
    let label: Vec<u8> = (1..=160).collect();
    let timeout = Some(Duration::from_mins(10));
    let down_bits_per_sec = Some(8_000_000);
    let first = OpenSession {
        label: label.clone(),
        timeout,
        down_bits_per_sec,
        ..lab.phone.session(mine)
    };
    let first = gate.open(&first).unwrap();
    let second = gate.open(&lab.other.session(shared)).unwrap();
    assert_eq!(lab.phone.node.upload(WEB4, 7, 1000), 7);
    drop(gate);
    assert_eq!(lab.phone.node.upload(WEB4, 3, 1000), 3, "it flows on");

    let gate = lab.gate();
    let adopted = gate.adopt().unwrap();
    let one = &adopted[0];
    assert_eq!(
        (one.slot, one.mac, one.ipv4),
        (first, lab.phone.mac(), Some(lab.phone.ipv4()))
    );
    assert_eq!(one.label, label);
    assert_eq!(
        one.meter,
        Meter {
            up_octets: octets4(10, 1000),
            up_packets: 10,
            free: Some(FreeOctets::default()),
            ..Meter::default()
        }
    );
    assert_eq!((one.pool, one.pool_limit_octets), (mine, Some(1_000_000)));
    assert_eq!(one.pool_used_octets, octets4(10, 1000));
    let SessionState::Online { remaining: Some(left) } = one.state else {
        panic!("{:?}", one.state)
    };
    assert!(
        left > Duration::from_secs(500) && left <= Duration::from_mins(10),
        "{left:?}"
    );
    let two = &adopted[1];
    assert_eq!((two.slot, two.pool, two.pool_limit_octets), (second, shared, None));
    assert_eq!(two.state, SessionState::Online { remaining: None });
    assert_eq!(adopted.len(), 2);

    assert_eq!(gate.close(first).unwrap().up_octets, octets4(10, 1000));
    gate.close(second).unwrap();
    assert_eq!(gate.adopt().unwrap(), []);
    gate.open(&lab.phone.session(gate.create_pool(None).unwrap()))
        .expect("room for the next session");
}

fn keeps_traffic_and_limits_while_nobody_is_there(lab: &Inside) {
    let gate = lab.gate();
    let pool = gate.create_pool(Some(20_500)).unwrap();
    gate.open(&lab.phone.session(pool)).unwrap();
    assert_eq!(lab.phone.node.upload(WEB4, 5, 972), 5);
    drop(gate);
    assert_eq!(lab.phone.node.upload(WEB4, 50, 972), 15, "the quota holds without us");
    let gate = lab.gate();
    gate.adopt().unwrap();
    assert_eq!(gate.pools_used_up().unwrap(), [pool]);
    gate.set_pool_limit(pool, Some(25_500)).unwrap();
    assert_eq!(
        lab.phone.node.upload(WEB4, 50, 972),
        5,
        "and can be topped up exactly by the next process"
    );
}

fn reloads_without_losing_a_packet(lab: &Inside) {
    const DATAGRAMS: u32 = 20_000;
    let (gate, _, slot) = lab.online();
    let mut held = lab.phone.node.spawn(&["tcp-hold", WEB4, TCP]);
    assert_eq!(first_line(&mut held), "ready");
    let up = || gate.read(&[slot]).unwrap()[0].1.up_octets;
    // The kernel numbers rules as they come: the same numbers would be the same rules.
    let rules = || {
        let words = ["-a", "list", "chain", "inet", "kavadam", "forward"];
        Command::new("nft").args(words).output().unwrap().stdout
    };
    let (sent_before, up_before, rules_before) = (sent_by("wan0"), up(), rules());
    let words = ["udp-send", WEB4, SINK, &DATAGRAMS.to_string(), "1000"];
    let mut sender = lab.phone.node.spawn(&words);
    eventually("the first datagrams pass", || up() > up_before + octets4(10, 1000));
    let mut reloads = 0;
    while sender.try_wait().unwrap().is_none() {
        reloads += 1;
        let other = Layout {
            isolate: reloads % 2 == 0,
            local_ports: vec![8080, 9000 + reloads],
            ..layout()
        };
        gate.reload(&other).unwrap();
    }
    assert!(sender.wait().unwrap().success());
    assert!(reloads >= 3, "{reloads} reloads while datagrams passed");
    assert!(rules() != rules_before, "no rule was replaced");
    // The connection's few small packets pass meanwhile; of the datagrams not one may be missing. (Their receiver may be too slow for all.)
    eventually("all have gone on", || {
        sent_by("wan0") - sent_before >= u64::from(DATAGRAMS)
    });
    let charged = up() - up_before;
    assert!(charged >= octets4(DATAGRAMS, 1000), "{charged} charged");
    assert_eq!(go_on(held), "alive");
}

fn never_uses_a_number_twice(lab: &Inside) {
    let mut last = 0;
    for _ in 0..3 {
        let gate = lab.gate();
        for _ in 0..2 {
            let slot = gate.open(&lab.phone.session(gate.create_pool(None).unwrap())).unwrap();
            assert!(slot.0 > last, "{slot} after {last}");
            last = slot.0;
            gate.close(slot).unwrap();
        }
    }
}

fn stands_before_the_interfaces_do(lab: &Inside) {
    let absent = Layout {
        lan_if: "lan9".to_owned(),
        wan_if: "wan9".to_owned(),
        ..layout()
    };
    let gate = Gate::load(&absent).unwrap();
    let opened = gate.open(&lab.phone.session(gate.create_pool(None).unwrap()));
    assert!(
        matches!(opened, Err(FirewallError::NoInterface(ref name)) if name == "lan9"),
        "{opened:?}"
    );
    assert_eq!(
        lab.phone.node.upload(WEB6, 5, 100),
        0,
        "what is not the LAN is not forwarded"
    );
}

fn keeps_the_rules_before_when_new_ones_are_refused(lab: &Inside) {
    let (gate, _, _) = lab.online();
    let is_owned = gate.is_owned();
    let beyond_its_size = (0..70_000)
        .map(|number| Ipv4Addr::from_bits(0x2000_0000 + number))
        .collect();
    let between = || nft("list chain bridge kavadam between");
    let before = between();
    assert!(before.contains("nd-router-advert"), "{before}");
    let refused = gate.reload(&Layout {
        garden4: beyond_its_size,
        isolate: false,
        ..layout()
    });
    let said = refused.unwrap_err().to_string();
    assert!(
        said.contains("element inet kavadam garden4") && said.contains("shorten it"),
        "{said}"
    );
    assert_eq!(gate.is_owned(), is_owned);
    Gate::verify(&layout()).unwrap();
    assert_eq!(between(), before, "those of bridges too");
    assert_eq!(lab.phone.node.upload(WEB4, 5, 100), 5);
    assert_eq!(lab.other.node.upload(WEB6, 5, 100), 0);
}

fn outlives_its_process_and_belongs_to_the_next(lab: &Inside) {
    let (gate, _, slot) = lab.online();
    let is_owned = gate.is_owned();
    drop(gate);
    assert_eq!(lab.phone.node.upload(WEB4, 5, 100), 5, "the session goes on");
    let successor = lab.gate();
    assert_eq!(successor.is_owned(), is_owned);
    assert_eq!(successor.adopt().unwrap().len(), 1);
    assert_eq!(successor.close(slot).unwrap().up_octets, octets4(5, 100));
}

fn mends_what_others_did_meanwhile(lab: &Inside) {
    let (gate, _, slot) = lab.online();
    drop(gate);
    let device = lab.phone.mac().to_string().replace('-', ":");
    let stray = lab.other.mac().to_string().replace('-', ":");
    nft(&format!(
        "delete element inet kavadam auth4 {{ {device} . 10.80.0.11 }}"
    ));
    nft(&format!("add element inet kavadam auth6 {{ {stray} : {:#x} }}", slot.0));
    assert_eq!(lab.other.node.upload(WEB6, 5, 100), 5, "by another's session");

    let gate = lab.gate();
    let restored = gate.restore(&layout()).unwrap().expect("something to mend");
    assert_eq!(restored.lost, []);
    let told = restored.differences.join("; ");
    for part in ["auth6 had an element of no session", "was not as it should be in auth4"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(lab.other.node.upload(WEB6, 5, 100), 0);
    assert_eq!(lab.phone.node.upload(WEB4, 5, 100), 5);
    gate.set_timeout(slot, Some(Duration::from_mins(10))).unwrap();
    assert_eq!(gate.restore(&layout()).unwrap(), None);
    gate.close(slot).unwrap();
}

fn looks_again_at_what_is_missing(lab: &Inside) {
    let (gate, _, slot) = lab.online_shared();
    assert_eq!(gate.restore(&layout()).unwrap(), None);
    nft("flush map inet kavadam auth6");
    let timeout = Some(Duration::from_mins(10));
    gate.set_timeout(slot, timeout)
        .expect_err("what is not there cannot be replaced");
    let restored = gate.restore(&layout()).unwrap().expect("something to mend");
    assert!(restored.differences[0].contains("auth6"), "{restored:?}");
    gate.set_timeout(slot, timeout).unwrap();
    gate.close(slot).unwrap();
}

fn can_be_read_by_nft_itself(lab: &Inside) {
    let gate = lab.gate();
    let pool = gate.create_pool(Some(5_000_000)).unwrap();
    let session = OpenSession {
        up_bits_per_sec: Some(8_000_000),
        timeout: Some(Duration::from_mins(10)),
        label: b"session 42".to_vec(),
        ..lab.phone.session(pool)
    };
    gate.open(&session).unwrap();
    let output = Command::new("nft")
        .args(["list", "table", "inet", "kavadam"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "02:00:00:00:00:11 . 10.80.0.11",
        "comment \"session 42\"",
        "limit rate 1000000 bytes/second",
    ] {
        assert!(text.contains(part), "{part} is missing from {text}");
    }
}
