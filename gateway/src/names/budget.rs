//! How many new names a device may ask for beneath one domain. A tunnel needs a new one for each piece of what it carries; a phone that joins
//! asks for a handful, again and again.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use crate::http::source::Source;

/// New names beneath one domain, per device and [`WINDOW`].
const NAMES: usize = 20;
/// New domains likewise, or a tunnel would be many.
const DOMAINS: usize = 60;
const WINDOW: Duration = Duration::from_mins(1);
const MOST_DEVICES: usize = 65_536;

/// What devices have asked for of late.
#[derive(Default)]
pub(super) struct Budget {
    devices: HashMap<Source, Asked>,
    /// Names are kept as numbers nobody outside can foresee.
    hasher: RandomState,
}

struct Asked {
    since: Instant,
    names: HashMap<u64, HashSet<u64>>,
}

impl Budget {
    /// Whether the device may ask for this name.
    pub fn admits(&mut self, device: Source, name: &str, now: Instant) -> bool {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= WINDOW;
        if self.devices.len() >= MOST_DEVICES && !self.devices.contains_key(&device) {
            self.devices.retain(|_, asked| !is_over(asked.since));
            if self.devices.len() >= MOST_DEVICES {
                return false;
            }
        }
        let (domain, name) = (self.hasher.hash_one(domain_of(name)), self.hasher.hash_one(name));
        let fresh = || Asked {
            since: now,
            names: HashMap::new(),
        };
        let asked = self.devices.entry(device).or_insert_with(fresh);
        if is_over(asked.since) {
            *asked = fresh();
        }
        if asked.names.len() >= DOMAINS && !asked.names.contains_key(&domain) {
            return false;
        }
        let names = asked.names.entry(domain).or_default();
        if names.contains(&name) {
            return true;
        }
        names.len() < NAMES && names.insert(name)
    }
}

/// Beneath these of a country's domain people register, as in `gov.in`: what a device asks beneath one office's or company's takes nothing from
/// others'. Whoever owns such a name in a country that lets people have it may ask for as many names beneath it as beneath sixty domains.
const SHARED: [&str; 7] = ["ac", "co", "com", "edu", "gov", "net", "org"];
const SHARED_IN_INDIA: [&str; 6] = ["firm", "gen", "ind", "mil", "nic", "res"];

/// What somebody registers, or more than that: the last two labels, three where the second is one that many share.
fn domain_of(name: &str) -> &str {
    let mut labels = name.rsplit('.');
    let (top, second) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
    let is_shared = top.len() == 2 && SHARED.contains(&second) || top == "in" && SHARED_IN_INDIA.contains(&second);
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let cut = dots.nth(if is_shared { 2 } else { 1 }).map_or(0, |at| at + 1);
    name.get(cut..).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use kavadam_domain::Mac;

    use super::*;

    const DEVICE: Source = Source::Device(Mac([2, 0, 0, 0, 0, 1]));
    const OTHER: Source = Source::Device(Mac([2, 0, 0, 0, 0, 2]));

    #[test]
    fn a_tunnel_starves_and_a_phone_does_not() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        let piece = |number: u32| format!("{number:08x}.t.example.org");
        let passed = (0..1000)
            .filter(|number| budget.admits(DEVICE, &piece(*number), now))
            .count();
        assert_eq!(passed, NAMES);
        for _ in 0..500 {
            assert!(
                budget.admits(DEVICE, &piece(3), now),
                "what was asked before may be asked again"
            );
            assert!(
                budget.admits(DEVICE, "captive.apple.com", now),
                "nor is another domain's share gone"
            );
            assert!(budget.admits(OTHER, &piece(999), now), "nor another device's");
        }
        assert!(budget.admits(DEVICE, &piece(999), now + WINDOW));
    }

    #[test]
    fn many_domains_are_no_way_out() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        let names = (0..10_000).map(|number| format!("{}.x{}.org", number % 100, number / 100));
        let passed = names.filter(|name| budget.admits(DEVICE, name, now)).count();
        assert_eq!(passed, NAMES * DOMAINS);
    }

    #[test]
    fn a_phone_that_asks_for_many_offices_of_one_state_takes_no_name_from_another() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        for office in 0..50 {
            let name = format!("www.office-{office}.gov.in");
            assert!(budget.admits(DEVICE, &name, now), "{name}");
        }
        let piece = |number: u32| format!("{number:08x}.t.office-1.gov.in");
        let passed = (0..1000).filter(|number| budget.admits(DEVICE, &piece(*number), now));
        assert_eq!(
            passed.count(),
            NAMES - 1,
            "beneath one of them a tunnel starves as ever"
        );
    }

    #[test]
    fn a_domain_is_what_somebody_registers() {
        for (name, domain) in [
            ("a.b.example.org", "example.org"),
            ("example.org", "example.org"),
            ("org", "org"),
            ("", ""),
            ("a.b.kerala.gov.in", "kerala.gov.in"),
            ("kerala.gov.in", "kerala.gov.in"),
            ("gov.in", "gov.in"),
            ("a.b.example.in", "example.in"),
            ("a.co.example", "co.example"),
            ("a.b.example.firm.in", "example.firm.in"),
            ("a.b.gen.me", "gen.me"),
        ] {
            assert_eq!(domain_of(name), domain);
        }
    }
}
