//! Transactions, and the rows they remember.
//!
//! A writing transaction keeps the rows of each subscriber it holds in a [`Working`] set: it answers questions about them from there, and
//! writes what became of them in a few statements at its end, so that a hundred decisions cost hardly more statements than one. What is
//! known for certain after the commit is carried over to the next transaction ([`crate::carry`]).
//!
//! A batch begins in trust: as long as it needs nothing but what is remembered, there is no transaction yet. On PostgreSQL, what it changed
//! is then written by one statement, which sees to it that what was remembered is still so ([`crate::together`]). On SQLite it waits for the
//! writer, sees to that itself, and lets the next batch be decided while it writes ([`crate::sqlite`]).

use std::collections::HashSet;

use kavadam_domain::{Mac, NasId, SubscriberId};
use sqlx::Transaction;
use sqlx::sqlite::Sqlite;
use tokio::sync::OwnedMutexGuard;

use crate::carry::{Carry, Places};
use crate::column::Bind;
use crate::server::{Served, Server, within};
use crate::sqlite::{Statements, Writer, learn_live};
use crate::together::{Guard, Into, Together};
use crate::working::Working;
use crate::{Error, Result};

/// A transaction; dropped without [`Tx::commit`], it never happened.
#[derive(Debug)]
pub struct Tx {
    pub(crate) db: Db,
    pub(crate) working: Working,
    pub(crate) carried: Carried,
    /// On PostgreSQL, who remembers.
    pub(crate) holder: i64,
    /// Devices known not to be remembered.
    pub(crate) absent_devices: HashSet<Mac>,
    /// Names known, or in trust believed, to be no live session's when this transaction began.
    pub(crate) absent_names: HashSet<(NasId, String)>,
    /// Remembered places were believed.
    has_believed_places: bool,
    /// It cannot write: nothing needs to be held or remembered.
    is_reading: bool,
}

/// The transaction of a driver.
#[derive(Debug)]
pub(crate) enum Db {
    /// On the embedded database.
    Sqlite(Transaction<'static, Sqlite>),
    /// On a server.
    Postgres(Served),
    /// On a server, in trust.
    PostgresNotBegun(Server),
    /// On the embedded database, in trust.
    SqliteNotBegun(Writer),
}

impl Db {
    pub(crate) const fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_) | Self::SqliteNotBegun(_))
    }

    pub(crate) const fn is_in_trust(&self) -> bool {
        matches!(self, Self::PostgresNotBegun(_) | Self::SqliteNotBegun(_))
    }
}

/// Never seen: whoever needs a transaction begins it.
pub(crate) fn not_begun() -> sqlx::Error {
    sqlx::Error::InvalidArgument("no transaction was begun".to_owned())
}

/// Where remembered rows come from and go to.
#[derive(Debug)]
pub(crate) enum Carried {
    /// Nowhere: they live as long as the transaction.
    Own(Box<Carry>),
    /// From one transaction to the next, which waits for this one.
    Shared(OwnedMutexGuard<Carry>),
}

impl Carried {
    pub(crate) fn get(&mut self) -> &mut Carry {
        match self {
            Self::Own(carry) => carry,
            Self::Shared(carry) => carry,
        }
    }

    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }
}

/// After a commit that was in doubt.
fn keep_if(done: sqlx::Result<()>, carried: &mut Carried, working: Working) -> sqlx::Result<()> {
    if carried.is_shared() {
        let carry = carried.get();
        match &done {
            Ok(()) => {
                carry.is_in_doubt = false;
                carry.keep(working);
            }
            // Nobody knows whether it happened.
            Err(_) => carry.clear(),
        }
    }
    done
}

impl Tx {
    pub(crate) fn reading(db: Db) -> Self {
        Self {
            is_reading: true,
            ..Self::writing(db, Carried::Own(Box::default()), 0)
        }
    }

    pub(crate) fn writing(db: Db, carried: Carried, holder: i64) -> Self {
        Self {
            db,
            working: Working::default(),
            carried,
            holder,
            absent_devices: HashSet::new(),
            absent_names: HashSet::new(),
            has_believed_places: false,
            is_reading: false,
        }
    }

    /// Gives up trust: from now on whoever is held is locked, and what was believed so far is known to be so.
    ///
    /// # Errors
    /// [`Error::Stale`], or the database failed.
    pub async fn begin(&mut self) -> Result<()> {
        if self.db.is_in_trust() {
            // What waits for the database is large, and would be in everything that may, to be moved with it: better on the heap.
            Box::pin(self.begin_now()).await?;
        }
        Ok(())
    }

    async fn begin_now(&mut self) -> Result<()> {
        match &self.db {
            Db::Sqlite(_) | Db::Postgres(_) => Ok(()),
            Db::PostgresNotBegun(server) => self.begin_on_server(server.clone()).await,
            Db::SqliteNotBegun(writer) => self.begin_embedded(writer.clone()).await,
        }
    }

    async fn begin_embedded(&mut self, writer: Writer) -> Result<()> {
        let (mut tx, version) = writer.begin().await?;
        let carry = self.carried.get();
        let is_as_remembered = carry.is_of_version(version);
        if !carry.knows_all_live() {
            learn_live(carry, &mut tx).await?;
        }
        self.db = Db::Sqlite(tx);
        let has_believed = self.has_believed_places || !self.working.is_empty();
        if has_believed && !is_as_remembered {
            return Err(Error::Stale);
        }
        Ok(())
    }

    async fn begin_on_server(&mut self, server: Server) -> Result<()> {
        let text = "WITH ours AS MATERIALIZED
                 (SELECT id FROM subscriber WHERE id = ANY($1) AND holder = $2 ORDER BY id FOR NO KEY UPDATE)
             SELECT ARRAY(SELECT id FROM ours), places FROM revision WHERE id = 1";
        let mut tx = server.begin().await?;
        let held = self.working.everybody();
        let raw: Vec<i64> = held.iter().map(Bind::raw).collect();
        let query = sqlx::query_as(text).bind(raw).bind(self.holder);
        let (ours, revision): (Vec<i64>, i64) = within(tx.patience, query.fetch_one(&mut *tx)).await?;
        self.db = Db::Postgres(tx);
        if ours.len() != held.len() {
            let ours = ours.into_iter().map(SubscriberId).collect();
            self.carried.get().forget_all_but(&ours, &held);
            return Err(Error::Stale);
        }
        let carry = self.carried.get();
        if carry.places.revision != revision {
            carry.places = Places {
                revision,
                ..Places::default()
            };
            if self.has_believed_places {
                return Err(Error::Stale);
            }
        }
        Ok(())
    }

    /// Remembered plans, sites and gates.
    pub(crate) fn places(&mut self) -> &mut Places {
        self.has_believed_places = true;
        &mut self.carried.get().places
    }

    /// Makes it lasting. Nothing may be acknowledged to anybody before this returns.
    ///
    /// # Errors
    /// It is not lasting: the transaction is undone. [`Error::Stale`]: it was in trust, wrongly.
    pub async fn commit(mut self) -> Result<()> {
        if let Db::SqliteNotBegun(writer) = &self.db {
            let writer = writer.clone();
            return self.commit_ahead(writer).await;
        }
        if let Db::PostgresNotBegun(server) = &self.db {
            let server = server.clone();
            return self.commit_alone(server).await;
        }
        self.settle().await?;
        if self.is_sqlite() && self.carried.is_shared() {
            // Whoever asks may be gone before it is on disk, as a phone with its form: it is seen through, or nobody would know whether
            // what is remembered of everybody is still so.
            let done = tokio::spawn(self.commit_settled()).await;
            return done.unwrap_or(Err(Error::Database(sqlx::Error::WorkerCrashed)));
        }
        self.commit_settled().await
    }

    async fn commit_settled(mut self) -> Result<()> {
        self.carried.get().is_in_doubt = true;
        let done = match self.db {
            Db::Sqlite(tx) => tx.commit().await,
            Db::Postgres(tx) => tx.commit().await,
            Db::SqliteNotBegun(_) | Db::PostgresNotBegun(_) => Err(not_begun()),
        };
        Ok(keep_if(done, &mut self.carried, self.working)?)
    }

    /// In trust on PostgreSQL.
    async fn commit_alone(mut self, server: Server) -> Result<()> {
        let guard = Guard {
            held: self.working.everybody(),
            holder: self.holder,
            places: self.carried.get().places.revision,
        };
        let mut together = Together::guarded(&guard)?;
        self.working.write(&mut Into::Postgres(&mut together))?;
        // Until there is a connection nothing is in doubt: what is remembered is as true as before.
        let mut connection = Box::pin(server.acquire()).await?;
        self.carried.get().is_in_doubt = true;
        let done = match together.run_alone(&mut connection, server.patience.statement).await {
            Ok(None) => Ok(()),
            // Likewise.
            Err(Error::Database(sqlx::Error::Database(error))) => {
                self.carried.get().is_in_doubt = false;
                return Err(Error::Database(sqlx::Error::Database(error)));
            }
            Err(Error::Database(error)) => Err(error),
            stale => {
                // If rows do not fit, nobody knows whose.
                let ours = stale.ok().flatten().unwrap_or_default();
                let carry = self.carried.get();
                carry.forget_all_but(&ours.into_iter().collect(), &guard.held);
                carry.places = Places::default();
                carry.is_in_doubt = false;
                return Err(Error::Stale);
            }
        };
        Ok(keep_if(done, &mut self.carried, self.working)?)
    }

    /// In trust on SQLite: the next may be decided as soon as this has the writer.
    async fn commit_ahead(mut self, writer: Writer) -> Result<()> {
        let mut statements = Statements::default();
        self.working.write(&mut Into::Sqlite(&mut statements))?;
        let carry = self.carried.get();
        let version = carry.take_version();
        carry.keep(self.working);
        let mut connection = Box::pin(writer.acquire()).await?;
        let (mut tx, present) = writer.begin_on(&mut connection).await?;
        if !carry.is_still(version, present) {
            return Err(Error::Stale);
        }
        let ahead = writer.ahead();
        drop(self.carried);
        statements.run(&mut tx).await?;
        tx.commit().await?;
        ahead.written();
        Ok(())
    }

    pub(crate) const fn is_sqlite(&self) -> bool {
        self.db.is_sqlite()
    }

    pub(crate) const fn is_reading(&self) -> bool {
        self.is_reading
    }

    /// Before a statement that reads rows which may have changed in the working set only.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        if self.working.is_changed() {
            self.begin().await?;
            Box::pin(self.write_changes()).await?;
        }
        Ok(())
    }

    async fn write_changes(&mut self) -> Result<()> {
        match &mut self.db {
            Db::Sqlite(tx) => {
                let mut statements = Statements::default();
                self.working.write(&mut Into::Sqlite(&mut statements))?;
                statements.run(tx).await
            }
            Db::Postgres(tx) => {
                let mut together = Together::default();
                self.working.write(&mut Into::Postgres(&mut together))?;
                together.run(tx).await
            }
            Db::PostgresNotBegun(_) | Db::SqliteNotBegun(_) => Err(not_begun().into()),
        }
    }

    /// From now on statements may look at, or change, very many rows: the server may take its time.
    pub(crate) const fn be_patient(&mut self) {
        if let Db::Postgres(tx) = &mut self.db {
            tx.be_patient();
        }
    }

    /// Before a statement that changes rows of whoever: what is remembered of them would be wrong.
    pub(crate) async fn settle_and_forget(&mut self) -> Result<()> {
        self.begin().await?;
        self.settle().await?;
        if !self.working.is_empty() {
            self.working.clear();
            self.carried.get().doubt_live();
        }
        self.carried.get().forget_people();
        Ok(())
    }
}
