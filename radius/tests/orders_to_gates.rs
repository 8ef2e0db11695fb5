//! A gate under orders (RFC 5176): what it does, what it refuses, and with which Error-Cause.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kavadam_domain::Limits;
use kavadam_radius::dynamic::{Authority, DynamicConfig, DynamicHandler, DynamicServer};
use kavadam_radius::wire::{Code, Draft, Packet, attr, vendor};
use kavadam_radius::{Change, ErrorCause, LimitsPatch, Secret, Target};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

const SECRET: &[u8] = b"a-secret-of-the-gate";
const OURS: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 1);

/// `None`: to be ended.
type Order = (Target, Option<LimitsPatch>);
/// An Error-Cause, and what in the request must lead to it.
type Refusal = (u32, fn(&mut Draft));

#[derive(Clone, Default)]
struct Gate(Arc<Mutex<Vec<Order>>>);

impl DynamicHandler for Gate {
    async fn disconnect(&self, target: Target) -> Result<(), ErrorCause> {
        self.0.lock().unwrap().push((target, None));
        Ok(())
    }

    async fn change(&self, target: Target, patch: LimitsPatch) -> Result<(), ErrorCause> {
        self.0.lock().unwrap().push((target, Some(patch)));
        Ok(())
    }
}

struct Scene {
    gate: Gate,
    at: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn scene() -> Scene {
    let gate = Gate::default();
    let config = DynamicConfig {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        authorities: vec![Authority {
            source: "127.0.0.1/32".parse().unwrap(),
            secret: Secret::new(SECRET),
        }],
        nas_identifier: "gate-1".into(),
        nas_addresses: vec![OURS.into()],
        is_strict: true,
    };
    let server = DynamicServer::bind(config, gate.clone()).unwrap();
    let at = server.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(server.run(stop.clone()));
    Scene { gate, at, stop }
}

/// A signed request for the session `s1`, with what `add` puts into it.
fn request(code: Code, add: impl FnOnce(&mut Draft)) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut draft = Draft::request(code, [0; 16]);
    draft.text(attr::ACCT_SESSION_ID, "s1");
    draft.u32(attr::EVENT_TIMESTAMP, u32::try_from(now).unwrap());
    add(&mut draft);
    draft.seal_request(7, SECRET).unwrap()
}

async fn send(packet: &[u8], to: SocketAddr) -> Packet {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(packet, to).await.unwrap();
    let mut buffer = [0; 4096];
    let received = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer));
    let length = received.await.expect("no answer").unwrap();
    let authenticator = packet[4..20].try_into().unwrap();
    let answer = Packet::parse(&buffer[..length]).unwrap();
    answer.verify_reply(&authenticator, SECRET, true).unwrap();
    answer
}

impl Scene {
    /// `None`: acknowledged.
    async fn ask(&self, code: Code, add: impl FnOnce(&mut Draft)) -> Option<u32> {
        let answer = send(&request(code, add), self.at).await;
        match answer.code() {
            Code::CoaAck | Code::DisconnectAck => None,
            _ => Some(answer.u32(attr::ERROR_CAUSE).unwrap()),
        }
    }

    fn done(&self) -> Vec<Order> {
        std::mem::take(&mut self.gate.0.lock().unwrap())
    }
}

#[tokio::test]
async fn a_change_is_passed_on_with_what_it_says_and_no_more() {
    let scene = scene();
    let answer = scene
        .ask(Code::CoaRequest, |draft| {
            draft.u32(attr::SESSION_TIMEOUT, 600);
            draft.vendor_u32(vendor::WISPR_BANDWIDTH_MAX_DOWN, 0);
        })
        .await;
    assert_eq!(answer, None);
    let patch = LimitsPatch {
        session_secs: Change::Set(600),
        down_bits_per_sec: Change::Lift,
        ..LimitsPatch::default()
    };
    assert_eq!(scene.done()[0].1, Some(patch));
    let limits = Limits {
        max_total_octets: Some(5),
        ..Limits::default()
    };
    assert_eq!(patch.applied_to(limits).max_total_octets, Some(5));
}

#[tokio::test]
async fn refuses_what_it_does_not_know_and_changes_nothing() {
    let scene = scene();
    let refusals: [Refusal; 9] = [
        (405, |draft| _ = draft.u32(attr::SERVICE_TYPE, 17)),
        (405, |draft| {
            draft.u32(attr::SERVICE_TYPE, 17).octets(attr::STATE, b"x");
        }),
        // Login-LAT-Group
        (401, |draft| _ = draft.text(36, "guests")),
        (401, |draft| _ = draft.u32(attr::NAS_PORT, 5)),
        (401, |draft| _ = draft.text(attr::CALLED_STATION_ID, "x")),
        (401, |draft| _ = draft.vendor_u32((9, 1), 5)),
        (401, |draft| {
            _ = draft.vendor(vendor::CHILLISPOT_CONFIG, b"kavadam.renew=1");
        }),
        (401, |draft| {
            _ = draft.vendor_u32(vendor::CHILLISPOT_MAX_INPUT_OCTETS, 5);
        }),
        (402, |_| {}),
    ];
    for (index, (cause, add)) in refusals.into_iter().enumerate() {
        assert_eq!(scene.ask(Code::CoaRequest, add).await, Some(cause), "{index}");
        // Even beside something that could be done.
        let both = |draft: &mut Draft| {
            add(draft);
            draft.u32(attr::SESSION_TIMEOUT, 600);
        };
        let expected = (cause != 402).then_some(cause);
        assert_eq!(scene.ask(Code::CoaRequest, both).await, expected, "{index}");
    }
    assert_eq!(scene.done().len(), 1, "only the last was done");
}

#[tokio::test]
async fn a_disconnect_carries_no_changes() {
    let scene = scene();
    let with_limit = |draft: &mut Draft| _ = draft.u32(attr::SESSION_TIMEOUT, 600);
    assert_eq!(scene.ask(Code::DisconnectRequest, with_limit).await, Some(401));
    assert_eq!(scene.ask(Code::DisconnectRequest, |_| {}).await, None);
}

#[tokio::test]
async fn state_comes_back_with_every_answer_to_a_change_and_refuses_a_disconnect() {
    let scene = scene();
    let state = [0, 0xff, b's'];
    for (expected, change) in [
        (Code::CoaAck, attr::SESSION_TIMEOUT),
        (Code::CoaNak, attr::NAS_PORT),
        (Code::CoaNak, attr::SERVICE_TYPE),
    ] {
        let order = request(Code::CoaRequest, |draft| {
            draft.u32(change, 600).octets(attr::STATE, &state);
        });
        let answer = send(&order, scene.at).await;
        assert_eq!(answer.code(), expected, "{change}");
        assert_eq!(answer.all_octets(attr::STATE), [state.to_vec()], "{change}");
    }
    assert_eq!(scene.done().len(), 1);
    let two = |draft: &mut Draft| {
        draft.u32(attr::SESSION_TIMEOUT, 600);
        draft.octets(attr::STATE, b"x").octets(attr::STATE, b"y");
    };
    assert_eq!(scene.ask(Code::CoaRequest, two).await, Some(404));
    let order = request(Code::DisconnectRequest, |draft| _ = draft.octets(attr::STATE, &state));
    let answer = send(&order, scene.at).await;
    assert_eq!(answer.u32(attr::ERROR_CAUSE), Some(401));
    assert!(!answer.has(attr::STATE) && scene.done().is_empty());
}

#[tokio::test]
async fn a_malformed_limit_is_refused() {
    let scene = scene();
    let short: [fn(&mut Draft); 4] = [
        |draft| _ = draft.octets(attr::SESSION_TIMEOUT, &[0; 3]),
        |draft| _ = draft.vendor(vendor::CHILLISPOT_MAX_TOTAL_OCTETS, &[0; 8]),
        |draft| _ = draft.octets(attr::VENDOR_SPECIFIC, &[0, 0, 0x38, 0xdf, 3, 9, 0, 0]),
        |draft| _ = draft.text(attr::FILTER_ID, "std.ppp"),
    ];
    for add in short {
        assert_eq!(scene.ask(Code::CoaRequest, add).await, Some(407));
    }
    assert!(scene.done().is_empty());
}

#[tokio::test]
async fn a_filter_is_given_or_taken_away_and_two_are_none() {
    let scene = scene();
    for (name, change) in [
        ("minors", Change::Set("minors".parse().unwrap())),
        ("none", Change::Lift),
    ] {
        let add = |draft: &mut Draft| _ = draft.text(attr::FILTER_ID, name);
        assert_eq!(scene.ask(Code::CoaRequest, add).await, None);
        let patch = LimitsPatch {
            filter: change,
            ..LimitsPatch::default()
        };
        assert_eq!(scene.done().last().unwrap().1, Some(patch));
    }
    let two = |draft: &mut Draft| {
        draft.text(attr::FILTER_ID, "minors").text(attr::FILTER_ID, "adults");
    };
    assert_eq!(scene.ask(Code::CoaRequest, two).await, Some(404));
    assert!(scene.done().is_empty());
}

#[tokio::test]
async fn a_class_is_given_or_taken_away_and_what_is_none_is_refused() {
    let scene = scene();
    let told =
        |text: &'static str| move |draft: &mut Draft| _ = draft.vendor(vendor::CHILLISPOT_CONFIG, text.as_bytes());
    for (text, change) in [
        ("kavadam.class=free", Change::Set("free".parse().unwrap())),
        ("kavadam.class=none", Change::Lift),
    ] {
        assert_eq!(scene.ask(Code::CoaRequest, told(text)).await, None);
        let patch = LimitsPatch {
            class: change,
            ..LimitsPatch::default()
        };
        assert_eq!(scene.done().last().unwrap().1, Some(patch));
    }
    assert_eq!(
        scene.ask(Code::CoaRequest, told("kavadam.class=Free!")).await,
        Some(407)
    );
    assert_eq!(scene.ask(Code::CoaRequest, told("kavadam.caste=free")).await, Some(401));
    assert!(scene.done().is_empty());
}

#[tokio::test]
async fn a_name_that_cannot_be_read_or_is_given_twice_refuses_the_request() {
    let scene = scene();
    let refusals: [Refusal; 4] = [
        (407, |draft| _ = draft.text(attr::CALLING_STATION_ID, "a phone")),
        (407, |draft| _ = draft.octets(attr::FRAMED_IP_ADDRESS, &[10, 0])),
        (407, |draft| _ = draft.octets(attr::FRAMED_IPV6_ADDRESS, &[10; 4])),
        (404, |draft| _ = draft.text(attr::ACCT_SESSION_ID, "s2")),
    ];
    for (cause, add) in refusals {
        assert_eq!(scene.ask(Code::DisconnectRequest, add).await, Some(cause));
    }
    assert!(scene.done().is_empty());
}

#[tokio::test]
async fn refuses_a_request_for_another_gate() {
    let scene = scene();
    let foreign: [fn(&mut Draft); 4] = [
        |draft| _ = draft.text(attr::NAS_IDENTIFIER, "gate-2"),
        |draft| _ = draft.ipv4(attr::NAS_IP_ADDRESS, Ipv4Addr::new(10, 80, 0, 2)),
        |draft| _ = draft.octets(attr::NAS_IP_ADDRESS, &[10]),
        |draft| _ = draft.ipv6(attr::NAS_IPV6_ADDRESS, "fd00::1".parse().unwrap()),
    ];
    for add in foreign {
        assert_eq!(scene.ask(Code::DisconnectRequest, add).await, Some(403));
    }
    let ours = |draft: &mut Draft| {
        draft
            .text(attr::NAS_IDENTIFIER, "gate-1")
            .ipv4(attr::NAS_IP_ADDRESS, OURS);
        draft.octets(attr::CLASS, b"c1").octets(attr::CLASS, b"c2");
        draft.octets(attr::CHARGEABLE_USER_IDENTITY, b"cui");
    };
    assert_eq!(scene.ask(Code::DisconnectRequest, ours).await, None);
    let (target, _) = scene.done().remove(0);
    assert_eq!(target.classes, [b"c1".to_vec(), b"c2".to_vec()]);
    assert_eq!(target.cui.as_deref(), Some(&b"cui"[..]));
}

#[tokio::test]
async fn a_recorded_order_played_back_from_another_port_is_a_copy() {
    let scene = scene();
    let packet = request(Code::DisconnectRequest, |_| {});
    for _ in 0..3 {
        assert_eq!(send(&packet, scene.at).await.code(), Code::DisconnectAck);
    }
    assert_eq!(scene.done().len(), 1);
}
