//! Whether a packet's sender knows the gate's secret, as far as an onlooker can tell.

use super::Packet;
use crate::wire::crypto::{DIGEST_OCTETS, is_same, message_authenticator, packet_digest};

/// The packet does not prove that its sender knows the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// Request or Response Authenticator.
    #[error("wrong authenticator")]
    Authenticator,
    /// Message-Authenticator present and wrong.
    #[error("wrong Message-Authenticator")]
    MessageAuthenticator,
    /// Message-Authenticator required and absent.
    #[error("no Message-Authenticator")]
    NoMessageAuthenticator,
}

impl Packet {
    /// Checks that the sender of this request knows the secret. Where the code calls for it, `is_strict` refuses a packet
    /// without Message-Authenticator; one that is there is always checked. An Access-Request of a lenient peer without one
    /// proves nothing at all.
    ///
    /// # Errors
    /// [`Unverified`]: to be dropped in silence and counted.
    pub fn verify_request(&self, secret: &[u8], is_strict: bool) -> Result<(), Unverified> {
        const ZEROS: [u8; DIGEST_OCTETS] = [0; DIGEST_OCTETS];
        if self.code.has_random_authenticator() {
            return self.verify_message_authenticator(&self.authenticator, secret, is_strict);
        }
        if !is_same(&packet_digest(&self.raw, &ZEROS, secret), &self.authenticator) {
            return Err(Unverified::Authenticator);
        }
        self.verify_message_authenticator(&ZEROS, secret, is_strict)
    }

    /// Checks that this answers the request with `request_authenticator`, and that its sender knows the secret.
    ///
    /// # Errors
    /// [`Unverified`]: to be dropped in silence and counted.
    pub fn verify_reply(
        &self,
        request_authenticator: &[u8; DIGEST_OCTETS],
        secret: &[u8],
        is_strict: bool,
    ) -> Result<(), Unverified> {
        let expected = packet_digest(&self.raw, request_authenticator, secret);
        if !is_same(&expected, &self.authenticator) {
            return Err(Unverified::Authenticator);
        }
        self.verify_message_authenticator(request_authenticator, secret, is_strict)
    }

    fn verify_message_authenticator(
        &self,
        authenticator: &[u8; DIGEST_OCTETS],
        secret: &[u8],
        is_strict: bool,
    ) -> Result<(), Unverified> {
        let Some(at) = self.message_authenticator_at else {
            return if is_strict && self.code.has_message_authenticator() {
                Err(Unverified::NoMessageAuthenticator)
            } else {
                Ok(())
            };
        };
        let expected = message_authenticator(&self.raw, at, authenticator, secret);
        match self.raw.get(at..at + DIGEST_OCTETS) {
            Some(found) if is_same(found, &expected) => Ok(()),
            _ => Err(Unverified::MessageAuthenticator),
        }
    }
}
