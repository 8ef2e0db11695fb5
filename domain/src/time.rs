//! Wall-clock time as the database keeps it: whole microseconds since 1970 UTC.

use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How far the clocks of two machines may be apart, where something that is to come is told from what a clock that was wrong has noted.
pub const CLOCKS_WITHIN: Duration = Duration::from_mins(1);

/// An instant in microseconds since 1970-01-01T00:00:00Z. Sorts, subtracts and stores as one integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The instant `secs` seconds after 1970.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later (a clock that stepped back harms nobody).
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// How long to wait for this at `now`. Not at all if that is longer than anything waits (`longest`): it was noted by a clock that was ahead,
    /// and would keep people waiting until the time comes.
    #[must_use]
    pub fn wait_at(self, now: Self, longest: Duration) -> Duration {
        let wait = self.since(now);
        if wait > longest + CLOCKS_WITHIN {
            Duration::ZERO
        } else {
            wait
        }
    }

    /// As `jiff` knows it, for calendars and display. `None` outside the years jiff can name.
    #[must_use]
    pub fn to_jiff(self) -> Option<jiff::Timestamp> {
        jiff::Timestamp::from_microsecond(self.0).ok()
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(micros(rhs)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(micros(rhs)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_before_an_earlier_instant_counts_as_none() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(9).since(Timestamp(5)), Duration::from_micros(4));
    }

    #[test]
    fn nobody_waits_for_what_a_clock_that_was_ahead_has_noted() {
        let wait = |secs| Timestamp::from_secs(secs).wait_at(Timestamp::from_secs(100), Duration::from_secs(30));
        assert_eq!(wait(99), Duration::ZERO);
        assert_eq!(wait(130), Duration::from_secs(30));
        assert_eq!(wait(190), Duration::from_secs(90), "another machine's clock");
        assert_eq!(wait(191), Duration::ZERO);
    }
}
