//! What the database holds, for the test that compares the two: a schema that differs is a bug waiting for the day of moving.

use crate::sql::{row, rows};
use crate::{Result, Tx};

row! {
    /// A column, in words that both databases share.
    pub struct Column {
        /// Table.
        pub table_name: String,
        /// Column.
        pub column_name: String,
        /// `integer`, `boolean`, `text` or `bytes`. SQLite keeps booleans as integers; ours are named `is_…`.
        pub kind: String,
        /// Whether it may be absent.
        pub is_nullable: bool,
    }
}

row! {
    /// An index or a unique key.
    pub struct Index {
        /// Table.
        pub table_name: String,
        /// Its columns, in order, with commas between.
        pub columns: String,
        /// Whether it forbids doubles.
        pub is_unique: bool,
        /// Whether it covers only some rows.
        pub is_partial: bool,
    }
}

impl Tx {
    /// Every column of every table of ours.
    ///
    /// # Errors
    /// The database failed.
    pub async fn columns(&mut self) -> Result<Vec<Column>> {
        let text = if self.is_sqlite() {
            "SELECT m.name AS table_name, c.name AS column_name, c.\"notnull\" = 0 AS is_nullable,
                     CASE WHEN c.type = 'INTEGER' AND c.name LIKE 'is!_%' ESCAPE '!' THEN 'boolean'
                          WHEN c.type = 'INTEGER' THEN 'integer' WHEN c.type = 'TEXT' THEN 'text'
                          WHEN c.type = 'BLOB' THEN 'bytes' ELSE c.type END AS kind
                 FROM sqlite_schema m JOIN pragma_table_info(m.name) c
                 WHERE m.type = 'table' AND m.name NOT LIKE '!_%' ESCAPE '!' AND m.name NOT LIKE 'sqlite!_%' ESCAPE '!'
                 ORDER BY 1, 2"
        } else {
            "SELECT table_name::text, column_name::text, is_nullable = 'YES' AS is_nullable,
                     CASE data_type WHEN 'bigint' THEN 'integer' WHEN 'bytea' THEN 'bytes' ELSE data_type::text END AS kind
                 FROM information_schema.columns
                 WHERE table_schema = current_schema() AND table_name NOT LIKE '!_%' ESCAPE '!'
                 ORDER BY table_name::text COLLATE \"C\", column_name::text COLLATE \"C\""
        };
        rows!(self, fetch_all, text)
    }

    /// Every index and unique key of ours, primary keys included.
    ///
    /// # Errors
    /// The database failed.
    pub async fn indexes(&mut self) -> Result<Vec<Index>> {
        let text = if self.is_sqlite() {
            "SELECT table_name, columns, is_unique, is_partial FROM (
                     SELECT m.name AS table_name, i.\"unique\" = 1 AS is_unique, i.partial = 1 AS is_partial,
                         (SELECT group_concat(name, ',') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno)) AS columns
                     FROM sqlite_schema m JOIN pragma_index_list(m.name) i
                     WHERE m.type = 'table' AND m.name NOT LIKE '!_%' ESCAPE '!'
                     UNION ALL
                     SELECT m.name, 1, 0, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
                     WHERE m.type = 'table' AND m.name NOT LIKE '!_%' ESCAPE '!' AND c.pk = 1 AND c.type = 'INTEGER')
                 ORDER BY 1, 2, 3, 4"
        } else {
            "SELECT t.relname::text AS table_name, i.indisunique AS is_unique, i.indpred IS NOT NULL AS is_partial,
                     (SELECT string_agg(a.attname::text, ',' ORDER BY k.position)
                      FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, position)
                      JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum) AS columns
                 FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
                 WHERE n.nspname = current_schema() AND t.relname NOT LIKE '!_%' ESCAPE '!'
                 ORDER BY 1, 4, 2, 3"
        };
        rows!(self, fetch_all, text)
    }
}
