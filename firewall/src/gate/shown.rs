//! What the kernel has of sessions, beside what it should have.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::Session;
use super::sessions::key4;
use crate::Layout;
use crate::netlink::{Channel, Element, Quota};
use crate::ruleset::set;
use crate::session::{Meter, Slot};

/// What lets a session's packets pass.
pub(super) const PASSAGE: [&str; 4] = [set::AUTH4, set::AUTH6, set::LIM_UP, set::LIM_DOWN];
/// What they are charged to, and what that is counted in.
const METERS: [&str; 3] = [set::TOTAL, set::CNT_UP, set::CNT_DOWN];

/// Elements as the kernel has them, by set and key.
#[derive(Default)]
pub(super) struct Shown(HashMap<String, HashMap<Vec<u8>, Element>>);

/// What a session's elements are like.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Intact,
    /// Elements that are gone or different, and how long the others stay, ms.
    Damaged(Vec<String>, Option<u64>),
    /// Its meters, or what it is charged to.
    Lost(&'static str),
}

impl Session {
    /// The elements without which its packets do not pass, or pass where they may not.
    pub(super) fn passage(&self, slot: Slot) -> Vec<(String, Vec<u8>)> {
        let own = self.elements(slot).into_iter().filter(|(set, _)| PASSAGE.contains(set));
        let own = own.map(|(set, key)| (set.to_owned(), key));
        own.chain(self.named_elements(slot)).collect()
    }
}

impl Shown {
    /// Everything, and all quotas after it; by a way of its own, so that the gate goes on. `counters` are the sets that count for any session.
    pub(super) fn whole(
        layout: &Layout,
        counters: Vec<&str>,
        filters: Vec<String>,
    ) -> io::Result<(Self, HashMap<String, Quota>)> {
        let mut nft = Channel::netfilter(layout.table())?.at_a_glance();
        let mut shown = Self::default();
        let sets = std::iter::once(set::TOTAL)
            .chain(counters)
            .chain(PASSAGE)
            .map(ToOwned::to_owned);
        let filtered = (!filters.is_empty()).then(|| set::FILTERED.to_owned());
        let classed = (!layout.classes.is_empty()).then(|| set::CLASSED.to_owned());
        for set in sets.chain(filtered).chain(filters).chain(classed) {
            let elements = nft.all_elements(&set)?;
            shown.add(set, elements);
        }
        let quotas = nft.all_quotas()?;
        Ok((shown, quotas.into_iter().map(|one| (one.name.clone(), one)).collect()))
    }

    /// What there is of these sessions.
    pub(super) fn of(nft: &mut Channel, sessions: &[(Slot, Session)]) -> io::Result<Self> {
        let mut keys: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for (slot, session) in sessions {
            let meters = std::iter::once(set::TOTAL).chain(session.counters());
            let meters = meters.map(|set| (set.to_owned(), slot.0.to_ne_bytes().to_vec()));
            for (set, key) in session.passage(*slot).into_iter().chain(meters) {
                keys.entry(set).or_default().push(key);
            }
        }
        let mut shown = Self::default();
        for (set, keys) in keys {
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let elements = nft.elements(&set, &keys)?;
            shown.add(set, elements);
        }
        Ok(shown)
    }

    fn add(&mut self, set: String, elements: Vec<Element>) {
        let by_key = elements.into_iter().map(|one| (one.key.clone(), one)).collect();
        self.0.insert(set, by_key);
    }

    pub(super) fn one(&self, set: &str, key: &[u8]) -> Option<&Element> {
        self.0.get(set)?.get(key)
    }

    pub(super) fn keys(&self, set: &str) -> impl Iterator<Item = &Vec<u8>> {
        self.0.get(set).into_iter().flat_map(HashMap::keys)
    }

    pub(super) fn meter(&self, slot: Slot) -> Meter {
        let mark = slot.0.to_ne_bytes();
        let counter = |set| self.one(set, &mark).and_then(|one| one.counter).unwrap_or_default();
        let (up, down) = (counter(set::CNT_UP), counter(set::CNT_DOWN));
        Meter {
            up_octets: up.octets,
            up_packets: up.packets,
            down_octets: down.octets,
            down_packets: down.packets,
            // Nobody's quota waits for it.
            free: None,
        }
    }

    /// Whether what it moves free of charge is no longer counted: nobody pays by that, so that it ends no session.
    pub(super) fn lacks_free(&self, slot: Slot, session: &Session) -> bool {
        let mark = slot.0.to_ne_bytes();
        session
            .counters()
            .any(|set| !METERS.contains(&set) && self.one(set, &mark).is_none())
    }

    pub(super) fn judge(&self, slot: Slot, session: &Session) -> Finding {
        let mark = slot.0.to_ne_bytes();
        if let Some(set) = METERS.into_iter().find(|set| self.one(set, &mark).is_none()) {
            return Finding::Lost(set);
        }
        if self.one(set::TOTAL, &mark).and_then(|one| one.object.as_ref()) != Some(&session.pool.name()) {
            return Finding::Lost(set::TOTAL);
        }
        let leads_here = |one: &Element| one.data.as_deref() == Some(mark.as_slice());
        let (mut damaged, mut left) = (Vec::new(), Vec::new());
        let mut look = |set: &str, key: &[u8], is_right: &dyn Fn(&Element) -> bool| match self.one(set, key) {
            Some(one) if is_right(one) => left.push(one.expires_ms),
            _ => damaged.push(set.to_owned()),
        };
        if let Some(ipv4) = session.ipv4 {
            look(set::AUTH4, &key4(session.mac, ipv4), &leads_here);
        }
        look(set::AUTH6, &session.mac.0, &leads_here);
        look(set::LIM_DOWN, &mark, &|one| one.limit_octets == session.down);
        if left.is_empty() {
            // Of what ends with the session nothing is left: its time is up.
            return Finding::Intact;
        }
        let lim_up = self.one(set::LIM_UP, &mark);
        if lim_up.is_none_or(|one| one.limit_octets != session.up) {
            damaged.push(set::LIM_UP.to_owned());
        }
        let queue = session.queue.map(|queue| queue.to_ne_bytes().to_vec());
        let is_there = |set: &str, key: &[u8]| {
            let found = self.one(set, key);
            found.is_some_and(|one| set != set::CLASSED || one.data == queue)
        };
        let named = session.named_elements(slot).into_iter();
        damaged.extend(named.filter(|(set, key)| !is_there(set, key)).map(|(set, _)| set));
        if damaged.is_empty() {
            return Finding::Intact;
        }
        // The first of them to end; only if none of them does, never. Nothing, which the kernel may show at the last moment, would be never too.
        Finding::Damaged(damaged, left.into_iter().flatten().min().map(|ms| ms.max(1)))
    }
}
