//! What a LAN interface has over IPv6: the prefixes of its own addresses, and who is behind the devices' addresses.

use std::io;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use kavadam_domain::Mac;

use super::route::link_index;
use super::socket::Channel;
use super::wire::{self, Writer};
use crate::LanAddress;

const GET_ADDRESS: u16 = 22;
const GET_NEIGHBOUR: u16 = 30;
const FAMILY_INET6: u8 = 10;
/// Octets of `ifaddrmsg` and of `ndmsg`.
const ADDRESS_OCTETS: usize = 8;
const NEIGHBOUR_OCTETS: usize = 12;
/// `IFA_ADDRESS` and `NDA_DST`.
const ADDRESS: u16 = 1;
/// `IFA_CACHEINFO`: preferred and valid lifetime, then when it was made and changed.
const LIFETIMES: u16 = 6;
/// `NDA_LLADDR`.
const HARDWARE_ADDRESS: u16 = 2;
/// `RT_SCOPE_UNIVERSE` and `RT_SCOPE_LINK`.
const SCOPE_GLOBAL: u8 = 0;
const SCOPE_LINK: u8 = 253;
/// `IFA_F_TENTATIVE`: not an address yet. `IFA_F_DADFAILED`: never to be one, and tentative for good.
const FLAG_TENTATIVE: u8 = 0x40;
const FLAG_TAKEN: u8 = 0x08;
/// `NUD_REACHABLE`, `NUD_STALE`, `NUD_DELAY`, `NUD_PROBE`, `NUD_PERMANENT`: its hardware address is known.
const STATES_KNOWN: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;

/// An interface's IPv6 addresses, global and link-local ones.
pub fn addresses(channel: &mut Channel, interface: &str) -> io::Result<Vec<LanAddress>> {
    let index = link_index(channel, interface)?;
    channel.dump(
        |sequence| request(GET_ADDRESS, ADDRESS_OCTETS, sequence),
        |all, body| all.extend(read_address(body, index)),
    )
}

/// Devices on an interface, each with an IPv6 address that the kernel knows it by; link-local ones are left out.
pub fn neighbours(channel: &mut Channel, interface: &str) -> io::Result<Vec<(Mac, Ipv6Addr)>> {
    let index = link_index(channel, interface)?;
    channel.dump(
        |sequence| request(GET_NEIGHBOUR, NEIGHBOUR_OCTETS, sequence),
        |all, body| all.extend(read_neighbour(body, index)),
    )
}

fn request(kind: u16, octets: usize, sequence: u32) -> Writer {
    let mut writer = Writer::default();
    writer.message(kind, wire::REQUEST | wire::DUMP, sequence, |w| {
        w.raw(&[FAMILY_INET6, 0, 0, 0]);
        w.raw(&vec![0; octets - 4]);
    });
    writer
}

fn read_address(body: &[u8], index: i32) -> Option<LanAddress> {
    let &[FAMILY_INET6, length, flags, SCOPE_GLOBAL | SCOPE_LINK] = body.first_chunk()? else {
        return None;
    };
    (number(body)? == index).then_some(())?;
    let attributes = body.get(ADDRESS_OCTETS..)?;
    let octets: [u8; 16] = wire::attribute(attributes, ADDRESS)?.try_into().ok()?;
    let lifetimes = wire::attribute(attributes, LIFETIMES);
    let secs = |at: usize| {
        let secs = lifetimes.and_then(|octets| octets.get(at..)?.first_chunk());
        secs.map_or(LanAddress::FOR_EVER, |secs| u32::from_ne_bytes(*secs))
    };
    Some(LanAddress {
        net: Ipv6Net::new(octets.into(), length).ok()?,
        preferred_secs: secs(0),
        valid_secs: secs(4),
        is_sure: flags & (FLAG_TENTATIVE | FLAG_TAKEN) == 0,
        is_taken: flags & FLAG_TAKEN != 0,
    })
}

fn read_neighbour(body: &[u8], index: i32) -> Option<(Mac, Ipv6Addr)> {
    (*body.first()? == FAMILY_INET6 && number(body)? == index).then_some(())?;
    let state = u16::from_ne_bytes(*body.get(8..)?.first_chunk()?);
    (state & STATES_KNOWN != 0).then_some(())?;
    let attributes = body.get(NEIGHBOUR_OCTETS..)?;
    let address: [u8; 16] = wire::attribute(attributes, ADDRESS)?.try_into().ok()?;
    let mac: [u8; 6] = wire::attribute(attributes, HARDWARE_ADDRESS)?.try_into().ok()?;
    let address = Ipv6Addr::from(address);
    (!address.is_unicast_link_local() && !address.is_multicast()).then_some((Mac(mac), address))
}

/// The interface's, at the same place in both.
fn number(body: &[u8]) -> Option<i32> {
    body.get(4..)?.first_chunk().map(|octets| i32::from_ne_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(fixed: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.raw(fixed);
        for (kind, value) in attributes {
            writer.attribute(*kind, value);
        }
        writer.as_slice().to_vec()
    }

    fn on(index: i32, head: [u8; 4], rest: &[u8]) -> Vec<u8> {
        [&head[..], &index.to_ne_bytes(), rest].concat()
    }

    const GLOBAL: &str = "2001:db8:a000::1";

    #[test]
    fn an_address_has_lifetimes_and_counts_if_it_is_of_this_interface() {
        let octets = GLOBAL.parse::<Ipv6Addr>().unwrap().octets();
        let lifetimes = [1800_u32, 3600, 0, 0].map(u32::to_ne_bytes).concat();
        let body = |scope, flags| {
            let head = on(7, [FAMILY_INET6, 64, flags, scope], &[]);
            message(&head, &[(ADDRESS, &octets), (LIFETIMES, &lifetimes)])
        };
        let found = read_address(&body(SCOPE_GLOBAL, 0), 7).unwrap();
        assert_eq!(found.net.to_string(), "2001:db8:a000::1/64");
        assert_eq!(
            (found.preferred_secs, found.valid_secs, found.is_sure),
            (1800, 3600, true)
        );
        for (flags, is_sure, is_taken) in [(0x80, true, false), (0xc0, false, false), (0xc8, false, true)] {
            let found = read_address(&body(SCOPE_LINK, flags), 7).unwrap();
            assert_eq!((found.is_sure, found.is_taken), (is_sure, is_taken), "{flags:x}");
        }
        assert_eq!(read_address(&body(SCOPE_GLOBAL, 0), 8), None);
        assert_eq!(read_address(&body(254, 0), 7), None, "of the host");
        let without = message(&on(7, [FAMILY_INET6, 64, 0, SCOPE_GLOBAL], &[]), &[(ADDRESS, &octets)]);
        assert_eq!(read_address(&without, 7).unwrap().valid_secs, LanAddress::FOR_EVER);
    }

    #[test]
    fn a_neighbour_counts_if_its_hardware_address_is_known() {
        let octets = GLOBAL.parse::<Ipv6Addr>().unwrap().octets();
        let mac = [2, 0, 0, 0, 0, 1];
        let body = |state: u16| {
            let [low, high] = state.to_ne_bytes();
            let fixed = on(7, [FAMILY_INET6, 0, 0, 0], &[low, high, 0, 0]);
            message(&fixed, &[(ADDRESS, &octets), (HARDWARE_ADDRESS, &mac)])
        };
        assert_eq!(read_neighbour(&body(4), 7), Some((Mac(mac), GLOBAL.parse().unwrap())));
        assert_eq!(read_neighbour(&body(4), 8), None);
        assert_eq!(read_neighbour(&body(0x20), 7), None, "it did not answer");
    }

    #[test]
    fn the_loopback_interface_has_nothing_global() {
        let mut channel = Channel::route().unwrap();
        assert_eq!(addresses(&mut channel, "lo").unwrap().len(), 0);
        assert_eq!(neighbours(&mut channel, "lo").unwrap(), []);
        assert!(addresses(&mut channel, "no-such-if").is_err());
    }

    proptest! {
        #[test]
        fn hostile_octets_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), index in 0..3_i32) {
            let _ = read_address(&bytes, index);
            let _ = read_neighbour(&bytes, index);
        }
    }
}
