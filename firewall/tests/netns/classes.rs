//! Shaping classes: what those of some plans get together of a full line.

use std::process::Child;
use std::time::Duration;

use kavadam_domain::ClassName;
use kavadam_firewall::{Gate, Layout, OpenSession, Portion, SessionLimits, ShapingClass, Shares, Slot, Trace, View};

use crate::Case;
use crate::lab::{Inside, Phone, TCP, WEB4, first_line, go_on, layout, limit};
use crate::nft::nft;
use crate::shares::{BITS_PER_SEC, end, queue_of, queued, shared, tc};

pub const CASES: &[Case] = &[
    ("keeps_for_a_class_what_it_is_guaranteed", keeps_a_guarantee),
    (
        "leaves_to_others_what_a_class_does_not_want_of_its_guarantee",
        leaves_the_rest,
    ),
    (
        "keeps_a_class_below_its_ceiling_though_nobody_else_is_there",
        keeps_a_ceiling,
    ),
    ("shares_equally_within_a_class", shares_within),
    ("changes_a_class_in_place_and_knows_it_again", changes_in_place),
    (
        "lets_in_whose_class_is_missing_and_moves_them_when_it_comes_and_goes",
        follows_the_configuration,
    ),
    ("puts_a_session_back_into_its_class", mends),
    (
        "leaves_nothing_of_a_class_behind_that_would_take_room",
        leaves_nothing_behind,
    ),
];

fn of(least_percent: u64, most_percent: Option<u64>) -> ShapingClass {
    let portion = Portion {
        at_least_bits_per_sec: BITS_PER_SEC / 100 * least_percent,
        at_most_bits_per_sec: most_percent.map(|percent| BITS_PER_SEC / 100 * percent),
    };
    ShapingClass {
        up: portion,
        down: portion,
    }
}

fn with(classes: &[(&str, ShapingClass)]) -> Layout {
    let named = classes.iter().map(|(name, class)| (name.parse().unwrap(), *class));
    Layout {
        classes: named.collect(),
        ..shared(BITS_PER_SEC)
    }
}

fn name(name: &str) -> Option<ClassName> {
    name.parse().ok()
}

/// The first phone and the other, each in its class.
fn start(layout: &Layout, phones: [(&Phone, Option<ClassName>); 2]) -> (Gate, Shares, [Slot; 2]) {
    let gate = Gate::load(layout).unwrap();
    let mut shares = Shares::new().unwrap();
    assert!(shares.keep(layout).unwrap());
    let open = |(phone, class): (&Phone, Option<ClassName>)| {
        let session = OpenSession {
            class,
            ..phone.session(gate.create_pool(None).unwrap())
        };
        gate.open(&session).unwrap()
    };
    let slots = phones.map(open);
    (gate, shares, slots)
}

/// Octets that the sessions' queues let through in some seconds after the start, in which buckets and windows fill.
fn carried<const N: usize>(interface: &str, layout: &Layout, slots: [Slot; N]) -> [u64; N] {
    let queues = slots.map(|slot| queue(layout, slot));
    std::thread::sleep(Duration::from_secs(2));
    let before = queues.each_ref().map(|queue| queued(interface, queue));
    std::thread::sleep(Duration::from_secs(4));
    let after = queues.each_ref().map(|queue| queued(interface, queue));
    std::array::from_fn(|at| after[at] - before[at])
}

/// Where a session waits, as the kernel has it.
fn queue(layout: &Layout, slot: Slot) -> String {
    let sessions = View::open(layout).unwrap().sessions().unwrap();
    let seen = sessions.into_iter().find(|one| one.session.slot == slot).unwrap();
    seen.queue.unwrap_or_else(|| queue_of(slot))
}

/// The number of the class that has it; 0: those without.
fn class_of(queue: &str) -> u32 {
    let number = u32::from_str_radix(queue.strip_prefix("4b76:").unwrap(), 16).unwrap();
    number.checked_sub(0x810).map_or(0, |number| number / 512 + 1)
}

fn flows(phone: &Phone, tool: &str, count: u32) -> Vec<Child> {
    (0..count)
        .map(|_| phone.node.spawn(&[tool, WEB4, TCP, "1000000000"]))
        .collect()
}

/// What the line carries in that time.
const WHOLE: u64 = BITS_PER_SEC / 8 * 4;
const WAYS: [(&str, &str); 2] = [("tcp-get", "lan0"), ("tcp-put", "wan0")];

fn keeps_a_guarantee(lab: &Inside) {
    let layout = with(&[("free", of(0, None)), ("staff", of(70, None))]);
    let phones = [(&lab.phone, name("free")), (&lab.other, name("staff"))];
    let (_gate, _shares, [free, staff]) = start(&layout, phones);
    for (tool, interface) in WAYS {
        let mut children = flows(&lab.phone, tool, 8);
        // More than one, or a lost packet would leave its queue empty for a moment.
        children.extend(flows(&lab.other, tool, 4));
        let [free, staff] = carried(interface, &layout, [free, staff]);
        end(children);
        let sum = free + staff;
        // What is left is shared by both.
        assert!(staff * 100 >= sum * 70, "{tool}: {staff} of {sum}");
        assert!(free * 100 >= sum * 5, "{tool}: {free} of {sum}");
        assert!((WHOLE * 80..=WHOLE * 110).contains(&(sum * 100)), "{tool}: {sum}");
    }
}

fn leaves_the_rest(lab: &Inside) {
    let layout = with(&[("staff", of(90, None))]);
    let (gate, _shares, [plain, staff]) = start(&layout, [(&lab.phone, None), (&lab.other, name("staff"))]);
    limit(
        &gate,
        staff,
        SessionLimits {
            up_bits_per_sec: Some(BITS_PER_SEC / 8),
            down_bits_per_sec: Some(BITS_PER_SEC / 8),
            ..SessionLimits::default()
        },
    )
    .unwrap();
    for (tool, interface) in WAYS {
        let mut children = flows(&lab.phone, tool, 1);
        children.extend(flows(&lab.other, tool, 1));
        let [quick, slow] = carried(interface, &layout, [plain, staff]);
        end(children);
        assert!(slow * 100 <= WHOLE * 20, "{tool}: {slow} of {WHOLE}");
        assert!(quick * 100 >= WHOLE * 70, "{tool}: {quick} of {WHOLE}");
    }
}

fn keeps_a_ceiling(lab: &Inside) {
    let layout = with(&[("free", of(0, Some(25)))]);
    let (_gate, _shares, [free, _]) = start(&layout, [(&lab.phone, name("free")), (&lab.other, None)]);
    for (tool, interface) in WAYS {
        let children = flows(&lab.phone, tool, 4);
        let [carried] = carried(interface, &layout, [free]);
        end(children);
        assert!(
            (WHOLE * 18..=WHOLE * 30).contains(&(carried * 100)),
            "{tool}: {carried} of {WHOLE}"
        );
    }
}

fn shares_within(lab: &Inside) {
    let layout = with(&[("free", of(10, Some(50)))]);
    let (_gate, _shares, slots) = start(&layout, [(&lab.phone, name("free")), (&lab.other, name("free"))]);
    for (tool, interface) in WAYS {
        let mut children = flows(&lab.phone, tool, 8);
        children.extend(flows(&lab.other, tool, 1));
        let [greedy, modest] = carried(interface, &layout, slots);
        end(children);
        let sum = greedy + modest;
        assert!(
            (40..=60).contains(&(modest * 100 / sum)),
            "{tool}: {greedy} and {modest}"
        );
        assert!(
            (WHOLE * 40..=WHOLE * 58).contains(&(sum * 100)),
            "{tool}: {sum} of {WHOLE}"
        );
    }
}

/// What the first phone sends and gets is in a queue of this class, by its number.
fn assert_waits_in(lab: &Inside, layout: &Layout, class: u32, slot: Slot, when: &str) {
    let queue = queue(layout, slot);
    assert_eq!(class_of(&queue), class, "{when}: {queue}");
    for interface in ["wan0", "lan0"] {
        let before = queued(interface, &queue);
        let passed = if interface == "wan0" {
            lab.phone.node.upload(WEB4, 20, 100)
        } else {
            lab.phone.node.download(WEB4, 20, 100)
        };
        assert_eq!(passed, 20, "{when}: {interface}");
        let more = queued(interface, &queue) - before;
        assert!(more >= 2_000, "{when}: {interface}: {more} octets in {queue}");
    }
}

fn changes_in_place(lab: &Inside) {
    let layout = with(&[("free", of(0, Some(50))), ("staff", of(50, None))]);
    let (gate, _shares, [slot, _]) = start(&layout, [(&lab.phone, None), (&lab.other, None)]);
    assert_waits_in(lab, &layout, 0, slot, "without a class");
    let mut held = lab.phone.node.spawn(&["tcp-hold", WEB4, TCP]);
    assert_eq!(first_line(&mut held), "ready");
    limit(
        &gate,
        slot,
        SessionLimits {
            class: name("staff"),
            ..SessionLimits::default()
        },
    )
    .unwrap();
    assert_waits_in(lab, &layout, 2, slot, "given one");
    limit(
        &gate,
        slot,
        SessionLimits {
            up_bits_per_sec: Some(80_000_000),
            class: name("staff"),
            ..SessionLimits::default()
        },
    )
    .unwrap();
    gate.set_ipv4(slot, None).unwrap();
    gate.set_ipv4(slot, Some(lab.phone.ipv4())).unwrap();
    limit(
        &gate,
        slot,
        SessionLimits {
            class: name("free"),
            ..SessionLimits::default()
        },
    )
    .unwrap();
    assert_waits_in(lab, &layout, 1, slot, "given another, and other limits");
    drop(gate);
    assert_waits_in(lab, &layout, 1, slot, "while nobody is there");
    let gate = Gate::load(&layout).unwrap();
    let adopted = gate.adopt().unwrap();
    assert_eq!((adopted[0].slot, adopted[0].class), (slot, name("free")));
    assert_eq!(adopted[1].class, None);
    assert_waits_in(lab, &layout, 1, slot, "after a restart");
    limit(&gate, slot, SessionLimits::default()).unwrap();
    assert_waits_in(lab, &layout, 0, slot, "taken from it");
    assert_eq!(gate.adopt().unwrap()[0].class, None);
    assert_eq!(go_on(held), "alive", "its connection has gone on");
    Gate::verify(&layout).unwrap();
}

fn facts(layout: &Layout, lab: &Inside) -> String {
    let device = View::open(layout).unwrap().device(lab.phone.mac()).unwrap();
    let steps = Trace::of(&device, true).steps;
    steps.into_iter().map(|step| step.fact).collect::<Vec<_>>().join("\n")
}

fn count_of_queues(interface: &str) -> usize {
    let shown = std::process::Command::new("tc")
        .args(["class", "show", "dev", interface])
        .output();
    String::from_utf8(shown.unwrap().stdout).unwrap().lines().count()
}

fn follows_the_configuration(lab: &Inside) {
    let none = shared(BITS_PER_SEC);
    let (gate, mut shares, [slot, _]) = start(&none, [(&lab.phone, name("free")), (&lab.other, None)]);
    assert!(!gate.has_class(name("free").unwrap()));
    assert_waits_in(lab, &none, 0, slot, "its class is missing");
    assert!(facts(&none, lab).contains("its class free is not among this gate's"));
    let plain = count_of_queues("wan0");

    let one = with(&[("free", of(0, Some(50)))]);
    gate.reload(&one).unwrap();
    assert!(shares.keep(&one).unwrap() && !shares.keep(&one).unwrap());
    assert_waits_in(lab, &one, 1, slot, "its class has come");
    assert!(facts(&one, lab).contains("of the class free"));
    assert_eq!(count_of_queues("wan0"), plain + 513);

    // One that comes before it in the alphabet takes its number.
    let two = with(&[("a-first", of(20, None)), ("free", of(0, Some(50)))]);
    gate.reload(&two).unwrap();
    assert!(shares.keep(&two).unwrap() && !shares.keep(&two).unwrap());
    assert_waits_in(lab, &two, 2, slot, "it has another number");
    // Another speed, and a process that was killed while it made the queues.
    let slower = with(&[("a-first", of(30, None)), ("free", of(0, Some(40)))]);
    gate.reload(&slower).unwrap();
    tc("class del dev wan0 classid 4b76:c0f");
    assert!(shares.keep(&slower).unwrap() && !shares.keep(&slower).unwrap());
    let shown = std::process::Command::new("tc")
        .args(["class", "show", "dev", "lan0", "classid", "4b76:4"])
        .output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    assert!(shown.contains("ceil 3200Kbit"), "{shown}");
    assert_waits_in(lab, &slower, 2, slot, "other speeds");
    assert_eq!(count_of_queues("lan0"), plain + 2 * 513);
    Gate::verify(&slower).unwrap();

    // By a process that knows nothing of what there was.
    let mut again = Shares::new().unwrap();
    gate.reload(&none).unwrap();
    assert!(again.keep(&none).unwrap() && !again.keep(&none).unwrap());
    assert_waits_in(lab, &none, 0, slot, "its class has gone");
    assert_eq!((count_of_queues("wan0"), count_of_queues("lan0")), (plain, plain));
    assert_eq!(
        gate.adopt().unwrap()[0].class,
        name("free"),
        "what it was given is remembered"
    );
    gate.reload(&layout()).unwrap();
    assert!(again.keep(&layout()).unwrap());
    assert_eq!(count_of_queues("wan0"), 0);
    assert_eq!(lab.phone.node.upload(WEB4, 20, 100), 20);
    gate.close(slot).unwrap();
}

fn mends(lab: &Inside) {
    nft("add table inet kavadam");
    let layout = with(&[("free", of(0, None)), ("staff", of(0, None))]);
    let (gate, _shares, [slot, _]) = start(&layout, [(&lab.phone, name("free")), (&lab.other, None)]);
    assert!(!gate.is_owned());
    let mut told = Vec::new();
    for damage in [
        "flush map inet kavadam classed".to_owned(),
        format!("add element inet kavadam classed {{ {} : 4b76:a10 }}", slot.0),
    ] {
        if damage.starts_with("add") {
            nft("flush map inet kavadam classed");
        }
        nft(&damage);
        gate.suspect();
        let restored = gate.restore(&layout).unwrap().unwrap();
        told.push(restored.differences.join("; "));
        assert!(restored.lost.is_empty());
        assert_waits_in(lab, &layout, 1, slot, &damage);
    }
    assert!(told.iter().all(|told| told.contains("classed")), "{told:?}");
    // Everything is taken away, the sessions too.
    nft("flush ruleset");
    assert!(gate.restore(&layout).unwrap().unwrap().lost.contains(&slot));
    let session = OpenSession {
        class: name("staff"),
        ..lab.phone.session(gate.create_pool(None).unwrap())
    };
    let slot = gate.open(&session).unwrap();
    assert_waits_in(lab, &layout, 2, slot, "in a new table");
}

fn elements() -> usize {
    let output = std::process::Command::new("nft")
        .args(["list", "map", "inet", "kavadam", "classed"])
        .output();
    String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .matches(" : ")
        .count()
        - 1
}

fn leaves_nothing_behind(lab: &Inside) {
    let layout = with(&[("free", of(0, None))]);
    let (gate, _shares, slots) = start(&layout, [(&lab.phone, name("free")), (&lab.other, name("free"))]);
    assert_eq!(elements(), 2);
    gate.close(slots[0]).unwrap();
    assert_eq!(elements(), 1);
    drop(gate);
    // The other ends while the gate has no classes.
    let without = shared(BITS_PER_SEC);
    let gate = Gate::load(&without).unwrap();
    assert_eq!(gate.adopt().unwrap()[0].class, name("free"));
    gate.close(slots[1]).unwrap();
    drop(gate);
    let gate = Gate::load(&layout).unwrap();
    assert_eq!(elements(), 0);
    let session = OpenSession {
        class: name("free"),
        ..lab.phone.session(gate.create_pool(None).unwrap())
    };
    let slot = gate.open(&session).unwrap();
    limit(&gate, slot, SessionLimits::default()).unwrap();
    assert_eq!(elements(), 0);
    limit(
        &gate,
        slot,
        SessionLimits {
            class: name("free"),
            ..SessionLimits::default()
        },
    )
    .unwrap();
    gate.reload(&without).unwrap();
    assert_eq!(elements(), 0, "at once, where it was known");
    gate.reload(&layout).unwrap();
    assert_waits_in(lab, &layout, 1, slot, "its class has returned");
    drop(gate);
    // Known to no session of the next one.
    let gate = Gate::load(&without).unwrap();
    gate.reload(&layout).unwrap();
    assert_eq!(elements(), 1);
    assert_waits_in(lab, &layout, 1, slot, "it has returned to the next gateway");
}
