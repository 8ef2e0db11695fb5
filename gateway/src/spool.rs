//! What must outlive us, in a file of its own: reports on their way, and who the kernel's sessions are.
//!
//! A commit is on disk when it returns (WAL, synchronous FULL). A later report of a session replaces an Interim of it that has
//! not been sent, so that a long outage costs a few rows for each session and no more. What no server takes, and what cannot be
//! read, is parked in a table of its own: kept for whoever looks into it, and in nobody's way.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kavadam_domain::Mac;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row as _, SqliteConnection};

use crate::core::SessionRow;
use crate::report::{Kind, Report};

/// Reports that may wait; beyond it Interims are dropped that take no other's place, which later reports make good. Starts and Stops never are.
const MOST_WAITING: u64 = 1_000_000;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS report (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session TEXT NOT NULL,
        is_interim INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS report_of_session ON report (session) WHERE is_interim = 1;
    CREATE TABLE IF NOT EXISTS parked (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        reason TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// The file failed.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// SQLite.
    #[error("the spool cannot be used: {0}. Remedy: look for a full disk or wrong permissions in the state directory")]
    Database(#[from] sqlx::Error),
    /// A row that we did not write.
    #[error("the spool holds something we did not write: {0}")]
    Content(#[from] serde_json::Error),
}

/// A report with its place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Grows; never used twice.
    pub id: i64,
    /// What to deliver.
    pub report: Report,
}

/// Changes to be committed together.
#[derive(Debug, Default)]
pub struct Changes {
    /// To be delivered.
    pub reports: Vec<Report>,
    /// To be kept.
    pub saved: Vec<SessionRow>,
    /// Acct-Session-Ids to be kept no longer.
    pub forgotten: Vec<String>,
}

impl Changes {
    /// Nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.saved.is_empty() && self.forgotten.is_empty()
    }

    /// Leaves out what a later change replaces, so that a file that fails for hours costs memory for each session only.
    pub fn compact(&mut self) {
        let mut later: HashSet<String> = HashSet::new();
        self.reports.reverse();
        self.reports
            .retain(|report| later.insert(report.id.clone()) || report.kind != Kind::Interim);
        self.reports.reverse();
        let mut later: HashSet<String> = self.forgotten.iter().cloned().collect();
        self.saved.reverse();
        self.saved.retain(|row| later.insert(row.id.clone()));
        self.saved.reverse();
    }
}

/// What a commit did.
#[derive(Debug, Default)]
pub struct Committed {
    /// Reports with their places.
    pub waiting: Vec<Waiting>,
    /// Places of Interims that were replaced.
    pub replaced: Vec<i64>,
}

/// The file; cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool {
    pool: SqlitePool,
    /// Reports that wait.
    count: Arc<AtomicU64>,
}

impl Spool {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// [`SpoolError`]: no permission, no room, or no SQLite file.
    pub async fn open(path: &Path) -> Result<Self, SpoolError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM report")
            .fetch_one(&pool)
            .await?;
        let count = Arc::new(AtomicU64::new(u64::try_from(count).unwrap_or(0)));
        Ok(Self { pool, count })
    }

    /// Commits all or nothing. `in_flight` are places that are being sent and so cannot be replaced.
    ///
    /// # Errors
    /// [`SpoolError`]: then nothing has changed.
    pub async fn commit(&self, changes: &Changes, in_flight: &[i64]) -> Result<Committed, SpoolError> {
        let mut tx = self.pool.begin().await?;
        let mut done = Committed::default();
        let waiting = self.count.load(Ordering::Relaxed);
        for report in &changes.reports {
            let mut report = report.clone();
            let replaced = if report.id.is_empty() {
                Vec::new()
            } else {
                replace_interims(&mut tx, &mut report, in_flight).await?
            };
            let takes_a_place = !replaced.is_empty();
            done.replaced.extend(replaced);
            if report.kind == Kind::Interim && waiting > MOST_WAITING && !takes_a_place {
                continue;
            }
            let id = sqlx::query("INSERT INTO report (session, is_interim, body) VALUES ($1, $2, $3)")
                .bind(&report.id)
                .bind(report.kind == Kind::Interim)
                .bind(serde_json::to_string(&report)?)
                .execute(&mut *tx)
                .await?
                .last_insert_rowid();
            done.waiting.push(Waiting { id, report });
        }
        for row in &changes.saved {
            sqlx::query(
                "INSERT INTO session (id, body) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            )
            .bind(&row.id)
            .bind(serde_json::to_string(row)?)
            .execute(&mut *tx)
            .await?;
        }
        for id in &changes.forgotten {
            sqlx::query("DELETE FROM session WHERE id = $1")
                .bind(id)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        self.count.fetch_add(done.waiting.len() as u64, Ordering::Relaxed);
        self.forget_count(done.replaced.len() as u64);
        Ok(done)
    }

    fn forget_count(&self, gone: u64) {
        let less = |count: u64| Some(count.saturating_sub(gone));
        let _ = self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Every report that waits, in order. One that cannot be read is parked.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn waiting(&self) -> Result<Vec<Waiting>, SpoolError> {
        let rows = sqlx::query("SELECT id, body FROM report ORDER BY id")
            .fetch_all(&self.pool)
            .await?;
        let mut waiting = Vec::with_capacity(rows.len());
        for row in rows {
            let id = row.try_get(0)?;
            match serde_json::from_str(row.try_get(1)?) {
                Ok(report) => waiting.push(Waiting { id, report }),
                Err(error) => self.park(id, &format!("cannot be read: {error}")).await?,
            }
        }
        Ok(waiting)
    }

    /// Every session that is kept. One that cannot be read is parked, and its session, should it be there, ends.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn sessions(&self) -> Result<Vec<SessionRow>, SpoolError> {
        let rows = sqlx::query("SELECT id, body FROM session")
            .fetch_all(&self.pool)
            .await?;
        let mut sessions = Vec::with_capacity(rows.len());
        for row in rows {
            let (id, body): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            match serde_json::from_str(body) {
                Ok(session) => sessions.push(session),
                Err(error) => {
                    let mut tx = self.pool.begin().await?;
                    sqlx::query("INSERT INTO parked (reason, body) VALUES ($1, $2)")
                        .bind(format!("session cannot be read: {error}"))
                        .bind(body)
                        .execute(&mut *tx)
                        .await?;
                    sqlx::query("DELETE FROM session WHERE id = $1")
                        .bind(id)
                        .execute(&mut *tx)
                        .await?;
                    tx.commit().await?;
                    tracing::error!(session.id = id, "a session's record cannot be read and was parked");
                }
            }
        }
        Ok(sessions)
    }

    /// Takes a report out of the order and keeps it aside, with the reason.
    ///
    /// # Errors
    /// [`SpoolError`]: then it still waits.
    pub async fn park(&self, id: i64, reason: &str) -> Result<(), SpoolError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("INSERT INTO parked (reason, body) SELECT $1, body FROM report WHERE id = $2")
            .bind(reason)
            .bind(id)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM report WHERE id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.forget_count(1);
        let parked = self.parked().await.unwrap_or_default();
        tracing::error!(
            report.id = id,
            reason,
            parked,
            "a report cannot be delivered and was parked"
        );
        Ok(())
    }

    /// Reports and records set aside.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn parked(&self) -> Result<i64, SpoolError> {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM parked");
        Ok(count.fetch_one(&self.pool).await?)
    }

    /// Forgets delivered reports.
    ///
    /// # Errors
    /// [`SpoolError`]: they will be delivered once more, which changes no total.
    pub async fn delivered(&self, ids: &[i64]) -> Result<(), SpoolError> {
        let mut tx = self.pool.begin().await?;
        let mut gone = 0;
        for id in ids {
            let done = sqlx::query("DELETE FROM report WHERE id = $1")
                .bind(id)
                .execute(&mut *tx)
                .await?;
            gone += done.rows_affected();
        }
        tx.commit().await?;
        self.forget_count(gone);
        Ok(())
    }

    /// Whether every write fails, as on a full disk.
    #[cfg(test)]
    pub(crate) async fn fail(&self, is_failing: bool) {
        let pragma = if is_failing {
            "PRAGMA query_only = 1"
        } else {
            "PRAGMA query_only = 0"
        };
        sqlx::raw_sql(pragma).execute(&self.pool).await.unwrap();
    }

    /// Closes the file after what is under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Takes out the session's Interims that wait, and gives their meters to the report that takes their place if it has less: a
/// session that a reboot has ended knows its octets from them alone.
async fn replace_interims(
    tx: &mut SqliteConnection,
    report: &mut Report,
    in_flight: &[i64],
) -> Result<Vec<i64>, SpoolError> {
    let rows = sqlx::query("SELECT id, body FROM report WHERE session = $1 AND is_interim = 1")
        .bind(&report.id)
        .fetch_all(&mut *tx)
        .await?;
    let mut stale = Vec::new();
    for row in rows {
        let id: i64 = row.try_get(0)?;
        if in_flight.contains(&id) {
            continue;
        }
        if let Ok(earlier) = serde_json::from_str(row.try_get(1)?) {
            report.raise_to(&earlier);
        }
        sqlx::query("DELETE FROM report WHERE id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        stale.push(id);
    }
    Ok(stale)
}

/// Reports of one device, or of the gate, are delivered one after the other.
pub(crate) fn lane_of(report: &Report) -> Option<Mac> {
    report.mac
}

#[cfg(test)]
mod tests;
