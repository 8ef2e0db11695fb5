//! Somebody else changes the gate's tables.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use kavadam_firewall::{FirewallError, Gate, GateEvent, OpenSession, Restored, SessionState};

use crate::Case;
use crate::lab::{Inside, WEB4, WEB6, eventually, layout, octets4, octets6};

pub const CASES: &[Case] = &[
    (
        "lets_nobody_else_change_its_table_and_survives_a_foreign_flush",
        lets_nobody_else_change_its_table,
    ),
    (
        "keeps_the_ports_apart_after_a_foreign_flush",
        keeps_the_ports_apart_after_a_foreign_flush,
    ),
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
        "repairs_the_rules_of_bridges_and_arp_that_others_changed",
        repairs_the_rules_of_bridges_and_arp,
    ),
    (
        "puts_leases_back_from_whichever_set_others_have_removed_them",
        puts_leases_back,
    ),
    (
        "leaves_no_ipv6_address_held_by_nobody_after_others_have_removed_who_holds_it",
        leaves_no_ipv6_address_to_nobody,
    ),
    (
        "repairs_sessions_that_others_changed_and_ends_what_lost_its_meters",
        repairs_sessions_that_others_changed,
    ),
];

/// What `nft` lists of a set.
fn listed(family: &str, set: &str) -> String {
    let output = Command::new("nft")
        .args(["list", "set", family, "kavadam", set])
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

fn puts_leases_back(lab: &Inside) {
    nft(&["add", "table", "arp", "kavadam"]);
    let gate = lab.shared_gate();
    for phone in [&lab.phone, &lab.other] {
        gate.admit_lease(phone.mac(), phone.ipv4(), None).unwrap();
    }
    gate.suspect();
    assert_eq!(gate.restore(&layout()).unwrap(), None);
    let sets = ["leases", "lease_macs", "lease_clients", "lease_owners", "leased"].map(|set| ("inet", set));
    for (family, set) in sets.into_iter().chain([("arp", "pairs"), ("arp", "leased")]) {
        let whole = listed(family, set);
        assert!(whole.contains("elements"), "{whole}");
        nft(&["flush", "set", family, "kavadam", set]);
        gate.suspect();
        let restored = gate.restore(&layout()).unwrap().expect(set);
        let told = restored.differences.join("; ");
        assert!(
            told.starts_with("2 leases were gone from") && told.ends_with(set),
            "{told}"
        );
        let words = |text: String| text.split([' ', ',', '\n']).map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(words(whole), words(listed(family, set)), "{family} {set}");
    }
}

fn leaves_no_ipv6_address_to_nobody(lab: &Inside) {
    let (gate, _, _) = lab.online_shared();
    assert_eq!(lab.phone.node.upload(WEB6, 5, 100), 5);
    gate.suspect();
    assert_eq!(gate.restore(&layout()).unwrap(), None);
    nft(&["flush set inet kavadam holders6; flush set inet kavadam known6"]);
    // Holders stay a minute longer than what they hold: one who does must not stand for another who is missing.
    nft(&["add element inet kavadam holders6 { 0xfd800000000000000000000000000099 . 02:00:00:00:00:99 timeout 1m }"]);
    gate.suspect();
    let restored = gate.restore(&layout()).unwrap().unwrap();
    assert_eq!(restored.differences, ["1 IPv6 addresses were held by nobody"]);
    assert_eq!(lab.phone.node.upload(WEB6, 5, 100), 5, "it has it again");
}

fn repairs_the_rules_of_bridges_and_arp(lab: &Inside) {
    for family in ["bridge", "arp"] {
        nft(&["add", "table", family, "kavadam"]);
    }
    let (gate, _, slot) = lab.online_shared();
    assert!(gate.restore(&layout()).unwrap().is_none());
    nft(&["delete", "table", "bridge", "kavadam"]);
    let restored = gate.restore(&layout()).unwrap().unwrap();
    assert!(
        restored.lost.is_empty() && restored.differences[0].contains("family bridge has 0 rules"),
        "{restored:?}"
    );
    nft(&["flush", "chain", "arp", "kavadam", "input"]);
    let restored = gate.restore(&layout()).unwrap().unwrap();
    assert!(
        restored.differences[0].contains("family arp has 0 rules"),
        "{restored:?}"
    );
    assert!(gate.restore(&layout()).unwrap().is_none(), "it is as it was");
    gate.close(slot).expect("the session is there");
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

fn keeps_the_ports_apart_after_a_foreign_flush(lab: &Inside) {
    nft(&["add", "table", "bridge", "kavadam"]);
    let gate = lab.shared_gate();
    let ports = || {
        let listed = Command::new("nft")
            .args(["list", "set", "bridge", "kavadam", "ports"])
            .output();
        String::from_utf8(listed.unwrap().stdout).unwrap()
    };
    let tie = |names: &[&str]| gate.tie_ports(&names.iter().map(|name| (*name).to_owned()).zip(1..).collect());
    tie(&["port1", "port2"]).unwrap();
    assert!(ports().contains("port1") && ports().contains("port2"), "{}", ports());
    tie(&["port2"]).unwrap();
    assert!(!ports().contains("port1"), "{}", ports());
    nft(&["flush", "ruleset"]);
    gate.restore(&layout()).unwrap().expect("something to restore");
    assert!(ports().contains("port2"), "{}", ports());
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
    eventually("the configuration's sets are filled again", || {
        listed("inet", "local_ports").contains("8080")
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
