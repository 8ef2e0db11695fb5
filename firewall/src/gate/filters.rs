//! Which session has which filter.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use kavadam_domain::{FilterName, Mac};

use super::{Gate, Session, State};
use crate::netlink::{Batch, Entry};
use crate::ruleset::{members, set};
use crate::session::Slot;
use crate::{FirewallError, Layout};

/// Devices with a filter, for those who ask while the gate is busy, as it is for as long as rules are loaded.
#[derive(Default)]
pub(super) struct Filtered(RwLock<HashMap<Mac, FilterName>>);

impl Filtered {
    pub(super) fn of(&self, mac: Mac) -> Option<FilterName> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&mac).copied()
    }

    pub(super) fn set(&self, mac: Mac, filter: Option<FilterName>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match filter {
            Some(filter) => _ = all.insert(mac, filter),
            None => _ = all.remove(&mac),
        }
    }

    /// These and no others.
    pub(super) fn set_all(&self, sessions: &HashMap<Slot, Session>) {
        let of = |session: &Session| Some((session.mac, session.filter?));
        let all = sessions.values().filter_map(of).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

impl Gate {
    /// Whether the rules have this filter.
    #[must_use]
    pub fn has_filter(&self, filter: FilterName) -> bool {
        self.state().filters.contains(&filter)
    }

    /// The filter of the session of this device. Never waits for the kernel.
    #[must_use]
    pub fn filter_of(&self, mac: Mac) -> Option<FilterName> {
        self.filtered.of(mac)
    }
}

/// The sets that a session with this filter is in.
fn sets(filter: FilterName) -> [String; 2] {
    [set::FILTERED.to_owned(), members(filter)]
}

impl Session {
    /// The elements by which it is known to have what its plan names: its filter and its class. Of a filter that the configuration no longer has the
    /// sets may be there, or not.
    pub(super) fn named_elements(&self, slot: Slot) -> Vec<(String, Vec<u8>)> {
        let sets = self.filter.into_iter().flat_map(sets);
        let filtered = sets.map(|set| (set, slot.0.to_ne_bytes().to_vec()));
        filtered.chain(self.class_element(slot)).collect()
    }

    pub(super) fn add_filter(&self, slot: Slot, batch: &mut Batch) {
        let key = slot.0.to_ne_bytes();
        for set in self.filter.into_iter().flat_map(sets) {
            batch.add(
                &set,
                &Entry {
                    key: &key,
                    ..Entry::default()
                },
            );
        }
    }
}

impl State {
    /// Whether the gate has this filter, or none is asked for.
    pub(super) fn require_filter(&self, filter: Option<FilterName>) -> Result<(), FirewallError> {
        match filter.filter(|name| !self.filters.contains(name)) {
            Some(unknown) => Err(FirewallError::UnknownFilter(unknown)),
            None => Ok(()),
        }
    }

    /// A filter that sessions have must not go: they would be without.
    pub(super) fn require_filters_in_use(&self, layout: &Layout) -> Result<(), FirewallError> {
        let mut used = self.sessions.values().filter_map(|session| session.filter);
        match used.find(|name| self.filters.contains(name) && !layout.filters.contains_key(name)) {
            Some(gone) => Err(FirewallError::FilterInUse(gone)),
            None => Ok(()),
        }
    }
}
