//! Frames of IPv6.

use std::net::Ipv6Addr;

use crate::wire::checksum;

const TCP: u8 = 6;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const ICMP: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;
const HOP_BY_HOP: u8 = 0;

/// Who sends a frame and who gets it, by hardware address and by address.
#[derive(Clone, Copy)]
pub(super) struct Between {
    pub from: [u8; 6],
    pub to: [u8; 6],
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
}

/// An address of the LAN.
pub(super) fn local(number: u64) -> Ipv6Addr {
    let prefix = Ipv6Addr::new(0xfd00, 0x80, 0, 0, 0, 0, 0, 0);
    Ipv6Addr::from_bits(prefix.to_bits() | u128::from(number))
}

/// Somewhere in the internet.
pub(super) fn host(number: u32) -> Ipv6Addr {
    let prefix = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);
    Ipv6Addr::from_bits(prefix.to_bits() | u128::from(number) << 40 | 1)
}

/// The first packet of a TCP connection.
pub(super) fn syn(between: Between, ports: (u16, u16)) -> Vec<u8> {
    packet(between, TCP, 64, &tcp(between, ports))
}

/// The same behind every extension header that a packet filter has to look behind: one for each hop and several for the destination.
pub(super) fn syn_behind_extensions(between: Between, ports: (u16, u16)) -> Vec<u8> {
    const MORE: usize = 6;
    let padded = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let mut body = padded(DESTINATION_OPTIONS).to_vec();
    for _ in 1..MORE {
        body.extend(padded(DESTINATION_OPTIONS));
    }
    body.extend(padded(TCP));
    body.extend(tcp(between, ports));
    packet(between, HOP_BY_HOP, 64, &body)
}

/// The first part of a datagram whose others never come.
pub(super) fn fragment(between: Between, number: u32, ports: (u16, u16)) -> Vec<u8> {
    const MORE_FOLLOW: u8 = 1;
    let [a, b, c, d] = number.to_be_bytes();
    let mut body = vec![UDP, 0, 0, MORE_FOLLOW, a, b, c, d];
    body.extend([ports.0.to_be_bytes(), ports.1.to_be_bytes(), [4, 0], [0, 0]].concat());
    body.extend([0; 56]);
    packet(between, FRAGMENT, 64, &body)
}

/// Asks who has the gateway's address.
pub(super) fn solicitation(from: [u8; 6], number: u32) -> Vec<u8> {
    let between = Between {
        from,
        to: [0x33, 0x33, 0xff, 0, 0, 1],
        source: local(u64::from(number) | 1 << 40),
        destination: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1),
    };
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(local(1).octets());
    message.extend([1, 1]);
    message.extend(from);
    summed(between, ICMP, &mut message, 2);
    packet(between, ICMP, 255, &message)
}

fn tcp(between: Between, (own, other): (u16, u16)) -> Vec<u8> {
    let mut segment = [own.to_be_bytes(), other.to_be_bytes()].concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    summed(between, TCP, &mut segment, 16);
    segment
}

/// Writes the sum of a message, with what RFC 8200 §8.1 adds to it.
fn summed(between: Between, protocol: u8, message: &mut Vec<u8>, at: usize) {
    let (source, destination) = (between.source.octets(), between.destination.octets());
    let pseudo = [
        &source[..],
        &destination,
        &[0, 0],
        &length(message),
        &[0, 0, 0, protocol],
    ]
    .concat();
    let sum = checksum(&[&pseudo[..], message].concat()).to_be_bytes();
    message.splice(at..at + 2, sum);
}

fn packet(between: Between, next: u8, hops: u8, body: &[u8]) -> Vec<u8> {
    let header = [&[0x60, 0, 0, 0][..], &length(body), &[next, hops]].concat();
    [
        &between.to[..],
        &between.from,
        &[0x86, 0xdd],
        &header,
        &between.source.octets(),
        &between.destination.octets(),
        body,
    ]
    .concat()
}

fn length(body: &[u8]) -> [u8; 2] {
    u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes()
}
