//! Who shares one allowance: a device, however many addresses it has. IPv6 lets it have as many as it likes.

use std::net::{IpAddr, Ipv4Addr};

use kavadam_domain::Mac;

use crate::core::Device;

/// Whose connections and requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// A device of our LAN.
    Device(Mac),
    /// Somebody whose MAC nobody knows: not on our LAN, or gone.
    Ipv4(Ipv4Addr),
    /// Likewise, with all addresses of a /64 in one.
    Ipv6([u8; 8]),
}

impl Source {
    /// The device, if it is known, or the address.
    pub fn of(ip: IpAddr, device: Option<&Device>) -> Self {
        match (device, ip.to_canonical()) {
            (Some(device), _) => Self::Device(device.mac),
            (None, IpAddr::V4(ip)) => Self::Ipv4(ip),
            (None, IpAddr::V6(ip)) => Self::Ipv6(std::array::from_fn(|at| ip.octets().get(at).copied().unwrap_or(0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_one_whatever_its_address() {
        let device = Device {
            mac: Mac([2, 0, 0, 0, 0, 1]),
            ipv4: None,
            ipv6: None,
        };
        let addresses = ["10.80.1.2", "fd00:80::1", "fd00:80::2"].map(|ip| ip.parse().unwrap());
        for ip in addresses {
            assert_eq!(Source::of(ip, Some(&device)), Source::Device(device.mac));
        }
    }

    #[test]
    fn strangers_to_the_lan_are_told_apart_by_address_or_prefix() {
        let of = |ip: &str| Source::of(ip.parse().unwrap(), None);
        assert_eq!(of("::ffff:10.80.1.2"), of("10.80.1.2"));
        assert_ne!(of("10.80.1.2"), of("10.80.1.3"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}
