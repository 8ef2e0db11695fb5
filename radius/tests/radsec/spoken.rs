//! What is said over a connection: RADIUS/1.0 and RADIUS/1.1, all kinds of requests on one connection, many at once.

use std::collections::BTreeSet;
use std::time::Duration;

use kavadam_access::api::{Proof, Service};
use kavadam_radius::server::RadsecLimits;
use kavadam_radius::tls::Versions;
use kavadam_radius::wire::token::{reply_of_token, token_of, with_token};
use kavadam_radius::wire::{Code, Draft, Packet, RADSEC_SECRET, attr};

use crate::scene::{Call, Scene, interim, login, status};

#[tokio::test]
async fn logins_accounting_and_status_share_a_connection() {
    let scene = Scene::new();
    let mut call = scene.call(None).await;
    let question = login(1, [1; 16]);
    let reject = Packet::parse(&call.ask(&question).await.unwrap()).unwrap();
    assert_eq!((reject.code(), reject.identifier()), (Code::AccessReject, 1));
    assert_eq!(reject.verify_reply(&[1; 16], RADSEC_SECRET, true), Ok(()));
    let taken = call.ask(&interim(2, 500)).await.unwrap();
    assert_eq!(taken[..2], [Code::AccountingResponse.octet(), 2]);
    assert_eq!(
        call.ask(&status(3)).await.unwrap()[..2],
        [Code::AccessAccept.octet(), 3]
    );
    let asked = scene.centre.asked.lock().unwrap();
    assert_eq!(asked[0].nas.0, 7, "the certificate tells which gate it is");
    assert!(matches!(&asked[0].service, Service::Login(Proof::Pap(password)) if password.as_slice() == b"123456"));
    assert_eq!(scene.centre.reports.lock().unwrap()[0].counters.up_octets, 500);
}

#[tokio::test]
async fn the_best_common_version_is_spoken() {
    for (server, offered, agreed) in [
        (Versions::Any, None, Some(None)),
        (Versions::Any, Some("radius/1.0"), Some(Some("radius/1.0"))),
        (Versions::Any, Some("radius/1.1"), Some(Some("radius/1.1"))),
        (Versions::Only1_1, Some("radius/1.0"), None),
        (Versions::Only1_0, Some("radius/1.1"), None),
        (Versions::Any, Some("http/1.1"), None),
    ] {
        let scene = Scene::with(server, RadsecLimits::default(), |_, _| {});
        let call = Call::new(scene.at, &scene.gate_files, offered).await;
        let chosen = call
            .ok()
            .map(|call| call.0.get_ref().1.alpn_protocol().map(<[u8]>::to_vec));
        let agreed = agreed.map(|name| name.map(|name| name.as_bytes().to_vec()));
        assert_eq!(chosen, agreed, "{server:?} and {offered:?}");
    }
}

#[tokio::test]
async fn a_server_of_radius_1_1_alone_ends_a_connection_that_did_not_ask_for_it() {
    let scene = Scene::with(Versions::Only1_1, RadsecLimits::default(), |_, _| {});
    let mut call = Call::new(scene.at, &scene.gate_files, None).await.unwrap();
    assert!(call.ask(&status(1)).await.is_none());
}

#[tokio::test]
async fn radius_1_1_has_a_token_and_neither_secret_nor_signature() {
    let scene = Scene::new();
    let mut call = scene.call(Some("radius/1.1")).await;
    let question = with_token(&login(1, [1; 16]), 0x0102_0304).unwrap();
    assert!(
        question.windows(6).any(|window| window == b"123456"),
        "a password in clear octets"
    );
    let answer = call.ask(&question).await.unwrap();
    assert_eq!(
        (answer[0], token_of(&answer)),
        (Code::AccessReject.octet(), Some(0x0102_0304))
    );
    assert_eq!(
        (answer[1], &answer[8..20]),
        (0, &[0; 12][..]),
        "reserved octets are zero"
    );
    let read = Packet::parse(&reply_of_token(&answer).unwrap()).unwrap();
    assert!(!answer.is_empty() && read.text(attr::REPLY_MESSAGE).is_some());
    assert!(!read.has_message_authenticator() && answer.len() == reply_of_token(&answer).unwrap().len());
    let asked = scene.centre.asked.lock().unwrap();
    assert!(matches!(&asked[0].service, Service::Login(Proof::Pap(password)) if password.as_slice() == b"123456"));
}

#[tokio::test]
async fn an_old_client_without_message_authenticator_is_answered_over_tls() {
    let scene = Scene::new();
    let mut call = scene.call(None).await;
    let mut draft = Draft::request(Code::AccessRequest, [4; 16]);
    draft
        .without_message_authenticator()
        .text(attr::USER_NAME, "9876543210");
    let answer = call.ask(&draft.seal_request(9, RADSEC_SECRET).unwrap()).await.unwrap();
    assert_eq!(answer[..2], [Code::AccessReject.octet(), 9]);
}

#[tokio::test]
async fn a_thousand_requests_in_one_breath_are_all_answered_though_few_are_worked_on_at_once() {
    let limits = RadsecLimits {
        outstanding: 4,
        ..RadsecLimits::default()
    };
    let scene = Scene::with(Versions::Any, limits, |_, _| {});
    *scene.centre.takes.lock().unwrap() = Duration::from_millis(1);
    let mut call = scene.call(Some("radius/1.1")).await;
    let all: Vec<u8> = (0..1000_u32)
        .flat_map(|n| with_token(&interim(1, n), 70_000 + n).unwrap())
        .collect();
    let (mut reading, mut writing) = tokio::io::split(call.0);
    let write = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut writing, &all).await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut writing).await.unwrap();
        writing
    });
    let mut tokens = BTreeSet::new();
    for _ in 0..1000 {
        let mut answer = [0; 20];
        let read = tokio::io::AsyncReadExt::read_exact(&mut reading, &mut answer);
        tokio::time::timeout(crate::scene::SOON, read).await.unwrap().unwrap();
        tokens.insert(token_of(&answer).unwrap());
    }
    assert_eq!((tokens.len(), *tokens.first().unwrap()), (1000, 70_000));
    call = Call(reading.unsplit(write.await.unwrap()));
    assert!(call.ask(&with_token(&status(1), 5).unwrap()).await.is_some());
}

#[tokio::test]
async fn a_copy_over_another_connection_gets_the_first_answer_and_is_decided_once() {
    let scene = Scene::new();
    *scene.centre.takes.lock().unwrap() = Duration::from_millis(300);
    for protocol in [None, Some("radius/1.1")] {
        scene.centre.asked.lock().unwrap().clear();
        let question = match protocol {
            None => login(1, [1; 16]),
            Some(_) => with_token(&login(1, [2; 16]), 77).unwrap(),
        };
        let mut first = scene.call(protocol).await;
        first.send(&question).await;
        // By its other uplink.
        let second = Call::from("127.0.0.2", scene.at, &scene.gate_files, protocol).await;
        let mut second = second.unwrap();
        second.send(&question).await;
        drop(first);
        let answer = second.hear().await.unwrap();
        assert_eq!(answer[0], Code::AccessReject.octet());
        assert_eq!(
            second.ask(&question).await.unwrap(),
            answer,
            "once more, octet for octet"
        );
        assert_eq!(scene.centre.asked.lock().unwrap().len(), 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn what_was_begun_is_answered_before_the_server_stops() {
    let mut scene = Scene::new();
    *scene.centre.takes.lock().unwrap() = Duration::from_millis(300);
    let mut call = scene.call(None).await;
    call.send(&interim(4, 1)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    scene.stop.cancel();
    assert_eq!(call.hear().await.unwrap()[..2], [Code::AccountingResponse.octet(), 4]);
    assert!(call.ends().await);
    (&mut scene.running).await.unwrap();
}
