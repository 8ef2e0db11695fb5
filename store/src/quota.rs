//! Entitlements and the leases given out of them.

use kavadam_domain::plan::Window;
use kavadam_domain::quota::Lease;
use kavadam_domain::{EntitlementId, LeaseId, NasId, PlanId, SubscriberId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::gather::Numbered;
use crate::sql::{row, rows};
use crate::working::plus;
use crate::{Result, SessionRow, Tx};

row! {
    /// One subscriber's allowance for one period of one plan. The quota itself is the plan's.
    #[derive(Serialize, Deserialize)]
    pub struct EntitlementRow {
        /// Identifier.
        pub id: EntitlementId,
        /// Whose.
        pub subscriber_id: SubscriberId,
        /// Of which plan.
        pub plan_id: PlanId,
        /// First instant.
        pub window_start: Timestamp,
        /// First instant of the next one.
        pub window_end: Option<Timestamp>,
        /// Added by vouchers and administrators.
        pub topped_up_octets: u64,
        /// Charged.
        pub used_octets: u64,
    }
}

row! {
    /// Octets promised to a gate.
    #[derive(Serialize, Deserialize)]
    pub struct LeaseRow {
        /// Identifier.
        pub id: LeaseId,
        /// Whose.
        pub subscriber_id: SubscriberId,
        /// Out of which allowance.
        pub entitlement_id: EntitlementId,
        /// To which gate.
        pub nas_id: NasId,
        /// To all of the subscriber's sessions there, else to one.
        pub is_shared: bool,
        /// The lease before it, whose rest the gate may still let through: open as long as this one is.
        pub prior_id: Option<LeaseId>,
        /// Promised since it was made.
        pub granted_octets: u64,
        /// Used since.
        pub used_octets: u64,
        /// Over: what was not used has come back.
        pub is_closed: bool,
    }
}

/// Entitlements in the case given, with what is pending in sessions.
macro_rules! entitlement {
    ($case:literal) => {
        concat!(
            "SELECT e.id, e.subscriber_id, e.plan_id, e.window_start, e.window_end, e.topped_up_octets, CAST(e.used_octets + COALESCE(
                 (SELECT SUM(s.pending_octets) FROM session s
                  WHERE s.subscriber_id = e.subscriber_id AND s.ended_at IS NULL AND s.entitlement_id = e.id), 0) AS BIGINT) AS used_octets
             FROM entitlement e ",
            $case
        )
    };
}

/// Leases in the case given, likewise.
macro_rules! lease {
    ($case:literal) => {
        concat!(
            "SELECT l.id, l.subscriber_id, l.entitlement_id, l.nas_id, l.is_shared, l.prior_id, l.granted_octets, CAST(l.used_octets + COALESCE(
                 (SELECT SUM(s.pending_octets) FROM session s
                  WHERE s.subscriber_id = l.subscriber_id AND s.ended_at IS NULL AND s.lease_id = l.id), 0) AS BIGINT) AS used_octets,
                 l.is_closed
             FROM lease l ",
            $case
        )
    };
}

impl LeaseRow {
    /// The part of it that decides.
    #[must_use]
    pub const fn lease(&self) -> Lease {
        Lease {
            granted_octets: self.granted_octets,
            used_octets: self.used_octets,
        }
    }
}

impl Tx {
    /// The allowance of a period, made if this is its first use.
    ///
    /// # Errors
    /// The database failed.
    pub async fn ensure_entitlement(
        &mut self,
        subscriber: SubscriberId,
        plan: PlanId,
        window: Window,
    ) -> Result<EntitlementRow> {
        // Before the look, lest two make it at once.
        let is_held = self.hold(subscriber).await;
        if let Some(found) = self.entitlement_of(subscriber, plan, window).await? {
            return Ok(found);
        }
        is_held?;
        let made = EntitlementRow {
            id: EntitlementId(self.number(Numbered::Entitlements).await?),
            subscriber_id: subscriber,
            plan_id: plan,
            window_start: window.start,
            window_end: window.end,
            topped_up_octets: 0,
            used_octets: 0,
        };
        self.working.add_entitlement(made.clone(), true);
        Ok(made)
    }

    /// The allowance of a period, if it was used yet.
    ///
    /// # Errors
    /// The database failed.
    pub async fn entitlement_of(
        &mut self,
        subscriber: SubscriberId,
        plan: PlanId,
        window: Window,
    ) -> Result<Option<EntitlementRow>> {
        if let Some(mut known) = self.working.entitlements_of(subscriber)
            && let Some(found) = known.find(|row| row.plan_id == plan && row.window_start == window.start)
        {
            return Ok(Some(found.clone()));
        }
        let found: Option<EntitlementRow> = rows!(
            self,
            fetch_optional,
            entitlement!("WHERE e.subscriber_id = $1 AND e.plan_id = $2 AND e.window_start = $3"),
            subscriber,
            plan,
            window.start,
        )?;
        if let Some(row) = &found {
            self.working.add_entitlement(row.clone(), false);
        }
        Ok(found)
    }

    /// One allowance.
    ///
    /// # Errors
    /// The database failed.
    pub async fn entitlement(&mut self, id: EntitlementId) -> Result<Option<EntitlementRow>> {
        if let Some(row) = self.working.entitlement(id) {
            return Ok(Some(row.clone()));
        }
        let found: Option<EntitlementRow> = rows!(self, fetch_optional, entitlement!("WHERE e.id = $1"), id)?;
        if let Some(row) = &found {
            self.working.add_entitlement(row.clone(), false);
        }
        Ok(found)
    }

    /// Octets promised out of an allowance and not yet used, over all open leases.
    ///
    /// # Errors
    /// The database failed.
    pub async fn promised_octets(&mut self, entitlement: EntitlementId) -> Result<u64> {
        if let Some(octets) = self.working.promised_octets(entitlement) {
            return Ok(octets);
        }
        let open: Vec<LeaseRow> = rows!(
            self,
            fetch_all,
            lease!(
                "WHERE l.entitlement_id = $1 AND l.is_closed = FALSE
                     AND l.subscriber_id = (SELECT subscriber_id FROM entitlement WHERE id = $1)"
            ),
            entitlement,
        )?;
        let promised = open.iter().map(|row| row.lease().promised_octets());
        Ok(promised.fold(0, u64::saturating_add))
    }

    /// Charges octets of a session to an allowance and, where it has one, to the lease they came out of.
    ///
    /// # Errors
    /// The database failed.
    pub async fn charge(&mut self, session: &SessionRow, entitlement: EntitlementId, octets: u64) -> Result<()> {
        self.hold(session.subscriber_id).await?;
        let is_its_own = |known: &SessionRow| {
            known.entitlement_id == entitlement
                && (known.entitlement_id, known.lease_id) == (session.entitlement_id, session.lease_id)
        };
        if self.working.session(session.id).is_some_and(is_its_own) && self.working.charge_pending(session.id, octets) {
            return Ok(());
        }
        let charge = |row: &mut EntitlementRow| row.used_octets = plus(row.used_octets, octets);
        self.change_entitlement(entitlement, charge).await?;
        if let Some(lease) = session.lease_id {
            self.change_lease(lease, |row| row.used_octets = plus(row.used_octets, octets))
                .await?;
        }
        Ok(())
    }

    /// Adds octets to an allowance.
    ///
    /// # Errors
    /// The database failed.
    pub async fn top_up(&mut self, entitlement: EntitlementId, octets: u64) -> Result<()> {
        let top_up = |row: &mut EntitlementRow| row.topped_up_octets = plus(row.topped_up_octets, octets);
        self.change_entitlement(entitlement, top_up).await
    }

    /// The lease that a subscriber's live sessions at a gate share, as long as one of them is to go on: what is past its end, and only
    /// not yet reported so, has nothing to share.
    ///
    /// # Errors
    /// The database failed.
    pub async fn shared_lease(
        &mut self,
        subscriber: SubscriberId,
        nas: NasId,
        now: Timestamp,
    ) -> Result<Option<LeaseRow>> {
        if self.working.holds(subscriber) {
            return Ok(self.working.shared_lease(subscriber, nas, now).cloned());
        }
        rows!(
            self,
            fetch_optional,
            lease!(
                "WHERE l.is_closed = FALSE AND l.is_shared = TRUE AND l.nas_id = $2 AND l.id IN
                     (SELECT lease_id FROM session
                      WHERE subscriber_id = $1 AND ended_at IS NULL AND (ends_at IS NULL OR ends_at > $3))
                 ORDER BY l.id DESC LIMIT 1"
            ),
            subscriber,
            nas,
            now,
        )
    }

    /// One lease.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lease(&mut self, id: LeaseId) -> Result<Option<LeaseRow>> {
        if let Some(row) = self.working.lease(id) {
            return Ok(Some(row.clone()));
        }
        rows!(self, fetch_optional, lease!("WHERE l.id = $1"), id)
    }

    /// Makes a lease with what is promised, and used, to begin with.
    ///
    /// # Errors
    /// There is no such allowance, or the database failed.
    pub async fn add_lease(
        &mut self,
        entitlement: EntitlementId,
        nas: NasId,
        is_shared: bool,
        lease: Lease,
    ) -> Result<LeaseRow> {
        let owner = self.entitlement(entitlement).await?;
        let owner = owner.ok_or(sqlx::Error::RowNotFound)?.subscriber_id;
        let row = LeaseRow {
            id: LeaseId(self.number(Numbered::Leases).await?),
            subscriber_id: owner,
            entitlement_id: entitlement,
            nas_id: nas,
            is_shared,
            prior_id: None,
            granted_octets: lease.granted_octets,
            used_octets: lease.used_octets,
            is_closed: false,
        };
        self.hold(owner).await?;
        self.working.add_lease(row.clone(), true);
        Ok(row)
    }

    /// Makes a lease that follows on from another, which stays promised as long as this one is open.
    ///
    /// # Errors
    /// There is no such lease, or the database failed.
    pub async fn follow_lease(&mut self, prior: LeaseId, lease: Lease) -> Result<LeaseRow> {
        let before = self.lease(prior).await?.ok_or(sqlx::Error::RowNotFound)?;
        self.hold(before.subscriber_id).await?;
        let row = LeaseRow {
            id: LeaseId(self.number(Numbered::Leases).await?),
            prior_id: Some(prior),
            granted_octets: lease.granted_octets,
            used_octets: lease.used_octets,
            is_closed: false,
            ..before
        };
        self.working.add_lease(row.clone(), true);
        Ok(row)
    }

    /// Promises more under a lease; `carried_octets` of that were used before they came under it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn extend_lease(&mut self, id: LeaseId, granted_octets: u64, carried_octets: u64) -> Result<()> {
        let extend = |row: &mut LeaseRow| {
            row.granted_octets = plus(row.granted_octets, granted_octets);
            row.used_octets = plus(row.used_octets, carried_octets);
        };
        self.change_lease(id, extend).await
    }

    /// Counts a lease and its live sessions against another allowance from now on: a new period, or another plan. Those past their end
    /// stay with what they had.
    ///
    /// # Errors
    /// The database failed.
    pub async fn move_lease(&mut self, id: LeaseId, to: EntitlementId, now: Timestamp) -> Result<()> {
        let goes_on = |row: &SessionRow| row.ends_at.is_none_or(|end| end > now);
        for mut session in self.live_sessions_under(id).await?.into_iter().filter(goes_on) {
            session.entitlement_id = to;
            self.save_session(&session).await?;
        }
        self.change_leases(id, |row| row.entitlement_id = to).await
    }

    /// Ends a lease: what was not used has come back.
    ///
    /// # Errors
    /// The database failed.
    pub async fn close_lease(&mut self, id: LeaseId) -> Result<()> {
        self.change_leases(id, |row| row.is_closed = true).await
    }

    /// Takes the end of a lease back: what was not used is promised again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn reopen_lease(&mut self, id: LeaseId) -> Result<()> {
        self.change_leases(id, |row| row.is_closed = false).await
    }

    /// A lease and those before it.
    async fn change_leases(&mut self, id: LeaseId, change: impl Fn(&mut LeaseRow)) -> Result<()> {
        let mut next = Some(id);
        while let Some(id) = next {
            self.change_lease(id, &change).await?;
            next = self.lease(id).await?.and_then(|row| row.prior_id);
        }
        Ok(())
    }

    async fn change_entitlement(&mut self, id: EntitlementId, change: impl Fn(&mut EntitlementRow)) -> Result<()> {
        if self.working.change_entitlement(id, &change) {
            return Ok(());
        }
        let Some(row) = self.entitlement(id).await? else {
            return Ok(());
        };
        self.hold(row.subscriber_id).await?;
        // What was read without holding its owner may be out of date: once more, into the working set.
        self.entitlement(id).await?;
        self.working.change_entitlement(id, &change);
        Ok(())
    }

    async fn change_lease(&mut self, id: LeaseId, change: impl Fn(&mut LeaseRow)) -> Result<()> {
        if self.working.change_lease(id, &change) {
            return Ok(());
        }
        let Some(row) = self.lease(id).await? else {
            return Ok(());
        };
        self.hold(row.subscriber_id).await?;
        if self.working.lease(id).is_none() {
            // It was closed; it may be open from now on.
            let row = self.lease(id).await?;
            self.working.add_lease(row.ok_or(sqlx::Error::RowNotFound)?, false);
        }
        self.working.change_lease(id, &change);
        Ok(())
    }
}
