//! Holding subscribers: one by one, or everybody whom a batch of requests is about in a few statements.
//!
//! On PostgreSQL, `subscriber.holder` names the process that remembers a subscriber. Whoever else locks the row takes that away; so a
//! process that finds its own name there, once it has the lock, remembers rightly.

use std::collections::HashSet;
use std::ops::Range;

use kavadam_domain::{Mac, NasId, SubscriberId};

use crate::many;
use crate::server::within;
use crate::session::session_in;
use crate::sql::{row, rows, unlocked_rows};
use crate::tx::{Db, not_begun};
use crate::{Error, Result, SubscriberRow, Tx};

/// Identifiers taken from the database at once: by how many the sequences of PostgreSQL go on.
const NUMBERS: i64 = 512;
/// The next of them.
const NEXT: &str = "SELECT nextval(pg_get_serial_sequence($1, 'id')) AS id";

/// What a request names: whoever is behind that will be held.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// A device that may be remembered.
    pub mac: Option<Mac>,
    /// The Class that a gate sent.
    pub class: Option<&'a [u8]>,
    /// The name of a session, with its gate.
    pub name: Option<(NasId, &'a str)>,
    /// It asks for a session: the name is most likely nobody's yet.
    pub is_beginning: bool,
}

row! {
    struct Holder {
        id: SubscriberId,
        holder: Option<i64>,
    }
}

row! {
    struct Owner {
        subscriber_id: SubscriberId,
    }
}

row! {
    struct NamedOwner {
        subscriber_id: SubscriberId,
        nas_id: NasId,
        name: String,
    }
}

row! {
    struct Number {
        id: i64,
    }
}

/// A table whose identifiers are given out here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numbered {
    Sessions,
    Leases,
    Entitlements,
}

impl Numbered {
    const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "session",
            Self::Leases => "lease",
            Self::Entitlements => "entitlement",
        }
    }
}

impl Tx {
    /// One subscriber, held until the transaction ends: whoever decides about somebody's quota or sessions takes this first, so that
    /// two gates asking at once are answered one after the other.
    ///
    /// # Errors
    /// The database failed, or there is no such subscriber.
    pub async fn lock_subscriber(&mut self, id: SubscriberId) -> Result<SubscriberRow> {
        if let Some(row) = self.working.subscriber(id) {
            return Ok(row.clone());
        }
        if self.is_reading() {
            return rows!(self, fetch_one, "SELECT * FROM subscriber WHERE id = $1", id);
        }
        self.hold(id).await?;
        let row = self.working.subscriber(id).cloned();
        row.ok_or(Error::Database(sqlx::Error::RowNotFound))
    }

    /// Holds a subscriber until the transaction ends, as [`Tx::lock_subscriber`] does. Nothing of a subscriber's sessions, leases and
    /// entitlements is changed but under this.
    ///
    /// # Errors
    /// The database failed, or the transaction only reads.
    pub async fn hold(&mut self, id: SubscriberId) -> Result<()> {
        if self.working.holds(id) {
            return Ok(());
        }
        if self.is_reading() {
            return Err(Error::ReadOnly);
        }
        if self.is_sqlite() || self.db.is_in_trust() {
            self.hold_carried(id);
        }
        if !self.working.holds(id) {
            Box::pin(self.hold_unknown(id)).await?;
        }
        Ok(())
    }

    async fn hold_unknown(&mut self, id: SubscriberId) -> Result<()> {
        if !self.is_sqlite() && self.carried.is_shared() {
            self.begin().await?;
            self.hold_many(vec![id]).await?;
        }
        if !self.working.holds(id) {
            self.hold_read(id).await?;
        }
        Ok(())
    }

    /// Holds everybody behind what a batch of requests names, where that takes fewer statements than one by one. Nobody is missed by
    /// leaving this out.
    ///
    /// # Errors
    /// The database failed.
    pub async fn gather(&mut self, wanted: &[Wanted<'_>]) -> Result<()> {
        if !self.carried.is_shared() {
            return Ok(());
        }
        let carry = self.carried.get();
        let mut owners = Vec::with_capacity(wanted.len());
        let (mut macs, mut classes, mut names) = (Vec::new(), Vec::new(), HashSet::new());
        let (believes_names, mut believed) = (matches!(self.db, Db::PostgresNotBegun(_)), HashSet::new());
        for one in wanted {
            if let Some(mac) = one.mac {
                match carry.devices.get(&mac) {
                    Some(device) => owners.push(device.subscriber_id),
                    None => macs.push(mac),
                }
            }
            // A Class leads to its session whatever that is called.
            if let Some((id, class)) = one.class.and_then(|class| Some((session_in(class)?, class))) {
                match carry.owner_of_session(id) {
                    Some(owner) => {
                        owners.push(owner);
                        continue;
                    }
                    None => classes.push((id.0, class)),
                }
            }
            if let Some(name) = one.name {
                match carry.owner_of_name(name.0, name.1) {
                    Some(owner) => owners.push(owner),
                    None if believes_names && one.is_beginning => _ = believed.insert(name),
                    None => _ = names.insert(name),
                }
            }
        }
        // Should it be somebody's after all, the database takes no second.
        let believed = believed
            .difference(&names)
            .map(|(nas, name)| (*nas, (*name).to_owned()));
        self.absent_names.extend(believed);
        owners.extend(self.owners_of_devices(&macs).await?);
        owners.extend(self.owners_of_classes(classes).await?);
        owners.extend(self.owners_of_names(names).await?);
        owners.sort_unstable();
        owners.dedup();
        self.hold_many(owners).await
    }

    async fn owners_of_devices(&mut self, macs: &[Mac]) -> Result<Vec<SubscriberId>> {
        if macs.is_empty() {
            return Ok(Vec::new());
        }
        if self.is_sqlite() {
            self.begin().await?;
        }
        let found = many::remembered_devices(&mut self.db, macs).await?;
        let owners = found.iter().map(|device| device.subscriber_id).collect();
        let devices = &mut self.carried.get().devices;
        devices.extend(found.into_iter().map(|device| (device.mac, device)));
        let absent = macs.iter().filter(|mac| !devices.contains_key(mac));
        self.absent_devices.extend(absent);
        Ok(owners)
    }

    /// On SQLite, names tell.
    async fn owners_of_classes(&mut self, classes: Vec<(i64, &[u8])>) -> Result<Vec<SubscriberId>> {
        if classes.is_empty() || self.is_sqlite() {
            return Ok(Vec::new());
        }
        let text = "SELECT s.subscriber_id FROM unnest($1::bigint[], $2::bytea[]) AS v (id, class)
             JOIN session s ON s.id = v.id AND s.class = v.class";
        let (ids, classes): (Vec<i64>, Vec<&[u8]>) = classes.into_iter().unzip();
        let query = sqlx::query_as(text).bind(ids).bind(classes);
        let found: Vec<Owner> = unlocked_rows!(&mut self.db, query)?;
        Ok(found.into_iter().map(|row| row.subscriber_id).collect())
    }

    /// On SQLite, all are known.
    async fn owners_of_names(&mut self, names: HashSet<(NasId, &str)>) -> Result<Vec<SubscriberId>> {
        if names.is_empty() || self.is_sqlite() {
            return Ok(Vec::new());
        }
        let text = "SELECT s.subscriber_id, s.nas_id, s.acct_session_id AS name
             FROM unnest($1::bigint[], $2::text[]) AS v (nas_id, name)
             JOIN session s ON s.nas_id = v.nas_id AND s.acct_session_id = v.name AND s.ended_at IS NULL";
        let (gates, texts): (Vec<i64>, Vec<&str>) = names.iter().map(|(nas, name)| (nas.0, *name)).unzip();
        let query = sqlx::query_as(text).bind(gates).bind(texts);
        let found: Vec<NamedOwner> = unlocked_rows!(&mut self.db, query)?;
        let there: HashSet<(NasId, &str)> = found.iter().map(|row| (row.nas_id, row.name.as_str())).collect();
        let absent = names.difference(&there).map(|(nas, name)| (*nas, (*name).to_owned()));
        self.absent_names.extend(absent);
        Ok(found.into_iter().map(|row| row.subscriber_id).collect())
    }

    /// Holds all of these until the transaction ends, in a few statements. To be taken before anybody else is.
    ///
    /// # Errors
    /// The database failed, or the transaction only reads.
    pub async fn hold_all(&mut self, mut ids: Vec<SubscriberId>) -> Result<()> {
        if self.is_reading() {
            return Err(Error::ReadOnly);
        }
        ids.sort_unstable();
        ids.dedup();
        self.hold_many(ids).await
    }

    /// Locks everybody in one order, believes what is remembered of those this process still holds, and reads the others. Where everybody
    /// is remembered, in trust.
    async fn hold_many(&mut self, mut wanted: Vec<SubscriberId>) -> Result<()> {
        wanted.retain(|id| !self.working.holds(*id));
        if self.db.is_in_trust() {
            if self.carried.get().knows_all(&wanted) {
                wanted.retain(|id| !self.hold_carried(*id));
            }
            if wanted.is_empty() {
                return Ok(());
            }
            self.begin().await?;
        }
        let holder = self.holder;
        let Db::Postgres(tx) = &mut self.db else {
            wanted.retain(|id| !self.hold_carried(*id));
            return self.read_many(&wanted).await;
        };
        if wanted.is_empty() {
            return Ok(());
        }
        let wanted: Vec<i64> = wanted.iter().map(|id| id.0).collect();
        let text = "SELECT id, holder FROM subscriber WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";
        let query = sqlx::query_as(text).bind(wanted);
        let locked: Vec<Holder> = within(tx.patience, query.fetch_all(&mut **tx)).await?;
        let mut others = Vec::new();
        for row in locked {
            if row.holder != Some(holder) || !self.hold_carried(row.id) {
                others.push(row.id);
            }
        }
        self.read_many(&others).await
    }

    async fn read_many(&mut self, ids: &[SubscriberId]) -> Result<()> {
        let holder = self.carried.is_shared().then_some(self.holder);
        let people = many::people(&mut self.db, ids, holder).await?;
        let mut live = many::live(&mut self.db, ids).await?;
        for person in people {
            self.carried.get().forget(person.id);
            let whole = live.remove(&person.id).unwrap_or_default();
            self.working.hold(person, whole.with_pending(), false);
        }
        Ok(())
    }

    /// Holds somebody as remembered; `false` if nobody is. On PostgreSQL only under the lock.
    pub(crate) fn hold_carried(&mut self, id: SubscriberId) -> bool {
        let Some((row, whole)) = self.carried.get().subscriber(id) else {
            return false;
        };
        self.working.hold(row, whole, true);
        true
    }

    /// Locks and reads one, who is then remembered by no other process.
    async fn hold_read(&mut self, id: SubscriberId) -> Result<()> {
        let text = if self.is_sqlite() {
            // Its writer is alone as it is, and knows no such clause.
            "SELECT * FROM subscriber WHERE id = $1"
        } else {
            "SELECT * FROM subscriber WHERE id = $1 FOR NO KEY UPDATE"
        };
        let row: SubscriberRow = rows!(self, fetch_one, text, id)?;
        self.release(id).await?;
        let whole = many::live(&mut self.db, &[id]).await?.remove(&id).unwrap_or_default();
        self.working.hold(row, whole.with_pending(), false);
        Ok(())
    }

    /// No process may remember that subscriber.
    async fn release(&mut self, id: SubscriberId) -> Result<()> {
        if let Db::Postgres(tx) = &mut self.db {
            let text = "UPDATE subscriber SET holder = NULL WHERE id = $1 AND holder IS NOT NULL";
            let query = sqlx::query(text).bind(id.0);
            within(tx.patience, query.execute(&mut **tx)).await?;
        }
        Ok(())
    }

    /// An identifier that nobody has.
    pub(crate) async fn number(&mut self, table: Numbered) -> Result<i64> {
        match self.numbers(table).next() {
            Some(number) => Ok(number),
            None => Box::pin(self.fetch_numbers(table)).await,
        }
    }

    async fn fetch_numbers(&mut self, table: Numbered) -> Result<i64> {
        if self.is_sqlite() {
            self.begin().await?;
            // The largest there is counts those that are only here yet.
            self.settle().await?;
        }
        let first: Number = match &mut self.db {
            Db::Sqlite(tx) => {
                let text = match table {
                    Numbered::Sessions => "SELECT COALESCE(MAX(id), 0) + 1 AS id FROM session",
                    Numbered::Leases => "SELECT COALESCE(MAX(id), 0) + 1 AS id FROM lease",
                    Numbered::Entitlements => "SELECT COALESCE(MAX(id), 0) + 1 AS id FROM entitlement",
                };
                sqlx::query_as(text).fetch_one(&mut **tx).await?
            }
            Db::Postgres(tx) => {
                let query = sqlx::query_as(NEXT).bind(table.name());
                within(tx.patience, query.fetch_one(&mut **tx)).await?
            }
            // Numbers are taken, not given back: no transaction is needed.
            Db::PostgresNotBegun(server) => {
                let query = sqlx::query_as(NEXT).bind(table.name());
                within(server.patience.statement, query.fetch_one(&server.pool)).await?
            }
            Db::SqliteNotBegun(_) => return Err(not_begun().into()),
        };
        // Whoever else adds rows to SQLite changes its version, and this is forgotten.
        let end = if self.is_sqlite() { i64::MAX } else { first.id + NUMBERS };
        *self.numbers(table) = first.id + 1..end;
        Ok(first.id)
    }

    fn numbers(&mut self, table: Numbered) -> &mut Range<i64> {
        let numbers = &mut self.carried.get().numbers;
        match table {
            Numbered::Sessions => &mut numbers.sessions,
            Numbered::Leases => &mut numbers.leases,
            Numbered::Entitlements => &mut numbers.entitlements,
        }
    }
}
