//! Many rows in one statement: PostgreSQL takes a column as an array, SQLite a list of rows.

use std::sync::LazyLock;

use crate::column::Bind;
use crate::together::{Into, Part};

/// Rows in a statement of SQLite: each size is a statement of its own, prepared once, and the next larger is filled up with rows of NULL. Each
/// statement goes to the thread of the connection and back.
const SIZES: [usize; 5] = [1, 4, 16, 64, 256];

/// A column's type in PostgreSQL, as an array.
pub(crate) trait Array {
    const TYPE: &'static str;
}

macro_rules! arrays {
    ($($type:ty: $name:literal),*) => {$(
        impl Array for $type { const TYPE: &'static str = $name; }
        impl Array for Option<$type> { const TYPE: &'static str = $name; }
    )*};
}

arrays!(i64: "bigint[]", String: "text[]", Vec<u8>: "bytea[]", bool: "boolean[]");

/// The type of what a column of a row is bound as.
pub(crate) fn array_type<R, T: Bind>(_: impl Fn(&R) -> &T) -> &'static str
where
    T::Raw: Array,
{
    T::Raw::TYPE
}

/// The texts of one kind of statement.
pub(crate) struct Texts {
    postgres: Part,
    sqlite: [String; SIZES.len()],
}

impl Texts {
    /// `INSERT` of those columns.
    pub(crate) fn insert(table: &str, columns: &[(&str, &'static str)]) -> Self {
        let names = join(columns.iter().map(|(name, _)| (*name).to_owned()));
        let postgres = Part {
            head: format!("INSERT INTO {table} ({names}) SELECT * FROM"),
            types: types(columns),
            tail: " WHERE TRUE".to_owned(),
            end: String::new(),
        };
        let sqlite = SIZES.map(|size| {
            let values = values(columns.len(), size);
            format!("INSERT INTO {table} ({names}) SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL")
        });
        Self { postgres, sqlite }
    }

    /// `INSERT` of those columns, or `UPDATE` where the first, which is the key, is there.
    pub(crate) fn upsert(table: &str, columns: &[(&str, &'static str)]) -> Self {
        let key = columns.first().map_or("id", |(name, _)| name);
        let sets = join(
            columns
                .iter()
                .skip(1)
                .map(|(name, _)| format!("{name} = excluded.{name}")),
        );
        let more = format!(" ON CONFLICT ({key}) DO UPDATE SET {sets}");
        let Self { postgres, sqlite } = Self::insert(table, columns);
        Self {
            postgres: Part {
                end: more.clone(),
                ..postgres
            },
            sqlite: sqlite.map(|text| text + &more),
        }
    }

    /// `UPDATE` of those columns but the first, which is the key.
    pub(crate) fn update(table: &str, columns: &[(&str, &'static str)]) -> Self {
        let key = columns.first().map_or("id", |(name, _)| name);
        let sets = join(columns.iter().skip(1).map(|(name, _)| format!("{name} = v.{name}")));
        let names = join(columns.iter().map(|(name, _)| (*name).to_owned()));
        let postgres = Part {
            head: format!("UPDATE {table} AS t SET {sets} FROM"),
            types: types(columns),
            tail: format!(" AS v ({names}) WHERE t.{key} = v.{key}"),
            end: String::new(),
        };
        let numbered = columns.iter().enumerate().skip(1);
        let sets = join(numbered.map(|(at, (name, _))| format!("{name} = v.column{}", at + 1)));
        let sqlite = SIZES.map(|size| {
            format!(
                "UPDATE {table} SET {sets} FROM (VALUES {}) AS v WHERE {table}.{key} = v.column1",
                values(columns.len(), size)
            )
        });
        Self { postgres, sqlite }
    }
}

fn join(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn types(columns: &[(&str, &'static str)]) -> Vec<&'static str> {
    columns.iter().map(|(_, kind)| *kind).collect()
}

fn values(width: usize, rows: usize) -> String {
    let row = format!("({})", join((0..width).map(|_| "?".to_owned())));
    join((0..rows).map(|_| row.clone()))
}

/// Parts rows into what SQLite has statements for: the statement, its rows, and how many are to be filled up.
pub(crate) fn pieces<'a, R>(
    texts: &'static Texts,
    mut rows: &'a [R],
) -> impl Iterator<Item = (&'static str, &'a [R], usize)> {
    std::iter::from_fn(move || {
        let [.., most] = SIZES;
        let (piece, rest) = rows.split_at_checked(rows.len().min(most))?;
        rows = rest;
        let fitting = SIZES.iter().position(|size| *size >= piece.len().max(1))?;
        let text = texts.sqlite.get(fitting)?.as_str();
        (!piece.is_empty()).then_some((text, piece, SIZES.get(fitting)? - piece.len()))
    })
}

impl Texts {
    pub(crate) const fn postgres(&'static self) -> &'static Part {
        &self.postgres
    }
}

/// Declares statements that write many rows of a table: `name: INSERT or UPDATE table, Row { columns }`.
macro_rules! statements {
    ($($(#[$meta:meta])* $name:ident: $kind:ident $table:literal, $row:ty { $($column:ident),* $(,)? })*) => {$(
        $(#[$meta])*
        pub(crate) fn $name(into: &mut Into<'_>, rows: &[&$row]) -> crate::Result<()> {
            static TEXTS: LazyLock<Texts> = LazyLock::new(|| {
                Texts::$kind($table, &[$((stringify!($column), array_type(|row: &$row| &row.$column))),*])
            });
            if rows.is_empty() {
                return Ok(());
            }
            match into {
                Into::Sqlite(statements) => {
                    for (text, piece, missing) in pieces(&TEXTS, rows) {
                        statements.add(text, |arguments| {
                            let columns = [$(stringify!($column)),*].len();
                            arguments.reserve((piece.len() + missing) * columns, 0);
                            for row in piece {
                                $(arguments.add(Bind::raw(&row.$column))?;)*
                            }
                            for _ in 0..missing * columns {
                                arguments.add(None::<i64>)?;
                            }
                            Ok(())
                        })?;
                    }
                }
                Into::Postgres(together) => {
                    together.add(TEXTS.postgres(), |arguments| {
                        $(arguments.add(rows.iter().map(|row| Bind::raw(&row.$column)).collect::<Vec<_>>())?;)*
                        Ok(())
                    })?;
                }
            }
            Ok(())
        }
    )*};
}

/// The tables whose rows are remembered.
pub(crate) mod tables {
    use sqlx::Arguments as _;

    use super::{Bind, Into, LazyLock, Texts, array_type, pieces};
    use crate::{EntitlementRow, LeaseRow, SessionRow, VendorRow};

    statements! {
        insert_entitlements: insert "entitlement", EntitlementRow {
            id, subscriber_id, plan_id, window_start, window_end, topped_up_octets, used_octets,
        }
        update_entitlements: update "entitlement", EntitlementRow { id, window_end, topped_up_octets, used_octets }
        insert_leases: insert "lease", LeaseRow {
            id, subscriber_id, entitlement_id, nas_id, is_shared, prior_id, granted_octets, used_octets, is_closed,
        }
        update_leases: update "lease", LeaseRow { id, entitlement_id, granted_octets, used_octets, is_closed }
        insert_sessions: insert "session", SessionRow {
            id, class, subscriber_id, entitlement_id, lease_id, nas_id, site_id, acct_session_id, mac, ip, state, is_renewable,
            is_throttled, granted_at, started_at, reported_at, heard_at, heard_from, ends_at, ended_at, terminate_cause, is_presumed_ended,
            granted_octets, up_octets, down_octets, base_up_octets, base_down_octets, up_packets, down_packets, session_secs,
            is_wide, order_action, order_number, order_attempts, order_next_at, trouble, pending_octets,
        }
        upsert_vendors: upsert "session_vendor", VendorRow {
            session_id, max_total_octets, up_bits_per_sec, down_bits_per_sec, session_secs, idle_secs, user_name, handle,
            nas_identifier, nas_ip, called_station_id, ssid, access_point, public_ip, first_port, last_port, free_up_octets, free_down_octets,
            asked_at,
        }
        /// What every report moves on; no index has these columns.
        update_counters: update "session", SessionRow {
            id, reported_at, heard_at, up_octets, down_octets, up_packets, down_packets, session_secs, pending_octets,
        }
        /// What a report may move on; no index has these columns.
        update_meters: update "session", SessionRow {
            id, ip, reported_at, heard_at, up_octets, down_octets, base_up_octets, base_down_octets, up_packets, down_packets,
            session_secs, is_wide, pending_octets,
        }
        /// As granted: the other columns have their defaults.
        insert_fresh_sessions: insert "session", SessionRow {
            id, class, subscriber_id, entitlement_id, lease_id, nas_id, site_id, acct_session_id, mac, ip, state, is_renewable,
            is_throttled, granted_at, heard_at, ends_at, granted_octets,
        }
        /// SQLite writes every index that has one of the columns named, changed or not: no index has these.
        settle_sessions: update "session", SessionRow {
            id, ip, reported_at, heard_at, up_octets, down_octets, base_up_octets, base_down_octets, up_packets, down_packets,
            session_secs, is_wide, pending_octets, entitlement_id, lease_id, state, is_throttled, started_at, ends_at,
            granted_octets, order_number, order_attempts, trouble,
        }
        /// What did nothing since but end.
        end_sessions: update "session", SessionRow { id, state, ended_at, terminate_cause, is_presumed_ended }
        end_moved_sessions: update "session", SessionRow {
            id, ip, reported_at, heard_at, up_octets, down_octets, base_up_octets, base_down_octets, up_packets, down_packets,
            session_secs, is_wide, pending_octets, entitlement_id, lease_id, state, is_throttled, started_at, ends_at,
            granted_octets, order_number, order_attempts, trouble, ended_at, terminate_cause, is_presumed_ended,
        }
        /// Whatever of a session may change after its grant.
        update_sessions: update "session", SessionRow {
            id, entitlement_id, lease_id, acct_session_id, mac, ip, state, is_throttled, granted_at, started_at, reported_at,
            heard_at, heard_from, ends_at, ended_at, terminate_cause, is_presumed_ended, granted_octets, up_octets, down_octets, base_up_octets,
            base_down_octets, up_packets, down_packets, session_secs, is_wide, order_action, order_number, order_attempts,
            order_next_at, trouble, pending_octets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_for_each_database_and_size() {
        let texts = Texts::update("a", &[("id", "bigint[]"), ("name", "text[]")]);
        assert_eq!(
            texts.postgres.text(3, "fit"),
            "UPDATE a AS t SET name = v.name FROM unnest($3::bigint[], $4::text[]) AS v (id, name) WHERE t.id = v.id AND fit"
        );
        let [one, four, ..] = &texts.sqlite;
        assert_eq!(
            one,
            "UPDATE a SET name = v.column2 FROM (VALUES (?, ?)) AS v WHERE a.id = v.column1"
        );
        assert!(four.contains("(VALUES (?, ?), (?, ?), (?, ?), (?, ?))"), "{four}");
        let texts = Texts::insert("a", &[("id", "bigint[]"), ("name", "text[]")]);
        assert_eq!(
            texts.postgres.text(1, "fit"),
            "INSERT INTO a (id, name) SELECT * FROM unnest($1::bigint[], $2::text[]) WHERE TRUE AND fit"
        );
        let texts = Texts::upsert("a", &[("id", "bigint[]"), ("name", "text[]")]);
        assert!(
            texts
                .postgres
                .text(1, "fit")
                .ends_with("AND fit ON CONFLICT (id) DO UPDATE SET name = excluded.name")
        );
    }

    #[test]
    fn rows_are_parted_into_known_sizes_without_losing_one() {
        let texts: &'static Texts = Box::leak(Box::new(Texts::insert("a", &[("id", "bigint[]")])));
        for count in [0_usize, 1, 3, 64, 150, 257] {
            let rows: Vec<usize> = (0..count).collect();
            let parted: Vec<usize> = pieces(texts, &rows).flat_map(|(_, piece, _)| piece.to_vec()).collect();
            assert_eq!(parted, rows);
            for (text, piece, missing) in pieces(texts, &rows) {
                assert_eq!(text.matches("(?)").count(), piece.len() + missing);
            }
        }
    }
}
