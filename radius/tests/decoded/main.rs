//! What Wireshark makes of what we say to gates of every vendor, and of the answers that a day at one of ours does not bring about.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod capture;
mod paper;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use capture::{Capture, Port};
use kavadam_access::ms_chap;
use kavadam_radius::dynamic::{Authority, DynamicClient, DynamicConfig, DynamicHandler, DynamicServer};
use kavadam_radius::profile::Profiles;
use kavadam_radius::server::{RadiusServer, ServerConfig, run_orders};
use kavadam_radius::wire::{Code, Draft, attr, hide_password, random_authenticator, vendor};
use kavadam_radius::{ErrorCause, LimitsPatch, Retry, Secret, Target};
use paper::{Paper, SECRET};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

const MS_CHAP_CHALLENGE: (u32, u8) = (311, 11);
const MS_CHAP2_RESPONSE: (u32, u8) = (311, 25);

/// Where the gate of the profile with that place in the list stands.
fn home(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, u8::try_from(place + 1).unwrap())
}

/// Holds the session that our own gate is asked about, and no other.
struct OneSession;

impl OneSession {
    fn has(target: &Target) -> Result<(), ErrorCause> {
        let is_there = target.acct_session_id.as_deref() == Some("s1");
        is_there.then_some(()).ok_or(ErrorCause::SESSION_CONTEXT_NOT_FOUND)
    }
}

impl DynamicHandler for OneSession {
    async fn disconnect(&self, target: Target) -> Result<(), ErrorCause> {
        Self::has(&target)
    }

    async fn change(&self, target: Target, _: LimitsPatch) -> Result<(), ErrorCause> {
        Self::has(&target)
    }
}

/// What the gate of ours that takes orders answers, octet for octet.
fn gate_of_ours(stop: &CancellationToken) -> SocketAddr {
    let config = DynamicConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        authorities: vec![Authority {
            source: "127.0.0.0/8".parse().unwrap(),
            secret: Secret::new(SECRET),
        }],
        nas_identifier: "gate".into(),
        nas_addresses: Vec::new(),
        is_strict: false,
    };
    let server = DynamicServer::bind(config, OneSession).unwrap();
    let at = server.local_addr().unwrap();
    tokio::spawn(server.run(stop.clone()));
    at
}

/// Asks and hears, and shows both to the eye.
async fn ask(eye: &Capture, gate: &UdpSocket, to: (SocketAddr, Port), request: &[u8]) {
    let home = gate.local_addr().unwrap().ip();
    gate.send_to(request, to.0).await.unwrap();
    let mut buffer = [0; 4096];
    let heard = tokio::time::timeout(Duration::from_secs(5), gate.recv(&mut buffer)).await;
    let length = heard.expect("no answer").unwrap();
    eye.question(home, to.1, request);
    eye.answer(home, to.1, &buffer[..length]);
}

/// Each kind of Access-Request, and what it is sealed as.
fn logins(number: u8) -> Vec<Vec<u8>> {
    let authenticator = random_authenticator();
    let seal = |write: &dyn Fn(&mut Draft), identifier: u8| {
        let mut draft = Draft::request(Code::AccessRequest, authenticator);
        draft.text(
            attr::USER_NAME,
            if identifier.is_multiple_of(2) {
                "alias"
            } else {
                "nobody"
            },
        );
        draft.text(attr::CALLING_STATION_ID, "02-00-00-00-00-01");
        write(&mut draft);
        draft
            .seal_request(number.wrapping_mul(16) + identifier, SECRET)
            .unwrap()
    };
    let pap = |draft: &mut Draft| {
        let hidden = hide_password(b"123456", draft.authenticator(), SECRET);
        draft.octets(attr::USER_PASSWORD, &hidden);
    };
    let ms_chap = |draft: &mut Draft| {
        let made = ms_chap::respond(7, [5; 16], [9; 16], "alias", "123456");
        let response = [&[made.ident, 0][..], &made.peer_challenge, &[0; 8], &made.response].concat();
        draft.vendor(MS_CHAP_CHALLENGE, &made.challenge);
        draft.vendor(MS_CHAP2_RESPONSE, &response);
    };
    let eap = |draft: &mut Draft| _ = draft.octets(attr::EAP_MESSAGE, &[2, 42, 0, 9, 1, b'n', b'e', b'm', b'o']);
    let administrative = |draft: &mut Draft| {
        draft.u32(attr::SERVICE_TYPE, 6);
        pap(draft);
    };
    vec![
        seal(&pap, 0),
        seal(&pap, 1),
        seal(&ms_chap, 2),
        seal(&ms_chap, 3),
        seal(&eap, 4),
        seal(&administrative, 5),
    ]
}

fn status(identifier: u8) -> Vec<u8> {
    let draft = Draft::request(Code::StatusServer, random_authenticator());
    draft.seal_request(identifier, SECRET).unwrap()
}

fn report(identifier: u8, kind: u32) -> Vec<u8> {
    let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
    draft.u32(attr::ACCT_STATUS_TYPE, kind);
    draft.text(attr::ACCT_SESSION_ID, "s1");
    draft.seal_request(identifier, SECRET).unwrap()
}

/// An order that is passed on to the gate of ours, and its answer back: what it does not understand it refuses.
async fn obey(eye: Arc<Capture>, home: Ipv4Addr, gate: UdpSocket, ours: SocketAddr) {
    let inner = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (mut order, mut answer) = ([0; 4096], [0; 4096]);
    while let Ok((length, from)) = gate.recv_from(&mut order).await {
        inner.send_to(&order[..length], ours).await.unwrap();
        let heard = inner.recv(&mut answer).await.unwrap();
        eye.order(home, from.port(), &order[..length]);
        eye.order_answer(home, from.port(), &answer[..heard]);
        gate.send_to(&answer[..heard], from).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wireshark_finds_nothing_amiss_in_what_every_vendors_gate_is_told_and_in_any_answer() {
    let profiles = Arc::new(Profiles::built_in().unwrap());
    let paper = Paper::of(&profiles);
    let any = "127.0.0.1:0".parse().unwrap();
    let server = RadiusServer::bind(ServerConfig { auth: any, acct: any }, paper.clone())
        .unwrap()
        .with_profiles(Arc::clone(&profiles));
    let auth = (server.auth_addr().unwrap(), Port::Authentication);
    let acct = (server.acct_addr().unwrap(), Port::Accounting);
    let (stop, counts) = (CancellationToken::new(), server.counts());
    tokio::spawn(server.run(stop.clone()));
    let (eye, ours) = (Arc::new(Capture::default()), gate_of_ours(&stop));

    for place in 0..paper.names.len() {
        let home = home(place);
        let gate = UdpSocket::bind((home, 0)).await.unwrap();
        for login in logins(u8::try_from(place).unwrap()) {
            ask(&eye, &gate, auth, &login).await;
        }
        for (to, number) in [(auth, 254), (acct, 255)] {
            ask(&eye, &gate, to, &status(number)).await;
        }
        for kind in [1, 3, 2, 9] {
            ask(&eye, &gate, acct, &report(u8::try_from(kind).unwrap(), kind)).await;
        }
        let port = gate.local_addr().unwrap().port();
        paper.ports.lock().unwrap().push(port);
        tokio::spawn(obey(Arc::clone(&eye), home, gate, ours));
    }
    // What comes to a gate of ours that it refuses.
    let stranger = UdpSocket::bind((home(99), 0)).await.unwrap();
    for (identifier, code) in [(1, Code::DisconnectRequest), (2, Code::CoaRequest)] {
        let mut order = Draft::request(code, [0; 16]);
        order.text(attr::ACCT_SESSION_ID, "s2");
        if code == Code::CoaRequest {
            order
                .vendor_u32(vendor::WISPR_BANDWIDTH_MAX_DOWN, 1)
                .octets(attr::STATE, b"x");
        }
        let order = order.seal_request(identifier, SECRET).unwrap();
        ask(&eye, &stranger, (ours, Port::Orders), &order).await;
    }
    let orders = DynamicClient::new([IpAddr::from([127, 0, 0, 1])], Retry::default());
    let carried_out = tokio::spawn(run_orders(paper.clone(), orders, profiles, counts, stop.clone()));
    paper.until_all_are_answered().await;
    stop.cancel();
    carried_out.await.unwrap();

    assert_eq!(eye.remarks(SECRET), "");
    let codes = eye.codes(SECRET);
    let wanted = [1, 2, 3, 4, 5, 12, 40, 41, 42, 43, 44, 45];
    assert!(wanted.iter().all(|code| codes.contains(code)), "{codes:?}");
}
