//! The IPv6 addresses of a LAN's interface, and of which prefixes devices make theirs.

use std::io;
use std::net::Ipv6Addr;
use std::ops::RangeInclusive;

use ipnet::Ipv6Net;
use kavadam_domain::Mac;

use crate::netlink::{Channel, lan};
use crate::{FirewallError, Layout};

/// Lengths of a prefix out of which devices make addresses. What is shorter is a mistake: it would make half of the internet the LAN's.
const LENGTHS: RangeInclusive<u8> = 32..=64;

/// An address of the LAN's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanAddress {
    /// The address with the length of its prefix.
    pub net: Ipv6Net,
    /// For how long it is still to be used for new connections; [`LanAddress::FOR_EVER`]: always.
    pub preferred_secs: u32,
    /// For how long it is still an address; likewise.
    pub valid_secs: u32,
    /// Nobody else has it, as far as is known (RFC 4862 §5.4).
    pub is_sure: bool,
    /// Somebody else has it: it never becomes sure by itself.
    pub is_taken: bool,
}

impl LanAddress {
    /// A lifetime without an end (RFC 4861 §4.6.2).
    pub const FOR_EVER: u32 = u32::MAX;

    /// The LAN's addresses out of whose prefixes devices may have theirs, as [`crate::Gate::lan_prefixes`] knows them; and the link-local ones. An
    /// interface that is not there has none.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn all(layout: &Layout) -> Result<Vec<Self>, FirewallError> {
        let found = Channel::route().and_then(|mut channel| lan::addresses(&mut channel, &layout.lan_if));
        let mut found = none_if_gone(found).map_err(FirewallError::kernel("look at the LAN's addresses"))?;
        found.retain(|one| {
            one.is_link_local() || Some(one.net) == layout.lan6 || (layout.delegated && one.is_delegated())
        });
        Ok(found)
    }

    /// Whether it is good on the link alone.
    #[must_use]
    pub fn is_link_local(&self) -> bool {
        self.net.addr().is_unicast_link_local()
    }

    pub(crate) fn is_delegated(&self) -> bool {
        !self.is_link_local() && LENGTHS.contains(&self.net.prefix_len())
    }
}

/// Devices on an interface by their global IPv6 addresses; none where it is not there.
pub(crate) fn neighbours(interface: &str) -> io::Result<Vec<(Mac, Ipv6Addr)>> {
    none_if_gone(Channel::route().and_then(|mut channel| lan::neighbours(&mut channel, interface)))
}

pub(crate) fn none_if_gone<T>(found: io::Result<Vec<T>>) -> io::Result<Vec<T>> {
    match found {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(Vec::new()),
        other => other,
    }
}
