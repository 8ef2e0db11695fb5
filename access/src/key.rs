//! Which master key a database is sealed with.
//!
//! A second key would seal new secrets that the first cannot open, and say nothing of it. So a database keeps something sealed
//! with its key from the first use on, and no key is ever made for a database that has one.

use std::path::{Path, PathBuf};

use kavadam_store::Store;

use crate::{AccessError, Sealer};

/// What is sealed. Its content does not matter.
const CONTENT: &[u8] = b"kavadam";

/// The key at hand is not the database's.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The database has a key, and there is none at hand.
    #[error(
        "{0} is not there, and the database is sealed with a master key: restore it from the back-up, or name it in \
         secrets.master_key_file (a credential that systemd hands to the service is not handed to a command)"
    )]
    Missing(PathBuf),
    /// The database has another key.
    #[error(
        "{0} is not the master key that the database is sealed with: restore that one from the back-up, or name it in \
         secrets.master_key_file"
    )]
    Foreign(PathBuf),
    /// Neither the database nor we have one.
    #[error("{0} is not there, and the database has never been used: the first start makes both")]
    None(PathBuf),
}

impl Sealer {
    /// The master key of a database, from its file. Where neither has been used yet, the key is made from `fresh` random octets
    /// if there are any.
    ///
    /// # Errors
    /// [`KeyError`], the file cannot be used, or the database failed.
    pub async fn of_database(store: &Store, file: &Path, fresh: Option<[u8; 32]>) -> Result<Self, AccessError> {
        let check = store.read().await?.seal_check().await?;
        let sealer = match (check.is_some(), file.exists(), fresh) {
            (true, false, _) => return Err(KeyError::Missing(file.to_owned()).into()),
            (false, false, None) => return Err(KeyError::None(file.to_owned()).into()),
            (_, _, fresh) => Self::from_file(file, fresh.unwrap_or_default())?,
        };
        let check = match check {
            Some(check) => check,
            None => sealer.mark(store).await?,
        };
        match sealer.open(&check) {
            Ok(_) => Ok(sealer),
            Err(_) => Err(KeyError::Foreign(file.to_owned()).into()),
        }
    }

    /// Makes the database this key's, unless another was faster; what it then holds.
    async fn mark(&self, store: &Store) -> Result<Vec<u8>, AccessError> {
        let sealed = self.seal(CONTENT, rand::random())?;
        let mut tx = store.write().await?;
        tx.add_seal_check(&sealed).await?;
        let check = tx.seal_check().await?;
        tx.commit().await?;
        check.ok_or(AccessError::Inconsistent("seal check"))
    }
}
