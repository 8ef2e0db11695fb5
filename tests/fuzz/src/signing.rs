//! Packets signed as their senders sign them, and answers judged, by the RFCs alone: by another hand than the one under fire, which must not
//! be its own judge.

use hmac::{Hmac, Mac as _};
use md5::{Digest as _, Md5};

pub const SECRET: &[u8] = b"a secret for fuzzing";
pub const MAX_PACKET_OCTETS: usize = 4096;
pub const HEADER_OCTETS: usize = 20;
const VENDOR_SPECIFIC: u8 = 26;
pub const PROXY_STATE: u8 = 33;
pub const MESSAGE_AUTHENTICATOR: u8 = 80;
/// A Message-Authenticator to be filled in.
pub const UNSIGNED: [u8; 18] = [
    MESSAGE_AUTHENTICATOR,
    18,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
];

type Authenticator = [u8; 16];

/// A packet of the attributes that are whole and fit, and of the first Message-Authenticator: well-formed whatever is given.
pub fn packet(code: u8, identifier: u8, authenticator: Authenticator, given: &[u8]) -> Vec<u8> {
    let mut packet = [&[code, identifier, 0, 0], authenticator.as_slice()].concat();
    let mut is_signed = false;
    for (kind, value) in walk(given) {
        if kind == MESSAGE_AUTHENTICATOR && (value.len() != 16 || std::mem::replace(&mut is_signed, true)) {
            continue;
        }
        let Some(length) = u8::try_from(2 + value.len())
            .ok()
            .filter(|length| packet.len() + usize::from(*length) <= MAX_PACKET_OCTETS)
        else {
            break;
        };
        packet.extend_from_slice(&[kind, length]);
        packet.extend_from_slice(value);
    }
    let length = u16::try_from(packet.len()).unwrap_or_default();
    put(&mut packet, 2, &length.to_be_bytes());
    packet
}

/// Type and value of each attribute of a packet.
pub fn attributes(packet: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    walk(packet.get(HEADER_OCTETS..).unwrap_or_default())
}

/// Every value of a type.
pub fn values(packet: &[u8], kind: u8) -> Vec<&[u8]> {
    attributes(packet)
        .filter(|(at, _)| *at == kind)
        .map(|(_, value)| value)
        .collect()
}

/// Every value of a vendor's type, where its attributes have the recommended layout (RFC 2865 §5.26).
pub fn vendor_values(packet: &[u8], vendor: u32, kind: u8) -> Vec<&[u8]> {
    let all = values(packet, VENDOR_SPECIFIC).into_iter();
    all.filter_map(|value| value.strip_prefix(&vendor.to_be_bytes()))
        .flat_map(walk)
        .filter(|(at, _)| *at == kind)
        .map(|(_, value)| value)
        .collect()
}

pub fn is_signed(packet: &[u8]) -> bool {
    attributes(packet).any(|(kind, _)| kind == MESSAGE_AUTHENTICATOR)
}

fn walk(octets: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let &[kind, length] = rest.first_chunk::<2>()?;
        let (attribute, after) = rest.split_at_checked(length.into())?;
        let value = attribute.get(2..)?;
        rest = after;
        Some((kind, value))
    })
}

/// Signs a request (RFC 2866 §3, RFC 3579 §3.2, RFC 5176 §2.3): Message-Authenticator where one stands, and the Request Authenticator
/// unless it is a random one.
pub fn sign_request(packet: &mut [u8], secret: &[u8]) {
    let is_random = matches!(packet.first(), Some(1 | 12));
    if !is_random {
        put(packet, 4, &[0; 16]);
    }
    fill_message_authenticator(packet, secret);
    if !is_random {
        fill_authenticator(packet, secret);
    }
}

/// Signs the answer to a request with that authenticator (RFC 2865 §3, RFC 3579 §3.2).
pub fn sign_reply(packet: &mut [u8], request_authenticator: &Authenticator, secret: &[u8]) {
    put(packet, 4, request_authenticator);
    fill_message_authenticator(packet, secret);
    fill_authenticator(packet, secret);
}

fn fill_message_authenticator(packet: &mut [u8], secret: &[u8]) {
    let mut at = HEADER_OCTETS + 2;
    for (kind, value) in attributes(packet) {
        if kind == MESSAGE_AUTHENTICATOR {
            break;
        }
        at += 2 + value.len();
    }
    if at >= packet.len() {
        return;
    }
    put(packet, at, &[0; 16]);
    if let Ok(mac) = <Hmac<Md5> as hmac::digest::KeyInit>::new_from_slice(secret) {
        let signature = mac.chain_update(&*packet).finalize().into_bytes();
        put(packet, at, &signature);
    }
}

fn fill_authenticator(packet: &mut [u8], secret: &[u8]) {
    let digest = Md5::new().chain_update(&*packet).chain_update(secret).finalize();
    put(packet, 4, &digest);
}

/// With one bit turned; which, is taken as it comes.
pub fn bent(packet: &[u8], bit: u16) -> Vec<u8> {
    let mut bent = packet.to_vec();
    let bit = usize::from(bit) % (8 * bent.len().max(1));
    if let Some(octet) = bent.get_mut(bit / 8) {
        *octet ^= 1 << (bit % 8);
    }
    bent
}

pub fn authenticator(packet: &[u8]) -> Authenticator {
    let found = packet.get(4..).and_then(<[u8]>::first_chunk);
    found.copied().unwrap_or_default()
}

/// An answer fits into a datagram, is whole, answers this request, is signed, and gives back every Proxy-State in order (RFC 2865 §5.33).
pub fn assert_answers(answer: &[u8], request: &[u8], secret: &[u8]) {
    assert!((HEADER_OCTETS..=MAX_PACKET_OCTETS).contains(&answer.len()));
    let length = u16::try_from(answer.len()).map(u16::to_be_bytes);
    assert_eq!(answer.get(2..4), length.as_ref().ok().map(<[u8; 2]>::as_slice));
    let octets: usize = attributes(answer).map(|(_, value)| 2 + value.len()).sum();
    assert_eq!(HEADER_OCTETS + octets, answer.len(), "attributes to its end");
    assert_eq!(answer.get(1), request.get(1), "the request's identifier");
    let mut signed = answer.to_vec();
    sign_reply(&mut signed, &authenticator(request), secret);
    assert_eq!(signed, answer, "signed");
    assert_eq!(values(answer, PROXY_STATE), values(request, PROXY_STATE));
}

fn put(packet: &mut [u8], at: usize, octets: &[u8]) {
    if let Some(place) = packet.get_mut(at..at + octets.len()) {
        place.copy_from_slice(octets);
    }
}
