//! Transactions that began before something was changed on a server, and may yet write what was decided by what was before.

use std::time::Duration;

use crate::sql::{row, rows};
use crate::{Result, Store, Tx};

/// Between looks at whether they are over.
const LOOKED_AFTER: Duration = Duration::from_millis(20);

row! {
    /// One of them, by the server's process and when it began there.
    pub(crate) struct Began {
        pub(crate) process: i64,
        pub(crate) micros: i64,
    }
}

/// Transactions that were under way at one moment.
#[derive(Debug)]
pub struct UnderWay(Vec<Began>);

impl Store {
    /// What is under way now, of this process and all others of this program at the database. Whatever began to read later sees all that is
    /// committed by now. On SQLite nothing ever is: whoever writes is alone.
    ///
    /// # Errors
    /// The database failed.
    pub async fn under_way(&self) -> Result<UnderWay> {
        if self.is_embedded() {
            return Ok(UnderWay(Vec::new()));
        }
        Ok(UnderWay(self.read().await?.began().await?))
    }

    /// Waits until all of that is over, but no longer than twice for somebody's row: what waits longer fails. Tells whether it is.
    ///
    /// # Errors
    /// The database failed.
    pub async fn outwait(&self, mut before: UnderWay) -> Result<bool> {
        let over = async {
            while !before.0.is_empty() {
                let now = self.under_way().await?;
                before.0.retain(|began| now.0.contains(began));
                if !before.0.is_empty() {
                    tokio::time::sleep(LOOKED_AFTER).await;
                }
            }
            Ok(true)
        };
        let waited = tokio::time::timeout(self.patience().lock * 2, over).await;
        waited.unwrap_or(Ok(false))
    }
}

impl Tx {
    async fn began(&mut self) -> Result<Vec<Began>> {
        rows!(
            self,
            fetch_all,
            "SELECT pid::bigint AS process, (EXTRACT(EPOCH FROM xact_start) * 1000000)::bigint AS micros
             FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = current_setting('application_name')
                 AND xact_start IS NOT NULL AND pid <> pg_backend_pid()",
        )
    }
}
