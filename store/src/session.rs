//! Sessions: one device online at one gate.

use std::net::IpAddr;

use kavadam_domain::accounting::{FreeOctets, Meter, Reading};
use kavadam_domain::session::SessionState;
use kavadam_domain::{
    EntitlementId, LeaseId, Mac, MobileNumber, NasId, PortRange, SessionId, SiteId, SubscriberId, Timestamp,
};
use serde::{Deserialize, Serialize};
use sqlx::error::BoxDynError;

use crate::column::{Bind, Read, known};
use crate::sql::row;

row! {
    /// A session.
    #[derive(Serialize, Deserialize)]
    pub struct SessionRow {
        /// Identifier.
        pub id: SessionId,
        /// Sent to the gate as Class, which sends it back: eight random octets, and the identifier.
        pub class: [u8; 16],
        /// Whose.
        pub subscriber_id: SubscriberId,
        /// What it is charged to.
        pub entitlement_id: EntitlementId,
        /// What it was promised; `None` where no quota is metered.
        pub lease_id: Option<LeaseId>,
        /// At which gate.
        pub nas_id: NasId,
        /// Where that stands.
        pub site_id: SiteId,
        /// The gate's name for it.
        pub acct_session_id: Option<String>,
        /// The device.
        #[serde(with = "crate::column::mac_octets")]
        pub mac: Option<Mac>,
        /// Its address.
        pub ip: Option<IpAddr>,
        /// Where it stands.
        pub state: SessionState,
        /// The gate shares a quota between a person's sessions and asks again before it is used up.
        pub is_renewable: bool,
        /// Slowed: the quota is used up.
        pub is_throttled: bool,
        /// When it was let in.
        pub granted_at: Timestamp,
        /// When the gate says it began.
        pub started_at: Option<Timestamp>,
        /// The gate's time of its furthest report.
        pub reported_at: Option<Timestamp>,
        /// Our time of the last word of it.
        pub heard_at: Timestamp,
        /// Where its last report or request came from, at a record that stands for a network of gates: its orders go there.
        pub heard_from: Option<IpAddr>,
        /// When it ends by itself.
        pub ends_at: Option<Timestamp>,
        /// When it ended.
        pub ended_at: Option<Timestamp>,
        /// Acct-Terminate-Cause.
        pub terminate_cause: Option<u32>,
        /// It was taken for ended because it fell silent: a sign of life reopens it.
        pub is_presumed_ended: bool,
        /// Octets granted to it, cumulative from its start.
        pub granted_octets: u64,
        /// Charged, but not yet added to what its entitlement and lease say in the database ([`crate::working`]). Theirs in memory have it.
        pub(crate) pending_octets: u64,
        /// From the device, as last reported.
        pub up_octets: u64,
        /// To the device, as last reported.
        pub down_octets: u64,
        /// From the device, before the gate's counters last began at zero.
        pub base_up_octets: u64,
        /// To the device, likewise.
        pub base_down_octets: u64,
        /// From the device.
        pub up_packets: u64,
        /// To the device.
        pub down_packets: u64,
        /// Acct-Session-Time.
        pub session_secs: u32,
        /// The gate told Gigawords: its counters do not wrap.
        pub is_wide: bool,
        /// What the gate is yet to obey.
        pub order_action: Option<OrderKind>,
        /// How often something was asked of it: tells an order from those before.
        pub order_number: u64,
        /// Sendings so far.
        pub order_attempts: u32,
        /// When to send it (again).
        pub order_next_at: Option<Timestamp>,
        /// Why the gate does not obey.
        pub trouble: Option<String>,
    }
}

impl SessionRow {
    /// Its meters.
    #[must_use]
    pub const fn meter(&self) -> Meter {
        Meter {
            last: Reading {
                up_octets: self.up_octets,
                down_octets: self.down_octets,
                session_secs: self.session_secs,
                has_gigawords: self.is_wide,
            },
            last_at: self.reported_at,
            base_up_octets: self.base_up_octets,
            base_down_octets: self.base_down_octets,
        }
    }

    /// Its meters, as they are now.
    pub const fn set_meter(&mut self, meter: &Meter) {
        self.up_octets = meter.last.up_octets;
        self.down_octets = meter.last.down_octets;
        self.session_secs = meter.last.session_secs;
        self.is_wide = meter.last.has_gigawords;
        self.reported_at = meter.last_at;
        self.base_up_octets = meter.base_up_octets;
        self.base_down_octets = meter.base_down_octets;
    }

    /// Asks its gate for something from `now` on, instead of whatever it was asked before. An end is never taken back.
    pub fn order(&mut self, kind: OrderKind, now: Timestamp) {
        if self.state == SessionState::Ended || self.order_action == Some(OrderKind::End) {
            return;
        }
        self.order_action = Some(kind);
        self.order_number += 1;
        self.order_attempts = 0;
        self.order_next_at = Some(now);
        self.trouble = None;
    }

    /// Asks its gate to end it though it was taken for ended: some gates say nothing of what goes on there.
    pub fn order_end_if_there(&mut self, now: Timestamp) {
        if self.state == SessionState::Ended && self.is_presumed_ended {
            self.order_action = Some(OrderKind::End);
            self.order_number += 1;
            self.order_attempts = 0;
            self.order_next_at = Some(now);
        }
    }

    /// Nothing is asked of the gate any more.
    pub fn settle_order(&mut self) {
        self.order_action = None;
        self.order_attempts = 0;
        self.order_next_at = None;
        self.trouble = None;
    }
}

/// What a gate is asked to do with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderKind {
    /// Disconnect-Request.
    End,
    /// CoA-Request: limits anew, decided when it is sent.
    Change,
}

impl Bind for OrderKind {
    type Raw = String;
    fn raw(&self) -> String {
        match self {
            Self::End => "end".into(),
            Self::Change => "change".into(),
        }
    }
}

impl Read for OrderKind {
    type Raw = String;
    fn from_raw(raw: String) -> std::result::Result<Self, BoxDynError> {
        known(
            [Self::End, Self::Change].into_iter().find(|kind| kind.raw() == raw),
            &raw,
        )
    }
}

/// A session about to be granted; see [`SessionRow`].
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Random: with the identifier, its Class.
    pub nonce: [u8; 8],
    /// Whose.
    pub subscriber_id: SubscriberId,
    /// What it is charged to.
    pub entitlement_id: EntitlementId,
    /// What it was promised.
    pub lease_id: Option<LeaseId>,
    /// At which gate.
    pub nas_id: NasId,
    /// Where that stands.
    pub site_id: SiteId,
    /// The gate's name for it.
    pub acct_session_id: Option<String>,
    /// The device.
    pub mac: Option<Mac>,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// See [`SessionRow::is_renewable`].
    pub is_renewable: bool,
    /// See [`SessionRow::is_throttled`].
    pub is_throttled: bool,
    /// Now.
    pub granted_at: Timestamp,
    /// When it ends by itself.
    pub ends_at: Option<Timestamp>,
    /// Octets granted to it.
    pub granted_octets: u64,
}

impl NewSession {
    pub(crate) fn row(&self, id: SessionId) -> SessionRow {
        SessionRow {
            id,
            class: class_of(id, self.nonce),
            subscriber_id: self.subscriber_id,
            entitlement_id: self.entitlement_id,
            lease_id: self.lease_id,
            nas_id: self.nas_id,
            site_id: self.site_id,
            acct_session_id: self.acct_session_id.clone(),
            mac: self.mac,
            ip: self.ip,
            state: SessionState::Granted,
            is_renewable: self.is_renewable,
            is_throttled: self.is_throttled,
            granted_at: self.granted_at,
            started_at: None,
            reported_at: None,
            heard_at: self.granted_at,
            heard_from: None,
            ends_at: self.ends_at,
            ended_at: None,
            terminate_cause: None,
            is_presumed_ended: false,
            granted_octets: self.granted_octets,
            pending_octets: 0,
            up_octets: 0,
            down_octets: 0,
            base_up_octets: 0,
            base_down_octets: 0,
            up_packets: 0,
            down_packets: 0,
            session_secs: 0,
            is_wide: false,
            order_action: None,
            order_number: 0,
            order_attempts: 0,
            order_next_at: None,
            trouble: None,
        }
    }
}

/// The Class of a session: what nobody guesses, then where to look it up.
fn class_of(id: SessionId, nonce: [u8; 8]) -> [u8; 16] {
    let mut class = [0; 16];
    let (front, back) = class.split_at_mut(nonce.len());
    front.copy_from_slice(&nonce);
    back.copy_from_slice(&id.0.to_be_bytes());
    class
}

/// The session that a Class names, if it is one of ours; whether its Class is that one is yet to be seen.
pub(crate) fn session_in(class: &[u8]) -> Option<SessionId> {
    let class: &[u8; 16] = class.try_into().ok()?;
    let id = class.last_chunk::<8>().copied().map(i64::from_be_bytes)?;
    (id > 0).then_some(SessionId(id))
}

/// A session in a list, with the names that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionListing {
    /// The session.
    pub session: SessionRow,
    /// Whose.
    pub number: MobileNumber,
    /// Name of the gate.
    pub nas: String,
    /// Name of the site.
    pub site: String,
    /// Name of the wireless network, where a vendor's gate tells.
    pub ssid: Option<String>,
    /// The access point, likewise.
    pub access_point: Option<String>,
    /// How the internet sees the device, where its gate tells.
    pub ports: Option<PortRange>,
    /// What it has moved free of charge, where its gate tells.
    pub free: Option<FreeOctets>,
}

macro_rules! listing {
    ($row:ty) => {
        impl<'r> sqlx::FromRow<'r, $row> for SessionListing {
            fn from_row(row: &'r $row) -> sqlx::Result<Self> {
                Ok(Self {
                    session: SessionRow::from_row(row)?,
                    number: crate::column::read(row, "number")?,
                    nas: crate::column::read(row, "nas_name")?,
                    site: crate::column::read(row, "site_name")?,
                    ssid: crate::column::read(row, "ssid")?,
                    access_point: crate::column::read(row, "access_point")?,
                    ports: crate::vendor::ports(
                        crate::column::read(row, "public_ip")?,
                        crate::column::read(row, "first_port")?,
                        crate::column::read(row, "last_port")?,
                    ),
                    free: crate::vendor::free(
                        crate::column::read(row, "free_up_octets")?,
                        crate::column::read(row, "free_down_octets")?,
                    ),
                })
            }
        }
    };
}

listing!(sqlx::sqlite::SqliteRow);
listing!(sqlx::postgres::PgRow);
