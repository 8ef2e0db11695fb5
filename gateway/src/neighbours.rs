//! Whose address is it: the kernel's neighbour table, asked for one entry (rtnetlink), IPv4 and IPv6; and what it says of an interface.

use std::io;
use std::net::IpAddr;

use kavadam_domain::Mac;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
const GET_NEIGHBOUR: u16 = 30;
const NEW_NEIGHBOUR: u16 = 28;
const REQUEST: u16 = 1;
const HEADER_OCTETS: usize = 16;
/// `NDA_DST`, `NDA_LLADDR`, `NDA_MASTER`; `IFLA_ADDRESS`, `IFLA_IFNAME`, `IFLA_MTU`.
const NEIGHBOUR_ADDRESS: u16 = 1;
const NEIGHBOUR_HARDWARE: u16 = 2;
const NEIGHBOUR_MASTER: u16 = 9;
/// `AF_BRIDGE`.
const BRIDGE: u8 = 7;
const LINK_HARDWARE: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
/// `IFLA_LINKINFO`, its `IFLA_INFO_DATA`, and in that of a bridge `IFLA_BR_FDB_N_LEARNED`, `IFLA_BR_FDB_MAX_LEARNED`.
const LINK_INFO: u16 = 18;
const LINK_INFO_DATA: u16 = 2;
const BRIDGE_LEARNT: u16 = 48;
const BRIDGE_MOST_LEARNT: u16 = 49;
/// `IFF_UP`.
const FLAG_UP: u32 = 1;
/// Lengths of `ndmsg` and `ifinfomsg`.
const NEIGHBOUR_OCTETS: usize = 12;
const LINK_OCTETS: usize = 16;

/// The hardware address behind `ip` on this interface; `None` if the kernel knows of none.
///
/// # Errors
/// Netlink cannot be used, or there is no such interface.
pub(crate) fn mac_of(interface: &str, ip: IpAddr) -> io::Result<Option<Mac>> {
    let index = link(interface)?.index;
    let (family, octets) = match ip {
        IpAddr::V4(ip) => (2_u8, ip.octets().to_vec()),
        IpAddr::V6(ip) => (10_u8, ip.octets().to_vec()),
    };
    let mut body = vec![family, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend([0; 4]);
    attribute(&mut body, NEIGHBOUR_ADDRESS, &octets);
    let answer = match ask(GET_NEIGHBOUR, NEW_NEIGHBOUR, &body) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    Ok(find(answer.get(NEIGHBOUR_OCTETS..), NEIGHBOUR_HARDWARE).and_then(hardware))
}

/// Whether a bridge of that index, which has no VLANs of its own, has learnt this address from a frame.
///
/// # Errors
/// As [`mac_of`], or it is no bridge.
pub(crate) fn has_learnt(bridge: u32, mac: Mac) -> io::Result<bool> {
    let mut body = vec![BRIDGE];
    body.resize(NEIGHBOUR_OCTETS, 0);
    attribute(&mut body, NEIGHBOUR_HARDWARE, &mac.0);
    attribute(&mut body, NEIGHBOUR_MASTER, &bridge.to_ne_bytes());
    match ask(GET_NEIGHBOUR, NEW_NEIGHBOUR, &body) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// Whether a bridge has learnt as many addresses as it may (`fdb_max_learned`, from Linux 6.8 on), and learns no other.
///
/// # Errors
/// As [`mac_of`].
pub(crate) fn is_full(bridge: &str) -> io::Result<bool> {
    Ok(has_learnt_all(asked_for(bridge)?.get(LINK_OCTETS..)))
}

fn has_learnt_all(attributes: Option<&[u8]>) -> bool {
    let bridge = find(find(attributes, LINK_INFO), LINK_INFO_DATA);
    let most = number(find(bridge, BRIDGE_MOST_LEARNT)).filter(|most| *most > 0);
    most.is_some_and(|most| number(find(bridge, BRIDGE_LEARNT)) >= Some(most))
}

/// The interface's own hardware address.
///
/// # Errors
/// As [`mac_of`].
pub(crate) fn own_mac(interface: &str) -> io::Result<Option<Mac>> {
    link(interface).map(|link| link.mac)
}

/// An interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub index: u32,
    pub is_up: bool,
    pub mtu: u32,
    pub mac: Option<Mac>,
}

/// Asked each time, since an interface that was made anew has another index.
///
/// # Errors
/// As [`mac_of`].
pub(crate) fn link(interface: &str) -> io::Result<Link> {
    let answer = asked_for(interface)?;
    let flags = number(answer.get(8..)).ok_or(io::ErrorKind::InvalidData)?;
    let attributes = answer.get(LINK_OCTETS..);
    Ok(Link {
        index: number(answer.get(4..)).ok_or(io::ErrorKind::InvalidData)?,
        is_up: flags & FLAG_UP != 0,
        mtu: number(find(attributes, LINK_MTU)).unwrap_or_default(),
        mac: find(attributes, LINK_HARDWARE).and_then(hardware),
    })
}

/// What the kernel says of an interface: `ifinfomsg` and attributes.
fn asked_for(interface: &str) -> io::Result<Vec<u8>> {
    let mut body = vec![0; LINK_OCTETS];
    let name: Vec<u8> = interface.bytes().chain([0]).collect();
    attribute(&mut body, LINK_NAME, &name);
    ask(GET_LINK, NEW_LINK, &body)
}

fn number(octets: Option<&[u8]>) -> Option<u32> {
    let octets = octets?.first_chunk()?;
    Some(u32::from_ne_bytes(*octets))
}

fn hardware(octets: &[u8]) -> Option<Mac> {
    octets.try_into().ok().map(Mac)
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// One question, one answer's body.
fn ask(kind: u16, expected: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut message = Vec::with_capacity(HEADER_OCTETS + body.len());
    let length = u32::try_from(HEADER_OCTETS + body.len()).unwrap_or(u32::MAX);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(body);
    socket.send(&message, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    read(&answer, expected)
}

fn read(answer: &[u8], expected: u16) -> io::Result<Vec<u8>> {
    const ERROR: u16 = 2;
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let length = answer.first_chunk().map(|octets| u32::from_ne_bytes(*octets));
    let kind = answer
        .get(4..)
        .and_then(<[u8]>::first_chunk)
        .map(|octets| u16::from_ne_bytes(*octets));
    let end = usize::try_from(length.ok_or_else(invalid)?).map_err(|_| invalid())?;
    let body = answer.get(HEADER_OCTETS..end.min(answer.len())).ok_or_else(invalid)?;
    match kind {
        Some(kind) if kind == expected => Ok(body.to_vec()),
        Some(ERROR) => {
            let code = body.first_chunk().map_or(0, |octets| i32::from_ne_bytes(*octets));
            Err(io::Error::from_raw_os_error(code.saturating_neg()))
        }
        _ => Err(invalid()),
    }
}

/// The value of the first attribute of this kind.
fn find(attributes: Option<&[u8]>, wanted: u16) -> Option<&[u8]> {
    let mut rest = attributes?;
    while let [l0, l1, k0, k1, after @ ..] = rest {
        let length = usize::from(u16::from_ne_bytes([*l0, *l1])).checked_sub(4)?;
        let value = after.get(..length)?;
        if u16::from_ne_bytes([*k0, *k1]) == wanted {
            return Some(value);
        }
        rest = after.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn knows_the_loopback_interface_and_no_neighbours_on_it() {
        assert_eq!(own_mac("lo").unwrap(), Some(Mac([0; 6])));
        let loopback = link("lo").unwrap();
        assert!(loopback.index == 1 && loopback.mtu > 1280, "{loopback:?}");
        let stranger = mac_of("lo", "127.0.0.9".parse().unwrap());
        assert!(!matches!(stranger, Ok(Some(mac)) if mac != Mac([0; 6])));
        assert!(own_mac("no-such-if").is_err());
        assert!(has_learnt(link("lo").unwrap().index, Mac([2; 6])).is_err(), "no bridge");
        assert!(!is_full("lo").unwrap(), "nor has it a bound");
    }

    #[test]
    fn a_bridge_is_full_when_it_has_learnt_as_many_as_it_may() {
        let nested = |kind, inner: &[u8]| {
            let mut outer = Vec::new();
            attribute(&mut outer, kind, inner);
            outer
        };
        let bridge = |learnt: u32, most: u32| {
            let mut data = nested(1, &[9; 4]);
            attribute(&mut data, BRIDGE_LEARNT, &learnt.to_ne_bytes());
            attribute(&mut data, BRIDGE_MOST_LEARNT, &most.to_ne_bytes());
            let kind = nested(1, b"bridge\0");
            nested(LINK_INFO, &[kind, nested(LINK_INFO_DATA, &data)].concat())
        };
        assert!(has_learnt_all(Some(&bridge(4, 4))));
        assert!(!has_learnt_all(Some(&bridge(3, 4))));
        assert!(!has_learnt_all(Some(&bridge(3, 0))), "no bound");
        assert!(
            !has_learnt_all(Some(&nested(LINK_INFO, &nested(LINK_INFO_DATA, &[])))),
            "an older kernel"
        );
    }

    proptest! {
        #[test]
        fn reading_hostile_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(body) = read(&bytes, NEW_LINK) {
                prop_assert!(body.len() < bytes.len());
            }
            if let Some(value) = find(Some(&bytes), NEIGHBOUR_HARDWARE) {
                prop_assert!(value.len() < bytes.len());
            }
        }
    }
}
