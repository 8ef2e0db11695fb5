//! Opening a database, and beginning transactions on it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use kavadam_domain::{NasId, SubscriberId};
use sqlx::{Connection as _, Sqlite, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::carry::Carry;
use crate::tx::{Carried, Db};
use crate::{Error, Result, Tx};

/// Enough for every statement there is.
const STATEMENTS_KEPT: usize = 256;
/// Batches under way at once on PostgreSQL: while one is being committed the other is decided. More would only wait for the disk.
const LANES: usize = 2;
/// A connection that was idle for no longer is not tested before it is used: that costs a way there and back.
const UNTESTED: Duration = Duration::from_secs(1);
/// How long a use case waits for a connection before it fails (and the gate is left to ask again).
const WAIT_FOR_CONNECTION: Duration = Duration::from_secs(5);
/// How often SQLite's log is written back into its tables, beside the writer.
const WRITE_BACK_EVERY: Duration = Duration::from_millis(200);
/// From so many pages on (of 4 KiB: 64 MiB) the writer does it, which waits for the disk. It comes to that only as long as it writes without a
/// pause, and has little left to do then; but without it the log would never begin anew.
const LONGEST_LOG: &str = "16384";

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
}

#[derive(Debug, Clone)]
enum Pool {
    /// One writer: SQLite allows no second, and waiting in our own queue is fair and needs no retries.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
        carry: Arc<Mutex<Carry>>,
        /// Connections the writer had: versions compare within one only.
        connections: Arc<AtomicU64>,
        /// As long as there is a store.
        write_back: Arc<WriteBack>,
    },
    Postgres {
        pool: PgPool,
        lanes: [Lane; LANES],
    },
}

/// Transactions for batches, one at a time.
#[derive(Debug, Clone)]
struct Lane {
    carry: Arc<Mutex<Carry>>,
    /// Who remembers.
    holder: i64,
}

impl Store {
    /// Opens `sqlite:/path/to/file` (made, readable by its owner only, if it is not there) or `postgres://…`, and brings its schema up
    /// to date.
    ///
    /// # Errors
    /// An unknown URL, a file that cannot be made, a server out of reach, or a schema newer than this program.
    pub async fn open(url: &str) -> Result<Self> {
        let pool = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => open_sqlite(url).await?,
            Some("postgres" | "postgresql") => open_postgres(url).await?,
            _ => return Err(Error::Url(without_password(url))),
        };
        Ok(Self { pool })
    }

    /// Whether it is the embedded database, which one process alone may use.
    #[must_use]
    pub const fn is_embedded(&self) -> bool {
        matches!(self.pool, Pool::Sqlite { .. })
    }

    /// Begins a transaction that only reads.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn read(&self) -> Result<Tx> {
        match &self.pool {
            Pool::Sqlite { readers, .. } => Ok(Tx::reading(Db::Sqlite(Box::pin(readers.begin()).await?))),
            Pool::Postgres { pool, .. } => Ok(Tx::reading(Db::Postgres(
                Box::pin(pool.begin_with("BEGIN READ ONLY")).await?,
            ))),
        }
    }

    /// Begins a transaction that writes. On SQLite it holds the one writer until it ends: compute before, not within.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn write(&self) -> Result<Tx> {
        match &self.pool {
            Pool::Sqlite { .. } => self.write_many(0).await,
            Pool::Postgres { pool, .. } => {
                let db = Db::Postgres(Box::pin(pool.begin()).await?);
                Ok(Tx::writing(db, Carried::Own(Box::default()), 0))
            }
        }
    }

    /// How many batches of decisions may be under way at once.
    #[must_use]
    pub const fn lanes(&self) -> usize {
        match &self.pool {
            Pool::Sqlite { .. } => 1,
            Pool::Postgres { .. } => LANES,
        }
    }

    /// Begins a transaction for a batch of decisions. It remembers what the last such transaction of that lane knew, and waits for that to
    /// end. Whoever is asked about in two lanes by turns is read anew each time. On PostgreSQL it is in trust, until [`Tx::begin`]: whatever it
    /// does may fail with [`Error::Stale`].
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn write_many(&self, lane: usize) -> Result<Tx> {
        match &self.pool {
            Pool::Sqlite {
                writer,
                carry,
                connections,
                ..
            } => {
                let mut carry = hold(carry).await?;
                let mut tx = Box::pin(writer.begin_with("BEGIN IMMEDIATE")).await?;
                let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *tx).await?;
                carry.is_of_version((connections.load(Ordering::Relaxed), version));
                carry.begin();
                if !carry.knows_all_names() {
                    learn_names(&mut carry, &mut tx).await?;
                }
                Ok(Tx::writing(Db::Sqlite(tx), Carried::Shared(carry), 0))
            }
            Pool::Postgres { pool, lanes } => {
                let [first, second] = lanes;
                let Lane { carry, holder } = if lane.is_multiple_of(LANES) { first } else { second };
                let mut carry = hold(carry).await?;
                carry.begin();
                carry.devices.clear();
                Ok(Tx::writing(Db::NotBegun(pool.clone()), Carried::Shared(carry), *holder))
            }
        }
    }

    /// Waits for the transactions under way and closes every connection.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite {
                writer,
                readers,
                write_back,
                ..
            } => {
                readers.close().await;
                write_back.end().await;
                writer.close().await;
            }
            Pool::Postgres { pool, .. } => pool.close().await,
        }
    }
}

/// What is remembered, once nobody else works on it.
async fn hold(carry: &Arc<Mutex<Carry>>) -> Result<OwnedMutexGuard<Carry>> {
    let held = tokio::time::timeout(WAIT_FOR_CONNECTION, Arc::clone(carry).lock_owned()).await;
    held.map_err(|_| Error::Database(sqlx::Error::PoolTimedOut))
}

/// Of every live session on SQLite, so that a new name costs no look-up.
async fn learn_names(carry: &mut Carry, tx: &mut Transaction<'_, Sqlite>) -> Result<()> {
    let text = "SELECT subscriber_id, nas_id, acct_session_id FROM session
         WHERE ended_at IS NULL AND acct_session_id IS NOT NULL";
    let all: Vec<(i64, i64, String)> = sqlx::query_as(text).fetch_all(&mut **tx).await?;
    let all = all.into_iter();
    carry.learn_all_names(all.map(|(owner, nas, name)| (SubscriberId(owner), NasId(nas), name)));
    Ok(())
}

async fn open_sqlite(url: &str) -> Result<Pool> {
    let options = SqliteConnectOptions::from_str(url).map_err(|_| Error::Url(url.to_owned()))?;
    let path = options.get_filename().to_owned();
    if path.as_os_str().is_empty() || path.as_os_str() == ":memory:" || url.contains("mode=memory") {
        return Err(Error::Url(url.to_owned()));
    }
    make_private(&path).map_err(|source| Error::File {
        path: path.display().to_string(),
        source,
    })?;
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", LONGEST_LOG)
        .foreign_keys(true)
        .busy_timeout(WAIT_FOR_CONNECTION)
        .statement_cache_capacity(STATEMENTS_KEPT);
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(WAIT_FOR_CONNECTION)
            .test_before_acquire(false)
    };
    let connections = Arc::new(AtomicU64::new(0));
    let opened = Arc::clone(&connections);
    let writer = pool()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |_, _| {
            opened.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(Ok(())))
        })
        .connect_with(options.clone())
        .await?;
    sqlx::migrate!("../migrations/sqlite").run(&writer).await?;
    let write_back = WriteBack::begin(pool().max_connections(1).connect_with(options.clone()).await?);
    let readers = pool().max_connections(4).connect_with(options.read_only(true)).await?;
    Ok(Pool::Sqlite {
        writer,
        readers,
        carry: Arc::default(),
        connections,
        write_back: Arc::new(write_back),
    })
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

async fn open_postgres(url: &str) -> Result<Pool> {
    let options = PgConnectOptions::from_str(url).map_err(|_| Error::Url(without_password(url)))?;
    let options = options
        .application_name("kavadam")
        // Every statement finds its rows by an index, however many it is given: planned once, not for each list of values.
        .options([("plan_cache_mode", "force_generic_plan")])
        .statement_cache_capacity(STATEMENTS_KEPT);
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(WAIT_FOR_CONNECTION)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > UNTESTED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options)
        .await?;
    sqlx::migrate!("../migrations/postgres").run(&pool).await?;
    let first = open_lane(&pool).await?;
    let second = open_lane(&pool).await?;
    Ok(Pool::Postgres {
        pool,
        lanes: [first, second],
    })
}

async fn open_lane(pool: &PgPool) -> Result<Lane> {
    let holder = sqlx::query_scalar("SELECT nextval('holder')").fetch_one(pool).await?;
    Ok(Lane {
        carry: Arc::default(),
        holder,
    })
}

/// The file holds numbers and what they used: its owner's alone. SQLite gives its journal the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(problem) if problem.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

/// A URL fit for a message.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => {
            let (head, tail) = (url.get(..scheme + 3), url.get(at..));
            format!("{}…{}", head.unwrap_or_default(), tail.unwrap_or_default())
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_repeated_in_messages() {
        assert_eq!(
            without_password("mysql://kavadam:s3cret@db/kavadam"),
            "mysql://…@db/kavadam"
        );
        assert_eq!(without_password("file.db"), "file.db");
    }
}
