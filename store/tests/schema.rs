//! The two databases hold the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::process::Command;

use kavadam_store::Store;

fn fresh_postgres(name: &str) -> String {
    let server = std::env::var("KAVADAM_TEST_POSTGRES")
        .expect("KAVADAM_TEST_POSTGRES is not set: run this as `tests/postgres.sh cargo test`, or `make test`");
    let name = format!("{name}_{}", std::process::id());
    let made = Command::new("psql")
        .args([&server, "-qc", &format!("CREATE DATABASE {name}")])
        .status()
        .unwrap();
    assert!(made.success(), "psql could not make a database");
    server.replacen("/postgres?", &format!("/{name}?"), 1)
}

#[tokio::test]
async fn both_databases_have_the_same_columns_and_keys() {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = Store::open(&format!("sqlite:{}", dir.path().join("a.db").display()))
        .await
        .unwrap();
    let postgres = Store::open(&fresh_postgres("schema")).await.unwrap();
    let (mut one, mut other) = (sqlite.read().await.unwrap(), postgres.read().await.unwrap());
    let sorted = |lines: Vec<String>| {
        let mut lines = lines;
        lines.sort();
        lines
    };
    let columns = one.columns().await.unwrap();
    assert!(
        columns.len() > 80,
        "this looks in the wrong place: {} columns",
        columns.len()
    );
    let lines = |columns: Vec<_>| sorted(columns.iter().map(|column| format!("{column:?}")).collect());
    assert_eq!(lines(columns), lines(other.columns().await.unwrap()));
    let (one, mut other) = (one.indexes().await.unwrap(), other.indexes().await.unwrap());
    // SQLite's one writer knows every live session, and an index over them is most of what a login writes there.
    let by_gate = other.extract_if(.., |index| {
        index.table_name == "session" && index.columns == "nas_id,acct_session_id"
    });
    assert!(
        by_gate
            .map(|index| (index.is_unique, index.is_partial))
            .eq([(true, true)])
    );
    let lines = |indexes: Vec<_>| sorted(indexes.iter().map(|index| format!("{index:?}")).collect());
    assert_eq!(lines(one), lines(other));
}

#[tokio::test]
async fn a_database_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let _store = Store::open(&format!("sqlite:{}", path.display())).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
}
