//! How a user proves the password in an Access-Request.

use zeroize::Zeroizing;

use super::{MsChapV2, eap, ms_chap};
use crate::wire::{Draft, MAX_PASSWORD_OCTETS, Packet, Secret, attr, hide_password, reveal_password};

/// How the user proves the password.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// No proof: Call-Check and Authorize-Only.
    Absent,
    /// PAP: the password itself, hidden on the wire by the shared secret. At most 128 octets.
    Pap(Zeroizing<Vec<u8>>),
    /// CHAP.
    Chap {
        /// CHAP identifier.
        ident: u8,
        /// MD5(ident ‖ password ‖ challenge).
        response: [u8; 16],
        /// CHAP-Challenge, or the Request Authenticator where that was absent.
        challenge: Vec<u8>,
    },
    /// MS-CHAPv2.
    MsChapV2(MsChapV2),
    /// EAP, which we do not offer: the identifier of its message, for the EAP-Failure.
    Eap(u8),
}

impl Credential {
    pub(super) fn write(&self, draft: &mut Draft, secret: &Secret) {
        match self {
            Self::Pap(password) => write_password(draft, password, secret),
            Self::Chap {
                ident,
                response,
                challenge,
            } => {
                let mut value = vec![*ident];
                value.extend_from_slice(response);
                draft.octets(attr::CHAP_PASSWORD, &value);
                draft.octets(attr::CHAP_CHALLENGE, challenge);
            }
            Self::MsChapV2(response) => response.write(draft),
            Self::Absent | Self::Eap(_) => {}
        }
    }

    /// `None` if a proof is malformed, there is more than one (RFC 2865 §4.1), or it is MS-CHAP of the first version.
    pub(super) fn read(packet: &Packet, secret: &[u8]) -> Option<Self> {
        if let Some(identifier) = eap::identifier(packet) {
            return Some(Self::Eap(identifier));
        }
        let is_password = |kind: &u8| [attr::USER_PASSWORD, attr::CHAP_PASSWORD].contains(kind);
        let ms_chap = ms_chap::responses(packet);
        if packet.kinds().filter(is_password).count() + ms_chap > 1 {
            return None;
        }
        if ms_chap > 0 {
            return MsChapV2::read(packet).map(Self::MsChapV2);
        }
        if let Some(value) = packet.octets(attr::CHAP_PASSWORD) {
            let (ident, response) = value.split_first()?;
            return Some(Self::Chap {
                ident: *ident,
                response: response.try_into().ok()?,
                challenge: packet
                    .octets(attr::CHAP_CHALLENGE)
                    .unwrap_or_else(|| packet.authenticator().to_vec()),
            });
        }
        match packet.octets(attr::USER_PASSWORD) {
            Some(hidden) => reveal_password(&hidden, packet.authenticator(), secret).map(Self::Pap),
            None => Some(Self::Absent),
        }
    }
}

/// A password beyond what the attribute holds refuses the packet: cut, it would be another password.
pub(super) fn write_password(draft: &mut Draft, password: &[u8], secret: &Secret) {
    if password.len() > MAX_PASSWORD_OCTETS {
        draft.refuse(attr::USER_PASSWORD);
    } else {
        let hidden = hide_password(password, draft.authenticator(), secret.octets());
        draft.octets(attr::USER_PASSWORD, &hidden);
    }
}
