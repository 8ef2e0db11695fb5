//! The server's ports, and sockets from which every gate speaks.
//!
//! A socket takes the answers to all gates at once: it is bound to no address, each request says from which it comes (`IP_PKTINFO`),
//! and so does each answer. Hundreds of gates cost no more system calls than one.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use anyhow::Context as _;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::in_pktinfo;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmsg, setsockopt, sockopt,
};

use nix::sys::time::TimeSpec;

use super::packet::MAX_OCTETS;

/// Answers taken by one system call.
const BATCH: usize = 64;
const BUFFER_OCTETS: usize = 8 << 20;

/// Addresses that requests come from, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Gates {
    /// Of gate 0; `None`: whichever the system chooses.
    pub first: Option<Ipv4Addr>,
    /// How many.
    pub count: u32,
}

impl Gates {
    /// A gate's address.
    pub fn address(&self, gate: usize) -> Ipv4Addr {
        let first = u32::from(self.first.unwrap_or(Ipv4Addr::LOCALHOST));
        Ipv4Addr::from(first.wrapping_add(u32::try_from(gate).unwrap_or(0)))
    }

    /// Which gate has this address.
    fn at(&self, address: Ipv4Addr) -> Option<usize> {
        let Some(first) = self.first else { return Some(0) };
        let gate = u32::from(address).checked_sub(u32::from(first))?;
        (gate < self.count).then_some(usize::try_from(gate).ok()?)
    }
}

/// One local port, towards one port of the server.
pub struct Port {
    socket: UdpSocket,
    server: SockaddrIn,
    headers: MultiHeaders<SockaddrIn>,
    buffers: Vec<[u8; MAX_OCTETS]>,
}

impl Port {
    /// A free port of all our addresses.
    pub fn open(server: SocketAddrV4) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("cannot open a socket")?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        enlarge(&socket);
        Ok(Self {
            socket,
            server: server.into(),
            headers: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(in_pktinfo))),
            buffers: vec![[0; MAX_OCTETS]; BATCH],
        })
    }

    /// Sends from a gate. Whatever does not leave is sent again when its time is up, like what is lost on the way.
    pub fn send(&self, gates: &Gates, gate: usize, packet: &[u8]) {
        let from = in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: nix::libc::in_addr {
                s_addr: u32::from(gates.address(gate)).to_be(),
            },
            ipi_addr: nix::libc::in_addr { s_addr: 0 },
        };
        let from = [ControlMessage::Ipv4PacketInfo(&from)];
        let from = if gates.first.is_some() { from.as_slice() } else { &[] };
        let slices = [IoSlice::new(packet)];
        let socket = self.socket.as_raw_fd();
        let _ = sendmsg(socket, &slices, from, MsgFlags::MSG_DONTWAIT, Some(&self.server));
    }

    /// Takes what has arrived, with the gate it was for. Returns how much.
    pub fn receive(&mut self, gates: &Gates, mut take: impl FnMut(usize, &[u8])) -> usize {
        let socket = self.socket.as_raw_fd();
        let mut slices: Vec<_> = self
            .buffers
            .iter_mut()
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let received = recvmmsg(socket, &mut self.headers, &mut slices, MsgFlags::MSG_DONTWAIT, None);
        // An error is that of an earlier sending (nobody listens): it will time out.
        let Ok(received) = received else { return 0 };
        let mut lengths = [(0, None); BATCH];
        let mut count = 0;
        for (message, place) in received.zip(&mut lengths) {
            let to = message.cmsgs().ok().and_then(|mut all| {
                all.find_map(|one| match one {
                    ControlMessageOwned::Ipv4PacketInfo(info) => Some(u32::from_be(info.ipi_addr.s_addr)),
                    _ => None,
                })
            });
            *place = (message.bytes, to.and_then(|to| gates.at(Ipv4Addr::from(to))));
            count += 1;
        }
        for (buffer, (length, gate)) in self.buffers.iter().zip(lengths).take(count) {
            if let (Some(gate), Some(packet)) = (gate, buffer.get(..length)) {
                take(gate, packet);
            }
        }
        count
    }
}

/// Gives a socket room for bursts. As root; a smaller buffer works too, less well.
pub fn enlarge(socket: &UdpSocket) {
    let _ = setsockopt(socket, sockopt::RcvBufForce, &BUFFER_OCTETS);
    let _ = setsockopt(socket, sockopt::SndBufForce, &BUFFER_OCTETS);
}

/// Waits until one of the ports has something, and tells which; at most this long.
pub fn wait(ports: &[Port], longest: Duration) -> Vec<bool> {
    let mut asked: Vec<_> = ports
        .iter()
        .map(|port| PollFd::new(port.socket.as_fd(), PollFlags::POLLIN))
        .collect();
    // In nanoseconds: whole milliseconds would either make requests late or make us spin.
    match ppoll(&mut asked, Some(TimeSpec::from_duration(longest)), None) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(_) => return vec![true; ports.len()],
    }
    asked.iter().map(|port| port.any().unwrap_or(false)).collect()
}
