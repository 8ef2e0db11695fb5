//! PostgreSQL, and how long it is waited for.
//!
//! A server that loses power, or a firewall that forgets a connection, closes nothing: a statement that was sent is then neither answered
//! nor refused, and whoever waited for it would for ever. So nothing is sent without a limit to the wait for its answer, and a connection
//! that does not answer is given up with what was under way on it.

use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Postgres, Row as _, Transaction};
use tokio::time::timeout;

use crate::look::Applied;
use crate::open::{STATEMENTS_KEPT, WAIT_FOR_CONNECTION, without_password};
use crate::{Error, Result};

/// The tables, and how they came about.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");

/// A connection that was idle for no longer is not tested before it is used: that costs a way there and back.
const UNTESTED: Duration = Duration::from_secs(1);
/// For a connection that was idle to show that it lives: several may not, and who waits for one does so for five seconds.
const WAIT_FOR_IDLE: Duration = Duration::from_secs(1);
/// For a connection to be fit again after use: what was under way may have to be undone.
const WAIT_FOR_RETURN: Duration = Duration::from_secs(5);

/// How long a server is waited for. SQLite always answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the answer to a statement.
    pub statement: Duration,
    /// For the answer to one that looks at, or changes, very many rows.
    pub long_statement: Duration,
    /// For a row that another transaction holds; shorter than for a statement. The statement fails then, and nothing else does.
    pub lock: Duration,
}

impl Default for Patience {
    /// Half a minute, five minutes, and five seconds: after that a gate asks again.
    fn default() -> Self {
        Self {
            statement: Duration::from_secs(30),
            long_statement: Duration::from_mins(5),
            lock: Duration::from_secs(5),
        }
    }
}

/// Waits so long for a server's answer. On the heap, where waiting for the database is large.
///
/// # Errors
/// The server did not answer: [`Error::is_timeout`].
pub(crate) fn within<'a, T>(
    patience: Duration,
    work: impl Future<Output = sqlx::Result<T>> + Send + 'a,
) -> impl Future<Output = sqlx::Result<T>> + Send + 'a {
    let bounded = Box::pin(timeout(patience, work));
    async move {
        let done = bounded.await;
        done.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))
    }
}

/// A server's connections.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) pool: PgPool,
    pub(crate) patience: Patience,
}

/// A transaction on a server.
#[derive(Debug)]
pub(crate) struct Served {
    tx: Transaction<'static, Postgres>,
    /// For each statement.
    pub(crate) patience: Duration,
    long: Duration,
}

fn options(url: &str) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url).map_err(|_| Error::Url(without_password(url)))?;
    Ok(options.application_name("kavadam"))
}

impl Server {
    /// Connects, and brings the schema up to date.
    pub(crate) async fn open(url: &str, patience: Patience) -> Result<Self> {
        let options = options(url)?
            // Every statement finds its rows by an index, however many it is given: planned once, not for each list of values.
            .options([("plan_cache_mode", "force_generic_plan")])
            .statement_cache_capacity(STATEMENTS_KEPT);
        let millis = |span: Duration| format!("{}ms", span.as_millis());
        let limits = [
            ("lock_timeout", millis(patience.lock)),
            // Of a connection that was given up here, and that the server never hears of again: what it holds it must let go.
            ("idle_in_transaction_session_timeout", millis(patience.statement)),
        ];
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(WAIT_FOR_CONNECTION)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > UNTESTED {
                        within(WAIT_FOR_IDLE, connection.ping()).await?;
                    }
                    Ok(true)
                })
            })
            // The pool tests what comes back to it without a limit, and keeps its place for it meanwhile.
            .after_release(|connection, _| Box::pin(within(WAIT_FOR_RETURN, is_free(connection))))
            .connect_with(options.clone().options(limits))
            .await?;
        // Of several processes that start at once the others wait for the first, for as long as that takes.
        let mut connection = PgConnection::connect_with(&options).await?;
        MIGRATIONS.run(&mut connection).await?;
        connection.close().await?;
        Ok(Self { pool, patience })
    }

    /// Connects for whoever only looks, and tells the changes of the tables that were made.
    pub(crate) async fn look(url: &str, patience: Patience) -> Result<(Self, Vec<Applied>)> {
        let options = options(url)?.options([("default_transaction_read_only", "on")]);
        // A pool would try until its time is up, and tell no more than that.
        let mut connection = within(WAIT_FOR_CONNECTION, PgConnection::connect_with(&options)).await?;
        let is_ours = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL");
        let applied = if within(patience.statement, is_ours.fetch_one(&mut connection)).await? {
            let all = sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations ORDER BY version");
            within(patience.statement, all.fetch_all(&mut connection)).await?
        } else {
            Vec::new()
        };
        connection.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(WAIT_FOR_CONNECTION)
            .connect_lazy_with(options);
        Ok((Self { pool, patience }, applied))
    }

    /// A connection for one statement.
    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Postgres>> {
        Ok(within(self.patience.statement, self.pool.acquire()).await?)
    }

    pub(crate) async fn begin(&self) -> Result<Served> {
        Ok(self.served(within(self.patience.statement, self.pool.begin()).await?))
    }

    pub(crate) async fn begin_reading(&self) -> Result<Served> {
        let begun = within(self.patience.statement, self.pool.begin_with("BEGIN READ ONLY")).await?;
        Ok(self.served(begun))
    }

    const fn served(&self, tx: Transaction<'static, Postgres>) -> Served {
        Served {
            tx,
            patience: self.patience.statement,
            long: self.patience.long_statement,
        }
    }

    /// What closes takes leave of the server, which may be away.
    pub(crate) async fn close(&self) {
        _ = timeout(self.patience.statement, self.pool.close()).await;
    }
}

/// Whether a connection is in no transaction. Who gave up while one began on it left it open, unknown to the driver: whatever came next on that
/// connection would be a part of it, and acknowledged though it is not committed.
async fn is_free(connection: &mut PgConnection) -> sqlx::Result<bool> {
    // Not prepared: what is prepared begins its transaction with a step before the one that counts as the statement's time.
    let begins_now = sqlx::raw_sql("SELECT now() = statement_timestamp()");
    begins_now.fetch_one(connection).await?.try_get(0)
}

impl Served {
    pub(crate) async fn commit(self) -> sqlx::Result<()> {
        within(self.patience, self.tx.commit()).await
    }

    /// From now on statements may look at, or change, very many rows.
    pub(crate) const fn be_patient(&mut self) {
        self.patience = self.long;
    }
}

impl Deref for Served {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.tx
    }
}

impl DerefMut for Served {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}
