//! Orders to gates, and their answers.

use std::net::{IpAddr, SocketAddr};

use kavadam_domain::{Limits, Mac, NasId, SessionId, SubscriberId};

use super::Calls;

/// What the centre wants a gate to do with an open session (RFC 5176).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Which session.
    pub session: SessionId,
    /// Whose.
    pub subscriber: SubscriberId,
    /// Which of the session's orders: an answer settles this one and no later one.
    pub number: u64,
    /// At which gate.
    pub nas: NasId,
    /// Where to send it.
    pub to: Destination,
    /// Acct-Session-Id at that gate.
    pub acct_session_id: String,
    /// User-Name by which the gate reports it, else the one given in the grant.
    pub user_name: String,
    /// Class given in the grant.
    pub class: Vec<u8>,
    /// Calling-Station-Id.
    pub mac: Option<Mac>,
    /// Framed-IP-Address.
    pub ip: Option<IpAddr>,
    /// See [`super::Seen::handle`].
    pub handle: Option<String>,
    /// How its gate called itself when it asked.
    pub calls: Calls,
    /// What to do.
    pub action: OrderAction,
    /// What the session's role is called after, where the action is a change.
    pub role: Option<Role>,
    /// So many sendings so far.
    pub attempts: u32,
}

/// What the role of a session is called after, at gates where a role on the controller holds its speed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Name of the plan in force.
    pub plan: String,
    /// Slowed: the quota is used up.
    pub is_throttled: bool,
}

/// Where a gate takes orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The address that the session's last report came from, or its gate's last request, and its CoA port.
    Seen(SocketAddr),
    /// An address or name that its record gives, and its CoA port: a gate whose requests come from a cloud.
    Given(String, u16),
}

/// See [`Order`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderAction {
    /// Disconnect-Request.
    End,
    /// CoA-Request with every limit anew.
    Change(Limits),
}

/// A gate's answer to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderAnswer {
    /// ACK: done.
    Done,
    /// NAK with Error-Cause 503: the gate has no such session.
    SessionGone,
    /// NAK for another Error-Cause: kept, shown, tried again later.
    Refused(u32),
    /// No answer: tried again later.
    Silence,
}
