//! Entitlements and leases.

use super::*;

async fn lease(tx: &mut Tx, world: &World, granted_octets: u64, used_octets: u64) -> LeaseId {
    let lease = Lease {
        granted_octets,
        used_octets,
    };
    tx.add_lease(world.entitlement, world.nas, true, lease)
        .await
        .unwrap()
        .id
}

/// A session under a lease.
async fn metered(tx: &mut Tx, world: &World, lease: Lease) -> (SessionRow, LeaseId) {
    let lease = tx
        .add_lease(world.entitlement, world.nas, true, lease)
        .await
        .unwrap()
        .id;
    let new = NewSession {
        lease_id: Some(lease),
        ..world.session(1, "0001")
    };
    (tx.add_session(&new).await.unwrap(), lease)
}

/// What is used, and what is promised, of the world's entitlement and a lease, as somebody reads it who remembers nothing.
async fn figures(world: &World, lease: LeaseId) -> (u64, u64, u64) {
    let mut tx = world.store.read().await.unwrap();
    let found = tx.entitlement(world.entitlement).await.unwrap().unwrap();
    let by_period = tx
        .entitlement_of(world.subscriber, world.plan.id, window())
        .await
        .unwrap();
    assert_eq!(by_period, Some(found.clone()));
    let lease = tx.lease(lease).await.unwrap().unwrap();
    let promised = tx.promised_octets(world.entitlement).await.unwrap();
    (found.used_octets, lease.used_octets, promised)
}

pub async fn what_live_sessions_used_is_whole_for_every_reader(world: World) {
    let octets = Lease {
        granted_octets: 1000,
        used_octets: 0,
    };
    let mut tx = world.store.write_many(0).await.unwrap();
    let (session, lease) = metered(&mut tx, &world, octets).await;
    tx.charge(&session, world.entitlement, 100).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(figures(&world, lease).await, (100, 100, 900));

    let mut tx = world.store.write_many(0).await.unwrap();
    tx.charge(&session, world.entitlement, 20).await.unwrap();
    tx.top_up(world.entitlement, 5).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        figures(&world, lease).await,
        (120, 120, 880),
        "with the period written too"
    );

    // Somebody else, whose memory begins with what is in the database.
    let mut tx = world.write().await;
    tx.charge(&session, world.entitlement, 3).await.unwrap();
    tx.extend_lease(lease, 10, 0).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        figures(&world, lease).await,
        (123, 123, 887),
        "with the lease written too"
    );

    let mut tx = world.store.write_many(0).await.unwrap();
    tx.begin().await.unwrap();
    let mut ended = tx
        .lock_subscriber(world.subscriber)
        .await
        .map(|_| session.clone())
        .unwrap();
    tx.charge(&session, world.entitlement, 7).await.unwrap();
    (ended.state, ended.ended_at) = (SessionState::Ended, Some(NOW));
    tx.save_session(&ended).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(figures(&world, lease).await, (130, 130, 880), "after the end");

    // A copy from before the end, saved again, charges nothing twice.
    let mut tx = world.store.write_many(0).await.unwrap();
    tx.lock_subscriber(world.subscriber).await.unwrap();
    ended.trouble = Some("late".into());
    tx.save_session(&ended).await.unwrap();
    tx.charge(&ended, world.entitlement, 1).await.unwrap();
    tx.close_lease(lease).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(figures(&world, lease).await, (131, 131, 0));
}

pub async fn nothing_is_pending_under_a_lease_that_is_closed_or_changed(world: World) {
    let octets = Lease {
        granted_octets: 1000,
        used_octets: 0,
    };
    let mut tx = world.store.write_many(0).await.unwrap();
    let (mut session, lease) = metered(&mut tx, &world, octets).await;
    tx.commit().await.unwrap();
    let mut tx = world.store.write_many(0).await.unwrap();
    tx.charge(&session, world.entitlement, 100).await.unwrap();
    tx.close_lease(lease).await.unwrap();
    tx.charge(&session, world.entitlement, 10).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(figures(&world, lease).await, (110, 110, 0));

    let mut tx = world.store.write_many(0).await.unwrap();
    tx.reopen_lease(lease).await.unwrap();
    tx.charge(&session, world.entitlement, 5).await.unwrap();
    let next = tx
        .ensure_entitlement(world.subscriber, world.plan.id, next_window())
        .await
        .unwrap();
    tx.move_lease(lease, next.id, NOW).await.unwrap();
    session.entitlement_id = next.id;
    tx.charge(&session, next.id, 2).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = world.store.read().await.unwrap();
    let used = tx.entitlement(world.entitlement).await.unwrap().unwrap().used_octets;
    let next = tx.entitlement(next.id).await.unwrap().unwrap();
    let lease = tx.lease(lease).await.unwrap().unwrap();
    assert_eq!((used, next.used_octets, lease.used_octets), (115, 2, 117));
}

pub async fn whoever_asks_at_once_for_a_period_gets_the_same_one_and_loses_no_top_up(world: World) {
    let mut tx = world.write().await;
    let first = tx
        .ensure_entitlement(world.subscriber, world.plan.id, next_window())
        .await
        .unwrap();
    tx.top_up(first.id, 5).await.unwrap();
    let store = world.store.clone();
    let (subscriber, plan) = (world.subscriber, world.plan.id);
    let other = tokio::spawn(async move {
        let mut tx = store.write().await.unwrap();
        let found = tx.ensure_entitlement(subscriber, plan, next_window()).await.unwrap();
        tx.top_up(found.id, 7).await.unwrap();
        tx.commit().await.unwrap();
        found.id
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    tx.commit().await.unwrap();
    assert_eq!(other.await.unwrap(), first.id);
    let found = world.store.read().await.unwrap().entitlement(first.id).await.unwrap();
    assert_eq!(found.unwrap().topped_up_octets, 12);
}

pub async fn a_top_up_of_somebody_not_held_waits_for_whoever_holds_them(world: World) {
    let mut tx = world.write().await;
    tx.top_up(world.entitlement, 5).await.unwrap();
    let (store, entitlement) = (world.store.clone(), world.entitlement);
    let other = tokio::spawn(async move {
        let mut tx = store.write().await.unwrap();
        tx.top_up(entitlement, 7).await.unwrap();
        tx.commit().await.unwrap();
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    tx.commit().await.unwrap();
    other.await.unwrap();
    let found = world
        .store
        .read()
        .await
        .unwrap()
        .entitlement(entitlement)
        .await
        .unwrap();
    assert_eq!(found.unwrap().topped_up_octets, 12);
}

pub async fn a_lease_is_closed_and_opened_with_those_before_it(world: World) {
    let octets = Lease {
        granted_octets: 100,
        used_octets: 40,
    };
    let mut tx = world.store.write_many(0).await.unwrap();
    let (_, first) = metered(&mut tx, &world, octets).await;
    let following = tx.follow_lease(first, Lease::default()).await.unwrap();
    assert_eq!((following.prior_id, following.nas_id), (Some(first), world.nas));
    tx.commit().await.unwrap();
    let promised = async || {
        let mut tx = world.store.read().await.unwrap();
        tx.promised_octets(world.entitlement).await.unwrap()
    };
    assert_eq!(promised().await, 60);
    for (is_closed, octets) in [(true, 0), (false, 60)] {
        let mut tx = world.store.write_many(0).await.unwrap();
        if is_closed {
            tx.close_lease(following.id).await.unwrap();
        } else {
            tx.reopen_lease(following.id).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(promised().await, octets);
    }
}

fn next_window() -> Window {
    Window {
        start: window().start + Duration::from_hours(24 * 7),
        ..window()
    }
}

pub async fn figures_stand_still_at_the_largest(world: World) {
    let mut tx = world.write().await;
    let (session, lease) = metered(&mut tx, &world, Lease::default()).await;
    for octets in [u64::MAX, 5, u64::MAX] {
        tx.charge(&session, world.entitlement, octets).await.unwrap();
        tx.top_up(world.entitlement, octets).await.unwrap();
        tx.extend_lease(lease, octets, octets).await.unwrap();
    }
    let most = i64::MAX as u64;
    let lease = tx.lease(lease).await.unwrap().unwrap();
    assert_eq!((lease.granted_octets, lease.used_octets), (most, most));
    let found = tx
        .entitlement_of(world.subscriber, world.plan.id, window())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.used_octets, found.topped_up_octets), (most, most));
}

pub async fn promises_are_summed_over_open_leases_without_their_debts(world: World) {
    let mut tx = world.write().await;
    assert_eq!(tx.promised_octets(world.entitlement).await.unwrap(), 0);
    let octets = Lease {
        granted_octets: 100,
        used_octets: 40,
    };
    let (session, one) = metered(&mut tx, &world, octets).await;
    lease(&mut tx, &world, 50, 80).await;
    assert_eq!(
        tx.promised_octets(world.entitlement).await.unwrap(),
        60,
        "an overrun is no promise taken back"
    );
    tx.charge(&session, world.entitlement, 10).await.unwrap();
    tx.extend_lease(one, 30, 5).await.unwrap();
    assert_eq!(tx.promised_octets(world.entitlement).await.unwrap(), 75);
    tx.close_lease(one).await.unwrap();
    assert_eq!(tx.promised_octets(world.entitlement).await.unwrap(), 0);
    let found = tx
        .ensure_entitlement(world.subscriber, world.plan.id, window())
        .await
        .unwrap();
    assert_eq!((found.id, found.used_octets), (world.entitlement, 10));
}
