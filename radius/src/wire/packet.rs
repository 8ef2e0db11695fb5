//! A packet that was received.

mod proof;

use std::net::{Ipv4Addr, Ipv6Addr};

use radius_codec::core::avp::AVPType;

pub use proof::Unverified;

use super::attribute::{Code, attr, vendor::VendorAttr};
use super::crypto::DIGEST_OCTETS;
use super::{HEADER_OCTETS, MAX_PACKET_OCTETS};

/// The octets are no RADIUS packet we speak. All of these are dropped in silence (RFC 2865 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Fewer octets than the header, or than the header says.
    #[error("truncated")]
    Truncated,
    /// Length below 20 or above 4096.
    #[error("length out of range")]
    Length,
    /// No packet is at fault, but there is no room for what its other form adds.
    #[error("no room for what its other form adds")]
    NoRoom,
    /// A code we do not speak.
    #[error("unknown code {0}")]
    Code(u8),
    /// An attribute shorter than its own header or longer than the packet.
    #[error("attributes do not fit")]
    Attributes,
    /// Message-Authenticator twice or not 16 octets long.
    #[error("broken Message-Authenticator")]
    MessageAuthenticator,
}

/// An attribute is there, but its value has another length than its type (RFC 2865 §5): whoever depends on it must not take it
/// for absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("attribute {0} has a value of the wrong length")]
pub struct WrongLength(pub u8);

/// A well-formed packet; nothing about it is proven until one of the `verify_` functions returned `Ok`.
#[derive(Debug, Clone)]
pub struct Packet {
    code: Code,
    identifier: u8,
    authenticator: [u8; DIGEST_OCTETS],
    /// Without the padding that may have followed.
    raw: Vec<u8>,
    /// Offset of the value.
    message_authenticator_at: Option<usize>,
}

impl Packet {
    /// Reads a datagram. Octets beyond the packet's length are padding and ignored (RFC 2865 §3).
    ///
    /// # Errors
    /// [`Malformed`]: to be dropped in silence.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let (Some(&[code, identifier, high, low]), Some(authenticator)) = (
            datagram.first_chunk::<4>(),
            datagram.get(4..).and_then(<[u8]>::first_chunk::<DIGEST_OCTETS>),
        ) else {
            return Err(Malformed::Truncated);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(HEADER_OCTETS..=MAX_PACKET_OCTETS).contains(&length) {
            return Err(Malformed::Length);
        }
        let octets = datagram.get(..length).ok_or(Malformed::Truncated)?;
        let code = Code::from_octet(code).ok_or(Malformed::Code(code))?;
        if attributes(octets.get(HEADER_OCTETS..).unwrap_or_default()).any(|attribute| attribute.is_err()) {
            return Err(Malformed::Attributes);
        }
        Ok(Self {
            code,
            identifier,
            authenticator: *authenticator,
            raw: octets.to_vec(),
            message_authenticator_at: find_message_authenticator(octets)?,
        })
    }

    /// What it is.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Ties the answer to the request.
    #[must_use]
    pub const fn identifier(&self) -> u8 {
        self.identifier
    }

    /// The header's authenticator.
    #[must_use]
    pub const fn authenticator(&self) -> &[u8; DIGEST_OCTETS] {
        &self.authenticator
    }

    /// Whether it carries a Message-Authenticator, right or wrong.
    #[must_use]
    pub const fn has_message_authenticator(&self) -> bool {
        self.message_authenticator_at.is_some()
    }

    /// Whether the attribute is there.
    #[must_use]
    pub fn has(&self, attribute: AVPType) -> bool {
        self.value(attribute).is_some()
    }

    /// The first value of an attribute.
    #[must_use]
    pub fn octets(&self, attribute: AVPType) -> Option<Vec<u8>> {
        self.value(attribute).map(<[u8]>::to_vec)
    }

    /// Every value of an attribute, in the packet's order.
    #[must_use]
    pub fn all_octets(&self, attribute: AVPType) -> Vec<Vec<u8>> {
        let all = self.attributes().filter(|(kind, _)| *kind == attribute);
        all.map(|(_, value)| value.to_vec()).collect()
    }

    /// The first value of an attribute, where it stands.
    fn value(&self, attribute: AVPType) -> Option<&[u8]> {
        self.attributes()
            .find(|(kind, _)| *kind == attribute)
            .map(|(_, value)| value)
    }

    /// The first value as text. What is not UTF-8 is replaced rather than refused: some vendors pad or mangle names.
    #[must_use]
    pub fn text(&self, attribute: AVPType) -> Option<String> {
        self.octets(attribute).map(into_text)
    }

    /// The first value as a name to tell things apart by. Unlike [`Self::text`], values that differ remain different, and NUL,
    /// which PostgreSQL refuses, does not occur: octets that are no printable text, and `%`, are written `%XX`; [`Draft::id`](super::Draft::id) writes
    /// them back.
    #[must_use]
    pub fn id(&self, attribute: AVPType) -> Option<String> {
        let mut id = String::new();
        self.write_id(attribute, &mut id).then_some(id)
    }

    /// Likewise, behind what is written already. `false` if the attribute is absent.
    pub fn write_id(&self, attribute: AVPType, id: &mut String) -> bool {
        let Some(octets) = self.value(attribute) else {
            return false;
        };
        let escaped = |octet: u8| ['%', hex(octet >> 4), hex(octet)];
        for chunk in octets.utf8_chunks() {
            for c in chunk.valid().chars() {
                match u8::try_from(c) {
                    Ok(octet) if c == '%' || c.is_ascii_control() => id.extend(escaped(octet)),
                    _ => id.push(c),
                }
            }
            id.extend(chunk.invalid().iter().flat_map(|octet| escaped(*octet)));
        }
        true
    }

    /// The first value as a number; `None` too if it is not four octets long.
    #[must_use]
    pub fn u32(&self, attribute: AVPType) -> Option<u32> {
        self.try_u32(attribute).ok().flatten()
    }

    /// The first value as a number; `None` only if the attribute is absent.
    ///
    /// # Errors
    /// [`WrongLength`].
    pub fn try_u32(&self, attribute: AVPType) -> Result<Option<u32>, WrongLength> {
        let value = self.value(attribute).map(<[u8; 4]>::try_from).transpose();
        Ok(value.map_err(|_| WrongLength(attribute))?.map(u32::from_be_bytes))
    }

    /// The first value as an IPv4 address; `None` too if it is not four octets long.
    #[must_use]
    pub fn ipv4(&self, attribute: AVPType) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.value(attribute)?.try_into().ok()?;
        Some(octets.into())
    }

    /// The first value as an IPv6 address; `None` too if it is not sixteen octets long.
    #[must_use]
    pub fn ipv6(&self, attribute: AVPType) -> Option<Ipv6Addr> {
        let octets: [u8; 16] = self.value(attribute)?.try_into().ok()?;
        Some(octets.into())
    }

    /// Every value of a vendor's attribute (RFC 2865 §5.26), in order. A vendor that does not follow the recommended layout
    /// yields nothing.
    #[must_use]
    pub fn vendor_octets(&self, (vendor, kind): VendorAttr) -> Vec<Vec<u8>> {
        let all = self.vendor_attributes().filter_map(Result::ok);
        all.filter(|((at_vendor, at), _)| (*at_vendor, *at) == (vendor, kind))
            .map(|(_, value)| value.to_vec())
            .collect()
    }

    /// Type and value of every attribute, in order.
    pub fn attributes(&self) -> impl Iterator<Item = (AVPType, &[u8])> {
        attributes(self.raw.get(HEADER_OCTETS..).unwrap_or_default()).filter_map(Result::ok)
    }

    /// The type of every attribute, in order.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = AVPType> {
        self.attributes().map(|(kind, _)| kind)
    }

    /// Every vendor's attribute, in order. An error where one does not follow the recommended layout: its vendor, if there is one.
    pub(crate) fn vendor_attributes(&self) -> impl Iterator<Item = Result<(VendorAttr, &[u8]), Option<u32>>> {
        let vendors = self.attributes().filter(|(kind, _)| *kind == attr::VENDOR_SPECIFIC);
        vendors.flat_map(|(_, value)| {
            let (vendor, rest) = match value.split_first_chunk::<4>() {
                Some((vendor, rest)) => (Some(u32::from_be_bytes(*vendor)), rest),
                None => (None, value),
            };
            attributes(rest).map(move |inner| match (vendor, inner) {
                (Some(vendor), Ok((kind, value))) => Ok(((vendor, kind), value)),
                _ => Err(vendor),
            })
        })
    }

    /// The first value of a vendor's attribute as a number.
    #[must_use]
    pub fn vendor_u32(&self, attribute: VendorAttr) -> Option<u32> {
        let value = self.vendor_octets(attribute).into_iter().next()?;
        value.try_into().ok().map(u32::from_be_bytes)
    }

    /// The first value of a vendor's attribute as a number; `None` only if there is none.
    ///
    /// # Errors
    /// [`WrongLength`] of the value, or of anything that the vendor's attributes are wrapped in.
    pub fn try_vendor_u32(&self, attribute: VendorAttr) -> Result<Option<u32>, WrongLength> {
        const WRONG: WrongLength = WrongLength(attr::VENDOR_SPECIFIC);
        let mut found = None;
        for inner in self.vendor_attributes() {
            match inner {
                Ok((at, value)) if at == attribute => {
                    let value = value.try_into().map_err(|_| WRONG)?;
                    found.get_or_insert(u32::from_be_bytes(value));
                }
                Err(vendor) if vendor.is_none_or(|vendor| vendor == attribute.0) => return Err(WRONG),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(found)
    }

    /// Every value of a vendor's attribute as text.
    #[must_use]
    pub fn vendor_texts(&self, attribute: VendorAttr) -> Vec<String> {
        self.vendor_octets(attribute).into_iter().map(into_text).collect()
    }
}

/// NUL at the end is some vendors' padding; elsewhere it is replaced, since PostgreSQL keeps none.
fn into_text(octets: Vec<u8>) -> String {
    let text = String::from_utf8(octets).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
    if text.contains('\0') {
        text.trim_end_matches('\0').replace('\0', "\u{fffd}")
    } else {
        text
    }
}

/// The digit of the low four bits.
fn hex(octet: u8) -> char {
    char::from_digit(u32::from(octet & 15), 16).map_or('0', |digit| digit.to_ascii_uppercase())
}

/// Type, value and what follows.
fn next_attribute(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let &[kind, length] = octets.first_chunk::<2>()?;
    let body = octets.get(2..usize::from(length))?;
    Some((kind, body, octets.get(usize::from(length)..)?))
}

/// Types and values; an error ends them where what is left is no attribute.
pub(super) fn attributes(octets: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), ()>> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((kind, value, after)) = next_attribute(rest) else {
            rest = &[];
            return Some(Err(()));
        };
        rest = after;
        Some(Ok((kind, value)))
    })
}

fn find_message_authenticator(packet: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut rest = packet.get(HEADER_OCTETS..).unwrap_or_default();
    let mut found = None;
    while let Some((kind, body, after)) = next_attribute(rest) {
        if kind == attr::MESSAGE_AUTHENTICATOR {
            if found.is_some() || body.len() != DIGEST_OCTETS {
                return Err(Malformed::MessageAuthenticator);
            }
            found = Some(packet.len() - after.len() - DIGEST_OCTETS);
        }
        rest = after;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use radius_codec::core::avp::AVP;
    use radius_codec::core::packet::Packet as Frame;

    use super::*;
    use crate::wire::Draft;

    fn received(write: impl FnOnce(&mut Draft)) -> Packet {
        let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
        write(&mut draft);
        Packet::parse(&draft.seal_request(1, b"secret").unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn an_id_is_kept_apart_from_every_other_and_sent_back_octet_for_octet(
            octets in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let id = received(|draft| _ = draft.octets(attr::ACCT_SESSION_ID, &octets)).id(attr::ACCT_SESSION_ID);
            let id = id.unwrap();
            prop_assert!(!id.contains('\0'));
            let back = received(|draft| _ = draft.id(attr::ACCT_SESSION_ID, &id));
            prop_assert_eq!(back.octets(attr::ACCT_SESSION_ID).unwrap(), octets);
        }
    }

    proptest! {
        /// The codec judges: what we write it reads, and what it writes we read.
        #[test]
        fn another_codec_reads_what_we_write_and_writes_what_we_read(
            attributes in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..20),
        ) {
            let attributes: Vec<_> = attributes.into_iter().filter(|(kind, _)| *kind != attr::MESSAGE_AUTHENTICATOR).collect();
            let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
            let mut theirs = Frame::new_with_identifier(radius_codec::core::code::Code::AccountingRequest, b"secret", 7);
            for (kind, value) in &attributes {
                draft.octets(*kind, value);
                theirs.add(AVP::from_bytes(*kind, value));
            }
            let ours = draft.seal_request(7, b"secret").unwrap();
            prop_assert_eq!(&ours, &theirs.encode().unwrap());
            let (read, judged) = (Packet::parse(&ours).unwrap(), Frame::decode(&ours, b"secret").unwrap());
            for (kind, _) in &attributes {
                let all: Vec<Vec<u8>> = judged.lookup_all(*kind).into_iter().map(AVP::encode_bytes).collect();
                prop_assert_eq!(read.all_octets(*kind), all);
            }
        }
    }

    #[test]
    fn no_text_holds_a_nul() {
        let packet = received(|draft| _ = draft.octets(attr::USER_NAME, b"a\0b\0\0"));
        assert_eq!(packet.text(attr::USER_NAME).unwrap(), "a\u{fffd}b");
    }
}
