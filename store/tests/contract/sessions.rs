//! Sessions.

use super::*;

pub async fn two_live_sessions_at_a_gate_never_share_a_name(world: World) {
    let mut tx = world.write().await;
    let first = tx.add_session(&world.session(1, "0001")).await.unwrap().id;
    let mut session = tx.session(first).await.unwrap().unwrap();
    session.state = SessionState::Ended;
    session.ended_at = Some(NOW);
    tx.save_session(&session).await.unwrap();
    let second = tx.add_session(&world.session(2, "0001")).await.unwrap().id;
    let found = tx.session_at(world.nas, None, Some("0001")).await.unwrap().unwrap();
    assert_eq!(found.id, second, "the last of that name");
    let third = match tx.add_session(&world.session(3, "0001")).await {
        Ok(_) => tx.commit().await,
        Err(error) => Err(error),
    };
    assert!(third.unwrap_err().is_conflict());
}

pub async fn no_live_session_is_given_the_name_of_another(world: World) {
    let mut tx = world.write().await;
    tx.add_session(&world.session(1, "0001")).await.unwrap();
    let mut session = tx.add_session(&world.session(2, "0002")).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = world.write().await;
    session.acct_session_id = Some("0001".to_owned());
    let named = match tx.save_session(&session).await {
        Ok(()) => tx.commit().await,
        Err(error) => {
            drop(tx);
            Err(error)
        }
    };
    assert!(named.unwrap_err().is_conflict());
    let mut tx = world.write().await;
    session.acct_session_id = Some("0003".to_owned());
    tx.save_session(&session).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = world.write().await;
    assert_eq!(tx.live_session_named(world.nas, "0002").await.unwrap(), None);
    assert_eq!(tx.live_session_named(world.nas, "0003").await.unwrap(), Some(session));
}

pub async fn what_comes_back_finds_its_name_taken(world: World) {
    let mut tx = world.write().await;
    let mut session = tx.add_session(&world.session(1, "0001")).await.unwrap();
    (session.state, session.ended_at) = (SessionState::Ended, Some(NOW));
    tx.save_session(&session).await.unwrap();
    tx.add_session(&world.session(2, "0001")).await.unwrap();
    (session.state, session.ended_at) = (SessionState::Open, None);
    let back = match tx.save_session(&session).await {
        Ok(()) => tx.commit().await,
        Err(error) => Err(error),
    };
    assert!(back.unwrap_err().is_conflict());
}

pub async fn what_is_over_is_found_by_its_name_with_whoever_had_it(world: World) {
    let mut tx = world.write().await;
    let number = "9876500001".parse().unwrap();
    let other = tx.ensure_subscriber(&number, "other", Language::En, NOW).await.unwrap();
    tx.remember_device(other.id, MAC, None, NOW).await.unwrap();
    let mut ids = Vec::new();
    for nonce in 1..=3 {
        let new = NewSession {
            subscriber_id: if nonce == 3 { other.id } else { world.subscriber },
            granted_at: later(nonce.into()),
            ..world.session(nonce, "0001")
        };
        let mut session = tx.add_session(&new).await.unwrap();
        (session.state, session.ended_at) = (SessionState::Ended, Some(later(9)));
        tx.save_session(&session).await.unwrap();
        ids.push(session.id);
    }
    tx.commit().await.unwrap();
    let mut tx = world.write().await;
    assert_eq!(tx.session_at(world.nas, None, Some("0001")).await.unwrap(), None);
    let mut found = Vec::new();
    for (user_name, mac) in [
        (Some("alias"), None),
        (Some("9876543210"), None),
        (Some("+919876500001"), None),
        (Some("other"), None),
        (None, Some(MAC)),
        (Some("nobody"), Some(Mac([2, 0, 0, 0, 0, 9]))),
        (None, None),
    ] {
        let mut last = None;
        let mut meant = match user_name {
            Some(user_name) => tx.subscribers_called(user_name).await.unwrap(),
            None => Vec::new(),
        };
        if let Some(mac) = mac {
            meant.extend(tx.owners_of_device(mac).await.unwrap());
        }
        for owner in meant {
            let session = tx.ended_session_named(world.nas, "0001", owner).await.unwrap();
            last = last.max(session.map(|session| session.id));
        }
        found.push(last);
    }
    let (second, third) = (Some(ids[1]), Some(ids[2]));
    assert_eq!(found, [second, second, third, third, third, None, None]);
    let elsewhere = tx.save_nas(&gate("gate-2", world.site)).await.unwrap();
    for (nas, name) in [(elsewhere, "0001"), (world.nas, "0002")] {
        assert_eq!(tx.ended_session_named(nas, name, other.id).await.unwrap(), None);
    }
}

pub async fn a_gates_live_sessions_are_all_told_those_of_this_transaction_too(world: World) {
    let mut tx = world.write().await;
    let other = tx.save_nas(&gate("gate-2", world.site)).await.unwrap();
    let at = |nas, nonce: u8| NewSession {
        nas_id: nas,
        granted_at: later(nonce.into()),
        ..world.session(nonce, &format!("{nonce:04x}"))
    };
    let mut first = tx.add_session(&at(world.nas, 1)).await.unwrap();
    let second = tx.add_session(&at(world.nas, 2)).await.unwrap();
    tx.add_session(&at(other, 3)).await.unwrap();
    let nameless = NewSession {
        acct_session_id: None,
        ..at(world.nas, 4)
    };
    let nameless = tx.add_session(&nameless).await.unwrap();
    tx.commit().await.unwrap();
    for turn in 0..2_u8 {
        let mut tx = world.write().await;
        (first.state, first.ended_at) = (SessionState::Ended, Some(later(9)));
        tx.save_session(&first).await.unwrap();
        let fifth = tx.add_session(&at(world.nas, 5)).await.unwrap();
        let all = tx.live_sessions_at(world.nas).await.unwrap();
        let ids: Vec<_> = all.iter().map(|session| session.id).collect();
        assert_eq!(ids, [second.id, nameless.id, fifth.id], "turn {turn}");
        // It is undone, and what was so before is so again.
        drop(tx);
        let mut tx = world.write().await;
        assert_eq!(tx.live_sessions_at(world.nas).await.unwrap().len(), 3);
    }
}

pub async fn a_session_is_found_by_class_at_its_own_gate_only(world: World) {
    let mut tx = world.write().await;
    let other = tx.save_nas(&gate("gate-2", world.site)).await.unwrap();
    let SessionRow { id, class, .. } = tx.add_session(&world.session(1, "0001")).await.unwrap();
    let mut guessed = class;
    guessed[0] ^= 1;
    assert_eq!(tx.session_at(world.nas, Some(&guessed), None).await.unwrap(), None);
    assert_eq!(
        tx.session_at(world.nas, Some(&class), None).await.unwrap().unwrap().id,
        id
    );
    assert_eq!(tx.session_at(other, Some(&class), Some("0001")).await.unwrap(), None);
    assert_eq!(
        tx.session_at(world.nas, Some(b"not ours"), Some("0001"))
            .await
            .unwrap()
            .unwrap()
            .id,
        id
    );
}

pub async fn a_plan_that_changes_reaches_more_than_one_portion_of_those_online(world: World) {
    let mut tx = world.write().await;
    let number = "9876500001".parse().unwrap();
    let other = tx.ensure_subscriber(&number, "other", Language::En, NOW).await.unwrap();
    // More of one person than are changed at once, and one of another behind.
    let nameless = NewSession {
        acct_session_id: None,
        ..world.session(1, "")
    };
    for _ in 0..4_100 {
        tx.add_session(&nameless).await.unwrap();
    }
    let behind = NewSession {
        subscriber_id: other.id,
        ..nameless
    };
    tx.add_session(&behind).await.unwrap();
    assert_eq!(tx.order_change_on_plan(world.plan.id, NOW).await.unwrap(), 4_101);
    assert_eq!(tx.order_change_on_plan(PlanId(99), NOW).await.unwrap(), 0);
}

pub async fn an_end_once_ordered_is_not_softened(world: World) {
    let mut tx = world.write().await;
    let id = tx.add_session(&world.session(1, "0001")).await.unwrap().id;
    let mut session = tx.session(id).await.unwrap().unwrap();
    session.order(OrderKind::End, NOW);
    tx.save_session(&session).await.unwrap();
    assert_eq!(tx.order_change_on_plan(world.plan.id, NOW).await.unwrap(), 0);
    session.order(OrderKind::Change, NOW);
    assert_eq!(session.order_action, Some(OrderKind::End));
    let due = tx.due_orders(later(1), later(600), 9, 9).await.unwrap();
    let order = DueOrder { id, nas_id: world.nas };
    assert_eq!(due, std::slice::from_ref(&order));
    let before = NOW - Duration::from_hours(1);
    assert!(tx.due_orders(before, NOW, 9, 9).await.unwrap().is_empty());
    let beyond = before + Duration::from_mins(59);
    assert_eq!(
        tx.due_orders(before, beyond, 9, 9).await.unwrap(),
        [order],
        "by a clock that was ahead"
    );
    assert_eq!(
        tx.session(id).await.unwrap().unwrap().order_action,
        Some(OrderKind::End)
    );
    session.settle_order();
    tx.save_session(&session).await.unwrap();
    assert!(tx.due_orders(later(1), later(600), 9, 9).await.unwrap().is_empty());
    assert_eq!(
        tx.order_change_on_plan(world.plan.id, NOW).await.unwrap(),
        1,
        "by the site's plan"
    );
}

pub async fn an_order_kept_for_a_session_that_is_over_waits_for_nobody(world: World) {
    let mut tx = world.write().await;
    let mut session = tx.add_session(&world.session(1, "0001")).await.unwrap();
    session.order(OrderKind::End, NOW);
    tx.save_session(&session).await.unwrap();
    assert_eq!(tx.waiting_orders().await.unwrap(), 1);
    (session.state, session.ended_at) = (SessionState::Ended, Some(NOW));
    (session.is_presumed_ended, session.order_next_at) = (true, None);
    tx.save_session(&session).await.unwrap();
    assert_eq!(tx.waiting_orders().await.unwrap(), 0);
}

pub async fn a_device_is_looked_for_among_the_last_sessions_of_its_owner(world: World) {
    let mut tx = world.write().await;
    tx.remember_device(world.subscriber, MAC, None, NOW).await.unwrap();
    let elsewhere = Some(Mac([2, 0, 0, 0, 0, 9]));
    for number in 0..=256_u64 {
        let new = NewSession {
            mac: if number == 0 { Some(MAC) } else { elsewhere },
            granted_at: later(number),
            ..world.session(1, &number.to_string())
        };
        let mut session = tx.add_session(&new).await.unwrap();
        (session.state, session.ended_at) = (SessionState::Ended, Some(later(number)));
        tx.save_session(&session).await.unwrap();
        let found = tx.last_session_of_device(world.site, MAC).await.unwrap();
        assert_eq!(found.is_some(), number < 256, "{number} later ones");
    }
    let live = tx.add_session(&world.session(1, "live")).await.unwrap();
    let found = tx.last_session_of_device(world.site, MAC).await.unwrap();
    assert_eq!(found.map(|found| found.id), Some(live.id), "who is online always");
}

pub async fn of_each_gate_the_orders_due_longest_are_told_whatever_is_due_at_others(world: World) {
    let mut tx = world.write().await;
    let other = tx.save_nas(&gate("gate-2", world.site)).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..9_u8 {
        let new = NewSession {
            nas_id: if number == 8 { other } else { world.nas },
            ..world.session(number, &format!("{number:04x}"))
        };
        let mut session = tx.add_session(&new).await.unwrap();
        session.order(OrderKind::End, later((10 - number).into()));
        tx.save_session(&session).await.unwrap();
        ids.push(session.id);
    }
    let mut due = async |now, per_gate, most| {
        let due = tx.due_orders(now, later(600), per_gate, most).await.unwrap();
        due.iter().map(|order| (order.id, order.nas_id)).collect::<Vec<_>>()
    };
    let of_one = |number: usize| (ids[number], world.nas);
    let of_other = (ids[8], other);
    assert_eq!(due(later(10), 2, 9).await, [of_other, of_one(7), of_one(6)]);
    assert_eq!(due(later(10), 9, 3).await, [of_other, of_one(7), of_one(6)]);
    assert_eq!(
        due(later(3), 9, 9).await,
        [of_other, of_one(7)],
        "the others are not due yet"
    );
}

pub async fn the_record_is_listed_by_subscriber_site_and_whether_live(world: World) {
    let mut tx = world.write().await;
    let number = "9876543211".parse().unwrap();
    let other = tx.ensure_subscriber(&number, "other", Language::En, NOW).await.unwrap();
    let first = tx.add_session(&world.session(1, "0001")).await.unwrap().id;
    let second = tx.add_session(&world.session(2, "0002")).await.unwrap().id;
    let theirs = NewSession {
        subscriber_id: other.id,
        ..world.session(3, "0003")
    };
    let third = tx.add_session(&theirs).await.unwrap().id;
    let mut session = tx.session(second).await.unwrap().unwrap();
    (session.state, session.ended_at) = (SessionState::Ended, Some(NOW));
    tx.save_session(&session).await.unwrap();
    let last = tx.last_sessions(None, 1).await.unwrap();
    assert_eq!(
        (last[0].nas.as_str(), last[0].site.as_str(), last[0].number.digits()),
        ("gate-1", "Vizhinjam", "9876543211")
    );
    let ids = |rows: Vec<SessionListing>| rows.into_iter().map(|row| row.session.id).collect::<Vec<_>>();
    let (who, here) = (world.subscriber, Some(world.site));
    for (site, is_live, most, expected) in [
        (None, false, 9, vec![second, first]),
        (here, false, 9, vec![second, first]),
        (None, true, 9, vec![first]),
        (None, false, 1, vec![second]),
        (Some(SiteId(99)), false, 9, vec![]),
    ] {
        let found = tx.sessions_of(who, site, is_live, most).await.unwrap();
        assert_eq!(ids(found), expected, "{site:?} {is_live} {most}");
    }
    for site in [None, here] {
        assert_eq!(ids(tx.live_sessions(site, 9).await.unwrap()), [third, first]);
        assert_eq!(ids(tx.last_sessions(site, 2).await.unwrap()), [third, second]);
    }
    assert!(tx.live_sessions(Some(SiteId(99)), 9).await.unwrap().is_empty());
    assert!(tx.last_sessions(Some(SiteId(99)), 9).await.unwrap().is_empty());
    assert_eq!(
        tx.last_session_of(world.subscriber).await.unwrap().map(|row| row.id),
        Some(second)
    );
}

pub async fn whatever_is_made_in_one_transaction_has_a_number_of_its_own(world: World) {
    // More than are taken from the database at once.
    const MANY: u32 = 1300;
    let mut tx = world.store.write_many(0).await.unwrap();
    tx.lock_subscriber(world.subscriber).await.unwrap();
    let mut numbers = std::collections::HashSet::new();
    for number in 0..MANY {
        let lease = tx
            .add_lease(world.entitlement, world.nas, false, Lease::default())
            .await
            .unwrap();
        let mut new = NewSession {
            lease_id: Some(lease.id),
            ..world.session(1, &format!("{number:08x}"))
        };
        new.nonce[..4].copy_from_slice(&number.to_be_bytes());
        let id = tx.add_session(&new).await.unwrap().id;
        assert!(numbers.insert((id, lease.id)));
    }
    tx.commit().await.unwrap();
    let mut tx = world.store.write_many(0).await.unwrap();
    let live = tx.live_sessions_of(world.subscriber).await.unwrap();
    let found: std::collections::HashSet<_> = live.iter().map(|row| (row.id, row.lease_id.unwrap())).collect();
    assert_eq!(found, numbers);
}

/// One column each, and what an end, a renewal and a report change together.
const CHANGES: [fn(&mut SessionRow); 24] = [
    |row| row.entitlement_id.0 += 1,
    |row| row.lease_id = Some(LeaseId(99)),
    |row| row.acct_session_id = Some("another".into()),
    |row| row.mac = Some(Mac([2, 0, 0, 0, 0, 9])),
    |row| row.ip = None,
    |row| row.state = SessionState::Open,
    |row| (row.state, row.ended_at) = (SessionState::Ended, Some(NOW)),
    |row| row.is_throttled = true,
    |row| row.granted_at = later(5),
    |row| row.started_at = Some(later(6)),
    |row| row.reported_at = Some(later(7)),
    |row| row.heard_at = later(8),
    |row| row.ends_at = Some(later(9)),
    |row| row.terminate_cause = Some(4),
    |row| row.is_presumed_ended = true,
    |row| row.granted_octets = 11,
    |row| (row.up_octets, row.down_octets) = (12, 13),
    |row| (row.base_up_octets, row.base_down_octets) = (14, 15),
    |row| (row.up_packets, row.down_packets) = (16, 17),
    |row| (row.session_secs, row.is_wide) = (18, true),
    |row| row.order_action = Some(OrderKind::End),
    |row| (row.order_number, row.order_attempts) = (19, 20),
    |row| row.order_next_at = Some(later(21)),
    |row| row.trouble = Some("no answer".into()),
];

pub async fn whatever_changes_of_a_session_is_written(world: World) {
    let pairs = (0..CHANGES.len()).flat_map(|one| (0..=one).map(move |other| (one, other)));
    for (number, (one, other)) in pairs.enumerate() {
        let mut tx = world.store.write_many(0).await.unwrap();
        let mut row = tx
            .add_session(&world.session(1, &format!("{number:04x}")))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let mut tx = world.store.write_many(0).await.unwrap();
        tx.lock_subscriber(world.subscriber).await.unwrap();
        for change in [one, other] {
            CHANGES[change](&mut row);
            tx.save_session(&row).await.unwrap();
        }
        if row.state != SessionState::Ended {
            row.ended_at = None;
            tx.save_session(&row).await.unwrap();
        }
        tx.commit().await.unwrap();
        let found = world.store.read().await.unwrap().session(row.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(&row), "changes {one} and {other}");
        // Out of the way of the next one, which may go by the same name.
        let mut tx = world.store.write_many(0).await.unwrap();
        (row.state, row.ended_at) = (SessionState::Ended, Some(NOW));
        tx.save_session(&row).await.unwrap();
        tx.commit().await.unwrap();
    }
}

pub async fn numbers_given_out_in_two_places_are_never_the_same(world: World) {
    let mut seen = std::collections::HashSet::new();
    for turn in 0..6_u8 {
        let mut tx = match turn % 3 {
            0 => world.store.write_many(0).await.unwrap(),
            1 => world.store.write_many(1).await.unwrap(),
            _ => world.write().await,
        };
        tx.begin().await.unwrap();
        for number in 0..3 {
            let new = world.session(turn, &format!("{turn}-{number}"));
            assert!(seen.insert(tx.add_session(&new).await.unwrap().id));
        }
        tx.commit().await.unwrap();
    }
}

/// What a use case may wait for is part of it, and moved with it at each call: beginning a transaction alone is 9 KB.
pub async fn what_may_wait_for_the_database_is_small_enough_to_be_moved_about(world: World) {
    let mut tx = world.store.write_many(0).await.unwrap();
    let new = world.session(1, "0001");
    let row = tx.add_session(&new).await.unwrap();
    let hold = size_of_val(&tx.hold(world.subscriber));
    let add = size_of_val(&tx.add_session(&new));
    let save = size_of_val(&tx.save_session(&row));
    let find = size_of_val(&tx.session_at(world.nas, None, Some("0001")));
    let charge = size_of_val(&tx.charge(&row, world.entitlement, 1));
    for size in [hold, add, save, find, charge] {
        assert!(
            size <= 1024,
            "holding {hold}, adding {add}, saving {save}, finding {find}, charging {charge} octets"
        );
    }
}
