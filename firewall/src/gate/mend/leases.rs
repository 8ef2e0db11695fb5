//! Putting right what somebody else did to who is heard before login, and to who holds which IPv6 address.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::Ipv4Addr;
use std::time::Instant;

use super::{PAUSE, TOGETHER};
use crate::gate::{Gate, State};
use crate::netlink::{Channel, FAMILY_ARP, FAMILY_INET};
use crate::ruleset::{arp, impostors, set};
use crate::{FirewallError, Layout};

/// How many elements a set of a table should have.
type Wanted = (u8, &'static str, usize);

impl Gate {
    /// Counts every set that a lease is in, and admits all again if some have gone from one: not at once, so that nobody waits long.
    pub(super) fn mend_leases(&self, layout: &Layout) -> Result<Vec<String>, FirewallError> {
        let action = || FirewallError::kernel("list leases");
        let wanted = self.state().leases_wanted();
        if lacking(&mut glance(layout).map_err(action())?, &wanted)
            .map_err(action())?
            .is_empty()
        {
            return Ok(Vec::new());
        }
        let mut state = self.state();
        let wanted = state.leases_wanted();
        let differences = lacking(&mut state.nft, &wanted).map_err(action())?;
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
        // In this order, as who takes one meanwhile is written down first.
        let held = nft.all_elements(impostors::HELD).map_err(action())?;
        let holders = nft.all_elements(impostors::HOLDERS).map_err(action())?;
        let is_by: HashSet<&[u8]> = holders.iter().filter_map(|one| one.key.get(..16)).collect();
        let by_nobody = held.iter().map(|one| &one.key);
        let by_nobody: Vec<_> = by_nobody.filter(|key| !is_by.contains(key.as_slice())).collect();
        for keys in by_nobody.chunks(TOGETHER) {
            let keys = keys.iter().map(|key| (impostors::HELD, (*key).clone()));
            let freed = self.state().delete_if_there(keys);
            freed.map_err(FirewallError::kernel("free IPv6 addresses"))?;
            std::thread::sleep(PAUSE);
        }
        let told = || format!("{} IPv6 addresses were held by nobody", by_nobody.len());
        Ok((!by_nobody.is_empty()).then(told))
    }
}

impl State {
    fn leases_wanted(&self) -> Vec<Wanted> {
        let now = Instant::now();
        let is_valid = |until: &Option<Instant>| until.is_none_or(|until| until > now);
        let valid = |addresses: &BTreeMap<Ipv4Addr, Option<Instant>>| -> Vec<Ipv4Addr> {
            let valid = addresses.iter().filter(|one| is_valid(one.1));
            valid.map(|one| *one.0).collect()
        };
        let devices: Vec<_> = self.leases.values().map(valid).filter(|one| !one.is_empty()).collect();
        let pairs = devices.iter().map(Vec::len).sum();
        let addresses = devices.iter().flatten().collect::<HashSet<_>>().len();
        let mut wanted = vec![
            (FAMILY_INET, set::LEASES, pairs),
            (FAMILY_INET, set::LEASE_MACS, devices.len()),
            (FAMILY_INET, set::LEASE_CLIENTS, devices.len()),
            (FAMILY_INET, impostors::LEASE_OWNERS, devices.len()),
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

fn lacking(nft: &mut Channel, wanted: &[Wanted]) -> io::Result<Vec<String>> {
    let mut differences = Vec::new();
    for &(family, set, wanted) in wanted {
        let missing = wanted.saturating_sub(nft.all_elements_in(family, set)?.len());
        if missing > 0 {
            let table = if family == FAMILY_ARP { "arp's " } else { "" };
            differences.push(format!("{missing} leases were gone from {table}{set}"));
        }
    }
    Ok(differences)
}
