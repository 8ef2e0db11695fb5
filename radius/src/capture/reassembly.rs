//! UDP datagrams that IP cut into fragments, put together again (RFC 791 §3.2, RFC 8200 §4.5). No clock: packets have their times.

use std::net::{IpAddr, SocketAddr};

use etherparse::defrag::{IpDefragBuf, IpFragRange};
use etherparse::{IpFragOffset, IpNumber, Ipv6ExtensionSlice, NetSlice, SlicedPacket, UdpSlice};

use super::Datagram;
use super::datagram::Link;

/// Datagrams of which something is missing, at once: of 64 KiB at most each. The oldest is given up first.
const MOST_WAITING: usize = 64;
/// How long the last fragment may be behind the first (RFC 8200 §4.5), microseconds.
const PATIENCE_MICROS: i64 = 60_000_000;

/// Datagrams out of packets, whole or in fragments, in whatever order these come.
#[derive(Debug, Default)]
pub struct Reassembly {
    /// The oldest first.
    waiting: Vec<Waiting>,
    given_up: u64,
}

#[derive(Debug)]
struct Waiting {
    whose: Whose,
    since_micros: Option<i64>,
    /// `None`: its fragments contradict each other, so none of it is believed (RFC 5722).
    buffer: Option<IpDefragBuf>,
}

/// What the fragments of a datagram share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Whose {
    from: IpAddr,
    to: IpAddr,
    identification: u32,
}

struct Fragment<'a> {
    whose: Whose,
    offset: IpFragOffset,
    is_last: bool,
    payload: &'a [u8],
}

impl Reassembly {
    /// The datagram that an IP packet is, or makes whole.
    pub fn of_ip(&mut self, packet: &[u8], at_micros: Option<i64>) -> Option<Datagram> {
        self.of_frame(Link::Ip, packet, at_micros)
    }

    /// How many datagrams came in fragments and never became whole, those that still may among them.
    #[must_use]
    pub fn incomplete(&self) -> u64 {
        let waiting = self.waiting.iter().filter(|waiting| waiting.buffer.is_some());
        self.given_up + u64::try_from(waiting.count()).unwrap_or(u64::MAX)
    }

    pub(super) fn of_frame(&mut self, link: Link, frame: &[u8], at_micros: Option<i64>) -> Option<Datagram> {
        let sliced = link.slice(frame)?;
        Datagram::of(&sliced, at_micros).or_else(|| self.take(&Fragment::of(&sliced)?, at_micros))
    }

    fn take(&mut self, fragment: &Fragment<'_>, at_micros: Option<i64>) -> Option<Datagram> {
        self.give_up_before(at_micros.map(|at| at.saturating_sub(PATIENCE_MICROS)));
        let known = self.waiting.iter().position(|waiting| waiting.whose == fragment.whose);
        let at = known.unwrap_or_else(|| self.begin(fragment.whose, at_micros));
        let waiting = self.waiting.get_mut(at)?;
        let buffer = waiting.buffer.as_mut()?;
        if let Err(Contradiction) = add(buffer, fragment) {
            waiting.buffer = None;
            self.given_up += 1;
            return None;
        }
        if !buffer.is_complete() {
            return None;
        }
        let (octets, _) = self.waiting.remove(at).buffer?.take_bufs();
        let udp = UdpSlice::from_slice(&octets).ok()?;
        Some(Datagram {
            at_micros,
            from: SocketAddr::new(fragment.whose.from, udp.source_port()),
            to: SocketAddr::new(fragment.whose.to, udp.destination_port()),
            octets: udp.payload().to_vec(),
        })
    }

    /// Where it is then.
    fn begin(&mut self, whose: Whose, since_micros: Option<i64>) -> usize {
        if self.waiting.len() >= MOST_WAITING {
            let oldest = self.waiting.remove(0);
            self.given_up += u64::from(oldest.buffer.is_some());
        }
        self.waiting.push(Waiting {
            whose,
            since_micros,
            buffer: Some(IpDefragBuf::new(IpNumber::UDP, Vec::new(), Vec::new())),
        });
        self.waiting.len() - 1
    }

    fn give_up_before(&mut self, then: Option<i64>) {
        let given_up = &mut self.given_up;
        self.waiting.retain(|waiting| {
            let is_old = waiting.since_micros.zip(then).is_some_and(|(since, then)| since < then);
            *given_up += u64::from(is_old && waiting.buffer.is_some());
            !is_old
        });
    }
}

struct Contradiction;

/// A copy of what is there adds nothing. What overlaps it otherwise does not fit.
fn add(buffer: &mut IpDefragBuf, fragment: &Fragment<'_>) -> Result<(), Contradiction> {
    let start = fragment.offset.byte_offset();
    let length = u16::try_from(fragment.payload.len()).map_err(|_| Contradiction)?;
    let end = start.checked_add(length).ok_or(Contradiction)?;
    let overlaps = |there: &&IpFragRange| start < there.end && there.start < end;
    if let Some(there) = buffer.sections().iter().find(overlaps) {
        let is_within = there.start <= start && end <= there.end;
        let known = buffer.data().get(usize::from(start)..usize::from(end));
        let is_end = buffer.end().is_none_or(|known| fragment.is_last == (known == end));
        let is_copy = is_within && is_end && known == Some(fragment.payload);
        return is_copy.then_some(()).ok_or(Contradiction);
    }
    let added = buffer.add(fragment.offset, !fragment.is_last, fragment.payload);
    added.map_err(|_| Contradiction)
}

impl<'a> Fragment<'a> {
    /// `None` unless it is one, of UDP.
    fn of(sliced: &SlicedPacket<'a>) -> Option<Self> {
        let fragment = match sliced.net.as_ref()? {
            NetSlice::Ipv4(ip) if ip.payload().fragmented => {
                let header = ip.header();
                Self {
                    whose: Whose {
                        from: header.source_addr().into(),
                        to: header.destination_addr().into(),
                        identification: header.identification().into(),
                    },
                    offset: header.fragments_offset(),
                    is_last: !header.more_fragments(),
                    payload: ip.payload().payload,
                }
            }
            NetSlice::Ipv6(ip) if ip.payload().fragmented => {
                let header = ip
                    .extensions()
                    .clone()
                    .into_iter()
                    .find_map(|extension| match extension {
                        Ipv6ExtensionSlice::Fragment(header) => Some(header.to_header()),
                        _ => None,
                    })?;
                Self {
                    whose: Whose {
                        from: ip.header().source_addr().into(),
                        to: ip.header().destination_addr().into(),
                        identification: header.identification,
                    },
                    offset: header.fragment_offset,
                    is_last: !header.more_fragments,
                    payload: ip.payload().payload,
                }
            }
            NetSlice::Ipv4(_) | NetSlice::Ipv6(_) | NetSlice::Arp(_) => return None,
        };
        let is_udp = sliced.net.as_ref().and_then(NetSlice::ip_payload_ref)?.ip_number == IpNumber::UDP;
        (is_udp && !fragment.payload.is_empty()).then_some(fragment)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    /// A UDP datagram without its IP header.
    fn udp(payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + payload.len()).unwrap();
        let mut octets = [5000_u16, 1812, length, 0].map(u16::to_be_bytes).concat();
        octets.extend(payload);
        octets
    }

    fn packet_v4(identification: u16, offset: usize, is_last: bool, part: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0];
        packet.extend(u16::try_from(20 + part.len()).unwrap().to_be_bytes());
        packet.extend(identification.to_be_bytes());
        let more = if is_last { 0 } else { 0x2000 };
        packet.extend((u16::try_from(offset / 8).unwrap() | more).to_be_bytes());
        packet.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(part);
        packet
    }

    /// With another header before that of the fragment.
    fn packet_v6(identification: u16, offset: usize, is_last: bool, part: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(u16::try_from(16 + part.len()).unwrap().to_be_bytes());
        packet.extend([60, 64]);
        for last in [1, 2] {
            packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        packet.extend([44, 0, 1, 4, 0, 0, 0, 0]);
        packet.extend([17, 0]);
        let more = u16::from(!is_last);
        packet.extend((u16::try_from(offset).unwrap() | more).to_be_bytes());
        packet.extend(u32::from(identification).to_be_bytes());
        packet.extend(part);
        packet
    }

    /// Cut at these multiples of eight octets.
    fn cut(octets: &[u8], cuts: &[usize], is_v6: bool, identification: u16) -> Vec<Vec<u8>> {
        let mut at: Vec<usize> = cuts
            .iter()
            .map(|cut| 8 * (1 + cut % ((octets.len() - 1) / 8)))
            .collect();
        at.extend([0, octets.len()]);
        at.sort_unstable();
        at.dedup();
        let packet = if is_v6 { packet_v6 } else { packet_v4 };
        at.windows(2)
            .map(|pair| {
                packet(
                    identification,
                    pair[0],
                    pair[1] == octets.len(),
                    &octets[pair[0]..pair[1]],
                )
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_datagram_is_the_same_however_it_was_cut_and_in_whatever_order_it_comes(
            payload in prop::collection::vec(any::<u8>(), 20..4000),
            cuts in prop::collection::vec(any::<usize>(), 1..12),
            is_v6 in any::<bool>(),
            order in prop::collection::vec(any::<usize>(), 40),
        ) {
            let mut fragments = cut(&udp(&payload), &cuts, is_v6, 7);
            for (at, other) in order.iter().enumerate() {
                let (at, other) = (at % fragments.len(), other % fragments.len());
                fragments.swap(at, other);
            }
            // All but the last to come, twice.
            let last = fragments.pop().unwrap();
            let twice: Vec<_> = fragments.iter().flat_map(|fragment| [fragment, fragment]).collect();
            let mut reassembly = Reassembly::default();
            for fragment in twice {
                prop_assert_eq!(reassembly.of_ip(fragment, Some(0)), None);
            }
            let found = reassembly.of_ip(&last, Some(5)).unwrap();
            prop_assert_eq!(found.octets, payload);
            prop_assert_eq!((found.from.port(), found.to.port(), found.at_micros), (5000, 1812, Some(5)));
            prop_assert_eq!(reassembly.incomplete(), 0);
        }

        #[test]
        fn whatever_comes_is_bounded_and_counted(packets in prop::collection::vec(
            (0_u16..200, 0_usize..40, any::<bool>(), 0_usize..60, any::<bool>(), 0_i64..200), 0..300,
        )) {
            let mut reassembly = Reassembly::default();
            for (identification, offset, is_last, length, is_v6, at) in packets {
                let packet = if is_v6 { packet_v6 } else { packet_v4 };
                let packet = packet(identification, 8 * offset, is_last, &vec![1; length]);
                reassembly.of_ip(&packet, Some(at * SECOND));
                prop_assert!(reassembly.waiting.len() <= MOST_WAITING);
            }
        }
    }

    #[test]
    fn fragments_that_overlap_are_none_of_a_datagram() {
        let octets = udp(&[7; 100]);
        for is_v6 in [false, true] {
            let packet = if is_v6 { packet_v6 } else { packet_v4 };
            let fragments = cut(&octets, &[2], is_v6, 7);
            let mut reassembly = Reassembly::default();
            assert_eq!(reassembly.of_ip(&fragments[0], None), None);
            // Another's words in its place, then the rest of the true ones.
            assert_eq!(reassembly.of_ip(&packet(7, 8, false, &[9; 24]), None), None);
            assert_eq!(reassembly.of_ip(&fragments[1], None), None);
            assert_eq!(reassembly.incomplete(), 1);
        }
    }

    #[test]
    fn two_datagrams_at_once_are_told_apart_by_their_identification() {
        let (one, two) = (udp(&[1; 50]), udp(&[2; 50]));
        let (one, two) = (cut(&one, &[3], false, 1), cut(&two, &[3], false, 2));
        let mut reassembly = Reassembly::default();
        assert_eq!(reassembly.of_ip(&one[0], None), None);
        assert_eq!(reassembly.of_ip(&two[1], None), None);
        assert_eq!(reassembly.of_ip(&one[1], None).unwrap().octets, [1; 50]);
        assert_eq!(reassembly.of_ip(&two[0], None).unwrap().octets, [2; 50]);
    }

    #[test]
    fn what_comes_a_minute_late_belongs_to_another_datagram() {
        let fragments = cut(&udp(&[7; 100]), &[2], false, 7);
        let mut reassembly = Reassembly::default();
        assert_eq!(reassembly.of_ip(&fragments[0], Some(0)), None);
        assert_eq!(reassembly.of_ip(&fragments[1], Some(61 * SECOND)), None);
        assert_eq!(reassembly.incomplete(), 2);
    }

    #[test]
    fn of_many_that_never_end_the_first_are_given_up() {
        let mut reassembly = Reassembly::default();
        for identification in 0..1000 {
            let fragments = cut(&udp(&[7; 100]), &[2], false, identification);
            assert_eq!(reassembly.of_ip(&fragments[0], None), None);
        }
        assert_eq!(
            (reassembly.waiting.len(), reassembly.incomplete()),
            (MOST_WAITING, 1000)
        );
    }
}
