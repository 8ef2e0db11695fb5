//! Whose table it is.
//!
//! The kernel lets a socket own a table: until it is closed nobody else may change it, and `nft flush ruleset` by others passes it by. Since
//! Linux 6.9 such a table may outlive its owner, so that sessions go on while no process of ours runs. `nft`, which reads our rules, is
//! another than our socket: for as long as it works we let go of the table.

use std::io;

use super::{Gate, State};
use crate::netlink::{Channel, FAMILY_ARP, FAMILY_BRIDGE, FAMILY_INET, OWNED, PERSISTENT};
use crate::{FirewallError, Layout, apply, ruleset};

/// In one transaction, or it would not fit into the socket's buffer.
const MOST_KEYS: usize = 2_000;

/// How our table may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holding {
    /// By one owner after the other.
    Owned,
    /// By nobody: an old kernel, or a table that an old version of ours has made.
    Shared,
}

impl State {
    /// Loads the rules and looks whether the kernel shows them. Sessions stay, and the table is ours again afterwards even if the rules were
    /// refused: then the ones before still hold.
    pub(super) fn load_rules(&mut self, layout: &Layout) -> Result<(), FirewallError> {
        if self.holding == Holding::Owned {
            // The old socket is closed by this, and the table anybody's.
            self.nft = Channel::netfilter(layout.table()).map_err(FirewallError::kernel("open a netlink socket"))?;
            self.holding = Holding::Shared;
        }
        self.holding = make_table(&mut self.nft, FAMILY_INET)?;
        let loaded = apply::apply(&ruleset::content(layout)).and_then(|()| apply::verify(layout));
        if self.holding == Holding::Owned {
            own(&mut self.nft, FAMILY_INET)?;
        }
        // The gate stands without it, between the LAN and the internet.
        if let Err(error) = self.load_link_rules(layout) {
            tracing::warn!(%error, "nothing keeps the ports of a bridge apart");
        }
        if let Err(error) = self.load_arp_rules(layout) {
            tracing::warn!(%error, "nothing keeps strangers from filling the table of neighbours");
        }
        if !layout.other_lans.is_empty() && loaded.is_ok() {
            // Asked anew: what this process knows may be nothing yet, and those who are guarded are to notice nothing of it.
            self.others = Gate::guarded_lans(layout)?;
            self.fill_others()?;
        }
        self.structure = loaded.is_ok().then(|| ruleset::structure(layout));
        loaded
    }

    /// Whether the kernel has these rules, and these sets but for their content. Of a table that others may change nobody knows.
    pub(super) fn has_structure_of(&self, layout: &Layout) -> bool {
        self.holding == Holding::Owned && self.structure == Some(ruleset::structure(layout))
    }

    /// Changes the content of the sets that follow the configuration, in one transaction; very many at once are left to `nft`.
    pub(super) fn fill_configured(&mut self, layout: &Layout) -> Result<(), FirewallError> {
        let sets = ruleset::configured_keys(layout);
        if sets.iter().map(|(_, keys)| keys.len()).sum::<usize>() > MOST_KEYS {
            return self.load_rules(layout);
        }
        let mut batch = self.nft.batch();
        for (set, keys) in &sets {
            batch.fill(set, keys);
        }
        let filled = self.nft.commit(batch);
        filled.map_err(FirewallError::kernel("change what is open, free or blocked"))
    }

    fn load_link_rules(&mut self, layout: &Layout) -> Result<(), FirewallError> {
        let holding = make_table(&mut self.nft, FAMILY_BRIDGE)?;
        let loaded = apply::apply(&ruleset::link::content(layout));
        if holding == Holding::Owned {
            own(&mut self.nft, FAMILY_BRIDGE)?;
        }
        loaded.and_then(|()| self.fill_ports())
    }

    fn load_arp_rules(&mut self, layout: &Layout) -> Result<(), FirewallError> {
        self.hears_arp = false;
        let holding = make_table(&mut self.nft, FAMILY_ARP)?;
        let loaded = apply::apply(&ruleset::arp::content(layout));
        if holding == Holding::Owned {
            own(&mut self.nft, FAMILY_ARP)?;
        }
        loaded?;
        self.hears_arp = true;
        Ok(())
    }

    /// Says which LANs are left to other gates. A set that is there keeps what it holds over a reload of the rules, and a new one holds nothing.
    pub(super) fn fill_others(&mut self) -> Result<(), FirewallError> {
        let keys = self
            .others
            .iter()
            .filter_map(|name| Some((interface_key(name)?.to_vec(), false)));
        let keys: Vec<ruleset::Bound> = keys.collect();
        let mut batch = self.nft.batch();
        batch.fill(ruleset::set::OTHERS, &keys);
        let filled = self.nft.commit(batch);
        filled.map_err(FirewallError::kernel("leave LANs to other gates"))
    }

    /// Says which ports are to be kept apart, as somebody else may have emptied the set.
    pub(super) fn fill_ports(&mut self) -> Result<(), FirewallError> {
        let keys: Vec<[u8; 16]> = self.ports.iter().filter_map(|name| interface_key(name)).collect();
        let mut batch = self.nft.batch();
        batch.fill_link_set(ruleset::link::PORTS, &keys);
        let filled = self.nft.commit(batch);
        filled.map_err(FirewallError::kernel("keep the ports of the bridge apart"))
    }
}

/// The key of an interface's name: padded with zeros. `None`: longer than any.
fn interface_key(name: &str) -> Option<[u8; 16]> {
    let mut key = [0; 16];
    key.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    Some(key)
}

fn own(nft: &mut Channel, family: u8) -> Result<(), FirewallError> {
    nft.make_table(family, OWNED | PERSISTENT)
        .map_err(|error| refusal(nft, error))
}

/// Makes the table if it is not there.
fn make_table(nft: &mut Channel, family: u8) -> Result<Holding, FirewallError> {
    match nft.make_table(family, PERSISTENT) {
        Ok(()) => Ok(Holding::Owned),
        // Old kernels do not know the flag, and none gives it to a table that was made without.
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
