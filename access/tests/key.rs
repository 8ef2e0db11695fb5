//! One master key for one database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::path::PathBuf;

use kavadam_access::key::KeyError;
use kavadam_access::{AccessError, Sealer};
use kavadam_store::Store;

struct Place {
    dir: tempfile::TempDir,
    store: Store,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("a.db").display());
        let store = Store::open(&url).await.unwrap();
        Self { dir, store }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn open(&self, name: &str, fresh: [u8; 32]) -> Result<Sealer, AccessError> {
        Sealer::of_database(&self.store, &self.file(name), fresh).await
    }

    async fn look(&self, name: &str) -> Result<Sealer, AccessError> {
        Sealer::look(&self.store, &self.file(name)).await
    }
}

#[tokio::test]
async fn the_first_use_makes_a_key_and_later_ones_find_it() {
    let place = Place::new().await;
    let first = place.open("key", [1; 32]).await.unwrap();
    let again = place.open("key", [2; 32]).await.unwrap();
    assert_eq!(first.code_secret(&[0; 16]), again.code_secret(&[0; 16]));
    assert!(place.look("key").await.is_ok());
}

#[tokio::test]
async fn no_second_key_is_made_for_a_database_that_has_one() {
    let place = Place::new().await;
    place.open("key", [1; 32]).await.unwrap();
    for tried in [place.open("other", [2; 32]).await, place.look("other").await] {
        let refused = tried.err().unwrap();
        assert!(matches!(refused, AccessError::Key(KeyError::Missing(_))), "{refused}");
        assert!(!place.file("other").exists());
    }
}

#[tokio::test]
async fn another_key_is_refused() {
    let place = Place::new().await;
    place.open("key", [1; 32]).await.unwrap();
    Sealer::from_file(&place.file("other"), [2; 32]).unwrap();
    let refused = place.look("other").await.err().unwrap();
    assert!(matches!(refused, AccessError::Key(KeyError::Foreign(_))), "{refused}");
}

#[tokio::test]
async fn whoever_only_looks_makes_no_key() {
    let place = Place::new().await;
    let refused = place.look("key").await.err().unwrap();
    assert!(matches!(refused, AccessError::Key(KeyError::None(_))), "{refused}");
    assert!(!place.file("key").exists());
}

#[tokio::test]
async fn whoever_only_looks_makes_no_database_a_key_s() {
    let place = Place::new().await;
    Sealer::from_file(&place.file("key"), [1; 32]).unwrap();
    assert!(place.look("key").await.is_ok());
    assert!(
        place.open("other", [2; 32]).await.is_ok(),
        "the first who uses it is the first"
    );
}

#[tokio::test]
async fn of_two_first_uses_with_two_keys_one_is_refused() {
    let place = Place::new().await;
    let (one, other) = tokio::join!(place.open("one", [1; 32]), place.open("other", [2; 32]));
    assert!(one.is_ok() != other.is_ok());
}
