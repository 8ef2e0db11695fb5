//! What is said.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kavadam_domain::{Limits, Mac, Timestamp};

use crate::access::{mac_of, write_device};
use crate::accounting::unix_secs;
use crate::limits;
use crate::wire::{Code, Draft, Packet, attr};

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
    /// Hold it to these limits instead, all of them: one that is absent is lifted (CoA-Request). Octets and seconds still count
    /// from the session's start.
    Change(Limits),
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
    pub(crate) fn draft(&self, now: Timestamp) -> Draft {
        let mut draft = Draft::request(self.code(), [0; 16]);
        let target = &self.target;
        if let Some(name) = &target.user_name {
            draft.text(attr::USER_NAME, name);
        }
        if let Some(id) = &target.acct_session_id {
            draft.text(attr::ACCT_SESSION_ID, id);
        }
        write_device(&mut draft, target.mac, None, target.framed_ipv4, target.framed_ipv6);
        draft.u32(attr::EVENT_TIMESTAMP, unix_secs(now));
        if let DynamicAction::Change(limits) = &self.action {
            limits::write(&mut draft, limits, false);
        }
        draft
    }

    /// Reads a verified request. `None` if it is neither of the two.
    #[must_use]
    pub fn read(packet: &Packet) -> Option<Self> {
        let action = match packet.code() {
            Code::DisconnectRequest => DynamicAction::Disconnect,
            Code::CoaRequest => DynamicAction::Change(limits::read(packet).0),
            _ => return None,
        };
        let target = Target {
            acct_session_id: packet.text(attr::ACCT_SESSION_ID),
            user_name: packet.text(attr::USER_NAME),
            mac: mac_of(packet),
            framed_ipv4: packet.ipv4(attr::FRAMED_IP_ADDRESS),
            framed_ipv6: packet.ipv6(attr::FRAMED_IPV6_ADDRESS),
        };
        Some(Self { target, action })
    }
}
