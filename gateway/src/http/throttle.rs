//! How often one address may ask: a bucket for each, refilled with time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A phone that joins sends some twenty requests at once.
const BURST: f64 = 60.0;
const PER_SECOND: f64 = 15.0;
const MOST_ADDRESSES: usize = 65_536;
/// A bucket is full again after this.
const FORGOTTEN: Duration = Duration::from_secs(5);

/// The buckets.
#[derive(Default)]
pub(crate) struct Throttle {
    buckets: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl Throttle {
    /// Whether one more request is within the address's share.
    pub fn admits(&self, address: IpAddr, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_ADDRESSES {
            buckets.retain(|_, (_, at)| now.saturating_duration_since(*at) < FORGOTTEN);
            if buckets.len() >= MOST_ADDRESSES {
                return false;
            }
        }
        let (left, at) = buckets.entry(address).or_insert((BURST, now));
        *left = (*left + now.saturating_duration_since(*at).as_secs_f64() * PER_SECOND).min(BURST);
        *at = now;
        if *left < 1.0 {
            return false;
        }
        *left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_from_one_address_leaves_the_others_their_share() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let (loud, other) = (IpAddr::from([10, 80, 1, 2]), IpAddr::from([10, 80, 1, 3]));
        let admitted = (0..1_000).filter(|_| throttle.admits(loud, now)).count();
        assert_eq!(admitted, 60);
        assert!(throttle.admits(other, now));
        assert!(throttle.admits(loud, now + Duration::from_secs(1)));
    }
}
