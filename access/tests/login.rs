//! From a number to a ticket, where people are hasty and machines ask at once, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::api::*;
use kavadam_access::voucher::Worth;
use kavadam_domain::{Language, Mac, Reason, SiteId};
use lab::{Database, Lab, MAC, MB, NUMBER, OTHER_MAC, cases, granted, plan, refused};

cases! {
    a_block_that_comes_while_a_code_is_entered_stands,
    who_begins_again_at_once_is_sent_to_the_code_on_its_way,
    a_spent_code_does_not_shorten_the_wait,
    two_taps_at_once_send_one_code,
    another_code_is_sent_for_a_pending_or_expired_one_alone,
    a_blocked_number_is_sent_no_other_code,
    the_same_private_address_at_another_site_is_another_address,
    wrong_codes_at_once_are_each_counted,
    a_second_tap_on_verify_gives_another_ticket_for_a_minute,
    who_comes_back_to_a_dead_code_can_ask_for_another,
    a_code_is_no_step_of_another_device_or_site,
    the_page_knows_what_became_of_the_message,
    a_code_typed_into_somebody_elses_link_brings_that_device_nothing,
    a_device_that_was_not_seen_is_remembered_from_its_login_at_the_gate,
    a_used_ticket_is_refused_in_its_owners_language,
    of_many_uses_of_a_ticket_at_once_one_is_good,
    of_many_uses_of_a_voucher_at_once_one_is_good,
}

/// Messages waiting to be sent.
async fn queued(lab: &Lab) -> usize {
    let mut tx = lab.store.write().await.unwrap();
    let mut count = 0;
    while tx
        .take_sms(lab.now, lab.now + Duration::from_secs(1))
        .await
        .unwrap()
        .is_some()
    {
        count += 1;
    }
    count
}

fn wrong_for(right: &str) -> &'static str {
    if right == "000000" { "000001" } else { "000000" }
}

async fn a_block_that_comes_while_a_code_is_entered_stands(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    lab.ticket(MAC).await;
    lab.pass(Duration::from_mins(1));
    lab.ask(MAC).await;
    let code = lab.code(MAC).await;
    let mut administrator = lab.store.write().await.unwrap();
    let number = NUMBER.parse().unwrap();
    let found = administrator.subscriber_numbered(&number).await.unwrap().unwrap();
    let mut row = administrator.lock_subscriber(found.id).await.unwrap();
    let (access, visit, now) = (lab.access.clone(), lab.visit(MAC), lab.now);
    let citizen = tokio::spawn(async move { access.verify_code(&visit, &code, now).await });
    // Long enough for the citizen to get as far as the subscriber.
    tokio::time::sleep(Duration::from_millis(300)).await;
    row.is_blocked = true;
    administrator.save_subscriber(&row).await.unwrap();
    administrator.commit().await.unwrap();
    citizen.await.unwrap().unwrap();
    let after = lab.store.read().await.unwrap().subscriber(found.id).await.unwrap();
    let after = after.unwrap();
    assert!(after.is_blocked, "undone by the login");
    assert_eq!(after.consent_at, Some(now), "and the login was noted");
}

async fn who_begins_again_at_once_is_sent_to_the_code_on_its_way(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    lab.ask(MAC).await;
    let code = lab.code(MAC).await;
    lab.enter(MAC, wrong_for(&code)).await;
    lab.pass(Duration::from_secs(10));
    let Started::Sent(pending) = lab.ask(MAC).await else {
        panic!("refused instead of shown the code's page")
    };
    assert_eq!(
        (pending.resend_in, pending.tries_left),
        (Duration::from_secs(20), 4),
        "the same one"
    );
    assert_eq!(queued(&lab).await, 1, "no second message");
    let other = lab
        .access
        .start_login(&lab.visit(MAC), "9876500000", true, lab.now)
        .await
        .unwrap();
    assert!(
        matches!(other, Started::Sent(pending) if pending.tries_left == 5),
        "another number waits for nothing"
    );
    lab.pass(Duration::from_secs(31));
    assert!(matches!(lab.ask(MAC).await, Started::Sent(pending) if pending.tries_left == 5));
}

async fn a_spent_code_does_not_shorten_the_wait(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    lab.ask(MAC).await;
    let code = lab.code(MAC).await;
    for _ in 0..5 {
        lab.enter(MAC, wrong_for(&code)).await;
    }
    assert_eq!(
        lab.ask(MAC).await,
        Started::Refused(Reason::TooMany(Duration::from_secs(30)))
    );
    lab.pass(Duration::from_secs(30));
    assert!(matches!(lab.ask(MAC).await, Started::Sent(_)));
}

async fn two_taps_at_once_send_one_code(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let (one, two, three) = tokio::join!(lab.ask(MAC), lab.ask(MAC), lab.ask(MAC));
    for started in [one, two, three] {
        assert!(matches!(started, Started::Sent(_)), "{started:?}");
    }
    assert_eq!(queued(&lab).await, 1);
}

async fn another_code_is_sent_for_a_pending_or_expired_one_alone(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    let resend = async |lab: &Lab| lab.access.resend_code(&lab.visit(MAC), lab.now).await.unwrap();
    assert_eq!(resend(&lab).await, Started::Refused(Reason::NoChallenge));
    lab.ask(MAC).await;
    assert_eq!(
        resend(&lab).await,
        Started::Refused(Reason::TooMany(Duration::from_secs(30)))
    );
    lab.pass(Duration::from_secs(30));
    assert!(matches!(resend(&lab).await, Started::Sent(_)), "pending");
    lab.pass(Duration::from_mins(11));
    assert!(matches!(resend(&lab).await, Started::Sent(_)), "expired");
    let code = lab.code(MAC).await;
    assert_eq!(lab.enter(MAC, &code).await, None);
    lab.pass(Duration::from_mins(1));
    assert_eq!(resend(&lab).await, Started::Refused(Reason::NoChallenge), "entered");
    lab.ask(MAC).await;
    lab.access.change_number(&lab.visit(MAC), lab.now).await.unwrap();
    lab.pass(Duration::from_mins(1));
    assert_eq!(resend(&lab).await, Started::Refused(Reason::NoChallenge), "taken back");
}

async fn a_blocked_number_is_sent_no_other_code(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    lab.ask(MAC).await;
    lab.access
        .block(&NUMBER.parse().unwrap(), true, "test", lab.now)
        .await
        .unwrap();
    lab.pass(Duration::from_mins(1));
    let resent = lab.access.resend_code(&lab.visit(MAC), lab.now).await.unwrap();
    assert_eq!(resent, Started::Refused(Reason::Blocked));
}

async fn the_same_private_address_at_another_site_is_another_address(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let other = lab
        .access
        .set_site("Kochi", true, "citizen", "test", lab.now)
        .await
        .unwrap();
    let ask = async |site: SiteId, person: u8| {
        let visit = Visit {
            site,
            ..lab.visit(Mac([2, 0, 0, 0, 1, person]))
        };
        let number = format!("98765001{person:02}");
        lab.access.start_login(&visit, &number, true, lab.now).await.unwrap()
    };
    for person in 0..10 {
        assert!(matches!(ask(lab.site, person).await, Started::Sent(_)));
    }
    assert!(matches!(ask(lab.site, 10).await, Started::Refused(Reason::TooMany(_))));
    assert!(
        matches!(ask(other, 11).await, Started::Sent(_)),
        "people at one site lock nobody out at another"
    );
}

async fn wrong_codes_at_once_are_each_counted(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    lab.ask(MAC).await;
    let code = lab.code(MAC).await;
    let wrong = wrong_for(&code);
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..9 {
        let (access, visit, now) = (lab.access.clone(), lab.visit(MAC), lab.now);
        tries.spawn(async move { access.verify_code(&visit, wrong, now).await.unwrap() });
    }
    let mut left = Vec::new();
    for outcome in tries.join_all().await {
        let Verified::Refused(Reason::WrongCode(tries)) = outcome else {
            panic!("a wrong code")
        };
        left.push(tries);
    }
    left.sort_unstable();
    assert_eq!(left, [0, 0, 0, 0, 0, 1, 2, 3, 4]);
    assert_eq!(lab.enter(MAC, &code).await, Some(Reason::WrongCode(0)), "spent");
}

async fn a_second_tap_on_verify_gives_another_ticket_for_a_minute(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    lab.ask(MAC).await;
    let code = lab.code(MAC).await;
    assert_eq!(lab.enter(MAC, &code).await, None);
    lab.pass(Duration::from_secs(2));
    assert_eq!(lab.enter(MAC, &code).await, None, "tapped twice");
    assert_eq!(lab.enter(MAC, wrong_for(&code)).await, Some(Reason::NoChallenge));
    lab.pass(Duration::from_mins(1));
    assert_eq!(lab.enter(MAC, &code).await, Some(Reason::NoChallenge), "a minute later");
    lab.ask(MAC).await;
    let code = lab.code(MAC).await;
    assert_eq!(lab.enter(MAC, &code).await, None);
    for _ in 0..5 {
        lab.enter(MAC, wrong_for(&code)).await;
    }
    assert_eq!(
        lab.enter(MAC, &code).await,
        Some(Reason::NoChallenge),
        "no place to guess at"
    );
}

async fn step(lab: &Lab, visit: &Visit) -> Step {
    lab.access.step(visit, lab.now).await.unwrap()
}

async fn who_comes_back_to_a_dead_code_can_ask_for_another(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    let dead = async |lab: &Lab| match step(lab, &lab.visit(MAC)).await {
        Step::Code(pending) => pending.tries_left == 0,
        step => panic!("{step:?}"),
    };
    lab.ask(MAC).await;
    let code = lab.code(MAC).await;
    for _ in 0..5 {
        lab.enter(MAC, wrong_for(&code)).await;
    }
    assert!(dead(&lab).await, "spent");
    lab.pass(Duration::from_mins(1));
    let resent = lab.access.resend_code(&lab.visit(MAC), lab.now).await.unwrap();
    assert!(matches!(resent, Started::Sent(_)));
    assert!(!dead(&lab).await);
    lab.pass(Duration::from_mins(10));
    assert!(dead(&lab).await, "expired");
    lab.pass(Duration::from_mins(50));
    assert_eq!(step(&lab, &lab.visit(MAC)).await, Step::Number, "an hour later");
}

async fn a_code_is_no_step_of_another_device_or_site(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    lab.ask(MAC).await;
    assert!(matches!(step(&lab, &lab.visit(MAC)).await, Step::Code(_)));
    assert_eq!(step(&lab, &lab.visit(OTHER_MAC)).await, Step::Number);
    let other = lab.access.set_site("Kochi", true, "citizen", "test", lab.now);
    let elsewhere = Visit {
        site: other.await.unwrap(),
        ..lab.visit(MAC)
    };
    assert_eq!(step(&lab, &elsewhere).await, Step::Number);
}

async fn the_page_knows_what_became_of_the_message(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let message = async |lab: &Lab| match step(lab, &lab.visit(MAC)).await {
        Step::Code(pending) => pending.message,
        step => panic!("{step:?}"),
    };
    lab.ask(MAC).await;
    assert_eq!(message(&lab).await, Message::Queued);
    let later = lab.now + Duration::from_secs(5);
    let mut tx = lab.store.write().await.unwrap();
    let sms = tx.take_sms(lab.now, later).await.unwrap().unwrap();
    tx.postpone_sms(sms.id, later, "unreachable").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(message(&lab).await, Message::Failed);
    let mut tx = lab.store.write().await.unwrap();
    tx.finish_sms(sms.id, Some(lab.now), "accepted").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(message(&lab).await, Message::Sent);
}

/// At a portal that does not see devices, somebody passes on the link that his own device was given.
async fn a_code_typed_into_somebody_elses_link_brings_that_device_nothing(database: Database) {
    let lab = Lab::new(database, &plan(20 * MB)).await;
    let theirs = Visit {
        is_seen: false,
        ..lab.visit(OTHER_MAC)
    };
    let started = lab.access.start_login(&theirs, NUMBER, true, lab.now).await.unwrap();
    assert!(matches!(started, Started::Sent(_)));
    let code = lab.code(OTHER_MAC).await;
    let Verified::Ticket(ticket) = lab.access.verify_code(&theirs, &code, lab.now).await.unwrap() else {
        panic!("no ticket")
    };
    let reason = refused(lab.authorize(OTHER_MAC, Service::CallCheck, "mac", "s1").await);
    assert_eq!(reason, Reason::UnknownDevice, "the device that the link was for");
    assert_eq!(step(&lab, &theirs).await, Step::Number);
    assert!(matches!(
        lab.access.reconnect(&theirs, lab.now).await.unwrap(),
        Verified::Refused(Reason::UnknownDevice)
    ));
    let reason = refused(lab.logon(MAC, &ticket, "s2").await);
    assert_eq!(
        reason,
        Reason::BadCredential,
        "the device that brings the ticket to the gate"
    );
}

async fn a_device_that_was_not_seen_is_remembered_from_its_login_at_the_gate(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    let visit = Visit {
        is_seen: false,
        ..lab.visit(MAC)
    };
    lab.access.start_login(&visit, NUMBER, true, lab.now).await.unwrap();
    let code = lab.code(MAC).await;
    let Verified::Ticket(ticket) = lab.access.verify_code(&visit, &code, lab.now).await.unwrap() else {
        panic!("no ticket")
    };
    granted(lab.logon(MAC, &ticket, "s1").await);
    lab.report(AccountingKind::Stop(1), "s1", MB, 60).await;
    granted(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await);
    lab.report(AccountingKind::Stop(1), "s2", MB, 60).await;
    // To come back without a code proves nothing anew: the fortnight goes on as it was.
    lab.pass(Duration::from_hours(13 * 24));
    let Verified::Ticket(ticket) = lab.access.reconnect(&visit, lab.now).await.unwrap() else {
        panic!("not remembered")
    };
    granted(lab.logon(MAC, &ticket, "s3").await);
    lab.report(AccountingKind::Stop(1), "s3", MB, 60).await;
    lab.pass(Duration::from_hours(2 * 24));
    let reason = refused(lab.authorize(MAC, Service::CallCheck, "mac", "s4").await);
    assert_eq!(reason, Reason::UnknownDevice);
}

async fn a_used_ticket_is_refused_in_its_owners_language(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let ticket = lab.ticket(MAC).await;
    lab.logon(MAC, &ticket, "s1").await;
    let Decision::Reject { message, .. } = lab.logon(MAC, &ticket, "s2").await else {
        panic!("accepted twice")
    };
    assert_eq!(message, Reason::BadCredential.message(Language::En));
}

async fn of_many_uses_of_a_ticket_at_once_one_is_good(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let ticket = lab.ticket(MAC).await;
    let (a, b, c, d) = tokio::join!(
        lab.logon(MAC, &ticket, "s1"),
        lab.logon(MAC, &ticket, "s2"),
        lab.logon(MAC, &ticket, "s3"),
        lab.logon(MAC, &ticket, "s4"),
    );
    let accepted = |decision: &&Decision| matches!(decision, Decision::Accept(_));
    assert_eq!([a, b, c, d].iter().filter(accepted).count(), 1);
}

async fn of_many_uses_of_a_voucher_at_once_one_is_good(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    let number = "9876500001";
    lab.online(MAC, "s1").await;
    let visit = lab.visit(OTHER_MAC);
    lab.access.start_login(&visit, number, true, lab.now).await.unwrap();
    let code = lab.code(OTHER_MAC).await;
    let Verified::Ticket(ticket) = lab.access.verify_code(&visit, &code, lab.now).await.unwrap() else {
        panic!("the right code")
    };
    granted(lab.logon(OTHER_MAC, &ticket, "s2").await);
    lab.pass(Duration::from_secs(1));
    let made = lab
        .access
        .create_vouchers(1, Worth::octets(30 * MB), "lot", None, "test", lab.now)
        .await
        .unwrap();
    let mut uses = tokio::task::JoinSet::new();
    for mac in [MAC, OTHER_MAC, MAC, OTHER_MAC] {
        let (access, visit, code, now) = (lab.access.clone(), lab.visit(mac), made[0].clone(), lab.now);
        uses.spawn(async move { (mac, access.redeem_voucher(&visit, &code, now).await.unwrap()) });
    }
    let outcomes = uses.join_all().await;
    let good = outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Verified::Ticket(_)));
    let holders: Vec<Mac> = good.map(|(mac, _)| *mac).collect();
    assert_eq!(holders.len(), 2, "both taps of one of them");
    assert_eq!(holders[0], holders[1]);
    let mut added = 0;
    for number in [NUMBER, number] {
        let view = lab.access.subscriber(&number.parse().unwrap(), lab.now).await.unwrap();
        added += view.unwrap().topped_up_octets;
    }
    assert_eq!(added, 30 * MB);
}
