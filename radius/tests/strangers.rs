//! The whole centre (server, use cases, SQLite) asked by radclient of FreeRADIUS, over loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod eapol_test;
mod radclient;
mod radclient_cases;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use kavadam_access::admin::NasSetting;
use kavadam_access::api::{Started, Ticket, Verified, Visit};
use kavadam_access::{Access, Sealer, Settings};
use kavadam_domain::plan::{AfterQuota, Period};
use kavadam_domain::{Language, Mac, Plan, PlanId, Timestamp, challenge};
use kavadam_radius::server::{RadiusServer, ServerConfig};
use kavadam_radius::wire::{Code, Draft, Packet, attr, random_authenticator};
use kavadam_store::Store;
use radclient::radclient;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "a-secret-of-the-gate";
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

struct Centre {
    access: Access,
    visit: Visit,
    store: Store,
    sealer: Sealer,
    auth: SocketAddr,
    acct: SocketAddr,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Drop for Centre {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Timestamp(i64::try_from(since.as_micros()).unwrap())
}

async fn centre() -> Centre {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("sqlite:{}", dir.path().join("kavadam.db").display()))
        .await
        .unwrap();
    let sealer = Sealer::new([5; 32]);
    let access = Access::new(store.clone(), sealer.clone(), Settings::default());
    let plan = Plan {
        id: PlanId(0),
        name: "citizen".into(),
        quota_octets: Some(1_000_000_000),
        period: Period::Once,
        time_zone: "Asia/Kolkata".into(),
        down_bits_per_sec: Some(10_000_000),
        up_bits_per_sec: Some(5_000_000),
        session_secs: Some(3600),
        idle_secs: Some(600),
        max_devices: 2,
        remembered_days: 14,
        after_quota: AfterQuota::Close,
        filter: None,
        class: None,
    };
    access.set_plan(&plan, "test", now()).await.unwrap();
    let site = access
        .set_site("Vizhinjam", true, "citizen", "test", now())
        .await
        .unwrap();
    let nas = NasSetting {
        name: "gate-1",
        site: "Vizhinjam",
        source: "127.0.0.1/32".parse().unwrap(),
        secret: SECRET.as_bytes(),
        uam_secret: b"a secret of redirects",
        coa_port: 3799,
        coa_host: None,
        profile: "kavadam",
        is_renewing: true,
    };
    let nas = access.set_nas(&nas, "test", now()).await.unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let server = RadiusServer::bind(ServerConfig { auth: any, acct: any }, access.clone()).unwrap();
    let (auth, acct) = (server.auth_addr().unwrap(), server.acct_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(server.run(stop.clone()));
    let visit = Visit {
        nas,
        site,
        mac: MAC,
        ip: "10.80.1.1".parse().unwrap(),
        is_seen: true,
        language: Language::En,
        offline_at: None,
    };
    Centre {
        access,
        visit,
        store,
        sealer,
        auth,
        acct,
        stop,
        _dir: dir,
    }
}

impl Centre {
    async fn ticket(&self) -> Ticket {
        let started = self
            .access
            .start_login(&self.visit, "9876543210", true, now())
            .await
            .unwrap();
        assert!(matches!(started, Started::Sent(_)));
        let row = self
            .store
            .read()
            .await
            .unwrap()
            .last_challenge(self.visit.site, MAC)
            .await
            .unwrap()
            .unwrap();
        let code = challenge::code(self.sealer.code_secret(&row.public_id).as_slice());
        match self.access.verify_code(&self.visit, &code, now()).await.unwrap() {
            Verified::Ticket(ticket) => ticket,
            Verified::Refused(reason) => panic!("refused: {reason:?}"),
        }
    }
}

/// As the centre itself looks gates up: at such a socket an IPv4 source comes as an address of IPv6 (`::ffff:127.0.0.1`).
#[tokio::test(flavor = "multi_thread")]
async fn at_a_socket_of_both_families_each_gate_is_found_by_its_own_range() {
    const SIXTH: &str = "a-secret-of-another-gate";
    let centre = centre().await;
    let nas = NasSetting {
        name: "gate-6",
        site: "Vizhinjam",
        source: "::1/128".parse().unwrap(),
        secret: SIXTH.as_bytes(),
        uam_secret: b"a secret of redirects",
        coa_port: 3799,
        coa_host: None,
        profile: "kavadam",
        is_renewing: true,
    };
    centre.access.set_nas(&nas, "test", now()).await.unwrap();
    let both = "[::]:0".parse().unwrap();
    let config = ServerConfig { auth: both, acct: both };
    let server = RadiusServer::bind(config, centre.access.clone()).unwrap();
    let port = server.auth_addr().unwrap().port();
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    for (local, secret, is_its_own) in [
        ("127.0.0.1", SECRET, true),
        ("::1", SIXTH, true),
        ("127.0.0.1", SIXTH, false),
        ("::1", SECRET, false),
    ] {
        let to = SocketAddr::new(local.parse().unwrap(), port);
        let socket = UdpSocket::bind((local, 0)).unwrap();
        let patience = Duration::from_millis(if is_its_own { 5_000 } else { 300 });
        socket.set_read_timeout(Some(patience)).unwrap();
        let asked = Draft::request(Code::StatusServer, random_authenticator()).seal_request(1, secret.as_bytes());
        socket.send_to(&asked.unwrap(), to).unwrap();
        let heard = tokio::task::spawn_blocking(move || socket.recv_from(&mut [0; 4096]));
        let heard = heard.await.unwrap();
        assert_eq!(heard.is_ok(), is_its_own, "{local} with {secret}");
        assert!(heard.is_err() || heard.unwrap().1 == to);
    }
    stop.cancel();
    running.await.unwrap();
}

fn login(ticket: &Ticket, method: &str) -> String {
    format!(
        "User-Name = \"{}\"\n{method} = \"{}\"\nCalling-Station-Id = \"{MAC}\"\nNAS-Identifier = \"gate-1\"\n\
         Acct-Session-Id = \"s1\"\nMessage-Authenticator = 0x00\n",
        ticket.user_name,
        ticket.password.as_str()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_logs_in_by_pap_and_is_charged_once() {
    let centre = centre().await;
    let ticket = centre.ticket().await;
    let answer = radclient(centre.auth, "auth", SECRET, login(&ticket, "User-Password")).await;
    for wanted in [
        "Received Access-Accept",
        "Session-Timeout = 3600",
        "Idle-Timeout = 600",
        "WISPr-Bandwidth-Max-Down = 10000000",
        "WISPr-Bandwidth-Max-Up = 5000000",
        "Message-Authenticator = 0x",
        "Class = 0x",
        "ChilliSpot-Max-Total-Octets",
    ] {
        assert!(answer.contains(wanted), "{wanted} is missing from\n{answer}");
    }
    assert!(!answer.contains("9876543210"), "no number on the wire");

    let another = login(&ticket, "User-Password").replace("\"s1\"", "\"s2\"");
    let again = radclient(centre.auth, "auth", SECRET, another).await;
    assert!(
        again.contains("Received Access-Reject"),
        "a ticket is good for one session\n{again}"
    );
    assert!(again.contains("Reply-Message"), "{again}");

    let report = |kind: &str, octets: u64| {
        format!(
            "Acct-Status-Type = {kind}\nAcct-Session-Id = \"s1\"\nNAS-Identifier = \"gate-1\"\n\
                 Acct-Output-Octets = {octets}\nAcct-Session-Time = 10\n"
        )
    };
    for request in [
        report("Start", 0),
        report("Interim-Update", 1000),
        report("Stop", 5000),
        report("Stop", 5000),
    ] {
        let answer = radclient(centre.acct, "acct", SECRET, request).await;
        assert!(answer.contains("Received Accounting-Response"), "{answer}");
    }
    let mut tx = centre.store.read().await.unwrap();
    let session = tx
        .last_session_of_device(centre.visit.site, MAC)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(session.meter().total_octets(), 5000);
    assert_eq!(session.state, kavadam_domain::session::SessionState::Ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_logs_in_by_chap() {
    let centre = centre().await;
    let ticket = centre.ticket().await;
    let answer = radclient(centre.auth, "auth", SECRET, login(&ticket, "CHAP-Password")).await;
    assert!(answer.contains("Received Access-Accept"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_and_its_code_log_in_by_chap_and_a_wrong_code_costs_one_try() {
    let centre = centre().await;
    let started = centre
        .access
        .start_login(&centre.visit, "9876543210", true, now())
        .await;
    assert!(matches!(started.unwrap(), Started::Sent(_)));
    let challenge = async || {
        let mut tx = centre.store.read().await.unwrap();
        let found = tx.last_challenge(centre.visit.site, MAC).await.unwrap();
        found.unwrap()
    };
    let row = challenge().await;
    let code = challenge::code(centre.sealer.code_secret(&row.public_id).as_slice());
    let ask = async |code: &str, session: &str| {
        let request = format!(
            "User-Name = \"9876543210\"\nCHAP-Password = \"{code}\"\nCalling-Station-Id = \"{MAC}\"\n\
             Acct-Session-Id = \"{session}\"\nMessage-Authenticator = 0x00\n"
        );
        radclient(centre.auth, "auth", SECRET, request).await
    };
    let wrong = if code == "111111" { "222222" } else { "111111" };
    let answer = ask(wrong, "s1").await;
    assert!(answer.contains("Received Access-Reject"), "{answer}");
    assert_eq!(challenge().await.challenge().tries_left, row.challenge().tries_left - 1);
    let answer = ask(&code, "s1").await;
    assert!(answer.contains("Received Access-Accept"), "{answer}");
    let answer = ask(&code, "s2").await;
    assert!(
        answer.contains("Received Access-Reject"),
        "a code is good for one session\n{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_and_a_missing_signature_get_silence() {
    let centre = centre().await;
    let ticket = centre.ticket().await;
    let answer = radclient(
        centre.auth,
        "auth",
        "another-secret-entirely",
        login(&ticket, "User-Password"),
    )
    .await;
    assert!(answer.contains("No reply from server"), "{answer}");
    let unsigned = login(&ticket, "User-Password").replace("Message-Authenticator = 0x00\n", "");
    let answer = radclient(centre.auth, "auth", SECRET, unsigned).await;
    assert!(answer.contains("No reply from server"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_request_gets_the_same_octets_and_burns_no_ticket() {
    let centre = centre().await;
    let ticket = centre.ticket().await;
    // The same request, octet for octet, from one port: what a gate sends again when an answer was lost.
    let packet = recorded(&ticket).await;
    let auth = centre.auth;
    let answers = tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let ask = || {
            socket.send_to(&packet, auth).unwrap();
            let mut buffer = [0; 4096];
            let length = socket.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        };
        [ask(), ask(), ask()]
    })
    .await
    .unwrap();
    assert_eq!(answers[0][0], 2, "Access-Accept");
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

/// An Access-Request as radclient writes it, taken down instead of delivered.
async fn recorded(ticket: &Ticket) -> Vec<u8> {
    let ear = UdpSocket::bind("127.0.0.1:0").unwrap();
    ear.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let at = ear.local_addr().unwrap();
    let heard = tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 4096];
        let length = ear.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    });
    radclient(at, "auth", SECRET, login(ticket, "User-Password")).await;
    heard.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_password_is_refused_and_not_met_with_silence() {
    let centre = centre().await;
    let auth = centre.auth;
    let answers = tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let ask = |add: fn(&mut Draft)| {
            let mut draft = Draft::request(Code::AccessRequest, random_authenticator());
            draft.text(attr::USER_NAME, "9876543210");
            add(&mut draft);
            socket
                .send_to(&draft.seal_request(1, SECRET.as_bytes()).unwrap(), auth)
                .unwrap();
            let mut buffer = [0; 4096];
            let length = socket.recv(&mut buffer).expect("silence");
            Packet::parse(&buffer[..length]).unwrap().code()
        };
        [
            ask(|draft| _ = draft.octets(attr::USER_PASSWORD, &[1; 5])),
            ask(|draft| _ = draft.octets(attr::CHAP_PASSWORD, &[1; 5])),
            ask(|draft| {
                _ = draft
                    .octets(attr::USER_PASSWORD, &[1; 16])
                    .octets(attr::CHAP_PASSWORD, &[1; 17]);
            }),
        ]
    })
    .await
    .unwrap();
    assert_eq!(answers, [Code::AccessReject; 3]);
}
