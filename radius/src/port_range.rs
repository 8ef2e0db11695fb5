//! IP-Port-Range (RFC 8045 §3.1.2), attribute 241.6: the ports of a public address that a session's device has to itself.

use std::net::Ipv4Addr;

use kavadam_domain::PortRange;

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
/// Type, length and a number of 32 bits.
const PART_OCTETS: u8 = 6;

/// Without IP-Port-Type: it is of all protocols that have ports.
pub(crate) fn write(draft: &mut Draft, ports: PortRange) {
    let mut value = Vec::new();
    for (kind, number) in [
        (ALLOC, ALLOCATION),
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
pub(crate) fn read(packet: &Packet) -> Option<PortRange> {
    packet
        .extended(IP_PORT_RANGE)
        .iter()
        .find_map(|value| read_value(value))
}

fn read_value(mut rest: &[u8]) -> Option<PortRange> {
    let (mut address, mut first, mut last, mut is_given_back) = (None, None, None, false);
    while let [kind, length, ..] = *rest {
        let part = rest.get(..usize::from(length))?;
        // A length that does not hold itself would be read for ever.
        let octets = part.get(2..)?;
        let number = octets.try_into().ok().map(u32::from_be_bytes);
        match kind {
            EXT_IPV4_ADDRESS => address = address.or(number.map(Ipv4Addr::from)),
            ALLOC => is_given_back |= number != Some(ALLOCATION),
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
    (ports.first <= ports.last && !is_given_back && rest.is_empty()).then_some(ports)
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

    fn written(ports: PortRange) -> Vec<u8> {
        let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
        write(&mut draft, ports);
        draft.seal_request(1, b"secret").unwrap()
    }

    #[test]
    fn is_written_as_the_rfc_draws_it() {
        let packet = written(ports(1024, 1535));
        let expected = [
            241, 27, 6, 8, 6, 0, 0, 0, 1, 9, 6, 0, 0, 4, 0, 10, 6, 0, 0, 5, 255, 3, 6, 198, 51, 100, 2,
        ];
        assert_eq!(packet.get(20..), Some(&expected[..]));
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(first in 0u16.., last in 0u16..) {
            let packet = Packet::parse(&written(ports(first, last))).unwrap();
            prop_assert_eq!(read(&packet), (first <= last).then_some(ports(first, last)));
        }

        #[test]
        fn hostile_values_end_within_themselves(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(read_value(&value).is_none_or(|ports| ports.first <= ports.last && value.len() >= 18));
        }
    }

    #[test]
    fn half_of_it_is_none_of_it() {
        let whole = [9, 6, 0, 0, 4, 0, 10, 6, 0, 0, 5, 255, 3, 6, 198, 51, 100, 2];
        assert_eq!(read_value(&whole), Some(ports(1024, 1535)));
        assert_eq!(read_value(whole.get(..12).unwrap()), None, "of no address");
        assert_eq!(read_value(whole.get(..17).unwrap()), None, "cut off");
        let returned = [&whole[..], &[8, 6, 0, 0, 0, 2]].concat();
        assert_eq!(read_value(&returned), None, "given back");
        let beyond = [9, 6, 0, 1, 0, 0, 10, 6, 0, 1, 5, 255, 3, 6, 198, 51, 100, 2];
        assert_eq!(read_value(&beyond), None, "there is no such port");
        assert_eq!(read_value(&[9, 0]), None, "a length that holds not even itself");
    }
}
