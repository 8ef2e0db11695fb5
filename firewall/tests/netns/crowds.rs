//! Many sessions at once: what they have in common is one transaction, and what one of them has keeps no other from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use kavadam_domain::Mac;
use kavadam_firewall::{FirewallError, Gate, OpenSession, PoolKey, SessionLimits, SessionState, Slot};

use crate::Case;
use crate::lab::{Inside, WEB4, WEB6, eventually, octets4, octets6};
use crate::nft::nft;

pub const CASES: &[Case] = &[
    (
        "opens_many_at_once_and_one_that_cannot_be_keeps_none_from_it",
        opens_many_at_once,
    ),
    (
        "changes_many_at_once_and_one_that_is_gone_keeps_none_from_it",
        changes_many_at_once,
    ),
    (
        "closes_many_at_once_and_one_that_cannot_be_keeps_none_from_it",
        closes_many_at_once,
    ),
    ("sets_many_quotas_at_once_to_the_octet", sets_many_quotas_at_once),
];

const MANY: u32 = 300;

fn one_of_many(lab: &Inside, number: u32, pool: PoolKey) -> OpenSession {
    let [_, _, high, low] = number.to_be_bytes();
    OpenSession {
        mac: Mac([2, 1, 0, 0, high, low]),
        ipv4: Some(Ipv4Addr::new(10, 80, 8 + high, low)),
        ..lab.phone.session(pool)
    }
}

/// Many sessions, each two of one pool.
fn many(lab: &Inside, gate: &Gate) -> Vec<Slot> {
    let mut pool = gate.create_pool(Some(1_000_000)).unwrap();
    let mut sessions = Vec::new();
    for number in 0..MANY {
        if number % 2 == 0 {
            pool = gate.create_pool(Some(1_000_000)).unwrap();
        }
        sessions.push(one_of_many(lab, number, pool));
    }
    gate.open_all(&sessions).into_iter().map(Result::unwrap).collect()
}

/// As `nft` writes the key of a slot.
fn key(slot: Slot) -> String {
    format!("{:#010x}", slot.0)
}

/// How many elements a set has.
fn count(set: &str) -> usize {
    nft(&format!("list set inet kavadam {set}")).matches("0x").count()
}

fn opens_many_at_once(lab: &Inside) {
    let gate = lab.shared_gate();
    let pool = gate.create_pool(None).unwrap();
    let (first, other) = (lab.phone.session(pool), lab.other.session(pool));
    let stray = OpenSession {
        mac: Mac([2, 0, 0, 0, 9, 9]),
        ipv4: None,
        ..first.clone()
    };
    // What the kernel alone knows of: it refuses the whole transaction for it.
    let known = "add element inet kavadam auth6 { 02:00:00:00:09:09 : 0x7 }";
    assert!(Command::new("nft").arg(known).status().unwrap().success());
    let unlabelled = OpenSession {
        label: vec![0; 161],
        ..stray.clone()
    };
    let alone = gate.create_pool(None).unwrap();
    let opened = gate.open_all(&[OpenSession {
        pool: alone,
        ..stray.clone()
    }]);
    assert!(
        matches!(opened.as_slice(), [Err(FirewallError::Kernel { .. })]),
        "{opened:?}"
    );
    assert!(
        matches!(gate.pool_used(alone), Err(FirewallError::UnknownPool(_))),
        "it ends with the session that was to begin it"
    );
    let opened = gate.open_all(&[first.clone(), stray, first, unlabelled, other]);
    let [
        Ok(one),
        Err(FirewallError::Kernel { .. }),
        Err(FirewallError::DeviceOnline(held)),
        Err(FirewallError::LabelTooLong(_)),
        Ok(_),
    ] = opened.as_slice()
    else {
        panic!("{opened:?}");
    };
    assert_eq!(one, held);
    assert_eq!(lab.phone.node.upload(WEB4, 5, 100), 5);
    assert_eq!(lab.other.node.upload(WEB6, 5, 100), 5);
    let used = octets4(5, 100) + octets6(5, 100);
    assert_eq!(
        gate.pool_used(pool).unwrap(),
        used,
        "of one pool, which the first of them brought"
    );

    let many: Vec<_> = (0..1_000).map(|number| one_of_many(lab, number, pool)).collect();
    // More that the kernel refuses than it is asked again for.
    let strays: Vec<_> = many.iter().take(40).step_by(4).collect();
    for OpenSession { mac, .. } in &strays {
        let known = format!("add element inet kavadam auth6 {{ {mac} : 0x7 }}").replace('-', ":");
        assert!(Command::new("nft").arg(&known).status().unwrap().success(), "{known}");
    }
    let opened = gate.open_all(&many).iter().filter(|one| one.is_ok()).count();
    assert_eq!(opened, 1_000 - strays.len());
    assert_eq!(gate.adopt().unwrap().len(), 1_002 - strays.len());
}

fn changes_many_at_once(lab: &Inside) {
    let gate = lab.shared_gate();
    let mut slots = many(lab, &gate);
    let phone = gate.open(&lab.phone.session(gate.create_pool(None).unwrap())).unwrap();
    slots.push(phone);
    let (expired, damaged) = (slots[7], slots[200]);
    gate.set_timeout(expired, Some(Duration::from_millis(10))).unwrap();
    eventually("it ends", || gate.expired().unwrap() == [expired]);
    nft("delete element inet kavadam auth6 { 02:01:00:00:00:c8 }");
    let unknown = Slot(9_999_999);

    let limits = SessionLimits {
        up_bits_per_sec: Some(8_000_000),
        down_bits_per_sec: Some(16_000_000),
        timeout: Some(Duration::from_hours(9)),
        filter: None,
        class: None,
    };
    let wanted: BTreeMap<Slot, SessionLimits> = slots.iter().chain([&unknown]).map(|slot| (*slot, limits)).collect();
    let mut failed = gate.limit_all(&wanted);
    failed.sort_by_key(|(slot, _)| *slot);
    let [
        (first, FirewallError::Expired(_)),
        (second, FirewallError::Kernel { .. }),
        (third, FirewallError::UnknownSlot(_)),
    ] = failed.as_slice()
    else {
        panic!("{failed:?}");
    };
    assert_eq!((*first, *second, *third), (expired, damaged, unknown));

    let changed = nft("list set inet kavadam lim_down")
        .matches("limit rate 2000000 bytes/second")
        .count();
    assert_eq!(changed, slots.len() - 2, "each has the new speed but those two");
    let is_later = |state: SessionState| matches!(state, SessionState::Online { remaining: Some(left) } if left > Duration::from_hours(8));
    let later = gate
        .adopt()
        .unwrap()
        .into_iter()
        .filter(|one| is_later(one.state))
        .count();
    assert_eq!(later, slots.len() - 2, "and the new end");
    assert_eq!(lab.phone.node.upload(WEB4, 5, 1000), 5, "whose traffic goes on");

    let soon = slots
        .iter()
        .map(|slot| (*slot, Some(Duration::from_millis(10))))
        .collect();
    assert_eq!(gate.set_timeouts(&soon).len(), 2, "those two are as they were");
    eventually("all others end", || gate.expired().unwrap().len() >= slots.len() - 1);
    assert_eq!(lab.phone.node.upload(WEB4, 5, 1000), 0);
}

fn closes_many_at_once(lab: &Inside) {
    let gate = lab.shared_gate();
    let slots = many(lab, &gate);
    let pool = gate.create_pool(Some(10_000_000)).unwrap();
    let phone = gate.open(&lab.phone.session(pool)).unwrap();
    let other = gate.open(&lab.other.session(pool)).unwrap();
    assert_eq!(lab.phone.node.upload(WEB4, 5, 1000), 5);
    assert_eq!(lab.phone.node.upload(WEB6, 5, 1000), 5);
    // Some have ended in the kernel, some have not, and somebody has taken a meter away.
    let ended = slots
        .iter()
        .step_by(3)
        .map(|slot| (*slot, Some(Duration::from_millis(10))))
        .collect();
    assert!(gate.set_timeouts(&ended).is_empty());
    eventually("they end", || gate.expired().unwrap().len() == ended.len());
    let damaged = slots[100];
    nft(&format!("delete element inet kavadam cnt_up {{ {} }}", key(damaged)));
    let unknown = Slot(9_999_999);

    let all: BTreeSet<Slot> = slots.iter().copied().chain([phone, unknown]).collect();
    let closed = gate.close_all(&all);
    assert_eq!(closed.len(), all.len());
    for (slot, result) in closed {
        let octets = octets4(5, 1000) + octets6(5, 1000);
        match result {
            Ok(meter) if slot == phone => assert_eq!(meter.up_octets, octets),
            Ok(meter) => assert_eq!(meter.total_octets(), 0, "{slot}"),
            Err(FirewallError::UnknownSlot(_)) => assert_eq!(slot, unknown),
            Err(error) => assert_eq!(slot, damaged, "{error}"),
        }
    }
    assert_eq!(lab.phone.node.upload(WEB4, 5, 1000), 0);
    let octets = octets4(5, 1000) + octets6(5, 1000);
    assert_eq!(
        gate.pool_used(pool).unwrap(),
        octets,
        "what it carried stays its pool's"
    );
    assert_eq!(
        (count("lim_up"), count("cnt_down")),
        (1, 2),
        "those of the other, and what the damaged one still has"
    );
    let quotas = nft("list quotas table inet kavadam").matches("quota p").count();
    assert_eq!(quotas, 2, "that of the other, and of the damaged one");
    assert_eq!(lab.other.node.upload(WEB4, 5, 1000), 5, "whose traffic goes on");
    assert_eq!(gate.close(other).unwrap().up_octets, octets4(5, 1000));
}

fn sets_many_quotas_at_once(lab: &Inside) {
    let gate = lab.gate();
    let slots = many(lab, &gate);
    let (spent, fresh, unused) = (
        gate.create_pool(Some(10_000)).unwrap(),
        gate.create_pool(Some(10_000)).unwrap(),
        gate.create_pool(Some(10_000)).unwrap(),
    );
    gate.open(&lab.phone.session(spent)).unwrap();
    gate.open(&lab.other.session(fresh)).unwrap();
    let passed = lab.phone.node.upload(WEB4, 20, 1000);
    assert!((1..20).contains(&passed), "used up: {passed}");

    let unknown = PoolKey(9_999_999);
    let adopted = gate.adopt().unwrap();
    let others = adopted
        .iter()
        .filter(|one| slots.contains(&one.slot))
        .map(|one| (one.pool, Some(2_000_000)));
    let mut limits: BTreeMap<PoolKey, Option<u64>> = others.collect();
    limits.extend([
        (spent, Some(20_000)),
        (fresh, Some(5_000)),
        (unused, None),
        (unknown, None),
    ]);
    let failed = gate.set_pool_limits(&limits);
    assert!(
        matches!(failed.as_slice(), [(key, FirewallError::UnknownPool(_))] if *key == unknown),
        "{failed:?}"
    );
    let shown = nft("list quotas table inet kavadam");
    assert_eq!(shown.matches("2000000 bytes").count(), limits.len() - 4, "{shown}");
    lab.phone.node.upload(WEB4, 40, 1000);
    lab.other.node.upload(WEB4, 40, 1000);
    let whole = |limit: u64| limit / octets4(1, 1000) * octets4(1, 1000);
    assert_eq!(
        gate.pool_used(spent).unwrap(),
        whole(20_000),
        "what was refused is not in it"
    );
    assert_eq!(gate.pool_used(fresh).unwrap(), whole(5_000));
    let one = gate.open(&OpenSession {
        label: Vec::new(),
        ..one_of_many(lab, 700, unused)
    });
    assert!(one.is_ok(), "{one:?}");
    assert_eq!(gate.pools_used_up().unwrap().len(), 2);
}
