//! IP-Port-Range (RFC 8045 §3.1.2), attribute 241.6: the ports of a public address that a session's device has to itself.

use std::net::Ipv4Addr;

use kavadam_domain::{PortNews, PortRange};

use crate::wire::{Draft, ExtendedAttr, ExtendedSpace, Packet};

const IP_PORT_RANGE: ExtendedAttr = ExtendedAttr {
    space: ExtendedSpace::Extended1,
    kind: 6,
};
/// Its parts (RFC 8045 §3.2).
const EXT_IPV4_ADDRESS: u8 = 3;
const ALLOC: u8 = 8;
const RANGE_START: u8 = 9;
const RANGE_END: u8 = 10;
const ALLOCATION: u32 = 1;
const DEALLOCATION: u32 = 2;
/// Type, length and a number of 32 bits.
const PART_OCTETS: u8 = 6;

/// Without IP-Port-Type: it is of all protocols that have ports.
pub(crate) fn write(draft: &mut Draft, news: PortNews) {
    let (ports, alloc) = match news {
        PortNews::Held(ports) => (ports, ALLOCATION),
        PortNews::GivenBack(ports) => (ports, DEALLOCATION),
    };
    let mut value = Vec::new();
    for (kind, number) in [
        (ALLOC, alloc),
        (RANGE_START, ports.first.into()),
        (RANGE_END, ports.last.into()),
        (EXT_IPV4_ADDRESS, ports.address.to_bits()),
    ] {
        value.extend([kind, PART_OCTETS]);
        value.extend(number.to_be_bytes());
    }
    draft.extended(IP_PORT_RANGE, &value);
}

/// The first that is whole and tells an address; of parts that are there twice the first is meant, others are passed over.
pub(crate) fn read(packet: &Packet) -> Option<PortNews> {
    packet
        .extended(IP_PORT_RANGE)
        .iter()
        .find_map(|value| read_value(value))
}

fn read_value(mut rest: &[u8]) -> Option<PortNews> {
    let (mut address, mut first, mut last, mut alloc) = (None, None, None, None);
    while let [kind, length, ..] = *rest {
        let part = rest.get(..usize::from(length))?;
        // A length that does not hold itself would be read for ever.
        let octets = part.get(2..)?;
        let number = octets.try_into().ok().map(u32::from_be_bytes);
        match kind {
            EXT_IPV4_ADDRESS => address = address.or(number.map(Ipv4Addr::from)),
            ALLOC => alloc = alloc.or(Some(number)),
            RANGE_START => first = first.or(number),
            RANGE_END => last = last.or(number),
            _ => {}
        }
        rest = rest.get(usize::from(length)..)?;
    }
    let port = |number: Option<u32>| u16::try_from(number?).ok();
    let ports = PortRange {
        address: address?,
        first: port(first)?,
        last: port(last)?,
    };
    if ports.first > ports.last || !rest.is_empty() {
        return None;
    }
    match alloc {
        None | Some(Some(ALLOCATION)) => Some(PortNews::Held(ports)),
        Some(Some(DEALLOCATION)) => Some(PortNews::GivenBack(ports)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Code;
    use proptest::prelude::*;

    fn ports(first: u16, last: u16) -> PortRange {
        PortRange {
            address: Ipv4Addr::new(198, 51, 100, 2),
            first,
            last,
        }
    }

    fn written(news: PortNews) -> Vec<u8> {
        let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
        write(&mut draft, news);
        draft.seal_request(1, b"secret").unwrap()
    }

    #[test]
    fn is_written_as_the_rfc_draws_it() {
        let packet = written(PortNews::Held(ports(1024, 1535)));
        let expected = [
            241, 27, 6, 8, 6, 0, 0, 0, 1, 9, 6, 0, 0, 4, 0, 10, 6, 0, 0, 5, 255, 3, 6, 198, 51, 100, 2,
        ];
        assert_eq!(packet.get(20..), Some(&expected[..]));
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(first in 0u16.., last in 0u16.., is_held: bool) {
            let news = if is_held { PortNews::Held } else { PortNews::GivenBack }(ports(first, last));
            let packet = Packet::parse(&written(news)).unwrap();
            prop_assert_eq!(read(&packet), (first <= last).then_some(news));
        }

        #[test]
        fn hostile_values_end_within_themselves(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(read_value(&value).is_none() || value.len() >= 18);
        }
    }

    #[test]
    fn half_of_it_is_none_of_it() {
        let whole = [9, 6, 0, 0, 4, 0, 10, 6, 0, 0, 5, 255, 3, 6, 198, 51, 100, 2];
        assert_eq!(read_value(&whole), Some(PortNews::Held(ports(1024, 1535))));
        assert_eq!(read_value(whole.get(..12).unwrap()), None, "of no address");
        assert_eq!(read_value(whole.get(..17).unwrap()), None, "cut off");
        let returned = |alloc| read_value(&[&whole[..], &[8, 6, 0, 0, 0, alloc]].concat());
        assert_eq!(returned(2), Some(PortNews::GivenBack(ports(1024, 1535))));
        assert_eq!(returned(3), None, "what that means nobody knows");
        let beyond = [9, 6, 0, 1, 0, 0, 10, 6, 0, 1, 5, 255, 3, 6, 198, 51, 100, 2];
        assert_eq!(read_value(&beyond), None, "there is no such port");
        assert_eq!(read_value(&[9, 0]), None, "a length that holds not even itself");
    }
}
