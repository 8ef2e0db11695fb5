//! An Accounting-Request and what became of it.

use std::net::IpAddr;

use kavadam_domain::accounting::FreeOctets;
use kavadam_domain::{Mac, NasId, PortNews, Timestamp};

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
    /// Another type, of which no session of ours is told; or one of the above without the session's name.
    Other(u32),
}

/// An Accounting-Request, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountingReport {
    /// Which gate reports.
    pub nas: NasId,
    /// What happened.
    pub kind: AccountingKind,
    /// Where it came from, at a record that stands for a network of gates.
    pub from: Option<IpAddr>,
    /// Acct-Session-Id, at a vendor's with who gave it ([`super::named_by`]); empty for On and Off, and where there was none.
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
    /// What it moved besides, free of charge, cumulative too; believed of our own gateways alone.
    pub free: Option<FreeOctets>,
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
