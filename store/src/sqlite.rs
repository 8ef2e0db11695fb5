//! The embedded database: one writer, and batches that are decided while the one before is written.
//!
//! A batch is decided by what is remembered, in trust; the next may be as soon as this one has the writer. Should it then not be written,
//! whatever was decided upon it is not either: it counts as lost, and who finds more lost than they knew of begins anew
//! ([`Error::Stale`]). Nothing is acknowledged before it is on disk.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kavadam_domain::{NasId, SessionId, SubscriberId};
use sqlx::error::BoxDynError;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _, Sqlite, Transaction};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::carry::Carry;
use crate::look::Applied;
use crate::open::{STATEMENTS_KEPT, WAIT_FOR_CONNECTION};
use crate::working::Keys;
use crate::{Error, Result};

/// How often the log is written back into the tables, beside the writer.
const WRITE_BACK_EVERY: Duration = Duration::from_millis(200);
/// From so many pages on (of 4 KiB: 64 MiB) the writer does it, which waits for the disk. It comes to that only as long as it writes without a
/// pause, and has little left to do then; but without it the log would never begin anew.
const LONGEST_LOG: &str = "16384";

/// The writer's pages in memory, in KiB where negative as SQLite has it: of several hundred logins at once each touches other pages.
const WRITERS_PAGES: &str = "-16384";

/// The tables, and how they came about.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");

/// Not only at the first change: what was read before is then still so.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Embedded {
    pub(crate) writer: Writer,
    pub(crate) readers: SqlitePool,
    pub(crate) carry: Arc<Mutex<Carry>>,
    /// As long as there is a store; none where it is only looked at.
    write_back: Option<Arc<WriteBack>>,
}

/// SQLite allows no second one, and waiting in our own queue is fair and needs no retries.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pool: SqlitePool,
    /// Connections it had: versions compare within one only.
    connections: Arc<AtomicU64>,
    /// Transactions that others were decided upon, and that were not written.
    lost: Arc<AtomicU64>,
}

/// Of what can be read from the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    connections: u64,
    /// Another than the writer's own connection changed something.
    data: i64,
    lost: u64,
}

impl Version {
    pub(crate) const fn lost(self) -> u64 {
        self.lost
    }
}

/// Counts as lost when dropped, unless it was written. Must go before the writer's connection does: whoever has that next asks.
pub(crate) struct Ahead(Option<Arc<AtomicU64>>);

impl Ahead {
    pub(crate) fn written(mut self) {
        self.0 = None;
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(lost) = &self.0 {
            lost.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Writer {
    /// Waits for those before, and begins.
    pub(crate) async fn begin(&self) -> Result<(Transaction<'static, Sqlite>, Version)> {
        let mut tx = self.pool.begin_with(BEGIN).await?;
        let version = self.version(&mut tx).await?;
        Ok((tx, version))
    }

    /// Waits for those before.
    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Sqlite>> {
        Ok(self.pool.acquire().await?)
    }

    /// Begins on the connection acquired.
    pub(crate) async fn begin_on<'c>(
        &self,
        connection: &'c mut SqliteConnection,
    ) -> Result<(Transaction<'c, Sqlite>, Version)> {
        let mut tx = connection.begin_with(BEGIN).await?;
        let version = self.version(&mut tx).await?;
        Ok((tx, version))
    }

    /// Within a transaction.
    async fn version(&self, tx: &mut SqliteConnection) -> Result<Version> {
        let data = sqlx::query_scalar("PRAGMA data_version").fetch_one(tx).await?;
        Ok(Version {
            connections: self.connections.load(Ordering::SeqCst),
            data,
            lost: self.lost(),
        })
    }

    /// How many were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::SeqCst)
    }

    /// From now on others are decided upon what is about to be written.
    pub(crate) fn ahead(&self) -> Ahead {
        Ahead(Some(Arc::clone(&self.lost)))
    }
}

/// What is to be written.
#[derive(Default)]
pub(crate) struct Statements(Vec<(&'static str, SqliteArguments)>);

impl Statements {
    /// # Errors
    /// The values cannot be bound.
    pub(crate) fn add(
        &mut self,
        text: &'static str,
        bind: impl FnOnce(&mut SqliteArguments) -> std::result::Result<(), BoxDynError>,
    ) -> Result<()> {
        let mut arguments = SqliteArguments::default();
        bind(&mut arguments).map_err(sqlx::Error::Encode)?;
        self.0.push((text, arguments));
        Ok(())
    }

    /// # Errors
    /// The database failed.
    pub(crate) async fn run(self, tx: &mut SqliteConnection) -> Result<()> {
        for (text, arguments) in self.0 {
            let query = sqlx::query_with(AssertSqlSafe(text), arguments);
            query.execute(&mut *tx).await?;
        }
        Ok(())
    }
}

impl Embedded {
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let (options, path) = options(url)?;
        make_private(&path).map_err(|problem| Error::File {
            path: path.display().to_string(),
            problem,
        })?;
        let options = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", LONGEST_LOG)
            // A statement of many rows notes each page it changes, should its last row fail: from 64 KiB on in a file made and deleted for each.
            .pragma("temp_store", "MEMORY")
            .foreign_keys(true)
            .busy_timeout(WAIT_FOR_CONNECTION)
            .statement_cache_capacity(STATEMENTS_KEPT);
        let connections = Arc::new(AtomicU64::new(0));
        let opened = Arc::clone(&connections);
        let writer = pool()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |_, _| {
                opened.fetch_add(1, Ordering::SeqCst);
                Box::pin(std::future::ready(Ok(())))
            })
            .connect_with(options.clone().pragma("cache_size", WRITERS_PAGES))
            .await?;
        MIGRATIONS.run(&writer).await?;
        let write_back = WriteBack::begin(pool().max_connections(1).connect_with(options.clone()).await?);
        let readers = pool().max_connections(4).connect_with(options.read_only(true)).await?;
        let writer = Writer {
            pool: writer,
            connections,
            lost: Arc::default(),
        };
        Ok(Self {
            writer,
            readers,
            carry: Arc::default(),
            write_back: Some(Arc::new(write_back)),
        })
    }

    /// What is there, with the changes of its tables that were made; `None` where there is no file, and one can be made.
    pub(crate) async fn look(url: &str) -> Result<Option<(Self, Vec<Applied>)>> {
        let (options, path) = options(url)?;
        if let Err(problem) = std::fs::metadata(&path) {
            let has_place = path
                .parent()
                .is_some_and(|dir| dir.as_os_str().is_empty() || dir.is_dir());
            return match problem.kind() {
                std::io::ErrorKind::NotFound if has_place => Ok(None),
                _ => Err(Error::File {
                    path: path.display().to_string(),
                    problem,
                }),
            };
        }
        // Not `read_only`: that leaves SQLite's journal behind, which whoever closes last takes away only if they may write.
        let options = options
            .create_if_missing(false)
            .busy_timeout(WAIT_FOR_CONNECTION)
            .pragma("query_only", "ON");
        let readers = pool().max_connections(4).connect_with(options).await?;
        let is_ours = "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'";
        let applied = if sqlx::query_scalar::<_, i64>(is_ours).fetch_one(&readers).await? == 0 {
            Vec::new()
        } else {
            let all = sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations ORDER BY version");
            all.fetch_all(&readers).await?
        };
        let writer = Writer {
            pool: readers.clone(),
            connections: Arc::default(),
            lost: Arc::default(),
        };
        let looked = Self {
            writer,
            readers,
            carry: Arc::default(),
            write_back: None,
        };
        Ok(Some((looked, applied)))
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        if let Some(write_back) = &self.write_back {
            write_back.end().await;
        }
        self.writer.pool.close().await;
    }
}

fn options(url: &str) -> Result<(SqliteConnectOptions, PathBuf)> {
    let options = SqliteConnectOptions::from_str(url).map_err(|_| Error::Url(url.to_owned()))?;
    let path = options.get_filename().to_owned();
    if path.as_os_str().is_empty() || path.as_os_str() == ":memory:" || url.contains("mode=memory") {
        return Err(Error::Url(url.to_owned()));
    }
    Ok((options, path))
}

fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .acquire_timeout(WAIT_FOR_CONNECTION)
        .test_before_acquire(false)
}

/// Of every live session on SQLite, so that neither a new name nor a known one costs a look-up, and no index over them is written.
pub(crate) async fn learn_live(carry: &mut Carry, tx: &mut Transaction<'_, Sqlite>) -> Result<()> {
    let text = "SELECT id, subscriber_id, nas_id, acct_session_id FROM session WHERE ended_at IS NULL";
    let all: Vec<(i64, i64, i64, Option<String>)> = sqlx::query_as(text).fetch_all(&mut **tx).await?;
    let all = all.into_iter();
    carry.learn_all_live(all.map(|(id, owner, nas, name)| {
        let keys = Keys {
            id: SessionId(id),
            nas: NasId(nas),
            name: name.map(Into::into),
        };
        (SubscriberId(owner), keys)
    }));
    Ok(())
}

/// Writes SQLite's log back into its tables on a connection of its own, so that those who ask do not wait for that.
#[derive(Debug)]
struct WriteBack {
    task: JoinHandle<()>,
    pool: SqlitePool,
}

impl WriteBack {
    fn begin(pool: SqlitePool) -> Self {
        let own = pool.clone();
        let task = tokio::spawn(async move {
            let mut every = tokio::time::interval(WRITE_BACK_EVERY);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                every.tick().await;
                // It fails where the disk does, which whoever writes will hear of; and it is tried again.
                if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&pool).await {
                    tracing::debug!(%error, "the log is not written back");
                }
            }
        });
        Self { task, pool: own }
    }

    async fn end(&self) {
        self.task.abort();
        self.pool.close().await;
    }
}

impl Drop for WriteBack {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The file holds numbers and what they used: its owner's alone. SQLite gives its journal the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(problem) if problem.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}
