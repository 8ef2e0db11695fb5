//! Looking at a database without a trace: nothing is made, brought up to date or changed.

use std::collections::BTreeMap;

use crate::open::{Pool, without_password};
use crate::server::{Patience, Server};
use crate::sqlite::Embedded;
use crate::{Error, Result, Store};

/// What stands at a URL.
#[derive(Debug)]
pub enum Found {
    /// No database, or one in which there is nothing of ours.
    Nothing,
    /// Tables as an older version had them: they are brought up to date when it is opened.
    Older,
    /// A database of this version. It can be read; what would change it fails.
    Current(Store),
}

/// A change of the tables that was made, and how its text was summed up.
pub(crate) type Applied = (i64, Vec<u8>);

impl Store {
    /// Looks at what [`Store::open`] would open.
    ///
    /// # Errors
    /// An unknown URL, a file that cannot be read, a server out of reach, or tables of a newer or another version.
    pub async fn look(url: &str) -> Result<Found> {
        let (pool, applied, migrations) = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => match Embedded::look(url).await? {
                None => return Ok(Found::Nothing),
                Some((embedded, applied)) => (Pool::Sqlite(embedded), applied, &crate::sqlite::MIGRATIONS),
            },
            Some("postgres" | "postgresql") => {
                let (server, applied) = Server::look(url, Patience::default()).await?;
                (Pool::of_onlooker(server), applied, &crate::server::MIGRATIONS)
            }
            _ => return Err(Error::Url(without_password(url))),
        };
        let store = Self::of(pool);
        let wanted = migrations.iter();
        let wanted = wanted.map(|change| (change.version, change.checksum.as_ref()));
        let found = match missing(&applied, &wanted.collect()) {
            Ok(_) if applied.is_empty() => Ok(Found::Nothing),
            Ok(0) => return Ok(Found::Current(store)),
            Ok(_) => Ok(Found::Older),
            Err(error) => Err(error),
        };
        store.close().await;
        found
    }
}

/// How many of the wanted changes were not made yet.
fn missing(applied: &[Applied], wanted: &BTreeMap<i64, &[u8]>) -> Result<usize> {
    for (version, sum) in applied {
        match wanted.get(version) {
            None => return Err(Error::Newer(*version)),
            Some(wanted) if wanted != sum => return Err(Error::Changed(*version)),
            Some(_) => {}
        }
    }
    Ok(wanted.len() - applied.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_compared_with_what_is_wanted() {
        let wanted = BTreeMap::from([(1, b"one".as_slice()), (2, b"two")]);
        let made = |changes: &[(i64, &[u8])]| {
            let made: Vec<Applied> = changes.iter().map(|(at, sum)| (*at, sum.to_vec())).collect();
            missing(&made, &wanted)
        };
        assert_eq!(made(&[(1, b"one"), (2, b"two")]).unwrap(), 0);
        assert_eq!(made(&[(1, b"one")]).unwrap(), 1, "older");
        assert!(matches!(made(&[(1, b"uno")]), Err(Error::Changed(1))));
        assert!(matches!(
            made(&[(1, b"one"), (2, b"two"), (3, b"three")]),
            Err(Error::Newer(3))
        ));
    }
}
