//! What is said.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kavadam_domain::{Mac, Timestamp};

use crate::accounting::unix_secs;
use crate::device::{mac_of, write_device};
use crate::limits::{self, LimitsPatch};
use crate::wire::{Code, Draft, ErrorCause, Packet, attr};

/// Which session is meant (RFC 5176 §3). Every field that is given must fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Acct-Session-Id.
    pub acct_session_id: Option<String>,
    /// User-Name.
    pub user_name: Option<String>,
    /// Calling-Station-Id.
    pub mac: Option<Mac>,
    /// Framed-IP-Address.
    pub framed_ipv4: Option<Ipv4Addr>,
    /// Framed-IPv6-Address.
    pub framed_ipv6: Option<Ipv6Addr>,
    /// Each of them must be one of the session's.
    pub classes: Vec<Vec<u8>>,
    /// Chargeable-User-Identity.
    pub cui: Option<Vec<u8>>,
}

/// A request to a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicRequest {
    /// Which session.
    pub target: Target,
    /// What to do with it.
    pub action: DynamicAction,
}

/// See [`DynamicRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynamicAction {
    /// End it (Disconnect-Request).
    Disconnect,
    /// Change these of its limits (CoA-Request). Octets and seconds still count from the session's start.
    Change(LimitsPatch),
}

impl Target {
    /// Whether it names a session at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The address, for a session with one of either family.
    #[must_use]
    pub fn framed_ip(&self) -> Option<IpAddr> {
        self.framed_ipv4
            .map(IpAddr::V4)
            .or_else(|| self.framed_ipv6.map(IpAddr::V6))
    }
}

impl DynamicRequest {
    /// The packet's code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self.action {
            DynamicAction::Disconnect => Code::DisconnectRequest,
            DynamicAction::Change(_) => Code::CoaRequest,
        }
    }

    /// Event-Timestamp bounds how long a recorded packet can be played back (RFC 5176 §6.3).
    #[must_use]
    pub fn draft(&self, now: Timestamp) -> Draft {
        let mut draft = Draft::request(self.code(), [0; 16]);
        let target = &self.target;
        if let Some(name) = &target.user_name {
            draft.text(attr::USER_NAME, name);
        }
        if let Some(id) = &target.acct_session_id {
            draft.id(attr::ACCT_SESSION_ID, id);
        }
        write_device(&mut draft, target.mac, None, target.framed_ipv4, target.framed_ipv6);
        draft.u32(attr::EVENT_TIMESTAMP, unix_secs(now));
        for class in &target.classes {
            draft.octets(attr::CLASS, class);
        }
        if let Some(cui) = &target.cui {
            draft.octets(attr::CHARGEABLE_USER_IDENTITY, cui);
        }
        if let DynamicAction::Change(patch) = &self.action {
            patch.write(&mut draft);
        }
        draft
    }

    /// Reads a verified request. Every attribute counts (RFC 5176 §2.3): one that is not understood refuses the whole.
    ///
    /// # Errors
    /// The Error-Cause to refuse it with.
    pub fn read(packet: &Packet) -> Result<Self, ErrorCause> {
        let is_change = packet.code() == Code::CoaRequest;
        if !is_change && packet.code() != Code::DisconnectRequest {
            return Err(ErrorCause::INVALID_REQUEST);
        }
        check_attributes(packet, is_change)?;
        let target = read_target(packet)?;
        if target.is_empty() {
            return Err(ErrorCause::MISSING_ATTRIBUTE);
        }
        let action = if is_change {
            DynamicAction::Change(read_change(packet)?)
        } else {
            DynamicAction::Disconnect
        };
        Ok(Self { target, action })
    }
}

/// Names of the session: at most one of each. The others of RFC 5176 §3 are not known to us, so a request that relies on them
/// may mean another session than the one we would find.
const IDENTIFICATION: [u8; 6] = [
    attr::USER_NAME,
    attr::ACCT_SESSION_ID,
    attr::CALLING_STATION_ID,
    attr::FRAMED_IP_ADDRESS,
    attr::FRAMED_IPV6_ADDRESS,
    attr::CHARGEABLE_USER_IDENTITY,
];
const NAS: [u8; 3] = [attr::NAS_IDENTIFIER, attr::NAS_IP_ADDRESS, attr::NAS_IPV6_ADDRESS];
/// In either request, checked elsewhere or without a meaning for us.
const COMMON: [u8; 4] = [
    attr::CLASS,
    attr::EVENT_TIMESTAMP,
    attr::MESSAGE_AUTHENTICATOR,
    attr::PROXY_STATE,
];
/// In a CoA-Request: given back, and otherwise without a meaning for us (RFC 5176 §3.3).
const GIVEN_BACK: u8 = attr::STATE;
const CHANGES: [u8; 4] = [
    attr::SESSION_TIMEOUT,
    attr::IDLE_TIMEOUT,
    attr::ACCT_INTERIM_INTERVAL,
    attr::FILTER_ID,
];

fn check_attributes(packet: &Packet, is_change: bool) -> Result<(), ErrorCause> {
    if packet.has(attr::SERVICE_TYPE) {
        return Err(ErrorCause::UNSUPPORTED_SERVICE);
    }
    let is_known = |kind: u8| {
        let is_change = is_change && (CHANGES.contains(&kind) || [attr::VENDOR_SPECIFIC, GIVEN_BACK].contains(&kind));
        is_change || IDENTIFICATION.contains(&kind) || NAS.contains(&kind) || COMMON.contains(&kind)
    };
    if !packet.kinds().all(is_known) {
        return Err(ErrorCause::UNSUPPORTED_ATTRIBUTE);
    }
    for attribute in packet.vendor_attributes() {
        match attribute {
            Ok(attribute) if limits::is_change(attribute) => {}
            Ok(_) => return Err(ErrorCause::UNSUPPORTED_ATTRIBUTE),
            Err(_) => return Err(ErrorCause::INVALID_ATTRIBUTE_VALUE),
        }
    }
    let is_double = |kind: &u8| packet.kinds().filter(|at| at == kind).count() > 1;
    let alone = IDENTIFICATION.iter().chain(&NAS).chain(&CHANGES);
    if alone.chain(&[GIVEN_BACK]).any(is_double) {
        return Err(ErrorCause::INVALID_REQUEST);
    }
    Ok(())
}

fn read_target(packet: &Packet) -> Result<Target, ErrorCause> {
    let target = Target {
        acct_session_id: packet.text(attr::ACCT_SESSION_ID),
        user_name: packet.text(attr::USER_NAME),
        mac: mac_of(packet),
        framed_ipv4: packet.ipv4(attr::FRAMED_IP_ADDRESS),
        framed_ipv6: packet.ipv6(attr::FRAMED_IPV6_ADDRESS),
        classes: packet.all_octets(attr::CLASS),
        cui: packet.octets(attr::CHARGEABLE_USER_IDENTITY),
    };
    for (attribute, is_read) in [
        (attr::CALLING_STATION_ID, target.mac.is_some()),
        (attr::FRAMED_IP_ADDRESS, target.framed_ipv4.is_some()),
        (attr::FRAMED_IPV6_ADDRESS, target.framed_ipv6.is_some()),
    ] {
        if packet.has(attribute) && !is_read {
            return Err(ErrorCause::INVALID_ATTRIBUTE_VALUE);
        }
    }
    Ok(target)
}

fn read_change(packet: &Packet) -> Result<LimitsPatch, ErrorCause> {
    match LimitsPatch::read(packet) {
        Ok(patch) if patch.is_empty() => Err(ErrorCause::MISSING_ATTRIBUTE),
        Ok(patch) => Ok(patch),
        Err(_) => Err(ErrorCause::INVALID_ATTRIBUTE_VALUE),
    }
}
