//! Rows of many subscribers in a few statements: PostgreSQL takes a list as an array, SQLite one of a few lengths.

use std::collections::HashMap;

use kavadam_domain::{EntitlementId, Mac, SessionId, SubscriberId};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow};

use crate::column::Bind;
use crate::server::within;
use crate::sql::unlocked_rows;
use crate::tx::{Db, not_begun};
use crate::working::Whole;
use crate::{DeviceRow, EntitlementRow, LeaseRow, Result, SessionRow, SubscriberRow};

/// Lengths of a list on SQLite: each makes a statement of its own, prepared once; what is missing is filled up with NULL, which equals
/// nothing.
const LENGTHS: [usize; 4] = [1, 8, 64, 256];

/// The devices of those addresses that are still remembered, or were once and expired.
pub(crate) async fn remembered_devices(db: &mut Db, macs: &[Mac]) -> Result<Vec<DeviceRow>> {
    let rest = "AND remembered_until IS NOT NULL ORDER BY last_seen_at, id";
    if db.is_sqlite() {
        return of_list(db, "device WHERE mac", rest, macs).await;
    }
    let raw: Vec<Vec<u8>> = macs.iter().map(Bind::raw).collect();
    let text = format!("SELECT * FROM device WHERE mac = ANY($1) {rest}");
    unlocked_rows!(db, sqlx::query_as(AssertSqlSafe(text)).bind(raw))
}

/// Those subscribers. On PostgreSQL they are locked, and `holder` remembers them from now on, or nobody.
pub(crate) async fn people(db: &mut Db, ids: &[SubscriberId], holder: Option<i64>) -> Result<Vec<SubscriberRow>> {
    match db {
        Db::Postgres(tx) if !ids.is_empty() => {
            let raw: Vec<i64> = ids.iter().map(Bind::raw).collect();
            let text = "UPDATE subscriber SET holder = $2 WHERE id = ANY($1) RETURNING *";
            let query = sqlx::query_as(text).bind(raw).bind(holder);
            Ok(within(tx.patience, query.fetch_all(&mut **tx)).await?)
        }
        Db::Postgres(_) => Ok(Vec::new()),
        Db::PostgresNotBegun(_) | Db::SqliteNotBegun(_) => Err(not_begun().into()),
        Db::Sqlite(_) => of_list(db, "subscriber WHERE id", "", ids).await,
    }
}

/// Everything that is going on of those subscribers, as the database has it.
pub(crate) async fn live(db: &mut Db, ids: &[SubscriberId]) -> Result<HashMap<SubscriberId, Whole>> {
    let mut wholes: HashMap<SubscriberId, Whole> = HashMap::new();
    if ids.is_empty() {
        return Ok(wholes);
    }
    let (sessions, leases): (Vec<SessionRow>, Vec<LeaseRow>) = match db {
        Db::Postgres(tx) => {
            let raw: Vec<i64> = ids.iter().map(Bind::raw).collect();
            let text = "SELECT * FROM session WHERE subscriber_id = ANY($1) AND ended_at IS NULL ORDER BY id";
            let query = sqlx::query_as(text).bind(&raw);
            let sessions = within(tx.patience, query.fetch_all(&mut **tx)).await?;
            let text = "SELECT * FROM lease WHERE subscriber_id = ANY($1) AND is_closed = FALSE ORDER BY id";
            let query = sqlx::query_as(text).bind(&raw);
            (sessions, within(tx.patience, query.fetch_all(&mut **tx)).await?)
        }
        Db::PostgresNotBegun(_) | Db::SqliteNotBegun(_) => return Err(not_begun().into()),
        Db::Sqlite(_) => (
            of_list(
                db,
                "session WHERE subscriber_id",
                "AND ended_at IS NULL ORDER BY id",
                ids,
            )
            .await?,
            of_list(
                db,
                "lease WHERE subscriber_id",
                "AND is_closed = FALSE ORDER BY id",
                ids,
            )
            .await?,
        ),
    };
    let mut periods: Vec<EntitlementId> = sessions.iter().map(|row| row.entitlement_id).collect();
    periods.extend(leases.iter().map(|row| row.entitlement_id));
    periods.sort_unstable();
    periods.dedup();
    for row in entitlements(db, &periods).await? {
        wholes.entry(row.subscriber_id).or_default().entitlements.push(row);
    }
    for row in sessions {
        wholes.entry(row.subscriber_id).or_default().sessions.push(row);
    }
    for row in leases {
        wholes.entry(row.subscriber_id).or_default().leases.push(row);
    }
    Ok(wholes)
}

/// Without what is pending in sessions.
async fn entitlements(db: &mut Db, ids: &[EntitlementId]) -> Result<Vec<EntitlementRow>> {
    match db {
        Db::Postgres(tx) => {
            let raw: Vec<i64> = ids.iter().map(Bind::raw).collect();
            let text = "SELECT * FROM entitlement WHERE id = ANY($1)";
            let query = sqlx::query_as(text).bind(raw);
            Ok(within(tx.patience, query.fetch_all(&mut **tx)).await?)
        }
        Db::PostgresNotBegun(_) | Db::SqliteNotBegun(_) => Err(not_begun().into()),
        Db::Sqlite(_) => of_list(db, "entitlement WHERE id", "", ids).await,
    }
}

/// On SQLite, those sessions, over or not.
pub(crate) async fn sessions(db: &mut Db, ids: &[SessionId]) -> Result<Vec<SessionRow>> {
    of_list(db, "session WHERE id", "", ids).await
}

/// On SQLite, `SELECT * FROM {which column} IN (…) {rest}`.
async fn of_list<K: Bind, R>(db: &mut Db, which: &str, rest: &str, keys: &[K]) -> Result<Vec<R>>
where
    K::Raw: for<'q> sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + 'static,
    R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let Db::Sqlite(tx) = db else {
        return Err(not_begun().into());
    };
    let mut found = Vec::new();
    let [.., most] = LENGTHS;
    for piece in keys.chunks(most) {
        let length = LENGTHS
            .into_iter()
            .find(|length| *length >= piece.len())
            .unwrap_or(most);
        let marks = vec!["?"; length].join(", ");
        let text = format!("SELECT * FROM {which} IN ({marks}) {rest}");
        let mut query = sqlx::query_as(AssertSqlSafe(text));
        for key in piece {
            query = query.bind(key.raw());
        }
        for _ in piece.len()..length {
            query = query.bind(None::<i64>);
        }
        found.extend(query.fetch_all(&mut **tx).await?);
    }
    Ok(found)
}
