//! Holding subscribers: one by one, or everybody whom a batch of requests is about in a few statements.
//!
//! On PostgreSQL, `subscriber.holder` names the process that remembers a subscriber. Whoever else locks the row takes that away; so a
//! process that finds its own name there, once it has the lock, remembers rightly.

use std::collections::{BTreeSet, HashMap, HashSet};

use kavadam_domain::{EntitlementId, Mac, NasId, SubscriberId};

use crate::session::session_in;
use crate::sql::{row, rows};
use crate::tx::Db;
use crate::working::Whole;
use crate::{DeviceRow, EntitlementRow, Error, LeaseRow, Result, SessionRow, SubscriberRow, Tx};

/// Identifiers taken from the database at once: by how many the sequences of PostgreSQL go on.
const NUMBERS: i64 = 512;

/// What a batch of requests names: whoever is behind that will be held.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Devices that may be remembered.
    pub macs: Vec<Mac>,
    /// Classes that gates sent.
    pub classes: Vec<Vec<u8>>,
    /// Names of sessions, with their gates.
    pub names: Vec<(NasId, String)>,
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

    /// Nothing of a subscriber's sessions, leases and entitlements is changed but under this.
    pub(crate) async fn hold(&mut self, id: SubscriberId) -> Result<()> {
        if self.working.holds(id) {
            return Ok(());
        }
        if self.is_reading() {
            return Err(Error::ReadOnly);
        }
        if self.is_sqlite() {
            self.hold_carried(id);
        } else if self.carried.is_shared() {
            self.hold_many(&[id].into()).await?;
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
    pub async fn gather(&mut self, wanted: &Wanted) -> Result<()> {
        // A statement of the embedded database costs no journey: one by one is as good.
        if self.is_sqlite() || !self.carried.is_shared() {
            return Ok(());
        }
        let mut owners = self.owners_of_devices(&wanted.macs).await?;
        owners.extend(self.owners_of_classes(&wanted.classes).await?);
        owners.extend(self.owners_of_names(&wanted.names).await?);
        self.hold_many(&owners).await
    }

    async fn owners_of_devices(&mut self, macs: &[Mac]) -> Result<BTreeSet<SubscriberId>> {
        if macs.is_empty() {
            return Ok(BTreeSet::new());
        }
        let Db::Postgres(tx) = &mut self.db else {
            return Ok(BTreeSet::new());
        };
        let raw: Vec<Vec<u8>> = macs.iter().map(|mac| mac.0.to_vec()).collect();
        let text = "SELECT * FROM device WHERE mac = ANY($1) AND remembered_until IS NOT NULL";
        let found: Vec<DeviceRow> = sqlx::query_as(text).bind(raw).fetch_all(&mut **tx).await?;
        let devices = &mut self.carried.get().devices;
        devices.extend(macs.iter().map(|mac| (*mac, None)));
        let owners = found.iter().map(|device| device.subscriber_id).collect();
        devices.extend(found.into_iter().map(|device| (device.mac, Some(device))));
        Ok(owners)
    }

    async fn owners_of_classes(&mut self, classes: &[Vec<u8>]) -> Result<BTreeSet<SubscriberId>> {
        let mut owners = BTreeSet::new();
        let (mut ids, mut unknown) = (Vec::new(), Vec::new());
        for class in classes {
            let Some(id) = session_in(class) else { continue };
            if let Some(owner) = self.carried.get().owner_of_session(id) {
                owners.insert(owner);
            } else {
                ids.push(id.0);
                unknown.push(class.as_slice());
            }
        }
        if let Db::Postgres(tx) = &mut self.db
            && !ids.is_empty()
        {
            let text = "SELECT s.subscriber_id FROM unnest($1::bigint[], $2::bytea[]) AS v (id, class)
                 JOIN session s ON s.id = v.id AND s.class = v.class";
            let query = sqlx::query_as(text).bind(ids).bind(unknown);
            let found: Vec<Owner> = query.fetch_all(&mut **tx).await?;
            owners.extend(found.into_iter().map(|row| row.subscriber_id));
        }
        Ok(owners)
    }

    async fn owners_of_names(&mut self, names: &[(NasId, String)]) -> Result<BTreeSet<SubscriberId>> {
        let mut owners = BTreeSet::new();
        let mut unknown: HashSet<&(NasId, String)> = HashSet::new();
        for name in names {
            match self.carried.get().owner_of_name(name.0, &name.1) {
                Some(owner) => _ = owners.insert(owner),
                None => _ = unknown.insert(name),
            }
        }
        if let Db::Postgres(tx) = &mut self.db
            && !unknown.is_empty()
        {
            let text = "SELECT s.subscriber_id, s.nas_id, s.acct_session_id AS name
                 FROM unnest($1::bigint[], $2::text[]) AS v (nas_id, name)
                 JOIN session s ON s.nas_id = v.nas_id AND s.acct_session_id = v.name AND s.ended_at IS NULL";
            let gates: Vec<i64> = unknown.iter().map(|(nas, _)| nas.0).collect();
            let texts: Vec<&str> = unknown.iter().map(|(_, name)| name.as_str()).collect();
            let query = sqlx::query_as(text).bind(gates).bind(texts);
            let found: Vec<NamedOwner> = query.fetch_all(&mut **tx).await?;
            let there: HashSet<(NasId, &str)> = found.iter().map(|row| (row.nas_id, row.name.as_str())).collect();
            let absent = unknown
                .into_iter()
                .filter(|(nas, name)| !there.contains(&(*nas, name.as_str())));
            self.absent_names.extend(absent.cloned());
            owners.extend(found.into_iter().map(|row| row.subscriber_id));
        }
        Ok(owners)
    }

    /// Locks everybody in one order, believes what is remembered of those this process still holds, and reads the others.
    async fn hold_many(&mut self, wanted: &BTreeSet<SubscriberId>) -> Result<()> {
        let wanted: Vec<i64> = wanted
            .iter()
            .filter(|id| !self.working.holds(**id))
            .map(|id| id.0)
            .collect();
        let holder = self.holder;
        let Db::Postgres(tx) = &mut self.db else { return Ok(()) };
        if wanted.is_empty() {
            return Ok(());
        }
        let text = "SELECT id, holder FROM subscriber WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";
        let locked: Vec<Holder> = sqlx::query_as(text).bind(wanted).fetch_all(&mut **tx).await?;
        let mut others = Vec::new();
        for row in locked {
            if row.holder != Some(holder) || !self.hold_carried(row.id) {
                others.push(row.id);
            }
        }
        self.read_many(&others).await
    }

    async fn read_many(&mut self, ids: &[SubscriberId]) -> Result<()> {
        let holder = self.holder;
        let Db::Postgres(tx) = &mut self.db else { return Ok(()) };
        if ids.is_empty() {
            return Ok(());
        }
        let raw: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let text = "UPDATE subscriber SET holder = $2 WHERE id = ANY($1) RETURNING *";
        let people: Vec<SubscriberRow> = sqlx::query_as(text)
            .bind(&raw)
            .bind(holder)
            .fetch_all(&mut **tx)
            .await?;
        let text = "SELECT * FROM session WHERE subscriber_id = ANY($1) AND ended_at IS NULL ORDER BY id";
        let sessions: Vec<SessionRow> = sqlx::query_as(text).bind(&raw).fetch_all(&mut **tx).await?;
        let text = "SELECT * FROM lease WHERE subscriber_id = ANY($1) AND is_closed = FALSE ORDER BY id";
        let leases: Vec<LeaseRow> = sqlx::query_as(text).bind(&raw).fetch_all(&mut **tx).await?;
        let mut periods: Vec<i64> = sessions.iter().map(|row| row.entitlement_id.0).collect();
        periods.extend(leases.iter().map(|row| row.entitlement_id.0));
        let text = "SELECT * FROM entitlement WHERE id = ANY($1)";
        let entitlements: Vec<EntitlementRow> = sqlx::query_as(text).bind(periods).fetch_all(&mut **tx).await?;

        let mut wholes: HashMap<SubscriberId, Whole> = HashMap::new();
        for row in sessions {
            wholes.entry(row.subscriber_id).or_default().sessions.push(row);
        }
        for row in leases {
            wholes.entry(row.subscriber_id).or_default().leases.push(row);
        }
        for row in entitlements {
            wholes.entry(row.subscriber_id).or_default().entitlements.push(row);
        }
        for person in people {
            let whole = wholes.remove(&person.id).unwrap_or_default();
            self.carried.get().forget(person.id);
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
        let text = match &self.db {
            // SQLite's writer is alone as it is, and knows no such clause.
            Db::Sqlite(_) => "SELECT * FROM subscriber WHERE id = $1",
            Db::Postgres(_) => "SELECT * FROM subscriber WHERE id = $1 FOR NO KEY UPDATE",
        };
        let row: SubscriberRow = rows!(self, fetch_one, text, id)?;
        self.release(id).await?;
        let sessions: Vec<SessionRow> = rows!(
            self,
            fetch_all,
            "SELECT * FROM session WHERE subscriber_id = $1 AND ended_at IS NULL ORDER BY id",
            id
        )?;
        let leases: Vec<LeaseRow> = rows!(
            self,
            fetch_all,
            "SELECT * FROM lease WHERE subscriber_id = $1 AND is_closed = FALSE ORDER BY id",
            id
        )?;
        let mut periods: Vec<EntitlementId> = sessions.iter().map(|row| row.entitlement_id).collect();
        periods.extend(leases.iter().map(|row| row.entitlement_id));
        periods.sort_unstable();
        periods.dedup();
        let mut entitlements = Vec::with_capacity(periods.len());
        for period in periods {
            let found: Option<EntitlementRow> =
                rows!(self, fetch_optional, "SELECT * FROM entitlement WHERE id = $1", period)?;
            entitlements.extend(found);
        }
        let whole = Whole {
            sessions,
            leases,
            entitlements,
        };
        self.working.hold(row, whole.with_pending(), false);
        Ok(())
    }

    /// No process may remember that subscriber.
    async fn release(&mut self, id: SubscriberId) -> Result<()> {
        if let Db::Postgres(tx) = &mut self.db {
            let text = "UPDATE subscriber SET holder = NULL WHERE id = $1 AND holder IS NOT NULL";
            sqlx::query(text).bind(id.0).execute(&mut **tx).await?;
        }
        Ok(())
    }

    /// An identifier that nobody has.
    pub(crate) async fn number(&mut self, table: Numbered) -> Result<i64> {
        if let Some(number) = self.numbers(table).pop() {
            return Ok(number);
        }
        if self.is_sqlite() {
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
                let text = "SELECT nextval(pg_get_serial_sequence($1, 'id')) AS id";
                let name = match table {
                    Numbered::Sessions => "session",
                    Numbered::Leases => "lease",
                    Numbered::Entitlements => "entitlement",
                };
                sqlx::query_as(text).bind(name).fetch_one(&mut **tx).await?
            }
        };
        let numbers = self.numbers(table);
        numbers.extend((first.id..first.id + NUMBERS).rev());
        numbers.pop().ok_or(Error::Database(sqlx::Error::RowNotFound))
    }

    fn numbers(&mut self, table: Numbered) -> &mut Vec<i64> {
        let numbers = &mut self.carried.get().numbers;
        match table {
            Numbered::Sessions => &mut numbers.sessions,
            Numbered::Leases => &mut numbers.leases,
            Numbered::Entitlements => &mut numbers.entitlements,
        }
    }
}
