//! Access-Request and its answers.

mod credential;
mod eap;
mod ms_chap;
mod reply;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kavadam_domain::Mac;

pub use credential::Credential;
use credential::write_password;
pub use ms_chap::MsChapV2;
pub use reply::{AccessReply, Grant};

use crate::NasIdentity;
use crate::device::{framed_ipv6_of, mac_of, write_device};
use crate::wire::{Code, Draft, Packet, Secret, attr, random_authenticator, service};

/// Service-Type, as far as a gate for the public uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceType {
    /// A user logs in. Gates say so in several ways: Login, Framed, or not at all; Cisco's web authentication says Outbound, `DrayTek`'s
    /// Authenticate-Only.
    Login,
    /// A device is recognised (Call-Check).
    CallCheck,
    /// An open session asks again (Authorize-Only, RFC 5176 §3.1).
    AuthorizeOnly,
    /// No access to the network, by its number: mostly a command line or the pages of a device itself (Administrative, NAS-Prompt).
    Other(u32),
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

/// In an Authorize-Only that nobody asked for.
const RENEWAL_STATE: &[u8] = b"renewal";

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
            // RFC 2865 §4.1 calls for a password or a State; as password of a device vendors send its name.
            Credential::Absent if self.service == ServiceType::CallCheck => {
                write_password(&mut draft, self.user_name.as_bytes(), secret);
            }
            credential => credential.write(&mut draft, secret),
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
        let mac = mac_of(packet);
        Some(Self {
            user_name: packet.text(attr::USER_NAME).unwrap_or_default(),
            credential: Credential::read(packet, secret)?,
            service: ServiceType::of(packet, mac),
            mac,
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

impl ServiceType {
    const fn number(self) -> u32 {
        match self {
            Self::Login => service::LOGIN_USER,
            Self::CallCheck => service::CALL_CHECK,
            Self::AuthorizeOnly => service::AUTHORIZE_ONLY,
            Self::Other(number) => number,
        }
    }

    /// One that cannot be read is none of ours, and is not taken for absent. Authenticate-Only is what shells ask too (`pam_radius`), but of
    /// somebody at an address, not of a device.
    fn of(packet: &Packet, mac: Option<Mac>) -> Self {
        match packet.try_u32(attr::SERVICE_TYPE) {
            Ok(None | Some(service::LOGIN_USER | service::FRAMED_USER | service::OUTBOUND_USER)) => Self::Login,
            Ok(Some(service::AUTHENTICATE_ONLY)) if mac.is_some() => Self::Login,
            Ok(Some(service::CALL_CHECK)) => Self::CallCheck,
            Ok(Some(service::AUTHORIZE_ONLY)) => Self::AuthorizeOnly,
            Ok(Some(other)) => Self::Other(other),
            Err(_) => Self::Other(0),
        }
    }
}

#[cfg(test)]
mod tests;
