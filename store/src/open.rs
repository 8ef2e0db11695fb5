//! Opening a database, and transactions on it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::Transaction;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::{Error, Result};

/// Enough for every statement there is.
const STATEMENTS_KEPT: usize = 256;
/// How long a use case waits for a connection before it fails (and the gate is left to ask again).
const WAIT_FOR_CONNECTION: Duration = Duration::from_secs(5);

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
    },
    Postgres(PgPool),
}

/// A transaction; dropped without [`Tx::commit`], it never happened.
#[derive(Debug)]
pub enum Tx {
    /// On the embedded database.
    Sqlite(Transaction<'static, Sqlite>),
    /// On a server.
    Postgres(Transaction<'static, Postgres>),
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
            Pool::Sqlite { readers, .. } => Ok(Tx::Sqlite(readers.begin().await?)),
            Pool::Postgres(pool) => Ok(Tx::Postgres(pool.begin_with("BEGIN READ ONLY").await?)),
        }
    }

    /// Begins a transaction that writes. On SQLite it holds the one writer until it ends: compute before, not within.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn write(&self) -> Result<Tx> {
        match &self.pool {
            Pool::Sqlite { writer, .. } => Ok(Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?)),
            Pool::Postgres(pool) => Ok(Tx::Postgres(pool.begin().await?)),
        }
    }

    /// Waits for the transactions under way and closes every connection.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Makes it lasting. Nothing may be acknowledged to anybody before this returns.
    ///
    /// # Errors
    /// It is not lasting: the transaction is undone.
    pub async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
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
        .foreign_keys(true)
        .busy_timeout(WAIT_FOR_CONNECTION)
        .statement_cache_capacity(STATEMENTS_KEPT);
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(WAIT_FOR_CONNECTION)
            .test_before_acquire(false)
    };
    let writer = pool().max_connections(1).connect_with(options.clone()).await?;
    sqlx::migrate!("../migrations/sqlite").run(&writer).await?;
    let readers = pool().max_connections(4).connect_with(options.read_only(true)).await?;
    Ok(Pool::Sqlite { writer, readers })
}

async fn open_postgres(url: &str) -> Result<Pool> {
    let options = PgConnectOptions::from_str(url).map_err(|_| Error::Url(without_password(url)))?;
    let options = options
        .application_name("kavadam")
        .statement_cache_capacity(STATEMENTS_KEPT);
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(WAIT_FOR_CONNECTION)
        .connect_with(options)
        .await?;
    sqlx::migrate!("../migrations/postgres").run(&pool).await?;
    Ok(Pool::Postgres(pool))
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
