//! What RADIUS builds on MD5. The protocol leaves no choice; Message-Authenticator is what keeps it standing.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, Mac as _};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::HEADER_OCTETS;

/// Octets of MD5, of authenticators and of Message-Authenticator.
pub(super) const DIGEST_OCTETS: usize = 16;

/// A shared secret: cheap to clone, never shown, wiped when the last copy goes.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// Takes the octets as they are.
    #[must_use]
    pub fn new(octets: impl Into<Vec<u8>>) -> Self {
        Self(Arc::new(Zeroizing::new(octets.into())))
    }

    /// The octets, to compute with.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Sixteen octets nobody can guess, for the authenticator of an Access-Request or Status-Server (RFC 2865 §3).
#[must_use]
pub fn random_authenticator() -> [u8; DIGEST_OCTETS] {
    rand::random()
}

/// MD5(head ‖ authenticator ‖ attributes ‖ secret): the Response Authenticator with the request's, the Request Authenticator of
/// accounting and dynamic authorization with zeros. `packet` is whole; its own authenticator does not enter.
pub(super) fn packet_digest(packet: &[u8], authenticator: &[u8; DIGEST_OCTETS], secret: &[u8]) -> [u8; DIGEST_OCTETS] {
    let (head, _) = packet.split_at(4.min(packet.len()));
    let attributes = packet.get(HEADER_OCTETS..).unwrap_or_default();
    Md5::new()
        .chain_update(head)
        .chain_update(authenticator)
        .chain_update(attributes)
        .chain_update(secret)
        .finalize()
        .into()
}

/// HMAC-MD5 of the packet with `authenticator` in its header and zeros in the Message-Authenticator at `at` (RFC 3579 §3.2).
pub(super) fn message_authenticator(
    packet: &[u8],
    at: usize,
    authenticator: &[u8; DIGEST_OCTETS],
    secret: &[u8],
) -> [u8; DIGEST_OCTETS] {
    let mac = <Hmac<Md5> as hmac::digest::KeyInit>::new_from_slice(secret);
    // HMAC takes a key of any length; the error type exists for other MACs.
    let Ok(mac) = mac else { return [0; DIGEST_OCTETS] };
    mac.chain_update(packet.get(..4).unwrap_or_default())
        .chain_update(authenticator)
        .chain_update(packet.get(HEADER_OCTETS..at).unwrap_or_default())
        .chain_update([0; DIGEST_OCTETS])
        .chain_update(packet.get(at + DIGEST_OCTETS..).unwrap_or_default())
        .finalize()
        .into_bytes()
        .into()
}

/// Equal, in a time that tells nothing about where they differ.
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Hides a User-Password (RFC 2865 §5.2): padded with NUL to a multiple of 16, each block XORed with a digest of the one before.
/// Passwords beyond 128 octets are cut, as the attribute ends there.
#[must_use]
pub fn hide_password(password: &[u8], authenticator: &[u8; DIGEST_OCTETS], secret: &[u8]) -> Vec<u8> {
    let mut padded = Zeroizing::new([0; 128]);
    let length = password.len().min(padded.len());
    for (to, from) in padded.iter_mut().zip(password) {
        *to = *from;
    }
    let (blocks, _) = padded.as_chunks::<DIGEST_OCTETS>();
    let mut hidden = Vec::with_capacity(128);
    let mut before = *authenticator;
    for block in blocks.iter().take(length.div_ceil(DIGEST_OCTETS).max(1)) {
        before = xor(block, &chain(secret, &before));
        hidden.extend_from_slice(&before);
    }
    hidden
}

/// Reveals a User-Password, without the padding. `None` if the length is none that hiding makes.
#[must_use]
pub fn reveal_password(
    hidden: &[u8],
    authenticator: &[u8; DIGEST_OCTETS],
    secret: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (blocks, rest) = hidden.as_chunks::<DIGEST_OCTETS>();
    if !rest.is_empty() || !(1..=8).contains(&blocks.len()) {
        return None;
    }
    let mut password = Zeroizing::new(Vec::with_capacity(hidden.len()));
    let mut before = authenticator;
    for block in blocks {
        password.extend_from_slice(&xor(block, &chain(secret, before)));
        before = block;
    }
    let length = password
        .iter()
        .rposition(|octet| *octet != 0)
        .map_or(0, |last| last + 1);
    password.truncate(length);
    Some(password)
}

fn chain(secret: &[u8], before: &[u8; DIGEST_OCTETS]) -> [u8; DIGEST_OCTETS] {
    Md5::new().chain_update(secret).chain_update(before).finalize().into()
}

fn xor(a: &[u8; DIGEST_OCTETS], b: &[u8; DIGEST_OCTETS]) -> [u8; DIGEST_OCTETS] {
    let mut out = *a;
    for (octet, other) in out.iter_mut().zip(b) {
        *octet ^= other;
    }
    out
}

/// MD5(ident ‖ password ‖ challenge): a CHAP response (RFC 1994 §4.1).
#[must_use]
pub fn chap_response(ident: u8, password: &[u8], challenge: &[u8]) -> [u8; DIGEST_OCTETS] {
    Md5::new()
        .chain_update([ident])
        .chain_update(password)
        .chain_update(challenge)
        .finalize()
        .into()
}

/// Whether a CHAP response was made with this password.
#[must_use]
pub fn chap_matches(ident: u8, response: &[u8; DIGEST_OCTETS], challenge: &[u8], password: &[u8]) -> bool {
    is_same(&chap_response(ident, password, challenge), response)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", Secret::new("xyzzy5461")), "Secret(…)");
    }

    #[test]
    fn an_empty_password_still_fills_one_block() {
        let hidden = hide_password(b"", &[7; 16], b"secret");
        assert_eq!(hidden.len(), 16);
        assert_eq!(reveal_password(&hidden, &[7; 16], b"secret").unwrap().as_slice(), b"");
    }

    #[test]
    fn refuses_a_hidden_password_of_odd_length() {
        for length in [0, 1, 15, 17, 144] {
            assert!(
                reveal_password(&vec![0; length], &[7; 16], b"secret").is_none(),
                "{length}"
            );
        }
    }

    #[test]
    fn a_chap_response_fits_its_own_password_only() {
        let response = chap_response(0, b"right", b"challenge");
        assert!(chap_matches(0, &response, b"challenge", b"right"));
        assert!(!chap_matches(0, &response, b"challenge", b"wrong"));
        assert!(!chap_matches(1, &response, b"challenge", b"right"));
        assert!(!chap_matches(0, &response, b"other", b"right"));
    }

    proptest! {
        #[test]
        fn every_password_survives_hiding(
            password in prop::collection::vec(1u8.., 0..=128),
            authenticator: [u8; 16],
            secret in prop::collection::vec(any::<u8>(), 1..64),
        ) {
            let hidden = hide_password(&password, &authenticator, &secret);
            prop_assert_eq!(hidden.len() % 16, 0);
            let revealed = reveal_password(&hidden, &authenticator, &secret).unwrap();
            prop_assert_eq!(revealed.as_slice(), password.as_slice());
        }
    }
}
