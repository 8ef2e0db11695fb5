//! Traffic control: one queue for each share of an uplink, under a Hierarchical Token Bucket (`linux/pkt_sched.h`, `sch_htb`).

use std::io;

use super::route::link_index;
use super::socket::{Channel, errno_result};
use super::wire::{self, Writer};

const NEW_QUEUE: u16 = 36;
const DELETE_QUEUE: u16 = 37;
const GET_QUEUE: u16 = 38;
const NEW_CLASS: u16 = 40;
const DELETE_CLASS: u16 = 41;
const GET_CLASS: u16 = 42;
/// Without it the answer would go to whoever listens, and not to who asked.
const ECHO: u16 = 0x08;
/// Octets of `struct tcmsg`.
const HEAD_OCTETS: usize = 20;
/// `TC_H_ROOT`.
const ROOT: u32 = u32::MAX;
/// `TCA_KIND`, `TCA_OPTIONS`.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
/// `TCA_HTB_PARMS`, `TCA_HTB_INIT`, `TCA_HTB_DIRECT_QLEN`.
const HTB_CLASS: u16 = 1;
const HTB_WHOLE: u16 = 2;
const HTB_DIRECT_LENGTH: u16 = 5;
/// The version of the protocol, as the kernel asks for it.
const HTB_VERSION: u32 = 3;
const RATE_TO_QUANTUM: u32 = 10;
/// What is no citizen's, such as the portal's pages, waits for nothing.
const DIRECT_PACKETS: u32 = 1000;
/// `TC_LINKLAYER_ETHERNET`.
const ETHERNET: u8 = 1;
/// A tick of the kernel's packet clock.
const NANOS_PER_TICK: u64 = 64;

/// What is in force at an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// What the kernel gives every interface.
    Default,
    /// One with this number, and of this kind.
    Set { handle: u32, kind: String },
}

/// The speeds of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Promised, octets per second.
    pub rate: u32,
    /// At most, octets per second.
    pub ceil: u32,
    /// What may pass at once, at the promised rate and at the highest, octets.
    pub burst: u32,
    /// What it may send in its turn, octets.
    pub quantum: u32,
}

/// The queues of one interface, by its index.
pub struct Queues<'a> {
    channel: &'a mut Channel,
    index: i32,
}

impl<'a> Queues<'a> {
    /// Those of the interface of this name.
    pub fn of(channel: &'a mut Channel, interface: &str) -> io::Result<Self> {
        let index = link_index(channel, interface)?;
        Ok(Self { channel, index })
    }

    /// What is in force.
    pub fn root(&mut self) -> io::Result<Root> {
        let mut found = Root::Default;
        let errno = self.ask(
            GET_QUEUE,
            ECHO,
            0,
            ROOT,
            |_| {},
            |body| {
                let handle = body
                    .get(8..)
                    .and_then(<[u8]>::first_chunk)
                    .map(|octets| u32::from_ne_bytes(*octets));
                let kind = body.get(HEAD_OCTETS..).and_then(|rest| wire::attribute(rest, KIND));
                if let (Some(handle), Some(kind)) = (handle.filter(|handle| *handle != 0), kind.and_then(wire::text)) {
                    found = Root::Set {
                        handle,
                        kind: kind.to_owned(),
                    };
                }
            },
        )?;
        match errno {
            libc::ENOENT => Ok(Root::Default),
            errno => errno_result(errno).map(|()| found),
        }
    }

    /// Whether there is a class of this number.
    pub fn has_class(&mut self, class: u32) -> io::Result<bool> {
        match self.ask(GET_CLASS, 0, class, 0, |_| {}, |_| {})? {
            libc::ENOENT | libc::EINVAL => Ok(false),
            errno => errno_result(errno).map(|()| true),
        }
    }

    /// Puts a Hierarchical Token Bucket in force.
    pub fn make_root(&mut self, handle: u32) -> io::Result<()> {
        let options = |w: &mut Writer| {
            w.string(KIND, "htb");
            w.nest(OPTIONS, |w| {
                let whole = [HTB_VERSION, RATE_TO_QUANTUM, 0, 0, 0];
                w.attribute(HTB_WHOLE, &whole.map(u32::to_ne_bytes).concat());
                w.attribute(HTB_DIRECT_LENGTH, &DIRECT_PACKETS.to_ne_bytes());
            });
        };
        let errno = self.ask(NEW_QUEUE, wire::CREATE | wire::REPLACE, handle, ROOT, options, |_| {})?;
        errno_result(errno)
    }

    /// Takes what was made out of force, with all its classes; the interface has what the kernel gives it.
    pub fn remove_root(&mut self, handle: u32) -> io::Result<()> {
        errno_result(self.ask(DELETE_QUEUE, 0, handle, ROOT, |_| {}, |_| {})?)
    }

    /// Makes a class, or changes its speeds.
    pub fn set_class(&mut self, class: u32, parent: u32, speeds: Class) -> io::Result<()> {
        let options = |w: &mut Writer| {
            w.string(KIND, "htb");
            w.nest(OPTIONS, |w| w.attribute(HTB_CLASS, &speeds.encoded()));
        };
        errno_result(self.ask(NEW_CLASS, wire::CREATE, class, parent, options, |_| {})?)
    }

    /// Removes a class that none is beneath, with what waits in it; that it is not there is no error.
    pub fn remove_class(&mut self, class: u32) -> io::Result<()> {
        match self.ask(DELETE_CLASS, 0, class, 0, |_| {}, |_| {})? {
            libc::ENOENT => Ok(()),
            errno => errno_result(errno),
        }
    }

    /// What of a class waits does so in one line, of so many octets at most; beyond, packets are dropped.
    pub fn bound_queue(&mut self, class: u32, octets: u32) -> io::Result<()> {
        let options = |w: &mut Writer| {
            w.string(KIND, "bfifo");
            w.attribute(OPTIONS, &octets.to_ne_bytes());
        };
        errno_result(self.ask(NEW_QUEUE, wire::CREATE | wire::REPLACE, 0, class, options, |_| {})?)
    }

    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        handle: u32,
        parent: u32,
        options: impl FnOnce(&mut Writer),
        each: impl FnMut(&[u8]),
    ) -> io::Result<i32> {
        let sequence = self.channel.next_sequence();
        let mut request = Writer::default();
        request.message(kind, wire::REQUEST | wire::ACK | flags, sequence, |w| {
            w.raw(&[0; 4]);
            w.raw(&self.index.to_ne_bytes());
            w.raw(&handle.to_ne_bytes());
            w.raw(&parent.to_ne_bytes());
            w.raw(&[0; 4]);
            options(w);
        });
        self.channel.ask(&request, sequence, each)
    }
}

impl Class {
    /// `struct tc_htb_opt`.
    fn encoded(self) -> Vec<u8> {
        let speed = |octets_per_sec: u32| {
            [
                vec![0, ETHERNET, 0, 0, 0, 0, 0, 0],
                octets_per_sec.to_ne_bytes().to_vec(),
            ]
            .concat()
        };
        let rest = [
            ticks(self.burst, self.rate),
            ticks(self.burst, self.ceil),
            self.quantum,
            0,
            0,
        ];
        [speed(self.rate), speed(self.ceil), rest.map(u32::to_ne_bytes).concat()].concat()
    }
}

/// The kernel takes a burst as the time that it takes.
fn ticks(octets: u32, octets_per_sec: u32) -> u32 {
    let nanos = u64::from(octets) * 1_000_000_000 / u64::from(octets_per_sec.max(1));
    u32::try_from(nanos / NANOS_PER_TICK).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_told_as_the_time_that_it_takes() {
        assert_eq!(ticks(125_000, 12_500_000), 156_250);
        assert_eq!(ticks(0, 1), 1);
        assert_eq!(ticks(u32::MAX, 0), u32::MAX);
    }

    #[test]
    fn a_class_is_as_long_as_the_kernel_wants_it() {
        let class = Class {
            rate: 125,
            ceil: 4_000_000_000,
            burst: 1_600,
            quantum: 12_500,
        };
        let encoded = class.encoded();
        assert_eq!(encoded.len(), 44);
        assert_eq!(encoded.get(8..12), Some(&125_u32.to_ne_bytes()[..]));
        assert_eq!(encoded.get(32..36), Some(&12_500_u32.to_ne_bytes()[..]));
    }
}
