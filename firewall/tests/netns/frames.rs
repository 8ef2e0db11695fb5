//! Frames as somebody makes them who does as he likes: any addresses, any contents.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;

use kavadam_domain::Mac;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, send as put, socket,
};

const BROADCAST: Mac = Mac([0xff; 6]);
const UDP: u8 = 17;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
pub const ROUTER_SOLICITATION: u8 = 133;
pub const SOLICITATION: u8 = 135;
pub const ADVERTISEMENT: u8 = 136;

/// Sends them from this interface.
pub fn send(interface: &str, frames: &[&str]) {
    let mut links = getifaddrs()
        .expect("interfaces")
        .filter(|one| one.interface_name == interface);
    let link: Option<LinkAddr> = links.find_map(|one| one.address.as_ref()?.as_link_addr().copied());
    let wire = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    );
    let wire = wire.expect("a packet socket");
    bind(wire.as_raw_fd(), &link.expect("the interface")).expect("bind");
    for (number, frame) in frames.iter().enumerate() {
        put(wire.as_raw_fd(), &read(frame), MsgFlags::empty()).expect("send");
        if number % 50 == 49 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// A frame as the tool takes it.
pub fn written(frame: &[u8]) -> String {
    frame
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect::<Vec<_>>()
        .concat()
}

fn read(written: &str) -> Vec<u8> {
    let octet = |at: usize| u8::from_str_radix(&written[at..at + 2], 16).expect("hexadecimal");
    (0..written.len()).step_by(2).map(octet).collect()
}

/// A request for an address for `client`, whose hardware address is said to be so long, in a frame of `from`.
pub fn dhcp(from: Mac, client: Mac, length: u8) -> Vec<u8> {
    let mut request = [0; 300];
    request[..3].copy_from_slice(&[1, 1, length]);
    request[28..34].copy_from_slice(&client.0);
    let ends = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    udp4((from, BROADCAST), ends, (68, 67), &request)
}

pub fn udp4(macs: (Mac, Mac), ends: (Ipv4Addr, Ipv4Addr), ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    // Without a checksum, which IPv4 allows.
    ipv4(macs, ends, UDP, &udp(ports, 0, payload))
}

/// A segment without data, of a connection at this place.
pub fn tcp4(
    macs: (Mac, Mac),
    ends: (Ipv4Addr, Ipv4Addr),
    (source, destination): (u16, u16),
    (at, flags): (u32, u8),
) -> Vec<u8> {
    let mut segment = [source, destination].map(u16::to_be_bytes).concat();
    segment.extend([at, at].map(u32::to_be_bytes).concat());
    segment.extend([5 << 4, flags, 1, 0, 0, 0, 0, 0]);
    let pseudo = [&ends.0.octets()[..], &ends.1.octets(), &[0, TCP, 0, 20]].concat();
    let sum = checksum(&[&pseudo[..], &segment].concat()).to_be_bytes();
    segment[16..18].copy_from_slice(&sum);
    ipv4(macs, ends, TCP, &segment)
}

/// An ICMP error that says that a port cannot be reached, about the datagram of which `about` is the IP packet.
pub fn unreachable4(macs: (Mac, Mac), ends: (Ipv4Addr, Ipv4Addr), about: &[u8]) -> Vec<u8> {
    let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
    message.extend(about);
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    ipv4(macs, ends, ICMP, &message)
}

fn ipv4((from, to): (Mac, Mac), (source, destination): (Ipv4Addr, Ipv4Addr), protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + body.len()).expect("a length").to_be_bytes();
    let mut header = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    header.extend(source.octets());
    header.extend(destination.octets());
    let sum = checksum(&header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    [&to.0[..], &from.0, &[8, 0], &header, body].concat()
}

fn udp((source, destination): (u16, u16), sum: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("a length");
    let head = [source, destination, length, sum].map(u16::to_be_bytes).concat();
    [&head, payload].concat()
}

pub fn udp6(macs: (Mac, Mac), ends: (Ipv6Addr, Ipv6Addr), ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let sum = sum6(ends, UDP, &udp(ports, 0, payload));
    ipv6(macs, ends, UDP, &udp(ports, sum, payload))
}

/// Neighbour discovery or a router solicitation, with these options: kind, and what is in it.
pub fn discovery(
    macs: (Mac, Mac),
    ends: (Ipv6Addr, Ipv6Addr),
    (kind, target): (u8, Option<Ipv6Addr>),
    options: &[(u8, Mac)],
) -> Vec<u8> {
    // An advertisement replaces what is known.
    let flags = if kind == ADVERTISEMENT { 0x20 } else { 0 };
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.iter().flat_map(Ipv6Addr::octets));
    for (kind, mac) in options {
        message.extend([*kind, 1]);
        message.extend(mac.0);
    }
    let sum = sum6(ends, ICMPV6, &message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    ipv6(macs, ends, ICMPV6, &message)
}

fn sum6((source, destination): (Ipv6Addr, Ipv6Addr), protocol: u8, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).expect("a length").to_be_bytes();
    let pseudo = [
        &source.octets()[..],
        &destination.octets(),
        &length,
        &[0, 0, 0, protocol],
    ]
    .concat();
    checksum(&[&pseudo, body].concat())
}

fn ipv6((from, to): (Mac, Mac), (source, destination): (Ipv6Addr, Ipv6Addr), protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a length").to_be_bytes();
    let header = [
        &[0x60, 0, 0, 0, length[0], length[1], protocol, 255][..],
        &source.octets(),
        &destination.octets(),
    ];
    [&to.0[..], &from.0, &[0x86, 0xdd], &header.concat(), body].concat()
}

/// An ARP request of `from` that says that `own` is its address.
pub fn arp(from: Mac, own: Ipv4Addr, about: Ipv4Addr) -> Vec<u8> {
    let head = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    [
        &BROADCAST.0[..],
        &from.0,
        &head,
        &from.0,
        &own.octets(),
        &[0; 6],
        &about.octets(),
    ]
    .concat()
}

/// RFC 1071.
fn checksum(octets: &[u8]) -> u16 {
    let pair = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let sum: u32 = octets.chunks(2).map(pair).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded")
}
