//! Who is behind an address: our DHCP leases first, the kernel's neighbour table else.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use kavadam_domain::Mac;

use crate::core::Device;
use crate::{neighbours, sightings};

/// The leases, shared between the doors and the listener of lease events.
#[derive(Clone)]
pub(crate) struct Devices {
    leases: Arc<RwLock<Leases>>,
    /// Where to look for neighbours; empty in tests.
    interface: String,
    mac_of: MacOf,
}

/// The kernel's answer, as of [`neighbours::mac_of`].
type MacOf = fn(&str, IpAddr) -> io::Result<Option<Mac>>;

#[cfg(test)]
impl Default for Devices {
    fn default() -> Self {
        Self {
            leases: Arc::default(),
            interface: String::new(),
            mac_of: |_, _| Ok(None),
        }
    }
}

#[derive(Default)]
struct Leases {
    by_ipv4: HashMap<Ipv4Addr, Mac>,
    by_mac: HashMap<Mac, Ipv4Addr>,
    places: HashMap<Mac, String>,
}

impl Devices {
    pub fn on(interface: &str) -> Self {
        Self {
            leases: Arc::default(),
            interface: interface.to_owned(),
            mac_of: neighbours::mac_of,
        }
    }

    /// Of no interface, with these neighbours.
    #[cfg(test)]
    pub fn beside(mac_of: MacOf) -> Self {
        Self {
            mac_of,
            ..Self::default()
        }
    }

    /// Remembers a lease; the newest of a device is the one it uses.
    pub fn lease(&self, mac: Mac, ipv4: Ipv4Addr) {
        let mut leases = self.leases.write().unwrap_or_else(PoisonError::into_inner);
        leases.by_ipv4.insert(ipv4, mac);
        leases.by_mac.insert(mac, ipv4);
    }

    /// Remembers where a device is, or that nobody says any more.
    pub fn place(&self, mac: Mac, place: Option<String>) {
        let mut leases = self.leases.write().unwrap_or_else(PoisonError::into_inner);
        match place {
            Some(place) => _ = leases.places.insert(mac, place),
            None => _ = leases.places.remove(&mac),
        }
    }

    /// Where a device is, if it has a lease and anybody says.
    pub fn place_of(&self, mac: Mac) -> Option<String> {
        self.read().places.get(&mac).cloned()
    }

    /// Forgets a lease.
    pub fn end_lease(&self, mac: Mac, ipv4: Ipv4Addr) {
        let mut leases = self.leases.write().unwrap_or_else(PoisonError::into_inner);
        if leases.by_ipv4.get(&ipv4) == Some(&mac) {
            leases.by_ipv4.remove(&ipv4);
        }
        if leases.by_mac.get(&mac) == Some(&ipv4) {
            leases.by_mac.remove(&mac);
            leases.places.remove(&mac);
        }
    }

    /// The address of a device's newest lease.
    pub fn address_of(&self, mac: Mac) -> Option<Ipv4Addr> {
        self.read().by_mac.get(&mac).copied()
    }

    /// Of these devices those whose own frames have come of late; all where nobody can tell. **Blocking**: as [`sightings::seen`].
    pub fn seen(&self, macs: Vec<Mac>) -> Vec<Mac> {
        if self.interface.is_empty() {
            return macs;
        }
        sightings::seen(&self.interface, macs)
    }

    /// The device that speaks from this address; `None` if it is not on our LAN.
    pub fn find(&self, ip: IpAddr) -> Option<Device> {
        match ip.to_canonical() {
            IpAddr::V4(ipv4) => {
                let leased = self.read().by_ipv4.get(&ipv4).copied();
                let mac = leased.or_else(|| self.neighbour(ipv4.into()))?;
                Some(Device {
                    mac,
                    ipv4: Some(ipv4),
                    ipv6: None,
                })
            }
            IpAddr::V6(ipv6) => {
                let mac = self.neighbour(ipv6.into())?;
                Some(Device {
                    mac,
                    ipv4: self.address_of(mac),
                    ipv6: Some(ipv6),
                })
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Leases> {
        self.leases.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn neighbour(&self, ip: IpAddr) -> Option<Mac> {
        (self.mac_of)(&self.interface, ip).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the neighbour table");
            None
        })
    }
}
