//! A packet being written.

use std::net::{Ipv4Addr, Ipv6Addr};

use radius_codec::core::avp::AVPType;

use super::attribute::{Code, attr, vendor::VendorAttr};
use super::crypto::{DIGEST_OCTETS, message_authenticator, packet_digest};
use super::{HEADER_OCTETS, MAX_PACKET_OCTETS, MAX_VALUE_OCTETS, Packet};

/// Proxies on the way, and octets of the Proxy-States that an answer gives back: what is left of 4096 holds the longest answer.
const MOST_PROXY_STATES: usize = 32;
const MOST_PROXY_STATE_OCTETS: usize = 2048;

/// What was put into the packet does not fit the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A value longer than its attribute can be: 253 octets, 128 for a User-Password.
    #[error("attribute {0} is too long")]
    Attribute(u8),
    /// More than 4096 octets in all.
    #[error("packet of {0} octets exceeds 4096")]
    Packet(usize),
}

/// A packet in the making. Attributes keep the order they are added in; Message-Authenticator, where the code calls for one,
/// comes before all of them, so that no prefix chosen by an attacker can precede it (the remedy for BlastRADIUS).
#[derive(Clone)]
pub struct Draft {
    code: Code,
    /// The request's: its own where this is a request.
    authenticator: [u8; DIGEST_OCTETS],
    /// The packet as far as it is written; the header is filled in when it is sealed.
    packet: Vec<u8>,
    too_long: Option<u8>,
    has_message_authenticator: bool,
}

impl Draft {
    /// Begins a request. `authenticator` should be fresh and random for an Access-Request or Status-Server
    /// ([`super::random_authenticator`]); the other codes compute their own and ignore it.
    #[must_use]
    pub fn request(code: Code, authenticator: [u8; DIGEST_OCTETS]) -> Self {
        let authenticator = if code.has_random_authenticator() {
            authenticator
        } else {
            [0; DIGEST_OCTETS]
        };
        Self::new(code, authenticator)
    }

    /// Begins the answer to a request.
    #[must_use]
    pub fn reply(code: Code, request: &Packet) -> Self {
        let mut draft = Self::new(code, *request.authenticator());
        draft.identify(request.identifier());
        draft
    }

    fn new(code: Code, authenticator: [u8; DIGEST_OCTETS]) -> Self {
        let mut draft = Self {
            code,
            authenticator,
            packet: with_room(),
            too_long: None,
            has_message_authenticator: false,
        };
        if code.has_message_authenticator() {
            draft.has_message_authenticator = true;
            draft.octets(attr::MESSAGE_AUTHENTICATOR, &[0; DIGEST_OCTETS]);
        }
        draft
    }

    /// Leaves Message-Authenticator out, for a peer that refuses packets with it.
    pub fn without_message_authenticator(&mut self) -> &mut Self {
        if std::mem::take(&mut self.has_message_authenticator) {
            self.packet.drain(HEADER_OCTETS..HEADER_OCTETS + 2 + DIGEST_OCTETS);
        }
        self
    }

    /// The request's authenticator, with which passwords are hidden.
    #[must_use]
    pub const fn authenticator(&self) -> &[u8; DIGEST_OCTETS] {
        &self.authenticator
    }

    /// Adds octets.
    pub fn octets(&mut self, attribute: AVPType, value: &[u8]) -> &mut Self {
        match u8::try_from(2 + value.len()) {
            Ok(length) => {
                self.packet.extend_from_slice(&[attribute, length]);
                self.packet.extend_from_slice(value);
            }
            Err(_) => _ = self.too_long.get_or_insert(attribute),
        }
        self
    }

    /// Notes a value that is too long for its attribute: the packet will not be sealed.
    pub(crate) fn refuse(&mut self, attribute: AVPType) {
        self.too_long.get_or_insert(attribute);
    }

    /// Adds text.
    pub fn text(&mut self, attribute: AVPType, value: &str) -> &mut Self {
        self.octets(attribute, value.as_bytes())
    }

    /// Adds a name as [`Packet::id`] reads it: `%XX` is that octet.
    pub fn id(&mut self, attribute: AVPType, value: &str) -> &mut Self {
        let mut octets = Vec::with_capacity(value.len());
        let mut rest = value;
        while let Some((plain, escaped)) = rest.split_once('%') {
            octets.extend_from_slice(plain.as_bytes());
            let digits = escaped.get(..2).map(|digits| u8::from_str_radix(digits, 16));
            if let Some(Ok(octet)) = digits {
                octets.push(octet);
                rest = escaped.get(2..).unwrap_or_default();
            } else {
                octets.push(b'%');
                rest = escaped;
            }
        }
        octets.extend_from_slice(rest.as_bytes());
        self.octets(attribute, &octets)
    }

    /// Adds text of any length, in as many attributes as it takes, never split within a character.
    pub fn long_text(&mut self, attribute: AVPType, mut value: &str) -> &mut Self {
        while !value.is_empty() {
            let (now, later) = value.split_at(value.floor_char_boundary(MAX_VALUE_OCTETS));
            self.text(attribute, now);
            value = later;
        }
        self
    }

    /// Adds a number.
    pub fn u32(&mut self, attribute: AVPType, value: u32) -> &mut Self {
        self.octets(attribute, &value.to_be_bytes())
    }

    /// Adds an IPv4 address.
    pub fn ipv4(&mut self, attribute: AVPType, value: Ipv4Addr) -> &mut Self {
        self.octets(attribute, &value.octets())
    }

    /// Adds an IPv6 address.
    pub fn ipv6(&mut self, attribute: AVPType, value: Ipv6Addr) -> &mut Self {
        self.octets(attribute, &value.octets())
    }

    /// Adds a vendor's attribute (RFC 2865 §5.26), alone in its Vendor-Specific.
    pub fn vendor(&mut self, (vendor, kind): VendorAttr, value: &[u8]) -> &mut Self {
        let mut body = Vec::with_capacity(6 + value.len());
        body.extend_from_slice(&vendor.to_be_bytes());
        body.push(kind);
        // A value too long for this octet is too long for the attribute around it, which is then refused.
        body.push(u8::try_from(2 + value.len()).unwrap_or(u8::MAX));
        body.extend_from_slice(value);
        self.octets(attr::VENDOR_SPECIFIC, &body)
    }

    /// Adds a vendor's number.
    pub fn vendor_u32(&mut self, attribute: VendorAttr, value: u32) -> &mut Self {
        self.vendor(attribute, &value.to_be_bytes())
    }

    /// Copies every Proxy-State of the request, in order (RFC 2865 §5.33).
    pub fn proxy_state_of(&mut self, request: &Packet) -> &mut Self {
        for state in request.all_octets(attr::PROXY_STATE) {
            self.octets(attr::PROXY_STATE, &state);
        }
        self
    }

    /// Signs a request and writes it with this identifier. The authenticator to expect replies for is in the header.
    ///
    /// # Errors
    /// [`EncodeError`] if something does not fit.
    pub fn seal_request(mut self, identifier: u8, secret: &[u8]) -> Result<Vec<u8>, EncodeError> {
        self.identify(identifier);
        self.seal(secret)
    }

    /// Signs a reply and writes it.
    ///
    /// # Errors
    /// [`EncodeError`] if something does not fit.
    pub fn seal_reply(self, secret: &[u8]) -> Result<Vec<u8>, EncodeError> {
        self.seal(secret)
    }

    fn identify(&mut self, identifier: u8) {
        if let Some(place) = self.packet.get_mut(1) {
            *place = identifier;
        }
    }

    fn seal(self, secret: &[u8]) -> Result<Vec<u8>, EncodeError> {
        if let Some(attribute) = self.too_long {
            return Err(EncodeError::Attribute(attribute));
        }
        let mut packet = self.packet;
        let Some(length) = u16::try_from(packet.len())
            .ok()
            .filter(|length| usize::from(*length) <= MAX_PACKET_OCTETS)
        else {
            return Err(EncodeError::Packet(packet.len()));
        };
        if let Some(code) = packet.first_mut() {
            *code = self.code.octet();
        }
        if let Some(place) = packet.get_mut(2..4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        copy_to(&mut packet, 4, &self.authenticator);
        if self.has_message_authenticator {
            const AT: usize = HEADER_OCTETS + 2;
            let signature = message_authenticator(&packet, AT, &self.authenticator, secret);
            copy_to(&mut packet, AT, &signature);
        }
        let authenticator = if self.code.has_random_authenticator() {
            self.authenticator
        } else {
            packet_digest(&packet, &self.authenticator, secret)
        };
        copy_to(&mut packet, 4, &authenticator);
        Ok(packet)
    }
}

impl Packet {
    /// Whether an answer can give all its Proxy-States back, as it must (RFC 2865 §5.33).
    pub(crate) fn fits_an_answer(&self) -> bool {
        let states = self.attributes().filter(|(kind, _)| *kind == attr::PROXY_STATE);
        let (count, octets) = states.fold((0, 0), |(count, octets), (_, value)| {
            (count + 1, octets + 2 + value.len())
        });
        count <= MOST_PROXY_STATES && octets <= MOST_PROXY_STATE_OCTETS
    }
}

/// A header of zeros, with room behind it for what most packets hold.
fn with_room() -> Vec<u8> {
    let mut packet = Vec::with_capacity(256);
    packet.resize(HEADER_OCTETS, 0);
    packet
}

fn copy_to(packet: &mut [u8], at: usize, value: &[u8; DIGEST_OCTETS]) {
    if let Some(place) = packet.get_mut(at..at + DIGEST_OCTETS) {
        place.copy_from_slice(value);
    }
}
