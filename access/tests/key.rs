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

    async fn open(&self, name: &str, fresh: Option<[u8; 32]>) -> Result<Sealer, AccessError> {
        Sealer::of_database(&self.store, &self.file(name), fresh).await
    }
}

#[tokio::test]
async fn the_first_use_makes_a_key_and_later_ones_find_it() {
    let place = Place::new().await;
    let first = place.open("key", Some([1; 32])).await.unwrap();
    let again = place.open("key", Some([2; 32])).await.unwrap();
    assert_eq!(first.code_secret(&[0; 16]), again.code_secret(&[0; 16]));
    assert!(place.open("key", None).await.is_ok());
}

#[tokio::test]
async fn no_second_key_is_made_for_a_database_that_has_one() {
    let place = Place::new().await;
    place.open("key", Some([1; 32])).await.unwrap();
    for fresh in [Some([2; 32]), None] {
        let refused = place.open("other", fresh).await.err().unwrap();
        assert!(matches!(refused, AccessError::Key(KeyError::Missing(_))), "{refused}");
        assert!(!place.file("other").exists());
    }
}

#[tokio::test]
async fn another_key_is_refused() {
    let place = Place::new().await;
    place.open("key", Some([1; 32])).await.unwrap();
    Sealer::from_file(&place.file("other"), [2; 32]).unwrap();
    let refused = place.open("other", None).await.err().unwrap();
    assert!(matches!(refused, AccessError::Key(KeyError::Foreign(_))), "{refused}");
}

#[tokio::test]
async fn whoever_only_looks_makes_no_key() {
    let place = Place::new().await;
    let refused = place.open("key", None).await.err().unwrap();
    assert!(matches!(refused, AccessError::Key(KeyError::None(_))), "{refused}");
    assert!(!place.file("key").exists());
}

#[tokio::test]
async fn of_two_first_uses_with_two_keys_one_is_refused() {
    let place = Place::new().await;
    let (one, other) = tokio::join!(place.open("one", Some([1; 32])), place.open("other", Some([2; 32])));
    assert!(one.is_ok() != other.is_ok());
}
