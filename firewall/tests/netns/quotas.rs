//! Quotas: exact to the octet, whatever flows.

use std::time::Duration;

use kavadam_firewall::{DeviceState, Gate, GateEvent, OpenSession, PoolKey, Trace, View};

use crate::Case;
use crate::lab::{Inside, TCP, WEB4, WEB6, layout, octets4};

pub const CASES: &[Case] = &[
    (
        "is_seen_to_be_used_up_though_a_packet_did_not_fit",
        is_seen_to_be_used_up,
    ),
    (
        "closes_at_the_octet_for_both_directions_and_families_together",
        closes_at_the_octet,
    ),
    (
        "never_lets_more_than_the_quota_through_at_line_rate",
        never_more_at_line_rate,
    ),
    ("announces_a_used_up_quota_once", announces_a_used_up_quota_once),
    ("tops_up_exactly_however_much_was_refused", tops_up_exactly),
    (
        "raises_the_limit_under_full_load_without_a_slip",
        raises_under_full_load,
    ),
    ("lowers_a_limit_below_the_use", lowers_a_limit_below_the_use),
    (
        "shares_one_quota_between_two_devices",
        shares_one_quota_between_two_devices,
    ),
];

/// With the headers, a thousand octets on the wire.
const THOUSAND4: u32 = 972;
const THOUSAND6: u32 = 952;

fn limited(lab: &Inside, limit_octets: u64) -> (Gate, PoolKey) {
    let gate = lab.gate();
    let pool = gate.create_pool(Some(limit_octets)).unwrap();
    gate.open(&lab.phone.session(pool)).unwrap();
    (gate, pool)
}

fn closes_at_the_octet(lab: &Inside) {
    let (gate, pool) = limited(lab, 100_000);
    let phone = &lab.phone.node;
    assert_eq!(phone.upload(WEB4, 30, THOUSAND4), 30);
    assert_eq!(phone.download(WEB4, 30, THOUSAND4), 30);
    let question = octets4(1, 6);
    assert_eq!(gate.pool_used(pool).unwrap(), 60_000 + question);
    assert_eq!(
        phone.upload(WEB6, 100, THOUSAND6),
        39,
        "the packet that would cross the limit is refused"
    );
    assert_eq!(gate.pool_used(pool).unwrap(), 99_000 + question);
    assert_eq!(
        phone.download(WEB4, 5, 10),
        0,
        "used up is used up, for small packets too"
    );
    assert_eq!(phone.upload(WEB4, 5, 10), 0);
    assert_eq!(
        gate.pool_used(pool).unwrap(),
        99_000 + question,
        "refused packets are not counted"
    );
}

fn never_more_at_line_rate(lab: &Inside) {
    const LIMIT: u64 = 20_000_000;
    // One merged packet.
    const LARGEST: u64 = 65_536;
    for tool in ["tcp-get", "tcp-put"] {
        let (gate, pool) = limited(lab, LIMIT);
        lab.phone.node.run(&[tool, WEB4, TCP, "100000000"]);
        let used = gate.pool_used(pool).unwrap();
        assert!(used <= LIMIT && used > LIMIT - LARGEST, "{tool}: {used} of {LIMIT}");
        for session in gate.adopt().unwrap() {
            assert_eq!(gate.close(session.slot).unwrap().total_octets(), used);
        }
    }
}

/// The next event within two seconds, but for the loading of the rules.
async fn next(events: &mut kavadam_firewall::Events) -> Option<GateEvent> {
    let news = async {
        loop {
            match events.next().await.unwrap() {
                GateEvent::Changed => {}
                other => return other,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(2), news).await.ok()
}

fn announces_a_used_up_quota_once(lab: &Inside) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut events = Gate::events(&layout()).unwrap();
        let (gate, pool) = limited(lab, 10_500);
        let other = gate.create_pool(None).unwrap();
        gate.open(&lab.other.session(other)).unwrap();
        assert_eq!(gate.pools_used_up().unwrap(), []);
        lab.phone.node.upload(WEB4, 20, THOUSAND4);
        assert_eq!(next(&mut events).await, Some(GateEvent::PoolUsedUp(pool)));
        assert_eq!(gate.pools_used_up().unwrap(), [pool]);
        lab.phone.node.upload(WEB4, 20, THOUSAND4);
        assert_eq!(next(&mut events).await, None, "once, however much is refused");
        gate.set_pool_limit(pool, Some(20_500)).unwrap();
        assert_eq!(gate.pools_used_up().unwrap(), []);
        lab.phone.node.upload(WEB4, 20, THOUSAND4);
        assert_eq!(
            next(&mut events).await,
            Some(GateEvent::PoolUsedUp(pool)),
            "again after a top-up"
        );
        assert_eq!(next(&mut events).await, None);
    });
}

fn tops_up_exactly(lab: &Inside) {
    let (gate, pool) = limited(lab, 10_500);
    for round in 1..=3 {
        assert_eq!(lab.phone.node.upload(WEB4, 50, THOUSAND4), 10, "round {round}");
        assert_eq!(gate.pool_used(pool).unwrap(), round * 10_000);
        gate.set_pool_limit(pool, Some(round * 10_000 + 10_500)).unwrap();
    }
    assert_eq!(lab.phone.node.upload(WEB4, 5, THOUSAND4), 5);
    gate.set_pool_limit(pool, Some(50_500)).expect("before it is used up");
    assert_eq!(lab.phone.node.upload(WEB4, 50, THOUSAND4), 15);
    gate.set_pool_limit(pool, None).unwrap();
    assert_eq!(lab.phone.node.upload(WEB4, 100, THOUSAND4), 100);
    assert_eq!(gate.pool_used(pool).unwrap(), 150_000);
}

fn raises_under_full_load(lab: &Inside) {
    const STEP: u64 = 400_000;
    const TOP: u64 = 60_000_000;
    let (gate, pool) = limited(lab, STEP);
    let mut limit = STEP;
    let mut download = lab.phone.node.spawn(&["tcp-get", WEB4, TCP, "1000000000"]);
    while limit < TOP {
        let used = gate.pool_used(pool).unwrap();
        assert!(used <= limit, "{used} of {limit}");
        // Now and then too late, so that both ways to raise are taken.
        if used + STEP / 4 > limit {
            limit += STEP;
            gate.set_pool_limit(pool, Some(limit)).unwrap();
        }
    }
    download.wait().unwrap();
    let used = gate.pool_used(pool).unwrap();
    assert!(used <= limit && used > limit - 65_536, "{used} of {limit}");
}

fn lowers_a_limit_below_the_use(lab: &Inside) {
    let (gate, pool) = limited(lab, 100_000);
    assert_eq!(lab.phone.node.upload(WEB4, 20, THOUSAND4), 20);
    gate.set_pool_limit(pool, Some(10_000)).unwrap();
    assert_eq!(lab.phone.node.upload(WEB4, 20, THOUSAND4), 0);
    gate.set_pool_limit(pool, Some(30_500)).unwrap();
    assert_eq!(lab.phone.node.upload(WEB4, 20, THOUSAND4), 10);
    assert_eq!(gate.pool_used(pool).unwrap(), 30_000);
}

fn is_seen_to_be_used_up(lab: &Inside) {
    let gate = lab.gate();
    let pool = gate.create_pool(Some(10_500)).unwrap();
    gate.open(&lab.phone.session(pool)).unwrap();
    let mut view = View::open(&layout()).unwrap();
    let mut state = || Trace::of(&view.device(lab.phone.mac()).unwrap(), true).state;
    assert_eq!(lab.phone.node.upload(WEB4, 9, THOUSAND4), 9);
    assert_eq!(state(), DeviceState::Online);
    assert_eq!(lab.phone.node.upload(WEB4, 5, THOUSAND4), 1);
    assert_eq!(gate.pool_used(pool).unwrap(), 10_000, "below the limit all the same");
    assert_eq!(state(), DeviceState::UsedUp);
    gate.set_pool_limit(pool, Some(20_500)).unwrap();
    assert_eq!(state(), DeviceState::Online, "after a top-up");
}

fn shares_one_quota_between_two_devices(lab: &Inside) {
    let gate = lab.gate();
    let pool = gate.create_pool(Some(30_500)).unwrap();
    let first = gate
        .open(&OpenSession {
            label: b"first".to_vec(),
            ..lab.phone.session(pool)
        })
        .unwrap();
    let second = gate.open(&lab.other.session(pool)).unwrap();
    assert_eq!(lab.phone.node.upload(WEB4, 10, THOUSAND4), 10);
    assert_eq!(lab.other.node.upload(WEB6, 10, THOUSAND6), 10);
    assert_eq!(gate.close(first).unwrap().up_octets, 10_000);
    assert_eq!(gate.pool_used(pool).unwrap(), 20_000, "who has left stays charged");
    assert_eq!(
        lab.other.node.upload(WEB6, 50, THOUSAND6),
        10,
        "the rest is the other's"
    );
    gate.set_pool_limit(pool, Some(35_500)).unwrap();
    assert_eq!(lab.other.node.upload(WEB4, 50, THOUSAND4), 5);

    drop(gate);
    let gate = lab.gate();
    let adopted = gate.adopt().unwrap();
    assert_eq!(adopted.len(), 1);
    assert_eq!(
        adopted[0].pool_used_octets, 35_000,
        "a new process knows what past sessions used"
    );
    assert_eq!(adopted[0].pool_limit_octets, Some(35_500));
    assert_eq!(gate.close(second).unwrap().up_octets, 25_000);
    let gone = gate.pool_used(pool);
    assert!(
        matches!(gone, Err(kavadam_firewall::FirewallError::UnknownPool(_))),
        "{gone:?}"
    );
}
