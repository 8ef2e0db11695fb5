//! Access-Request and its answers.

mod eap;
mod ms_chap;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use kavadam_domain::{Limits, Mac};
use zeroize::Zeroizing;

pub use ms_chap::MsChapV2;

use crate::NasIdentity;
use crate::limits::{self, LimitsError};
use crate::wire::{
    Code, Draft, EncodeError, MAX_PASSWORD_OCTETS, Packet, Secret, attr, hide_password, random_authenticator,
    reveal_password, service,
};

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

/// Service-Type, as far as a gate for the public uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceType {
    /// A user logs in. Also whatever value is not one of the others, and none.
    Login,
    /// A device is recognised (Call-Check).
    CallCheck,
    /// An open session asks again (Authorize-Only, RFC 5176 §3.1).
    AuthorizeOnly,
}

/// What a gate asks.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessRequest {
    /// User-Name.
    pub user_name: String,
    /// User-Password, or CHAP-Password with CHAP-Challenge.
    pub credential: Credential,
    /// Service-Type.
    pub service: ServiceType,
    /// Calling-Station-Id.
    pub mac: Option<Mac>,
    /// Called-Station-Id.
    pub called_station_id: Option<String>,
    /// NAS-Port-Id (RFC 2869 §5.17): where at the gate, as a relay or an access point told by DHCP (RFC 3046).
    pub nas_port_id: Option<String>,
    /// Framed-IP-Address.
    pub framed_ipv4: Option<Ipv4Addr>,
    /// Framed-IPv6-Address (RFC 6911).
    pub framed_ipv6: Option<Ipv6Addr>,
    /// Acct-Session-Id the session has or will have.
    pub acct_session_id: Option<String>,
    /// Every Class of the grant being renewed, in order.
    pub classes: Vec<Vec<u8>>,
    /// State of the challenge being answered.
    pub state: Option<Vec<u8>>,
    /// Sends a NUL Chargeable-User-Identity, which asks for one in the Accept (RFC 4372 §2.1).
    pub wants_cui: bool,
}

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

/// In an Authorize-Only that nobody asked for.
const RENEWAL_STATE: &[u8] = b"renewal";

/// A password beyond what the attribute holds refuses the packet: cut, it would be another password.
fn write_password(draft: &mut Draft, password: &[u8], secret: &Secret) {
    if password.len() > MAX_PASSWORD_OCTETS {
        draft.refuse(attr::USER_PASSWORD);
    } else {
        let hidden = hide_password(password, draft.authenticator(), secret.octets());
        draft.octets(attr::USER_PASSWORD, &hidden);
    }
}

impl AccessRequest {
    /// A request of this service for this user, with nothing else filled in.
    #[must_use]
    pub fn new(service: ServiceType, user_name: impl Into<String>, credential: Credential) -> Self {
        Self {
            user_name: user_name.into(),
            credential,
            service,
            mac: None,
            called_station_id: None,
            nas_port_id: None,
            framed_ipv4: None,
            framed_ipv6: None,
            acct_session_id: None,
            classes: Vec::new(),
            state: None,
            wants_cui: false,
        }
    }

    /// Writes the request; `secret` hides the password.
    pub(crate) fn draft(&self, nas: &NasIdentity, secret: &Secret) -> Draft {
        let mut draft = Draft::request(Code::AccessRequest, random_authenticator());
        draft.text(attr::USER_NAME, &self.user_name);
        match &self.credential {
            Credential::Pap(password) => {
                write_password(&mut draft, password, secret);
            }
            Credential::Chap {
                ident,
                response,
                challenge,
            } => {
                let mut value = vec![*ident];
                value.extend_from_slice(response);
                draft.octets(attr::CHAP_PASSWORD, &value);
                draft.octets(attr::CHAP_CHALLENGE, challenge);
            }
            Credential::MsChapV2(response) => response.write(&mut draft),
            // RFC 2865 §4.1 calls for a password or a State; as password of a device vendors send its name.
            Credential::Absent if self.service == ServiceType::CallCheck => {
                write_password(&mut draft, self.user_name.as_bytes(), secret);
            }
            Credential::Absent | Credential::Eap(_) => {}
        }
        draft.u32(attr::SERVICE_TYPE, self.service.number());
        write_device(
            &mut draft,
            self.mac,
            self.called_station_id.as_deref(),
            self.framed_ipv4,
            self.framed_ipv6,
        );
        if let Some(id) = &self.nas_port_id {
            draft.text(attr::NAS_PORT_ID, id);
        }
        if let Some(id) = &self.acct_session_id {
            draft.text(attr::ACCT_SESSION_ID, id);
        }
        for class in &self.classes {
            draft.octets(attr::CLASS, class);
        }
        if let Some(state) = &self.state {
            draft.octets(attr::STATE, state);
        } else if self.service == ServiceType::AuthorizeOnly {
            // RFC 5176 §3.1 calls for one, even where no CoA-Request gave it.
            draft.octets(attr::STATE, RENEWAL_STATE);
        }
        if self.wants_cui {
            draft.octets(attr::CHARGEABLE_USER_IDENTITY, &[0]);
        }
        nas.write(&mut draft);
        draft
    }

    /// Reads a request that was verified with `secret`. `None` if a proof is malformed, there is more than one
    /// (RFC 2865 §4.1), or it is MS-CHAP of the first version.
    #[must_use]
    pub fn read(packet: &Packet, secret: &[u8]) -> Option<Self> {
        Some(Self {
            user_name: packet.text(attr::USER_NAME).unwrap_or_default(),
            credential: Credential::read(packet, secret)?,
            service: ServiceType::of(packet.u32(attr::SERVICE_TYPE)),
            mac: mac_of(packet),
            called_station_id: packet.text(attr::CALLED_STATION_ID),
            nas_port_id: packet.text(attr::NAS_PORT_ID),
            framed_ipv4: packet.ipv4(attr::FRAMED_IP_ADDRESS),
            framed_ipv6: framed_ipv6_of(packet),
            acct_session_id: packet.id(attr::ACCT_SESSION_ID),
            classes: packet.all_octets(attr::CLASS),
            state: packet.octets(attr::STATE),
            wants_cui: packet.has(attr::CHARGEABLE_USER_IDENTITY),
        })
    }

    /// Framed-IP-Address, else Framed-IPv6-Address.
    #[must_use]
    pub fn framed_ip(&self) -> Option<IpAddr> {
        self.framed_ipv4
            .map(IpAddr::V4)
            .or_else(|| self.framed_ipv6.map(IpAddr::V6))
    }
}

impl Credential {
    fn read(packet: &Packet, secret: &[u8]) -> Option<Self> {
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

impl ServiceType {
    const fn number(self) -> u32 {
        match self {
            Self::Login => service::LOGIN_USER,
            Self::CallCheck => service::CALL_CHECK,
            Self::AuthorizeOnly => service::AUTHORIZE_ONLY,
        }
    }

    const fn of(number: Option<u32>) -> Self {
        match number {
            Some(service::CALL_CHECK) => Self::CallCheck,
            Some(service::AUTHORIZE_ONLY) => Self::AuthorizeOnly,
            _ => Self::Login,
        }
    }
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

/// Writes what tells the device apart.
pub(crate) fn write_device(
    draft: &mut Draft,
    mac: Option<Mac>,
    called_station_id: Option<&str>,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
) {
    if let Some(mac) = mac {
        draft.text(attr::CALLING_STATION_ID, &mac.to_string());
    }
    if let Some(id) = called_station_id {
        draft.text(attr::CALLED_STATION_ID, id);
    }
    if let Some(address) = ipv4 {
        draft.ipv4(attr::FRAMED_IP_ADDRESS, address);
    }
    if let Some(address) = ipv6 {
        draft.ipv6(attr::FRAMED_IPV6_ADDRESS, address);
    }
}

/// Calling-Station-Id, where it is a MAC, in any vendor's spelling.
pub(crate) fn mac_of(packet: &Packet) -> Option<Mac> {
    Mac::of_station(&packet.text(attr::CALLING_STATION_ID)?)
}

/// The device's IPv6 address: Framed-IPv6-Address (RFC 6911); else what Framed-IPv6-Prefix and Framed-Interface-Id (RFC 3162) make
/// together; else the prefix alone, if it is a device's own (64 bits or longer).
pub(crate) fn framed_ipv6_of(packet: &Packet) -> Option<Ipv6Addr> {
    if packet.has(attr::FRAMED_IPV6_ADDRESS) {
        return packet.ipv6(attr::FRAMED_IPV6_ADDRESS);
    }
    let value = packet.octets(attr::FRAMED_IPV6_PREFIX)?;
    let (&[_, length], bits) = value.split_first_chunk::<2>()?;
    let mut octets = [0; 16];
    octets.get_mut(..bits.len())?.copy_from_slice(bits);
    let prefix = Ipv6Net::new(octets.into(), length).ok()?.trunc();
    let interface = packet.octets(attr::FRAMED_INTERFACE_ID);
    let interface = interface.and_then(|id| id.try_into().ok()).map(u64::from_be_bytes);
    match interface {
        Some(id) if length <= 64 => Some((u128::from(prefix.network()) | u128::from(id)).into()),
        _ if length >= 64 => Some(prefix.network()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
