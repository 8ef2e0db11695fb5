//! An Access-Request and its answer.

use std::net::IpAddr;

use kavadam_domain::quota::Allowance;
use kavadam_domain::{Limits, Mac, NasId, Reason, SessionId};
use zeroize::Zeroizing;

use super::MsChapV2;

/// How a RADIUS client proves that it knows the password.
#[derive(Clone)]
pub enum Proof {
    /// User-Password (RFC 2865 §5.2), revealed with the shared secret.
    Pap(Zeroizing<Vec<u8>>),
    /// CHAP-Password and CHAP-Challenge (RFC 2865 §5.3, §5.40).
    Chap {
        /// CHAP identifier.
        ident: u8,
        /// MD5(ident ‖ password ‖ challenge).
        response: [u8; 16],
        /// CHAP-Challenge, or the Request Authenticator where it is absent.
        challenge: Vec<u8>,
    },
    /// MS-CHAP2-Response and MS-CHAP-Challenge (RFC 2548 §2.3.2).
    MsChapV2(MsChapV2),
}

/// What an Access-Request asks for (Service-Type, RFC 2865 §5.6).
#[derive(Clone)]
pub enum Service {
    /// A user with a name and a proof: a portal ticket, or a number with its one-time code, or a voucher.
    Login(Proof),
    /// A device the service may remember: Call-Check, or User-Name equal to the MAC.
    CallCheck,
    /// An open session that asks for more: Authorize-Only.
    Renewal,
}

/// An Access-Request, parsed.
#[derive(Clone)]
pub struct AuthorizeRequest {
    /// Which gate asks.
    pub nas: NasId,
    /// User-Name as sent.
    pub user_name: String,
    /// What is asked for.
    pub service: Service,
    /// Calling-Station-Id, where it is a MAC.
    pub mac: Option<Mac>,
    /// Framed-IP-Address or Framed-IPv6-Address.
    pub ip: Option<IpAddr>,
    /// Acct-Session-Id the gate will use (RFC 2866 §5.5), at a vendor's with who gives it ([`super::named_by`]).
    pub acct_session_id: Option<String>,
    /// Class of an earlier grant (renewals).
    pub class: Option<Vec<u8>>,
    /// It sent a NUL Chargeable-User-Identity and so is told one (RFC 4372): without, it cannot share a quota by it.
    pub wants_cui: bool,
    /// What a vendor's gate tells besides.
    pub seen: Seen,
}

/// What a vendor's gate tells of a session in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The gate's own name for the session, by which it takes orders (Cisco's audit-session-id).
    pub handle: Option<String>,
    /// Name of the wireless network.
    pub ssid: Option<String>,
    /// The access point, by name or MAC.
    pub access_point: Option<String>,
    /// Where its request came from, at a record that stands for a network of gates.
    pub from: Option<IpAddr>,
    /// How it calls itself.
    pub calls: Calls,
}

/// How a gate calls itself in its requests, as far as orders are to call it so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calls {
    /// NAS-Identifier.
    pub nas_identifier: Option<String>,
    /// NAS-IP-Address or NAS-IPv6-Address.
    pub nas_ip: Option<IpAddr>,
    /// Called-Station-Id, as sent.
    pub called_station_id: Option<String>,
}

/// The answer to an Access-Request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Access-Accept.
    Accept(Grant),
    /// Access-Reject; the sentence is in the citizen's language where it is known.
    Reject {
        /// Why.
        reason: Reason,
        /// For Reply-Message.
        message: String,
        /// What it rested on at that moment.
        grounds: Grounds,
    },
}

/// The facts that a refusal rested on, where its reason does not say them: a moment later they may be others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grounds {
    /// Of too many devices: those that were online, each with its gate, at most [`Grounds::MOST`].
    pub online: Vec<(Option<Mac>, NasId)>,
    /// Of a quota that is used up: the period as it stood.
    pub allowance: Option<Allowance>,
}

impl Grounds {
    /// Enough for whoever asks, and little to keep.
    pub const MOST: usize = 8;
}

/// What an Access-Accept carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The session opened or renewed.
    pub session: SessionId,
    /// Opaque alias of the subscriber for User-Name in accounting: no number on the wire.
    pub user_name: String,
    /// Ties accounting to the session (RFC 2865 §5.25).
    pub class: Vec<u8>,
    /// Chargeable-User-Identity (RFC 4372): equal for all devices of one person, opaque, stable.
    pub cui: Vec<u8>,
    /// What to hold the session to.
    pub limits: Limits,
    /// Octets, where they are limited now or later, are a lease: the gate should ask again before they are used up.
    pub is_renewable: bool,
    /// Name of the plan in force.
    pub plan: String,
    /// Slowed: the quota is used up.
    pub is_throttled: bool,
    /// How the server proves in turn that it knows the password, where MS-CHAPv2 was the proof (RFC 2759 §8.7).
    pub ms_chap2_success: Option<String>,
}
