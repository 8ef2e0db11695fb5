//! What names have opened of late: so that nothing is opened again and again, and nobody who answers for a name has all the room that there is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use kavadam_firewall::Opening;

/// Addresses of each family out of one answer. Services that name more are reached at these.
pub(super) const MOST_OF_AN_ANSWER: usize = 16;
/// Addresses at a time of one entry in the configuration, a sixteenth of what the kernel's sets hold. Beneath a domain there are as many names as its
/// owner likes, so it is not each name that is counted.
const MOST_OF_AN_ENTRY: usize = 4_096;
/// What was opened so lately is not opened again: everybody asks for the same names.
const FRESH: Duration = Duration::from_secs(10);
/// Between two lines in the log.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// What is to be done with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It is to be opened; it counts as open from now on.
    Open,
    /// It was a moment ago.
    Nothing,
    /// Its entry has as many as it may.
    Refused,
}

struct Stay {
    opened: Instant,
    until: Instant,
}

/// By entry of the configuration.
#[derive(Default)]
pub(super) struct Opened {
    entries: HashMap<(Opening, String), HashMap<IpAddr, Stay>>,
    told: Option<Instant>,
}

impl Opened {
    /// An answer for this entry leads to an address, which is to stay open for so long.
    pub(super) fn admit(
        &mut self,
        (open, entry): (Opening, &str),
        address: IpAddr,
        stay: Duration,
        now: Instant,
    ) -> Due {
        let addresses = self.entries.entry((open, entry.to_owned())).or_default();
        let known = addresses.get(&address);
        if known.is_some_and(|known| now.saturating_duration_since(known.opened) < FRESH) {
            return Due::Nothing;
        }
        if known.is_none() && addresses.len() >= MOST_OF_AN_ENTRY {
            addresses.retain(|_, known| known.until > now);
            if addresses.len() >= MOST_OF_AN_ENTRY {
                return Due::Refused;
            }
        }
        let until = now + stay;
        addresses.insert(address, Stay { opened: now, until });
        Due::Open
    }

    /// It could not be opened.
    pub(super) fn forget(&mut self, (open, entry): (Opening, &str), address: IpAddr) {
        if let Some(addresses) = self.entries.get_mut(&(open, entry.to_owned())) {
            addresses.remove(&address);
        }
    }

    /// Whether the log is to say that something stays closed: once a minute.
    pub(super) fn is_to_be_told(&mut self, now: Instant) -> bool {
        let was_told = |told: Instant| now.saturating_duration_since(told) < TOLD_EVERY;
        if self.told.is_some_and(was_told) {
            return false;
        }
        self.told = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const ENTRY: (Opening, &str) = (Opening::Garden, "example.org");

    fn address(number: u32) -> IpAddr {
        std::net::Ipv6Addr::from(u128::from(number)).into()
    }

    #[test]
    fn who_answers_for_an_entry_opens_his_part_and_no_more_until_some_are_closed() {
        let (mut opened, now) = (Opened::default(), Instant::now());
        let opens = |opened: &mut Opened, entry, numbers: std::ops::Range<u32>, now| {
            let due = numbers.filter(|number| opened.admit(entry, address(*number), HOUR, now) == Due::Open);
            due.count()
        };
        assert_eq!(opens(&mut opened, ENTRY, 0..65_536, now), MOST_OF_AN_ENTRY);
        assert_eq!(opened.admit(ENTRY, address(70_000), HOUR, now), Due::Refused);
        for other in [(Opening::Garden, "example.net"), (Opening::Free, "example.org")] {
            assert_eq!(opens(&mut opened, other, 0..8, now), 8, "{other:?}");
        }
        assert_eq!(
            opens(&mut opened, ENTRY, 0..8, now + FRESH),
            8,
            "those it has stay open"
        );
        assert_eq!(
            opens(&mut opened, ENTRY, 70_000..80_000, now + HOUR),
            MOST_OF_AN_ENTRY - 8
        );
    }

    #[test]
    fn what_was_opened_a_moment_ago_is_left_alone_and_what_could_not_be_is_tried_again() {
        let (mut opened, now) = (Opened::default(), Instant::now());
        let admit = |opened: &mut Opened, now| opened.admit(ENTRY, address(1), HOUR, now);
        assert_eq!(admit(&mut opened, now), Due::Open);
        assert_eq!(admit(&mut opened, now), Due::Nothing);
        assert_eq!(admit(&mut opened, now + FRESH), Due::Open);
        opened.forget(ENTRY, address(1));
        assert_eq!(admit(&mut opened, now + FRESH), Due::Open);
    }

    #[test]
    fn the_log_says_so_once_a_minute() {
        let (mut opened, now) = (Opened::default(), Instant::now());
        let told: Vec<bool> = [0, 1, 59, 60, 61]
            .map(|secs| opened.is_to_be_told(now + Duration::from_secs(secs)))
            .into();
        assert_eq!(told, [true, false, false, true, false]);
    }
}
