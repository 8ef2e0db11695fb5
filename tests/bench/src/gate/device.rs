//! The devices behind the gate, each known by its number, and the frames they send and get.

use std::net::Ipv4Addr;

use kavadam_domain::Mac;
use kavadam_lab::wire::checksum;

/// A server in the internet, at whose discard port everything is thrown away.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
pub const DISCARD: u16 = 9;
/// The gateway's address on the WAN, and its prefix on the LAN.
pub const GATEWAY_WAN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub const LAN: &str = "10.0.0.1/8";
/// Ports of flows begin here: each flow has its own, so that translation of addresses leaves it as it is.
const FIRST_PORT: u16 = 10_000;
/// Octets of a frame without its checksum: the shortest that Ethernet has.
pub const FRAME: usize = 60;
const HEADER: usize = 14;

/// A device's address on layer 2.
pub fn mac(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac([2, 0, a, b, c, d])
}

/// Its IPv4 address.
pub const fn ipv4(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a10_0000 + number)
}

/// The port of a flow.
pub fn port(flow: u32) -> u16 {
    FIRST_PORT + u16::try_from(flow).unwrap_or(u16::MAX - FIRST_PORT)
}

/// Where a datagram goes from and to.
pub struct Datagram {
    pub from: (Mac, Ipv4Addr, u16),
    pub to: (Mac, Ipv4Addr, u16),
}

impl Datagram {
    /// As it is on the wire, with zeros as content, as short as can be.
    pub fn frame(&self) -> [u8; FRAME] {
        let mut frame = [0; FRAME];
        let bytes = self.frame_of(FRAME);
        frame.iter_mut().zip(bytes).for_each(|(place, octet)| *place = octet);
        frame
    }

    /// The same so many octets long, at least [`FRAME`].
    pub fn frame_of(&self, octets: usize) -> Vec<u8> {
        const TTL: u8 = 64;
        const UDP: u8 = 17;
        let length = octets.max(FRAME) - HEADER;
        let octets = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        let mut ip = Vec::with_capacity(length);
        ip.extend([0x45, 0]);
        ip.extend(octets(length));
        ip.extend([0, 0, 0x40, 0, TTL, UDP, 0, 0]);
        ip.extend(self.from.1.octets());
        ip.extend(self.to.1.octets());
        let sum = checksum(&ip).to_be_bytes();
        ip.splice(10..12, sum);
        ip.extend(self.from.2.to_be_bytes());
        ip.extend(self.to.2.to_be_bytes());
        ip.extend(octets(length - 20));
        // Without a checksum of its own, as UDP over IPv4 may be.
        ip.extend([0, 0]);

        let mut frame: Vec<u8> = self
            .to
            .0
            .0
            .into_iter()
            .chain(self.from.0.0)
            .chain([0x08, 0])
            .chain(ip)
            .collect();
        frame.resize(length + HEADER, 0);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_valid_datagram() {
        let frame = Datagram {
            from: (mac(7), ipv4(7), port(3)),
            to: (Mac([2, 1, 1, 1, 1, 1]), SERVER, DISCARD),
        }
        .frame();
        assert_eq!(frame[..14], [2, 1, 1, 1, 1, 1, 2, 0, 0, 0, 0, 7, 8, 0]);
        let ip = &frame[14..34];
        assert_eq!(ip[2..4], [0, 46]);
        assert_eq!(checksum(ip), 0, "the header's checksum makes its sum nothing");
        assert_eq!(frame[34..42], [0x27, 0x13, 0, 9, 0, 26, 0, 0]);
    }
}
