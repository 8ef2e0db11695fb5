//! What tells whether a master key is this database's.

use crate::sql::{execute, row, rows};
use crate::{Result, Tx};

row! {
    struct SealCheck {
        pub sealed: Vec<u8>,
    }
}

impl Tx {
    /// What was sealed when the database was first used; `None`: it never was.
    ///
    /// # Errors
    /// The database failed.
    pub async fn seal_check(&mut self) -> Result<Option<Vec<u8>>> {
        let row: Option<SealCheck> = rows!(self, fetch_optional, "SELECT sealed FROM seal_check")?;
        Ok(row.map(|row| row.sealed))
    }

    /// Keeps it, unless there is one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn add_seal_check(&mut self, sealed: &[u8]) -> Result<()> {
        execute!(
            self,
            "INSERT INTO seal_check (id, sealed) VALUES (1, $1) ON CONFLICT (id) DO NOTHING",
            sealed,
        )?;
        Ok(())
    }
}
