//! A server that is away without having said so: everybody who waits for it is told, and once it is back nothing of that is left.

use kavadam_store::{Error, Patience};

use super::*;
use crate::relay::Relay;

/// More than any patience here, and less than several of them: the machine may be slow.
const SOON: Duration = Duration::from_secs(20);
/// Connections that a process has at most.
const CONNECTIONS: usize = 16;

fn patience() -> Patience {
    Patience {
        statement: Duration::from_secs(1),
        long_statement: Duration::from_secs(2),
        lock: Duration::from_millis(500),
    }
}

/// Everybody at once has a connection of their own.
async fn everybody_reads(store: &Store) -> Result<(), Error> {
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut tx = store.read().await?;
        tx.plans().await?;
        all.push(tx);
    }
    Ok(())
}

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(SOON, work).await;
    done.unwrap_or_else(|_| panic!("{what} waits still"))
}

#[tokio::test]
async fn whoever_waits_for_a_server_that_is_away_is_told_and_its_connections_are_given_up() {
    let url = fresh_postgres();
    let relay = Relay::to(&url).await;
    let world = World::new(&url).await;
    let store = Store::open_with(&relay.url(&url), patience()).await.unwrap();
    let mut tx = store.write_many(0).await.unwrap();
    let session = tx.add_session(&world.session(1, "0001")).await.unwrap();
    tx.commit().await.unwrap();
    everybody_reads(&store).await.unwrap();

    let mut reading = store.read().await.unwrap();
    let mut at_length = store.read_at_length().await.unwrap();
    let mut writing = store.write().await.unwrap();
    // It holds the subscriber, which the server must let go.
    writing.top_up(world.entitlement, 5).await.unwrap();
    let mut locking = store.write_many(1).await.unwrap();
    locking.begin().await.unwrap();
    let mut trusting = store.write_many(0).await.unwrap();
    trusting.save_session(&session).await.unwrap();

    relay.stop();
    let is_told = |done: Result<(), Error>| assert!(done.as_ref().is_err_and(Error::is_timeout), "{done:?}");
    is_told(soon("a reader", reading.plans()).await.map(drop));
    let long = tokio::time::timeout(patience().statement * 3 / 2, at_length.plans());
    assert!(long.await.is_err(), "it may take longer");
    is_told(soon("a writer", writing.commit()).await);
    is_told(
        soon("a batch", locking.lock_subscriber(world.subscriber))
            .await
            .map(drop),
    );
    is_told(soon("a batch in trust", trusting.commit()).await);
    drop((reading, at_length, locking));
    is_told(soon("whoever comes", everybody_reads(&store)).await);

    relay.go();
    let back = async {
        while everybody_reads(&store).await.is_err() {}
        for lane in 0..Store::LANES {
            let mut tx = store.write_many(lane).await.unwrap();
            tx.lock_subscriber(world.subscriber).await.unwrap();
            tx.commit().await.unwrap();
        }
    };
    tokio::time::timeout(SOON * 3, back)
        .await
        .expect("connections are missing");
}

/// As a form whose phone is gone: the word that begins a transaction is on its way, and nobody waits for the answer any more.
#[tokio::test]
async fn a_transaction_that_was_given_up_as_it_began_is_nobody_elses() {
    let url = fresh_postgres();
    let world = World::new(&url).await;
    let (store, others) = (&world.store, Store::open(&url).await.unwrap());
    let mut tx = store.write_many(0).await.unwrap();
    let mut session = tx.add_session(&world.session(1, "0001")).await.unwrap();
    tx.commit().await.unwrap();
    for polls in 0..24 {
        give_up_after(polls / 2, async {
            if polls % 2 == 0 {
                drop(store.read().await);
            } else {
                drop(store.write().await);
            }
        })
        .await;
        // Until its connection is back among the others, one of which is taken each time.
        tokio::time::sleep(Duration::from_millis(10)).await;
        for _ in 0..4 {
            session.up_octets += 1;
            let mut trusting = store.write_many(0).await.unwrap();
            trusting.save_session(&session).await.unwrap();
            trusting.commit().await.unwrap();
        }
        let mut tx = others.read().await.unwrap();
        let kept = tx.session(session.id).await.unwrap().unwrap();
        assert_eq!(kept.up_octets, session.up_octets, "acknowledged, and not there");
    }
}

async fn give_up_after(polls: usize, work: impl Future<Output = ()>) {
    let (mut work, mut left) = (std::pin::pin!(work), polls);
    let step = |context: &mut std::task::Context<'_>| match left.checked_sub(1) {
        None => std::task::Poll::Ready(()),
        Some(fewer) => {
            left = fewer;
            work.as_mut().poll(context)
        }
    };
    std::future::poll_fn(step).await;
}

/// A network that is away for longer than anybody waits, and brings what was sent before once it is back.
#[tokio::test]
async fn a_batch_that_was_given_up_and_comes_to_the_server_late_writes_nothing_over_what_came_after_it() {
    let url = fresh_postgres();
    let (relay, late, _) = Relay::followed(&url).await;
    let world = World::new(&url).await;
    let store = Store::open_with(&relay.url(&url), patience()).await.unwrap();
    let mut tx = store.write_many(0).await.unwrap();
    let mut session = tx.add_session(&world.session(1, "0001")).await.unwrap();
    tx.commit().await.unwrap();
    // Said before on that connection, the statement is known there and goes as a whole.
    for octets in 1..=5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut said = store.write_many(0).await.unwrap();
        session.up_octets = octets;
        said.save_session(&session).await.unwrap();
        said.commit().await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut given_up = store.write_many(0).await.unwrap();
    session.up_octets = 7;
    given_up.save_session(&session).await.unwrap();
    relay.stop();
    assert!(
        soon("a batch", given_up.commit())
            .await
            .is_err_and(|error| error.is_timeout())
    );

    relay.go();
    let after = async {
        loop {
            if let Ok(mut tx) = store.write_many(0).await
                && tx.lock_subscriber(world.subscriber).await.is_ok()
            {
                let mut found = tx.session(session.id).await.unwrap().unwrap();
                assert_eq!(found.up_octets, 5, "the batch came at once: this test shows nothing");
                found.up_octets = 9;
                tx.save_session(&found).await.unwrap();
                break tx.commit().await.unwrap();
            }
        }
    };
    soon("a batch behind it", after).await;
    late.send_replace(true);
    // Long enough for a server next door.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut reader = world.store.read().await.unwrap();
        assert_eq!(reader.session(session.id).await.unwrap().unwrap().up_octets, 9);
    }
}

#[tokio::test]
async fn whoever_waits_for_a_row_that_is_held_for_ever_is_told() {
    let url = fresh_postgres();
    let world = World::new(&url).await;
    let store = Store::open_with(&url, patience()).await.unwrap();
    let mut forgotten = world.write().await;
    forgotten.lock_subscriber(world.subscriber).await.unwrap();
    let mut tx = store.write_many(0).await.unwrap();
    let held = soon("a batch", tx.lock_subscriber(world.subscriber)).await;
    assert!(held.as_ref().is_err_and(|error| !error.is_timeout()), "{held:?}");
    drop((forgotten, tx));
    let mut tx = store.write_many(0).await.unwrap();
    tx.lock_subscriber(world.subscriber).await.unwrap();
}
