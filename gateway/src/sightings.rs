//! Two devices with one hardware address, noticed: the LAN's bridge sees it now at one port, now at another.
//!
//! Whoever takes a device's MAC and address shares its session, and no packet filter can tell them apart. But while both are there, the bridge learns
//! the address anew with each frame. A phone that walks from one access point to another is seen to move too, yet not back and forth.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fs;
use std::io::{self, Read as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kavadam_domain::Mac;

use crate::neighbours;

/// So many moves within [`WITHIN`] are not a walk.
const RESTLESS: usize = 4;
const WITHIN: Duration = Duration::from_mins(1);
/// Between two lines in the log about one device.
const TOLD_EVERY: Duration = Duration::from_mins(10);
/// Addresses that are looked at; reading four times as many takes sixteen times as long.
const MOST_LEARNT: usize = 32_768;
/// So many are asked for one by one, which is less than to read all that a large bridge knows.
const FEW: usize = 64;
/// So many are asked for at a look where there is too much to read.
const MOST_ASKED_FOR: usize = 1_024;
/// `struct __fdb_entry` (`linux/if_bridge.h`).
const ENTRY_OCTETS: usize = 16;

/// A hardware address that a bridge has learnt, and at which of its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Learnt {
    pub mac: Mac,
    pub port: u16,
}

#[derive(Debug)]
struct Sighting {
    port: u16,
    /// When it was seen at another port than before, and which that was; the latest last.
    moves: VecDeque<(Instant, u16)>,
    told: Option<Instant>,
}

/// What a bridge shows of its devices, look by look; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sightings(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    by_mac: HashMap<Mac, Sighting>,
    names: HashMap<u16, String>,
}

impl Sightings {
    /// Looks at a bridge of this name; an interface that is none shows nothing. **Blocking**: some 20 ms at most.
    pub fn look(&self, bridge: &str, ports: &BTreeMap<String, u16>, now: Instant) {
        let names = ports.iter().map(|(name, number)| (*number, name.clone()));
        let Some(learnt) = table(bridge) else {
            // A flood of invented addresses; the kernel takes longer for each the more there are.
            return tracing::debug!("the bridge knows too many addresses to look for two with one");
        };
        let learnt = read(&learnt);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.names = names.collect();
        for mac in state.see(&learnt, now) {
            let at = state.ports_of(mac, now);
            tracing::warn!(
                mac = mac.masked(),
                ports = at.join(", "),
                "a device is seen at several ports in turns: another may have taken its address. `kavadam gate trace` tells more; Remedy: \
                 client isolation on the access points, 802.1X"
            );
        }
    }

    /// The ports at which a device is seen in turns; none if it stays where it is.
    pub fn restless(&self, mac: Mac, now: Instant) -> Vec<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.by_mac.get(&mac).is_some_and(|one| one.is_restless(now)) {
            state.ports_of(mac, now)
        } else {
            Vec::new()
        }
    }
}

impl State {
    /// Those of whom it must be told now.
    fn see(&mut self, learnt: &[Learnt], now: Instant) -> Vec<Mac> {
        let present: BTreeSet<Mac> = learnt.iter().map(|one| one.mac).collect();
        self.by_mac.retain(|mac, _| present.contains(mac));
        let mut news = Vec::new();
        for Learnt { mac, port } in learnt {
            let one = self.by_mac.entry(*mac).or_insert_with(|| Sighting {
                port: *port,
                moves: VecDeque::new(),
                told: None,
            });
            if one.port == *port {
                continue;
            }
            one.moves.push_back((now, one.port));
            one.port = *port;
            while one.moves.len() > RESTLESS {
                one.moves.pop_front();
            }
            let is_due = one
                .told
                .is_none_or(|told| now.saturating_duration_since(told) >= TOLD_EVERY);
            if one.is_restless(now) && is_due {
                one.told = Some(now);
                news.push(*mac);
            }
        }
        news
    }

    fn ports_of(&self, mac: Mac, now: Instant) -> Vec<String> {
        let Some(one) = self.by_mac.get(&mac) else {
            return Vec::new();
        };
        let seen = one.recent(now).chain([one.port]);
        let named: BTreeSet<String> = seen
            .map(|port| self.names.get(&port).cloned().unwrap_or_else(|| format!("port {port}")))
            .collect();
        named.into_iter().collect()
    }
}

impl Sighting {
    fn recent(&self, now: Instant) -> impl Iterator<Item = u16> {
        let recent = self.moves.iter();
        recent.filter_map(move |(at, port)| (now.saturating_duration_since(*at) <= WITHIN).then_some(*port))
    }

    fn is_restless(&self, now: Instant) -> bool {
        self.recent(now).count() >= RESTLESS
    }
}

/// Of these devices those whose own frames have come to a bridge of late, as a rule within five minutes; all where nobody can tell, as the interface is no
/// bridge, or its table cannot be read or is full. **Blocking**: reads a table, or asks for each.
pub(crate) fn seen(bridge: &str, macs: Vec<Mac>) -> Vec<Mac> {
    let directory = format!("/sys/class/net/{bridge}/bridge");
    if macs.is_empty() || !fs::exists(&directory).unwrap_or_default() {
        return macs;
    }
    let vlans = fs::read_to_string(format!("{directory}/vlan_filtering"));
    let asked = macs.clone();
    let seen = if vlans.is_ok_and(|text| text.trim() != "0") {
        // The same address is another entry in each VLAN, and the kernel is asked for one.
        listed(macs, table(bridge).as_deref())
    } else {
        match (macs.len() > FEW).then(|| table(bridge)).flatten() {
            Some(table) => listed(macs, Some(&table)),
            None => learnt(bridge, macs),
        }
    };
    unless_full(asked, seen, || neighbours::is_full(bridge))
}

/// Somebody may have invented so many addresses that the bridge learns no newcomer's: then nobody can tell.
fn unless_full(asked: Vec<Mac>, seen: Vec<Mac>, is_full: impl FnOnce() -> io::Result<bool>) -> Vec<Mac> {
    let hides = seen.len() < asked.len() && is_full().unwrap_or_default();
    if hides { asked } else { seen }
}

/// Those that are in a bridge's table; all if there is none.
fn listed(macs: Vec<Mac>, table: Option<&[u8]>) -> Vec<Mac> {
    let Some(table) = table else { return macs };
    let present: HashSet<Mac> = read(table).iter().map(|one| one.mac).collect();
    macs.into_iter().filter(|mac| present.contains(mac)).collect()
}

/// Those that a bridge says it has learnt, asked for each; of very many another part each time.
fn learnt(bridge: &str, mut macs: Vec<Mac>) -> Vec<Mac> {
    if macs.len() > MOST_ASKED_FOR {
        let first = rand::random_range(0..macs.len());
        macs.rotate_left(first);
        macs.truncate(MOST_ASKED_FOR);
    }
    let asked = neighbours::link(bridge).and_then(|link| {
        let each = macs.iter();
        each.map(|mac| Ok((*mac, neighbours::has_learnt(link.index, *mac)?)))
            .collect::<io::Result<Vec<_>>>()
    });
    match asked {
        Ok(asked) => asked.into_iter().filter_map(|(mac, has)| has.then_some(mac)).collect(),
        Err(error) => {
            tracing::warn!(%error, "cannot read the bridge's table");
            macs
        }
    }
}

/// The bridge's table, as far as it has been read by then; `None`: it has more than [`MOST_LEARNT`] addresses.
fn table(bridge: &str) -> Option<Vec<u8>> {
    let most = MOST_LEARNT * ENTRY_OCTETS;
    let mut octets = Vec::new();
    let file = fs::File::open(format!("/sys/class/net/{bridge}/brforward"));
    let read = file.and_then(|file| {
        file.take(u64::try_from(most).unwrap_or(u64::MAX))
            .read_to_end(&mut octets)
    });
    (read.is_ok() && octets.len() < most).then_some(octets)
}

/// The bridge's table as the kernel shows it; its own addresses left out.
pub(crate) fn read(table: &[u8]) -> Vec<Learnt> {
    let entry = |octets: &[u8]| {
        let (mac, rest) = octets.split_first_chunk::<6>()?;
        let &[low, is_own, _, _, _, _, high, ..] = rest else {
            return None;
        };
        (is_own == 0).then_some(Learnt {
            mac: Mac(*mac),
            port: u16::from_le_bytes([low, high]),
        })
    };
    table.chunks_exact(ENTRY_OCTETS).filter_map(entry).collect()
}

/// The ports of a bridge, and the numbers by which it knows them, 0 where it does not say; none if it is no bridge.
#[must_use]
pub(crate) fn ports_of(bridge: &str) -> BTreeMap<String, u16> {
    let directory = format!("/sys/class/net/{bridge}/brif");
    let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let number = |name: &str| {
        let text = fs::read_to_string(format!("{directory}/{name}/port_no")).ok()?;
        u16::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
    };
    names
        .map(|name| (number(&name).unwrap_or_default(), name))
        .map(|(number, name)| (name, number))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn nobody_counts_as_absent_where_a_bridge_learns_no_newcomer() {
        let other = Mac([2, 0, 0, 0, 0, 2]);
        let asked = || vec![MAC, other];
        assert_eq!(unless_full(asked(), vec![MAC], || Ok(true)), asked());
        assert_eq!(unless_full(asked(), vec![MAC], || Ok(false)), [MAC]);
        let unknown = || Err(io::ErrorKind::NotFound.into());
        assert_eq!(unless_full(asked(), vec![MAC], unknown), [MAC]);
    }

    /// Told of at each of these looks, a second apart.
    fn told(ports: &[u16]) -> Vec<bool> {
        let (mut state, start) = (State::default(), Instant::now());
        let looks = ports.iter().zip(0..);
        looks
            .map(|(port, second)| {
                let now = start + Duration::from_secs(second);
                !state.see(&[Learnt { mac: MAC, port: *port }], now).is_empty()
            })
            .collect()
    }

    #[test]
    fn who_walks_is_no_two() {
        assert!(!told(&[1, 1, 2, 2, 2, 3, 3, 1]).contains(&true));
    }

    #[test]
    fn who_is_seen_back_and_forth_is_told_of_once() {
        let told = told(&[1, 2, 1, 2, 1, 2, 1, 2]);
        assert_eq!(told, [false, false, false, false, true, false, false, false]);
    }

    #[test]
    fn moves_of_an_hour_are_a_walk() {
        let (mut state, start) = (State::default(), Instant::now());
        for minute in 0..60 {
            let port = u16::from(minute % 2 == 0);
            let now = start + Duration::from_mins(minute);
            assert!(state.see(&[Learnt { mac: MAC, port }], now).is_empty());
        }
    }

    #[test]
    fn nothing_is_kept_of_who_has_gone() {
        let mut state = State::default();
        state.see(&[Learnt { mac: MAC, port: 1 }], Instant::now());
        state.see(&[], Instant::now());
        assert!(state.by_mac.is_empty());
    }

    #[test]
    fn where_there_is_no_bridge_nobody_is_said_to_be_absent() {
        for interface in ["lo", "no-such-if"] {
            assert_eq!(seen(interface, vec![MAC]), [MAC]);
        }
    }

    #[test]
    fn a_table_says_who_is_there_and_where_it_cannot_be_read_nobody_is_said_to_be_absent() {
        let (here, port) = ([2, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let table = [&here[..], &port].concat();
        let both = || vec![MAC, Mac([2, 0, 0, 0, 0, 2])];
        assert_eq!(listed(both(), Some(&table)), [MAC]);
        assert_eq!(listed(both(), Some(&[])), []);
        assert_eq!(listed(both(), None), both());
        assert_eq!(learnt("no-such-if", both()), both());
    }

    #[test]
    fn reads_the_table_as_the_kernel_writes_it() {
        let learnt = [2, 0, 0, 0, 0, 1, 3, 0, 9, 0, 0, 0, 1, 0, 0, 0];
        let own = [2, 0, 0, 0, 0, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&[learnt, own].concat()), [Learnt { mac: MAC, port: 259 }]);
    }

    proptest! {
        #[test]
        fn hostile_octets_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).len() <= bytes.len() / ENTRY_OCTETS);
        }
    }
}
