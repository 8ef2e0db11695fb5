//! What an administrator sees.

use std::net::IpAddr;

use kavadam_domain::accounting::FreeOctets;
use kavadam_domain::{Mac, MobileNumber, Plan, PortRange, SessionId, Timestamp};

use super::Counters;

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
    /// What it has moved free of charge, beside its meters, where the gate tells.
    pub free: Option<FreeOctets>,
}
