//! Opening a database, and beginning transactions on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::carry::Carry;
use crate::server::{Patience, Server, within};
use crate::sqlite::Embedded;
use crate::tx::{Carried, Db};
use crate::{Error, Result, Tx};

/// Enough for every statement there is.
pub(crate) const STATEMENTS_KEPT: usize = 256;
/// How long a use case waits for a connection before it fails (and the gate is left to ask again).
pub(crate) const WAIT_FOR_CONNECTION: Duration = Duration::from_secs(5);

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
}

#[derive(Debug, Clone)]
pub(crate) enum Pool {
    Sqlite(Embedded),
    Postgres {
        server: Server,
        lanes: [Arc<Mutex<Carry>>; Store::LANES],
    },
}

impl Pool {
    /// Of a server that is only looked at: its lanes remember nothing, and lead nowhere.
    pub(crate) fn of_onlooker(server: Server) -> Self {
        Self::Postgres {
            server,
            lanes: Default::default(),
        }
    }
}

impl Store {
    pub(crate) const fn of(pool: Pool) -> Self {
        Self { pool }
    }

    /// Opens `sqlite:/path/to/file` (made, readable by its owner only, if it is not there) or `postgres://…`, and brings its schema up
    /// to date.
    ///
    /// # Errors
    /// An unknown URL, a file that cannot be made, a server out of reach, or a schema newer than this program.
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_with(url, Patience::default()).await
    }

    /// Opens as [`Store::open`] does, and waits so long for a server.
    ///
    /// # Errors
    /// An unknown URL, a file that cannot be made, a server out of reach, or a schema newer than this program.
    pub async fn open_with(url: &str, patience: Patience) -> Result<Self> {
        let pool = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Pool::Sqlite(Embedded::open(url).await?),
            Some("postgres" | "postgresql") => open_postgres(url, patience).await?,
            _ => return Err(Error::Url(without_password(url))),
        };
        Ok(Self { pool })
    }

    /// Whether it is the embedded database, which one process alone may use.
    #[must_use]
    pub const fn is_embedded(&self) -> bool {
        matches!(self.pool, Pool::Sqlite(_))
    }

    /// How long the server is waited for.
    pub(crate) fn patience(&self) -> Patience {
        match &self.pool {
            Pool::Sqlite(_) => Patience::default(),
            Pool::Postgres { server, .. } => server.patience,
        }
    }

    /// Begins a transaction that only reads.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn read(&self) -> Result<Tx> {
        match &self.pool {
            Pool::Sqlite(embedded) => Ok(Tx::reading(Db::Sqlite(Box::pin(embedded.readers.begin()).await?))),
            Pool::Postgres { server, .. } => Ok(Tx::reading(Db::Postgres(server.begin_reading().await?))),
        }
    }

    /// Begins a transaction that only reads, and may look at very many rows: nobody but an administrator waits for it.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn read_at_length(&self) -> Result<Tx> {
        let mut tx = self.read().await?;
        tx.be_patient();
        Ok(tx)
    }

    /// Begins a transaction that writes. On SQLite it holds the one writer until it ends: compute before, not within.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn write(&self) -> Result<Tx> {
        match &self.pool {
            Pool::Sqlite(_) => {
                let mut tx = self.write_many(0).await?;
                tx.begin().await?;
                Ok(tx)
            }
            Pool::Postgres { server, .. } => {
                let db = Db::Postgres(server.begin().await?);
                Ok(Tx::writing(db, Carried::Own(Box::default()), 0))
            }
        }
    }

    /// How many batches of decisions may be under way at once: while one is being committed the other is decided. More would only wait
    /// for the disk.
    pub const LANES: usize = 2;

    /// Begins a transaction for a batch of decisions. It remembers what the last such transaction knew (on PostgreSQL, of that lane), and
    /// waits until that has decided. It is in trust, until [`Tx::begin`]: whatever it does may fail with [`Error::Stale`].
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn write_many(&self, lane: usize) -> Result<Tx> {
        match &self.pool {
            Pool::Sqlite(embedded) => {
                let mut carry = hold(&embedded.carry).await?;
                carry.begin();
                let is_current = carry.is_after(embedded.writer.lost());
                let mut tx = Tx::writing(Db::SqliteNotBegun(embedded.writer.clone()), Carried::Shared(carry), 0);
                if !is_current {
                    tx.begin().await?;
                }
                Ok(tx)
            }
            Pool::Postgres { server, lanes } => {
                let [first, second] = lanes;
                let mut carry = hold(if lane.is_multiple_of(Self::LANES) {
                    first
                } else {
                    second
                })
                .await?;
                carry.begin();
                carry.devices.clear();
                let holder = holder_of(&mut carry, server).await?;
                Ok(Tx::writing(
                    Db::PostgresNotBegun(server.clone()),
                    Carried::Shared(carry),
                    holder,
                ))
            }
        }
    }

    /// Waits for the transactions under way and closes every connection.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite(embedded) => embedded.close().await,
            Pool::Postgres { server, .. } => server.close().await,
        }
    }
}

/// What is remembered, once nobody else works on it.
async fn hold(carry: &Arc<Mutex<Carry>>) -> Result<OwnedMutexGuard<Carry>> {
    let held = tokio::time::timeout(WAIT_FOR_CONNECTION, Arc::clone(carry).lock_owned()).await;
    held.map_err(|_| Error::Database(sqlx::Error::PoolTimedOut))
}

async fn open_postgres(url: &str, patience: Patience) -> Result<Pool> {
    let server = Server::open(url, patience).await?;
    let lanes = [Arc::default(), Arc::default()];
    Ok(Pool::Postgres { server, lanes })
}

/// By which number rows say that this is remembered: one that nobody had, if nothing is.
async fn holder_of(carry: &mut Carry, server: &Server) -> Result<i64> {
    if let Some(holder) = carry.holder {
        return Ok(holder);
    }
    let query = sqlx::query_scalar("SELECT nextval('holder')");
    let holder = within(server.patience.statement, query.fetch_one(&server.pool)).await?;
    carry.holder = Some(holder);
    Ok(holder)
}

/// A URL fit for a message.
#[must_use]
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    // A parameter may hold an `@`. So may a password that is not written as in a URL, with a `?` before it: in doubt it is one.
    let is_in_parameter = |at: &usize| {
        let (front, given) = rest.get(..*at).and_then(|before| before.split_once('?'))?;
        let is_past_server = front.contains(['/', '@']) || !front.contains(':');
        Some(is_past_server && given.rsplit('&').next()?.contains('='))
    };
    let mut ats = rest.rmatch_indices('@').map(|(at, _)| at);
    let server = ats
        .find(|at| is_in_parameter(at) != Some(true))
        .and_then(|at| rest.get(at..));
    let shown = server.map_or_else(|| rest.to_owned(), |server| format!("…{server}"));
    let (front, given) = shown.split_once(['?', '&']).unwrap_or((shown.as_str(), ""));
    let given = given
        .split('&')
        .filter(|part| !part.is_empty() && !part.starts_with("password="));
    let given: Vec<&str> = given.collect();
    let mark = if given.is_empty() { "" } else { "?" };
    format!("{scheme}://{front}{mark}{}", given.join("&"))
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
        let given = "postgres:///kavadam?host=/run/postgresql&user=kavadam&password=s3cret";
        assert_eq!(
            without_password(given),
            "postgres:///kavadam?host=/run/postgresql&user=kavadam"
        );
        assert_eq!(without_password("postgres://a:p?s3cret@db/x"), "postgres://…@db/x");
        let tenant = "postgres://db/kavadam?user=kavadam@tenant&password=s3cret";
        assert_eq!(without_password(tenant), "postgres://db/kavadam?user=kavadam@tenant");
        let both = "postgres://a:s3cret@db/x?user=b@tenant&password=s3@cret&sslmode=require";
        assert_eq!(
            without_password(both),
            "postgres://…@db/x?user=b@tenant&sslmode=require"
        );
        for odd in [
            "postgres://a:b=s3cret&c=s3cret@db/x",
            "postgres://a:p?q=s3cret@db/x",
            "postgres://a:p@s3cret?q@db/x",
            "postgres://db:5432?user=a@tenant&password=s3cret",
            "postgres://db?password=s3cret@s3cret",
            "postgres:///x?user=a&password=s3cret",
        ] {
            assert!(!without_password(odd).contains("s3cret"), "{}", without_password(odd));
        }
    }
}
