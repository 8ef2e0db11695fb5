//! One text of SQL, two drivers.

/// Runs one statement in a transaction and reads its rows: `rows!(tx, fetch_optional, "SELECT … WHERE id = $1", id)`.
/// The row's type comes from where the result goes.
macro_rules! rows {
    ($tx:expr, $fetch:ident, $text:expr $(, $bind:expr)* $(,)?) => {{
        $tx.begin().await?;
        match &mut $tx.db {
            $crate::tx::Db::Sqlite(tx) => {
                sqlx::query_as($text)$(.bind($crate::column::Bind::raw(&$bind)))*.$fetch(&mut **tx).await
            }
            $crate::tx::Db::Postgres(tx) => {
                let query = sqlx::query_as($text)$(.bind($crate::column::Bind::raw(&$bind)))*;
                $crate::server::within(tx.patience, query.$fetch(&mut **tx)).await
            }
            $crate::tx::Db::PostgresNotBegun(_) | $crate::tx::Db::SqliteNotBegun(_) => Err($crate::tx::not_begun()),
        }
        .map_err($crate::Error::from)
    }};
}

/// Runs one statement in a transaction and tells how many rows it touched.
macro_rules! execute {
    ($tx:expr, $text:expr $(, $bind:expr)* $(,)?) => {{
        $tx.begin().await?;
        match &mut $tx.db {
            $crate::tx::Db::Sqlite(tx) => {
                sqlx::query($text)$(.bind($crate::column::Bind::raw(&$bind)))*.execute(&mut **tx).await
                    .map(|done| done.rows_affected())
            }
            $crate::tx::Db::Postgres(tx) => {
                let query = sqlx::query($text)$(.bind($crate::column::Bind::raw(&$bind)))*;
                $crate::server::within(tx.patience, query.execute(&mut **tx)).await
                    .map(|done| done.rows_affected())
            }
            $crate::tx::Db::PostgresNotBegun(_) | $crate::tx::Db::SqliteNotBegun(_) => Err($crate::tx::not_begun()),
        }
        .map_err($crate::Error::from)
    }};
}

/// Reads rows by a query of PostgreSQL's, which needs no transaction: in trust there is none.
macro_rules! unlocked_rows {
    ($db:expr, $query:expr) => {
        match $db {
            $crate::tx::Db::Postgres(tx) => $crate::server::within(tx.patience, $query.fetch_all(&mut **tx)).await,
            $crate::tx::Db::PostgresNotBegun(server) => {
                $crate::server::within(server.patience.statement, $query.fetch_all(&server.pool)).await
            }
            $crate::tx::Db::Sqlite(_) | $crate::tx::Db::SqliteNotBegun(_) => Ok(Vec::new()),
        }
        .map_err($crate::Error::from)
    };
}

/// Declares a row and how to read it from either database, each column by its field's name.
macro_rules! row {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$doc:meta])* $see:vis $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis struct $name {
            $($(#[$doc])* $see $field: $type,)*
        }
        row!(@from $name, sqlx::sqlite::SqliteRow, $($field),*);
        row!(@from $name, sqlx::postgres::PgRow, $($field),*);
    };
    (@from $name:ident, $row:ty, $($field:ident),*) => {
        impl<'r> sqlx::FromRow<'r, $row> for $name {
            fn from_row(row: &'r $row) -> sqlx::Result<Self> {
                Ok(Self { $($field: $crate::column::read(row, stringify!($field))?,)* })
            }
        }
    };
}

pub(crate) use {execute, row, rows, unlocked_rows};

row! {
    /// A lone identifier, `SELECT … AS id` or `RETURNING id`.
    pub struct Id {
        pub id: i64,
    }
}

row! {
    /// A lone figure, `SELECT … AS figure`.
    pub struct Figure {
        pub figure: u64,
    }
}
