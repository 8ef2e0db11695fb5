//! What a server must bear of those who hold a certificate, and of those who hold none.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kavadam_domain::NasId;
use kavadam_radius::Retry;
use kavadam_radius::dynamic::DynamicClient;
use kavadam_radius::server::{DropReason, RadsecLimits};
use kavadam_radius::tls::Versions;
use kavadam_radius::wire::token::with_token;
use kavadam_radius::wire::{Code, Draft, Packet, RADSEC_SECRET, attr};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::scene::{Call, Scene, login, status, until};

fn hasty() -> RadsecLimits {
    RadsecLimits {
        handshake: Duration::from_secs(2),
        packet: Duration::from_secs(1),
        idle: Duration::from_secs(3),
        ..RadsecLimits::default()
    }
}

#[tokio::test]
async fn an_impossible_length_ends_the_connection_before_the_packet_is_read() {
    let scene = Scene::new();
    for length in [0_u16, 19, 4097, u16::MAX] {
        let mut call = scene.call(None).await;
        let [high, low] = length.to_be_bytes();
        call.send(&[1, 1, high, low]).await;
        assert!(call.ends().await, "{length}");
    }
    assert_eq!(scene.radsec.broken.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_forged_or_broken_packet_ends_the_connection() {
    let scene = Scene::new();
    let forged = Draft::request(Code::StatusServer, [1; 16])
        .seal_request(1, b"another secret")
        .unwrap();
    let mut broken = login(1, [1; 16]);
    broken[21] = 1;
    for packet in [forged, broken] {
        let mut call = scene.call(None).await;
        call.send(&packet).await;
        assert!(call.ends().await);
    }
    let dropped = [DropReason::Unverified, DropReason::Attributes].map(|reason| scene.counts.dropped(reason));
    assert_eq!(dropped, [1, 1]);
    let figures = scene.counts.gate(NasId(7)).figures();
    assert_eq!(
        figures.dropped.values().sum::<u64>(),
        2,
        "as of the gate whose certificate it was"
    );
}

#[tokio::test]
async fn a_forged_answer_to_an_order_ends_the_connection() {
    let scene = Scene::new();
    let mut call = scene.call(None).await;
    assert!(call.ask(&status(1)).await.is_some());
    let orders = DynamicClient::new(None, Retry::default()).over(Arc::clone(&scene.links));
    let mut order = Draft::request(Code::DisconnectRequest, [0; 16]);
    order.text(attr::ACCT_SESSION_ID, "s1");
    tokio::spawn(async move { orders.send_down_a_link(NasId(7), Code::DisconnectRequest, order).await });
    let order = Packet::parse(&call.hear().await.unwrap()).unwrap();
    let forged = Draft::reply(Code::DisconnectAck, &order)
        .seal_reply(b"another secret")
        .unwrap();
    call.send(&forged).await;
    assert!(call.ends().await);
    assert_eq!(scene.radsec.broken.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_request_too_large_for_what_is_added_here_is_passed_over() {
    let scene = Scene::new();
    let mut draft = Draft::request(Code::AccessRequest, [5; 16]);
    draft.without_message_authenticator();
    for _ in 0..16 {
        draft.octets(attr::PROXY_STATE, &[1; 252]);
    }
    let large = draft.seal_request(1, RADSEC_SECRET).unwrap();
    for protocol in [None, Some("radius/1.1")] {
        let (large, status) = match protocol {
            None => (large.clone(), status(2)),
            Some(_) => (with_token(&large, 1).unwrap(), with_token(&status(2), 2).unwrap()),
        };
        let mut call = scene.call(protocol).await;
        call.send(&large).await;
        assert!(call.ask(&status).await.is_some(), "{protocol:?}");
    }
    until(|| scene.counts.dropped(DropReason::NoRoom) == 2).await;
    assert_eq!(scene.radsec.broken.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_unknown_code_is_passed_over() {
    let scene = Scene::new();
    let mut call = scene.call(None).await;
    let mut odd = status(1);
    odd[0] = 200;
    call.send(&odd).await;
    assert!(call.ask(&status(2)).await.is_some());
    assert_eq!(scene.counts.dropped(DropReason::WrongPort), 1);
}

#[tokio::test]
async fn half_a_packet_and_silence_both_run_out_of_time() {
    let scene = Scene::with(Versions::Any, hasty(), |_, _| {});
    let mut half = scene.call(None).await;
    half.send(&status(1)[..19]).await;
    assert!(half.ends().await);
    let mut silent = scene.call(None).await;
    assert!(silent.ask(&status(1)).await.is_some());
    assert!(silent.ends().await);
    scene.connected(7, 0).await;
}

#[tokio::test]
async fn who_begins_a_handshake_and_says_no_more_is_let_go() {
    let scene = Scene::with(Versions::Any, hasty(), |_, _| {});
    let mut sleeper = TcpStream::connect(scene.at).await.unwrap();
    let mut octet = [0];
    let closed = tokio::time::timeout(crate::scene::SOON, sleeper.read(&mut octet))
        .await
        .unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
    until(|| scene.radsec.no_handshake.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn a_gate_whose_record_is_not_to_be_had_is_let_go_and_comes_again() {
    let scene = Scene::with(Versions::Any, hasty(), |_, _| {});
    *scene.centre.finds_in.lock().unwrap() = Duration::from_mins(1);
    let mut call = scene.call(None).await;
    assert!(call.ends().await);
    *scene.centre.finds_in.lock().unwrap() = Duration::ZERO;
    assert!(scene.call(None).await.ask(&status(1)).await.is_some());
}

#[tokio::test]
async fn strangers_who_take_all_places_for_handshakes_leave_the_gates_theirs() {
    let limits = RadsecLimits {
        connections: 2,
        handshakes: 2,
        ..RadsecLimits::default()
    };
    let scene = Scene::with(Versions::Any, limits, |_, _| {});
    let mut first = scene.call(None).await;
    let mut second = scene.call(None).await;
    scene.connected(7, 2).await;
    let too_many = &scene.radsec.too_many;
    let mut third = scene.call(None).await;
    assert!(third.ends().await, "two gates are connected");
    assert_eq!(too_many.load(Ordering::Relaxed), 1);
    let sleepers = [TcpStream::connect(scene.at).await, TcpStream::connect(scene.at).await];
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(Call::new(scene.at, &scene.gate_files, None).await.is_err());
    assert_eq!(too_many.load(Ordering::Relaxed), 2);
    for call in [&mut first, &mut second] {
        assert!(call.ask(&status(1)).await.is_some(), "who is connected notices nothing");
    }
    drop((first, sleepers));
    scene.connected(7, 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(scene.call(None).await.ask(&status(2)).await.is_some());
}

#[tokio::test]
async fn one_address_takes_only_so_many_places_and_gives_them_back() {
    let limits = RadsecLimits {
        per_source: 2,
        ..RadsecLimits::default()
    };
    let scene = Scene::with(Versions::Any, limits, |_, _| {});
    let mut first = scene.call(None).await;
    assert!(first.ask(&status(1)).await.is_some());
    let _sleeper = TcpStream::connect(scene.at).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let third = Call::new(scene.at, &scene.gate_files, None).await;
    assert!(third.is_err());
    assert_eq!(scene.radsec.too_many.load(Ordering::Relaxed), 1);
    drop(first);
    scene.connected(7, 0).await;
    until(|| scene.links.count(NasId(7)) == 0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(scene.call(None).await.ask(&status(2)).await.is_some());
}

#[tokio::test]
async fn one_gate_cannot_take_the_places_of_all_and_loses_its_oldest_connection_for_a_newer() {
    let limits = RadsecLimits {
        connections: 3,
        per_gate: 2,
        ..RadsecLimits::default()
    };
    let scene = Scene::with(Versions::Any, limits, |_, _| {});
    let other = scene.authority.issue(&["gate-8.example.org"]);
    scene.centre.tie("gate-8.example.org", 8);
    let mut calls = Vec::new();
    for _ in 0..5 {
        let mut call = scene.call(None).await;
        assert!(call.ask(&status(1)).await.is_some());
        calls.push(call);
    }
    for oldest in &mut calls[..3] {
        assert!(oldest.ends().await);
    }
    scene.connected(7, 2).await;
    for newest in &mut calls[3..] {
        assert!(newest.ask(&status(2)).await.is_some());
    }
    assert_eq!(scene.radsec.too_many.load(Ordering::Relaxed), 3);
    let mut elsewhere = Call::new(scene.at, &other, None).await.unwrap();
    assert!(elsewhere.ask(&status(3)).await.is_some(), "another gate has its place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_takes_no_answers_is_let_go_and_holds_up_nobody() {
    let limits = RadsecLimits {
        packet: Duration::from_secs(2),
        ..RadsecLimits::default()
    };
    let scene = Scene::with(Versions::Any, limits, |_, _| {});
    let (mut reading, mut writing) = tokio::io::split(scene.call(None).await.0);
    let flood = tokio::spawn(async move {
        // Until the buffers of both ends, of some megabytes, are full of answers that nobody reads.
        let packets: Vec<u8> = (0..=255).flat_map(status_by_proxies).collect();
        loop {
            if tokio::io::AsyncWriteExt::write_all(&mut writing, &packets)
                .await
                .is_err()
            {
                return;
            }
        }
    });
    let mut other = scene.call(None).await;
    for n in 0..20 {
        assert!(other.ask(&login(n, [n; 16])).await.is_some(), "after {n}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::timeout(crate::scene::SOON * 2, flood)
        .await
        .unwrap()
        .unwrap();
    let mut rest = Vec::new();
    _ = reading.read_to_end(&mut rest).await;
    drop(other);
    scene.connected(7, 0).await;
}

/// Asks for as long an answer as there is: it repeats what proxies say.
fn status_by_proxies(identifier: u8) -> Vec<u8> {
    let mut draft = Draft::request(Code::StatusServer, [identifier; 16]);
    for _ in 0..8 {
        draft.octets(attr::PROXY_STATE, &[identifier; 250]);
    }
    draft.seal_request(identifier, RADSEC_SECRET).unwrap()
}
