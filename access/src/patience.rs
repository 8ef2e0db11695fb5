//! How long nothing may be heard of a session at a vendor's gate until it is taken for ended: by the intervals at which the gate does report.
//! Many send Interim-Updates at an interval of their own, whatever they are told. Known in memory alone, from what a gate has sent lately: after
//! a start of ours the first long interval is taken for an end, which the report after it takes back.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kavadam_domain::{NasId, Timestamp};

/// Three times the longest interval that a gate insists on (Meraki, five minutes).
pub const LEAST: Duration = Duration::from_mins(15);
/// A lost Stop keeps a share of somebody's quota no longer.
const MOST: Duration = Duration::from_hours(2);
/// So many intervals must be missed.
const MISSED: u32 = 3;
/// Whatever is shorter makes nobody wait longer than [`LEAST`], and is not noted.
const SHORT: Duration = Duration::from_mins(5);
/// A long interval counts for so long: it may have been a gate that was cut off.
const KEPT: Duration = Duration::from_hours(6);

/// How long gates were silent.
#[derive(Default)]
pub struct Patience(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// Since when gates can be heard.
    up_since: Option<Timestamp>,
    /// The longest interval of each gate between two reports of a session, and when it was seen.
    longest: HashMap<NasId, (Duration, Timestamp)>,
}

impl Patience {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was not heard before that tells nothing of how often gates report.
    pub fn heard_since(&self, up_since: Timestamp) {
        self.lock().up_since = Some(up_since);
    }

    /// Nothing was heard of a session for so long, and it went on.
    pub fn note(&self, nas: NasId, interval: Duration, now: Timestamp) {
        if interval <= SHORT {
            return;
        }
        let mut seen = self.lock();
        if seen.up_since.is_some_and(|up_since| now - interval < up_since) {
            return;
        }
        let longest = seen.longest.entry(nas).or_insert((interval, now));
        if longest.0 <= interval || now.since(longest.1) >= KEPT {
            *longest = (interval, now);
        }
    }

    /// For sessions of a gate.
    pub fn with(&self, nas: NasId, now: Timestamp) -> Duration {
        let seen = self.lock();
        let longest = seen.longest.get(&nas).filter(|(_, at)| now.since(*at) < KEPT);
        longest.map_or(LEAST, |(interval, _)| {
            interval.saturating_mul(MISSED).clamp(LEAST, MOST)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATE: NasId = NasId(1);
    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn a_gate_that_reports_rarely_is_waited_for_longer_and_no_other() {
        let patience = Patience::default();
        patience.note(GATE, Duration::from_mins(10), NOW);
        assert_eq!(patience.with(GATE, NOW), Duration::from_mins(30));
        assert_eq!(patience.with(NasId(2), NOW), LEAST);
        patience.note(GATE, Duration::from_mins(6), NOW);
        assert_eq!(patience.with(GATE, NOW), Duration::from_mins(30), "the longest");
        patience.note(GATE, Duration::from_hours(3), NOW);
        assert_eq!(patience.with(GATE, NOW), MOST);
    }

    #[test]
    fn what_was_not_to_be_heard_is_no_interval() {
        let patience = Patience::default();
        patience.heard_since(NOW - Duration::from_mins(9));
        patience.note(GATE, Duration::from_mins(10), NOW);
        assert_eq!(patience.with(GATE, NOW), LEAST);
        patience.note(GATE, Duration::from_mins(9), NOW);
        assert_eq!(patience.with(GATE, NOW), Duration::from_mins(27));
    }

    #[test]
    fn a_long_interval_is_forgotten_if_none_comes_again() {
        let patience = Patience::default();
        patience.note(GATE, Duration::from_hours(1), NOW);
        let later = NOW + KEPT;
        assert_eq!(patience.with(GATE, later), LEAST);
        patience.note(GATE, Duration::from_mins(6), later);
        assert_eq!(patience.with(GATE, later), Duration::from_mins(18));
    }
}
