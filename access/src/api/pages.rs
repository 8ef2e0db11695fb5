//! What a citizen's page asks and shows.

use std::net::IpAddr;
use std::time::Duration;

use kavadam_domain::plan::Period;
use kavadam_domain::{Language, Mac, NasId, Reason, SiteId, Timestamp};
use zeroize::Zeroizing;

/// A device that a portal page is about, by the gate's signed redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// The gate that sent it here.
    pub nas: NasId,
    /// Where that stands.
    pub site: SiteId,
    /// The device.
    pub mac: Mac,
    /// Its address at the gate.
    pub ip: IpAddr,
    /// The request came from that address: who sent it has the device in hand. Otherwise it may have come from whoever opened a link that
    /// somebody else passed on, and only the gate will know.
    pub is_seen: bool,
    /// The language it reads.
    pub language: Language,
    /// When its gate said that it is not online; absent where the gate said that it is.
    pub offline_at: Option<Timestamp>,
}

/// Where a device stands: which page it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask for the number.
    Number,
    /// Ask for the code that was sent.
    Code(PendingCode),
    /// Remembered, but disconnected by its owner: offer to connect again without a code.
    Returning {
        /// Whose device it is.
        masked_number: String,
    },
    /// Online.
    Online(Status),
    /// The allowance is used up; the number may be changed.
    UsedUp(Status),
}

/// A code waiting to be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCode {
    /// Where it was sent, masked.
    pub masked_number: String,
    /// Until another may be asked for.
    pub resend_in: Duration,
    /// Until this one expires.
    pub expires_in: Duration,
    /// Tries left; 0 if it cannot be entered any more.
    pub tries_left: u32,
    /// What became of the message with it.
    pub message: Message,
}

/// How far the message with a code has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Waiting to be sent.
    Queued,
    /// The provider took it.
    Sent,
    /// The last attempt failed.
    Failed,
}

/// What the status page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whose, masked.
    pub masked_number: String,
    /// Name of the site.
    pub site: String,
    /// Octets of the period used by all devices, as reported so far.
    pub used_octets: u64,
    /// The period's quota.
    pub quota_octets: Option<u64>,
    /// Until the session ends by itself.
    pub session_left: Option<Duration>,
    /// How often a new allowance begins.
    pub period: Period,
    /// Until the next allowance begins.
    pub period_left: Option<Duration>,
    /// Towards the device, bit/s.
    pub down_bits_per_sec: Option<u64>,
    /// Towards the internet, bit/s.
    pub up_bits_per_sec: Option<u64>,
    /// The quota is used up and the plan goes on slowly.
    pub is_throttled: bool,
    /// Age of the figures.
    pub reported: Duration,
    /// Devices of the person online now.
    pub devices_online: u32,
}

/// What became of a request for a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// On its way.
    Sent(PendingCode),
    /// See the reason.
    Refused(Reason),
}

/// What became of an entered code.
#[derive(Clone)]
pub enum Verified {
    /// Right: log in at the gate with this.
    Ticket(Ticket),
    /// See the reason.
    Refused(Reason),
}

/// A one-time login for a gate, valid for a minute.
#[derive(Clone)]
pub struct Ticket {
    /// Opaque `t-…`.
    pub user_name: String,
    /// Derived, never stored.
    pub password: Zeroizing<String>,
}
