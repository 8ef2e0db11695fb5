//! Two devices with one hardware address, noticed by how they ask for an address: behind one access point, where the bridge sees but one port, each
//! still asks in its own way. A device that now runs another system asks differently from then on; two that are both there take turns.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kavadam_domain::Mac;

/// How a device's DHCP client asks: which it is, what it calls itself, which options it wants and in what order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of Client Identifier, Vendor Class Identifier and Parameter Request List (RFC 2132 §9), in whatever form they are told, always the same. `None`
    /// without the list, which every client sends: dnsmasq tells of its leases when it starts, too, and then knows of the identifier alone.
    #[must_use]
    pub fn of(client: &[u8], vendor_class: &[u8], requested: &[u8]) -> Option<Self> {
        let mut hasher = DefaultHasher::new();
        [client, vendor_class, requested].hash(&mut hasher);
        (!requested.is_empty()).then(|| Self(hasher.finish()))
    }

    pub(crate) fn written(self) -> String {
        format!("{:016x}", self.0)
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        let is_ours = text.len() == 16 && text.bytes().all(|c| c.is_ascii_hexdigit());
        is_ours.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

#[derive(Debug)]
struct Asked {
    latest: Fingerprint,
    at: Instant,
    /// What it was before, and when last.
    before: Option<(Fingerprint, Instant)>,
    /// When it came back to that.
    returned: Option<Instant>,
}

/// How devices asked, as they did; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Fingerprints {
    /// A device that is there asks at least this often.
    within: Duration,
    by_mac: Arc<Mutex<HashMap<Mac, Asked>>>,
}

impl Fingerprints {
    /// `lease`: how long one is.
    pub fn new(lease: Duration) -> Self {
        Self {
            within: lease,
            by_mac: Arc::default(),
        }
    }

    /// A device has asked.
    pub fn asked(&self, mac: Mac, fingerprint: Fingerprint, now: Instant) {
        if self.take_in(mac, fingerprint, now) {
            tracing::warn!(
                mac = mac.masked(),
                "a device asks for its address in two ways in turns: another may have taken its address. `kavadam gate trace` tells more; Remedy: \
                 client isolation on the access points, 802.1X"
            );
        }
    }

    /// It has no address any more.
    pub fn ended(&self, mac: Mac) {
        self.all(|by_mac| by_mac.remove(&mac));
    }

    /// Whether a device has asked in two ways in turns lately.
    pub fn are_two(&self, mac: Mac, now: Instant) -> bool {
        let returned = self.all(|by_mac| by_mac.get(&mac).and_then(|one| one.returned));
        returned.is_some_and(|at| now.saturating_duration_since(at) <= self.within)
    }

    /// Whether it must be told of now.
    fn take_in(&self, mac: Mac, fingerprint: Fingerprint, now: Instant) -> bool {
        self.all(|by_mac| {
            let one = by_mac.entry(mac).or_insert(Asked {
                latest: fingerprint,
                at: now,
                before: None,
                returned: None,
            });
            let last = std::mem::replace(&mut one.at, now);
            if one.latest == fingerprint {
                return false;
            }
            let left = std::mem::replace(&mut one.latest, fingerprint);
            let before = one.before.replace((left, last));
            let is_back = before
                .is_some_and(|(known, at)| known == fingerprint && now.saturating_duration_since(at) <= self.within);
            let is_told = |at: Instant| now.saturating_duration_since(at) <= self.within;
            let is_news = is_back && !one.returned.is_some_and(is_told);
            if is_back {
                one.returned = Some(now);
            }
            is_news
        })
    }

    fn all<T>(&self, look: impl FnOnce(&mut HashMap<Mac, Asked>) -> T) -> T {
        look(&mut self.by_mac.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const HOUR: Duration = Duration::from_hours(1);

    /// Told of at each of these, with so many minutes since the start.
    fn told(asked: &[(u64, &str)]) -> Vec<bool> {
        let (all, start) = (Fingerprints::new(HOUR), Instant::now());
        let each = asked.iter().map(|(minute, name)| {
            let fingerprint = Fingerprint::of(b"", name.as_bytes(), b"1,3,6").unwrap();
            all.take_in(MAC, fingerprint, start + Duration::from_mins(*minute))
        });
        each.collect()
    }

    #[test]
    fn two_that_renew_in_turns_are_told_of_once() {
        let asked = [
            (0, "phone"),
            (5, "laptop"),
            (30, "phone"),
            (35, "laptop"),
            (60, "phone"),
        ];
        assert_eq!(told(&asked), [false, false, true, false, false]);
    }

    #[test]
    fn one_that_runs_another_system_from_now_on_is_one() {
        assert!(
            !told(&[
                (0, "phone"),
                (30, "phone"),
                (40, "laptop"),
                (70, "laptop"),
                (90, "other")
            ])
            .contains(&true)
        );
        assert!(
            !told(&[(0, "phone"), (5, "laptop"), (70, "phone")]).contains(&true),
            "the first has been away"
        );
    }

    #[test]
    fn is_forgotten_with_its_lease_and_after_a_while() {
        let (all, start) = (Fingerprints::new(HOUR), Instant::now());
        for name in [b"one", b"two", b"one"] {
            all.asked(MAC, Fingerprint::of(b"", name, b"1,3,6").unwrap(), start);
        }
        assert!(all.are_two(MAC, start));
        assert!(!all.are_two(MAC, start + 2 * HOUR));
        all.ended(MAC);
        assert!(!all.are_two(MAC, start));
    }

    #[test]
    fn a_lease_that_nobody_has_asked_for_just_now_has_none() {
        assert_eq!(Fingerprint::of(b"01:02:00:00:00:00:01", b"", b""), None);
        assert_ne!(Fingerprint::of(b"a", b"b", b"1"), Fingerprint::of(b"ab", b"", b"1"));
    }

    proptest! {
        #[test]
        fn is_read_as_it_was_written(number in any::<u64>(), text in ".{0,20}") {
            prop_assert_eq!(Fingerprint::read(&Fingerprint(number).written()), Some(Fingerprint(number)));
            let _ = Fingerprint::read(&text);
        }
    }
}
