//! Attributes with a shape of their own within a packet: long, extended, tagged, a vendor's, and names.

use kavadam_radius::tell;
use kavadam_radius::wire::{Code, Draft, ExtendedSpace, Packet, attr};

use crate::signing::{self, SECRET};

const TUNNEL_TYPE: u8 = 64;
const TUNNEL_PRIVATE_GROUP_ID: u8 = 81;
const WISPR: u32 = 14122;

/// Attributes of an Access-Accept: whatever is read of them, written again and read, is the same; nothing comes of nothing.
pub fn read(attributes: &[u8]) {
    let octets = signing::packet(Code::AccessAccept.octet(), 1, [3; 16], attributes);
    let Ok(packet) = Packet::parse(&octets) else {
        unreachable!("it is well-formed");
    };
    extended(&packet, &octets);
    joined(&packet);
    tagged(&packet);
    names(&packet);
    for is_personal in [true, false] {
        let told = tell::attributes(&packet, is_personal);
        assert!(told.iter().all(|(_, value)| !value.contains(char::is_control)));
    }
}

fn extended(packet: &Packet, octets: &[u8]) {
    let all = packet.all_extended();
    let found: Vec<_> = all
        .iter()
        .map(|(at, value)| (at.space.octet(), at.kind, value.clone()))
        .collect();
    assert_eq!(found, ends_of_extended(octets));
    for (attribute, value) in &all {
        assert!(packet.extended(*attribute).contains(value));
    }
    let vendors: usize = ExtendedSpace::ALL
        .iter()
        .map(|space| packet.extended_vendor(*space, (WISPR, 7)).len())
        .sum();
    assert!(
        vendors
            <= all
                .iter()
                .filter(|(at, value)| at.kind == 26 && value.len() >= 5)
                .count()
    );
    let again = written(|draft| {
        for (attribute, value) in &all {
            draft.extended(*attribute, value);
        }
    });
    if let Some(again) = again {
        assert_eq!(again.all_extended(), all);
    }
}

/// Every extended attribute (RFC 6929 §2), looked for from its end: the fragments before one that is the last are of its type, marked, and
/// follow one another.
fn ends_of_extended(octets: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
    let pieces: Vec<_> = signing::attributes(octets)
        .map(|(kind, value)| match (kind, value) {
            (241..=244, [inner, rest @ ..]) => Some((kind, *inner, false, rest)),
            (245 | 246, [inner, flags, rest @ ..]) => Some((kind, *inner, flags & 0x80 != 0, rest)),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let Some((kind, inner, false, last)) = piece else {
            continue;
        };
        let before = pieces.iter().take(at).rev();
        let mut parts: Vec<&[u8]> = before
            .map_while(|piece| piece.filter(|(at, of, has_more, _)| (at, of, *has_more) == (kind, inner, true)))
            .map(|(_, _, _, part)| part)
            .collect();
        parts.reverse();
        found.push((*kind, *inner, [parts.concat().as_slice(), last].concat()));
    }
    found
}

fn joined(packet: &Packet) {
    for kind in [attr::EAP_MESSAGE, attr::STATE, attr::CLASS] {
        let parts = packet.all_octets(kind);
        assert_eq!(packet.joined(kind), (!parts.is_empty()).then(|| parts.concat()));
    }
    for attribute in [(WISPR, 7), (311, 25)] {
        let parts = packet.vendor_octets(attribute);
        let whole = packet.vendor_joined(attribute);
        assert_eq!(whole, (!parts.is_empty()).then(|| parts.concat()));
        let Some(whole) = whole else { continue };
        if let Some(again) = written(|draft| _ = draft.long_vendor(attribute, &whole)) {
            assert_eq!(again.vendor_joined(attribute), Some(whole));
        }
    }
}

fn tagged(packet: &Packet) {
    let texts = packet.tagged_octets(TUNNEL_PRIVATE_GROUP_ID);
    assert_eq!(texts.len(), packet.all_octets(TUNNEL_PRIVATE_GROUP_ID).len());
    let numbers = packet.tagged_u24(TUNNEL_TYPE);
    assert!(numbers.len() <= packet.all_octets(TUNNEL_TYPE).len());
    let passwords = packet.tunnel_passwords(&[3; 16], SECRET);
    assert!(passwords.len() <= packet.all_octets(attr::TUNNEL_PASSWORD).len());
    let again = written(|draft| {
        for (tag, text) in &texts {
            draft.tagged_octets(TUNNEL_PRIVATE_GROUP_ID, *tag, text);
        }
        for (tag, number) in &numbers {
            draft.tagged_u24(TUNNEL_TYPE, *tag, *number);
        }
        for (at, (tag, password)) in passwords.iter().enumerate() {
            draft.tunnel_password(*tag, password, u16::try_from(at).unwrap_or_default(), SECRET);
        }
    });
    if let Some(again) = again {
        assert_eq!(again.tagged_octets(TUNNEL_PRIVATE_GROUP_ID), texts);
        assert_eq!(again.tagged_u24(TUNNEL_TYPE), numbers);
        assert_eq!(again.tunnel_passwords(&[3; 16], SECRET), passwords);
    }
}

/// An Acct-Session-Id goes to the gate as it came from there, and into a database that keeps no NUL.
fn names(packet: &Packet) {
    let Some(id) = packet.id(attr::ACCT_SESSION_ID) else {
        return;
    };
    assert!(!id.contains('\0'));
    if let Some(again) = written(|draft| _ = draft.id(attr::ACCT_SESSION_ID, &id)) {
        assert_eq!(
            again.octets(attr::ACCT_SESSION_ID),
            packet.octets(attr::ACCT_SESSION_ID)
        );
    }
    for kind in [attr::USER_NAME, attr::CALLED_STATION_ID] {
        assert!(packet.text(kind).is_none_or(|text| !text.contains('\0')));
    }
}

/// What is written into an answer to a request, if it fits.
fn written(write: impl FnOnce(&mut Draft)) -> Option<Packet> {
    let request = Draft::request(Code::AccessRequest, [3; 16])
        .seal_request(1, SECRET)
        .ok()?;
    let mut draft = Draft::reply(Code::AccessAccept, &Packet::parse(&request).ok()?);
    write(&mut draft);
    Packet::parse(&draft.seal_reply(SECRET).ok()?).ok()
}
