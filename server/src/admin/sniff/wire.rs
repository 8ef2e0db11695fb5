//! A packet socket: every UDP packet that the machine sends or receives.

use std::io::{ErrorKind, Read as _};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, bail};
use kavadam_radius::capture::{Datagram, Reassembly};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::clock;

/// `ETH_P_ALL` (`linux/if_ether.h`): packets sent, too.
const EVERY_PROTOCOL: u16 = 3;
/// Larger than any packet that IP can carry.
const MOST_OCTETS: usize = 1 << 16;
/// Room for a burst.
const BUFFER_OCTETS: usize = 4 << 20;

/// Opens it, without the headers below IP.
pub(super) fn open() -> anyhow::Result<Socket> {
    let protocol = Protocol::from(i32::from(EVERY_PROTOCOL.to_be()));
    let socket = match Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!("seeing packets takes root, or the capability CAP_NET_RAW: sudo kavadam radius sniff")
        }
        opened => opened.context("cannot open a packet socket")?,
    };
    socket.attach_filter(&udp_once())?;
    // A smaller one works too.
    _ = socket.set_recv_buffer_size(BUFFER_OCTETS);
    Ok(socket)
}

/// Only UDP, and IPv6 in fragments (of whatever, which these do not tell from the start of the packet); and on the loopback interface, where every packet passes twice, only as received.
fn udp_once() -> [SockFilter; 15] {
    // Codes and offsets of linux/bpf_common.h and linux/filter.h.
    const LOAD_OCTET: u16 = 0x30;
    const LOAD_HALF: u16 = 0x28;
    const SHIFT_RIGHT: u16 = 0x74;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const OF_KERNEL: u32 = 0xffff_f000;
    const PACKET_KIND: u32 = OF_KERNEL + 4;
    const INTERFACE_KIND: u32 = OF_KERNEL + 28;
    const OUTGOING: u32 = 4;
    const LOOPBACK: u32 = 772;
    const UDP: u32 = 17;
    const FRAGMENT: u32 = 44;
    let step = SockFilter::new;
    [
        step(LOAD_HALF, 0, 0, INTERFACE_KIND),
        step(JUMP_IF_EQUAL, 0, 2, LOOPBACK),
        step(LOAD_OCTET, 0, 0, PACKET_KIND),
        step(JUMP_IF_EQUAL, 10, 0, OUTGOING),
        step(LOAD_OCTET, 0, 0, 0),
        step(SHIFT_RIGHT, 0, 0, 4),
        step(JUMP_IF_EQUAL, 0, 2, 4),
        step(LOAD_OCTET, 0, 0, 9),
        step(JUMP_IF_EQUAL, 4, 5, UDP),
        step(JUMP_IF_EQUAL, 0, 4, 6),
        step(LOAD_OCTET, 0, 0, 6),
        step(JUMP_IF_EQUAL, 1, 0, UDP),
        step(JUMP_IF_EQUAL, 0, 1, FRAGMENT),
        step(RETURN, 0, 0, 0xffff),
        step(RETURN, 0, 0, 0),
    ]
}

/// The packets, as they come.
pub(super) struct Wire {
    socket: Socket,
    buffer: Vec<u8>,
    reassembly: Reassembly,
}

impl Wire {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket: socket.into(),
            buffer: vec![0; MOST_OCTETS],
            reassembly: Reassembly::default(),
        }
    }

    /// The next whole UDP datagram.
    pub(super) fn next(&mut self) -> anyhow::Result<Datagram> {
        loop {
            let length = match (&self.socket).read(&mut self.buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // An interface that goes down is none of our business.
                Err(error) if error.kind() == ErrorKind::NetworkDown => continue,
                Err(error) => return Err(error).context("cannot receive packets"),
            };
            let packet = self.buffer.get(..length).unwrap_or_default();
            if let Some(datagram) = self.reassembly.of_ip(packet, Some(clock::now().0)) {
                return Ok(datagram);
            }
        }
    }
}
