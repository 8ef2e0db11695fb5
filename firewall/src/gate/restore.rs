//! Putting the gate back after somebody else took it away, as `nft flush ruleset` does.

use super::State;
use crate::session::Slot;
use crate::{FirewallError, Layout, ruleset};

/// What [`crate::Gate::restore`] found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// One entry for each difference that was there.
    pub differences: Vec<String>,
    /// Sessions that the kernel had lost, with their meters: their devices are strangers.
    pub lost: Vec<Slot>,
}

impl State {
    /// The rules come first, whatever else may fail. The sessions that are gone stay gone: what they had carried since they
    /// were last read nobody knows, so they must not be opened again on the old terms.
    pub(super) fn restore(&mut self, layout: &Layout, differences: Vec<String>) -> Result<Restored, FirewallError> {
        self.load_rules(layout)?;
        let before = self.sessions.clone();
        self.adopt()?;
        self.follow_classes(layout);
        self.count_free();
        let mut lost = before;
        lost.retain(|slot, _| !self.sessions.contains_key(slot));
        let is_new = self.has_lost_numbers()?;
        for (slot, session) in &lost {
            self.release(session.ipv4.as_slice());
            if !is_new {
                self.delete_if_there(session.all_elements(*slot))
                    .map_err(FirewallError::kernel("remove what is left of a session"))?;
            }
        }
        if is_new {
            self.begin_anew()?;
        }
        self.admit_known()?;
        Ok(Restored {
            differences,
            lost: lost.into_keys().collect(),
        })
    }

    fn has_lost_numbers(&mut self) -> Result<bool, FirewallError> {
        let reserved = self
            .nft
            .all_elements(ruleset::set::RESERVED)
            .map_err(FirewallError::kernel("list sessions"))?;
        Ok(reserved.is_empty())
    }

    /// The table is a new one. Connections made while there was none would go on without translation, so they go too, unless other gates have
    /// theirs among them.
    fn begin_anew(&mut self) -> Result<(), FirewallError> {
        self.numbers.forget_reserved();
        let mut batch = self.nft.batch();
        let reserved = self.numbers.reserve(&mut batch);
        self.nft
            .commit(batch)
            .map_err(FirewallError::kernel("keep the numbers of sessions"))?;
        self.numbers.committed(reserved);
        if self.is_alone {
            self.forget_connections();
        }
        Ok(())
    }
}
