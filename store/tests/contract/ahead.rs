//! A batch on SQLite is decided while the one before is written: what comes of that where it is not written after all.

use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;

use kavadam_store::Error;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::*;

/// More than any query of a test takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A world in a file, with a session that is remembered.
struct Scene {
    world: World,
    session: SessionRow,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let world = World::new(&format!("sqlite:{}", path.display())).await;
        let mut tx = world.store.write_many(0).await.unwrap();
        let session = tx.add_session(&world.session(1, "0001")).await.unwrap();
        tx.commit().await.unwrap();
        Self {
            world,
            session,
            path,
            _dir: dir,
        }
    }

    /// Another process.
    async fn stranger(&self) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .connect()
            .await
            .unwrap()
    }

    /// Takes what a stranger did into account.
    async fn look_again(&self) {
        self.world.write().await.commit().await.unwrap();
    }

    /// A batch that found so many octets and makes them more.
    async fn batch(&self, lane: usize, found: u64, more: u64) -> Tx {
        let mut tx = self.world.store.write_many(lane).await.unwrap();
        tx.lock_subscriber(self.world.subscriber).await.unwrap();
        let mut session = tx.session(self.session.id).await.unwrap().unwrap();
        assert_eq!(session.up_octets, found);
        session.up_octets = more;
        tx.save_session(&session).await.unwrap();
        tx
    }

    async fn written(&self) -> u64 {
        let mut tx = self.world.store.read().await.unwrap();
        tx.session(self.session.id).await.unwrap().unwrap().up_octets
    }
}

#[tokio::test]
async fn what_is_decided_upon_another_is_written_after_it() {
    let scene = Scene::new().await;
    for octets in 0..100 {
        let first = scene.batch(0, 2 * octets, 2 * octets + 1).await;
        let (first, second) = tokio::join!(first.commit(), async {
            scene.batch(1, 2 * octets + 1, 2 * octets + 2).await.commit().await
        });
        first.unwrap();
        second.unwrap();
    }
    assert_eq!(scene.written().await, 200);
}

#[tokio::test]
async fn what_was_decided_upon_something_lost_is_lost_too_and_nothing_of_it_remembered() {
    let scene = Scene::new().await;
    // Seven octets are refused, after long thought.
    let mut stranger = scene.stranger().await;
    for text in [
        "CREATE VIEW slow AS WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) SELECT i FROM n",
        "CREATE TRIGGER refuse BEFORE UPDATE ON session WHEN NEW.up_octets = 7
         BEGIN SELECT count(*) FROM slow; SELECT RAISE(ABORT, 'no'); END",
    ] {
        sqlx::query(text).execute(&mut stranger).await.unwrap();
    }
    scene.look_again().await;
    scene.batch(0, 0, 1).await.commit().await.unwrap();

    let first = tokio::spawn(scene.batch(0, 1, 7).await.commit());
    // It is being written, and this one sees it.
    let second = scene.batch(1, 7, 9).await;
    assert!(!first.is_finished(), "the test is too slow to show anything");
    assert!(matches!(second.commit().await, Err(Error::Stale)));
    assert!(matches!(first.await.unwrap(), Err(Error::Database(_))));
    assert_eq!(scene.written().await, 1);
    scene.batch(1, 1, 9).await.commit().await.unwrap();
    assert_eq!(scene.written().await, 9);
}

#[tokio::test]
async fn whoever_gives_up_waiting_for_the_writer_leaves_nothing_remembered() {
    let scene = Scene::new().await;
    scene.batch(0, 0, 1).await.commit().await.unwrap();
    let mut stranger = scene.stranger().await;
    let tx = stranger.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let impatient = tokio::time::timeout(Duration::from_millis(50), scene.batch(0, 1, 7).await.commit());
    assert!(impatient.await.is_err());
    tx.rollback().await.unwrap();
    let found = tokio::time::timeout(PATIENCE, scene.batch(1, 1, 9)).await;
    found.unwrap().commit().await.unwrap();
    assert_eq!(scene.written().await, 9);
}

#[tokio::test]
async fn whoever_is_gone_while_their_form_is_committed_has_nobody_forgotten() {
    let scene = Scene::new().await;
    scene.batch(0, 0, 1).await.commit().await.unwrap();
    let mut form = scene.world.write().await;
    form.record_attempt("number", b"key", NOW).await.unwrap();
    // Looked at once, and then no more.
    let mut commit = Box::pin(form.commit());
    let look = std::future::poll_fn(|context| Poll::Ready(commit.as_mut().poll(context).is_pending()));
    assert!(look.await);
    drop(commit);
    let done = async {
        let before = NOW - Duration::from_secs(1);
        while scene
            .world
            .store
            .read()
            .await
            .unwrap()
            .attempts("number", b"key", before, NOW, 1)
            .await
            .unwrap()
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, done)
        .await
        .expect("it was not seen through");
    // With the writer in another's hands nobody is known but who is remembered.
    let mut stranger = scene.stranger().await;
    let tx = stranger.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let remembered = tokio::time::timeout(Duration::from_secs(2), scene.batch(0, 1, 2)).await;
    tx.rollback().await.unwrap();
    remembered.expect("everybody was forgotten").commit().await.unwrap();
    assert_eq!(scene.written().await, 2);
}

#[tokio::test]
async fn what_another_process_changed_is_not_believed() {
    let scene = Scene::new().await;
    scene.batch(0, 0, 1).await.commit().await.unwrap();
    let trusting = scene.batch(0, 1, 7).await;
    let mut late = scene.stranger().await;
    sqlx::query("UPDATE session SET up_octets = 3")
        .execute(&mut late)
        .await
        .unwrap();
    assert!(matches!(trusting.commit().await, Err(Error::Stale)));
    assert_eq!(scene.written().await, 3);
    scene.batch(0, 3, 5).await.commit().await.unwrap();
    // The same where trust is given up before the end.
    let mut trusting = scene.batch(0, 5, 7).await;
    sqlx::query("UPDATE session SET up_octets = 6")
        .execute(&mut late)
        .await
        .unwrap();
    assert!(matches!(trusting.begin().await, Err(Error::Stale)));
    drop(trusting);
    assert_eq!(scene.written().await, 6);
}

#[tokio::test]
async fn an_answer_out_of_memory_that_changes_nothing_is_none_if_another_changed_it() {
    let scene = Scene::new().await;
    scene.batch(0, 0, 1).await.commit().await.unwrap();
    let mut trusting = scene.world.store.write_many(0).await.unwrap();
    trusting.lock_subscriber(scene.world.subscriber).await.unwrap();
    let mut stranger = scene.stranger().await;
    sqlx::query("UPDATE session SET up_octets = 3")
        .execute(&mut stranger)
        .await
        .unwrap();
    assert!(matches!(trusting.commit().await, Err(Error::Stale)));
}
