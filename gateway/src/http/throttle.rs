//! How often one device may ask: a bucket for each, refilled with time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::source::Source;

const MOST_SOURCES: usize = 65_536;

/// The buckets.
pub(crate) struct Throttle {
    burst: f64,
    per_second: f64,
    buckets: Mutex<HashMap<Source, (f64, Instant)>>,
}

impl Throttle {
    /// What one device may ask of our doors. A phone that joins sends some twenty requests at once.
    pub fn of_requests() -> Self {
        Self::new(60.0, 15.0)
    }

    /// How often a device that is online already is sent back to where it wanted to go. A browser has a handful of connections
    /// from before its login; more would be a circle.
    pub fn of_returns() -> Self {
        Self::new(12.0, 0.5)
    }

    /// Octets of answers to a stranger's questions about names. A phone that joins gets some 5,000 at once; what carries more is a tunnel.
    pub fn of_answers() -> Self {
        Self::new(16_384.0, 100.0)
    }

    fn new(burst: f64, per_second: f64) -> Self {
        Self {
            burst,
            per_second,
            buckets: Mutex::default(),
        }
    }

    /// Whether one more request is within the device's share.
    pub fn admits(&self, source: Source, now: Instant) -> bool {
        self.admits_many(source, 1.0, now)
    }

    /// Whether so much more is.
    pub fn admits_many(&self, source: Source, many: f64, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_SOURCES {
            // A bucket that is full again says nothing.
            let forgotten = Duration::from_secs_f64(self.burst / self.per_second);
            buckets.retain(|_, (_, at)| now.saturating_duration_since(*at) < forgotten);
            if buckets.len() >= MOST_SOURCES {
                return false;
            }
        }
        let (left, at) = buckets.entry(source).or_insert((self.burst, now));
        let refill = now.saturating_duration_since(*at).as_secs_f64() * self.per_second;
        *left = (*left + refill).min(self.burst);
        *at = now;
        if *left < many {
            return false;
        }
        *left -= many;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kavadam_domain::Mac;

    #[test]
    fn a_flood_from_one_device_leaves_the_others_their_share() {
        let (throttle, now) = (Throttle::of_requests(), Instant::now());
        let (loud, other) = (
            Source::Device(Mac([2, 0, 0, 0, 0, 1])),
            Source::Device(Mac([2, 0, 0, 0, 0, 2])),
        );
        let admitted = (0..1_000).filter(|_| throttle.admits(loud, now)).count();
        assert_eq!(admitted, 60);
        assert!(throttle.admits(other, now));
        assert!(throttle.admits(loud, now + Duration::from_secs(1)));
    }
}
