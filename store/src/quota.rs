//! Entitlements and the leases given out of them.

use kavadam_domain::plan::Window;
use kavadam_domain::quota::Lease;
use kavadam_domain::{EntitlementId, LeaseId, NasId, PlanId, SubscriberId, Timestamp};

use crate::sql::{Figure, execute, row, rows};
use crate::{Result, Tx};

row! {
    /// One subscriber's allowance for one period of one plan. The quota itself is the plan's.
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
    pub struct LeaseRow {
        /// Identifier.
        pub id: LeaseId,
        /// Out of which allowance.
        pub entitlement_id: EntitlementId,
        /// To which gate.
        pub nas_id: NasId,
        /// To all of the subscriber's sessions there, else to one.
        pub is_shared: bool,
        /// Promised since it was made.
        pub granted_octets: u64,
        /// Used since.
        pub used_octets: u64,
        /// Over: what was not used has come back.
        pub is_closed: bool,
    }
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

/// A figure that stands still at the largest rather than overflow: an error would be one for ever.
macro_rules! plus {
    ($column:literal, $more:literal) => {
        concat!(
            "CASE WHEN ",
            $column,
            " > 9223372036854775807 - ",
            $more,
            " THEN 9223372036854775807 ELSE ",
            $column,
            " + ",
            $more,
            " END"
        )
    };
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
        if let Some(found) = self.entitlement_of(subscriber, plan, window).await? {
            return Ok(found);
        }
        rows!(
            self,
            fetch_one,
            "INSERT INTO entitlement (subscriber_id, plan_id, window_start, window_end) VALUES ($1, $2, $3, $4)
             ON CONFLICT (subscriber_id, plan_id, window_start) DO UPDATE SET window_end = excluded.window_end
             RETURNING *",
            subscriber,
            plan,
            window.start,
            window.end,
        )
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
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM entitlement WHERE subscriber_id = $1 AND plan_id = $2 AND window_start = $3",
            subscriber,
            plan,
            window.start,
        )
    }

    /// One allowance.
    ///
    /// # Errors
    /// The database failed.
    pub async fn entitlement(&mut self, id: EntitlementId) -> Result<Option<EntitlementRow>> {
        rows!(self, fetch_optional, "SELECT * FROM entitlement WHERE id = $1", id)
    }

    /// Octets promised out of an allowance and not yet used, over all open leases.
    ///
    /// # Errors
    /// The database failed.
    pub async fn promised_octets(&mut self, entitlement: EntitlementId) -> Result<u64> {
        let sum: Figure = rows!(
            self,
            fetch_one,
            "SELECT CAST(COALESCE(SUM(granted_octets - used_octets), 0) AS BIGINT) AS figure FROM lease
             WHERE entitlement_id = $1 AND is_closed = FALSE AND granted_octets > used_octets",
            entitlement,
        )?;
        Ok(sum.figure)
    }

    /// Charges octets to an allowance and, where there is one, to the lease they came out of.
    ///
    /// # Errors
    /// The database failed.
    pub async fn charge(&mut self, entitlement: EntitlementId, lease: Option<LeaseId>, octets: u64) -> Result<()> {
        execute!(
            self,
            concat!(
                "UPDATE entitlement SET used_octets = ",
                plus!("used_octets", "$2"),
                " WHERE id = $1"
            ),
            entitlement,
            octets
        )?;
        if let Some(lease) = lease {
            execute!(
                self,
                concat!(
                    "UPDATE lease SET used_octets = ",
                    plus!("used_octets", "$2"),
                    " WHERE id = $1"
                ),
                lease,
                octets
            )?;
        }
        Ok(())
    }

    /// Adds octets to an allowance.
    ///
    /// # Errors
    /// The database failed.
    pub async fn top_up(&mut self, entitlement: EntitlementId, octets: u64) -> Result<()> {
        execute!(
            self,
            concat!(
                "UPDATE entitlement SET topped_up_octets = ",
                plus!("topped_up_octets", "$2"),
                " WHERE id = $1"
            ),
            entitlement,
            octets
        )?;
        Ok(())
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
        rows!(
            self,
            fetch_optional,
            "SELECT l.* FROM lease l
             WHERE l.is_closed = FALSE AND l.is_shared = TRUE AND l.nas_id = $2 AND l.id IN
                 (SELECT lease_id FROM session WHERE subscriber_id = $1 AND state <> 'ended' AND (ends_at IS NULL OR ends_at > $3))
             ORDER BY l.id DESC LIMIT 1",
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
        rows!(self, fetch_optional, "SELECT * FROM lease WHERE id = $1", id)
    }

    /// Makes a lease with what is promised, and used, to begin with.
    ///
    /// # Errors
    /// The database failed.
    pub async fn add_lease(
        &mut self,
        entitlement: EntitlementId,
        nas: NasId,
        is_shared: bool,
        lease: Lease,
    ) -> Result<LeaseRow> {
        rows!(
            self,
            fetch_one,
            "INSERT INTO lease (entitlement_id, nas_id, is_shared, granted_octets, used_octets) VALUES ($1, $2, $3, $4, $5)
             RETURNING *",
            entitlement,
            nas,
            is_shared,
            lease.granted_octets,
            lease.used_octets,
        )
    }

    /// Promises more under a lease; `carried_octets` of that were used before they came under it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn extend_lease(&mut self, id: LeaseId, granted_octets: u64, carried_octets: u64) -> Result<()> {
        execute!(
            self,
            concat!(
                "UPDATE lease SET granted_octets = ",
                plus!("granted_octets", "$2"),
                ", used_octets = ",
                plus!("used_octets", "$3"),
                " WHERE id = $1"
            ),
            id,
            granted_octets,
            carried_octets,
        )?;
        Ok(())
    }

    /// Counts a lease and its live sessions against another allowance from now on: a new period, or another plan. Those past their end
    /// stay with what they had.
    ///
    /// # Errors
    /// The database failed.
    pub async fn move_lease(&mut self, id: LeaseId, to: EntitlementId, now: Timestamp) -> Result<()> {
        execute!(self, "UPDATE lease SET entitlement_id = $2 WHERE id = $1", id, to)?;
        execute!(
            self,
            "UPDATE session SET entitlement_id = $2 WHERE lease_id = $1 AND state <> 'ended' AND (ends_at IS NULL OR ends_at > $3)",
            id,
            to,
            now,
        )?;
        Ok(())
    }

    /// Ends a lease: what was not used has come back.
    ///
    /// # Errors
    /// The database failed.
    pub async fn close_lease(&mut self, id: LeaseId) -> Result<()> {
        execute!(self, "UPDATE lease SET is_closed = TRUE WHERE id = $1", id)?;
        Ok(())
    }

    /// Takes the end of a lease back: what was not used is promised again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn reopen_lease(&mut self, id: LeaseId) -> Result<()> {
        execute!(self, "UPDATE lease SET is_closed = FALSE WHERE id = $1", id)?;
        Ok(())
    }
}
