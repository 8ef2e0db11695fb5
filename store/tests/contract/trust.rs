//! A batch begins in trust. On PostgreSQL: what makes that fail, and that nothing has happened then.

use kavadam_store::{Error, Wanted};
use sqlx::{Connection as _, PgConnection};

use super::*;

/// A world with a session that lane 0 remembers.
async fn remembered() -> (World, SessionRow) {
    remembered_at(&fresh_postgres()).await
}

async fn remembered_at(url: &str) -> (World, SessionRow) {
    let world = World::new(url).await;
    let mut tx = world.store.write_many(0).await.unwrap();
    let session = tx.add_session(&world.session(1, "0001")).await.unwrap();
    tx.commit().await.unwrap();
    (world, session)
}

async fn written(world: &World, session: &SessionRow) -> SessionRow {
    let mut tx = world.store.read().await.unwrap();
    tx.session(session.id).await.unwrap().unwrap()
}

#[tokio::test]
async fn whoever_is_remembered_is_changed_in_trust() {
    let (world, mut session) = remembered().await;
    let mut tx = world.store.write_many(0).await.unwrap();
    session.up_octets = 7;
    tx.save_session(&session).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(written(&world, &session).await, session);
}

#[tokio::test]
async fn what_another_took_since_is_not_written_over() {
    let (world, mut session) = remembered().await;
    let mut trusting = world.store.write_many(0).await.unwrap();
    session.up_octets = 7;
    trusting.save_session(&session).await.unwrap();

    let mut other = world.store.write_many(1).await.unwrap();
    other.lock_subscriber(world.subscriber).await.unwrap();
    let mut theirs = session.clone();
    theirs.up_octets = 3;
    other.save_session(&theirs).await.unwrap();
    other.commit().await.unwrap();

    assert!(matches!(trusting.commit().await, Err(Error::Stale)));
    assert_eq!(written(&world, &session).await, theirs);
    // The next one knows better, in trust or not.
    let mut tx = world.store.write_many(0).await.unwrap();
    let found = tx.lock_subscriber(world.subscriber).await.unwrap();
    assert_eq!(
        tx.live_sessions_of(found.id).await.unwrap(),
        std::slice::from_ref(&theirs)
    );
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_answer_out_of_memory_that_another_changed_is_none() {
    let (world, session) = remembered().await;
    let mut trusting = world.store.write_many(0).await.unwrap();
    trusting.lock_subscriber(world.subscriber).await.unwrap();
    assert_eq!(trusting.session(session.id).await.unwrap().as_ref(), Some(&session));
    // An administrator's command.
    let mut other = world.write().await;
    other.lock_subscriber(world.subscriber).await.unwrap();
    other.commit().await.unwrap();
    assert!(matches!(trusting.commit().await, Err(Error::Stale)));
}

#[tokio::test]
async fn trust_given_up_late_notices_too() {
    let (world, mut session) = remembered().await;
    let mut trusting = world.store.write_many(0).await.unwrap();
    session.up_octets = 7;
    trusting.save_session(&session).await.unwrap();
    let mut other = world.write().await;
    other.lock_subscriber(world.subscriber).await.unwrap();
    other.commit().await.unwrap();
    assert!(matches!(trusting.begin().await, Err(Error::Stale)));
    drop(trusting);
    assert_eq!(written(&world, &session).await.up_octets, 0);
}

#[tokio::test]
async fn a_place_that_was_changed_since_is_not_believed() {
    let (world, mut session) = remembered().await;
    // Read once, it is remembered.
    let mut tx = world.store.write_many(0).await.unwrap();
    tx.begin().await.unwrap();
    let site = tx.site(session.site_id).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let mut admin = world.write().await;
    admin.save_site(&site.name, false, site.plan_id).await.unwrap();
    admin.commit().await.unwrap();

    let mut trusting = world.store.write_many(0).await.unwrap();
    assert!(trusting.site(session.site_id).await.unwrap().unwrap().is_open);
    session.up_octets = 7;
    trusting.save_session(&session).await.unwrap();
    assert!(matches!(trusting.commit().await, Err(Error::Stale)));
    assert_eq!(written(&world, &session).await.up_octets, 0);
    let mut tx = world.store.write_many(0).await.unwrap();
    tx.begin().await.unwrap();
    assert!(!tx.site(session.site_id).await.unwrap().unwrap().is_open);
}

#[tokio::test]
async fn a_name_believed_to_be_nobodys_is_not_given_twice() {
    let (world, session) = remembered().await;
    let mut tx = world.write().await;
    let number = "9876500001".parse().unwrap();
    let other = tx.ensure_subscriber(&number, "other", Language::En, NOW).await.unwrap();
    tx.commit().await.unwrap();
    // Lane 1 remembers another subscriber, and knows nothing of the name.
    let new = |name: &str| NewSession {
        subscriber_id: other.id,
        ..world.session(2, name)
    };
    let mut tx = world.store.write_many(1).await.unwrap();
    tx.add_session(&new("0002")).await.unwrap();
    tx.commit().await.unwrap();
    let mut trusting = world.store.write_many(1).await.unwrap();
    let wanted = Wanted {
        name: Some((world.nas, "0001")),
        is_beginning: true,
        ..Wanted::default()
    };
    trusting.gather(&[wanted]).await.unwrap();
    assert_eq!(trusting.live_session_named(world.nas, "0001").await.unwrap(), None);
    trusting.add_session(&new("0001")).await.unwrap();
    assert!(matches!(trusting.commit().await, Err(Error::Stale)));
    let mut knowing = world.store.write_many(1).await.unwrap();
    knowing.begin().await.unwrap();
    knowing.gather(&[wanted]).await.unwrap();
    assert_eq!(
        knowing.live_session_named(world.nas, "0001").await.unwrap(),
        Some(session)
    );
}

#[tokio::test]
async fn an_end_and_a_beginning_of_one_name_are_written_in_that_order() {
    let (world, mut session) = remembered().await;
    let mut trusting = world.store.write_many(0).await.unwrap();
    trusting.lock_subscriber(world.subscriber).await.unwrap();
    let next = trusting.add_session(&world.session(1, "0001")).await;
    let next = next.unwrap();
    (session.state, session.ended_at) = (SessionState::Ended, Some(NOW));
    trusting.save_session(&session).await.unwrap();
    trusting.commit().await.unwrap();
    assert_eq!(written(&world, &session).await, session);
    assert_eq!(written(&world, &next).await, next);
}

#[tokio::test]
async fn what_was_broken_off_while_it_was_committed_is_not_remembered_as_it_was_before() {
    let url = fresh_postgres();
    let (world, mut session) = remembered_at(&url).await;
    let mut stranger = PgConnection::connect(&url).await.unwrap();
    let mut lock = stranger.begin().await.unwrap();
    let text = "SELECT id FROM subscriber FOR UPDATE";
    sqlx::query(text).execute(&mut *lock).await.unwrap();
    let mut tx = world.store.write_many(0).await.unwrap();
    session.up_octets = 7;
    tx.save_session(&session).await.unwrap();
    // It waits for the lock, and is given up; the database goes on with it.
    let impatient = tokio::time::timeout(Duration::from_millis(200), tx.commit());
    assert!(impatient.await.is_err());
    lock.rollback().await.unwrap();
    while written(&world, &session).await.up_octets != 7 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut next = world.store.write_many(0).await.unwrap();
    let session = next.session_at(world.nas, None, Some("0001")).await.unwrap().unwrap();
    next.lock_subscriber(session.subscriber_id).await.unwrap();
    assert_eq!(next.session(session.id).await.unwrap().unwrap().up_octets, 7);
}

/// Whether lane 0 knows somebody without asking: of whom it does not, it finds the row locked.
async fn is_remembered(world: &World, url: &str, who: SubscriberId) -> bool {
    let mut stranger = PgConnection::connect(url).await.unwrap();
    let mut lock = stranger.begin().await.unwrap();
    let text = "SELECT id FROM subscriber FOR UPDATE";
    sqlx::query(text).execute(&mut *lock).await.unwrap();
    let mut tx = world.store.write_many(0).await.unwrap();
    let found = tokio::time::timeout(Duration::from_millis(500), tx.lock_subscriber(who)).await;
    lock.rollback().await.unwrap();
    found.is_ok()
}

#[tokio::test]
async fn whoever_gets_no_connection_forgets_nobody() {
    let url = fresh_postgres();
    let (world, session) = remembered_at(&url).await;
    let mut trusting = world.store.write_many(0).await.unwrap();
    trusting.save_session(&session).await.unwrap();
    let mut all = Vec::new();
    while let Ok(reader) = world.store.read().await {
        all.push(reader);
    }
    let done = trusting.commit().await;
    assert!(done.as_ref().is_err_and(Error::is_timeout), "{done:?}");
    drop(all);
    assert!(is_remembered(&world, &url, world.subscriber).await);
}

#[tokio::test]
async fn of_those_in_a_batch_only_those_whom_another_took_are_forgotten() {
    for is_begun in [false, true] {
        let url = fresh_postgres();
        let (world, session) = remembered_at(&url).await;
        let mut tx = world.write().await;
        let number = "9876500001".parse().unwrap();
        let other = tx.ensure_subscriber(&number, "other", Language::En, NOW).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = world.store.write_many(0).await.unwrap();
        let new = NewSession {
            subscriber_id: other.id,
            ..world.session(2, "0002")
        };
        tx.add_session(&new).await.unwrap();
        tx.commit().await.unwrap();
        assert!(is_remembered(&world, &url, other.id).await && is_remembered(&world, &url, world.subscriber).await);

        let mut trusting = world.store.write_many(0).await.unwrap();
        for who in [world.subscriber, other.id] {
            trusting.lock_subscriber(who).await.unwrap();
        }
        trusting.save_session(&session).await.unwrap();
        let mut admin = world.write().await;
        admin.lock_subscriber(world.subscriber).await.unwrap();
        admin.commit().await.unwrap();
        let done = if is_begun {
            let begun = trusting.begin().await;
            drop(trusting);
            begun
        } else {
            trusting.commit().await
        };
        assert!(matches!(done, Err(Error::Stale)));
        assert!(is_remembered(&world, &url, other.id).await, "begun: {is_begun}");
        assert!(
            !is_remembered(&world, &url, world.subscriber).await,
            "begun: {is_begun}"
        );
    }
}
