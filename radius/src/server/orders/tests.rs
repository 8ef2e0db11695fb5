use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Instant;

use kavadam_domain::{Limits, SiteId, SubscriberId};
use tokio::net::UdpSocket;

use super::*;
use crate::dynamic::{Authority, DynamicConfig, DynamicHandler, DynamicServer};
use crate::{LimitsPatch, Retry};

const SECRET: &[u8] = b"a-secret-of-the-gate";

/// Orders for gates that all stand on this machine; the gate of that address is `nas`.
struct Book {
    nas: NasId,
    orders: Vec<Order>,
    answers: Mutex<Vec<(SessionId, OrderAnswer)>>,
}

impl OrderBook for Book {
    type Error = std::io::Error;

    async fn orders_changed(&self) {
        std::future::pending::<()>().await;
    }

    async fn due_orders(&self, _: Timestamp) -> Result<Vec<(SessionId, NasId)>, Self::Error> {
        Ok(self.orders.iter().map(|order| (order.session, order.nas)).collect())
    }

    async fn decide_order(&self, session: SessionId, _: Timestamp) -> Result<Option<Order>, Self::Error> {
        Ok(self.orders.iter().find(|order| order.session == session).cloned())
    }

    async fn order_answered(&self, order: &Order, answer: OrderAnswer, _: Timestamp) -> Result<(), Self::Error> {
        self.answers.lock().unwrap().push((order.session, answer));
        Ok(())
    }

    async fn nas_by_source(&self, source: IpAddr) -> Result<Option<NasEntry>, Self::Error> {
        // Two gates on one machine, told apart by their addresses.
        let id = if source == IpAddr::from(OTHER) {
            OTHER_NAS
        } else {
            self.nas
        };
        Ok(Some(NasEntry {
            id,
            name: "gate".into(),
            site: SiteId(1),
            source: source.into(),
            secret: SECRET.to_vec().into(),
            uam_secret: Vec::new().into(),
            coa_port: 3799,
        }))
    }
}

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER_NAS: NasId = NasId(2);

fn order(session: i64, nas: NasId, to: SocketAddr) -> Order {
    Order {
        session: SessionId(session),
        subscriber: SubscriberId(1),
        number: 1,
        nas,
        to,
        acct_session_id: format!("s{session}"),
        user_name: "alias".into(),
        class: Vec::new(),
        mac: None,
        action: OrderAction::Change(Limits::default()),
        attempts: 0,
    }
}

fn reconciler(nas: NasId, orders: Vec<Order>) -> Reconciler<Book> {
    let retry = Retry {
        first_wait: Duration::from_millis(300),
        tries: 1,
    };
    Reconciler {
        hands: Arc::new(Hands {
            counts: Arc::default(),
            book: Book {
                nas,
                orders,
                answers: Mutex::default(),
            },
            client: DynamicClient::new(None, retry),
        }),
        tasks: JoinSet::new(),
        under_way: HashMap::new(),
    }
}

impl Reconciler<Book> {
    /// Looks once, and waits for the end of what that began.
    async fn answers(&mut self) -> Vec<(SessionId, OrderAnswer)> {
        self.look().await.unwrap();
        while self.tasks.join_next().await.is_some() {}
        std::mem::take(&mut self.hands.book.answers.lock().unwrap())
    }
}

/// Knows sessions by their Acct-Session-Id only, and users by the name they logged in with.
struct Stubborn(Mutex<Vec<Target>>);

impl DynamicHandler for Arc<Stubborn> {
    async fn disconnect(&self, _: Target) -> Result<(), ErrorCause> {
        Err(ErrorCause::RESOURCES_UNAVAILABLE)
    }

    async fn change(&self, target: Target, _: LimitsPatch) -> Result<(), ErrorCause> {
        let is_known = target.user_name.is_none() && target.acct_session_id.as_deref() == Some("s1");
        self.0.lock().unwrap().push(target);
        if is_known {
            Ok(())
        } else {
            Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND)
        }
    }
}

fn gate(at: Ipv4Addr) -> (Arc<Stubborn>, SocketAddr, CancellationToken) {
    let gate = Arc::new(Stubborn(Mutex::default()));
    let config = DynamicConfig {
        listen: (at, 0).into(),
        authorities: vec![Authority {
            source: "127.0.0.0/8".parse().unwrap(),
            secret: Secret::new(SECRET),
        }],
        nas_identifier: "gate".into(),
        nas_addresses: Vec::new(),
        is_strict: true,
    };
    let server = DynamicServer::bind(config, Arc::clone(&gate)).unwrap();
    let at = server.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(server.run(stop.clone()));
    (gate, at, stop)
}

#[tokio::test]
async fn a_gate_that_keeps_its_own_user_name_is_asked_without_ours() {
    let (gate, at, _stop) = gate(Ipv4Addr::LOCALHOST);
    let orders = vec![order(1, NasId(1), at), order(2, NasId(1), at)];
    let mut answers = reconciler(NasId(1), orders).answers().await;
    answers.sort_by_key(|(session, _)| *session);
    assert_eq!(
        answers,
        [
            (SessionId(1), OrderAnswer::Done),
            (SessionId(2), OrderAnswer::SessionGone)
        ]
    );
    assert_eq!(gate.0.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn an_order_is_not_shown_to_another_gate_at_that_address() {
    let (gate, at, _stop) = gate(Ipv4Addr::LOCALHOST);
    let mut reconciler = reconciler(NasId(7), vec![order(1, NasId(1), at)]);
    assert_eq!(reconciler.answers().await, [(SessionId(1), OrderAnswer::Silence)]);
    assert!(gate.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_silent_gate_takes_no_places_of_another() {
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (_gate, at, _stop) = gate(OTHER);
    let silent = deaf.local_addr().unwrap();
    let many = i64::try_from(CONCURRENCY).unwrap() + 10;
    let mut orders: Vec<Order> = (10..10 + many).map(|n| order(n, NasId(1), silent)).collect();
    orders.push(order(1, OTHER_NAS, at));
    let mut reconciler = reconciler(NasId(1), orders);
    let began = Instant::now();
    let answers = reconciler.answers().await;
    assert!(
        answers.contains(&(SessionId(1), OrderAnswer::Done)),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(answers.len(), 1 + CONCURRENCY_PER_GATE);
}
