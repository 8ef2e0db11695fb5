//! What is kept for the record: administrators' acts, and reports that belong to no session of ours.

use std::net::IpAddr;

use kavadam_domain::{Mac, NasId, Timestamp};

use crate::sql::{execute, row, rows};
use crate::{Result, Tx};

row! {
    /// An administrator's act.
    pub struct AuditRow {
        /// Identifier.
        pub id: i64,
        /// When.
        pub at: Timestamp,
        /// Who.
        pub actor: String,
        /// What, such as `plan.set`.
        pub action: String,
        /// To what.
        pub subject: String,
        /// How it was set.
        pub detail: String,
    }
}

row! {
    /// How many reports of a gate belonged to no session.
    pub struct UnknownRow {
        /// Which gate.
        pub nas_id: NasId,
        /// Reports kept.
        pub figure: u64,
    }
}

/// An accounting report that belongs to no session of ours.
#[derive(Debug, Clone)]
pub struct UnknownReport {
    /// Which gate.
    pub nas_id: NasId,
    /// Acct-Session-Id.
    pub acct_session_id: String,
    /// Acct-Status-Type in a word.
    pub kind: String,
    /// The gate's time of it.
    pub at: Timestamp,
    /// Class.
    pub class: Option<Vec<u8>>,
    /// User-Name.
    pub user_name: Option<String>,
    /// The device.
    pub mac: Option<Mac>,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// From the device.
    pub up_octets: u64,
    /// To the device.
    pub down_octets: u64,
    /// Acct-Session-Time.
    pub session_secs: u32,
}

/// Unknown reports kept of one gate: a gate that has lost its way must not fill the disk.
const MOST_UNKNOWN_REPORTS: u32 = 2_000;

impl Tx {
    /// Records an act.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record_audit(
        &mut self,
        actor: &str,
        action: &str,
        subject: &str,
        detail: &str,
        now: Timestamp,
    ) -> Result<()> {
        execute!(
            self,
            "INSERT INTO audit (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)",
            now,
            actor,
            action,
            subject,
            detail,
        )?;
        Ok(())
    }

    /// The last acts, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn audits(&mut self, most: u32) -> Result<Vec<AuditRow>> {
        rows!(self, fetch_all, "SELECT * FROM audit ORDER BY id DESC LIMIT $1", most)
    }

    /// Keeps a report that belongs to no session; the same one again changes nothing. [`Tx::prune_unknown_reports`] bounds them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn keep_unknown_report(&mut self, report: &UnknownReport, now: Timestamp) -> Result<()> {
        execute!(
            self,
            "INSERT INTO unknown_report (nas_id, acct_session_id, kind, at, received_at, class, user_name, mac, ip, up_octets,
                 down_octets, session_secs)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (nas_id, acct_session_id, kind, at) DO NOTHING",
            report.nas_id,
            report.acct_session_id,
            report.kind,
            report.at,
            now,
            report.class,
            report.user_name,
            report.mac,
            report.ip,
            report.up_octets,
            report.down_octets,
            report.session_secs,
        )?;
        Ok(())
    }

    /// Deletes the oldest reports of a gate that belonged to no session, but for the newest 2,000. Looks at all of that gate's: not to be
    /// done with each report.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prune_unknown_reports(&mut self, nas: NasId) -> Result<()> {
        execute!(
            self,
            "DELETE FROM unknown_report WHERE nas_id = $1 AND id <=
                 (SELECT id FROM unknown_report WHERE nas_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)",
            nas,
            MOST_UNKNOWN_REPORTS,
        )?;
        Ok(())
    }

    /// Deletes reports that belonged to no session and came before `before`, at most `most`. Tells how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_unknown_reports(&mut self, before: Timestamp, most: u32) -> Result<u64> {
        self.be_patient();
        execute!(
            self,
            "DELETE FROM unknown_report WHERE id IN
                 (SELECT id FROM unknown_report WHERE received_at < $1 ORDER BY received_at LIMIT $2)",
            before,
            most,
        )
    }

    /// How many reports are kept that belonged to no session, of every gate that sent some.
    ///
    /// # Errors
    /// The database failed.
    pub async fn unknown_reports_by_nas(&mut self) -> Result<Vec<UnknownRow>> {
        rows!(
            self,
            fetch_all,
            "SELECT nas_id, COUNT(*) AS figure FROM unknown_report GROUP BY nas_id ORDER BY nas_id",
        )
    }
}
