//! The socket at which routers and devices of one LAN speak `ICMPv6`.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::net::UdpSocket;

use super::packet::SOLICITATION;
use super::schedule::Recipient;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// What comes from the link itself: whatever a router has passed on has less (RFC 4861 §3.1).
const WHOLE_WAY: u32 = 255;
/// A solicitation that is longer holds nothing of use.
const MOST_OCTETS: usize = 1500;

/// Whether such a socket can be had at all.
pub(super) fn is_permitted() -> io::Result<()> {
    raw().map(drop)
}

fn raw() -> io::Result<Socket> {
    Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))
}

/// Hears the solicitations of one interface, and sends advertisements out of it.
pub(super) struct RouterSocket {
    /// Of datagrams, which is all that is asked of it; their ports are nothing here.
    socket: UdpSocket,
    index: u32,
}

impl RouterSocket {
    /// At the interface of this name and number. Once the interface is gone, so is the socket's use, even if another has its name.
    pub fn open(interface: &str, index: u32) -> io::Result<Self> {
        let socket = raw()?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&solicitations_of_the_link())?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_hops_v6(WHOLE_WAY)?;
        socket.set_unicast_hops_v6(WHOLE_WAY)?;
        socket.set_multicast_loop_v6(false)?;
        socket.join_multicast_v6(&ALL_ROUTERS, index)?;
        let socket = std::net::UdpSocket::from(socket);
        // What came before the filter was there, or from another interface.
        while socket.recv(&mut [0; MOST_OCTETS]).is_ok() {}
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            index,
        })
    }

    /// Waits for the next message, and from whom it is. May be cancelled at any time.
    pub async fn receive(&self) -> io::Result<(Vec<u8>, Ipv6Addr)> {
        let mut buffer = [0; MOST_OCTETS];
        let (length, from) = self.socket.recv_from(&mut buffer).await?;
        let SocketAddr::V6(from) = from else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        Ok((buffer.get(..length).unwrap_or_default().to_vec(), *from.ip()))
    }

    /// From our link-local address: the kernel takes that one for what goes no further than the link.
    pub async fn send(&self, packet: &[u8], to: Recipient) -> io::Result<()> {
        let address = match to {
            Recipient::All => ALL_NODES,
            Recipient::One(address) => address,
        };
        let address = SocketAddrV6::new(address, 0, 0, self.index);
        self.socket.send_to(packet, SocketAddr::from(address)).await.map(drop)
    }
}

/// A socket filter: of all the `ICMPv6` that the interface hears, pass router solicitations that come from the link itself. The kernel verifies the
/// checksum.
fn solicitations_of_the_link() -> [SockFilter; 6] {
    const LOAD_OCTET: u16 = 0x30;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// `SKF_NET_OFF`, from where the header of IPv6 is counted, and the hop limit in it.
    const HOP_LIMIT: u32 = 0xfff0_0000 + 7;
    [
        SockFilter::new(LOAD_OCTET, 0, 0, HOP_LIMIT),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, WHOLE_WAY),
        SockFilter::new(LOAD_OCTET, 0, 0, 0),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SOLICITATION.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
