//! Codes, messages, attempts, tickets, vouchers.

use super::*;

pub async fn a_new_code_supersedes_the_old_and_its_message(world: World) {
    let mut tx = world.write().await;
    let first = tx.start_challenge(&world.challenge(1, NOW), NOW).await.unwrap();
    let second = tx.start_challenge(&world.challenge(2, NOW), later(31)).await.unwrap();
    assert_eq!(
        tx.lock_challenge(first).await.unwrap().unwrap().state,
        ChallengeState::Superseded
    );
    let last = tx.last_challenge(world.site, MAC).await.unwrap().unwrap();
    assert_eq!(
        (last.id, last.state, last.public_id),
        (second, ChallengeState::Pending, [2; 16])
    );
    assert_eq!(
        tx.take_sms(later(40), later(60)).await.unwrap().unwrap().challenge_id,
        second
    );
    assert_eq!(
        tx.take_sms(later(40), later(60)).await.unwrap(),
        None,
        "the first is not sent any more"
    );
}

pub async fn a_message_is_taken_once_and_again_only_later(world: World) {
    let mut tx = world.write().await;
    tx.start_challenge(&world.challenge(1, NOW), NOW).await.unwrap();
    assert_eq!(tx.next_sms_at().await.unwrap(), Some(NOW));
    let taken = tx.take_sms(NOW, later(10)).await.unwrap().unwrap();
    assert_eq!((taken.attempts, taken.public_id), (1, [1; 16]));
    assert_eq!(tx.take_sms(later(9), later(99)).await.unwrap(), None);
    let again = tx.take_sms(later(10), later(20)).await.unwrap().unwrap();
    assert_eq!((again.id, again.attempts), (taken.id, 2));
    tx.postpone_sms(taken.id, later(30), "busy").await.unwrap();
    assert_eq!(tx.next_sms_at().await.unwrap(), Some(later(30)));
    tx.finish_sms(taken.id, Some(later(30)), "402").await.unwrap();
    tx.postpone_sms(taken.id, later(40), "late").await.unwrap();
    assert_eq!(tx.next_sms_at().await.unwrap(), None, "sent stays sent");
}

pub async fn a_message_that_a_clock_ahead_put_off_is_sent_now(world: World) {
    let mut tx = world.write().await;
    tx.start_challenge(&world.challenge(1, later(7200)), later(7200))
        .await
        .unwrap();
    tx.hasten_sms(later(7200), NOW).await.unwrap();
    assert_eq!(tx.take_sms(NOW, later(10)).await.unwrap(), None, "not beyond");
    tx.hasten_sms(later(600), NOW).await.unwrap();
    assert!(tx.take_sms(NOW, later(10)).await.unwrap().is_some());
}

pub async fn attempts_are_the_newest_first_and_no_more_than_asked_for(world: World) {
    let mut tx = world.write().await;
    for secs in [5, 1, 3] {
        tx.record_attempt("number", b"key", later(secs)).await.unwrap();
    }
    tx.record_attempt("device", b"key", later(9)).await.unwrap();
    assert_eq!(
        tx.attempts("number", b"key", NOW, later(9), 2).await.unwrap(),
        [later(5), later(3)]
    );
    assert_eq!(
        tx.attempts("number", b"key", later(3), later(9), 9).await.unwrap(),
        [later(5)],
        "after, not at"
    );
    assert_eq!(
        tx.attempts("number", b"key", NOW, later(4), 1).await.unwrap(),
        [later(3)],
        "up to then"
    );
    assert!(
        tx.attempts("number", b"other", NOW, later(9), 9)
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn a_ticket_is_used_once(world: World) {
    let mut tx = world.write().await;
    let ticket = TicketRow {
        public_id: [9; 16],
        subscriber_id: world.subscriber,
        nas_id: world.nas,
        mac: MAC,
        expires_at: later(60),
        used_at: None,
    };
    tx.add_ticket(&ticket).await.unwrap();
    assert_eq!(tx.ticket(&[9; 16]).await.unwrap(), Some(ticket));
    assert!(tx.use_ticket(&[9; 16], later(1)).await.unwrap());
    assert!(!tx.use_ticket(&[9; 16], later(1)).await.unwrap());
    assert!(!tx.use_ticket(&[8; 16], later(1)).await.unwrap());
}

pub async fn a_voucher_is_used_once_and_not_after_it_expired(world: World) {
    let mut tx = world.write().await;
    let voucher = |code_hash, expires_at| NewVoucher {
        code_hash,
        label: "Akshaya 7".into(),
        octets: Some(5),
        plan_id: None,
        expires_at,
    };
    tx.add_voucher(&voucher([1; 32], None), NOW).await.unwrap();
    tx.add_voucher(&voucher([2; 32], Some(later(10))), NOW).await.unwrap();
    assert_eq!(
        tx.use_voucher(&[2; 32], world.subscriber, later(10)).await.unwrap(),
        None
    );
    let used = tx
        .use_voucher(&[1; 32], world.subscriber, later(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((used.octets, used.used_by), (Some(5), Some(world.subscriber)));
    assert_eq!(
        tx.use_voucher(&[1; 32], world.subscriber, later(10)).await.unwrap(),
        None
    );
    assert_eq!(tx.vouchers(Some("Akshaya 7"), 1).await.unwrap().len(), 1);
    assert_eq!(tx.vouchers(None, 9).await.unwrap().len(), 2);
    assert_eq!(tx.vouchers(Some("another"), 9).await.unwrap(), []);
    let doubled = tx.add_voucher(&voucher([1; 32], None), NOW).await;
    assert!(doubled.unwrap_err().is_conflict());
}

pub async fn of_very_much_that_expired_the_oldest_is_deleted_first(world: World) {
    let mut tx = world.write().await;
    for secs in [3, 1, 2, 5, 4, 7] {
        tx.record_attempt("number", b"key", later(secs)).await.unwrap();
        let ticket = TicketRow {
            public_id: [u8::try_from(secs).unwrap(); 16],
            subscriber_id: world.subscriber,
            nas_id: world.nas,
            mac: MAC,
            expires_at: later(secs),
            used_at: None,
        };
        tx.add_ticket(&ticket).await.unwrap();
    }
    let mut deleted = Vec::new();
    for _ in 0..4 {
        deleted.push(tx.delete_expired(later(6), 2).await.unwrap());
        let left = tx.attempts("number", b"key", NOW, later(9), 9).await.unwrap();
        assert_eq!(left.last(), Some(&later(*[3, 5, 7, 7].get(deleted.len() - 1).unwrap())));
    }
    assert_eq!(deleted, [4, 4, 2, 0], "of each kind two at a time");
    assert!(tx.ticket(&[7; 16]).await.unwrap().is_some() && tx.ticket(&[5; 16]).await.unwrap().is_none());
}

pub async fn what_expired_is_deleted_and_nothing_else(world: World) {
    let mut tx = world.write().await;
    tx.start_challenge(&world.challenge(1, NOW), NOW).await.unwrap();
    tx.record_attempt("number", b"key", NOW).await.unwrap();
    assert_eq!(tx.delete_expired(NOW, 9).await.unwrap(), 0);
    assert_eq!(
        tx.delete_expired(later(601), 9).await.unwrap(),
        2,
        "the code, with its message, and the attempt"
    );
    assert_eq!(tx.next_sms_at().await.unwrap(), None);
    assert!(tx.subscriber(world.subscriber).await.unwrap().is_some());
}
