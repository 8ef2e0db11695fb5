//! Transactions, and the rows they remember.
//!
//! A writing transaction keeps the rows of each subscriber it holds in a [`Working`] set: it answers questions about them from there, and
//! writes what became of them in a few statements at its end, so that a hundred decisions cost hardly more statements than one. What is
//! known for certain after the commit is carried over to the next transaction ([`crate::carry`]).

use std::collections::HashSet;

use kavadam_domain::{Mac, NasId};
use sqlx::Transaction;
use sqlx::postgres::Postgres;
use sqlx::sqlite::Sqlite;
use tokio::sync::OwnedMutexGuard;

use crate::Result;
use crate::carry::Carry;
use crate::working::Working;

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
    /// Names known to be no live session's when this transaction began.
    pub(crate) absent_names: HashSet<(NasId, String)>,
    /// It cannot write: nothing needs to be held or remembered.
    is_reading: bool,
}

/// The transaction of a driver.
#[derive(Debug)]
pub(crate) enum Db {
    /// On the embedded database.
    Sqlite(Transaction<'static, Sqlite>),
    /// On a server.
    Postgres(Transaction<'static, Postgres>),
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
            is_reading: false,
        }
    }

    /// Makes it lasting. Nothing may be acknowledged to anybody before this returns.
    ///
    /// # Errors
    /// It is not lasting: the transaction is undone.
    pub async fn commit(mut self) -> Result<()> {
        self.settle().await?;
        let done = match self.db {
            Db::Sqlite(tx) => tx.commit().await,
            Db::Postgres(tx) => tx.commit().await,
        };
        if self.carried.is_shared() {
            match &done {
                Ok(()) => self.carried.get().keep(self.working),
                // Nobody knows whether it happened.
                Err(_) => self.carried.get().clear(),
            }
        }
        Ok(done?)
    }

    pub(crate) const fn is_sqlite(&self) -> bool {
        matches!(self.db, Db::Sqlite(_))
    }

    pub(crate) const fn is_reading(&self) -> bool {
        self.is_reading
    }

    /// Before a statement that reads rows which may have changed in the working set only.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        self.working.write(&mut self.db).await
    }

    /// Before a statement that changes rows of whoever: what is remembered of them would be wrong.
    pub(crate) async fn settle_and_forget(&mut self) -> Result<()> {
        self.settle().await?;
        if !self.working.is_empty() {
            self.working.clear();
            self.carried.get().doubt_names();
        }
        self.carried.get().forget_people();
        Ok(())
    }
}
