//! Sending codes: many at once, each once, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavadam_access::sms::{Message, Sending, SmsRoute, Texts, run};
use kavadam_domain::challenge::Challenge;
use kavadam_domain::{Language, Mac, Timestamp};
use kavadam_store::NewChallenge;
use lab::{Database, Lab, MB, cases, plan};
use tokio_util::sync::CancellationToken;

cases! {
    an_operator_that_hangs_holds_up_that_message_alone,
    two_workers_send_each_message_once,
    no_more_are_on_their_way_than_an_operator_can_bear,
    what_is_on_its_way_arrives_before_the_end,
}

/// Writes down who was sent to; `slow` numbers take `pause`.
#[derive(Clone)]
struct Operator {
    sent: Arc<Mutex<Vec<String>>>,
    now: Arc<Mutex<(usize, usize)>>,
    slow: fn(&str) -> bool,
    pause: Duration,
}

impl Operator {
    fn new(slow: fn(&str) -> bool, pause: Duration) -> Self {
        Self {
            sent: Arc::default(),
            now: Arc::default(),
            slow,
            pause,
        }
    }

    fn sent(&self) -> Vec<String> {
        let mut sent = self.sent.lock().unwrap().clone();
        sent.sort();
        sent
    }

    /// At most so many at once.
    fn peak(&self) -> usize {
        self.now.lock().unwrap().1
    }

    /// Until so many were sent.
    async fn wait_for(&self, count: usize) {
        let until = async {
            while self.sent.lock().unwrap().len() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let sent = tokio::time::timeout(Duration::from_secs(30), until).await;
        assert!(sent.is_ok(), "{} of {count} were sent", self.sent.lock().unwrap().len());
    }
}

impl SmsRoute for Operator {
    async fn send(&self, message: &Message) -> Sending {
        {
            let mut now = self.now.lock().unwrap();
            now.0 += 1;
            now.1 = now.1.max(now.0);
        }
        let number = message.number.digits().to_owned();
        if (self.slow)(&number) {
            tokio::time::sleep(self.pause).await;
        }
        self.sent.lock().unwrap().push(number);
        self.now.lock().unwrap().0 -= 1;
        Sending::Sent("1".to_owned())
    }
}

/// The lab's noon.
fn noon() -> Timestamp {
    let noon: jiff::Timestamp = "2026-11-24T06:30:00Z".parse().unwrap();
    Timestamp(noon.as_microsecond())
}

fn number(person: usize) -> String {
    format!("98765{person:05}")
}

async fn queue(lab: &Lab, people: usize) {
    let mut tx = lab.store.write().await.unwrap();
    for person in 0..people {
        let octet = u8::try_from(person).unwrap();
        let new = NewChallenge {
            public_id: [octet; 16],
            nas_id: lab.nas,
            site_id: lab.site,
            mac: Mac([2, 0, 0, 0, 1, octet]),
            ip: "10.80.1.1".parse().unwrap(),
            number: number(person).parse().unwrap(),
            language: Language::En,
            challenge: Challenge::start(lab.now),
            resend_at: lab.now,
        };
        tx.start_challenge(&new, lab.now).await.unwrap();
    }
    tx.commit().await.unwrap();
}

fn start(lab: &Lab, operator: &Operator) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let cancel = CancellationToken::new();
    let texts = Texts {
        ml: "{code}".into(),
        en: "{code}".into(),
    };
    let worker = run(lab.access.clone(), operator.clone(), texts, noon, cancel.clone());
    (cancel, tokio::spawn(worker))
}

async fn an_operator_that_hangs_holds_up_that_message_alone(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    queue(&lab, 10).await;
    let operator = Operator::new(|number| number == "9876500000", Duration::from_hours(1));
    let _worker = start(&lab, &operator);
    operator.wait_for(9).await;
}

async fn two_workers_send_each_message_once(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    queue(&lab, 100).await;
    let operator = Operator::new(|_| true, Duration::from_millis(5));
    let workers = [start(&lab, &operator), start(&lab, &operator)];
    operator.wait_for(100).await;
    for (cancel, worker) in workers {
        cancel.cancel();
        worker.await.unwrap();
    }
    let everybody: Vec<_> = (0..100).map(number).collect();
    assert_eq!(operator.sent(), everybody);
    let mut tx = lab.store.read().await.unwrap();
    assert_eq!(tx.next_sms_at().await.unwrap(), None, "nothing is left to be sent");
}

async fn no_more_are_on_their_way_than_an_operator_can_bear(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    queue(&lab, 100).await;
    let operator = Operator::new(|_| true, Duration::from_millis(500));
    let _worker = start(&lab, &operator);
    operator.wait_for(100).await;
    assert!((2..=64).contains(&operator.peak()), "{}", operator.peak());
}

async fn what_is_on_its_way_arrives_before_the_end(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    queue(&lab, 1).await;
    let operator = Operator::new(|_| true, Duration::from_millis(500));
    let (cancel, worker) = start(&lab, &operator);
    while operator.peak() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cancel.cancel();
    worker.await.unwrap();
    assert_eq!(operator.sent(), [number(0)]);
    let mut tx = lab.store.read().await.unwrap();
    assert_eq!(tx.next_sms_at().await.unwrap(), None, "and is noted");
}
