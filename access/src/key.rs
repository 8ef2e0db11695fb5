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
    /// The master key of a database, from its file. Where neither has been used yet, the key is made from `fresh` random octets.
    ///
    /// # Errors
    /// [`KeyError`], the file cannot be used, or the database failed.
    pub async fn of_database(store: &Store, file: &Path, fresh: [u8; 32]) -> Result<Self, AccessError> {
        let check = store.read().await?.seal_check().await?;
        if check.is_some() && !file.exists() {
            return Err(KeyError::Missing(file.to_owned()).into());
        }
        let sealer = Self::from_file(file, fresh)?;
        let check = match check {
            Some(check) => check,
            None => sealer.mark(store).await?,
        };
        sealer.must_open(&check, file)
    }

    /// The same for whoever only looks: nothing is made, and a database that has not been used does not become this key's.
    ///
    /// # Errors
    /// As [`Sealer::of_database`], and [`KeyError::None`] where neither has been used yet.
    pub async fn look(store: &Store, file: &Path) -> Result<Self, AccessError> {
        let check = store.read().await?.seal_check().await?;
        if !file.exists() {
            let path = file.to_owned();
            let error = check.map_or(KeyError::None(path.clone()), |_| KeyError::Missing(path));
            return Err(error.into());
        }
        let sealer = Self::read(file)?;
        match check {
            Some(check) => sealer.must_open(&check, file),
            None => Ok(sealer),
        }
    }

    fn must_open(self, check: &[u8], file: &Path) -> Result<Self, AccessError> {
        match self.open(check) {
            Ok(_) => Ok(self),
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
