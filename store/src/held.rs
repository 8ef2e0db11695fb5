//! People whom another transaction holds: they are waited for, and not for ever.

use std::time::Duration;

use crate::server::within;
use crate::tx::Db;
use crate::{Result, Tx};

impl Tx {
    /// From now on whoever is held by another transaction is waited for only so long, at least a millisecond. On SQLite nobody ever is.
    ///
    /// # Errors
    /// The database failed.
    pub async fn wait_for_held(&mut self, patience: Duration) -> Result<()> {
        self.begin().await?;
        if let Db::Postgres(tx) = &mut self.db {
            // Zero would be for ever.
            let millis = format!("{}ms", patience.as_millis().max(1));
            let query = sqlx::query("SELECT set_config('lock_timeout', $1, TRUE)").bind(millis);
            within(tx.patience, query.execute(&mut **tx)).await?;
        }
        Ok(())
    }
}
