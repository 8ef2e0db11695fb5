//! What the doors ask and are told. Plain data: a door parses into a request, calls one use case, and renders the outcome.

use std::net::IpAddr;
use std::time::Duration;

use kavadam_domain::plan::Period;
use kavadam_domain::{
    Language, Limits, Mac, MobileNumber, NasId, Plan, PortNews, PortRange, Reason, SessionId, SiteId, SubscriberId,
    Timestamp,
};
use zeroize::Zeroizing;

pub use crate::gate_entry::{Candidates, NasEntry, NasProof, OldSecret, WhichSecret};
pub use crate::ms_chap::MsChapV2;

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
    /// Acct-Session-Id the gate will use (RFC 2866 §5.5).
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
}

/// The answer to an Access-Request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one for each question, and never kept")]
pub enum Decision {
    /// Access-Accept.
    Accept(Grant),
    /// Access-Reject; the sentence is in the citizen's language where it is known.
    Reject {
        /// Why.
        reason: Reason,
        /// For Reply-Message.
        message: String,
    },
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

/// Octets and packets of one session as a gate counted them, from the session's start; gigawords already folded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// From the device (Acct-Input-Octets seen from the gate).
    pub up_octets: u64,
    /// To the device (Acct-Output-Octets).
    pub down_octets: u64,
    /// Packets from the device.
    pub up_packets: u64,
    /// Packets to the device.
    pub down_packets: u64,
    /// Acct-Session-Time.
    pub session_secs: u32,
    /// The gate told Gigawords, if only that there are none.
    pub has_gigawords: bool,
}

/// What happened (Acct-Status-Type, RFC 2866 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountingKind {
    /// The session began.
    Start,
    /// It goes on.
    Interim,
    /// It ended, for this Acct-Terminate-Cause (RFC 2866 §5.10).
    Stop(u32),
    /// The gate started: every session it had is over.
    On,
    /// The gate stops: the same.
    Off,
}

/// An Accounting-Request, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountingReport {
    /// Which gate reports.
    pub nas: NasId,
    /// What happened.
    pub kind: AccountingKind,
    /// Acct-Session-Id; empty for On and Off.
    pub acct_session_id: String,
    /// Class, as granted.
    pub class: Option<Vec<u8>>,
    /// User-Name.
    pub user_name: Option<String>,
    /// Calling-Station-Id.
    pub mac: Option<Mac>,
    /// Framed-IP-Address.
    pub ip: Option<IpAddr>,
    /// IP-Port-Range (RFC 8045): how the internet sees the device.
    pub ports: Option<PortNews>,
    /// The meters, cumulative.
    pub counters: Counters,
    /// When it happened: Event-Timestamp, or now less Acct-Delay-Time.
    pub at: Timestamp,
}

/// How a report was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounted {
    /// Charged to its session; so many octets were new (0 for a duplicate).
    Charged(u64),
    /// No session of ours: kept for the record, charged to nobody.
    Unknown,
    /// More than a line could carry: kept for the record, charged to nobody.
    Implausible,
    /// Sessions closed by On or Off.
    Closed(u64),
}

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
    /// See [`Seen::handle`].
    pub handle: Option<String>,
    /// What to do.
    pub action: OrderAction,
    /// So many sendings so far.
    pub attempts: u32,
}

/// Where a gate takes orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The address that its last request came from, and its CoA port.
    Seen(std::net::SocketAddr),
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

/// A device in front of a portal page, proven by the gate's signed redirect.
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

/// A subscriber, as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberView {
    /// Number.
    pub number: MobileNumber,
    /// Plan in force; none for a number that was never online and has none of its own.
    pub plan: Option<Plan>,
    /// Blocked by an administrator.
    pub is_blocked: bool,
    /// May enter the code of an authenticator app.
    pub has_authenticator: bool,
    /// Octets used in the present period.
    pub used_octets: u64,
    /// Octets promised to gates and not yet used.
    pub leased_octets: u64,
    /// Added in this period by vouchers and administrators.
    pub topped_up_octets: u64,
    /// Devices: MAC and until when it is remembered.
    pub devices: Vec<(Mac, Option<Timestamp>)>,
}

/// A session, as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Its number.
    pub id: SessionId,
    /// Whose; masked unless asked for.
    pub number: MobileNumber,
    /// Device.
    pub mac: Option<Mac>,
    /// Address.
    pub ip: Option<IpAddr>,
    /// Gate.
    pub nas: String,
    /// Site.
    pub site: String,
    /// Granted, Open, Ending, Ended.
    pub state: &'static str,
    /// When it was granted.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Acct-Terminate-Cause of the end.
    pub terminate_cause: Option<u32>,
    /// Meters.
    pub counters: Counters,
    /// A gate that does not obey, and why.
    pub trouble: Option<String>,
    /// Name of the wireless network, where the gate tells.
    pub ssid: Option<String>,
    /// The access point, likewise.
    pub access_point: Option<String>,
    /// How the internet sees the device, where the gate tells.
    pub ports: Option<PortRange>,
}
