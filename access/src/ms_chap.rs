//! MS-CHAP version 2 (RFC 2759): old, and broken by anybody who can try all of DES; only for gates whose wire is trusted.

use data_encoding::HEXUPPER;
use des::Des;
use des::cipher::{BlockEncrypt as _, KeyInit as _};
use md4::{Digest, Md4};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What a client answered: MS-CHAP2-Response with its MS-CHAP-Challenge (RFC 2548 §2.3.2, §2.1.2).
#[derive(Clone, PartialEq, Eq)]
pub struct MsChapV2 {
    /// Identifier, to be repeated in the answer.
    pub ident: u8,
    /// MS-CHAP-Challenge.
    pub challenge: [u8; 16],
    /// Peer-Challenge.
    pub peer_challenge: [u8; 16],
    /// Response.
    pub response: [u8; 24],
}

/// RFC 2759 §8.7.
const MAGIC_1: &[u8] = b"Magic server to client signing constant";
const MAGIC_2: &[u8] = b"Pad to make it do more than one iteration";

impl MsChapV2 {
    /// Whether it was made with this name and password: then how the server proves in turn that it knows the password (RFC 2759 §8.7:
    /// `S=` and 40 hexadecimal digits, the value of MS-CHAP2-Success after its identifier).
    #[must_use]
    pub fn check(&self, user_name: &str, password: &str) -> Option<String> {
        let challenge = self.challenge_hash(user_name);
        let hash = nt_password_hash(password);
        let expected = challenge_response(challenge, &hash);
        bool::from(expected.ct_eq(&self.response)).then(|| self.success(challenge, &hash))
    }

    /// RFC 2759 §8.2: of the name without the domain before it.
    fn challenge_hash(&self, user_name: &str) -> [u8; 8] {
        let name = user_name.rsplit_once('\\').map_or(user_name, |(_, name)| name);
        let digest: [u8; 20] = Sha1::new()
            .chain_update(self.peer_challenge)
            .chain_update(self.challenge)
            .chain_update(name)
            .finalize()
            .into();
        digest.first_chunk().copied().unwrap_or_default()
    }

    fn success(&self, challenge: [u8; 8], password_hash: &[u8; 16]) -> String {
        let hash_of_hash = Zeroizing::new(<[u8; 16]>::from(Md4::digest(password_hash)));
        let inner = Sha1::new()
            .chain_update(hash_of_hash.as_slice())
            .chain_update(self.response)
            .chain_update(MAGIC_1)
            .finalize();
        let outer = Sha1::new()
            .chain_update(inner)
            .chain_update(challenge)
            .chain_update(MAGIC_2)
            .finalize();
        format!("S={}", HEXUPPER.encode(&outer))
    }
}

/// RFC 2759 §8.3: MD4 of the password in UTF-16, low octet first.
fn nt_password_hash(password: &str) -> Zeroizing<[u8; 16]> {
    let unicode: Zeroizing<Vec<u8>> = Zeroizing::new(password.encode_utf16().flat_map(u16::to_le_bytes).collect());
    Zeroizing::new(Md4::digest(unicode.as_slice()).into())
}

/// RFC 2759 §8.5: the challenge under three keys of seven octets, the last filled up with zeros.
fn challenge_response(challenge: [u8; 8], password_hash: &[u8; 16]) -> [u8; 24] {
    let mut keys = Zeroizing::new([0; 21]);
    for (to, from) in keys.iter_mut().zip(password_hash) {
        *to = *from;
    }
    let mut response = [0; 24];
    let (thirds, _) = response.as_chunks_mut::<8>();
    for (third, key) in thirds.iter_mut().zip(keys.as_chunks::<7>().0) {
        *third = des_encrypt(challenge, *key);
    }
    response
}

/// RFC 2759 §8.6: the 56 bits of the key, seven to an octet; DES ignores the eighth, its parity.
fn des_encrypt(clear: [u8; 8], key: [u8; 7]) -> [u8; 8] {
    let bits = key.iter().fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
    let spread = (0..8).fold(0_u64, |spread, at| spread << 8 | (bits >> (49 - 7 * at) & 0x7f) << 1);
    let mut block = clear.into();
    Des::new(&spread.to_be_bytes().into()).encrypt_block(&mut block);
    block.into()
}

/// What a client answers (RFC 2759 §8.1): the other side of [`MsChapV2::check`], to try a server with.
#[must_use]
pub fn respond(ident: u8, challenge: [u8; 16], peer_challenge: [u8; 16], user_name: &str, password: &str) -> MsChapV2 {
    let mut made = MsChapV2 {
        ident,
        challenge,
        peer_challenge,
        response: [0; 24],
    };
    made.response = challenge_response(made.challenge_hash(user_name), &nt_password_hash(password));
    made
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn octets<const N: usize>(hex: &str) -> [u8; N] {
        HEXLOWER
            .decode(hex.to_lowercase().as_bytes())
            .unwrap()
            .try_into()
            .unwrap()
    }

    /// RFC 2759 §9.2.
    fn example() -> MsChapV2 {
        MsChapV2 {
            ident: 0,
            challenge: octets("5B5D7C7D7B3F2F3E3C2C602132262628"),
            peer_challenge: octets("21402324255E262A28295F2B3A337C7E"),
            response: octets("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF"),
        }
    }

    #[test]
    fn the_example_of_rfc_2759_comes_out_step_by_step() {
        let example = example();
        assert_eq!(example.challenge_hash("User"), octets("D02E4386BCE91226"));
        assert_eq!(
            *nt_password_hash("clientPass"),
            octets("44EBBA8D5312B8D611474411F56989AE")
        );
        assert_eq!(
            example.check("User", "clientPass").as_deref(),
            Some("S=407A5589115FD0D6209F510FE9C04566932CDA56")
        );
        assert_eq!(
            example.check("DOMAIN\\User", "clientPass"),
            example.check("User", "clientPass")
        );
    }

    #[test]
    fn des_of_an_expanded_key_is_that_of_rfc_2759_section_9_3() {
        // §9.3 gives the first key with its parity, which DES ignores.
        assert_eq!(
            des_encrypt(octets("D02E4386BCE91226"), octets("44EBBA8D5312B8")),
            octets("82309ECD8D708B5E")
        );
    }

    #[test]
    fn another_password_name_or_challenge_proves_nothing() {
        let example = example();
        assert_eq!(example.check("User", "clientpass"), None);
        assert_eq!(example.check("user", "clientPass"), None);
        let bent = MsChapV2 {
            challenge: [0; 16],
            ..example
        };
        assert_eq!(bent.check("User", "clientPass"), None);
    }
}
