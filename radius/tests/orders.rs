//! Orders to a gate (RFC 5176): by radclient of FreeRADIUS to our listener, and by ours to gates that lie.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod radclient;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavadam_domain::{Limits, Timestamp};
use kavadam_radius::dynamic::{
    Authority, DynamicClient, DynamicConfig, DynamicCounts, DynamicHandler, DynamicReply, DynamicServer,
};
use kavadam_radius::wire::{Code, Draft, Packet, attr};
use kavadam_radius::{DynamicAction, DynamicRequest, ErrorCause, LimitsPatch, Retry, Secret, Target};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "a-secret-of-the-gate";

/// Has one session, s1 of `alias`.
#[derive(Clone, Default)]
struct Gate {
    ended: Arc<Mutex<u32>>,
    limits: Arc<Mutex<Vec<Limits>>>,
}

impl Gate {
    fn has(target: &Target) -> Result<(), ErrorCause> {
        let fits = target.acct_session_id.as_deref().is_none_or(|id| id == "s1")
            && target.user_name.as_deref().is_none_or(|name| name == "alias");
        if fits {
            Ok(())
        } else {
            Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND)
        }
    }
}

impl DynamicHandler for Gate {
    async fn disconnect(&self, target: Target) -> Result<(), ErrorCause> {
        Self::has(&target)?;
        *self.ended.lock().unwrap() += 1;
        Ok(())
    }

    async fn change(&self, target: Target, patch: LimitsPatch) -> Result<(), ErrorCause> {
        Self::has(&target)?;
        self.limits.lock().unwrap().push(patch.applied_to(Limits::default()));
        Ok(())
    }
}

struct Lab {
    gate: Gate,
    at: SocketAddr,
    counts: Arc<DynamicCounts>,
    stop: CancellationToken,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn lab() -> Lab {
    let gate = Gate::default();
    let config = DynamicConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        authorities: vec![Authority {
            source: "127.0.0.0/8".parse().unwrap(),
            secret: Secret::new(SECRET),
        }],
        nas_identifier: "gate-1".into(),
        nas_addresses: Vec::new(),
        is_strict: true,
    };
    let server = DynamicServer::bind(config, gate.clone()).unwrap();
    let (at, counts) = (server.local_addr().unwrap(), server.counts());
    let stop = CancellationToken::new();
    tokio::spawn(server.run(stop.clone()));
    Lab { gate, at, counts, stop }
}

fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    Timestamp(i64::try_from(since.as_micros()).unwrap())
}

/// As radclient sends it, with Message-Authenticator and Event-Timestamp.
async fn radclient(to: SocketAddr, kind: &'static str, secret: &'static str, attributes: &str) -> String {
    let signed = format!("Message-Authenticator = 0x00\nEvent-Timestamp = {}", now().as_secs());
    radclient::radclient(to, kind, secret, format!("{signed}\n{attributes}\n")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_disconnects_a_session_and_is_told_where_there_is_none() {
    let lab = lab();
    let answer = radclient(
        lab.at,
        "disconnect",
        SECRET,
        "Acct-Session-Id = \"s1\"\nUser-Name = \"alias\"",
    )
    .await;
    assert!(answer.contains("Received Disconnect-ACK"), "{answer}");
    assert_eq!(*lab.gate.ended.lock().unwrap(), 1);
    let answer = radclient(lab.at, "disconnect", SECRET, "Acct-Session-Id = \"another\"").await;
    assert!(answer.contains("Received Disconnect-NAK"), "{answer}");
    assert!(answer.contains("Error-Cause = Session-Context-Not-Found"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_changes_limits_gigawords_included() {
    let lab = lab();
    let attributes = "Acct-Session-Id = \"s1\"\nSession-Timeout = 60\nWISPr-Bandwidth-Max-Down = 1000000\n\
                      ChilliSpot-Max-Total-Octets = 5\nAttr-26.14559.23 = 0x00000001";
    let answer = radclient(lab.at, "coa", SECRET, attributes).await;
    assert!(answer.contains("Received CoA-ACK"), "{answer}");
    let limits = lab.gate.limits.lock().unwrap().clone();
    assert_eq!(limits[0].session_secs, Some(60));
    assert_eq!(limits[0].down_bits_per_sec, Some(1_000_000));
    assert_eq!(limits[0].max_total_octets, Some((1 << 32) + 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_for_another_gate_or_for_nobody_is_refused_with_its_cause() {
    let lab = lab();
    let answer = radclient(
        lab.at,
        "disconnect",
        SECRET,
        "Acct-Session-Id = \"s1\"\nNAS-Identifier = \"gate-2\"",
    )
    .await;
    assert!(answer.contains("Error-Cause = NAS-Identification-Mismatch"), "{answer}");
    let answer = radclient(lab.at, "disconnect", SECRET, "NAS-Identifier = \"gate-1\"").await;
    assert!(answer.contains("Error-Cause = Missing-Attribute"), "{answer}");
    assert_eq!(*lab.gate.ended.lock().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_gets_silence() {
    let lab = lab();
    let answer = radclient(
        lab.at,
        "disconnect",
        "another-secret-of-length",
        "Acct-Session-Id = \"s1\"",
    )
    .await;
    assert!(answer.contains("No reply from server"), "{answer}");
    assert_eq!(lab.counts.unverified.load(Ordering::Relaxed), 1);
    assert_eq!(*lab.gate.ended.lock().unwrap(), 0);
}

fn disconnect(identifier: u8, at: i64) -> Vec<u8> {
    let mut draft = Draft::request(Code::DisconnectRequest, [0; 16]);
    draft.text(attr::ACCT_SESSION_ID, "s1");
    draft.u32(attr::EVENT_TIMESTAMP, u32::try_from(at).unwrap());
    draft.octets(attr::PROXY_STATE, b"a proxy's");
    draft.seal_request(identifier, SECRET.as_bytes()).unwrap()
}

async fn ask(socket: &UdpSocket, to: SocketAddr, octets: &[u8]) -> Option<Vec<u8>> {
    socket.send_to(octets, to).await.unwrap();
    let mut buffer = [0; 4096];
    let heard = tokio::time::timeout(Duration::from_millis(400), socket.recv(&mut buffer)).await;
    heard.ok().map(|length| buffer[..length.unwrap()].to_vec())
}

#[tokio::test]
async fn a_copy_is_answered_alike_and_obeyed_once() {
    let lab = lab();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let order = disconnect(1, now().as_secs());
    let first = ask(&socket, lab.at, &order).await.unwrap();
    let answer = Packet::parse(&first).unwrap();
    assert_eq!(answer.code(), Code::DisconnectAck);
    assert_eq!(
        answer.octets(attr::PROXY_STATE).as_deref(),
        Some(b"a proxy's".as_slice())
    );
    assert_eq!(ask(&socket, lab.at, &order).await.unwrap(), first);
    assert_eq!(*lab.gate.ended.lock().unwrap(), 1);
}

#[tokio::test]
async fn an_order_played_back_from_another_address_of_the_authority_is_a_copy() {
    let lab = lab();
    let order = disconnect(1, now().as_secs());
    for source in ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.2:0"] {
        let socket = UdpSocket::bind(source).await.unwrap();
        assert_eq!(
            ask(&socket, lab.at, &order).await.unwrap()[0],
            Code::DisconnectAck.octet()
        );
    }
    assert_eq!(*lab.gate.ended.lock().unwrap(), 1);
    assert_eq!(lab.counts.duplicates.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_was_recorded_long_ago_or_bears_no_time_is_ignored() {
    let lab = lab();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for at in [now().as_secs() - 400, now().as_secs() + 400] {
        assert_eq!(ask(&socket, lab.at, &disconnect(1, at)).await, None);
    }
    let mut timeless = Draft::request(Code::DisconnectRequest, [0; 16]);
    timeless.text(attr::ACCT_SESSION_ID, "s1");
    let timeless = timeless.seal_request(2, SECRET.as_bytes()).unwrap();
    assert_eq!(ask(&socket, lab.at, &timeless).await, None);
    assert_eq!(lab.counts.stale.load(Ordering::Relaxed), 3);
    assert_eq!(*lab.gate.ended.lock().unwrap(), 0);
}

#[tokio::test]
async fn an_order_whose_answer_would_not_fit_is_not_obeyed() {
    let lab = lab();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let with_states = |identifier, count| {
        let mut draft = Draft::request(Code::DisconnectRequest, [0; 16]);
        draft.text(attr::ACCT_SESSION_ID, "s1");
        draft.u32(attr::EVENT_TIMESTAMP, u32::try_from(now().as_secs()).unwrap());
        for _ in 0..count {
            draft.octets(attr::PROXY_STATE, &[7; 253]);
        }
        draft.seal_request(identifier, SECRET.as_bytes()).unwrap()
    };
    assert_eq!(ask(&socket, lab.at, &with_states(1, 9)).await, None);
    assert_eq!(*lab.gate.ended.lock().unwrap(), 0);
    assert_eq!(lab.counts.malformed.load(Ordering::Relaxed), 1);
    assert!(ask(&socket, lab.at, &with_states(2, 8)).await.is_some());
}

#[tokio::test]
async fn rubbish_and_forgeries_end_nothing() {
    let lab = lab();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let whole = disconnect(1, now().as_secs());
    for at in 0..whole.len() {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        socket.send_to(&bent, lab.at).await.unwrap();
        socket.send_to(&whole[..at], lab.at).await.unwrap();
    }
    assert!(ask(&socket, lab.at, &whole).await.is_some(), "the true one is obeyed");
    assert_eq!(*lab.gate.ended.lock().unwrap(), 1);
}

/// Plays a gate that answers what `answers` makes of a request.
async fn asked_of(answers: impl Fn(&Packet) -> Vec<Vec<u8>> + Send + 'static) -> DynamicReply {
    let gate = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = gate.local_addr().unwrap();
    let serve = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = gate.recv_from(&mut buffer).await.unwrap();
            for answer in answers(&Packet::parse(&buffer[..length]).unwrap()) {
                gate.send_to(&answer, from).await.unwrap();
            }
        }
    });
    let retry = Retry {
        first_wait: Duration::from_millis(100),
        tries: 2,
    };
    let request = DynamicRequest {
        target: Target {
            acct_session_id: Some("s1".into()),
            ..Target::default()
        },
        action: DynamicAction::Disconnect,
    };
    let reply = DynamicClient::new(None, retry)
        .send(to, &Secret::new(SECRET), &request, now())
        .await;
    serve.abort();
    reply
}

fn reply(request: &Packet, code: Code, cause: Option<u32>, secret: &str) -> Vec<u8> {
    let mut draft = Draft::reply(code, request);
    if let Some(cause) = cause {
        draft.u32(attr::ERROR_CAUSE, cause);
    }
    draft.seal_reply(secret.as_bytes()).unwrap()
}

#[tokio::test]
async fn what_gates_answer_is_understood_and_forgeries_are_not_believed() {
    let ack = asked_of(|request| vec![reply(request, Code::DisconnectAck, None, SECRET)]).await;
    assert_eq!(ack, DynamicReply::Ack);
    let nak = asked_of(|request| vec![reply(request, Code::DisconnectNak, Some(503), SECRET)]).await;
    assert_eq!(nak, DynamicReply::Nak(Some(ErrorCause::SESSION_CONTEXT_NOT_FOUND)));
    let bare = asked_of(|request| vec![reply(request, Code::DisconnectNak, None, SECRET)]).await;
    assert_eq!(bare, DynamicReply::Nak(None));
    let forged = asked_of(|request| {
        vec![
            reply(request, Code::DisconnectAck, None, "another secret of length"),
            reply(request, Code::CoaAck, None, SECRET),
            vec![0; 20],
        ]
    })
    .await;
    assert_eq!(forged, DynamicReply::NoAnswer);
    let both = asked_of(|request| {
        vec![
            reply(request, Code::DisconnectAck, None, "another secret of length"),
            reply(request, Code::DisconnectNak, Some(504), SECRET),
        ]
    })
    .await;
    assert_eq!(both, DynamicReply::Nak(Some(ErrorCause::SESSION_CONTEXT_NOT_REMOVABLE)));
}
