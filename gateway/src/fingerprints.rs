//! Two devices with one hardware address, noticed by how they ask for an address: behind one access point, where the bridge sees but one port, each
//! still asks in its own way whenever it joins. A device that now runs another system asks differently from then on, and one that starts from the
//! network asks twice at each start; two that are both there take turns.
//!
//! dnsmasq tells how a device asked when it joins. Of a lease that is renewed it tells what it heard then.

use std::collections::{HashMap, VecDeque};
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

/// A single return may be a start from the network, or a look into another system.
const RETURNS: usize = 2;
/// Ways of asking that are remembered of a device.
const MOST_WAYS: usize = 4;
/// Between two lines in the log, whoever they are about: invented addresses shall not fill it.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Devices beyond which those are forgotten that have not asked for long.
const MANY: usize = 4_096;

#[derive(Debug, Default)]
struct Asked {
    /// Each way once, with when it was used last; the latest last.
    ways: VecDeque<(Fingerprint, Instant)>,
    /// When it came back to a way that it had left; the latest last.
    returns: VecDeque<Instant>,
    is_told: bool,
}

/// How devices asked, as they did; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Fingerprints {
    /// A device that is there asks at least this often.
    within: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    by_mac: HashMap<Mac, Asked>,
    told: Option<Instant>,
    /// How many there were when those of long ago were last forgotten.
    kept: usize,
}

impl Fingerprints {
    /// `lease`: how long one is.
    pub fn new(lease: Duration) -> Self {
        Self {
            within: lease,
            state: Arc::default(),
        }
    }

    /// A device has asked.
    pub fn asked(&self, mac: Mac, fingerprint: Fingerprint, now: Instant) {
        if self.take_in(mac, fingerprint, now) {
            tracing::warn!(
                mac = mac.masked(),
                "a device asks for its address in two ways in turns: another may have taken its address, or it speaks for others (a repeater, virtual \
                 machines). `kavadam gate trace` tells more; Remedy: client isolation on the access points, 802.1X"
            );
        }
    }

    /// Whether a device has asked in two ways in turns lately.
    pub fn are_two(&self, mac: Mac, now: Instant) -> bool {
        self.with(|state| state.by_mac.get(&mac).is_some_and(|one| one.are_two(self.within, now)))
    }

    /// Whether it must be told of now.
    fn take_in(&self, mac: Mac, fingerprint: Fingerprint, now: Instant) -> bool {
        self.with(|state| {
            state.forget(self.within, now);
            let one = state.by_mac.entry(mac).or_default();
            one.add(fingerprint, self.within, now);
            let are_two = one.are_two(self.within, now);
            let is_quiet = state
                .told
                .is_none_or(|at| now.saturating_duration_since(at) >= TOLD_EVERY);
            let is_news = are_two && !one.is_told && is_quiet;
            one.is_told = are_two && (one.is_told || is_news);
            if is_news {
                state.told = Some(now);
            }
            is_news
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// Twice as many as were kept the last time: so a newcomer costs little, however many there are.
    fn forget(&mut self, within: Duration, now: Instant) {
        if self.by_mac.len() >= MANY.max(2 * self.kept) {
            let is_recent = |at: &Instant| now.saturating_duration_since(*at) <= within;
            self.by_mac
                .retain(|_, one| one.ways.back().is_some_and(|(_, at)| is_recent(at)));
            self.kept = self.by_mac.len();
        }
    }
}

impl Asked {
    fn add(&mut self, fingerprint: Fingerprint, within: Duration, now: Instant) {
        let is_recent = |at: Instant| now.saturating_duration_since(at) <= within;
        let known = self.ways.iter().position(|(way, _)| *way == fingerprint);
        let is_latest = known.is_some_and(|at| at + 1 == self.ways.len());
        let known = known.and_then(|at| self.ways.remove(at));
        if !is_latest && known.is_some_and(|(_, at)| is_recent(at)) {
            self.returns.push_back(now);
        }
        self.ways.push_back((fingerprint, now));
        while self.ways.len() > MOST_WAYS {
            self.ways.pop_front();
        }
        while self.returns.len() > RETURNS {
            self.returns.pop_front();
        }
    }

    fn are_two(&self, within: Duration, now: Instant) -> bool {
        let recent = self.returns.iter();
        let recent = recent.filter(|at| now.saturating_duration_since(**at) <= within);
        recent.count() >= RETURNS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const HOUR: Duration = Duration::from_hours(1);

    fn way(name: &str) -> Fingerprint {
        Fingerprint::of(b"", name.as_bytes(), b"1,3,6").unwrap()
    }

    /// Told of at each of these, with so many minutes since the start.
    fn told(asked: &[(u64, &str)]) -> Vec<bool> {
        let (all, start) = (Fingerprints::new(HOUR), Instant::now());
        let each = asked
            .iter()
            .map(|(minute, name)| all.take_in(MAC, way(name), start + Duration::from_mins(*minute)));
        each.collect()
    }

    #[test]
    fn two_that_join_in_turns_are_told_of_once() {
        let asked = [
            (0, "phone"),
            (5, "laptop"),
            (30, "phone"),
            (35, "laptop"),
            (60, "phone"),
        ];
        assert_eq!(told(&asked), [false, false, false, true, false]);
        let three = [(0, "phone"), (1, "laptop"), (2, "other"), (3, "phone"), (4, "laptop")];
        assert_eq!(told(&three), [false, false, false, false, true]);
    }

    #[test]
    fn one_that_runs_another_system_or_starts_from_the_network_is_one() {
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
        assert!(!told(&[(0, "system"), (5, "network"), (6, "system")]).contains(&true));
        assert!(
            !told(&[(0, "phone"), (5, "laptop"), (70, "phone"), (140, "laptop")]).contains(&true),
            "each had been away"
        );
    }

    #[test]
    fn is_forgotten_after_a_while() {
        let (all, start) = (Fingerprints::new(HOUR), Instant::now());
        for name in ["one", "two", "one", "two"] {
            all.asked(MAC, way(name), start);
        }
        assert!(all.are_two(MAC, start));
        assert!(!all.are_two(MAC, start + 2 * HOUR));
    }

    #[test]
    fn invented_devices_fill_neither_the_log_nor_the_memory() {
        let (all, start) = (Fingerprints::new(HOUR), Instant::now());
        let mut lines = 0;
        for number in 0..20_000_u32 {
            let now = start + Duration::from_millis(number.into()) * 500;
            let [a, b, c, d] = number.to_be_bytes();
            for name in ["one", "two", "one", "two"] {
                lines += u32::from(all.take_in(Mac([2, 0, a, b, c, d]), way(name), now));
            }
        }
        assert!((900..=1_000).contains(&lines), "one in ten seconds: {lines}");
        // In an hour 7,200 of them ask.
        assert!(all.with(|state| state.by_mac.len()) <= 2 * 7_300);
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
