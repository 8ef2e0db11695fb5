//! A UDP datagram with its addresses.

use std::net::{IpAddr, SocketAddr};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// A UDP datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Microseconds since 1970, if told; of the last fragment, where it came in some.
    pub at_micros: Option<i64>,
    /// Sender.
    pub from: SocketAddr,
    /// Receiver.
    pub to: SocketAddr,
    /// What was said.
    pub octets: Vec<u8>,
}

/// What comes before the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Ethernet,
    Cooked,
    CookedV2,
    /// Four octets that tell the family.
    Loopback,
    Ip,
}

impl Link {
    /// By its number in the registry of tcpdump; `None` for those that carry no RADIUS here.
    pub(super) const fn of(number: i32) -> Option<Self> {
        match number {
            0 | 108 => Some(Self::Loopback),
            1 => Some(Self::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Self::Ip),
            113 => Some(Self::Cooked),
            276 => Some(Self::CookedV2),
            _ => None,
        }
    }

    /// The headers of a frame.
    pub(super) fn slice(self, frame: &[u8]) -> Option<SlicedPacket<'_>> {
        const COOKED_V2_OCTETS: usize = 20;
        const LOOPBACK_OCTETS: usize = 4;
        let sliced = match self {
            Self::Ethernet => SlicedPacket::from_ethernet(frame),
            Self::Cooked => SlicedPacket::from_linux_sll(frame),
            Self::CookedV2 => SlicedPacket::from_ip(frame.get(COOKED_V2_OCTETS..)?),
            Self::Loopback => SlicedPacket::from_ip(frame.get(LOOPBACK_OCTETS..)?),
            Self::Ip => SlicedPacket::from_ip(frame),
        };
        sliced.ok()
    }
}

impl Datagram {
    /// The datagram in a packet, if there is a whole one.
    pub(super) fn of(sliced: &SlicedPacket<'_>, at_micros: Option<i64>) -> Option<Self> {
        let (from, to): (IpAddr, IpAddr) = match sliced.net.as_ref()? {
            NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            NetSlice::Arp(_) => return None,
        };
        let Some(TransportSlice::Udp(udp)) = &sliced.transport else {
            return None;
        };
        Some(Self {
            at_micros,
            from: SocketAddr::new(from, udp.source_port()),
            to: SocketAddr::new(to, udp.destination_port()),
            octets: udp.payload().to_vec(),
        })
    }
}
