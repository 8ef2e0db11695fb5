//! A database that is away, or rows that somebody never lets go: what becomes of the questions of gates. On PostgreSQL.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;
#[path = "../../store/tests/relay/mod.rs"]
mod relay;

use std::sync::atomic::Ordering;
use std::time::Duration;

use kavadam_access::api::*;
use kavadam_access::batch::{Answer, Question};
use kavadam_access::sweep::Round;
use kavadam_access::{Access, AccessError, Settings};
use kavadam_domain::{Language, Mac, Plan, SubscriberId};
use kavadam_store::{NewSession, Patience, Store};
use lab::{Database, Lab, MAC, MB, OTHER_MAC, plan};
use relay::Relay;

/// More than any patience here, and far less than one for each question of a batch.
const SOON: Duration = Duration::from_secs(20);

fn patience() -> Patience {
    Patience {
        statement: Duration::from_secs(1),
        long_statement: Duration::from_secs(2),
        lock: Duration::from_millis(500),
    }
}

fn report(lab: &Lab, name: &str, octets: u64) -> Question {
    Question::Account(AccountingReport {
        nas: lab.nas,
        kind: AccountingKind::Interim,
        acct_session_id: name.to_owned(),
        class: None,
        user_name: None,
        mac: None,
        ip: None,
        ports: None,
        counters: Counters {
            down_octets: octets,
            session_secs: 1,
            ..Counters::default()
        },
        free: None,
        at: lab.now,
    })
}

/// Somebody else, whose device is remembered.
async fn known(lab: &Lab, person: u8, mac: Mac) -> SubscriberId {
    let mut tx = lab.store.write().await.unwrap();
    let number = format!("98765432{person:02}").parse().unwrap();
    let alias = format!("other-{person}");
    let found = tx.ensure_subscriber(&number, &alias, Language::En, lab.now);
    let found = found.await.unwrap().id;
    let until = lab.now + Duration::from_hours(1);
    tx.remember_device(found, mac, Some(until), lab.now).await.unwrap();
    tx.commit().await.unwrap();
    found
}

async fn asked(access: &Access, lab: &Lab, questions: Vec<Question>) -> Vec<Result<Answer, AccessError>> {
    let answers = tokio::time::timeout(SOON, access.answer(questions, lab.now)).await;
    answers.expect("the questions wait still")
}

#[tokio::test]
async fn a_batch_that_the_database_does_not_answer_is_not_asked_again_question_by_question() {
    let lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    let relay = Relay::to(&lab.url).await;
    let store = Store::open_with(&relay.url(&lab.url), patience()).await.unwrap();
    let access = Access::new(store, lab.sealer.clone(), Settings::default());
    lab.online(MAC, "s1").await;
    let all = || (1..=50).map(|step| report(&lab, "s1", step * 1000)).collect();
    assert!(asked(&access, &lab, vec![report(&lab, "s1", 10)]).await[0].is_ok());
    relay.stop();
    let answers = asked(&access, &lab, all()).await;
    assert_eq!(answers.len(), 50);
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    relay.go();
    let back = async { while asked(&access, &lab, all()).await.iter().any(Result::is_err) {} };
    tokio::time::timeout(SOON * 3, back).await.expect("it stays away");
    assert_eq!(lab.used_and_promised().await.0, 50_000);
}

#[tokio::test]
async fn a_silent_session_of_somebody_held_keeps_no_other_from_its_end() {
    let mut lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    let store = Store::open_with(&lab.url, patience()).await.unwrap();
    let access = Access::new(store, lab.sealer.clone(), Settings::default());
    let held = lab.online(MAC, "s1").await.session;
    // The next in the order in which they are looked at.
    let other = known(&lab, 99, OTHER_MAC).await;
    lab::granted(lab.authorize(OTHER_MAC, Service::CallCheck, "", "s2").await);
    let mut forgotten = lab.store.write().await.unwrap();
    let session = forgotten.session(held).await.unwrap().unwrap();
    forgotten.lock_subscriber(session.subscriber_id).await.unwrap();
    assert!(session.subscriber_id < other);

    lab.pass(Duration::from_mins(3));
    let mut round = Round::default();
    let sweep = access.sweep(&mut round, lab.up_since, lab.now);
    let ended = tokio::time::timeout(SOON, sweep).await.expect("it waits still");
    assert_eq!(ended.unwrap(), 1);
    drop(forgotten);
    let again = access.sweep(&mut Round::default(), lab.up_since, lab.now).await;
    assert_eq!(again.unwrap(), 1, "the held one, once it is let go");
}

#[tokio::test]
async fn a_person_whom_somebody_never_lets_go_keeps_no_other_from_an_answer() {
    let lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    let store = Store::open_with(&lab.url, patience()).await.unwrap();
    let access = Access::new(store, lab.sealer.clone(), Settings::default());
    let held = lab.online(MAC, "s1").await.session;
    known(&lab, 99, OTHER_MAC).await;
    lab::granted(lab.authorize(OTHER_MAC, Service::CallCheck, "", "s2").await);

    let mut forgotten = lab.store.write().await.unwrap();
    let session = forgotten.session(held).await.unwrap().unwrap();
    forgotten.lock_subscriber(session.subscriber_id).await.unwrap();
    let questions = vec![report(&lab, "s1", 1000), report(&lab, "s2", 1000)];
    let answers = asked(&access, &lab, questions).await;
    assert!(answers[0].is_err() && answers[1].is_ok(), "{answers:?}");
    drop(forgotten);
    assert!(asked(&access, &lab, vec![report(&lab, "s1", 1000)]).await[0].is_ok());
}

#[tokio::test]
async fn gates_that_were_known_a_moment_ago_are_known_while_the_database_is_away() {
    let lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    let relay = Relay::to(&lab.url).await;
    let store = Store::open(&relay.url(&lab.url)).await.unwrap();
    let access = Access::new(store, lab.sealer.clone(), Settings::default());
    let [gate, stranger] = ["127.0.0.1", "192.0.2.1"].map(|text| text.parse().unwrap());
    assert_eq!(access.gates_at(gate).await.unwrap().all().len(), 1);
    relay.stop();
    // Until nobody is believed without another look.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let asked = tokio::time::Instant::now();
    let crowd = (0..100).map(|_| {
        let access = access.clone();
        tokio::spawn(async move { access.gates_at(gate).await.unwrap().all().len() })
    });
    for one in crowd.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), 1);
    }
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    let asked = tokio::time::Instant::now();
    assert_eq!(access.gates_at(gate).await.unwrap().all().len(), 1);
    assert!(access.is_stranger(stranger) && !access.is_stranger(gate));
    assert!(
        asked.elapsed() < Duration::from_millis(100),
        "nobody waits a second time"
    );
    relay.go();
    lab.access.end_nas("gate-1", "test", lab.now).await.unwrap();
    let is_gone = async {
        while !access.gates_at(gate).await.unwrap().all().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, is_gone).await.expect("it is known for ever");
}

#[tokio::test]
async fn a_plan_that_is_changed_waits_for_nobody_and_reaches_all_but_who_is_held() {
    let lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    let store = Store::open_with(&lab.url, patience()).await.unwrap();
    let access = Access::new(store, lab.sealer.clone(), Settings::default());
    let held = lab.online(MAC, "s1").await.session;
    known(&lab, 99, OTHER_MAC).await;
    let other = lab::granted(lab.authorize(OTHER_MAC, Service::CallCheck, "", "s2").await);
    let mut forgotten = lab.store.write().await.unwrap();
    let session = forgotten.session(held).await.unwrap().unwrap();
    forgotten.lock_subscriber(session.subscriber_id).await.unwrap();
    let larger = Plan {
        max_devices: 5,
        ..plan(80 * MB)
    };
    let done = tokio::time::timeout(SOON, access.set_plan(&larger, "test", lab.now)).await;
    let done = done.expect("it waits still");
    assert!(matches!(done, Err(AccessError::HalfDone(_))), "{done:?}");
    let due = lab.access.due_orders(lab.now).await.unwrap();
    assert_eq!(due, [(other.session, lab.nas)]);
    drop(forgotten);
    access.set_plan(&larger, "test", lab.now).await.unwrap();
    assert_eq!(lab.access.due_orders(lab.now).await.unwrap().len(), 2);
    let mut tx = lab.store.read().await.unwrap();
    assert_eq!(tx.plan_named("citizen").await.unwrap().unwrap().max_devices, 5);
}

#[tokio::test]
async fn a_plan_that_is_changed_reaches_who_logs_in_at_that_instant() {
    let lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    let first = lab.online(MAC, "s1").await.session;
    let owner = known(&lab, 99, OTHER_MAC).await;
    let mut login = lab.store.write().await.unwrap();
    let first = login.session(first).await.unwrap().unwrap();
    let new = NewSession {
        nonce: [7; 8],
        subscriber_id: owner,
        entitlement_id: first.entitlement_id,
        lease_id: None,
        nas_id: lab.nas,
        site_id: lab.site,
        acct_session_id: Some("s2".to_owned()),
        mac: Some(OTHER_MAC),
        ip: None,
        is_renewable: true,
        is_throttled: false,
        granted_at: lab.now,
        ends_at: None,
        granted_octets: 0,
    };
    login.add_session(&new).await.unwrap();
    let larger = plan(80 * MB);
    let (done, ()) = tokio::join!(lab.access.set_plan(&larger, "test", lab.now), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        login.commit().await.unwrap();
    });
    done.unwrap();
    assert_eq!(lab.access.due_orders(lab.now).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_restart_of_a_gate_takes_no_question_to_the_database_for_each_of_its_sessions() {
    let lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    for person in 0..40 {
        let mac = Mac([2, 0, 0, 0, 1, person]);
        known(&lab, person, mac).await;
        lab::granted(lab.authorize(mac, Service::CallCheck, "", &format!("s{person}")).await);
    }
    let (relay, _, sent) = Relay::followed(&lab.url).await;
    let access = Access::new(
        Store::open(&relay.url(&lab.url)).await.unwrap(),
        lab.sealer.clone(),
        Settings::default(),
    );
    let mut restart = report(&lab, "", 0);
    if let Question::Account(report) = &mut restart {
        report.kind = AccountingKind::On;
    }
    let before = sent.load(Ordering::Relaxed);
    let answers = asked(&access, &lab, vec![restart]).await;
    assert!(
        matches!(answers[0], Ok(Answer::Accounted(Accounted::Closed(40)))),
        "{answers:?}"
    );
    let questions = sent.load(Ordering::Relaxed) - before;
    assert!(questions < 40, "{questions}");
}

#[tokio::test]
async fn however_many_forms_wait_for_one_another_gates_are_answered() {
    let lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    let mut other = lab.store.write().await.unwrap();
    let site = lab.sealer.digest("site", lab.site.to_string().as_bytes());
    other.attempts("site", &site, lab.now, lab.now, 1).await.unwrap();
    let forms: Vec<_> = (0..40)
        .map(|person| {
            let (access, now) = (lab.access.clone(), lab.now);
            let visit = Visit {
                ip: std::net::Ipv4Addr::new(10, 80, 2, person).into(),
                ..lab.visit(Mac([2, 0, 0, 0, 2, person]))
            };
            tokio::spawn(async move {
                access
                    .start_login(&visit, &format!("98765433{person:02}"), true, now)
                    .await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Whoever else holds this person makes the answer take a connection.
    let mut administrator = lab.store.write().await.unwrap();
    let number = lab::NUMBER.parse().unwrap();
    let found = administrator.subscriber_numbered(&number).await.unwrap().unwrap();
    administrator.lock_subscriber(found.id).await.unwrap();
    administrator.commit().await.unwrap();
    assert!(asked(&lab.access, &lab, vec![report(&lab, "s1", 1000)]).await[0].is_ok());
    drop(other);
    for form in forms {
        assert!(matches!(form.await.unwrap(), Ok(Started::Sent(_))));
    }
}
