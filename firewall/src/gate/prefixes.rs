//! The IPv6 prefixes of a LAN that others put on its interface: a client of prefix delegation (RFC 8415 §6.3), with what the provider delegates.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use kavadam_domain::Mac;

use super::{Gate, State};
use crate::compile::range_of;
use crate::lan::{neighbours, none_if_gone};
use crate::netlink::{Channel, FAMILY_INET, SetEntry, lan};
use crate::ruleset::set;
use crate::{FirewallError, Layout};

/// As many as the set has room for.
const MOST: usize = 32;

impl Gate {
    /// The LAN's IPv6 prefixes now: the gateway's own, and where [`Layout::delegated`] says so those of the interface's global addresses. An
    /// interface that is not there has none.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn lan_prefixes(layout: &Layout) -> Result<BTreeSet<Ipv6Net>, FirewallError> {
        let mut prefixes: BTreeSet<Ipv6Net> = layout.lan6.iter().map(Ipv6Net::trunc).collect();
        if layout.delegated {
            let found = Channel::route().and_then(|mut channel| lan::addresses(&mut channel, &layout.lan_if));
            let found = none_if_gone(found).map_err(FirewallError::kernel("look at the LAN's addresses"))?;
            let usable = found.iter().filter(|one| one.is_delegated());
            prefixes.extend(usable.map(|one| one.net.trunc()).take(MOST - 1));
        }
        Ok(prefixes)
    }

    /// Takes these for the LAN's prefixes from now on, where [`Layout::delegated`] says so: in one transaction, so that no packet of a prefix that
    /// stays meets none.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn follow_prefixes(&self, prefixes: &BTreeSet<Ipv6Net>) -> Result<(), FirewallError> {
        let mut state = self.state();
        state.prefixes.clone_from(prefixes);
        state.fill_prefixes()
    }

    /// Devices on the LAN by their global IPv6 addresses, as far as the kernel has spoken with them lately.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn lan_neighbours(layout: &Layout) -> Result<Vec<(Mac, Ipv6Addr)>, FirewallError> {
        neighbours(&layout.lan_if).map_err(FirewallError::kernel("look at the LAN's neighbours"))
    }
}

impl State {
    /// A set that is there keeps what it holds over a reload of the rules, and a new one holds nothing.
    pub(super) fn fill_prefixes(&mut self) -> Result<(), FirewallError> {
        let keys = bounds(&self.prefixes);
        let mut batch = self.nft.batch();
        batch
            .empty(FAMILY_INET, set::LAN6)
            .entries(FAMILY_INET, set::LAN6, &keys);
        let filled = self.nft.commit(batch);
        filled.map_err(FirewallError::kernel("follow the LAN's prefixes"))
    }
}

/// The kernel takes no ranges that overlap.
fn bounds(prefixes: &BTreeSet<Ipv6Net>) -> Vec<SetEntry> {
    let all: Vec<Ipv6Net> = prefixes.iter().copied().collect();
    let aggregated = Ipv6Net::aggregate(&all).into_iter();
    aggregated.flat_map(|net| range_of(net.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_become_ranges_that_do_not_overlap() {
        let nets = ["2001:db8::/60", "2001:db8:0:1::/64", "fd00:80::/64"];
        let prefixes = nets.iter().map(|net| net.parse().unwrap()).collect();
        let octets = |address: &str| address.parse::<Ipv6Addr>().unwrap().octets().to_vec();
        let found = bounds(&prefixes).into_iter().map(|one| (one.key, one.ends_range));
        assert_eq!(
            found.collect::<Vec<_>>(),
            [
                (octets("2001:db8::"), false),
                (octets("2001:db8:0:10::"), true),
                (octets("fd00:80::"), false),
                (octets("fd00:80:0:1::"), true),
            ]
        );
    }

    #[test]
    fn an_interface_that_is_not_there_has_the_gateways_own_prefix_alone() {
        let layout = Layout {
            lan_if: "no-such-if".to_owned(),
            delegated: true,
            ..crate::layout::tests::sample()
        };
        let found: Vec<String> = Gate::lan_prefixes(&layout)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["fd00:80::/64"]);
        assert_eq!(Gate::lan_neighbours(&layout).unwrap(), []);
    }
}
