//! A database that is away or busy: what becomes of the questions of gates. On PostgreSQL.

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
use kavadam_access::{Access, Settings};
use kavadam_domain::Mac;
use kavadam_store::{NewSession, Store};
use lab::others::{SOON, asked, known, patience, report};
use lab::{Database, Lab, MAC, MB, OTHER_MAC, plan};
use relay::Relay;

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
async fn silent_sessions_end_though_nothing_that_expired_can_be_deleted() {
    let mut lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    lab.online(MAC, "s1").await;
    let broken = std::process::Command::new("psql")
        .args([&lab.url, "-qc", "ALTER TABLE attempt RENAME TO damaged"])
        .status();
    assert!(broken.unwrap().success());
    lab.pass(Duration::from_mins(3));
    let swept = lab.access.sweep(&mut Round::default(), lab.up_since, lab.now).await;
    assert_eq!(swept.unwrap(), 1);
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
        tokio::time::sleep(Duration::from_secs(1)).await;
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
