//! What has become of the addresses that DHCP gives out, as far as the kernel knows.

use std::collections::BTreeSet;
use std::io;

use super::{Gate, State, View};
use crate::FirewallError;
use crate::layout::DhcpPool;
use crate::netlink::FAMILY_INET;
use crate::ruleset::{dhcp, set};

/// The addresses and those who ask for them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenAddresses {
    /// Given out and heard, fixed ones too.
    pub held: usize,
    /// Requests that were refused since the table was made.
    pub refused_requests: u64,
    full: BTreeSet<u16>,
}

impl SeenAddresses {
    /// Whether those at the port of this number in the LAN's bridge hold as many as they may; others may share its bay.
    #[must_use]
    pub fn is_full_at(&self, port: u16) -> bool {
        self.full.contains(&dhcp::bay_of(port))
    }
}

impl View {
    /// How much of this pool is left, and for whom. Some milliseconds with tens of thousands of leases.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn addresses(&mut self, pool: DhcpPool) -> Result<SeenAddresses, FirewallError> {
        self.0.addresses(pool)
    }
}

impl Gate {
    /// Requests for an address that were refused since the table was made.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn refused_requests(&self) -> Result<u64, FirewallError> {
        let refused = self.state().refused_requests();
        refused.map_err(FirewallError::kernel("read a counter"))
    }
}

impl State {
    fn addresses(&mut self, pool: DhcpPool) -> Result<SeenAddresses, FirewallError> {
        let mut look = || {
            let room = usize::try_from(pool.most_per_port()).unwrap_or(usize::MAX);
            let mut full = BTreeSet::new();
            for number in 1..=dhcp::BAYS {
                if self.nft.all_elements(&dhcp::bay(number))?.len() >= room {
                    full.insert(number);
                }
            }
            Ok(SeenAddresses {
                held: self.nft.all_elements(set::LEASES)?.len(),
                refused_requests: self.refused_requests()?,
                full,
            })
        };
        look().map_err(FirewallError::kernel("look at the addresses given out"))
    }

    fn refused_requests(&mut self) -> io::Result<u64> {
        let counter = self.nft.counter(FAMILY_INET, dhcp::REFUSED)?;
        Ok(counter.map_or(0, |counter| counter.packets))
    }
}
