//! What a rule may look at, and how values of it are written.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Unreadable;
use super::words::Words;
use crate::netlink::expression::{Header, Source};

/// `enum nft_meta_keys`.
pub(super) const MARK: u32 = 3;
pub(super) const PRIORITY: u32 = 2;
pub(super) const FRAME: u32 = 1;
pub(super) const FAMILY: u32 = 15;
pub(super) const TRANSPORT: u32 = 16;
/// Whether the interface is Ethernet.
pub(super) const LINK_TYPE: u32 = 8;
const IN_INTERFACE: u32 = 6;
const OUT_INTERFACE: u32 = 7;
/// `enum nft_ct_keys`.
const CONNECTION_STATE: u32 = 0;
const CONNECTION_STATUS: u32 = 2;
pub(super) const CONNECTION_MARK: u32 = 3;

pub(super) const FRAME_OF_IPV6: u16 = 0x86dd;

pub(super) const IPV4: u8 = 2;
pub(super) const IPV6: u8 = 10;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// How a value is written, and what the kernel has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ether,
    /// Two octets that have no name, in hexadecimal.
    Octets,
    Ipv4,
    Ipv6,
    Port,
    Length,
    Protocol,
    /// What a frame carries.
    Frame,
    Family,
    Icmp,
    Icmpv6,
    /// A number in the machine's own order.
    Mark,
    Class,
    Interface,
    AddressType,
    /// Bits, of which any may be set.
    State,
    Status,
}

/// What must hold of a packet before a field of it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    Ethernet,
    Network(u8),
    Transport(u8),
    /// ICMP of one family.
    Messages(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub source: Source,
    pub kind: Kind,
    pub needs: Needs,
}

impl Field {
    /// The field that is named next.
    pub fn read(words: &mut Words) -> Result<Self, Unreadable> {
        let free = |source, kind| Self {
            source,
            kind,
            needs: Needs::Nothing,
        };
        let in_header = |header, offset, kind: Kind, needs| Self {
            source: Source::Payload {
                header,
                offset,
                len: kind.len(),
            },
            kind,
            needs,
        };
        let network = |offset, kind, needs| in_header(Header::Network, offset, kind, needs);
        let transport = |offset, kind, needs| in_header(Header::Transport, offset, kind, needs);
        let (protocol, part) = (words.next()?, words.peek().unwrap_or_default());
        if protocol.starts_with('@') {
            let found = raw(protocol).map(|(header, offset, kind)| in_header(header, offset, kind, Needs::Nothing));
            return found.ok_or_else(|| words.unreadable("a field"));
        }
        let field = match (protocol, part) {
            ("iifname", _) => return Ok(free(Source::Meta(IN_INTERFACE), Kind::Interface)),
            ("oifname", _) => return Ok(free(Source::Meta(OUT_INTERFACE), Kind::Interface)),
            ("meta", "mark") => free(Source::Meta(MARK), Kind::Mark),
            ("meta", "protocol") => free(Source::Meta(FRAME), Kind::Frame),
            ("meta", "nfproto") => free(Source::Meta(FAMILY), Kind::Family),
            ("meta", "l4proto") => free(Source::Meta(TRANSPORT), Kind::Protocol),
            ("ct", "mark") => free(Source::Connection(CONNECTION_MARK), Kind::Mark),
            ("ct", "state") => free(Source::Connection(CONNECTION_STATE), Kind::State),
            ("ct", "status") => free(Source::Connection(CONNECTION_STATUS), Kind::Status),
            ("ether", "saddr") => in_header(Header::Link, 6, Kind::Ether, Needs::Ethernet),
            ("ip", "saddr") => network(12, Kind::Ipv4, Needs::Network(IPV4)),
            ("ip", "daddr") => network(16, Kind::Ipv4, Needs::Network(IPV4)),
            ("ip6", "saddr") => network(8, Kind::Ipv6, Needs::Network(IPV6)),
            ("ip6", "daddr") => network(24, Kind::Ipv6, Needs::Network(IPV6)),
            ("ip6", "length") => network(4, Kind::Length, Needs::Network(IPV6)),
            ("tcp", "sport") => transport(0, Kind::Port, Needs::Transport(TCP)),
            ("udp", "sport") => transport(0, Kind::Port, Needs::Transport(UDP)),
            ("tcp", "dport") => transport(2, Kind::Port, Needs::Transport(TCP)),
            ("udp", "dport") => transport(2, Kind::Port, Needs::Transport(UDP)),
            ("udp", "length") => transport(4, Kind::Length, Needs::Transport(UDP)),
            ("th", "dport") => transport(2, Kind::Port, Needs::Nothing),
            ("icmp", "type") => transport(0, Kind::Icmp, Needs::Messages(ICMP)),
            ("icmpv6", "type") => transport(0, Kind::Icmpv6, Needs::Messages(ICMPV6)),
            ("fib", "daddr") => {
                words.expect("daddr type")?;
                return Ok(free(Source::DestinationType, Kind::AddressType));
            }
            ("arp", "saddr") => {
                words.expect("saddr")?;
                return match words.next()? {
                    "ether" => Ok(network(8, Kind::Ether, Needs::Nothing)),
                    "ip" => Ok(network(14, Kind::Ipv4, Needs::Nothing)),
                    _ => Err(words.unreadable("ether or ip")),
                };
            }
            _ => return Err(words.unreadable("a field")),
        };
        words.next().map(|_| field)
    }
}

/// `@th,OFFSET,LENGTH` or `@nh,OFFSET,LENGTH` in bits, of what has no name, or none that `nft` takes everywhere: after which header it stands, where
/// it begins there in octets, and what it is.
pub(super) fn raw(place: &str) -> Option<(Header, u32, Kind)> {
    let (header, place) = place.split_once(',')?;
    let header = match header {
        "@th" => Header::Transport,
        "@nh" => Header::Network,
        _ => return None,
    };
    let (offset, length) = place.split_once(',')?;
    let bits: u32 = offset.parse().ok()?;
    let kind = match length {
        "16" => Kind::Octets,
        "48" => Kind::Ether,
        "128" => Kind::Ipv6,
        _ => return None,
    };
    bits.is_multiple_of(8).then_some((header, bits / 8, kind))
}

impl Kind {
    /// Octets of a value.
    pub const fn len(self) -> u32 {
        match self {
            Self::Ether => 6,
            Self::Ipv6 | Self::Interface => 16,
            Self::Octets | Self::Port | Self::Length | Self::Frame => 2,
            Self::Protocol | Self::Family | Self::Icmp | Self::Icmpv6 => 1,
            Self::Ipv4 | Self::Mark | Self::Class | Self::AddressType | Self::State | Self::Status => 4,
        }
    }

    /// The octets of a value that is written like this. `None`: it is none.
    pub fn value(self, written: &str) -> Option<Vec<u8>> {
        let one_of = |names: &[(&str, u8)]| names.iter().find(|(name, _)| *name == written).map(|(_, value)| *value);
        Some(match self {
            // Devices come by netlink, never by a rule.
            Self::Ether => return None,
            Self::Octets => u16::try_from(number(written)?).ok()?.to_be_bytes().to_vec(),
            Self::Ipv4 => written.parse::<Ipv4Addr>().ok()?.octets().to_vec(),
            Self::Ipv6 => written.parse::<Ipv6Addr>().ok()?.octets().to_vec(),
            Self::Port | Self::Length => written.parse::<u16>().ok()?.to_be_bytes().to_vec(),
            Self::Protocol => {
                vec![one_of(&[("tcp", TCP), ("udp", UDP), ("icmp", ICMP)]).or_else(|| written.parse().ok())?]
            }
            Self::Frame => match written {
                "ip6" => FRAME_OF_IPV6,
                "8021q" => 0x8100,
                "8021ad" => 0x88a8,
                _ => return None,
            }
            .to_be_bytes()
            .to_vec(),
            Self::Family => vec![one_of(&[("ipv4", IPV4), ("ipv6", IPV6)])?],
            Self::Icmp => vec![one_of(&[("echo-request", 8)])?],
            Self::Icmpv6 => vec![one_of(&[
                ("echo-request", 128),
                ("nd-router-solicit", 133),
                ("nd-router-advert", 134),
                ("nd-neighbor-solicit", 135),
                ("nd-neighbor-advert", 136),
                ("nd-redirect", 137),
            ])?],
            Self::Mark => number(written)?.to_ne_bytes().to_vec(),
            Self::Class => {
                let (high, low) = written.split_once(':')?;
                let part = |text| u16::from_str_radix(text, 16).ok().map(u32::from);
                (part(high)? << 16 | part(low)?).to_ne_bytes().to_vec()
            }
            Self::Interface => interface_key(written.strip_prefix('"')?.strip_suffix('"')?)?.to_vec(),
            Self::AddressType => u32::from(one_of(&[("unicast", 1), ("local", 2)])?)
                .to_ne_bytes()
                .to_vec(),
            Self::State | Self::Status => self.bits(written)?.to_ne_bytes().to_vec(),
        })
    }

    /// The sum of the bits that these words stand for.
    fn bits(self, written: &str) -> Option<u32> {
        let names: &[(&str, u32)] = if self == Self::State {
            &[("invalid", 1), ("established", 2), ("related", 4), ("new", 8)]
        } else {
            &[("confirmed", 8)]
        };
        let bit = |word| names.iter().find(|(name, _)| *name == word).map(|(_, bit)| *bit);
        written.split(',').try_fold(0, |sum, word| Some(sum | bit(word)?))
    }
}

/// A number as it is written for marks: with or without `0x`.
pub(super) fn number(written: &str) -> Option<u32> {
    written
        .strip_prefix("0x")
        .map_or_else(|| written.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
}

/// The key of an interface's name: padded with zeros. `None`: longer than any.
pub(crate) fn interface_key(name: &str) -> Option<[u8; 16]> {
    let mut key = [0; 16];
    key.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    Some(key)
}
