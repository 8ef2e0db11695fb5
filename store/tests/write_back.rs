//! SQLite's log comes back into its tables by itself, beside the writer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::time::Duration;

use kavadam_store::Store;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_was_committed_is_soon_in_the_file_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("a.db"), dir.path().join("copy.db"));
    let store = Store::open(&format!("sqlite:{}", path.display())).await.unwrap();
    let mut tx = store.write().await.unwrap();
    let number = "9876543210".parse().unwrap();
    let now = kavadam_domain::Timestamp(1);
    tx.ensure_subscriber(&number, "alias", kavadam_domain::Language::Ml, now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let is_there = async {
        loop {
            // Without the log beside it.
            std::fs::copy(&path, &copy).unwrap();
            let alone = Store::open(&format!("sqlite:{}", copy.display())).await.unwrap();
            let found = alone.read().await.unwrap().subscriber_numbered(&number).await.unwrap();
            alone.close().await;
            if found.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            for file in ["copy.db", "copy.db-wal", "copy.db-shm"] {
                _ = std::fs::remove_file(dir.path().join(file));
            }
        }
    };
    let done = tokio::time::timeout(PATIENCE, is_there).await;
    assert!(done.is_ok(), "the log was not written back");
}
