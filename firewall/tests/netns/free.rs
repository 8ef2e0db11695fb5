//! What each session moves free of charge: counted for it to the octet, beside what it is charged.

use std::process::Command;
use std::time::Duration;

use kavadam_domain::accounting::FreeOctets;
use kavadam_firewall::{Gate, Layout, Meter, Opening, Slot, View};

use crate::Case;
use crate::lab::{
    GARDEN4, GARDEN6, Inside, SOURCE, TCP, WEB4, WEB6, eventually, first_line, go_on, layout, octets4, octets6,
};

pub const CASES: &[Case] = &[
    (
        "counts_what_is_free_for_each_session_beside_what_it_is_charged",
        counts_for_each_session,
    ),
    ("leaves_no_free_meter_behind", leaves_no_meter_behind),
    (
        "adopts_what_was_free_and_begins_to_count_it_where_it_was_not_counted",
        adopts_and_begins,
    ),
    (
        "counts_for_the_session_that_a_device_has_now",
        counts_for_the_session_of_now,
    ),
    ("charges_what_is_free_no_longer", charges_what_is_free_no_longer),
    (
        "lets_what_flows_flow_on_when_it_is_free_no_longer",
        lets_what_flows_flow_on,
    ),
    ("ends_what_is_free_with_the_session", ends_what_is_free_with_the_session),
    (
        "ends_nobody_whose_free_meters_others_have_removed",
        ends_nobody_whose_meters_are_gone,
    ),
];

/// A question of `udp-ask` for so many datagrams of a thousand octets, both numbers of this length together.
const QUESTION: u32 = 7;

/// Nothing is free, and so nothing of it counted.
fn nothing_free() -> Layout {
    Layout {
        garden4: Vec::new(),
        garden6: Vec::new(),
        ..layout()
    }
}

fn meter(gate: &Gate, slot: Slot) -> Meter {
    gate.read(&[slot]).unwrap()[0].1
}

fn free_of(gate: &Gate, slot: Slot) -> FreeOctets {
    meter(gate, slot).free.expect("it is counted")
}

/// Elements of both sets, of whatever sessions.
fn meters_there() -> usize {
    let list = |set| {
        let listed = Command::new("nft")
            .args(["list", "set", "inet", "kavadam", set])
            .output();
        String::from_utf8(listed.unwrap().stdout).unwrap()
    };
    ["cnt_free_up", "cnt_free_down"]
        .iter()
        .map(|set| list(set).matches("counter packets").count())
        .sum()
}

fn counts_for_each_session(lab: &Inside) {
    let layout = Layout {
        free6: vec![WEB6.parse().unwrap()],
        ..nothing_free()
    };
    let gate = Gate::load(&layout).unwrap();
    gate.open_name(Opening::Free, GARDEN4.parse().unwrap(), Duration::from_mins(1))
        .unwrap();
    let pool = gate.create_pool(Some(50_000)).unwrap();
    let mine = gate.open(&lab.phone.session(pool)).unwrap();
    let others = gate.open(&lab.other.session(pool)).unwrap();
    assert_eq!(free_of(&gate, mine), FreeOctets::default());

    let (phone, other) = (&lab.phone.node, &lab.other.node);
    // Far more than the quota, in both directions and families.
    assert_eq!(phone.upload(GARDEN4, 200, 1000), 200);
    assert_eq!(phone.upload(WEB6, 100, 1000), 100);
    assert!(phone.succeeds(&["ping", "-c15", "-i0.01", "-s1000", GARDEN4]));
    assert_eq!(phone.download(WEB6, 70, 1000), 70);
    assert_eq!(other.download(WEB6, 50, 1000), 50);
    // And what is charged, in between.
    assert_eq!(phone.upload(WEB4, 10, 1000), 10);
    assert_eq!(phone.download(WEB4, 20, 1000), 20);

    let moved = FreeOctets {
        up: octets4(200 + 15, 1000) + octets6(100, 1000) + octets6(1, QUESTION),
        down: octets4(15, 1000) + octets6(70, 1000),
    };
    let charged = Meter {
        up_octets: octets4(10, 1000) + octets4(1, QUESTION),
        up_packets: 11,
        down_octets: octets4(20, 1000),
        down_packets: 20,
        free: Some(moved),
    };
    assert_eq!(meter(&gate, mine), charged);
    let others_moved = FreeOctets {
        up: octets6(1, QUESTION),
        down: octets6(50, 1000),
    };
    assert_eq!(
        meter(&gate, others),
        Meter {
            free: Some(others_moved),
            ..Meter::default()
        }
    );
    assert_eq!(gate.pool_used(pool).unwrap(), charged.total_octets(), "the quota");
    let uncharged = View::open(&layout).unwrap().uncharged().unwrap();
    assert_eq!(uncharged.up_octets, moved.up + others_moved.up, "the gate as a whole");
    assert_eq!(uncharged.down_octets, moved.down + others_moved.down);
    // A connection of many packets in both directions.
    assert_eq!(phone.run(&["tcp-get", WEB6, TCP, "300000"]), "300000");
    let down = free_of(&gate, mine).down - moved.down;
    assert!((300_000..330_000).contains(&down), "{down}");
    assert_eq!(meter(&gate, mine).total_octets(), charged.total_octets());
    // The quota is as exact as ever: what is left of it and no more.
    let left = 50_000 - charged.total_octets();
    let more = u32::try_from(left / octets4(1, 1000)).unwrap();
    assert_eq!(phone.upload(WEB4, 40, 1000), more);
    assert_eq!(
        phone.download(WEB6, 10, 1000),
        10,
        "what is free flows on when it is used up"
    );
}

fn leaves_no_meter_behind(lab: &Inside) {
    let gate = lab.gate();
    gate.admit_lease(lab.phone.mac(), lab.phone.ipv4(), None).unwrap();
    let pool = gate.create_pool(None).unwrap();
    let slots = [&lab.phone, &lab.other].map(|phone| gate.open(&phone.session(pool)).unwrap());
    assert_eq!(meters_there(), 4);
    let mut held = lab.phone.node.spawn(&["tcp-hold", GARDEN4, TCP]);
    assert_eq!(first_line(&mut held), "ready");
    let before = free_of(&gate, slots[0]);
    assert!(before.up > 0 && before.down > 0);
    let told = gate.close(slots[0]).unwrap().free.unwrap();
    assert!(
        told.up >= before.up && told.down >= before.down,
        "{told:?} after {before:?}"
    );
    // The garden is open to strangers: the connection goes on, still marked as the session's.
    assert_eq!(go_on(held), "alive");
    assert_eq!(lab.phone.node.upload(GARDEN4, 5, 1000), 5);
    assert_eq!(meters_there(), 2, "nothing comes back with it");
    gate.close(slots[1]).unwrap();
    assert_eq!(meters_there(), 0);
}

fn adopts_and_begins(lab: &Inside) {
    // As a version that did not count it leaves its table.
    let gate = Gate::load(&nothing_free()).unwrap();
    let pool = gate.create_pool(None).unwrap();
    let slot = gate.open(&lab.phone.session(pool)).unwrap();
    assert_eq!(lab.phone.node.upload(GARDEN4, 3, 1000), 3);
    assert_eq!(meter(&gate, slot).free, None);
    assert_eq!(gate.adopt().unwrap()[0].meter.free, None);
    drop(gate);

    let gate = lab.gate();
    assert_eq!(free_of(&gate, slot), FreeOctets::default());
    assert_eq!(lab.phone.node.upload(GARDEN4, 7, 1000), 7);
    drop(gate);
    assert_eq!(lab.phone.node.upload(GARDEN4, 4, 1000), 4, "it flows on");
    let gate = lab.gate();
    let adopted = &gate.adopt().unwrap()[0];
    let up = octets4(11, 1000);
    assert_eq!(adopted.meter.free, Some(FreeOctets { up, down: 0 }));
    assert_eq!(adopted.meter.up_octets, octets4(3, 1000));

    // Nothing is free any more, and what was is still told.
    gate.reload(&nothing_free()).unwrap();
    assert_eq!(lab.phone.node.upload(GARDEN4, 2, 1000), 2);
    let other = gate.open(&lab.other.session(pool)).unwrap();
    assert_eq!(meter(&gate, other).free, None);
    assert_eq!(meter(&gate, slot).up_octets, octets4(5, 1000));
    assert_eq!(free_of(&gate, slot).up, up);
    // And is again, for both.
    gate.reload(&layout()).unwrap();
    assert_eq!(lab.phone.node.upload(GARDEN4, 1, 1000), 1);
    assert_eq!(lab.other.node.upload(GARDEN4, 6, 1000), 6);
    assert_eq!(gate.close(slot).unwrap().free.unwrap().up, up + octets4(1, 1000));
    assert_eq!(gate.close(other).unwrap().free.unwrap().up, octets4(6, 1000));
    assert_eq!(meters_there(), 0);
}

fn counts_for_the_session_of_now(lab: &Inside) {
    let gate = lab.gate();
    gate.admit_lease(lab.phone.mac(), lab.phone.ipv4(), None).unwrap();
    let pool = gate.create_pool(None).unwrap();
    let hold = || {
        let mut held = lab.phone.node.spawn(&["tcp-hold", GARDEN6, TCP]);
        assert_eq!(first_line(&mut held), "ready");
        held
    };
    // One of a stranger's, one of a session's.
    let strangers = hold();
    let first = gate.open(&lab.phone.session(pool)).unwrap();
    let sessions = hold();
    gate.close(first).unwrap();
    let pool = gate.create_pool(None).unwrap();
    let second = gate.open(&lab.phone.session(pool)).unwrap();
    assert_eq!(go_on(strangers), "alive");
    let after_one = free_of(&gate, second);
    assert!(after_one.up > 0 && after_one.down > 0, "{after_one:?}");
    assert_eq!(go_on(sessions), "alive");
    let after_both = free_of(&gate, second);
    assert!(after_both.up > after_one.up && after_both.down > after_one.down);
    assert_eq!(meter(&gate, second).total_octets(), 0, "all of it free");
}

fn charges_what_is_free_no_longer(lab: &Inside) {
    let gate = Gate::load(&Layout {
        free6: vec![GARDEN6.parse().unwrap()],
        ..nothing_free()
    })
    .unwrap();
    let pool = gate.create_pool(None).unwrap();
    let slot = gate.open(&lab.phone.session(pool)).unwrap();
    gate.open_name(Opening::Free, WEB4.parse().unwrap(), Duration::from_millis(1_500))
        .unwrap();
    // One connection, of packets of 84 octets, from before to after.
    let ping = ["ping", "-c15", "-i0.2", "-W1", WEB4];
    assert!(lab.phone.node.succeeds(&ping));
    let (meter, free) = (meter(&gate, slot), free_of(&gate, slot));
    assert!(free.up > 0 && free.down > 0, "{free:?}");
    assert!(meter.up_octets > 0 && meter.down_octets > 0, "{meter:?}");
    assert_eq!(free.up + meter.up_octets, 15 * 84);
    assert_eq!(free.down + meter.down_octets, 15 * 84);
}

/// These addresses are free, and nothing else.
fn free4(addresses: &[&str]) -> Layout {
    Layout {
        free4: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        ..nothing_free()
    }
}

fn lets_what_flows_flow_on(lab: &Inside) {
    let gate = Gate::load(&free4(&[WEB4])).unwrap();
    let pool = gate.create_pool(None).unwrap();
    let slot = gate.open(&lab.phone.session(pool)).unwrap();
    let down = || {
        let meter = meter(&gate, slot);
        (meter.free.unwrap().down, meter.down_octets)
    };
    for after in [nothing_free(), free4(&[GARDEN4])] {
        gate.reload(&free4(&[WEB4, GARDEN4])).unwrap();
        let before = down();
        // The device says nothing more, by which its connection could be known anew.
        let asking = lab.phone.node.spawn(&["udp-ask", WEB4, SOURCE, "20000 100"]);
        eventually("it flows", || down().0 > before.0);
        gate.reload(&after).unwrap();
        asking.wait_with_output().unwrap();
        let (free, charged) = down();
        assert!(charged > before.1, "what came after is charged");
        let all = (free - before.0) + (charged - before.1);
        assert_eq!(all, octets4(20_000, 100), "and nothing was lost");
    }
}

fn ends_what_is_free_with_the_session(lab: &Inside) {
    let layout = free4(&[WEB4]);
    let gate = Gate::load(&layout).unwrap();
    let slot = gate.open(&lab.phone.session(gate.create_pool(None).unwrap())).unwrap();
    let passed = || View::open(&layout).unwrap().uncharged().unwrap().down_octets;
    let asking = lab.phone.node.spawn(&["udp-ask", WEB4, SOURCE, "20000 100"]);
    eventually("it flows", || passed() > 0);
    gate.close(slot).unwrap();
    let until_then = passed();
    assert!(until_then < octets4(20_000, 100));
    asking.wait_with_output().unwrap();
    assert_eq!(passed(), until_then);
}

fn ends_nobody_whose_meters_are_gone(lab: &Inside) {
    let (gate, _, slot) = lab.online_shared();
    assert_eq!(lab.phone.node.upload(GARDEN4, 3, 1000), 3);
    for set in ["cnt_free_up", "cnt_free_down"] {
        let flush = Command::new("nft")
            .args(["flush", "set", "inet", "kavadam", set])
            .status();
        assert!(flush.unwrap().success());
        gate.suspect();
        let restored = gate.restore(&layout()).unwrap().expect("something to mend");
        assert_eq!(restored.lost, []);
        assert_eq!(
            restored.differences,
            [format!("what {slot} has moved free of charge was gone")]
        );
        assert_eq!(lab.phone.node.upload(GARDEN4, 4, 1000), 4);
    }
    let up = octets4(8, 1000);
    assert_eq!(free_of(&gate, slot), FreeOctets { up, down: 0 }, "counted from then on");
    gate.suspect();
    assert_eq!(gate.restore(&layout()).unwrap(), None);
    gate.close(slot).unwrap();
    assert_eq!(meters_there(), 0);
}
