//! What each session moves free of charge.
//!
//! Counted only where anything can be free, as it makes a login dearer by two elements. A session has both of its meters or none: it keeps those that it
//! has when a reload leaves nothing free, and gets them when one makes something free, or when a version of ours that counts them takes over from one
//! that did not.

use std::collections::{HashMap, HashSet};
use std::io;

use kavadam_domain::accounting::FreeOctets;

use super::{Gate, PAUSE, Session, State};
use crate::FirewallError;
use crate::netlink::{FAMILY_INET, SetEntry};
use crate::ruleset::set;
use crate::session::Slot;

const METERS: [&str; 2] = [set::CNT_FREE_UP, set::CNT_FREE_DOWN];

/// Sessions that get theirs while everybody else waits, some milliseconds.
const TOGETHER: usize = 512;

impl Gate {
    /// Gives such meters to the sessions that have none, if the rules count by them, so many at a time: who logs in meanwhile has his at once, and waits
    /// for no more than these.
    pub(super) fn count_free(&self) {
        let slots = self.state().uncounted();
        told(slots.chunks(TOGETHER).try_for_each(|some| {
            let counted = self.state().count_free_of(some);
            std::thread::sleep(PAUSE);
            counted
        }));
    }
}

fn told(counted: Result<(), FirewallError>) {
    if let Err(error) = counted {
        tracing::warn!(%error, "what sessions from before move free of charge is not counted for each");
    }
}

impl Session {
    /// The sets that count what it moves.
    pub(super) fn counters(&self) -> impl Iterator<Item = &'static str> + use<> {
        let free = METERS.into_iter().take(if self.counts_free { METERS.len() } else { 0 });
        [set::CNT_UP, set::CNT_DOWN].into_iter().chain(free)
    }
}

impl State {
    /// The sets that count for any session.
    pub(super) fn counters_in_use(&self) -> Vec<&'static str> {
        let any = self.sessions.values().max_by_key(|session| session.counts_free);
        any.map_or_else(Vec::new, |session| session.counters().collect())
    }

    /// Those of these sessions that have such meters.
    pub(super) fn read_free(&mut self, slots: &[Slot]) -> Result<HashMap<Slot, FreeOctets>, FirewallError> {
        let counts = |slot: &Slot| self.sessions.get(slot).is_some_and(|session| session.counts_free);
        let slots: Vec<Slot> = slots.iter().copied().filter(counts).collect();
        if slots.is_empty() {
            return Ok(HashMap::new());
        }
        let up = self.counters(set::CNT_FREE_UP, &slots)?;
        let down = self.counters(set::CNT_FREE_DOWN, &slots)?;
        let both = |slot: Slot| {
            let (up, down) = (up.get(&slot)?.octets, down.get(&slot)?.octets);
            Some((slot, FreeOctets { up, down }))
        };
        Ok(slots.into_iter().filter_map(both).collect())
    }

    /// Finds in the kernel which sessions have such meters.
    pub(super) fn find_free(&mut self) -> io::Result<()> {
        let mut slots = METERS.map(|_| HashSet::new());
        for (set, slots) in METERS.into_iter().zip(&mut slots) {
            // There are none in the table of a gate where nothing is free, or of an older version.
            let elements = self.of_sessions(set)?;
            slots.extend(elements.into_iter().map(|one| one.key));
        }
        for (slot, session) in &mut self.sessions {
            session.counts_free = slots.iter().all(|keys| keys.contains(slot.0.to_ne_bytes().as_slice()));
        }
        Ok(())
    }

    /// A session's have gone; whether there is such a session.
    pub(super) fn uncount_free(&mut self, slot: Slot) -> bool {
        let session = self.sessions.get_mut(&slot);
        session.map(|session| session.counts_free = false).is_some()
    }

    /// Sessions that have no such meters, if the rules count by them.
    fn uncounted(&self) -> Vec<Slot> {
        let without = self.sessions.iter().filter(|(_, session)| !session.counts_free);
        let without = without.map(|(slot, _)| *slot).filter(|_| self.counts_free);
        without.collect()
    }

    /// Gives such meters to the sessions that have none, if the rules count by them, while everybody else waits. That this cannot be done is told, and
    /// no more: nobody is charged by them.
    pub(super) fn count_free(&mut self) {
        let slots = self.uncounted();
        told(slots.chunks(TOGETHER).try_for_each(|some| self.count_free_of(some)));
    }

    /// Gives such meters to these, those of them that are still there.
    fn count_free_of(&mut self, slots: &[Slot]) -> Result<(), FirewallError> {
        let mut slots = slots.to_vec();
        slots.retain(|slot| self.sessions.get(slot).is_some_and(|session| !session.counts_free));
        if slots.is_empty() {
            return Ok(());
        }
        let entry = |slot: &Slot| SetEntry {
            key: slot.0.to_ne_bytes().to_vec(),
            value: None,
            ends_range: false,
        };
        let entries: Vec<SetEntry> = slots.iter().map(entry).collect();
        let mut batch = self.nft.batch();
        for set in METERS {
            batch.entries(FAMILY_INET, set, &entries);
        }
        self.nft.commit(batch).map_err(FirewallError::kernel("add meters"))?;
        for slot in slots {
            if let Some(session) = self.sessions.get_mut(&slot) {
                session.counts_free = true;
            }
        }
        Ok(())
    }
}
