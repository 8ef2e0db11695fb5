//! Ports of a public IPv4 address that one device has to itself, so that an address and a port tell whose connection it was (RFC 7422).
//!
//! Which device has which follows from the configuration alone: nothing has to be written down for each connection, and each session's report
//! says what its device has (RFC 8045).

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// Below are the ports of well-known services, which stay the machine's own.
const FIRST_PORT: u16 = 1024;
const PORTS: u32 = 65_536 - FIRST_PORT as u32;

/// From the first to the last, of TCP and UDP, and likewise the identifiers of ICMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortRange {
    /// As the internet sees the device.
    pub address: Ipv4Addr,
    /// The lowest port.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

/// What a report says of a device's ports (IP-Port-Alloc, RFC 8045 §3.2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortNews {
    /// It has these, and no others any more.
    Held(PortRange),
    /// It had these, and has none.
    GivenBack(PortRange),
}

/// Why addresses and ports do not go round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooFewPorts {
    /// A range of no ports, or of more than there are.
    #[error("a device can have 1 to 64512 ports, not {0}")]
    Each(u32),
    /// More devices than ranges.
    #[error(
        "{devices} devices with {each} ports each want {wanted} public addresses, and there are {given}. Remedy: more addresses, a smaller range of DHCP, \
         or fewer ports for each"
    )]
    Addresses {
        /// Addresses that DHCP gives out.
        devices: u32,
        /// Ports of each.
        each: u32,
        /// Public addresses that would do.
        wanted: u32,
        /// Those that there are.
        given: u32,
    },
}

/// Which device has which ports: device after device, address after address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortMapping {
    first_device: u32,
    devices: u32,
    addresses: Vec<Ipv4Addr>,
    each: u32,
}

impl PortMapping {
    /// For the devices from `first` to `last`, each with so many ports of one of these addresses.
    ///
    /// # Errors
    /// [`TooFewPorts`].
    pub fn new(first: Ipv4Addr, last: Ipv4Addr, addresses: Vec<Ipv4Addr>, each: u32) -> Result<Self, TooFewPorts> {
        if !(1..=PORTS).contains(&each) {
            return Err(TooFewPorts::Each(each));
        }
        let first_device = u32::from(first);
        let devices = u32::from(last).saturating_sub(first_device).saturating_add(1);
        let (wanted, given) = (
            devices.div_ceil(PORTS / each),
            u32::try_from(addresses.len()).unwrap_or(u32::MAX),
        );
        if wanted > given {
            return Err(TooFewPorts::Addresses {
                devices,
                each,
                wanted,
                given,
            });
        }
        Ok(Self {
            first_device,
            devices,
            addresses,
            each,
        })
    }

    /// The public addresses, in order.
    #[must_use]
    pub fn addresses(&self) -> &[Ipv4Addr] {
        &self.addresses
    }

    /// The ports of the device that has this address on the LAN; `None` if DHCP does not give it out.
    #[must_use]
    pub fn of(&self, device: Ipv4Addr) -> Option<PortRange> {
        let number = u32::from(device).checked_sub(self.first_device)?;
        if number >= self.devices {
            return None;
        }
        let per_address = PORTS / self.each;
        let address = self.addresses.get(usize::try_from(number / per_address).ok()?)?;
        let first = u32::from(FIRST_PORT) + number % per_address * self.each;
        Some(PortRange {
            address: *address,
            first: u16::try_from(first).ok()?,
            last: u16::try_from(first + self.each - 1).ok()?,
        })
    }

    /// Every device with its ports.
    pub fn all(&self) -> impl Iterator<Item = (Ipv4Addr, PortRange)> {
        let device = |number| Ipv4Addr::from(self.first_device.saturating_add(number));
        (0..self.devices).filter_map(move |number| Some((device(number), self.of(device(number))?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mapping(addresses: u8, each: u32, last: [u8; 4]) -> Result<PortMapping, TooFewPorts> {
        let addresses = (1..=addresses).map(|last| Ipv4Addr::new(198, 51, 100, last)).collect();
        PortMapping::new(Ipv4Addr::new(10, 80, 1, 0), last.into(), addresses, each)
    }

    #[test]
    fn goes_through_the_ports_of_one_address_and_then_to_the_next() {
        let found = mapping(2, 1024, [10, 80, 1, 99]).unwrap();
        let of = |last| {
            found
                .of(Ipv4Addr::new(10, 80, 1, last))
                .map(|one| (one.address.octets()[3], one.first, one.last))
        };
        assert_eq!(of(0), Some((1, 1024, 2047)));
        assert_eq!(of(62), Some((1, 64_512, 65_535)));
        assert_eq!(of(63), Some((2, 1024, 2047)));
        assert_eq!(of(100), None, "DHCP does not give it out");
    }

    #[test]
    fn says_how_many_addresses_would_do() {
        let error = mapping(1, 512, [10, 80, 2, 255]).unwrap_err();
        assert_eq!(
            error,
            TooFewPorts::Addresses {
                devices: 512,
                each: 512,
                wanted: 5,
                given: 1
            }
        );
        assert_eq!(mapping(1, 0, [10, 80, 1, 1]).unwrap_err(), TooFewPorts::Each(0));
        assert!(mapping(1, 64_513, [10, 80, 1, 0]).is_err());
        assert!(mapping(1, 64_512, [10, 80, 1, 0]).is_ok());
    }

    proptest! {
        #[test]
        fn no_port_is_of_two_devices(each in 1u32..3000, addresses in 1u8..20, last in any::<[u8; 2]>()) {
            if let Ok(found) = mapping(addresses, each, [10, 80, last[0], last[1]]) {
                let mut taken: Vec<PortRange> = found.all().map(|(_, range)| range).collect();
                prop_assert!(taken.iter().all(|one| one.first >= FIRST_PORT && u32::from(one.last - one.first) + 1 == each));
                taken.sort_by_key(|one| (one.address, one.first));
                prop_assert!(taken.windows(2).all(|two| two[0].address != two[1].address || two[0].last < two[1].first));
            }
        }
    }
}
