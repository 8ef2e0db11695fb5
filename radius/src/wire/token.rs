//! RADIUS/1.1 (RFC 9765): the same attributes over TLS without MD5. A Token of four octets stands in place of identifier and
//! authenticator, nothing is signed, and nothing is hidden.
//!
//! It is put into the other form at the edge of a connection, with the secret of RADIUS over TLS, and taken out of it there: what decides
//! behind is one code for UDP, RADIUS/1.0 and RADIUS/1.1. What that form would sign or hide is as open on the connection as the RFC
//! wants it, since the connection itself is proven and secret.

use super::attribute::{Code, attr};
use super::crypto::{
    DIGEST_OCTETS, hide_password, message_authenticator, packet_digest, random_authenticator, reveal_password,
};
use super::packet::attributes;
use super::stream::announced_length;
use super::{HEADER_OCTETS, MAX_PACKET_OCTETS, MAX_PASSWORD_OCTETS, Malformed, RADSEC_SECRET};

/// Where a Message-Authenticator that comes first has its value.
const SIGNATURE_AT: usize = HEADER_OCTETS + 2;

/// The Token of a RADIUS/1.1 packet.
#[must_use]
pub fn token_of(packet: &[u8]) -> Option<u32> {
    let token = packet.get(4..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*token))
}

/// A RADIUS/1.1 request in the form of RADIUS/1.0, signed. Equal requests with equal Tokens become equal packets, so that one sent again
/// over another connection is known for a copy.
///
/// # Errors
/// [`Malformed`]; [`Malformed::NoRoom`] if it grows past 4096 octets by what the other form adds, at most 33.
pub fn request_of_token(packet: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (code, token) = head(packet)?;
    if !code.is_request() {
        return Err(Malformed::Code(code.octet()));
    }
    let mut before = [0; DIGEST_OCTETS];
    if let Some(place) = before.first_chunk_mut::<4>() {
        *place = token;
    }
    // Random to everybody but the two ends, and bound to what was asked.
    let random = packet_digest(packet, &before, RADSEC_SECRET);
    let [.., identifier] = token;
    let mut plain = begin(code, identifier);
    if code.has_message_authenticator() {
        push(&mut plain, attr::MESSAGE_AUTHENTICATOR, &[0; DIGEST_OCTETS]);
    }
    // Elsewhere it means nothing, and is left as it is.
    let is_login = code == Code::AccessRequest;
    for attribute in attributes(packet.get(HEADER_OCTETS..).unwrap_or_default()) {
        match attribute.map_err(|()| Malformed::Attributes)? {
            // Forbidden there, and nothing without a secret (RFC 9765 §5.2).
            (attr::MESSAGE_AUTHENTICATOR, _) => {}
            (attr::USER_PASSWORD, password) if is_login && password.len() > MAX_PASSWORD_OCTETS => {
                return Err(Malformed::Attributes);
            }
            (attr::USER_PASSWORD, password) if is_login => {
                push(
                    &mut plain,
                    attr::USER_PASSWORD,
                    &hide_password(password, &random, RADSEC_SECRET),
                );
            }
            (kind, value) => push(&mut plain, kind, value),
        }
    }
    finish(&mut plain)?;
    sign(&mut plain, code, &random);
    Ok(plain)
}

/// A RADIUS/1.1 answer in the form of RADIUS/1.0, unsigned: the connection proves it.
///
/// # Errors
/// [`Malformed`].
pub fn reply_of_token(packet: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (code, _) = head(packet)?;
    if code.is_request() {
        return Err(Malformed::Code(code.octet()));
    }
    let mut plain = begin(code, 0);
    for attribute in attributes(packet.get(HEADER_OCTETS..).unwrap_or_default()) {
        let (kind, value) = attribute.map_err(|()| Malformed::Attributes)?;
        if kind != attr::MESSAGE_AUTHENTICATOR {
            push(&mut plain, kind, value);
        }
    }
    finish(&mut plain)?;
    Ok(plain)
}

/// A sealed packet of RADIUS/1.0 over TLS in the form of RADIUS/1.1 (RFC 9765 §5.1: passwords in clear octets).
///
/// # Errors
/// [`Malformed`]: it is no such packet.
pub fn with_token(plain: &[u8], token: u32) -> Result<Vec<u8>, Malformed> {
    let (code, _) = head(plain)?;
    let authenticator = plain
        .get(4..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .unwrap_or_default();
    let mut packet = begin(code, 0);
    if let Some(place) = packet.get_mut(4..8) {
        place.copy_from_slice(&token.to_be_bytes());
    }
    for attribute in attributes(plain.get(HEADER_OCTETS..).unwrap_or_default()) {
        match attribute.map_err(|()| Malformed::Attributes)? {
            (attr::MESSAGE_AUTHENTICATOR, _) => {}
            (attr::USER_PASSWORD, hidden) if code == Code::AccessRequest => {
                let password = reveal_password(hidden, &authenticator, RADSEC_SECRET).ok_or(Malformed::Attributes)?;
                // A value has at least one octet; NUL at the end is no part of a password.
                let is_empty = password.is_empty();
                push(
                    &mut packet,
                    attr::USER_PASSWORD,
                    if is_empty { &[0] } else { &password },
                );
            }
            (kind, value) => push(&mut packet, kind, value),
        }
    }
    finish(&mut packet)?;
    Ok(packet)
}

/// A RADIUS/1.0 request with a Message-Authenticator where one is called for and its sender left it out, as old clients do: with a
/// secret that everybody knows it proves nothing, and TLS has proven the sender.
///
/// # Errors
/// [`Malformed`]; [`Malformed::NoRoom`] if it grows past 4096 octets.
pub fn with_message_authenticator(plain: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (code, _) = head(plain)?;
    let body = plain.get(HEADER_OCTETS..).unwrap_or_default();
    let has_one = attributes(body).any(|found| matches!(found, Ok((attr::MESSAGE_AUTHENTICATOR, _))));
    if has_one || !code.has_random_authenticator() {
        return Ok(plain.to_vec());
    }
    let authenticator = plain.get(4..).and_then(<[u8]>::first_chunk).copied();
    let identifier = plain.get(1).copied().unwrap_or_default();
    let mut signed = begin(code, identifier);
    push(&mut signed, attr::MESSAGE_AUTHENTICATOR, &[0; DIGEST_OCTETS]);
    signed.extend_from_slice(body);
    finish(&mut signed)?;
    sign(&mut signed, code, &authenticator.unwrap_or_else(random_authenticator));
    Ok(signed)
}

/// Code and Token, or identifier and what follows it, of a packet that is as long as it says.
fn head(packet: &[u8]) -> Result<(Code, [u8; 4]), Malformed> {
    let length = announced_length(packet)?.ok_or(Malformed::Truncated)?;
    let token = packet.get(4..).and_then(<[u8]>::first_chunk).copied();
    let (Some(code), Some(token), true) = (packet.first(), token, packet.len() == length) else {
        return Err(Malformed::Truncated);
    };
    let code = Code::from_octet(*code).ok_or(Malformed::Code(*code))?;
    Ok((code, token))
}

fn begin(code: Code, identifier: u8) -> Vec<u8> {
    let mut packet = vec![0; HEADER_OCTETS];
    if let Some(place) = packet.first_chunk_mut::<2>() {
        *place = [code.octet(), identifier];
    }
    packet
}

fn push(packet: &mut Vec<u8>, kind: u8, value: &[u8]) {
    packet.push(kind);
    // Every value comes out of an attribute, or is one of 16 to 128 octets.
    packet.push(u8::try_from(2 + value.len()).unwrap_or(u8::MAX));
    packet.extend_from_slice(value);
}

/// Writes the length.
fn finish(packet: &mut [u8]) -> Result<(), Malformed> {
    if packet.len() > MAX_PACKET_OCTETS {
        return Err(Malformed::NoRoom);
    }
    let length = u16::try_from(packet.len()).map_err(|_| Malformed::NoRoom)?;
    if let Some(place) = packet.get_mut(2..4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Signs a request whose Message-Authenticator, if it has one, comes first.
fn sign(packet: &mut [u8], code: Code, random: &[u8; DIGEST_OCTETS]) {
    let before = if code.has_random_authenticator() {
        *random
    } else {
        [0; DIGEST_OCTETS]
    };
    if code.has_message_authenticator() {
        let signature = message_authenticator(packet, SIGNATURE_AT, &before, RADSEC_SECRET);
        copy_to(packet, SIGNATURE_AT, &signature);
    }
    let authenticator = if code.has_random_authenticator() {
        before
    } else {
        packet_digest(packet, &before, RADSEC_SECRET)
    };
    copy_to(packet, 4, &authenticator);
}

fn copy_to(packet: &mut [u8], at: usize, value: &[u8; DIGEST_OCTETS]) {
    if let Some(place) = packet.get_mut(at..at + DIGEST_OCTETS) {
        place.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Draft, Packet, Secret};
    use crate::{AccessRequest, Credential, NasIdentity, ServiceType};

    fn login(password: &[u8]) -> Vec<u8> {
        let request = AccessRequest::new(
            ServiceType::Login,
            "9400000001",
            Credential::Pap(password.to_vec().into()),
        );
        let draft = request.draft(&NasIdentity::default(), &Secret::new(RADSEC_SECRET));
        draft.seal_request(7, RADSEC_SECRET).unwrap()
    }

    #[test]
    fn nothing_is_hidden_or_signed_in_radius_1_1() {
        let packet = with_token(&login(b"123456"), 0xdead_beef).unwrap();
        assert_eq!(
            packet[..8],
            [1, 0, 0, u8::try_from(packet.len()).unwrap(), 0xde, 0xad, 0xbe, 0xef]
        );
        assert_eq!(packet[8..20], [0; 12], "the rest of the authenticator is reserved");
        let kinds: Vec<(u8, &[u8])> = attributes(&packet[20..]).map(Result::unwrap).collect();
        assert!(kinds.contains(&(attr::USER_PASSWORD, b"123456")), "{kinds:?}");
        assert!(!kinds.iter().any(|(kind, _)| *kind == attr::MESSAGE_AUTHENTICATOR));
    }

    #[test]
    fn a_request_comes_out_as_it_went_in() {
        for password in [&b""[..], b"123456", &[b'x'; 128]] {
            let packet = with_token(&login(password), 3).unwrap();
            let plain = request_of_token(&packet).unwrap();
            let read = Packet::parse(&plain).unwrap();
            assert_eq!(read.verify_request(RADSEC_SECRET, true), Ok(()));
            let request = AccessRequest::read(&read, RADSEC_SECRET).unwrap();
            assert!(request.credential == Credential::Pap(password.to_vec().into()));
            assert_eq!(with_token(&plain, 3).unwrap(), packet);
            assert_eq!(request_of_token(&packet).unwrap(), plain, "a copy is known for one");
            let other = with_token(&login(password), 4).unwrap();
            assert_ne!(request_of_token(&other).unwrap()[4..20], plain[4..20]);
        }
    }

    #[test]
    fn computed_authenticators_are_right_for_accounting_and_orders() {
        for code in [Code::AccountingRequest, Code::DisconnectRequest, Code::CoaRequest] {
            let mut draft = Draft::request(code, [0; 16]);
            draft.text(attr::ACCT_SESSION_ID, "s-1");
            let packet = with_token(&draft.seal_request(1, RADSEC_SECRET).unwrap(), 9).unwrap();
            let plain = Packet::parse(&request_of_token(&packet).unwrap()).unwrap();
            assert_eq!(
                (plain.code(), plain.verify_request(RADSEC_SECRET, true)),
                (code, Ok(()))
            );
        }
    }

    #[test]
    fn a_message_authenticator_in_radius_1_1_is_passed_over() {
        let mut packet = with_token(&login(b"123456"), 3).unwrap();
        let before = request_of_token(&packet).unwrap();
        packet.extend_from_slice(&[attr::MESSAGE_AUTHENTICATOR, 18]);
        packet.extend_from_slice(&[0xaa; 16]);
        finish(&mut packet).unwrap();
        let after = Packet::parse(&request_of_token(&packet).unwrap()).unwrap();
        assert_eq!(after.verify_request(RADSEC_SECRET, true), Ok(()));
        assert_eq!(request_of_token(&packet).unwrap().len(), before.len());
    }

    #[test]
    fn a_request_without_message_authenticator_gets_one_over_tls() {
        let mut draft = Draft::request(Code::AccessRequest, [5; 16]);
        draft.without_message_authenticator().text(attr::USER_NAME, "x");
        let bare = draft.seal_request(4, RADSEC_SECRET).unwrap();
        let signed = Packet::parse(&with_message_authenticator(&bare).unwrap()).unwrap();
        assert_eq!(signed.verify_request(RADSEC_SECRET, true), Ok(()));
        assert_eq!((signed.identifier(), signed.authenticator()), (4, &[5; 16]));
    }

    #[test]
    fn a_request_whose_other_form_has_no_room_is_no_broken_one() {
        let mut draft = Draft::request(Code::AccessRequest, [5; 16]);
        draft.without_message_authenticator();
        for _ in 0..16 {
            draft.octets(attr::PROXY_STATE, &[1; 252]);
        }
        let plain = draft.seal_request(1, RADSEC_SECRET).unwrap();
        assert_eq!(plain.len(), MAX_PACKET_OCTETS - 12);
        assert_eq!(with_message_authenticator(&plain), Err(Malformed::NoRoom));
        let packet = with_token(&plain, 7).unwrap();
        assert_eq!(request_of_token(&packet), Err(Malformed::NoRoom));
    }

    #[test]
    fn refuses_what_is_no_packet() {
        let packet = with_token(&login(b"1"), 1).unwrap();
        assert_eq!(request_of_token(&packet[..19]), Err(Malformed::Truncated));
        assert_eq!(request_of_token(&[1, 0, 0, 19, 0]), Err(Malformed::Length));
        assert_eq!(request_of_token(&[1, 0, 0x10, 0x01]), Err(Malformed::Length));
        assert_eq!(reply_of_token(&packet), Err(Malformed::Code(1)));
        let mut broken = packet.clone();
        broken[21] = 1;
        assert_eq!(request_of_token(&broken), Err(Malformed::Attributes));
    }
}
