//! Everything that a transaction changed, in one statement of PostgreSQL: one way there and back instead of one for each table.
//!
//! Where no transaction was begun, the statement is the transaction: it locks those whose rows it changes and does nothing unless all that
//! was remembered of them still holds ([`Guard`]).

use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::{Arguments as _, AssertSqlSafe};

use kavadam_domain::SubscriberId;

use crate::column::Bind;
use crate::error::is_held;
use crate::server::{Served, within};
use crate::sqlite::Statements;
use crate::{Error, Result};

/// Where changed rows go, to be run then.
pub(crate) enum Into<'a> {
    /// One after the other.
    Sqlite(&'a mut Statements),
    /// Together.
    Postgres(&'a mut Together),
}

/// A statement that writes many rows of one table, but for its numbers and its place among others.
pub(crate) struct Part {
    pub(crate) head: String,
    pub(crate) types: Vec<&'static str>,
    /// Ends with a condition.
    pub(crate) tail: String,
    /// Follows the conditions.
    pub(crate) end: String,
}

impl Part {
    /// With the parameters from `first` on, where `condition` is met.
    pub(crate) fn text(&self, first: usize, condition: &str) -> String {
        let numbered = self.types.iter().enumerate();
        let parameters: Vec<String> = numbered.map(|(at, kind)| format!("${}::{kind}", first + at)).collect();
        let (head, tail, end) = (&self.head, &self.tail, &self.end);
        format!("{head} unnest({}){tail} AND {condition}{end}", parameters.join(", "))
    }
}

/// What must still hold for a statement to be carried out.
pub(crate) struct Guard {
    /// Those believed as remembered.
    pub(crate) held: Vec<SubscriberId>,
    /// Who remembers them.
    pub(crate) holder: i64,
    /// The revision of the places believed.
    pub(crate) places: i64,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Together {
    parts: Vec<String>,
    arguments: PgArguments,
    is_guarded: bool,
}

impl Together {
    /// # Errors
    /// The values cannot be sent.
    pub(crate) fn guarded(guard: &Guard) -> Result<Self> {
        let mut arguments = PgArguments::default();
        let held: Vec<i64> = guard.held.iter().map(Bind::raw).collect();
        let count = i64::try_from(held.len()).unwrap_or(i64::MAX);
        let add = || -> std::result::Result<(), BoxDynError> {
            arguments.add(held)?;
            arguments.add(guard.holder)?;
            arguments.add(count)?;
            arguments.add(guard.places)
        };
        add().map_err(sqlx::Error::Encode)?;
        Ok(Self {
            arguments,
            is_guarded: true,
            ..Self::default()
        })
    }

    /// # Errors
    /// The values cannot be sent.
    pub(crate) fn add(
        &mut self,
        part: &Part,
        bind: impl FnOnce(&mut PgArguments) -> std::result::Result<(), BoxDynError>,
    ) -> Result<()> {
        let mut conditions = vec!["TRUE".to_owned()];
        if self.is_guarded {
            conditions.push("(SELECT is_fit FROM fit)".to_owned());
        }
        // One after the other: an ended session leaves its name to another.
        if let Some(before) = self.parts.len().checked_sub(1) {
            conditions.push(format!("(SELECT count(*) FROM w{before}) >= 0"));
        }
        let text = part.text(self.arguments.len() + 1, &conditions.join(" AND "));
        self.parts.push(format!("{text} RETURNING 1"));
        bind(&mut self.arguments).map_err(|source| Error::Database(sqlx::Error::Encode(source)))
    }

    /// In a transaction that was begun.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn run(self, tx: &mut Served) -> Result<()> {
        if self.parts.is_empty() {
            return Ok(());
        }
        let text = format!("WITH {} SELECT TRUE", self.numbered());
        let query = sqlx::query_with(AssertSqlSafe(text), self.arguments);
        within(tx.patience, query.execute(&mut **tx)).await?;
        Ok(())
    }

    /// As a transaction of its own, waited for so long. If what the guard asks for does not hold, nothing was done, and this tells who of those held are still
    /// the holder's.
    ///
    /// # Errors
    /// [`Error::Stale`]: nothing was done, because the rows do not fit those there. Another of the database's own ([`is_held`]): nothing was done.
    /// Any other: nobody knows whether it was done.
    pub(crate) async fn run_alone(
        self,
        connection: &mut PgConnection,
        patience: Duration,
    ) -> Result<Option<Vec<SubscriberId>>> {
        let lock = if self.parts.is_empty() {
            ""
        } else {
            " ORDER BY id FOR NO KEY UPDATE"
        };
        let parts = if self.parts.is_empty() {
            String::new()
        } else {
            format!(", {}", self.numbered())
        };
        let text = format!(
            "WITH ours AS MATERIALIZED (SELECT id FROM subscriber WHERE id = ANY($1) AND holder = $2{lock}),
             fit AS MATERIALIZED (SELECT count(*) = $3 AND (SELECT places FROM revision WHERE id = 1) = $4 AS is_fit FROM ours)
             {parts} SELECT CASE WHEN is_fit THEN NULL ELSE ARRAY(SELECT id FROM ours) END FROM fit"
        );
        let query = sqlx::query_scalar_with(AssertSqlSafe(text), self.arguments);
        let done: sqlx::Result<Option<Vec<i64>>> = within(patience, query.fetch_one(connection)).await;
        match done {
            Ok(ours) => Ok(ours.map(|ours| ours.into_iter().map(SubscriberId).collect())),
            Err(sqlx::Error::Database(error)) if !is_held(&*error) => Err(Error::Stale),
            Err(error) => Err(error.into()),
        }
    }

    fn numbered(&self) -> String {
        let numbered = self.parts.iter().enumerate();
        let parts: Vec<String> = numbered.map(|(at, text)| format!("w{at} AS ({text})")).collect();
        parts.join(",\n")
    }
}
