//! Orders down the connection that a gate keeps.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavadam_domain::{NasId, Timestamp};
use kavadam_radius::client::Client;
use kavadam_radius::dynamic::{DynamicClient, DynamicConfig, DynamicHandler, DynamicReply, DynamicServer};
use kavadam_radius::tls::Versions;
use kavadam_radius::{DynamicAction, DynamicRequest, ErrorCause, LimitsPatch, NasIdentity, Retry, Secret, Target};

use crate::scene::{Scene, up};

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

#[tokio::test]
async fn an_order_goes_down_the_connection_that_the_gate_keeps() {
    for versions in [Versions::Only1_0, Versions::Only1_1] {
        let scene = Scene::new();
        let gate = Gate::default();
        let config = DynamicConfig {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            // Nobody may give orders at the port.
            authorities: Vec::new(),
            nas_identifier: "gate-7".into(),
            nas_addresses: Vec::new(),
            is_strict: true,
        };
        let server = DynamicServer::bind(config, gate.clone()).unwrap();
        let port = server.local_addr().unwrap();
        let client = Client::over_tls(
            vec![up(scene.link(versions)).await],
            NasIdentity::default(),
            Retry::default(),
        );
        client.take_orders(&server);
        scene.connected(7, 1).await;
        let orders = DynamicClient::new(
            None,
            Retry {
                first_wait: Duration::from_millis(50),
                tries: 1,
            },
        );
        let orders = orders.over(Arc::clone(&scene.links));
        let secret = Secret::new(b"never used".to_vec());
        let done = orders
            .send_to_gate(NasId(7), port, &secret, &disconnect("s1"), now())
            .await;
        assert_eq!(done, DynamicReply::Ack);
        let gone = orders
            .send_to_gate(NasId(7), port, &secret, &disconnect("s2"), now())
            .await;
        assert_eq!(gone, DynamicReply::Nak(Some(ErrorCause::SESSION_CONTEXT_NOT_FOUND)));
        assert_eq!(gate.0.lock().unwrap().len(), 2);
        let elsewhere = orders
            .send_to_gate(NasId(8), port, &secret, &disconnect("s1"), now())
            .await;
        assert_eq!(elsewhere, DynamicReply::NoAnswer, "another gate has no connection");
    }
}
