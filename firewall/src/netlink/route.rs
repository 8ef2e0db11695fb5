//! Permanent neighbour entries: while a session lasts, no forged ARP reply can draw its downlink to another device.

use std::io;
use std::net::Ipv4Addr;

use kavadam_domain::Mac;

use super::socket::{Channel, errno_result};
use super::wire::{self, Writer};

const GET_LINK: u16 = 18;
const NEW_NEIGHBOUR: u16 = 28;
const DELETE_NEIGHBOUR: u16 = 29;
const GET_NEIGHBOUR: u16 = 30;
const FAMILY_INET: u8 = 2;
const STATE_PERMANENT: u16 = 0x80;
/// `IFLA_IFNAME`.
const LINK_NAME: u16 = 3;
/// `NDA_DST`, `NDA_LLADDR`.
const ADDRESS: u16 = 1;
const HARDWARE_ADDRESS: u16 = 2;

/// The neighbour table of one interface.
pub struct Neighbours {
    channel: Channel,
    interface: String,
}

impl Neighbours {
    pub fn open(interface: &str) -> io::Result<Self> {
        Ok(Self {
            channel: Channel::route()?,
            interface: interface.to_owned(),
        })
    }

    /// The interface's name, for messages.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Ties addresses to devices until [`Neighbours::release`]. If it fails some of them may be tied.
    pub fn pin(&mut self, pins: &[(Ipv4Addr, Mac)]) -> io::Result<()> {
        if pins.is_empty() {
            return Ok(());
        }
        let index = link_index(&mut self.channel, &self.interface)?;
        let sequence = self.channel.next_sequence();
        let mut request = Writer::default();
        let (last, others) = (pins.len() - 1, pins.iter().enumerate());
        for (at, (ipv4, mac)) in others {
            // Of the others only a refusal is answered, which ends the request.
            let ack = if at == last { wire::ACK } else { 0 };
            let flags = wire::CREATE | wire::REPLACE | ack;
            write(&mut request, (NEW_NEIGHBOUR, flags), sequence, index, *ipv4, Some(*mac));
        }
        errno_result(self.channel.ask(&request, sequence, |_| {})?)
    }

    /// Whether an address is tied to a device. An interface that is not there ties none.
    pub fn is_pinned(&mut self, ipv4: Ipv4Addr) -> io::Result<bool> {
        let index = link_index(&mut self.channel, &self.interface)?;
        let sequence = self.channel.next_sequence();
        let mut request = Writer::default();
        request.message(GET_NEIGHBOUR, wire::REQUEST | wire::ACK, sequence, |w| {
            w.raw(&[FAMILY_INET, 0, 0, 0]);
            w.raw(&index.to_ne_bytes());
            w.raw(&[0; 4]);
            w.attribute(ADDRESS, &ipv4.octets());
        });
        let mut is_pinned = false;
        let errno = self.channel.ask(&request, sequence, |body| {
            let state = body.get(8..).and_then(<[u8]>::first_chunk);
            is_pinned |= state.is_some_and(|state| u16::from_ne_bytes(*state) & STATE_PERMANENT != 0);
        })?;
        match errno {
            libc::ENOENT => Ok(false),
            errno => errno_result(errno).map(|()| is_pinned),
        }
    }

    /// Unties addresses. That one was not tied, or that the interface has gone, is no error.
    pub fn release(&mut self, addresses: &[Ipv4Addr]) -> io::Result<()> {
        if addresses.is_empty() {
            return Ok(());
        }
        let is_gone = |errno: i32| matches!(errno, libc::ENOENT | libc::ENODEV);
        let index = match link_index(&mut self.channel, &self.interface) {
            Err(error) if error.raw_os_error().is_some_and(is_gone) => return Ok(()),
            index => index?,
        };
        let requests = addresses.iter().map(|ipv4| {
            move |sequence| {
                let mut request = Writer::default();
                write(
                    &mut request,
                    (DELETE_NEIGHBOUR, wire::ACK),
                    sequence,
                    index,
                    *ipv4,
                    None,
                );
                request
            }
        });
        let errnos = self.channel.ask_all(requests, |_, _| {})?;
        let mut errnos = errnos.into_iter().filter(|errno| !is_gone(*errno));
        errnos.try_for_each(errno_result)
    }
}

fn write(request: &mut Writer, (kind, flags): (u16, u16), sequence: u32, index: i32, ipv4: Ipv4Addr, mac: Option<Mac>) {
    request.message(kind, wire::REQUEST | flags, sequence, |w| {
        w.raw(&[FAMILY_INET, 0, 0, 0]);
        w.raw(&index.to_ne_bytes());
        let [low, high] = STATE_PERMANENT.to_ne_bytes();
        w.raw(&[low, high, 0, 0]);
        w.attribute(ADDRESS, &ipv4.octets());
        if let Some(Mac(octets)) = mac {
            w.attribute(HARDWARE_ADDRESS, &octets);
        }
    });
}

/// The number of the interface of this name. Asked each time, since one that was made anew has another.
pub fn link_index(channel: &mut Channel, interface: &str) -> io::Result<i32> {
    let sequence = channel.next_sequence();
    let mut request = Writer::default();
    request.message(GET_LINK, wire::REQUEST | wire::ACK, sequence, |w| {
        w.raw(&[0; 16]);
        w.string(LINK_NAME, interface);
    });
    let mut index = None;
    let errno = channel.ask(&request, sequence, |body| {
        index = body
            .get(4..)
            .and_then(<[u8]>::first_chunk)
            .map(|octets| i32::from_ne_bytes(*octets));
    })?;
    errno_result(errno)?;
    index.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}
