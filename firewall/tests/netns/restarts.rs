//! The process dies, is replaced, or loads its rules again, while people are online.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use kavadam_firewall::{FirewallError, Gate, GateEvent, Layout, Meter, OpenSession, Restored, SessionState};

use crate::Case;
use crate::lab::{Inside, TCP, WEB4, WEB6, eventually, first_line, go_on, layout, octets4, octets6};

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
        "lets_nobody_else_change_its_table_and_survives_a_foreign_flush",
        lets_nobody_else_change_its_table,
    ),
    (
        "keeps_its_table_and_the_rules_before_when_new_ones_are_refused",
        keeps_the_rules_before_when_new_ones_are_refused,
    ),
    (
        "keeps_the_ports_apart_after_a_foreign_flush",
        keeps_the_ports_apart_after_a_foreign_flush,
    ),
    (
        "outlives_its_process_and_belongs_to_the_next",
        outlives_its_process_and_belongs_to_the_next,
    ),
    ("stands_before_the_interfaces_do", stands_before_the_interfaces_do),
    (
        "notices_what_others_did_to_its_table",
        notices_what_others_did_to_its_table,
    ),
    ("closes_again_after_a_foreign_flush", closes_again_after_a_foreign_flush),
    (
        "repairs_rules_that_others_changed_and_keeps_the_sessions",
        repairs_rules_that_others_changed,
    ),
    (
        "repairs_sessions_that_others_changed_and_ends_what_lost_its_meters",
        repairs_sessions_that_others_changed,
    ),
    ("can_be_read_by_nft_itself", can_be_read_by_nft_itself),
];

fn adopts_every_session_with_every_octet(lab: &Inside) {
    let gate = lab.gate();
    let (mine, shared) = (
        gate.create_pool(Some(1_000_000)).unwrap(),
        gate.create_pool(None).unwrap(),
    );
    let label: Vec<u8> = (1..=200).collect();
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
    let (gate, _, slot) = lab.online();
    let mut held = lab.phone.node.spawn(&["tcp-hold", WEB4, TCP]);
    assert_eq!(first_line(&mut held), "ready");
    let sender = lab
        .phone
        .node
        .spawn(&["udp-send", WEB4, crate::lab::SINK, "5000", "1000"]);
    let before = gate.read(&[slot]).unwrap()[0].1;
    for _ in 0..5 {
        gate.reload(&layout()).unwrap();
    }
    assert!(sender.wait_with_output().unwrap().status.success());
    let after = gate.read(&[slot]).unwrap()[0].1;
    assert!(after.up_octets > before.up_octets);
    // The connection's few small packets pass meanwhile; of the datagrams not one may be missing.
    let datagrams = lab.phone.node.upload(WEB4, 0, 1000);
    assert_eq!(datagrams, 0);
    assert!(
        after.up_octets >= octets4(5000, 1000),
        "{} of {}",
        after.up_octets,
        octets4(5000, 1000)
    );
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

fn notices_what_others_did_to_its_table(lab: &Inside) {
    let (gate, _, slot) = lab.online_shared();
    Gate::verify(&layout()).unwrap();
    nft(&["insert", "rule", "inet", "kavadam", "forward", "accept"]);
    let error = Gate::verify(&layout()).unwrap_err().to_string();
    assert!(error.contains("chain forward has 3 rules instead of 2"), "{error}");
    lab.gate();
    Gate::verify(&layout()).expect("loading repairs it");
    assert_eq!(lab.phone.node.upload(WEB6, 5, 100), 5, "and keeps the sessions");
    nft(&["flush", "ruleset"]);
    let error = Gate::verify(&layout()).unwrap_err().to_string();
    assert!(error.contains("the table is gone"), "{error}");
    assert!(gate.close(slot).is_err());
}

fn lets_nobody_else_change_its_table(lab: &Inside) {
    let (gate, _, slot) = lab.online();
    if !gate.is_owned() {
        println!("     this kernel is older than 6.9: the table is anybody's");
        return;
    }
    assert_eq!(lab.phone.node.upload(WEB4, 5, 100), 5);
    nft(&["flush", "ruleset"]);
    for change in [
        ["insert", "rule", "inet", "kavadam", "forward", "accept"].as_slice(),
        &["flush", "table", "inet", "kavadam"],
        &["flush", "map", "inet", "kavadam", "auth4"],
        &[
            "add",
            "element",
            "inet",
            "kavadam",
            "leases",
            "{ 02:00:00:00:00:12 . 10.80.0.12 }",
        ],
        &["delete", "table", "inet", "kavadam"],
    ] {
        let output = Command::new("nft").args(change).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Operation not permitted"), "{change:?}: {said}");
    }
    assert!(
        matches!(Gate::load(&layout()), Err(FirewallError::Taken)),
        "nor another process of ours"
    );
    assert_eq!(gate.restore(&layout()).unwrap(), None, "there is nothing to repair");
    assert_eq!(lab.phone.node.upload(WEB4, 5, 100), 5);
    assert_eq!(
        lab.other.node.upload(WEB6, 5, 100),
        0,
        "closed to strangers all the time"
    );
    gate.reload(&layout()).unwrap();
    assert!(gate.is_owned(), "it is ours again after the rules were loaded anew");
    assert_eq!(lab.phone.node.upload(WEB4, 5, 100), 5);
    assert_eq!(
        gate.close(slot).unwrap().up_octets,
        octets4(15, 100),
        "no octet was lost"
    );
}

fn keeps_the_rules_before_when_new_ones_are_refused(lab: &Inside) {
    let (gate, _, _) = lab.online();
    let is_owned = gate.is_owned();
    let beyond_its_size = (0..70_000)
        .map(|number| Ipv4Addr::from_bits(0x2000_0000 + number))
        .collect();
    let refused = gate.reload(&Layout {
        garden4: beyond_its_size,
        ..layout()
    });
    let said = refused.unwrap_err().to_string();
    assert!(
        said.contains("element inet kavadam garden4") && said.contains("shorten it"),
        "{said}"
    );
    assert_eq!(gate.is_owned(), is_owned);
    Gate::verify(&layout()).unwrap();
    assert_eq!(lab.phone.node.upload(WEB4, 5, 100), 5);
    assert_eq!(lab.other.node.upload(WEB6, 5, 100), 0);
}

fn keeps_the_ports_apart_after_a_foreign_flush(lab: &Inside) {
    nft(&["add", "table", "bridge", "kavadam"]);
    let gate = lab.shared_gate();
    let ports = || {
        let listed = Command::new("nft")
            .args(["list", "set", "bridge", "kavadam", "ports"])
            .output();
        String::from_utf8(listed.unwrap().stdout).unwrap()
    };
    let tie = |names: &[&str]| gate.tie_ports(&names.iter().map(|name| (*name).to_owned()).collect());
    tie(&["port1", "port2"]).unwrap();
    assert!(ports().contains("port1") && ports().contains("port2"), "{}", ports());
    tie(&["port2"]).unwrap();
    assert!(!ports().contains("port1"), "{}", ports());
    nft(&["flush", "ruleset"]);
    gate.restore(&layout()).unwrap().expect("something to restore");
    assert!(ports().contains("port2"), "{}", ports());
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

fn nft(words: &[&str]) {
    assert!(Command::new("nft").args(words).status().unwrap().success(), "{words:?}");
}

/// Restores the gate as soon as the kernel tells of a change, as the gateway does, so many times; every restoration comes out.
fn watch(gate: Arc<Gate>, times: usize) -> Receiver<Restored> {
    let (sender, restored) = channel();
    let (listening, ready) = channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut events = Gate::events(&layout()).unwrap();
            events.hear_others_than(&gate).unwrap();
            listening.send(()).unwrap();
            let mut left = times;
            while left > 0 {
                let event = events.next().await.unwrap();
                if event == GateEvent::Meddled {
                    gate.suspect();
                }
                if matches!(event, GateEvent::Changed | GateEvent::Meddled)
                    && let Some(one) = gate.restore(&layout()).unwrap()
                {
                    left -= 1;
                    sender.send(one).unwrap();
                }
            }
        });
    });
    ready.recv().unwrap();
    restored
}

fn closes_again_after_a_foreign_flush(lab: &Inside) {
    let (gate, _, slot) = lab.online_shared();
    let (gate, stranger) = (Arc::new(gate), &lab.other);
    gate.admit_lease(stranger.mac(), stranger.ipv4(), Some(Duration::from_mins(10)))
        .unwrap();
    assert_eq!(lab.phone.node.upload(WEB6, 5, 100), 5);
    let restored = watch(Arc::clone(&gate), 1);

    nft(&["flush", "ruleset"]);
    let start = Instant::now();
    let restored = restored
        .recv_timeout(Duration::from_secs(1))
        .expect("closed within a second");
    println!("     closed after {} ms", start.elapsed().as_millis());
    assert_eq!(restored.differences, ["the table is gone"]);
    assert_eq!(restored.lost, [slot]);
    Gate::verify(&layout()).unwrap();
    for phone in [&lab.phone, stranger] {
        assert_eq!(phone.node.upload(WEB4, 5, 100), 0);
        assert_eq!(phone.node.upload(WEB6, 5, 100), 0);
    }
    assert_eq!(
        stranger.node.run(&["tcp-try", WEB4, "443"]),
        "refused",
        "its lease is known again"
    );
    assert_eq!(
        lab.phone.node.run(&["tcp-try", WEB4, "443"]),
        "silence",
        "it never had one"
    );
    assert!(!neighbour_entries().contains("PERMANENT"), "{}", neighbour_entries());

    let again = gate.open(&lab.phone.session(gate.create_pool(None).unwrap())).unwrap();
    assert!(again > slot, "{again} after {slot}");
    assert_eq!(lab.phone.node.upload(WEB4, 5, 100), 5, "after a new login");
    eventually("the watch lets go", || Arc::strong_count(&gate) == 1);
    drop(gate);
    let successor = lab.gate();
    let next = successor.open(&stranger.session(successor.create_pool(None).unwrap()));
    assert!(next.unwrap() > again, "the numbers are in the kernel again");
}

fn neighbour_entries() -> String {
    let output = Command::new("ip").args(["neighbour", "show", "dev", "lan0"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

fn repairs_rules_that_others_changed(lab: &Inside) {
    let (gate, _, slot) = lab.online_shared();
    let gate = Arc::new(gate);
    let restored = watch(Arc::clone(&gate), 3);
    assert_eq!(lab.phone.node.upload(WEB4, 5, 100), 5);
    for change in [
        ["insert", "rule", "inet", "kavadam", "forward", "accept"].as_slice(),
        &["flush", "table", "inet", "kavadam"],
        &["delete", "chain", "inet", "kavadam", "raw"],
    ] {
        nft(change);
        let restored = restored
            .recv_timeout(Duration::from_secs(1))
            .expect("repaired within a second");
        assert_eq!(restored.lost, []);
        Gate::verify(&layout()).unwrap();
        assert_eq!(
            lab.other.node.upload(WEB6, 5, 100),
            0,
            "closed to strangers after {change:?}"
        );
        assert_eq!(
            lab.phone.node.upload(WEB6, 5, 100),
            5,
            "the session goes on after {change:?}"
        );
    }
    let octets = octets4(5, 100) + octets6(15, 100);
    assert_eq!(gate.close(slot).unwrap().up_octets, octets, "no octet was lost");
}

fn repairs_sessions_that_others_changed(lab: &Inside) {
    let gate = lab.shared_gate();
    let (mine, others) = (
        gate.create_pool(Some(1_000_000)).unwrap(),
        gate.create_pool(None).unwrap(),
    );
    let limited = OpenSession {
        up_bits_per_sec: Some(8_000_000),
        timeout: Some(Duration::from_mins(10)),
        ..lab.phone.session(mine)
    };
    let slot = gate.open(&limited).unwrap();
    let other = gate.open(&lab.other.session(others)).unwrap();
    let gate = Arc::new(gate);
    let changes = [
        (
            "delete element inet kavadam auth4 { 02:00:00:00:00:11 . 10.80.0.11 }",
            "auth4",
        ),
        ("flush map inet kavadam auth6", "auth6"),
        ("flush set inet kavadam lim_up", "lim_up"),
        ("flush set inet kavadam lim_down", "lim_down"),
        (
            "add element inet kavadam auth4 { 02:00:00:00:00:77 . 10.80.0.77 : 0x2 }",
            "auth4 had an element of no session",
        ),
        ("add quota inet kavadam p1 { over 9000000 bytes }", "another limit"),
        ("flush set inet kavadam reserved", "reserved was empty"),
        (
            "add element inet elsewhere marks { 0x1 }; flush map inet kavadam auth6",
            "auth6",
        ),
    ];
    nft(&["add table inet elsewhere; add set inet elsewhere marks { type mark; }"]);
    let restored = watch(Arc::clone(&gate), changes.len() + 2);
    let mut sent = 0;
    for (change, told) in changes {
        nft(&[change]);
        let one = restored.recv_timeout(Duration::from_secs(2)).expect(change);
        assert!(one.differences.join("; ").contains(told), "{change}: {one:?}");
        assert_eq!(one.lost, [], "{change}");
        for phone in [&lab.phone, &lab.other] {
            assert_eq!(phone.node.upload(WEB4, 5, 100), 5, "after {change}");
            assert_eq!(phone.node.upload(WEB6, 5, 100), 5, "after {change}");
        }
        sent += octets4(5, 100) + octets6(5, 100);
    }
    let adopted = gate.adopt().unwrap();
    let SessionState::Online { remaining } = adopted[0].state else {
        panic!("{adopted:?}")
    };
    assert!(
        remaining.unwrap() > Duration::from_mins(9),
        "the others' time is its own again"
    );
    assert_eq!(gate.pool_used(mine).unwrap(), sent, "no octet was lost");

    // What is in these is known without a look, so nobody tells of it.
    nft(&["flush set inet kavadam free4; flush set inet kavadam local_ports"]);
    let listed = |set| {
        let output = Command::new("nft")
            .args(["list", "set", "inet", "kavadam", set])
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    eventually("the configuration's sets are filled again", || {
        listed("local_ports").contains("8080")
    });

    nft(&[&format!("delete element inet kavadam cnt_up {{ {:#x} }}", other.0)]);
    let one = restored.recv_timeout(Duration::from_secs(2)).expect("noticed");
    assert_eq!(one.lost, [other]);
    assert_eq!(lab.other.node.upload(WEB4, 5, 100), 0, "nobody knows what it carried");

    let again = gate.create_pool(Some(1_000_000)).unwrap();
    let third = gate.open(&lab.other.session(again)).unwrap();
    let (map, quota) = (format!("total {{ {:#x} }}", third.0), format!("p{}", again.0));
    nft(&[&format!(
        "delete element inet kavadam {map}; delete quota inet kavadam {quota}"
    )]);
    let one = restored.recv_timeout(Duration::from_secs(2)).expect("noticed");
    assert_eq!(one.lost, [third], "with its quota too");
    gate.open(&lab.other.session(others))
        .expect_err("its pool went with its last session");
    eventually("the watch lets go", || Arc::strong_count(&gate) == 1);
    assert_eq!(gate.close(slot).unwrap().up_octets, sent);
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
