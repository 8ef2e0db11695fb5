//! More than is worked on at once: what waits for it, and what does not.

use std::cell::Cell;
use std::time::Duration;

use kavadam_domain::NasId;
use kavadam_radius::dynamic::{DynamicClient, DynamicReply};
use kavadam_radius::tls::TlsFiles;
use kavadam_radius::wire::{Code, Draft, Packet, RADSEC_SECRET};
use kavadam_radius::{DynamicAction, DynamicRequest, Retry, Target};

use crate::scene::{Call, Scene, interim, login, status, until};

/// So long that nothing of it is done while a test lasts.
const NEVER: Duration = Duration::from_mins(1);

/// Certificates of so many gates more, from 100 on.
fn gates(scene: &Scene, count: i64) -> Vec<TlsFiles> {
    let one = |id| {
        let name = format!("gate-{id}.example.org");
        scene.centre.tie(&name, id);
        scene.authority.issue(&[&name])
    };
    (100..100 + count).map(one).collect()
}

/// Connections, each with all it may have under way.
async fn full(scene: &Scene, gates: &[TlsFiles], request: impl Fn(u8) -> Vec<u8>) -> Vec<Call> {
    let mut calls = Vec::new();
    for files in gates {
        let mut call = Call::new(scene.at, files, None).await.unwrap();
        let all: Vec<u8> = (0..=255).flat_map(&request).collect();
        call.send(&all).await;
        calls.push(call);
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_centre_that_stalls_still_hears_status_server_and_the_answers_to_orders() {
    let scene = Scene::new();
    *scene.centre.takes.lock().unwrap() = NEVER;
    let _stalled = full(&scene, &gates(&scene, 5), |n| login(n, [n; 16])).await;
    until(|| scene.centre.asked.lock().unwrap().len() == 1024).await;
    let mut call = scene.call(None).await;
    for n in 0..3 {
        call.send(&login(n, [n; 16])).await;
    }
    let alive = call.ask(&status(9)).await.expect("it says that it lives");
    assert_eq!(alive[..2], [Code::AccessAccept.octet(), 9]);

    let orders = DynamicClient::new(None, Retry::default()).over(scene.links.clone());
    let request = DynamicRequest {
        target: Target {
            acct_session_id: Some("s1".into()),
            ..Target::default()
        },
        action: DynamicAction::Disconnect,
    };
    let draft = request.draft(kavadam_domain::Timestamp::from_secs(1_800_000_000));
    let asked = orders.send_down_a_link(NasId(7), request.code(), draft);
    let obeys = async {
        let order = Packet::parse(&call.hear().await.unwrap()).unwrap();
        let ack = Draft::reply(Code::DisconnectAck, &order);
        call.send(&ack.seal_reply(RADSEC_SECRET).unwrap()).await;
    };
    assert_eq!(tokio::join!(asked, obeys).0, DynamicReply::Ack);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_reports_keeps_no_login_of_another_gate_waiting_nor_the_other_way_round() {
    for is_of_reports in [true, false] {
        let scene = Scene::new();
        *scene.centre.takes.lock().unwrap() = NEVER;
        let crowd = |n: u8| {
            if is_of_reports {
                interim(n, 1)
            } else {
                login(n, [n; 16])
            }
        };
        let _crowd = full(&scene, &gates(&scene, 5), crowd).await;
        until(|| scene.links.count(NasId(104)) == 1).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        *scene.centre.takes.lock().unwrap() = Duration::ZERO;
        let other = if is_of_reports {
            login(1, [1; 16])
        } else {
            interim(1, 1)
        };
        let mut call = scene.call(None).await;
        assert!(call.ask(&other).await.is_some(), "reports: {is_of_reports}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_with_many_connections_keeps_no_other_gate_waiting() {
    let scene = Scene::new();
    *scene.centre.takes.lock().unwrap() = NEVER;
    let greedy = vec![gates(&scene, 1).remove(0); 5];
    let asked = Cell::new(0_u32);
    let login_of_its_own = |n| {
        asked.set(asked.get() + 1);
        let mut authenticator = [n; 16];
        authenticator[..4].copy_from_slice(&asked.get().to_be_bytes());
        login(n, authenticator)
    };
    let _calls = full(&scene, &greedy, login_of_its_own).await;
    until(|| scene.centre.asked.lock().unwrap().len() == 512).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(scene.centre.asked.lock().unwrap().len(), 512, "no more than its share");
    *scene.centre.takes.lock().unwrap() = Duration::ZERO;
    assert!(scene.call(None).await.ask(&login(1, [1; 16])).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_turn_is_answered_in_the_end() {
    let scene = Scene::new();
    *scene.centre.takes.lock().unwrap() = Duration::from_millis(300);
    let mut calls = full(&scene, &gates(&scene, 6), |n| login(n, [n; 16])).await;
    for call in &mut calls {
        for _ in 0..=255 {
            assert!(call.hear().await.is_some());
        }
    }
}
