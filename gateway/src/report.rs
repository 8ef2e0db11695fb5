//! An accounting report as it waits in the spool.

use std::net::{Ipv4Addr, Ipv6Addr};

use kavadam_domain::accounting::FreeOctets;
use kavadam_domain::{Mac, PortNews, Timestamp};
use kavadam_radius::{AccountingRequest, Counters};
use serde::{Deserialize, Serialize};

/// Acct-Status-Type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A session began.
    Start,
    /// It goes on.
    Interim,
    /// It ended, for this Acct-Terminate-Cause.
    Stop(u32),
    /// The gate starts with no session.
    On,
}

/// One report. Its meters are cumulative, so that delivering it twice, or only a later one, changes no total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What happened.
    pub kind: Kind,
    /// Acct-Session-Id.
    pub id: String,
    /// User-Name.
    pub user_name: Option<String>,
    /// Every Class.
    pub classes: Vec<Vec<u8>>,
    /// Chargeable-User-Identity.
    pub cui: Option<Vec<u8>>,
    /// The device; `None` for the gate itself.
    pub mac: Option<Mac>,
    /// Framed-IP-Address.
    pub ipv4: Option<Ipv4Addr>,
    /// Framed-IPv6-Address.
    pub ipv6: Option<Ipv6Addr>,
    /// How the internet sees the device (RFC 8045).
    #[serde(default)]
    pub ports: Option<PortNews>,
    /// From the device.
    pub up_octets: u64,
    /// To the device.
    pub down_octets: u64,
    /// From the device.
    pub up_packets: u64,
    /// To the device.
    pub down_packets: u64,
    /// What it moved free of charge, if anything.
    #[serde(default)]
    pub free: Option<FreeOctets>,
    /// Acct-Session-Time.
    pub session_secs: u32,
    /// When it happened.
    pub at: Timestamp,
}

impl Report {
    /// That the gate starts with nobody online.
    #[must_use]
    pub fn on(id: String, at: Timestamp) -> Self {
        Self {
            kind: Kind::On,
            id,
            user_name: None,
            classes: Vec::new(),
            cui: None,
            mac: None,
            ipv4: None,
            ipv6: None,
            ports: None,
            up_octets: 0,
            down_octets: 0,
            up_packets: 0,
            down_packets: 0,
            free: None,
            session_secs: 0,
            at,
        }
    }

    /// Takes over what an earlier report of the same session has more of: its meters never run backwards.
    pub(crate) fn raise_to(&mut self, earlier: &Self) {
        self.up_octets = self.up_octets.max(earlier.up_octets);
        self.down_octets = self.down_octets.max(earlier.down_octets);
        self.up_packets = self.up_packets.max(earlier.up_packets);
        self.down_packets = self.down_packets.max(earlier.down_packets);
        self.free = earlier
            .free
            .map(|free| free.max_with(self.free.unwrap_or_default()))
            .or(self.free);
        self.session_secs = self.session_secs.max(earlier.session_secs);
    }

    /// As the RADIUS client takes it.
    pub(crate) fn request(&self, called_station_id: &str) -> AccountingRequest {
        AccountingRequest {
            user_name: self.user_name.clone(),
            classes: self.classes.clone(),
            cui: self.cui.clone(),
            mac: self.mac,
            called_station_id: Some(called_station_id.to_owned()),
            framed_ipv4: self.ipv4,
            framed_ipv6: self.ipv6,
            ports: self.ports,
            counters: Counters::from(self),
            free: self.free,
            ..AccountingRequest::new(self.kind.into(), self.id.clone(), self.at)
        }
    }
}
