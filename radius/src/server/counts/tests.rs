use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use kavadam_domain::{Reason, Timestamp};

use super::*;
use crate::wire::Code;

#[test]
fn every_reason_is_counted_in_its_own_place() {
    let counts = Counts::default();
    for (at, reason) in DropReason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, at);
        counts.add_dropped(reason);
    }
    assert_eq!(counts.log_since(&[0; REASONS]), [1; REASONS]);
}

#[test]
fn each_gate_is_counted_apart_and_the_sum_is_of_all() {
    let counts = Counts::default();
    let (one, other) = (counts.gate(NasId(1)), counts.gate(NasId(2)));
    one.add_dropped(DropReason::Unverified);
    other.add_dropped(DropReason::Unverified);
    other.add_reply(Code::AccessReject, Duration::from_micros(300));
    other.add_reject(Reason::Blocked.code());
    counts.add_stranger(Ipv4Addr::LOCALHOST.into());
    assert_eq!(counts.dropped(DropReason::Unverified), 2);
    assert_eq!(counts.dropped(DropReason::UnknownSource), 1);
    let mut all = counts.by_gate();
    all.sort_by_key(|(nas, _)| nas.0);
    let [(_, one), (_, other)] = all.as_slice() else {
        panic!("two gates")
    };
    assert_eq!((one.replies.get("access-reject"), one.rejects.len()), (None, 0));
    assert_eq!(other.replies.get("access-reject"), Some(&1));
    assert_eq!(other.rejects.get("blocked"), Some(&1));
    assert_eq!(counts.strangers(), [(Ipv4Addr::LOCALHOST.into(), 1)]);
}

#[test]
fn a_gate_that_is_known_no_more_leaves_nothing_behind() {
    let counts = Counts::default();
    counts.gate(NasId(1)).add_replayed();
    counts.gate(NasId(2)).add_replayed();
    counts.keep_only(|nas| nas == NasId(2));
    assert_eq!(counts.by_gate().len(), 1);
}

#[test]
fn counting_one_request_costs_less_than_the_work_it_counts() {
    const ROUNDS: u32 = 100_000;
    let counts = Counts::default();
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        let gate = counts.gate(NasId(1));
        gate.add_request(RequestKind::Access, Timestamp::from_secs(1));
        gate.add_reject(Reason::UnknownDevice.code());
        gate.add_reply(Code::AccessReject, Duration::from_micros(300));
    }
    let each = begun.elapsed() / ROUNDS;
    // Without optimization and on a busy machine; with it it is a tenth.
    assert!(each < Duration::from_micros(20), "{each:?} for each request");
}
