//! Putting right what somebody else did to who is heard before login, and to who holds which IPv6 address.

use std::collections::HashSet;
use std::io;

use super::TOGETHER;
use crate::gate::{Gate, PAUSE, State};
use crate::netlink::{Channel, FAMILY_ARP, FAMILY_INET};
use crate::ruleset::{arp, impostors, set};
use crate::{FirewallError, Layout};

/// How many elements a set of a table should have, or lacks.
type Wanted = (u8, &'static str, usize);

impl Gate {
    /// Counts every set that a lease is in, and admits all again if some have gone from one: not at once, so that nobody waits long.
    pub(super) fn mend_leases(&self, layout: &Layout) -> Result<Vec<String>, FirewallError> {
        let action = || FirewallError::kernel("list leases");
        let wanted = self.state().leases_wanted();
        let suspects = lacking(&mut glance(layout).map_err(action())?, &wanted).map_err(action())?;
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        let mut state = self.state();
        let mut wanted = state.leases_wanted();
        wanted.retain(|(family, set, _)| suspects.iter().any(|lacks| (lacks.0, lacks.1) == (*family, *set)));
        let lacks = lacking(&mut state.nft, &wanted).map_err(action())?;
        let differences: Vec<String> = lacks.iter().map(told).collect();
        let known = if differences.is_empty() {
            Vec::new()
        } else {
            state.known_leases()
        };
        drop(state);
        for leases in known.chunks(TOGETHER) {
            self.state().admit_again(leases)?;
            std::thread::sleep(PAUSE);
        }
        Ok(differences)
    }

    /// An address that is held by nobody any longer would be kept from everybody, whose it was too.
    pub(super) fn free_held(&self, layout: &Layout) -> Result<Option<String>, FirewallError> {
        let action = || FirewallError::kernel("list who holds IPv6 addresses");
        let mut nft = glance(layout).map_err(action())?;
        let mut look = || -> io::Result<HashSet<Vec<u8>>> {
            // In this order, as who takes one meanwhile is written down first.
            let held = nft.all_elements(impostors::HELD)?;
            let holders = nft.all_elements(impostors::HOLDERS)?;
            let is_by: HashSet<&[u8]> = holders.iter().filter_map(|one| one.key.get(..16)).collect();
            let keys = held.into_iter().map(|one| one.key);
            Ok(keys.filter(|key| !is_by.contains(key.as_slice())).collect())
        };
        let mut by_nobody: Vec<_> = look().map_err(action())?.into_iter().collect();
        if !by_nobody.is_empty() {
            // A look may have been broken off, so that it lacks holders.
            let again = look().map_err(action())?;
            by_nobody.retain(|key| again.contains(key));
        }
        for keys in by_nobody.chunks(TOGETHER) {
            let keys = keys.iter().map(|key| (impostors::HELD, key.clone()));
            let freed = self.state().delete_if_there(keys);
            freed.map_err(FirewallError::kernel("free IPv6 addresses"))?;
            std::thread::sleep(PAUSE);
        }
        let told = || format!("{} IPv6 addresses were held by nobody", by_nobody.len());
        Ok((!by_nobody.is_empty()).then(told))
    }
}

impl State {
    fn leases_wanted(&mut self) -> Vec<Wanted> {
        let pairs = self.known_leases().len();
        let (devices, addresses) = (self.leases.len(), self.leased.len());
        let mut wanted = vec![
            (FAMILY_INET, set::LEASES, pairs),
            (FAMILY_INET, set::LEASE_MACS, devices),
            (FAMILY_INET, set::LEASE_CLIENTS, devices),
            (FAMILY_INET, impostors::LEASE_OWNERS, devices),
            (FAMILY_INET, impostors::LEASED, addresses),
        ];
        if self.beside.contains_key(&FAMILY_ARP) {
            wanted.extend([(FAMILY_ARP, arp::PAIRS, pairs), (FAMILY_ARP, arp::LEASED, addresses)]);
        }
        wanted
    }
}

/// By a way of its own, so that the gate goes on.
fn glance(layout: &Layout) -> io::Result<Channel> {
    Ok(Channel::netfilter(layout.table())?.at_a_glance())
}

/// Those sets that lack elements, and how many.
fn lacking(nft: &mut Channel, wanted: &[Wanted]) -> io::Result<Vec<Wanted>> {
    let mut lacks = Vec::new();
    for &(family, set, wanted) in wanted {
        let missing = wanted.saturating_sub(nft.all_elements_in(family, set)?.len());
        if missing > 0 {
            lacks.push((family, set, missing));
        }
    }
    Ok(lacks)
}

fn told(&(family, set, missing): &Wanted) -> String {
    let table = if family == FAMILY_ARP { "arp's " } else { "" };
    format!("{missing} leases were gone from {table}{set}")
}
