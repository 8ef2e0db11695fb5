//! The answers to an Access-Request.

use kavadam_domain::Limits;

use super::ms_chap;
use crate::limits::{self, LimitsError};
use crate::wire::{Code, Draft, EncodeError, Packet, attr, random_authenticator};

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one for each request, and never kept")]
pub enum AccessReply {
    /// Access-Accept.
    Accept(Grant),
    /// Access-Reject: the server is alive and said no.
    Reject {
        /// Reply-Message, for the user's eyes.
        message: Option<String>,
    },
    /// Access-Challenge.
    Challenge {
        /// Reply-Message, for the user's eyes.
        message: Option<String>,
        /// State to send back with the answer.
        state: Vec<u8>,
    },
}

/// What an Access-Accept carries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grant {
    /// What to hold the session to.
    pub limits: Limits,
    /// Octets, where they are limited now or by a later CoA, are a lease: ask again with Authorize-Only before they are used up.
    pub is_renewable: bool,
    /// Every Class, in order: to be sent in all accounting of the session (RFC 2865 §5.25).
    pub classes: Vec<Vec<u8>>,
    /// User-Name to use from now on, where the server gave one (RFC 2865 §5.1).
    pub user_name: Option<String>,
    /// Chargeable-User-Identity: equal for all sessions of one person.
    pub cui: Option<Vec<u8>>,
    /// Reply-Message.
    pub message: Option<String>,
    /// The server's own proof in MS-CHAP2-Success: `S=` and 40 digits. Not read: our gateway never sends MS-CHAP.
    pub ms_chap2_success: Option<String>,
}

impl AccessReply {
    /// Writes the answer to `request`, signed and with its Proxy-State.
    ///
    /// # Errors
    /// [`EncodeError`] if something does not fit.
    pub fn encode(&self, request: &Packet, secret: &[u8]) -> Result<Vec<u8>, EncodeError> {
        self.encode_with(request, secret, limits::write)
    }

    /// The same in a vendor's words.
    ///
    /// # Errors
    /// [`EncodeError`] if something does not fit.
    #[cfg(feature = "server")]
    pub fn encode_in(
        &self,
        dialect: &crate::profile::Dialect<'_>,
        request: &Packet,
        secret: &[u8],
    ) -> Result<Vec<u8>, EncodeError> {
        self.encode_with(request, secret, |draft, limits, is_renewable| {
            dialect.write(draft, limits, is_renewable);
        })
    }

    fn encode_with(
        &self,
        request: &Packet,
        secret: &[u8],
        write_limits: impl FnOnce(&mut Draft, &Limits, bool),
    ) -> Result<Vec<u8>, EncodeError> {
        let mut draft = Draft::reply(self.code(), request);
        match self {
            Self::Accept(grant) => {
                grant.write(&mut draft, request.has(attr::CHARGEABLE_USER_IDENTITY), write_limits);
                if let Some(success) = &grant.ms_chap2_success {
                    ms_chap::write_success(&mut draft, request, success);
                }
            }
            Self::Reject { message } => {
                write_message(&mut draft, message.as_deref());
                let message = message.as_deref().unwrap_or_default();
                ms_chap::write_error(&mut draft, request, message, random_authenticator());
            }
            Self::Challenge { message, state } => {
                write_message(&mut draft, message.as_deref());
                draft.octets(attr::STATE, state);
            }
        }
        draft.proxy_state_of(request);
        draft.seal_reply(secret)
    }

    const fn code(&self) -> Code {
        match self {
            Self::Accept(_) => Code::AccessAccept,
            Self::Reject { .. } => Code::AccessReject,
            Self::Challenge { .. } => Code::AccessChallenge,
        }
    }

    /// Reads an answer that was verified. `None` if it is none to an Access-Request. An Access-Accept whose limits cannot be held is
    /// a refusal (RFC 2865 §5), never a session without them.
    #[must_use]
    pub fn read(packet: &Packet) -> Option<Self> {
        let message = message_of(packet);
        match packet.code() {
            Code::AccessAccept => Some(match Grant::read(packet, message) {
                Ok(grant) => Self::Accept(grant),
                Err(error) => {
                    tracing::warn!(%error, "an Access-Accept is taken for a refusal");
                    Self::Reject { message: None }
                }
            }),
            Code::AccessReject => Some(Self::Reject { message }),
            Code::AccessChallenge => Some(Self::Challenge {
                message,
                state: packet.octets(attr::STATE).unwrap_or_default(),
            }),
            _ => None,
        }
    }
}

impl Grant {
    /// A Chargeable-User-Identity goes only to those who asked for it (RFC 4372 §2.1).
    fn write(&self, draft: &mut Draft, wants_cui: bool, write_limits: impl FnOnce(&mut Draft, &Limits, bool)) {
        if let Some(name) = &self.user_name {
            draft.text(attr::USER_NAME, name);
        }
        for class in &self.classes {
            draft.octets(attr::CLASS, class);
        }
        if let (Some(cui), true) = (&self.cui, wants_cui) {
            draft.octets(attr::CHARGEABLE_USER_IDENTITY, cui);
        }
        write_limits(draft, &self.limits, self.is_renewable);
        write_message(draft, self.message.as_deref());
    }

    fn read(packet: &Packet, message: Option<String>) -> Result<Self, LimitsError> {
        let (limits, is_renewable) = limits::read(packet)?;
        Ok(Self {
            limits,
            is_renewable,
            classes: packet.all_octets(attr::CLASS),
            user_name: packet.text(attr::USER_NAME),
            cui: packet.octets(attr::CHARGEABLE_USER_IDENTITY),
            message,
            ms_chap2_success: None,
        })
    }
}

fn write_message(draft: &mut Draft, message: Option<&str>) {
    if let Some(message) = message {
        draft.long_text(attr::REPLY_MESSAGE, message);
    }
}

/// Several Reply-Messages are one text in parts (RFC 2865 §5.18).
fn message_of(packet: &Packet) -> Option<String> {
    let parts = packet.all_octets(attr::REPLY_MESSAGE);
    (!parts.is_empty()).then(|| String::from_utf8_lossy(&parts.concat()).into_owned())
}
