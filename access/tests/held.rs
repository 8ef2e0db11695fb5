//! People whose rows somebody never lets go: what becomes of all the others. On PostgreSQL.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::api::*;
use kavadam_access::batch::{Answer, Question};
use kavadam_access::sweep::Round;
use kavadam_access::{Access, AccessError, Settings};
use kavadam_domain::{Mac, Plan, SessionId};
use kavadam_store::{OrderKind, Patience, Store};
use lab::others::{SOON, asked, hold, known, ordered, patience, report};
use lab::{Database, Lab, MAC, MB, OTHER_MAC, plan};

/// As many people online, in the order of their identifiers; the session of the n-th is called `sN`.
async fn crowd(lab: &Lab, people: u8) -> Vec<SessionId> {
    let mut sessions = Vec::new();
    for person in 0..people {
        let mac = Mac([2, 0, 0, 0, 1, person]);
        known(lab, person, mac).await;
        let grant = lab.authorize(mac, Service::CallCheck, "", &format!("s{person}")).await;
        sessions.push(lab::granted(grant).session);
    }
    sessions
}

/// Another process of the centre, which waits for nobody for long.
async fn impatient(lab: &Lab) -> Access {
    let store = Store::open_with(&lab.url, patience()).await.unwrap();
    Access::new(store, lab.sealer.clone(), Settings::default())
}

#[tokio::test]
async fn a_silent_session_of_somebody_held_keeps_no_other_from_its_end() {
    let mut lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    let access = impatient(&lab).await;
    let held = lab.online(MAC, "s1").await.session;
    // The next in the order in which they are looked at.
    let other = known(&lab, 99, OTHER_MAC).await;
    lab::granted(lab.authorize(OTHER_MAC, Service::CallCheck, "", "s2").await);
    let mut forgotten = hold(&lab, &[held]).await;
    assert!(forgotten.session(held).await.unwrap().unwrap().subscriber_id < other);

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
    let access = impatient(&lab).await;
    let held = lab.online(MAC, "s1").await.session;
    known(&lab, 99, OTHER_MAC).await;
    lab::granted(lab.authorize(OTHER_MAC, Service::CallCheck, "", "s2").await);

    let forgotten = hold(&lab, &[held]).await;
    let questions = vec![report(&lab, "s1", 1000), report(&lab, "s2", 1000)];
    let answers = asked(&access, &lab, questions).await;
    assert!(answers[0].is_err() && answers[1].is_ok(), "{answers:?}");
    drop(forgotten);
    assert!(asked(&access, &lab, vec![report(&lab, "s1", 1000)]).await[0].is_ok());
}

#[tokio::test]
async fn a_plan_that_is_changed_waits_for_nobody_and_reaches_all_but_who_is_held() {
    let lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    let access = impatient(&lab).await;
    let held = lab.online(MAC, "s1").await.session;
    known(&lab, 99, OTHER_MAC).await;
    let other = lab::granted(lab.authorize(OTHER_MAC, Service::CallCheck, "", "s2").await);
    let forgotten = hold(&lab, &[held]).await;
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
async fn a_site_that_was_closed_for_some_is_closed_for_the_rest_by_the_same_command() {
    let lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    let access = impatient(&lab).await;
    let held = lab.online(MAC, "s1").await.session;
    known(&lab, 99, OTHER_MAC).await;
    let other = lab::granted(lab.authorize(OTHER_MAC, Service::CallCheck, "", "s2").await);
    let forgotten = hold(&lab, &[held]).await;
    let close = async || {
        let closed = access.set_site("Vizhinjam bus stand", false, "citizen", "test", lab.now);
        tokio::time::timeout(SOON, closed).await.expect("it waits still")
    };
    let done = close().await;
    assert!(matches!(done, Err(AccessError::HalfDone(_))), "{done:?}");
    assert_eq!(ordered(&lab, other.session).await, (Some(OrderKind::End), 1));
    drop(forgotten);
    close().await.unwrap();
    assert_eq!(ordered(&lab, held).await, (Some(OrderKind::End), 1));
    assert_eq!(ordered(&lab, other.session).await, (Some(OrderKind::End), 1), "once");
}

#[tokio::test]
async fn a_sweep_goes_on_behind_those_who_are_held_where_the_last_one_stopped() {
    let mut lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    let access = impatient(&lab).await;
    let sessions = crowd(&lab, 5).await;
    let _forgotten = hold(&lab, &sessions[..4]).await;
    lab.pass(Duration::from_mins(3));
    let mut round = Round::default();
    let ended = access.sweep(&mut round, lab.up_since, lab.now).await;
    assert_eq!(ended.unwrap(), 0, "enough was waited for");
    let ended = access.sweep(&mut round, lab.up_since, lab.now).await;
    assert_eq!(ended.unwrap(), 1, "whoever is behind them");
}

#[tokio::test]
async fn however_many_are_held_the_others_wait_for_one_of_them_and_not_for_each() {
    let lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    let patience = Patience {
        lock: Duration::from_secs(2),
        statement: Duration::from_secs(5),
        ..patience()
    };
    let store = Store::open_with(&lab.url, patience).await.unwrap();
    let access = Access::new(store, lab.sealer.clone(), Settings::default());
    let sessions = crowd(&lab, 21).await;
    let _forgotten = hold(&lab, &sessions[..20]).await;
    let questions = (0..21).map(|person| report(&lab, &format!("s{person}"), 1000));
    let began = tokio::time::Instant::now();
    let answers = asked(&access, &lab, questions.collect()).await;
    assert!(began.elapsed() < patience.lock * 3, "{:?}", began.elapsed());
    assert!(answers[..20].iter().all(Result::is_err), "{answers:?}");
    assert!(answers[20].is_ok(), "{answers:?}");
}

#[tokio::test]
async fn a_change_reaches_whoever_is_behind_many_who_are_held() {
    let lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    let access = impatient(&lab).await;
    let sessions = crowd(&lab, 6).await;
    let _forgotten = hold(&lab, &sessions[..5]).await;
    let larger = plan(80 * MB);
    let done = access.set_plan(&larger, "test", lab.now);
    let done = tokio::time::timeout(SOON, done).await.expect("it waits still");
    assert!(matches!(done, Err(AccessError::HalfDone(_))), "{done:?}");
    assert_eq!(ordered(&lab, sessions[4]).await, (None, 0));
    assert_eq!(ordered(&lab, sessions[5]).await, (Some(OrderKind::Change), 1));
}

#[tokio::test]
async fn a_report_of_nobody_counts_once_however_often_it_is_decided() {
    let lab = Lab::new(Database::Postgres, &plan(40 * MB)).await;
    let access = impatient(&lab).await;
    let held = lab.online(MAC, "s1").await.session;
    let _forgotten = hold(&lab, &[held]).await;
    let mut restart = report(&lab, "", 0);
    if let Question::Account(report) = &mut restart {
        report.kind = AccountingKind::On;
    }
    let answers = asked(&access, &lab, vec![report(&lab, "nobody's", 1000), restart]).await;
    assert!(
        matches!(answers[..], [Ok(Answer::Accounted(Accounted::Unknown)), Err(_)]),
        "{answers:?}"
    );
    assert_eq!(access.unowned_reports().get(&lab.nas), Some(&1));
}
