//! Vouchers.

use kavadam_domain::{PlanId, SubscriberId, Timestamp};

use crate::sql::{Figure, execute, row, rows};
use crate::{Result, Tx};

row! {
    /// A voucher: octets, a plan, or both. Its code is known to whoever holds it, and to nobody else.
    pub struct VoucherRow {
        /// Identifier.
        pub id: i64,
        /// Keyed hash of the code.
        pub code_hash: [u8; 32],
        /// The administrator's name for the lot.
        pub label: String,
        /// Added to the present period.
        pub octets: Option<u64>,
        /// Becomes the subscriber's plan.
        pub plan_id: Option<PlanId>,
        /// When it was made.
        pub created_at: Timestamp,
        /// After this it is no use.
        pub expires_at: Option<Timestamp>,
        /// When it was used.
        pub used_at: Option<Timestamp>,
        /// By whom.
        pub used_by: Option<SubscriberId>,
    }
}

/// A voucher about to be made; see [`VoucherRow`].
#[derive(Debug, Clone)]
pub struct NewVoucher {
    /// Keyed hash of the code.
    pub code_hash: [u8; 32],
    /// The administrator's name for the lot.
    pub label: String,
    /// Added to the present period.
    pub octets: Option<u64>,
    /// Becomes the subscriber's plan.
    pub plan_id: Option<PlanId>,
    /// After this it is no use.
    pub expires_at: Option<Timestamp>,
}

impl Tx {
    /// Makes a voucher.
    ///
    /// # Errors
    /// That code exists ([`crate::Error::is_conflict`]), or the database failed.
    pub async fn add_voucher(&mut self, new: &NewVoucher, now: Timestamp) -> Result<()> {
        execute!(
            self,
            "INSERT INTO voucher (code_hash, label, octets, plan_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
            new.code_hash,
            new.label,
            new.octets,
            new.plan_id,
            now,
            new.expires_at,
        )?;
        Ok(())
    }

    /// Every voucher, or those of a lot; the newest first, at most `most`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn vouchers(&mut self, label: Option<&str>, most: u32) -> Result<Vec<VoucherRow>> {
        // Two statements: of one for both, the index over the lots would be of no use.
        let Some(label) = label else {
            return rows!(self, fetch_all, "SELECT * FROM voucher ORDER BY id DESC LIMIT $1", most);
        };
        rows!(
            self,
            fetch_all,
            "SELECT * FROM voucher WHERE label = $1 ORDER BY id DESC LIMIT $2",
            label,
            most,
        )
    }

    /// Uses a voucher up for a subscriber, if it is unused and has not expired.
    ///
    /// # Errors
    /// The database failed.
    pub async fn use_voucher(
        &mut self,
        code_hash: &[u8; 32],
        subscriber: SubscriberId,
        now: Timestamp,
    ) -> Result<Option<VoucherRow>> {
        rows!(
            self,
            fetch_optional,
            "UPDATE voucher SET used_at = $2, used_by = $3
             WHERE code_hash = $1 AND used_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
             RETURNING *",
            code_hash,
            now,
            subscriber,
        )
    }

    /// The voucher of a code.
    ///
    /// # Errors
    /// The database failed.
    pub async fn voucher_coded(&mut self, code_hash: &[u8; 32]) -> Result<Option<VoucherRow>> {
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM voucher WHERE code_hash = $1",
            code_hash
        )
    }

    /// One voucher.
    ///
    /// # Errors
    /// The database failed.
    pub async fn voucher(&mut self, id: i64) -> Result<Option<VoucherRow>> {
        rows!(self, fetch_optional, "SELECT * FROM voucher WHERE id = $1", id)
    }

    /// Has a voucher expire now, if it is still good. Tells whether it was.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expire_voucher(&mut self, id: i64, now: Timestamp) -> Result<bool> {
        let expired = execute!(
            self,
            "UPDATE voucher SET expires_at = $2
             WHERE id = $1 AND used_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
            id,
            now,
        )?;
        Ok(expired == 1)
    }

    /// Has all of a lot expire now that are still good. Tells how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expire_vouchers(&mut self, label: &str, now: Timestamp) -> Result<u64> {
        execute!(
            self,
            "UPDATE voucher SET expires_at = $2
             WHERE label = $1 AND used_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
            label,
            now,
        )
    }

    /// How many vouchers that are still good would give this plan.
    ///
    /// # Errors
    /// The database failed.
    pub async fn good_vouchers_for(&mut self, plan: PlanId, now: Timestamp) -> Result<u64> {
        let count: Figure = rows!(
            self,
            fetch_one,
            "SELECT COUNT(*) AS figure FROM voucher
             WHERE plan_id = $1 AND used_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
            plan,
            now,
        )?;
        Ok(count.figure)
    }
}
