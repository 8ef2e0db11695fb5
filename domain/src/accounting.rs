//! Accounting arithmetic: from cumulative reports that may be lost, doubled, late or out of order to octets charged once each.
//!
//! A gate counts from the session's start and never backwards, so the largest report seen is the truth so far, and a report charges
//! only what goes beyond it. A gate that loses its counters within a session starts again from zero: that is told from a late
//! report by Acct-Session-Time, which then also starts again although the report was made later, and is no more than the time since the
//! report before. The last matters where gates send no time of their own: a copy that comes late is then stamped with its arrival, and
//! looks new. After such a beginning, what was made before it is known by its time and charges nothing any more.
//!
//! Counters of 32 bits start again from zero when they are full, and a gate without Gigawords does not say so: told by one that fell by
//! more than half its size while the session grew older (RFC 1982 compares such numbers so). Any other fall while the session grows older
//! charges nothing: a gate's last word often knows less than the one before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Gates round times to whole seconds, each by its own rule, and reports take their time.
const SLACK: Duration = Duration::from_secs(5);
/// Faster than any gate of the public: 10 Gbit/s.
const MOST_OCTETS_PER_SEC: u64 = 1_250_000_000;
/// Reports made together may arrive together.
const GATHERED: Duration = Duration::from_mins(1);

/// Whether a session can have carried so many octets in this time. A gate whose counters went wild reports what no line could carry.
#[must_use]
pub fn is_plausible(octets: u64, elapsed: Duration) -> bool {
    octets <= MOST_OCTETS_PER_SEC.saturating_mul(elapsed.saturating_add(GATHERED).as_secs())
}

/// A counter without Gigawords is full.
const WRAP_OCTETS: u64 = 1 << 32;

/// The meters of one session as a gate reports them, cumulative, gigawords folded in (RFC 2869 §5.1, §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// From the device.
    pub up_octets: u64,
    /// To the device.
    pub down_octets: u64,
    /// Acct-Session-Time, seconds.
    pub session_secs: u32,
    /// The gate told Gigawords, if only that there are none: its counters do not wrap.
    pub has_gigawords: bool,
}

/// What a session has moved free of charge, cumulative from its start: to and from the walled garden and what else its gate lets pass uncharged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FreeOctets {
    /// From the device.
    pub up: u64,
    /// To the device.
    pub down: u64,
}

impl FreeOctets {
    /// In each direction the larger of the two: what was counted later, in whatever order it is told.
    #[must_use]
    pub fn max_with(self, other: Self) -> Self {
        Self {
            up: self.up.max(other.up),
            down: self.down.max(other.down),
        }
    }
}

/// What is known of a session's meters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meter {
    /// The furthest reading since the gate's counters last began at zero, with what wrapped added.
    pub last: Reading,
    /// When that was reported; `None` before the first report.
    pub last_at: Option<Timestamp>,
    /// From the device, before the gate's counters last began at zero.
    pub base_up_octets: u64,
    /// To the device, likewise.
    pub base_down_octets: u64,
}

impl Meter {
    /// Octets from the device, all in all.
    #[must_use]
    pub const fn up_octets(&self) -> u64 {
        self.base_up_octets.saturating_add(self.last.up_octets)
    }

    /// Octets to the device, all in all.
    #[must_use]
    pub const fn down_octets(&self) -> u64 {
        self.base_down_octets.saturating_add(self.last.down_octets)
    }

    /// Octets in both directions, all in all: what the session has been charged.
    #[must_use]
    pub const fn total_octets(&self) -> u64 {
        self.up_octets().saturating_add(self.down_octets())
    }

    /// Takes a report in. The octets to charge for it are the growth of [`Meter::total_octets`].
    #[must_use]
    pub fn after(self, reading: Reading, at: Timestamp) -> Self {
        if self.has_begun_anew() && self.last_at.is_some_and(|last_at| at < last_at) {
            return self;
        }
        let reading = Reading {
            has_gigawords: reading.has_gigawords
                || self.last.has_gigawords
                || reading.up_octets.max(reading.down_octets) >= WRAP_OCTETS,
            ..reading
        };
        if self.has_reset(reading, at) {
            return Self {
                last: reading,
                last_at: Some(at),
                base_up_octets: self.up_octets(),
                base_down_octets: self.down_octets(),
            };
        }
        let reading = self.unwrapped(reading, at);
        Self {
            last: Reading {
                up_octets: self.last.up_octets.max(reading.up_octets),
                down_octets: self.last.down_octets.max(reading.down_octets),
                session_secs: self.last.session_secs.max(reading.session_secs),
                has_gigawords: reading.has_gigawords,
            },
            last_at: self.last_at.max(Some(at)),
            ..self
        }
    }

    /// Octets counted before the gate's counters last began at zero. What is older than the last report may be of then, and if it is
    /// not, it tells nothing new.
    const fn has_begun_anew(&self) -> bool {
        self.base_up_octets > 0 || self.base_down_octets > 0
    }

    /// Of an older session than the last, and not just arrived later.
    fn is_further(&self, reading: Reading, at: Timestamp) -> bool {
        self.last_at.is_some_and(|last_at| at > last_at) && reading.session_secs > self.last.session_secs
    }

    /// With the octets that counters of 32 bits forgot.
    fn unwrapped(&self, reading: Reading, at: Timestamp) -> Reading {
        if reading.has_gigawords {
            return reading;
        }
        let is_further = self.is_further(reading, at);
        let whole = |last: u64, octets: u64| {
            let around = last - low(last) + octets;
            if is_further && has_wrapped(last, octets) {
                around.saturating_add(WRAP_OCTETS)
            } else if !is_further && around > last && around >= WRAP_OCTETS {
                // Made before the last wrap.
                around - WRAP_OCTETS
            } else {
                around
            }
        };
        Reading {
            up_octets: whole(self.last.up_octets, reading.up_octets),
            down_octets: whole(self.last.down_octets, reading.down_octets),
            ..reading
        }
    }

    /// Made later, yet everything is smaller, the session's age included, which fits into the time since. Nothing at all is no new
    /// beginning, but a Start that comes late, or a Stop that tells no figures.
    fn has_reset(&self, reading: Reading, at: Timestamp) -> bool {
        let age = Duration::from_secs(reading.session_secs.into());
        self.last_at
            .is_some_and(|last_at| at > last_at && age <= at.since(last_at) + SLACK)
            && reading.session_secs < self.last.session_secs
            && reading.up_octets <= self.last.up_octets
            && reading.down_octets <= self.last.down_octets
            && (reading.up_octets, reading.down_octets) != (self.last.up_octets, self.last.down_octets)
            && (reading.up_octets, reading.down_octets) != (0, 0)
    }
}

/// What a counter of 32 bits shows.
const fn low(octets: u64) -> u64 {
    octets % WRAP_OCTETS
}

/// Whether a counter of 32 bits went on to this by way of zero. Nothing at all is rather a gate that has forgotten.
const fn has_wrapped(last: u64, octets: u64) -> bool {
    octets > 0 && low(last).saturating_sub(octets) > WRAP_OCTETS / 2
}

#[cfg(test)]
mod tests;
