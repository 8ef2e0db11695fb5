//! How long something takes, in buckets each twice as wide as the one before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets: up to 16 µs, 32 µs, … 17 s, and beyond.
pub const LATENCY_BUCKETS: usize = 22;
/// Upper bound of the first bucket: 2⁴ µs.
const FIRST: u32 = 4;

/// Upper bound of a bucket, microseconds; `None` for the last, which has none.
#[must_use]
pub fn bucket_micros(bucket: usize) -> Option<u64> {
    let power = u32::try_from(bucket).ok()? + FIRST;
    (bucket + 1 < LATENCY_BUCKETS).then(|| 1 << power)
}

/// A histogram. Adding to it takes two atomic additions.
#[derive(Default)]
pub struct Latency {
    buckets: [AtomicU64; LATENCY_BUCKETS],
    total_micros: AtomicU64,
}

impl Latency {
    /// Adds one that took so long.
    pub fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // The bucket whose bound is the next power of two.
        let power = u64::BITS - micros.saturating_sub(1).leading_zeros();
        let bucket = usize::try_from(power.saturating_sub(FIRST)).unwrap_or(usize::MAX);
        if let Some(count) = self.buckets.get(bucket.min(LATENCY_BUCKETS - 1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.total_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many took as long as each bucket holds.
    #[must_use]
    pub fn buckets(&self) -> Vec<u64> {
        self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Microseconds of all together.
    #[must_use]
    pub fn total_micros(&self) -> u64 {
        self.total_micros.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket_of(micros: u64) -> usize {
        let latency = Latency::default();
        latency.add(Duration::from_micros(micros));
        latency.buckets().iter().position(|count| *count == 1).unwrap()
    }

    #[test]
    fn an_answer_lies_in_the_narrowest_bucket_that_holds_it() {
        for (micros, bucket) in [(0, 0), (1, 0), (16, 0), (17, 1), (32, 1), (33, 2), (1024, 6), (1025, 7)] {
            assert_eq!(bucket_of(micros), bucket, "{micros} µs");
        }
        assert_eq!(bucket_of(u64::MAX), LATENCY_BUCKETS - 1);
        assert_eq!((bucket_micros(0), bucket_micros(6)), (Some(16), Some(1024)));
        assert_eq!(bucket_micros(LATENCY_BUCKETS - 1), None);
    }
}
