//! When the addresses that DHCP gives out come to an end: said when they do, and when it is over.

use std::time::{Duration, Instant};

/// Nearly all are given out from so many hundredths on, and no longer from fewer than so many.
const NEARLY_ALL: u64 = 90;
const NO_LONGER: u64 = 80;
/// Between two lines in the log that say the same.
const TOLD_EVERY: Duration = Duration::from_mins(10);

/// What there is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    NearlyAll,
    Over,
}

/// What is known of the pool, and what was said of it.
#[derive(Debug)]
pub(crate) struct Pool {
    addresses: u32,
    is_told: bool,
    told: Option<Instant>,
}

impl Pool {
    /// Of so many addresses.
    pub const fn new(addresses: u32) -> Self {
        Self {
            addresses,
            is_told: false,
            told: None,
        }
    }

    /// So many are given out now.
    pub fn look(&mut self, held: usize, now: Instant) {
        match self.news(held, now) {
            Some(News::NearlyAll) => tracing::warn!(
                held,
                addresses = self.addresses,
                "nearly all addresses of gateway.dnsmasq.range4 are given out; newcomers will soon get none. `kavadam gate show` tells whether \
                 requests were refused, and at which ports. Remedy: a wider range (and gateway.lan4), or a shorter gateway.dnsmasq.lease_secs"
            ),
            Some(News::Over) => tracing::info!(
                held,
                addresses = self.addresses,
                "there are addresses for newcomers again"
            ),
            None => {}
        }
    }

    fn news(&mut self, held: usize, now: Instant) -> Option<News> {
        if self.is_told {
            self.is_told = is_given_out(held, self.addresses, NO_LONGER);
            return (!self.is_told).then_some(News::Over);
        }
        let was_told = self
            .told
            .is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY);
        if was_told || !is_nearly_used_up(held, self.addresses) {
            return None;
        }
        (self.is_told, self.told) = (true, Some(now));
        Some(News::NearlyAll)
    }
}

/// Whether so many are nearly all.
pub(crate) fn is_nearly_used_up(held: usize, addresses: u32) -> bool {
    is_given_out(held, addresses, NEARLY_ALL)
}

fn is_given_out(held: usize, addresses: u32, hundredths: u64) -> bool {
    let held = u64::try_from(held).unwrap_or(u64::MAX);
    held.saturating_mul(100) >= u64::from(addresses) * hundredths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_and_again_when_it_is_over() {
        let (mut pool, now) = (Pool::new(200), Instant::now());
        let said: Vec<_> = [179, 180, 200, 161, 160, 159, 120]
            .map(|held| pool.news(held, now))
            .into();
        let (full, over) = (Some(News::NearlyAll), Some(News::Over));
        assert_eq!(said, [None, full, None, None, None, over, None]);
    }

    #[test]
    fn a_pool_at_its_brim_does_not_fill_the_log() {
        let (mut pool, start) = (Pool::new(10), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        assert_eq!(pool.news(9, at(0)), Some(News::NearlyAll));
        assert_eq!(pool.news(7, at(1)), Some(News::Over));
        assert_eq!(pool.news(10, at(2)), None, "it was said a moment ago");
        assert_eq!(pool.news(10, at(601)), Some(News::NearlyAll));
    }
}
