//! Whose table it is.
//!
//! The kernel lets a socket own a table: until it is closed nobody else may change it, and `nft flush ruleset` by others passes it by. Since
//! Linux 6.9 such a table may outlive its owner, so that sessions go on while no process of ours runs. Rules are loaded by the socket that owns
//! the table, so that it is nobody else's for a moment.

use std::io;

use super::{Gate, State};
use crate::compile::{Part, interface_key};
use crate::netlink::{Channel, FAMILY_ARP, FAMILY_BRIDGE, FAMILY_INET, OWNED, PERSISTENT, SetEntry};
use crate::{FirewallError, Layout, apply, ruleset, shut};

/// How our table may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holding {
    /// By one owner after the other.
    Owned,
    /// By nobody: an old kernel, or a table that an old version of ours has made.
    Shared,
}

impl State {
    /// Loads the rules and looks whether the kernel shows them. Sessions stay; if the rules are refused the ones before still hold, those for bridges
    /// and ARP too.
    pub(super) fn load_rules(&mut self, layout: &Layout) -> Result<(), FirewallError> {
        self.holding = take_table(&mut self.nft, FAMILY_INET)?;
        // The rules come first, whatever else may fail.
        let others = Gate::guarded_lans(layout).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look for other gates");
            self.others.clone()
        });
        let prefixes = Gate::lan_prefixes(layout).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look at the LAN's prefixes");
            self.prefixes.clone()
        });
        let mut text = ruleset::content(layout);
        // In the same transaction: with these sets empty there would be no IPv6, and nobody on the other LANs, for a moment.
        text.push_str(&ruleset::followed(layout, &others, &prefixes));
        self.structure = None;
        apply::apply(&mut self.nft, &text, Part::Whole)?;
        self.structure = Some(ruleset::structure(layout));
        (self.others, self.prefixes) = (others, prefixes);
        self.filters = layout.filters.keys().copied().collect();
        self.counts_free = layout.counts_free();
        let loaded = apply::verify(layout);
        // The gate stands without it, between the LAN and the internet.
        if let Err(error) = self.load_link_rules(layout) {
            tracing::warn!(%error, "nothing keeps the ports of a bridge apart");
        }
        if let Err(error) = self.load_arp_rules(layout) {
            tracing::warn!(%error, "nothing keeps strangers from filling the table of neighbours");
        }
        if loaded.is_ok() {
            // Also where it was somebody else who shut the machine.
            shut::lift().unwrap_or_else(|error| tracing::error!(%error, "whether anything is forwarded is not known"));
        }
        loaded
    }

    /// Fills every set whose content is not the sessions'.
    pub(super) fn fill_all(&mut self, layout: &Layout) -> Result<(), FirewallError> {
        self.fill_configured(layout)?;
        if !layout.other_lans.is_empty() {
            self.fill_others()?;
        }
        if layout.delegated {
            self.fill_prefixes()?;
        }
        if let Err(error) = self.fill_ports() {
            tracing::warn!(%error, "nothing keeps the ports of a bridge apart");
        }
        Ok(())
    }

    /// Whether the kernel has these rules, and these sets but for their content. Of a table that others may change nobody knows.
    pub(super) fn has_structure_of(&self, layout: &Layout) -> bool {
        self.holding == Holding::Owned
            && self.counts_free == layout.counts_free()
            && self.structure == Some(ruleset::structure(layout))
    }

    /// Changes the content of the sets that follow the configuration, in one transaction.
    pub(super) fn fill_configured(&mut self, layout: &Layout) -> Result<(), FirewallError> {
        apply::apply(&mut self.nft, &ruleset::content(layout), Part::Elements)
    }

    fn load_link_rules(&mut self, layout: &Layout) -> Result<(), FirewallError> {
        self.beside.remove(&FAMILY_BRIDGE);
        take_table(&mut self.nft, FAMILY_BRIDGE)?;
        apply::apply(&mut self.nft, &ruleset::link::content(layout), Part::Whole)?;
        self.note_rules(FAMILY_BRIDGE)?;
        self.fill_ports()
    }

    fn load_arp_rules(&mut self, layout: &Layout) -> Result<(), FirewallError> {
        self.beside.remove(&FAMILY_ARP);
        take_table(&mut self.nft, FAMILY_ARP)?;
        apply::apply(&mut self.nft, &ruleset::arp::content(layout), Part::Whole)?;
        self.note_rules(FAMILY_ARP)
    }

    fn note_rules(&mut self, family: u8) -> Result<(), FirewallError> {
        let rules = self
            .nft
            .all_rules(family)
            .map_err(FirewallError::kernel("show the rules"))?;
        self.beside.insert(family, rules.len());
        Ok(())
    }

    /// Whether the tables beside the gate's, of bridges and of ARP, have as many rules as were loaded: `None`, or what is wrong.
    pub(super) fn difference_beside(&mut self) -> Result<Option<String>, FirewallError> {
        for (family, loaded) in self.beside.clone() {
            let rules = self
                .nft
                .all_rules(family)
                .map_err(FirewallError::kernel("show the rules"))?;
            if rules.len() != loaded {
                let name = if family == FAMILY_ARP { "arp" } else { "bridge" };
                return Ok(Some(format!(
                    "the table of family {name} has {} rules instead of {loaded}",
                    rules.len()
                )));
            }
        }
        Ok(None)
    }

    /// Says which LANs are left to other gates. A set that is there keeps what it holds over a reload of the rules, and a new one holds nothing.
    pub(super) fn fill_others(&mut self) -> Result<(), FirewallError> {
        let others = self
            .others
            .iter()
            .filter_map(|name| interface(name))
            .collect::<Vec<_>>();
        let mut batch = self.nft.batch();
        let set = ruleset::set::OTHERS;
        batch.empty(FAMILY_INET, set).entries(FAMILY_INET, set, &others);
        let filled = self.nft.commit(batch);
        filled.map_err(FirewallError::kernel("leave LANs to other gates"))
    }

    /// Says which ports are to be kept apart, as somebody else may have emptied the set.
    pub(super) fn fill_ports(&mut self) -> Result<(), FirewallError> {
        let ports = self.ports.keys().filter_map(|name| interface(name)).collect::<Vec<_>>();
        let in_bay = |(name, number): (&String, &u16)| {
            let bay = u32::from(ruleset::dhcp::bay_of(*number)).to_ne_bytes();
            let mut entry = interface(name)?;
            entry.value = Some(bay.to_vec());
            Some(entry)
        };
        // Those at the only port there is are everybody.
        let are_several = ports.len() > 1;
        let bays = self.ports.iter().filter(|_| are_several).filter_map(in_bay);
        let bays = bays.collect::<Vec<_>>();
        let mut batch = self.nft.batch();
        for (set, entries) in [(ruleset::link::PORTS, &ports), (ruleset::link::BAYS, &bays)] {
            batch.empty(FAMILY_BRIDGE, set).entries(FAMILY_BRIDGE, set, entries);
        }
        let filled = self.nft.commit(batch);
        filled.map_err(FirewallError::kernel("keep the ports of the bridge apart"))
    }
}

fn interface(name: &str) -> Option<SetEntry> {
    let key = interface_key(name)?.to_vec();
    Some(SetEntry {
        key,
        value: None,
        ends_range: false,
    })
}

/// Makes the table if it is not there, and makes it ours where the kernel can.
fn take_table(nft: &mut Channel, family: u8) -> Result<Holding, FirewallError> {
    match nft.make_table(family, OWNED | PERSISTENT) {
        Ok(()) => Ok(Holding::Owned),
        // Old kernels do not know the flags, and none gives them to a table that was made without.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => {
            nft.make_table(family, 0).map_err(|error| refusal(nft, error))?;
            Ok(Holding::Shared)
        }
        Err(error) => Err(refusal(nft, error)),
    }
}

/// The kernel says the same to those without the right and to those who come second.
fn refusal(nft: &mut Channel, error: io::Error) -> FirewallError {
    let is_taken = error.raw_os_error() == Some(libc::EPERM) && nft.table_flags().is_ok_and(|flags| flags & OWNED != 0);
    if is_taken {
        FirewallError::Taken
    } else {
        FirewallError::kernel("make the gate's table")(error)
    }
}
