//! A full uplink: nobody above a share while others wait.

use std::process::{Child, Command};
use std::time::Duration;

use kavadam_firewall::{FirewallError, Gate, Layout, SessionLimits, Shares, Slot, Uplink};

use crate::Case;
use crate::lab::{Inside, TCP, WEB4, layout, limit};

pub const CASES: &[Case] = &[
    (
        "gives_equal_shares_of_a_full_uplink_whoever_has_more_connections",
        gives_equal_shares,
    ),
    ("leaves_what_one_does_not_take_to_the_others", leaves_the_rest_to_others),
    ("makes_changes_and_removes_the_queues_of_an_uplink", keeps_the_queues),
    ("leaves_alone_a_queue_that_somebody_else_has_set", leaves_others_alone),
    (
        "shares_an_uplink_and_shares_it_no_longer_while_people_are_online",
        comes_and_goes,
    ),
];

/// What the queue of a session has let through, octets: beyond the limit of the queue packets are dropped, which the meters have counted.
fn passed(interface: &str, slot: Slot) -> u64 {
    queued(interface, &queue_of(slot))
}

/// That of a session without a class.
pub fn queue_of(slot: Slot) -> String {
    format!("4b76:{:x}", 0x10 + slot.0 / 2)
}

/// What this queue has let through, octets.
pub fn queued(interface: &str, queue: &str) -> u64 {
    let shown = Command::new("tc")
        .args(["-s", "class", "show", "dev", interface, "classid", queue])
        .output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    let sent = shown.split("Sent ").nth(1).unwrap();
    sent.split(' ').next().unwrap().parse().unwrap()
}

pub const BITS_PER_SEC: u64 = 8_000_000;

pub fn shared(bits_per_sec: u64) -> Layout {
    Layout {
        uplink: Some(Uplink {
            up_bits_per_sec: bits_per_sec,
            down_bits_per_sec: bits_per_sec,
        }),
        ..layout()
    }
}

fn start(lab: &Inside, layout: &Layout) -> (Gate, Shares, [Slot; 2]) {
    let gate = Gate::load(layout).unwrap();
    let mut shares = Shares::new().unwrap();
    assert!(shares.keep(layout).unwrap());
    let open = |phone: &crate::lab::Phone| gate.open(&phone.session(gate.create_pool(None).unwrap())).unwrap();
    let slots = [open(&lab.phone), open(&lab.other)];
    (gate, shares, slots)
}

/// Octets of each in some seconds after the start, in which buckets and windows fill.
fn carried(interface: &str, slots: [Slot; 2]) -> [u64; 2] {
    std::thread::sleep(Duration::from_secs(2));
    let before = slots.map(|slot| passed(interface, slot));
    std::thread::sleep(Duration::from_secs(4));
    let after = slots.map(|slot| passed(interface, slot));
    [after[0] - before[0], after[1] - before[1]]
}

pub fn end(children: Vec<Child>) {
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn gives_equal_shares(lab: &Inside) {
    let (_gate, _shares, slots) = start(lab, &shared(BITS_PER_SEC));
    for (tool, interface) in [("tcp-get", "lan0"), ("tcp-put", "wan0")] {
        let flow = |phone: &crate::lab::Phone| phone.node.spawn(&[tool, WEB4, TCP, "1000000000"]);
        let mut children: Vec<Child> = (0..8).map(|_| flow(&lab.phone)).collect();
        children.push(flow(&lab.other));
        let [greedy, modest] = carried(interface, slots);
        end(children);
        let (sum, whole) = (greedy + modest, BITS_PER_SEC / 8 * 4);
        assert!(
            (45..=55).contains(&(modest * 100 / sum)),
            "{tool}: {greedy} and {modest}"
        );
        assert!(
            (whole * 80..=whole * 110).contains(&(sum * 100)),
            "{tool}: {sum} of {whole}"
        );
    }
}

fn leaves_the_rest_to_others(lab: &Inside) {
    let (gate, _shares, slots) = start(lab, &shared(BITS_PER_SEC));
    limit(
        &gate,
        slots[1],
        SessionLimits {
            down_bits_per_sec: Some(BITS_PER_SEC / 8),
            ..SessionLimits::default()
        },
    )
    .unwrap();
    let flow = |phone: &crate::lab::Phone| phone.node.spawn(&["tcp-get", WEB4, TCP, "1000000000"]);
    let children = vec![flow(&lab.phone), flow(&lab.other)];
    let [quick, slow] = carried("lan0", slots);
    end(children);
    let whole = BITS_PER_SEC / 8 * 4;
    assert!(slow * 100 <= whole * 20, "{slow} of {whole}");
    assert!(quick * 100 >= whole * 70, "{quick} of {whole}");
}

fn queue(interface: &str) -> String {
    let output = Command::new("tc")
        .args(["qdisc", "show", "dev", interface, "root"])
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

pub fn tc(arguments: &str) {
    assert!(
        Command::new("tc")
            .args(arguments.split(' '))
            .status()
            .unwrap()
            .success(),
        "{arguments}"
    );
}

fn keeps_the_queues(lab: &Inside) {
    let (_gate, mut shares, _) = start(lab, &shared(BITS_PER_SEC));
    assert!(!shares.keep(&shared(BITS_PER_SEC)).unwrap(), "nothing was left to do");
    assert!(queue("wan0").contains("htb 4b76:") && queue("lan0").contains("htb 4b76:"));

    assert!(shares.keep(&shared(2 * BITS_PER_SEC)).unwrap());
    let classes = Command::new("tc")
        .args(["class", "show", "dev", "lan0", "classid", "4b76:1"])
        .output();
    let classes = String::from_utf8(classes.unwrap().stdout).unwrap();
    assert!(classes.contains("rate 16Mbit"), "{classes}");
    let part = Command::new("tc")
        .args(["class", "show", "dev", "lan0", "classid", "4b76:80f"])
        .output();
    let part = String::from_utf8(part.unwrap().stdout).unwrap();
    // An 8192nd of it.
    assert!(part.contains("rate 1952bit"), "{part}");

    tc("qdisc del dev wan0 root");
    assert!(shares.keep(&shared(2 * BITS_PER_SEC)).unwrap(), "one went, and is back");
    assert!(queue("wan0").contains("htb 4b76:"));
    // As left by a process that was killed at it.
    tc("class del dev wan0 classid 4b76:80f");
    assert!(Shares::new().unwrap().keep(&shared(2 * BITS_PER_SEC)).unwrap());

    assert!(shares.keep(&layout()).unwrap());
    assert!(!queue("wan0").contains("htb") && !queue("lan0").contains("htb"));
    assert!(!shares.keep(&layout()).unwrap());
}

fn leaves_others_alone(_: &Inside) {
    tc("qdisc add dev wan0 root handle 1: tbf rate 1mbit burst 10kb latency 50ms");
    let before = queue("wan0");
    let refused = Shares::new().unwrap().keep(&shared(BITS_PER_SEC)).unwrap_err();
    assert!(matches!(&refused, FirewallError::QueueTaken { interface, kind } if interface == "wan0" && kind == "tbf"));
    assert!(refused.to_string().contains("tc qdisc del dev wan0 root"));
    assert_eq!(queue("wan0"), before);
    assert!(queue("lan0").contains("htb 4b76:"), "the other end is no worse for it");
    assert!(Shares::new().unwrap().keep(&layout()).unwrap());
    assert!(!queue("lan0").contains("htb"));
    assert_eq!(queue("wan0"), before);
}

fn comes_and_goes(lab: &Inside) {
    let (gate, _, slot) = lab.online();
    let mut shares = Shares::new().unwrap();
    for layout in [shared(1_000_000_000), layout(), shared(1_000_000_000)] {
        gate.reload(&layout).unwrap();
        assert!(shares.keep(&layout).unwrap());
        assert!(lab.phone.node.upload(WEB4, 20, 100) == 20, "{:?}", layout.uplink);
        assert!(lab.phone.node.download(WEB4, 20, 100) == 20, "{:?}", layout.uplink);
        assert_eq!(gate.adopt().unwrap()[0].slot, slot);
        Gate::verify(&layout).unwrap();
    }
}
