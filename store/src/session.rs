//! Sessions: one device online at one gate.

use std::net::IpAddr;

use kavadam_domain::accounting::{Meter, Reading};
use kavadam_domain::session::SessionState;
use kavadam_domain::{
    EntitlementId, LeaseId, Mac, MobileNumber, NasId, PlanId, SessionId, SiteId, SubscriberId, Timestamp,
};
use serde::{Deserialize, Serialize};
use sqlx::error::BoxDynError;

use crate::bulk::tables;
use crate::column::{Bind, Read, known};
use crate::gather::Numbered;
use crate::sql::{Id, execute, row, rows};
use crate::{Result, Tx};

row! {
    /// A session.
    #[derive(Serialize, Deserialize)]
    pub struct SessionRow {
        /// Identifier.
        pub id: SessionId,
        /// Random, sent to the gate as Class, which sends it back.
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

    /// Whether `other` is this session with nothing moved on but what reports move.
    pub(crate) fn differs_only_in_meters(&self, other: &Self) -> bool {
        let moved = Self {
            ip: other.ip,
            reported_at: other.reported_at,
            heard_at: other.heard_at,
            up_octets: other.up_octets,
            down_octets: other.down_octets,
            base_up_octets: other.base_up_octets,
            base_down_octets: other.base_down_octets,
            up_packets: other.up_packets,
            down_packets: other.down_packets,
            session_secs: other.session_secs,
            is_wide: other.is_wide,
            ..self.clone()
        };
        moved == *other
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
    /// Random.
    pub class: [u8; 16],
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
    fn row(&self, id: SessionId) -> SessionRow {
        SessionRow {
            id,
            class: self.class,
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
            ends_at: self.ends_at,
            ended_at: None,
            terminate_cause: None,
            is_presumed_ended: false,
            granted_octets: self.granted_octets,
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
                })
            }
        }
    };
}

listing!(sqlx::sqlite::SqliteRow);
listing!(sqlx::postgres::PgRow);

impl Tx {
    /// Grants a session.
    ///
    /// # Errors
    /// The gate has a live session of that Acct-Session-Id, or the database failed.
    pub async fn add_session(&mut self, new: &NewSession) -> Result<SessionId> {
        if self.working.holds(new.subscriber_id) {
            let id = SessionId(self.number(Numbered::Sessions).await?);
            self.working.add_session(new.row(id));
            return Ok(id);
        }
        self.carried.get().forget(new.subscriber_id);
        self.carried.get().numbers.sessions.clear();
        let made: Id = rows!(
            self,
            fetch_one,
            "INSERT INTO session (class, subscriber_id, entitlement_id, lease_id, nas_id, site_id, acct_session_id, mac, ip,
                 state, is_renewable, is_throttled, granted_at, heard_at, ends_at, granted_octets)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'granted', $10, $11, $12, $12, $13, $14)
             RETURNING id",
            new.class,
            new.subscriber_id,
            new.entitlement_id,
            new.lease_id,
            new.nas_id,
            new.site_id,
            new.acct_session_id,
            new.mac,
            new.ip,
            new.is_renewable,
            new.is_throttled,
            new.granted_at,
            new.ends_at,
            new.granted_octets,
        )?;
        Ok(SessionId(made.id))
    }

    /// One session.
    ///
    /// # Errors
    /// The database failed.
    pub async fn session(&mut self, id: SessionId) -> Result<Option<SessionRow>> {
        if let Some(row) = self.working.session(id) {
            return Ok(Some(row.clone()));
        }
        rows!(self, fetch_optional, "SELECT * FROM session WHERE id = $1", id)
    }

    /// The session a gate means: the one granted with that Class, if it is this gate's; else the live one of that Acct-Session-Id, or the
    /// last.
    ///
    /// # Errors
    /// The database failed.
    pub async fn session_at(
        &mut self,
        nas: NasId,
        class: Option<&[u8]>,
        acct_session_id: Option<&str>,
    ) -> Result<Option<SessionRow>> {
        if let Some(class) = class
            && let Some(found) = self.session_of_class(class).await?
            && found.nas_id == nas
        {
            return Ok(Some(found));
        }
        let Some(name) = acct_session_id else {
            return Ok(None);
        };
        if let Some(live) = self.live_session_named(nas, name).await? {
            return Ok(Some(live));
        }
        let found: Option<SessionRow> = rows!(
            self,
            fetch_optional,
            "SELECT * FROM session WHERE nas_id = $1 AND acct_session_id = $2
             ORDER BY CASE WHEN state = 'ended' THEN 1 ELSE 0 END, id DESC LIMIT 1",
            nas,
            name,
        )?;
        let found = found
            .map(|row| self.working.session(row.id).cloned().unwrap_or(row))
            .filter(|row| row.acct_session_id.as_deref() == Some(name));
        let in_hand = self.working.session_named(nas, name).cloned();
        Ok(found.into_iter().chain(in_hand).max_by_key(|row| row.id))
    }

    async fn session_of_class(&mut self, class: &[u8]) -> Result<Option<SessionRow>> {
        if let Some(found) = self.working.session_of_class(class) {
            return Ok(Some(found.clone()));
        }
        if self.is_sqlite()
            && let Some(owner) = self.carried.get().owner_of_class(class)
            && !self.working.holds(owner)
            && self.hold_carried(owner)
            && let Some(found) = self.working.session_of_class(class)
        {
            return Ok(Some(found.clone()));
        }
        rows!(self, fetch_optional, "SELECT * FROM session WHERE class = $1", class)
    }

    /// The live session of that Acct-Session-Id at a gate.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_session_named(&mut self, nas: NasId, name: &str) -> Result<Option<SessionRow>> {
        if let Some(found) = self.working.live_session_named(nas, name) {
            return Ok(Some(found.clone()));
        }
        if self.is_sqlite()
            && let Some(owner) = self.carried.get().owner_of_name(nas, name)
            && !self.working.holds(owner)
            && self.hold_carried(owner)
            && let Some(found) = self.working.live_session_named(nas, name)
        {
            return Ok(Some(found.clone()));
        }
        if !self.absent_names.is_empty() && self.absent_names.contains(&(nas, name.to_owned())) {
            return Ok(None);
        }
        let found: Option<SessionRow> = rows!(
            self,
            fetch_optional,
            "SELECT * FROM session WHERE nas_id = $1 AND acct_session_id = $2 AND state <> 'ended'",
            nas,
            name,
        )?;
        // One that is here goes by that name no more.
        Ok(found.filter(|row| self.working.session(row.id).is_none()))
    }

    /// The last session of a device at a site.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_session_of_device(&mut self, site: SiteId, mac: Mac) -> Result<Option<SessionRow>> {
        self.settle().await?;
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM session WHERE site_id = $1 AND mac = $2 ORDER BY id DESC LIMIT 1",
            site,
            mac,
        )
    }

    /// A subscriber's sessions that are not over.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_sessions_of(&mut self, subscriber: SubscriberId) -> Result<Vec<SessionRow>> {
        if let Some(live) = self.working.live_sessions_of(subscriber) {
            let mut live: Vec<SessionRow> = live.cloned().collect();
            live.sort_unstable_by_key(|row| row.id);
            return Ok(live);
        }
        rows!(
            self,
            fetch_all,
            "SELECT * FROM session WHERE subscriber_id = $1 AND state <> 'ended' ORDER BY id",
            subscriber,
        )
    }

    /// The live sessions under a lease.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_sessions_under(&mut self, lease: LeaseId) -> Result<Vec<SessionRow>> {
        if let Some(live) = self.working.live_sessions_under(lease) {
            return Ok(live);
        }
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            "SELECT * FROM session WHERE lease_id = $1 AND state <> 'ended' ORDER BY id",
            lease
        )
    }

    /// Asks for new limits for the live sessions of everybody whose plan this is, by their own or by the site's. Tells how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn order_change_on_plan(&mut self, plan: PlanId, now: Timestamp) -> Result<u64> {
        self.settle_and_forget().await?;
        execute!(
            self,
            "UPDATE subscriber SET holder = NULL WHERE holder IS NOT NULL AND id IN
                 (SELECT s.subscriber_id FROM session s JOIN subscriber u ON u.id = s.subscriber_id JOIN site p ON p.id = s.site_id
                  WHERE s.state <> 'ended' AND COALESCE(u.plan_id, p.plan_id) = $1)",
            plan,
        )?;
        execute!(
            self,
            "UPDATE session SET order_action = 'change', order_number = order_number + 1, order_attempts = 0, order_next_at = $2,
                 trouble = NULL
             WHERE state <> 'ended' AND (order_action IS NULL OR order_action <> 'end') AND id IN
                 (SELECT s.id FROM session s JOIN subscriber u ON u.id = s.subscriber_id JOIN site p ON p.id = s.site_id
                  WHERE s.state <> 'ended' AND COALESCE(u.plan_id, p.plan_id) = $1)",
            plan,
            now,
        )
    }

    /// The sessions of a gate that were granted up to `at` and are not over: what a restart of the gate at `at` ends.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_sessions_at(&mut self, nas: NasId, at: Timestamp) -> Result<Vec<SessionRow>> {
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            "SELECT * FROM session WHERE nas_id = $1 AND state <> 'ended' AND granted_at <= $2 ORDER BY id",
            nas,
            at,
        )
    }

    /// The sessions not heard of since: granted ones since `granted_before`, open ones since `open_before`, which is no later (`None`:
    /// not these). At most `most`, those silent longest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn silent_sessions(
        &mut self,
        granted_before: Option<Timestamp>,
        open_before: Option<Timestamp>,
        most: u32,
    ) -> Result<Vec<SessionRow>> {
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            "SELECT * FROM session
             WHERE state <> 'ended' AND heard_at < $1 AND (state = 'granted' OR heard_at < $2) ORDER BY heard_at, id LIMIT $3",
            granted_before,
            open_before,
            most,
        )
    }

    /// The sessions whose gate is to be asked for something by `now`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn ordered_sessions(&mut self, now: Timestamp, most: u32) -> Result<Vec<SessionRow>> {
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            "SELECT * FROM session WHERE order_action IS NOT NULL AND order_next_at <= $1 ORDER BY order_next_at, id LIMIT $2",
            now,
            most,
        )
    }

    /// Saves whatever of a session may change after its grant.
    ///
    /// # Errors
    /// The gate has another live session of that Acct-Session-Id, or the database failed.
    pub async fn save_session(&mut self, row: &SessionRow) -> Result<()> {
        if self.working.save_session(row) {
            return Ok(());
        }
        self.carried.get().forget(row.subscriber_id);
        tables::update_sessions(&mut self.db, &[row]).await
    }
}
