//! Many questions at once, and what is remembered between them, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::Access;
use kavadam_access::Settings;
use kavadam_access::api::*;
use kavadam_access::batch::{Answer, Question};
use kavadam_domain::Reason;
use kavadam_store::Store;
use lab::{Database, Lab, MAC, MB, NUMBER, OTHER_MAC, cases, granted, plan, refused};

cases! {
    reports_that_come_at_once_are_charged_once_each_in_their_order,
    whoever_gives_up_waiting_takes_nobody_along,
    a_grant_that_was_never_begun_is_given_again,
    what_another_process_changed_is_seen_at_once,
    a_process_that_does_not_remember_a_session_renews_it_by_its_name_alone,
    two_processes_charge_one_session_by_turns,
    a_ticket_answers_the_same_question_at_a_second_server_and_no_other,
    a_code_answers_the_same_question_at_a_second_server_and_no_other,
    what_was_undone_is_not_remembered,
}

/// A centre in another process.
async fn another(lab: &Lab) -> Access {
    let store = Store::open(&lab.url).await.unwrap();
    Access::new(store, lab.sealer.clone(), Settings::default())
}

fn report(lab: &Lab, name: &str, octets: u64, secs: u32) -> Question {
    Question::Account(lab.words(AccountingKind::Interim, name, Some(MAC), octets, secs))
}

fn charged(answers: &[Result<Answer, kavadam_access::AccessError>]) -> Vec<u64> {
    let octets = |answer: &Result<Answer, _>| match answer {
        Ok(Answer::Accounted(Accounted::Charged(octets))) => *octets,
        other => panic!("{other:?}"),
    };
    answers.iter().map(octets).collect()
}

async fn reports_that_come_at_once_are_charged_once_each_in_their_order(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.online(OTHER_MAC, "s2").await;
    lab.pass(Duration::from_mins(1));
    // More than a transaction takes, of two sessions, each report twice.
    let questions: Vec<Question> = (1..=600_u64)
        .flat_map(|step| [("s1", step), ("s2", step), ("s1", step), ("s2", step)])
        .map(|(name, step)| report(&lab, name, step * 1000, u32::try_from(step).unwrap()))
        .collect();
    let answers = lab.access.answer(questions, lab.now).await;
    let octets = charged(&answers);
    assert_eq!(octets.len(), 2400);
    assert_eq!(octets.iter().sum::<u64>(), 1_200_000);
    assert!(octets.chunks(4).all(|each| each == [1000, 1000, 0, 0]));
    assert_eq!(lab.used_and_promised().await.0, 1_200_000);
}

async fn whoever_gives_up_waiting_takes_nobody_along(database: Database) {
    let lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    let impatient: Vec<_> = (1..=20_u64)
        .map(|step| {
            let (access, question, now) = (lab.access.clone(), report(&lab, "s1", step, 1), lab.now);
            tokio::spawn(async move { access.answer(vec![question], now).await })
        })
        .collect();
    let patient = lab.access.answer(vec![report(&lab, "s1", 5000, 2)], lab.now);
    for asker in impatient {
        asker.abort();
    }
    let octets = charged(&patient.await);
    assert!(octets[0] <= 5000);
    assert_eq!(
        lab.used_and_promised().await.0,
        5000,
        "whatever else was charged before"
    );
}

async fn a_grant_that_was_never_begun_is_given_again(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    lab.online(MAC, "s0").await;
    lab.report(AccountingKind::Stop(1), "s0", MB, 1).await;
    // This gate names no visits when it asks.
    let first = granted(lab.authorize(MAC, Service::CallCheck, "", "").await);
    lab.pass(Duration::from_secs(40));
    let second = granted(lab.authorize(MAC, Service::CallCheck, "", "").await);
    assert_eq!((second.session, &second.class), (first.session, &first.class));
    assert_eq!(
        second.limits.max_total_octets, first.limits.max_total_octets,
        "promised once"
    );
    let (used, promised) = lab.used_and_promised().await;
    assert_eq!((used, Some(promised)), (MB, first.limits.max_total_octets));
    // Begun, it goes on.
    let Question::Account(start) = report(&lab, "s2", 0, 0) else {
        unreachable!()
    };
    let start = AccountingReport {
        kind: AccountingKind::Start,
        class: Some(second.class),
        ..start
    };
    lab.access.account(start, lab.now).await.unwrap();
    let third = granted(lab.authorize(MAC, Service::CallCheck, "", "").await);
    assert_eq!((third.session, third.class), (first.session, first.class));
}

async fn what_another_process_changed_is_seen_at_once(database: Database) {
    let lab = Lab::new(database, &plan(40 * MB)).await;
    let other = another(&lab).await;
    lab.online(MAC, "s1").await;
    granted(lab.authorize(MAC, Service::CallCheck, "", "s1").await);
    other
        .block(&NUMBER.parse().unwrap(), true, "test", lab.now)
        .await
        .unwrap();
    let reason = refused(lab.authorize(MAC, Service::CallCheck, "", "s1").await);
    assert_eq!(reason, Reason::Blocked);
    other
        .block(&NUMBER.parse().unwrap(), false, "test", lab.now)
        .await
        .unwrap();
    granted(lab.authorize(MAC, Service::CallCheck, "", "s2").await);
    other
        .set_site("Vizhinjam bus stand", false, "citizen", "test", lab.now)
        .await
        .unwrap();
    let reason = refused(lab.authorize(MAC, Service::CallCheck, "", "s3").await);
    assert_eq!(reason, Reason::SiteClosed);
}

/// After a restart, or at another centre: a gate need not send Class.
async fn a_process_that_does_not_remember_a_session_renews_it_by_its_name_alone(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    let session = lab.online(MAC, "s1").await.session;
    lab.access = another(&lab).await;
    // From here on it knows the gate.
    refused(lab.authorize(OTHER_MAC, Service::CallCheck, "", "s2").await);
    assert_eq!(granted(lab.renew(MAC, "s1").await).session, session);
}

async fn two_processes_charge_one_session_by_turns(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    let other = another(&lab).await;
    lab.online(MAC, "s1").await;
    for step in 1..=6_u32 {
        lab.pass(Duration::from_secs(10));
        let question = report(&lab, "s1", u64::from(step) * 1000, step * 10);
        let centre = if step % 2 == 0 { &lab.access } else { &other };
        assert_eq!(charged(&centre.answer(vec![question], lab.now).await), [1000]);
    }
    assert_eq!(lab.used_and_promised().await.0, 6000);
}

async fn a_ticket_answers_the_same_question_at_a_second_server_and_no_other(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    let other = another(&lab).await;
    let ticket = lab.ticket(MAC).await;
    let first = granted(lab.logon(MAC, &ticket, "s1").await);
    let one = std::mem::replace(&mut lab.access, other);
    let again = granted(lab.logon(MAC, &ticket, "s1").await);
    assert_eq!((again.session, &again.class), (first.session, &first.class));
    assert_eq!(again.limits.max_total_octets, first.limits.max_total_octets);
    assert_eq!(lab.used_and_promised().await, (0, 10 * MB), "promised once");
    assert_eq!(refused(lab.logon(MAC, &ticket, "s2").await), Reason::BadCredential);
    assert_eq!(
        refused(lab.logon(OTHER_MAC, &ticket, "s1").await),
        Reason::BadCredential
    );
    assert_eq!(refused(lab.logon(MAC, &ticket, "").await), Reason::BadCredential);
    let guessed = Ticket {
        password: "guessed".to_owned().into(),
        ..ticket.clone()
    };
    assert_eq!(refused(lab.logon(MAC, &guessed, "s1").await), Reason::BadCredential);
    lab.access = one;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    let late = refused(lab.logon(MAC, &ticket, "s1").await);
    assert_eq!(late, Reason::BadCredential, "it was begun: the answer arrived");
}

async fn a_code_answers_the_same_question_at_a_second_server_and_no_other(database: Database) {
    let mut lab = Lab::new(database, &plan(40 * MB)).await;
    let other = another(&lab).await;
    lab.ask(MAC).await;
    let code = lab.code(MAC).await;
    let enter = async |lab: &Lab, code: &str, id: &str| {
        let proof = Proof::Pap(code.as_bytes().to_vec().into());
        lab.authorize(MAC, Service::Login(proof), NUMBER, id).await
    };
    let first = granted(enter(&lab, &code, "s1").await);
    lab.access = other;
    let again = granted(enter(&lab, &code, "s1").await);
    assert_eq!((again.session, again.class), (first.session, first.class));
    refused(enter(&lab, &code, "s2").await);
    let wrong = if code == "000000" { "000001" } else { "000000" };
    refused(enter(&lab, wrong, "s1").await);
    lab.pass(Duration::from_secs(40));
    granted(enter(&lab, &code, "s1").await);
    lab.pass(Duration::from_secs(40));
    refused(enter(&lab, &code, "s1").await);
}

async fn what_was_undone_is_not_remembered(database: Database) {
    let lab = Lab::new(database, &plan(40 * MB)).await;
    let grant = lab.online(MAC, "s1").await;
    let mut tx = lab.store.write_many(0).await.unwrap();
    let session = tx.session(grant.session).await.unwrap().unwrap();
    tx.lock_subscriber(session.subscriber_id).await.unwrap();
    tx.charge(&session, session.entitlement_id, 7777).await.unwrap();
    drop(tx);
    assert_eq!(lab.used_and_promised().await.0, 0);
    lab.report(AccountingKind::Interim, "s1", 1000, 1).await;
    assert_eq!(lab.used_and_promised().await.0, 1000);
}
