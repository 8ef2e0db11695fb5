//! UAM challenges: random, one for each device, good for one login.
//!
//! A device's probes and its browser are redirected again and again; all are given the same challenge while it is young, so
//! that a probe in the background does not spoil the page that is being filled in.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kavadam_domain::Mac;

/// Handed out again until this old.
const YOUNG: Duration = Duration::from_mins(10);
/// Accepted until this old: whoever was handed one has at least the difference.
const LIFETIME: Duration = Duration::from_mins(20);
/// Devices with a challenge; beyond it the oldest are forgotten.
const MOST: usize = 131_072;

/// The challenges given out.
#[derive(Default)]
pub(crate) struct Challenges {
    given: Mutex<HashMap<Mac, Given>>,
}

struct Given {
    challenge: [u8; 16],
    at: Instant,
}

impl Challenges {
    /// The challenge of a device; `fresh` is used if it has none.
    pub fn give(&self, mac: Mac, fresh: [u8; 16], now: Instant) -> [u8; 16] {
        let mut given = self.lock();
        if let Some(old) = given.get(&mac)
            && now.saturating_duration_since(old.at) < YOUNG
        {
            return old.challenge;
        }
        if given.len() >= MOST {
            given.retain(|_, one| now.saturating_duration_since(one.at) < YOUNG / 2);
        }
        if given.len() < MOST {
            given.insert(
                mac,
                Given {
                    challenge: fresh,
                    at: now,
                },
            );
        }
        fresh
    }

    /// Spends the challenge of a device.
    pub fn take(&self, mac: Mac, now: Instant) -> Option<[u8; 16]> {
        let given = self.lock().remove(&mac)?;
        (now.saturating_duration_since(given.at) < LIFETIME).then_some(given.challenge)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Mac, Given>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn a_challenge_is_good_once() {
        let (challenges, now) = (Challenges::default(), Instant::now());
        assert_eq!(challenges.give(PHONE, [1; 16], now), [1; 16]);
        assert_eq!(challenges.give(PHONE, [2; 16], now), [1; 16], "probes share it");
        assert_eq!(challenges.take(PHONE, now), Some([1; 16]));
        assert_eq!(challenges.take(PHONE, now), None);
        assert_eq!(challenges.give(PHONE, [3; 16], now), [3; 16]);
    }

    #[test]
    fn a_challenge_grows_old() {
        let (challenges, start) = (Challenges::default(), Instant::now());
        challenges.give(PHONE, [1; 16], start);
        let late = start + YOUNG.mul_f64(0.9);
        assert_eq!(challenges.give(PHONE, [2; 16], late), [1; 16]);
        assert_eq!(challenges.take(PHONE, start + LIFETIME), None, "too old to be answered");
        challenges.give(PHONE, [3; 16], start);
        assert_eq!(challenges.give(PHONE, [4; 16], start + YOUNG), [4; 16]);
    }
}
