//! Tagged attributes (RFC 2868): those of one tunnel bear one tag.

use md5::{Digest as _, Md5};
use radius_codec::core::avp::AVPType;
use zeroize::Zeroizing;

use super::attribute::attr;
use super::crypto::DIGEST_OCTETS;
use super::{Draft, Packet};

/// 1 to 31; 0 and above are no tags (RFC 2868 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u8);

/// Largest Tunnel-Password, octets: tag and salt take three of 253, what remains is whole blocks, and the first octet tells the length.
pub const MAX_TUNNEL_PASSWORD_OCTETS: usize = 239;

impl Tag {
    /// `None` for what is no tag.
    #[must_use]
    pub const fn new(octet: u8) -> Option<Self> {
        match octet {
            1..=31 => Some(Self(octet)),
            _ => None,
        }
    }

    /// 1 to 31.
    #[must_use]
    pub const fn octet(self) -> u8 {
        self.0
    }
}

impl Packet {
    /// Every value of a tagged attribute with text or octets (RFC 2868 §3.3): an octet beyond 31 is no tag but the value's first.
    #[must_use]
    pub fn tagged_octets(&self, attribute: AVPType) -> Vec<(Option<Tag>, Vec<u8>)> {
        let values = self.attributes().filter(|(kind, _)| *kind == attribute);
        values
            .map(|(_, value)| match value.split_first() {
                Some((tag @ 0..=31, rest)) => (Tag::new(*tag), rest.to_vec()),
                _ => (None, value.to_vec()),
            })
            .collect()
    }

    /// Every value of a tagged attribute with a number of three octets (RFC 2868 §3.1). One of another length is passed over.
    #[must_use]
    pub fn tagged_u24(&self, attribute: AVPType) -> Vec<(Option<Tag>, u32)> {
        let values = self.attributes().filter(|(kind, _)| *kind == attribute);
        values
            .filter_map(|(_, value)| match value {
                &[tag, high, middle, low] => Some((Tag::new(tag), u32::from_be_bytes([0, high, middle, low]))),
                _ => None,
            })
            .collect()
    }

    /// Every Tunnel-Password of an answer to the request with that authenticator (RFC 2868 §3.5), revealed. A malformed one is passed
    /// over.
    #[must_use]
    pub fn tunnel_passwords(
        &self,
        request_authenticator: &[u8; DIGEST_OCTETS],
        secret: &[u8],
    ) -> Vec<(Option<Tag>, Zeroizing<Vec<u8>>)> {
        let values = self.attributes().filter(|(kind, _)| *kind == attr::TUNNEL_PASSWORD);
        values
            .filter_map(|(_, value)| {
                let (&[tag, high, low], hidden) = value.split_first_chunk::<3>()?;
                let password = reveal(hidden, [high, low], request_authenticator, secret)?;
                Some((Tag::new(tag), password))
            })
            .collect()
    }
}

impl Draft {
    /// Adds a tagged attribute with octets. Without a tag, a value that begins like one is preceded by 0.
    pub fn tagged_octets(&mut self, attribute: AVPType, tag: Option<Tag>, value: &[u8]) -> &mut Self {
        let looks_tagged = value.first().is_none_or(|first| *first <= 31);
        match tag {
            None if !looks_tagged => self.octets(attribute, value),
            tag => self.octets(attribute, &[&[octet(tag)], value].concat()),
        }
    }

    /// Adds a tagged attribute with a number below 2^24; others are refused.
    pub fn tagged_u24(&mut self, attribute: AVPType, tag: Option<Tag>, value: u32) -> &mut Self {
        if let [0, high, middle, low] = value.to_be_bytes() {
            self.octets(attribute, &[octet(tag), high, middle, low])
        } else {
            self.refuse(attribute);
            self
        }
    }

    /// Adds a Tunnel-Password, hidden with a fresh salt. One beyond [`MAX_TUNNEL_PASSWORD_OCTETS`] is refused: cut, it would be another.
    pub fn tunnel_password(&mut self, tag: Option<Tag>, password: &[u8], salt: u16, secret: &[u8]) -> &mut Self {
        let Some(length) = u8::try_from(password.len())
            .ok()
            .filter(|length| usize::from(*length) <= MAX_TUNNEL_PASSWORD_OCTETS)
        else {
            self.refuse(attr::TUNNEL_PASSWORD);
            return self;
        };
        // Its highest bit tells a salt (RFC 2868 §3.5); each in a packet differs.
        let salt = (salt | 0x8000).to_be_bytes();
        let mut value = vec![octet(tag), salt[0], salt[1]];
        value.extend(hide(length, password, salt, self.authenticator(), secret));
        self.octets(attr::TUNNEL_PASSWORD, &value)
    }
}

const fn octet(tag: Option<Tag>) -> u8 {
    match tag {
        Some(tag) => tag.0,
        None => 0,
    }
}

fn hide(length: u8, password: &[u8], salt: [u8; 2], authenticator: &[u8; DIGEST_OCTETS], secret: &[u8]) -> Vec<u8> {
    let mut plain = Zeroizing::new(vec![length]);
    plain.extend_from_slice(password);
    let whole = plain.len().next_multiple_of(DIGEST_OCTETS);
    plain.resize(whole, 0);
    let (blocks, _) = plain.as_chunks::<DIGEST_OCTETS>();
    let mut hidden = Vec::with_capacity(whole);
    let mut pad = first_pad(salt, authenticator, secret);
    for block in blocks {
        let out: Vec<u8> = block.iter().zip(pad).map(|(octet, pad)| octet ^ pad).collect();
        pad = next_pad(&out, secret);
        hidden.extend(out);
    }
    hidden
}

fn reveal(
    hidden: &[u8],
    salt: [u8; 2],
    authenticator: &[u8; DIGEST_OCTETS],
    secret: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (blocks, rest) = hidden.as_chunks::<DIGEST_OCTETS>();
    if !rest.is_empty() || blocks.is_empty() {
        return None;
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(hidden.len()));
    let mut pad = first_pad(salt, authenticator, secret);
    for block in blocks {
        plain.extend(block.iter().zip(pad).map(|(octet, pad)| octet ^ pad));
        pad = next_pad(block, secret);
    }
    let (length, password) = plain.split_first()?;
    Some(Zeroizing::new(password.get(..usize::from(*length))?.to_vec()))
}

fn first_pad(salt: [u8; 2], authenticator: &[u8; DIGEST_OCTETS], secret: &[u8]) -> [u8; DIGEST_OCTETS] {
    let first = Md5::new().chain_update(secret).chain_update(authenticator);
    first.chain_update(salt).finalize().into()
}

fn next_pad(hidden: &[u8], secret: &[u8]) -> [u8; DIGEST_OCTETS] {
    Md5::new().chain_update(secret).chain_update(hidden).finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Code;

    const TUNNEL_TYPE: AVPType = 64;
    const TUNNEL_PRIVATE_GROUP_ID: AVPType = 81;

    fn answer(write: impl FnOnce(&mut Draft)) -> Packet {
        let request = Draft::request(Code::AccessRequest, [3; 16]).seal_request(1, b"secret");
        let request = Packet::parse(&request.unwrap()).unwrap();
        let mut draft = Draft::reply(Code::AccessAccept, &request);
        write(&mut draft);
        Packet::parse(&draft.seal_reply(b"secret").unwrap()).unwrap()
    }

    fn any_tag() -> impl Strategy<Value = Option<Tag>> {
        (0_u8..=31).prop_map(Tag::new)
    }

    proptest! {
        #[test]
        fn tagged_values_come_back_with_their_tags(
            texts in prop::collection::vec((any_tag(), prop::collection::vec(any::<u8>(), 0..=252)), 0..4),
            numbers in prop::collection::vec((any_tag(), 0_u32..1 << 24), 0..4),
        ) {
            let packet = answer(|draft| {
                for (tag, text) in &texts {
                    draft.tagged_octets(TUNNEL_PRIVATE_GROUP_ID, *tag, text);
                }
                for (tag, number) in &numbers {
                    draft.tagged_u24(TUNNEL_TYPE, *tag, *number);
                }
            });
            prop_assert_eq!(packet.tagged_octets(TUNNEL_PRIVATE_GROUP_ID), texts);
            prop_assert_eq!(packet.tagged_u24(TUNNEL_TYPE), numbers);
        }

        #[test]
        fn a_tunnel_password_survives_hiding(
            tag in any_tag(),
            password in prop::collection::vec(any::<u8>(), 0..=MAX_TUNNEL_PASSWORD_OCTETS),
            salt: u16,
        ) {
            let packet = answer(|draft| _ = draft.tunnel_password(tag, &password, salt, b"secret"));
            let found = packet.tunnel_passwords(&[3; 16], b"secret");
            prop_assert_eq!(found, [(tag, Zeroizing::new(password))]);
        }

        #[test]
        fn no_octets_make_a_tagged_attribute_that_is_fatal(value in prop::collection::vec(any::<u8>(), 0..=253)) {
            let packet = answer(|draft| {
                for kind in [TUNNEL_TYPE, attr::TUNNEL_PASSWORD, TUNNEL_PRIVATE_GROUP_ID] {
                    draft.octets(kind, &value);
                }
            });
            prop_assert!(packet.tagged_u24(TUNNEL_TYPE).len() <= 1);
            prop_assert!(packet.tunnel_passwords(&[3; 16], b"secret").len() <= 1);
            prop_assert_eq!(packet.tagged_octets(TUNNEL_PRIVATE_GROUP_ID).len(), 1);
        }
    }

    #[test]
    fn a_first_octet_beyond_31_belongs_to_the_value() {
        let packet = answer(|draft| _ = draft.octets(TUNNEL_PRIVATE_GROUP_ID, b"100"));
        assert_eq!(packet.tagged_octets(TUNNEL_PRIVATE_GROUP_ID), [(None, b"100".to_vec())]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for write in [
            (|draft| _ = draft.tagged_u24(TUNNEL_TYPE, None, 1 << 24)) as fn(&mut Draft),
            |draft| _ = draft.tunnel_password(None, &[b'x'; MAX_TUNNEL_PASSWORD_OCTETS + 1], 1, b"secret"),
        ] {
            let mut draft = Draft::request(Code::AccessRequest, [3; 16]);
            write(&mut draft);
            assert!(draft.seal_request(1, b"secret").is_err());
        }
    }
}
