//! Captures that were written by tcpdump, Wireshark and their like: pcap and pcapng. Nothing in them is believed.

use std::io::Read;

use pcap_parser::traits::{PcapNGPacketBlock as _, PcapReaderIterator};
use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader};

use super::datagram::Link;
use super::{Datagram, Reassembly};

/// Room for the largest block that is read; a larger one ends the reading.
const BUFFER_OCTETS: usize = 1 << 17;
/// Interfaces of a section at most: a file could name millions.
const MOST_INTERFACES: usize = 4096;
/// What a pcapng begins with: the type of its section header.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Type, length, and the length again.
const SMALLEST_BLOCK_OCTETS: u32 = 12;

/// The file cannot be read (further).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// Neither pcap nor pcapng.
    #[error("this is no capture: neither pcap nor pcapng")]
    NoCapture,
    /// It ends within a packet, or goes on with something else.
    #[error("the capture is broken after {0} datagrams")]
    Broken(u64),
}

/// The UDP datagrams of a capture, in order; everything else in it is passed over.
pub struct CaptureFile<'a> {
    reader: Box<dyn PcapReaderIterator + Send + 'a>,
    interfaces: Interfaces,
    reassembly: Reassembly,
    is_pcapng: bool,
    datagrams: u64,
    is_over: bool,
}

impl<'a> CaptureFile<'a> {
    /// Begins to read.
    ///
    /// # Errors
    /// [`CaptureError::NoCapture`].
    pub fn open(source: impl Read + Send + 'a) -> Result<Self, CaptureError> {
        let reader = create_reader(BUFFER_OCTETS, source).map_err(|_| CaptureError::NoCapture)?;
        Ok(Self {
            is_pcapng: reader.data().starts_with(&SECTION_HEADER),
            reader,
            interfaces: Interfaces::default(),
            reassembly: Reassembly::default(),
            datagrams: 0,
            is_over: false,
        })
    }

    /// How many datagrams came in fragments and were not whole when the reading ended.
    #[must_use]
    pub fn incomplete(&self) -> u64 {
        self.reassembly.incomplete()
    }

    fn step(&mut self) -> Step {
        if self.is_pcapng && says_less_than_a_block(self.reader.data()) {
            return Step::Broken;
        }
        match self.reader.next() {
            Ok((length, block)) => {
                let frame = self.interfaces.read(&block);
                let datagram =
                    frame.and_then(|frame| self.reassembly.of_frame(frame.link, frame.octets, frame.at_micros));
                self.reader.consume(length);
                datagram.map_or(Step::Nothing, Step::Datagram)
            }
            Err(PcapError::Eof) => Step::End,
            Err(PcapError::Incomplete(_)) => {
                let before = self.reader.data().len();
                let is_refilled = self.reader.refill().is_ok();
                match self.reader.data().len() {
                    after if is_refilled && after > before => Step::Nothing,
                    0 => Step::End,
                    // A file that ends within a block, or a block without end, must not be waited for.
                    _ => Step::Broken,
                }
            }
            Err(_) => Step::Broken,
        }
    }
}

/// Whether the block that begins there calls itself shorter than any can be: the reader would subtract below zero. Both orders of octets are
/// tried, since what is so short in one is far too long in the other.
fn says_less_than_a_block(octets: &[u8]) -> bool {
    let length = octets.get(4..).and_then(<[u8]>::first_chunk::<4>);
    length.is_some_and(|length| u32::from_le_bytes(*length).min(u32::from_be_bytes(*length)) < SMALLEST_BLOCK_OCTETS)
}

enum Step {
    Datagram(Datagram),
    Nothing,
    End,
    Broken,
}

impl Iterator for CaptureFile<'_> {
    type Item = Result<Datagram, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            match self.step() {
                Step::Datagram(datagram) => {
                    self.datagrams += 1;
                    return Some(Ok(datagram));
                }
                Step::Nothing => {}
                Step::End => self.is_over = true,
                Step::Broken => {
                    self.is_over = true;
                    return Some(Err(CaptureError::Broken(self.datagrams)));
                }
            }
        }
        None
    }
}

/// The interfaces of a section, or the one of an old capture.
#[derive(Default)]
struct Interfaces(Vec<Interface>);

/// A packet with what comes before its IP header.
struct Frame<'a> {
    link: Link,
    octets: &'a [u8],
    at_micros: Option<i64>,
}

#[derive(Clone, Copy)]
struct Interface {
    link: Option<Link>,
    /// Parts of a second that times are told in.
    parts: u64,
    /// Seconds to add to times.
    offset: i64,
}

impl Interfaces {
    fn read<'a>(&mut self, block: &'a PcapBlockOwned<'_>) -> Option<Frame<'a>> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let parts = if header.is_nanosecond_precision() {
                    1_000_000_000
                } else {
                    1_000_000
                };
                self.0 = vec![Interface {
                    link: Link::of(header.network.0),
                    parts,
                    offset: 0,
                }];
                None
            }
            PcapBlockOwned::Legacy(packet) => {
                let interface = self.0.first()?;
                let ticks = u64::from(packet.ts_sec)
                    .checked_mul(interface.parts)?
                    .checked_add(packet.ts_usec.into())?;
                Some(Frame {
                    link: interface.link?,
                    octets: packet.data,
                    at_micros: interface.micros(ticks),
                })
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                self.0.clear();
                None
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(block)) => {
                if self.0.len() < MOST_INTERFACES {
                    self.0.push(Interface {
                        link: Link::of(block.linktype.0),
                        parts: block.ts_resolution().filter(|parts| *parts > 0).unwrap_or(1_000_000),
                        offset: block.if_tsoffset,
                    });
                }
                None
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let interface = self.0.get(usize::try_from(packet.if_id).ok()?)?;
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                Some(Frame {
                    link: interface.link?,
                    octets: packet.packet_data(),
                    at_micros: interface.micros(ticks),
                })
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => Some(Frame {
                link: self.0.first()?.link?,
                octets: packet.packet_data(),
                at_micros: None,
            }),
            PcapBlockOwned::NG(_) => None,
        }
    }
}

impl Interface {
    fn micros(self, ticks: u64) -> Option<i64> {
        let micros = u128::from(ticks) * 1_000_000 / u128::from(self.parts);
        let offset = self.offset.checked_mul(1_000_000)?;
        i64::try_from(micros).ok()?.checked_add(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP datagram in an IPv4 packet.
    fn ip(payload: &[u8]) -> Vec<u8> {
        let udp = u16::try_from(8 + payload.len()).unwrap();
        let mut packet = vec![0x45, 0];
        packet.extend((20 + udp).to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(5000_u16.to_be_bytes());
        packet.extend(1812_u16.to_be_bytes());
        packet.extend(udp.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        packet
    }

    fn pcap(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend(0xa1b2_c3d4_u32.to_le_bytes());
        file.extend([2, 0, 4, 0]);
        file.extend([0; 8]);
        file.extend(65_535_u32.to_le_bytes());
        file.extend(link.to_le_bytes());
        for frame in frames {
            let length = u32::try_from(frame.len()).unwrap();
            for word in [1_700_000_000, 250_000, length, length] {
                file.extend(word.to_le_bytes());
            }
            file.extend(frame);
        }
        file
    }

    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let length = u32::try_from(12 + padded).unwrap().to_le_bytes();
        let mut block = kind.to_le_bytes().to_vec();
        block.extend(length);
        block.extend(body);
        block.resize(8 + padded, 0);
        block.extend(length);
        block
    }

    fn pcapng(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
        section.extend([1, 0, 0, 0]);
        section.extend([0xff; 8]);
        let mut file = block(0x0a0d_0d0a, &section);
        file.extend(block(1, &[101, 0, 0, 0, 0xff, 0xff, 0, 0]));
        for frame in frames {
            let length = u32::try_from(frame.len()).unwrap();
            let micros = 1_700_000_000_250_000_u64;
            let [high, low] = [micros >> 32, micros & 0xffff_ffff].map(|half| u32::try_from(half).unwrap());
            let mut body: Vec<u8> = [0, high, low, length, length]
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect();
            body.extend(frame);
            file.extend(block(6, &body));
        }
        file
    }

    fn read(file: &[u8]) -> Vec<Result<Datagram, CaptureError>> {
        CaptureFile::open(file).unwrap().collect()
    }

    #[test]
    fn both_kinds_of_capture_yield_the_datagram_with_its_time_and_addresses() {
        for file in [pcap(101, &[ip(b"hello")]), pcapng(&[ip(b"hello")])] {
            let all = read(&file);
            let [Ok(found)] = all.as_slice() else {
                panic!("one datagram")
            };
            assert_eq!(found.octets, b"hello");
            assert_eq!(found.at_micros, Some(1_700_000_000_250_000));
            assert_eq!(found.from.to_string(), "10.0.0.1:5000");
            assert_eq!(found.to.to_string(), "10.0.0.2:1812");
        }
    }

    #[test]
    fn frames_of_every_common_link_are_read() {
        let ethernet = [&[0; 12][..], &[8, 0], &ip(b"x")].concat();
        let tagged = [&[0; 12][..], &[0x81, 0, 0, 7, 8, 0], &ip(b"x")].concat();
        let cooked = [&[0; 2][..], &[0, 1, 0, 6], &[0; 8], &[8, 0], &ip(b"x")].concat();
        let cooked_v2 = [&[8, 0][..], &[0; 18], &ip(b"x")].concat();
        let loopback = [&[2, 0, 0, 0][..], &ip(b"x")].concat();
        for (link, frame) in [
            (1, ethernet),
            (1, tagged),
            (113, cooked),
            (276, cooked_v2),
            (0, loopback),
        ] {
            assert_eq!(read(&pcap(link, &[frame])).len(), 1, "link {link}");
        }
    }

    #[test]
    fn a_capture_cut_anywhere_ends_with_an_error_or_earlier_and_never_hangs() {
        for whole in [pcap(101, &[ip(b"one"), ip(b"two")]), pcapng(&[ip(b"one"), ip(b"two")])] {
            for length in 0..whole.len() {
                if let Ok(capture) = CaptureFile::open(&whole[..length]) {
                    assert!(capture.count() <= 3, "cut after {length}");
                }
            }
        }
    }

    #[test]
    fn a_block_shorter_than_any_can_be_ends_the_reading_whatever_its_type() {
        for kind in [3_u32, 6, 0x8000_0001, 0xbad] {
            for length in 0..SMALLEST_BLOCK_OCTETS {
                for told in [length.to_le_bytes(), length.to_be_bytes()] {
                    let mut file = pcapng(&[ip(b"one")]);
                    file.extend(kind.to_le_bytes());
                    file.extend(told);
                    file.extend([0; 40]);
                    let all = read(&file);
                    assert!(
                        matches!(all.as_slice(), [Ok(_), Err(CaptureError::Broken(1))]),
                        "type {kind:#x}, length {length}: {all:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_no_capture_is_called_so() {
        assert_eq!(
            CaptureFile::open(&b"no capture at all, is it?"[..]).err(),
            Some(CaptureError::NoCapture)
        );
    }
}
