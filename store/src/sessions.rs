//! Keeping sessions, and those that something concerns.

use std::collections::BTreeSet;

use kavadam_domain::session::SessionState;
use kavadam_domain::{LeaseId, Mac, NasId, PlanId, SessionId, SiteId, SubscriberId, Timestamp};

use crate::gather::Numbered;
use crate::many;
use crate::sql::{execute, row, rows};
use crate::{NewSession, Result, SessionRow, Tx};

/// Sessions that are over, looked at for whose a device was: of a day, whatever moves about.
const LAST_ENDED: u32 = 256;
/// Sessions taken for ended of one person, whose gates are told that they are to end.
const LAST_PRESUMED: u32 = 16;
/// Live sessions changed by one statement.
const CHANGED_AT_ONCE: u32 = 4096;

row! {
    struct Portion {
        last: Option<SubscriberId>,
    }
}

row! {
    /// A session whose gate is to be asked for something.
    pub struct DueOrder {
        /// Which.
        pub id: SessionId,
        /// Its gate.
        pub nas_id: NasId,
    }
}

row! {
    /// A live session, and when it was last heard of.
    pub struct Heard {
        /// Which.
        pub id: SessionId,
        /// Whose.
        pub subscriber_id: SubscriberId,
        /// At which gate.
        pub nas_id: NasId,
        /// Granted or open.
        pub state: SessionState,
        /// Our time of its last report or request.
        pub heard_at: Timestamp,
    }
}

impl Tx {
    /// Grants a session.
    ///
    /// # Errors
    /// The gate has a live session of that Acct-Session-Id (on PostgreSQL the commit may tell), or the database failed.
    pub async fn add_session(&mut self, new: &NewSession) -> Result<SessionRow> {
        self.hold(new.subscriber_id).await?;
        self.claim_name(None, new.nas_id, new.acct_session_id.as_deref())
            .await?;
        let row = new.row(SessionId(self.number(Numbered::Sessions).await?));
        self.working.add_session(row.clone());
        Ok(row)
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

    /// The last session of a device at a site, of whoever it is known to have been with. Of what is over, the last of each owner are looked at,
    /// whatever the device and the site: there is no index over these, and who moves about has had thousands elsewhere.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_session_of_device(&mut self, site: SiteId, mac: Mac) -> Result<Option<SessionRow>> {
        self.settle().await?;
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM session WHERE id IN
                 (SELECT (SELECT s.id FROM
                              (SELECT id, site_id, mac, granted_at FROM session
                               WHERE subscriber_id = d.subscriber_id AND ended_at IS NOT NULL
                               ORDER BY granted_at DESC LIMIT $3) AS s
                          WHERE s.site_id = $1 AND s.mac = $2
                          ORDER BY s.granted_at DESC LIMIT 1)
                  FROM device d WHERE d.mac = $2
                  UNION ALL
                  SELECT s.id FROM device d JOIN session s ON s.subscriber_id = d.subscriber_id AND s.ended_at IS NULL
                  WHERE d.mac = $2 AND s.site_id = $1 AND s.mac = $2)
             ORDER BY granted_at DESC, id DESC LIMIT 1",
            site,
            mac,
            LAST_ENDED,
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
            "SELECT * FROM session WHERE subscriber_id = $1 AND ended_at IS NULL ORDER BY id",
            subscriber,
        )
    }

    /// The last of a subscriber's sessions that were taken for ended since a time, and would not be over by themselves.
    ///
    /// # Errors
    /// The database failed.
    pub async fn presumed_ended_of(
        &mut self,
        subscriber: SubscriberId,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<SessionRow>> {
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            "SELECT * FROM session
             WHERE subscriber_id = $1 AND ended_at >= $2 AND is_presumed_ended = TRUE AND (ends_at IS NULL OR ends_at > $3)
             ORDER BY granted_at DESC LIMIT $4",
            subscriber,
            since,
            now,
            LAST_PRESUMED,
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
            "SELECT * FROM session WHERE lease_id = $1 AND ended_at IS NULL ORDER BY id",
            lease
        )
    }

    /// Asks for new limits for the live sessions of everybody whose plan this is, by their own or by the site's. Tells how many. On
    /// PostgreSQL it holds all of them until the transaction ends, and keeps no report of this instant from undoing it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn order_change_on_plan(&mut self, plan: PlanId, now: Timestamp) -> Result<u64> {
        self.be_patient();
        self.settle_and_forget().await?;
        execute!(
            self,
            "UPDATE subscriber SET holder = NULL WHERE holder IS NOT NULL AND id IN
                 (SELECT s.subscriber_id FROM session s JOIN subscriber u ON u.id = s.subscriber_id JOIN site p ON p.id = s.site_id
                  WHERE s.ended_at IS NULL AND COALESCE(u.plan_id, p.plan_id) = $1)",
            plan,
        )?;
        let mut from = SubscriberId(0);
        let mut ordered = 0;
        // SQLite keeps each page that a statement changes in memory, should its last row fail.
        while let Some(next) = self.portion_of_live(from).await? {
            ordered += execute!(
                self,
                "UPDATE session SET order_action = 'change', order_number = order_number + 1, order_attempts = 0, order_next_at = $2,
                     trouble = NULL
                 WHERE ended_at IS NULL AND (order_action IS NULL OR order_action <> 'end') AND id IN
                     (SELECT s.id FROM session s JOIN subscriber u ON u.id = s.subscriber_id JOIN site p ON p.id = s.site_id
                      WHERE s.ended_at IS NULL AND s.subscriber_id > $3 AND s.subscriber_id <= $4
                          AND COALESCE(u.plan_id, p.plan_id) = $1)",
                plan,
                now,
                from,
                next,
            )?;
            from = next;
        }
        Ok(ordered)
    }

    /// Up to whom those who are online behind somebody are changed in one statement.
    async fn portion_of_live(&mut self, from: SubscriberId) -> Result<Option<SubscriberId>> {
        let last: Portion = rows!(
            self,
            fetch_one,
            "SELECT MAX(subscriber_id) AS last FROM
                 (SELECT subscriber_id FROM session WHERE ended_at IS NULL AND subscriber_id > $1 ORDER BY subscriber_id LIMIT $2) AS s",
            from,
            CHANGED_AT_ONCE,
        )?;
        Ok(last.last)
    }

    /// The sessions of a gate that are not over.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_sessions_at(&mut self, nas: NasId) -> Result<Vec<SessionRow>> {
        self.begin().await?;
        self.settle().await?;
        let live: Option<BTreeSet<SessionId>> = self.carried.get().live_at(nas).map(Iterator::collect);
        if let Some(mut ids) = live {
            ids.extend(self.working.sessions_at(nas));
            let ids: Vec<SessionId> = ids.into_iter().collect();
            let mut found = many::sessions(&mut self.db, &ids).await?;
            found.retain(|row| row.nas_id == nas && row.ended_at.is_none());
            found.sort_unstable_by_key(|row| row.id);
            return Ok(found);
        }
        rows!(
            self,
            fetch_all,
            "SELECT * FROM session WHERE nas_id = $1 AND ended_at IS NULL ORDER BY +id",
            nas,
        )
    }

    /// When live sessions were last heard of: those of the subscribers from `from` on, in the order of these, at most `most`. There is no index
    /// over the times, which every report would write.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_sessions_from(&mut self, from: SubscriberId, most: u32) -> Result<Vec<Heard>> {
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            "SELECT id, subscriber_id, nas_id, state, heard_at FROM session
             WHERE ended_at IS NULL AND subscriber_id >= $1 ORDER BY subscriber_id LIMIT $2",
            from,
            most,
        )
    }

    /// Live sessions of whoever has this plan, by their own or by the site's, as [`Tx::live_sessions_from`] tells them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_sessions_on_plan(&mut self, plan: PlanId, from: SubscriberId, most: u32) -> Result<Vec<Heard>> {
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            // Not joined: PostgreSQL would begin with all subscribers at all sites.
            "SELECT s.id, s.subscriber_id, s.nas_id, s.state, s.heard_at FROM session s
             WHERE s.ended_at IS NULL AND s.subscriber_id >= $2
                 AND COALESCE((SELECT u.plan_id FROM subscriber u WHERE u.id = s.subscriber_id),
                              (SELECT p.plan_id FROM site p WHERE p.id = s.site_id)) = $1
             ORDER BY s.subscriber_id LIMIT $3",
            plan,
            from,
            most,
        )
    }

    /// Live sessions at a site, as [`Tx::live_sessions_from`] tells them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_sessions_at_site_from(
        &mut self,
        site: SiteId,
        from: SubscriberId,
        most: u32,
    ) -> Result<Vec<Heard>> {
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            "SELECT id, subscriber_id, nas_id, state, heard_at FROM session
             WHERE ended_at IS NULL AND subscriber_id >= $2 AND site_id = $1 ORDER BY subscriber_id LIMIT $3",
            site,
            from,
            most,
        )
    }

    /// The sessions whose gate is to be asked for something by `now`, or put off for longer than `beyond`: of each gate the `most_per_gate` due longest, and of all gates at
    /// most `most`, the first of every gate before the second of any. However much is due at one gate, it hides nothing of another.
    ///
    /// # Errors
    /// The database failed.
    pub async fn due_orders(
        &mut self,
        now: Timestamp,
        beyond: Timestamp,
        most_per_gate: u32,
        most: u32,
    ) -> Result<Vec<DueOrder>> {
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            "SELECT id, nas_id FROM
                 (SELECT id, nas_id, order_next_at, ROW_NUMBER() OVER (PARTITION BY nas_id ORDER BY order_next_at, id) AS place
                  FROM (SELECT id, nas_id, order_next_at FROM session WHERE order_action IS NOT NULL AND order_next_at <= $1
                        UNION ALL
                        SELECT id, nas_id, order_next_at FROM session WHERE order_action IS NOT NULL AND order_next_at > $4) AS waiting
                 ) AS due
             WHERE place <= $2 ORDER BY place, order_next_at, id LIMIT $3",
            now,
            most_per_gate,
            most,
            beyond,
        )
    }

    /// Saves whatever of a session may change after its grant.
    ///
    /// # Errors
    /// The gate has another live session of that Acct-Session-Id, or the database failed.
    pub async fn save_session(&mut self, row: &SessionRow) -> Result<()> {
        self.hold(row.subscriber_id).await?;
        let was = self.working.session(row.id);
        let is_named_anew =
            was.is_none_or(|was| was.state == SessionState::Ended || was.acct_session_id != row.acct_session_id);
        if is_named_anew && row.state != SessionState::Ended {
            let name = row.acct_session_id.as_deref();
            self.claim_name(Some(row.id), row.nas_id, name).await?;
        }
        self.working.save_session(row);
        Ok(())
    }
}
