//! Values longer than an attribute: spread over several (RFC 3579 §3.1, vendors), or over the fragments of an extended attribute
//! (RFC 6929). What does not follow the rules is passed over, never fatal: its octets stay in the packet as they came.

use radius_codec::core::avp::AVPType;

use super::attribute::attr;
use super::attribute::vendor::VendorAttr;
use super::{Draft, MAX_VALUE_OCTETS, Packet};

/// An extended attribute: its type, 241 to 246, and the type within (RFC 6929 §2.1, §2.2), as in `245.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExtendedAttr {
    /// 241 to 244 hold up to 252 octets, 245 and 246 any number, in fragments.
    pub space: ExtendedSpace,
    /// The type within; 26 is a vendor's (see [`Packet::extended_vendor`]).
    pub kind: u8,
}

/// The types that hold extended attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExtendedSpace {
    /// 241
    Extended1,
    /// 242
    Extended2,
    /// 243
    Extended3,
    /// 244
    Extended4,
    /// 245
    LongExtended1,
    /// 246
    LongExtended2,
}

/// More: the next attribute goes on with this value (RFC 6929 §2.2).
const MORE: u8 = 0x80;
/// Of a value, within one attribute of 245 or 246: type and flags take two.
const FRAGMENT_OCTETS: usize = MAX_VALUE_OCTETS - 2;
/// Of a value, in a Vendor-Specific of its own: vendor, type and length take six.
const VENDOR_OCTETS: usize = MAX_VALUE_OCTETS - 6;
/// Type within an extended attribute, of a vendor's (RFC 6929 §2.3).
const VENDOR_SPECIFIC: u8 = 26;

impl ExtendedSpace {
    /// All there are, in the order of their types.
    pub const ALL: [Self; 6] = [
        Self::Extended1,
        Self::Extended2,
        Self::Extended3,
        Self::Extended4,
        Self::LongExtended1,
        Self::LongExtended2,
    ];

    /// The type on the wire.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Extended1 => 241,
            Self::Extended2 => 242,
            Self::Extended3 => 243,
            Self::Extended4 => 244,
            Self::LongExtended1 => 245,
            Self::LongExtended2 => 246,
        }
    }

    fn of(kind: AVPType) -> Option<Self> {
        Self::ALL.into_iter().find(|space| space.octet() == kind)
    }

    const fn is_long(self) -> bool {
        matches!(self, Self::LongExtended1 | Self::LongExtended2)
    }
}

impl Packet {
    /// The value that all attributes of this type make together, in order: EAP-Message (RFC 3579 §3.1), or a State or Class that a
    /// vendor spreads. `None` if there is none.
    #[must_use]
    pub fn joined(&self, attribute: AVPType) -> Option<Vec<u8>> {
        join(
            self.attributes()
                .filter(|(kind, _)| *kind == attribute)
                .map(|(_, value)| value),
        )
    }

    /// Likewise of a vendor's attributes, in one Vendor-Specific or several.
    #[must_use]
    pub fn vendor_joined(&self, attribute: VendorAttr) -> Option<Vec<u8>> {
        let all = self.vendor_attributes().filter_map(Result::ok);
        join(all.filter(|(at, _)| *at == attribute).map(|(_, value)| value))
    }

    /// Every value of an extended attribute, in order, its fragments put together (RFC 6929 §2).
    #[must_use]
    pub fn extended(&self, attribute: ExtendedAttr) -> Vec<Vec<u8>> {
        let all = self.all_extended().into_iter();
        all.filter(|(at, _)| *at == attribute).map(|(_, value)| value).collect()
    }

    /// Every value of a vendor's attribute within an extended one (RFC 6929 §2.3, §2.4).
    #[must_use]
    pub fn extended_vendor(&self, space: ExtendedSpace, (vendor, kind): VendorAttr) -> Vec<Vec<u8>> {
        let attribute = ExtendedAttr {
            space,
            kind: VENDOR_SPECIFIC,
        };
        let values = self.extended(attribute).into_iter();
        values
            .filter_map(|value| {
                let (at, rest) = value.split_first_chunk::<4>()?;
                let (at_kind, value) = rest.split_first()?;
                ((u32::from_be_bytes(*at), *at_kind) == (vendor, kind)).then(|| value.to_vec())
            })
            .collect()
    }

    /// Every extended attribute. The fragments of a value follow one another, all but the last marked; a value whose end is missing is
    /// none (RFC 6929 §5.1).
    #[must_use]
    pub fn all_extended(&self) -> Vec<(ExtendedAttr, Vec<u8>)> {
        let mut found = Vec::new();
        let mut begun: Option<(ExtendedAttr, Vec<u8>)> = None;
        for (kind, value) in self.attributes() {
            let Some((attribute, fragment, has_more)) = read_extended(kind, value) else {
                begun = None;
                continue;
            };
            let mut whole = match begun.take() {
                Some((at, before)) if at == attribute => before,
                _ => Vec::new(),
            };
            whole.extend_from_slice(fragment);
            if has_more {
                begun = Some((attribute, whole));
            } else {
                found.push((attribute, whole));
            }
        }
        found
    }
}

/// Which, a piece of its value, and whether more of it follows.
fn read_extended(kind: AVPType, value: &[u8]) -> Option<(ExtendedAttr, &[u8], bool)> {
    let space = ExtendedSpace::of(kind)?;
    let (kind, value) = value.split_first()?;
    let attribute = ExtendedAttr { space, kind: *kind };
    if !space.is_long() {
        return Some((attribute, value, false));
    }
    let (flags, value) = value.split_first()?;
    Some((attribute, value, flags & MORE != 0))
}

fn join<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    parts.fold(None, |whole, part| {
        let mut whole = whole.unwrap_or_default();
        whole.extend_from_slice(part);
        Some(whole)
    })
}

/// In pieces of that size; one, if there is nothing.
fn pieces(value: &[u8], octets: usize) -> impl Iterator<Item = (&[u8], bool)> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let (piece, after) = rest?.split_at(octets.min(rest?.len()));
        rest = Some(after).filter(|after| !after.is_empty());
        Some((piece, rest.is_some()))
    })
}

impl Draft {
    /// Adds octets of any length, in as many attributes as it takes.
    pub fn long_octets(&mut self, attribute: AVPType, value: &[u8]) -> &mut Self {
        for (piece, _) in pieces(value, MAX_VALUE_OCTETS) {
            self.octets(attribute, piece);
        }
        self
    }

    /// Adds a vendor's attribute of any length, in as many Vendor-Specifics as it takes.
    pub fn long_vendor(&mut self, attribute: VendorAttr, value: &[u8]) -> &mut Self {
        for (piece, _) in pieces(value, VENDOR_OCTETS) {
            self.vendor(attribute, piece);
        }
        self
    }

    /// Adds an extended attribute; beyond 252 octets only 245 and 246 hold it, others are refused.
    pub fn extended(&mut self, attribute: ExtendedAttr, value: &[u8]) -> &mut Self {
        let kind = attribute.space.octet();
        if !attribute.space.is_long() {
            return self.octets(kind, &[&[attribute.kind], value].concat());
        }
        for (piece, has_more) in pieces(value, FRAGMENT_OCTETS) {
            let flags = if has_more { MORE } else { 0 };
            self.octets(kind, &[&[attribute.kind, flags], piece].concat());
        }
        self
    }

    /// Adds a vendor's attribute within an extended one.
    pub fn extended_vendor(&mut self, space: ExtendedSpace, (vendor, kind): VendorAttr, value: &[u8]) -> &mut Self {
        let attribute = ExtendedAttr {
            space,
            kind: VENDOR_SPECIFIC,
        };
        self.extended(attribute, &[&vendor.to_be_bytes(), [kind].as_slice(), value].concat())
    }

    /// Adds an EAP packet (RFC 3579 §3.1).
    pub fn eap(&mut self, packet: &[u8]) -> &mut Self {
        self.long_octets(attr::EAP_MESSAGE, packet)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Code;

    fn received(write: impl FnOnce(&mut Draft)) -> Packet {
        let mut draft = Draft::request(Code::AccessRequest, [3; 16]);
        write(&mut draft);
        Packet::parse(&draft.seal_request(1, b"secret").unwrap()).unwrap()
    }

    fn any_extended() -> impl Strategy<Value = ExtendedAttr> {
        let space = prop::sample::select(ExtendedSpace::ALL.to_vec());
        (space, any::<u8>()).prop_map(|(space, kind)| ExtendedAttr { space, kind })
    }

    fn long() -> ExtendedAttr {
        ExtendedAttr {
            space: ExtendedSpace::LongExtended1,
            kind: 7,
        }
    }

    proptest! {
        #[test]
        fn extended_attributes_of_any_length_come_back_in_order(
            values in prop::collection::vec((any_extended(), prop::collection::vec(any::<u8>(), 0..900)), 0..4),
        ) {
            let fits = |attribute: ExtendedAttr, value: &[u8]| attribute.space.is_long() || value.len() <= 252;
            let values: Vec<_> = values.into_iter().filter(|(at, value)| fits(*at, value)).collect();
            let packet = received(|draft| {
                for (attribute, value) in &values {
                    draft.extended(*attribute, value);
                }
            });
            prop_assert_eq!(packet.all_extended(), values);
        }

        #[test]
        fn long_values_come_back_whole(
            eap in prop::collection::vec(any::<u8>(), 0..1500),
            vendors in prop::collection::vec(any::<u8>(), 0..1500),
            extended in prop::collection::vec(any::<u8>(), 0..600),
            vendor: (u32, u8),
        ) {
            let packet = received(|draft| {
                draft.eap(&eap).long_vendor(vendor, &vendors);
                draft.extended_vendor(ExtendedSpace::LongExtended2, vendor, &extended);
            });
            prop_assert_eq!(packet.joined(attr::EAP_MESSAGE).unwrap(), eap);
            prop_assert_eq!(packet.vendor_joined(vendor).unwrap(), vendors);
            prop_assert_eq!(packet.extended_vendor(ExtendedSpace::LongExtended2, vendor), [extended]);
        }

        #[test]
        fn whatever_stands_in_an_extended_attribute_is_kept_and_never_fatal(
            kind in 241_u8..=246,
            value in prop::collection::vec(any::<u8>(), 0..=253),
        ) {
            let packet = received(|draft| _ = draft.octets(kind, &value));
            prop_assert_eq!(packet.all_octets(kind), [value]);
            prop_assert!(packet.all_extended().len() <= 1);
        }
    }

    #[test]
    fn a_value_without_its_end_or_with_another_in_between_is_none() {
        let begun = [7, MORE, 1, 2, 3];
        let end = [7, 0, 4];
        let of = |write: &dyn Fn(&mut Draft)| received(|draft| write(draft)).extended(long());
        assert_eq!(of(&|d| _ = d.octets(245, &begun).octets(245, &end)), [[1, 2, 3, 4]]);
        assert!(of(&|d| _ = d.octets(245, &begun)).is_empty());
        assert_eq!(
            of(&|d| _ = d.octets(245, &begun).text(attr::USER_NAME, "x").octets(245, &end)),
            [[4]]
        );
        assert_eq!(
            of(&|d| _ = d.octets(245, &begun).octets(245, &[8, 0, 9]).octets(245, &end)),
            [[4]]
        );
    }

    #[test]
    fn what_a_short_extended_attribute_cannot_hold_is_refused() {
        let mut draft = Draft::request(Code::AccessRequest, [3; 16]);
        let attribute = ExtendedAttr {
            space: ExtendedSpace::Extended1,
            kind: 1,
        };
        draft.extended(attribute, &[0; 253]);
        assert!(draft.seal_request(1, b"secret").is_err());
    }

    #[test]
    fn what_is_not_there_joins_to_nothing() {
        let packet = received(|_| {});
        assert_eq!(packet.joined(attr::EAP_MESSAGE), None);
        assert_eq!(packet.vendor_joined((1, 1)), None);
    }
}
