//! Orders down the connection that a gate keeps.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavadam_access::api::{Calls, Destination, NasEntry, Order, OrderAction, OrderAnswer};
use kavadam_domain::{NasId, SessionId, SubscriberId, Timestamp};
use kavadam_radius::client::Client;
use kavadam_radius::dynamic::{DynamicClient, DynamicConfig, DynamicHandler, DynamicReply, DynamicServer};
use kavadam_radius::profile::Profiles;
use kavadam_radius::server::{OrderBook, run_orders};
use kavadam_radius::tls::Versions;
use kavadam_radius::wire::{Code, Draft, attr};
use kavadam_radius::{DynamicAction, DynamicRequest, ErrorCause, LimitsPatch, NasIdentity, Retry, Target};

use crate::scene::{Scene, entry, until, up};

#[derive(Clone, Default)]
struct Gate(Arc<Mutex<Vec<Target>>>);

impl DynamicHandler for Gate {
    async fn disconnect(&self, target: Target) -> Result<(), ErrorCause> {
        let is_known = target.acct_session_id.as_deref() == Some("s1");
        self.0.lock().unwrap().push(target);
        if is_known {
            Ok(())
        } else {
            Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND)
        }
    }

    async fn change(&self, _: Target, _: LimitsPatch) -> Result<(), ErrorCause> {
        Ok(())
    }
}

fn disconnect(session: &str) -> DynamicRequest {
    DynamicRequest {
        target: Target {
            acct_session_id: Some(session.to_owned()),
            ..Target::default()
        },
        action: DynamicAction::Disconnect,
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Timestamp::from_secs(i64::try_from(since.as_secs()).unwrap())
}

/// The gate 7, connected, which takes orders down its connection and from nobody at its port.
async fn keeps(scene: &Scene, versions: Versions, gate: Gate) -> (Client, DynamicServer<Gate>) {
    let config = DynamicConfig {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        authorities: Vec::new(),
        nas_identifier: "gate-7".into(),
        nas_addresses: Vec::new(),
        is_strict: true,
    };
    let server = DynamicServer::bind(config, gate).unwrap();
    let client = Client::over_tls(
        vec![up(scene.link(versions)).await],
        NasIdentity::default(),
        Retry::default(),
    );
    client.take_orders(&server);
    scene.connected(7, 1).await;
    (client, server)
}

#[tokio::test]
async fn an_order_goes_down_the_connection_that_the_gate_keeps() {
    for versions in [Versions::Only1_0, Versions::Only1_1] {
        let scene = Scene::new();
        let gate = Gate::default();
        let _client = keeps(&scene, versions, gate.clone()).await;
        let orders = DynamicClient::new(
            None,
            Retry {
                first_wait: Duration::from_millis(50),
                tries: 1,
            },
        );
        let orders = orders.over(Arc::clone(&scene.links));
        let ask = async |nas, session| {
            let request = disconnect(session);
            orders
                .send_down_a_link(NasId(nas), request.code(), request.draft(now()))
                .await
        };
        assert_eq!(ask(7, "s1").await, DynamicReply::Ack);
        let gone = DynamicReply::Nak(Some(ErrorCause::SESSION_CONTEXT_NOT_FOUND));
        assert_eq!(ask(7, "s2").await, gone);
        assert_eq!(gate.0.lock().unwrap().len(), 2);
        assert!(!orders.has_link(NasId(8)));
        let elsewhere = ask(8, "s1").await;
        assert_eq!(elsewhere, DynamicReply::NoAnswer, "another gate has no connection");
    }
}

#[tokio::test]
async fn an_order_over_tls_needs_neither_message_authenticator_nor_event_timestamp() {
    for versions in [Versions::Only1_0, Versions::Only1_1] {
        let scene = Scene::new();
        let gate = Gate::default();
        let _client = keeps(&scene, versions, gate.clone()).await;
        let orders = DynamicClient::new(None, Retry::default()).over(Arc::clone(&scene.links));
        let mut bare = Draft::request(Code::DisconnectRequest, [0; 16]);
        bare.without_message_authenticator();
        bare.text(attr::ACCT_SESSION_ID, "s1");
        let asked = orders.send_down_a_link(NasId(7), Code::DisconnectRequest, bare);
        assert_eq!(asked.await, DynamicReply::Ack, "{versions:?}");
        assert_eq!(gate.0.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_order_over_tls_is_obeyed_whatever_the_clocks_of_both_ends_say() {
    for versions in [Versions::Only1_0, Versions::Only1_1] {
        let scene = Scene::new();
        let gate = Gate::default();
        let _client = keeps(&scene, versions, gate.clone()).await;
        let orders = DynamicClient::new(None, Retry::default()).over(Arc::clone(&scene.links));
        let hour = Duration::from_hours(1);
        for at in [now() - hour, now() + hour] {
            let request = disconnect("s1");
            let asked = orders.send_down_a_link(NasId(7), request.code(), request.draft(at));
            assert_eq!(asked.await, DynamicReply::Ack, "{versions:?} at {at:?}");
        }
        assert_eq!(gate.0.lock().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_connection_that_swallows_orders_is_passed_over_for_an_older_one() {
    let scene = Scene::new();
    let gate = Gate::default();
    let _client = keeps(&scene, Versions::Any, gate.clone()).await;
    let mut newest = scene.call(None).await;
    scene.connected(7, 2).await;
    let orders = DynamicClient::new(None, Retry::default()).over(Arc::clone(&scene.links));
    let ask = async || {
        let request = disconnect("s1");
        orders
            .send_down_a_link(NasId(7), request.code(), request.draft(now()))
            .await
    };
    assert_eq!(ask().await, DynamicReply::Ack);
    assert!(newest.hear().await.is_some(), "the newest was asked first");
    let again = tokio::time::timeout(Duration::from_secs(1), ask()).await;
    assert_eq!(again.unwrap(), DynamicReply::Ack, "and is not waited for a second time");
}

/// An order for a session of gate 7, at whose address another gate stands by now.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<Vec<OrderAnswer>>>);

impl OrderBook for Book {
    type Error = Infallible;

    async fn orders_changed(&self) {
        std::future::pending::<()>().await;
    }

    async fn due_orders(&self, _: Timestamp) -> Result<Vec<(SessionId, NasId)>, Infallible> {
        let is_due = self.0.lock().unwrap().is_empty();
        Ok(is_due.then_some((SessionId(1), NasId(7))).into_iter().collect())
    }

    async fn decide_order(&self, session: SessionId, _: Timestamp) -> Result<Option<Order>, Infallible> {
        Ok(Some(Order {
            session,
            subscriber: SubscriberId(1),
            number: 1,
            nas: NasId(7),
            to: Destination::Seen(([192, 0, 2, 9], 3799).into()),
            acct_session_id: "s1".into(),
            user_name: "alias".into(),
            class: Vec::new(),
            mac: None,
            ip: None,
            handle: None,
            calls: Calls::default(),
            action: OrderAction::End,
            role: None,
            attempts: 0,
        }))
    }

    async fn order_answered(&self, _: &Order, answer: OrderAnswer, _: Timestamp) -> Result<(), Infallible> {
        self.0.lock().unwrap().push(answer);
        Ok(())
    }

    async fn nas_by_id(&self, nas: NasId) -> Result<Option<NasEntry>, Infallible> {
        Ok(Some(entry(nas.0)))
    }

    async fn nas_of_order(&self, _: &Order) -> Result<Option<NasEntry>, Infallible> {
        Ok(None)
    }
}

#[tokio::test]
async fn a_session_is_ended_down_the_connection_wherever_its_gate_is() {
    let scene = Scene::new();
    let gate = Gate::default();
    let _client = keeps(&scene, Versions::Any, gate.clone()).await;
    let book = Book::default();
    let orders = DynamicClient::new(None, Retry::default()).over(Arc::clone(&scene.links));
    let running = tokio::spawn(run_orders(
        book.clone(),
        orders,
        Arc::new(Profiles::default()),
        Arc::clone(&scene.counts),
        scene.stop.clone(),
    ));
    until(|| !book.0.lock().unwrap().is_empty()).await;
    assert_eq!(*book.0.lock().unwrap(), [OrderAnswer::Done]);
    let target = gate.0.lock().unwrap().pop().unwrap();
    assert_eq!(target.user_name.as_deref(), Some("alias"));
    let figures = scene.counts.gate(NasId(7)).figures();
    assert_eq!(figures.orders.get("ack"), Some(&1), "and is counted as the gate's");
    running.abort();
}
