//! Which IPv4 address is whose, in the kernel's table of neighbours. An interface that goes down, or is made anew, loses what was written there.

use std::net::Ipv4Addr;

use kavadam_domain::Mac;

use super::{Gate, MOST_TOGETHER, State};
use crate::FirewallError;

/// Addresses that are looked at until one is tied: an interface loses all at once.
const SAMPLES: usize = 16;

impl Gate {
    /// Ties the addresses of those online to their devices again if the LAN's interface has lost them; how many that were. As long as there is no
    /// such interface, none. To be called each second: mostly one address is looked at.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn keep_pins(&self) -> Result<usize, FirewallError> {
        let lost = self.state().lost_pins()?;
        for some in lost.chunks(MOST_TOGETHER) {
            self.state().pin_again(some)?;
        }
        Ok(lost.len())
    }
}

impl State {
    /// All addresses, if none of some is tied. One alone may not be: its session is over, and not yet forgotten.
    fn lost_pins(&mut self) -> Result<Vec<Ipv4Addr>, FirewallError> {
        for ipv4 in self.by_ipv4.keys().take(SAMPLES) {
            match self.neighbours.is_pinned(*ipv4) {
                Ok(false) => {}
                Ok(true) => return Ok(Vec::new()),
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(Vec::new()),
                Err(error) => return Err(FirewallError::kernel("look for a neighbour")(error)),
            }
        }
        Ok(self.by_ipv4.keys().copied().collect())
    }

    /// Those of these addresses that are still somebody's.
    fn pin_again(&mut self, addresses: &[Ipv4Addr]) -> Result<(), FirewallError> {
        let device = |ipv4: &Ipv4Addr| Some((*ipv4, self.sessions.get(self.by_ipv4.get(ipv4)?)?.mac));
        let pins: Vec<(Ipv4Addr, Mac)> = addresses.iter().filter_map(device).collect();
        self.neighbours.pin(&pins).map_err(|error| self.untied(error))
    }
}
