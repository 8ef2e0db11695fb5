//! What must outlive us, in a file of its own: reports on their way, and who the kernel's sessions are.
//!
//! A commit is on disk when it returns (WAL, synchronous FULL). A later report of a session replaces an Interim of it that has
//! not been sent, so that a long outage costs a few rows for each session and no more.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use kavadam_domain::Mac;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row as _, SqliteConnection};

use crate::core::SessionRow;
use crate::report::{Kind, Report};

/// Reports that may wait; beyond it Interims are dropped, which later reports make good. Starts and Stops never are.
const MOST_WAITING: i64 = 1_000_000;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS report (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session TEXT NOT NULL,
        is_interim INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS report_of_session ON report (session) WHERE is_interim = 1;
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
        Ok(Self { pool })
    }

    /// Commits all or nothing. `in_flight` are places that are being sent and so cannot be replaced.
    ///
    /// # Errors
    /// [`SpoolError`]: then nothing has changed.
    pub async fn commit(&self, changes: &Changes, in_flight: &[i64]) -> Result<Committed, SpoolError> {
        let mut tx = self.pool.begin().await?;
        let mut done = Committed::default();
        let waiting: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(id) - MIN(id), 0) FROM report")
            .fetch_one(&mut *tx)
            .await?;
        for report in &changes.reports {
            let mut report = report.clone();
            if !report.id.is_empty() {
                done.replaced
                    .extend(replace_interims(&mut tx, &mut report, in_flight).await?);
            }
            if report.kind == Kind::Interim && waiting > MOST_WAITING {
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
        Ok(done)
    }

    /// Every report that waits, in order.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn waiting(&self) -> Result<Vec<Waiting>, SpoolError> {
        let rows = sqlx::query("SELECT id, body FROM report ORDER BY id")
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Waiting {
                    id: row.try_get(0)?,
                    report: serde_json::from_str(row.try_get(1)?)?,
                })
            })
            .collect()
    }

    /// Every session that is kept.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn sessions(&self) -> Result<Vec<SessionRow>, SpoolError> {
        let rows = sqlx::query("SELECT body FROM session").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| Ok(serde_json::from_str(row.try_get(0)?)?))
            .collect()
    }

    /// Forgets delivered reports.
    ///
    /// # Errors
    /// [`SpoolError`]: they will be delivered once more, which changes no total.
    pub async fn delivered(&self, ids: &[i64]) -> Result<(), SpoolError> {
        let mut tx = self.pool.begin().await?;
        for id in ids {
            sqlx::query("DELETE FROM report WHERE id = $1")
                .bind(id)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
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
        report.raise_to(&serde_json::from_str(row.try_get(1)?)?);
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
mod tests {
    use super::*;
    use crate::core::tests::{row, wall};

    fn changes(reports: Vec<Report>) -> Changes {
        Changes {
            reports,
            ..Changes::default()
        }
    }

    fn report(id: &str, kind: Kind, octets: u64) -> Report {
        let meter = kavadam_firewall::Meter {
            up_octets: octets,
            ..Default::default()
        };
        row(id).report(kind, meter, 1, wall())
    }

    async fn bodies(spool: &Spool) -> Vec<(String, Kind, u64)> {
        let waiting = spool.waiting().await.unwrap();
        waiting
            .into_iter()
            .map(|one| (one.report.id, one.report.kind, one.report.up_octets))
            .collect()
    }

    #[tokio::test]
    async fn finds_after_a_crash_what_was_committed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.db");
        let spool = Spool::open(&path).await.unwrap();
        let both = Changes {
            reports: vec![report("a", Kind::Start, 0), report("a", Kind::Stop(1), 9)],
            saved: vec![row("a"), row("b")],
            forgotten: vec!["a".into()],
        };
        spool.commit(&both, &[]).await.unwrap();
        // Dropped without closing, as by kill -9; the second opens what the first left, its WAL not folded in.
        std::mem::forget(spool);
        let again = Spool::open(&path).await.unwrap();
        assert_eq!(
            bodies(&again).await,
            [("a".into(), Kind::Start, 0), ("a".into(), Kind::Stop(1), 9)]
        );
        assert_eq!(again.sessions().await.unwrap(), [row("b")]);
    }

    #[tokio::test]
    async fn a_later_report_replaces_an_interim_that_waits_but_not_one_in_flight() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(&dir.path().join("gateway.db")).await.unwrap();
        spool
            .commit(&changes(vec![report("a", Kind::Start, 0)]), &[])
            .await
            .unwrap();
        let first = spool
            .commit(&changes(vec![report("a", Kind::Interim, 1)]), &[])
            .await
            .unwrap();
        spool
            .commit(&changes(vec![report("b", Kind::Interim, 5)]), &[])
            .await
            .unwrap();
        let second = spool
            .commit(&changes(vec![report("a", Kind::Interim, 2)]), &[])
            .await
            .unwrap();
        assert_eq!(second.replaced, [first.waiting[0].id]);
        let third = spool
            .commit(&changes(vec![report("a", Kind::Stop(1), 3)]), &[second.waiting[0].id])
            .await
            .unwrap();
        assert_eq!(third.replaced, [] as [i64; 0]);
        assert_eq!(
            bodies(&spool).await,
            [
                ("a".into(), Kind::Start, 0),
                ("b".into(), Kind::Interim, 5),
                ("a".into(), Kind::Interim, 2),
                ("a".into(), Kind::Stop(1), 3)
            ]
        );
    }

    #[tokio::test]
    async fn a_stop_after_a_reboot_keeps_the_octets_of_the_interim_it_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.db");
        let spool = Spool::open(&path).await.unwrap();
        let before = Changes {
            reports: vec![report("a", Kind::Start, 0), report("a", Kind::Interim, 7_000)],
            saved: vec![row("a")],
            ..Changes::default()
        };
        spool.commit(&before, &[]).await.unwrap();
        // The machine boots: the kernel has no sessions, and no server has answered yet.
        let mut scene = crate::core::tests::Scene::new();
        let commands = scene.core.adopt(Vec::new(), spool.sessions().await.unwrap(), scene.now);
        scene.take(commands);
        let after = Changes {
            reports: scene.reports,
            forgotten: scene.forgotten,
            ..Changes::default()
        };
        spool.commit(&after, &[]).await.unwrap();
        let stop = Kind::Stop(kavadam_domain::session::terminate_cause::NAS_REBOOT);
        assert_eq!(
            bodies(&spool).await,
            [("a".into(), Kind::Start, 0), ("a".into(), stop, 7_000)]
        );
    }

    #[tokio::test]
    async fn what_was_delivered_is_gone_and_its_place_is_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.db");
        let spool = Spool::open(&path).await.unwrap();
        let first = spool
            .commit(&changes(vec![report("a", Kind::Start, 0)]), &[])
            .await
            .unwrap();
        spool.delivered(&[first.waiting[0].id]).await.unwrap();
        spool.close().await;
        let spool = Spool::open(&path).await.unwrap();
        assert_eq!(bodies(&spool).await, []);
        let second = spool
            .commit(&changes(vec![report("b", Kind::Start, 0)]), &[])
            .await
            .unwrap();
        assert!(second.waiting[0].id > first.waiting[0].id);
    }

    #[tokio::test]
    async fn refuses_a_file_that_is_no_spool() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.db");
        std::fs::write(&path, "not a database, but long enough to have a header ".repeat(20)).unwrap();
        assert!(matches!(Spool::open(&path).await, Err(SpoolError::Database(_))));
    }
}
