//! Others at the same database: people with sessions, and a transaction of somebody's who never lets go of them.

use kavadam_access::AccessError;
use kavadam_access::batch::{Answer, Question};
use kavadam_domain::{SessionId, SubscriberId};
use kavadam_store::{OrderKind, Patience, Tx};

use super::*;

/// More than any patience here, and far less than one for each question of a batch.
pub const SOON: Duration = Duration::from_secs(20);

pub fn patience() -> Patience {
    Patience {
        statement: Duration::from_secs(1),
        long_statement: Duration::from_secs(2),
        lock: Duration::from_millis(500),
    }
}

pub fn report(lab: &Lab, name: &str, octets: u64) -> Question {
    Question::Account(lab.words(AccountingKind::Interim, name, None, octets, 1))
}

/// Somebody else, whose device is remembered.
pub async fn known(lab: &Lab, person: u8, mac: Mac) -> SubscriberId {
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

/// A transaction that never ends, and holds whoever these sessions belong to.
pub async fn hold(lab: &Lab, sessions: &[SessionId]) -> Tx {
    let mut tx = lab.store.write().await.unwrap();
    for session in sessions {
        let session = tx.session(*session).await.unwrap().unwrap();
        tx.lock_subscriber(session.subscriber_id).await.unwrap();
    }
    tx
}

/// What its gate is asked for, and how often it was.
pub async fn ordered(lab: &Lab, session: SessionId) -> (Option<OrderKind>, u64) {
    let mut tx = lab.store.read().await.unwrap();
    let session = tx.session(session).await.unwrap().unwrap();
    (session.order_action, session.order_number)
}

pub async fn asked(access: &Access, lab: &Lab, questions: Vec<Question>) -> Vec<Result<Answer, AccessError>> {
    let answers = tokio::time::timeout(SOON, access.answer(questions, lab.now)).await;
    answers.expect("the questions wait still")
}
