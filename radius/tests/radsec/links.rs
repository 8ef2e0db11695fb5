//! The gate's end: kept up, brought back, and nothing lost between.

use std::sync::Arc;
use std::time::Duration;

use kavadam_domain::{NasId, Timestamp};
use kavadam_radius::client::Client;
use kavadam_radius::tls::{Link, TlsFiles, Versions};
use kavadam_radius::wire::{Code, Draft, Packet, RADSEC_SECRET, announced_length};
use kavadam_radius::{
    AccessReply, AccessRequest, AccountingKind, AccountingRequest, Credential, NasIdentity, Retry, ServiceType,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::scene::{SOON, Scene, chain, until, up};

const PATIENT: Retry = Retry {
    first_wait: Duration::from_secs(4),
    tries: 2,
};

fn client(links: Vec<Link>) -> Client {
    Client::over_tls(links, NasIdentity::default(), PATIENT)
}

fn login() -> AccessRequest {
    AccessRequest::new(
        ServiceType::Login,
        "9876543210",
        Credential::Pap(b"123456".to_vec().into()),
    )
}

fn report(n: i64) -> AccountingRequest {
    AccountingRequest::new(
        AccountingKind::Start,
        format!("s{n}"),
        Timestamp::from_secs(1_800_000_000 + n),
    )
}

#[tokio::test]
async fn a_gate_logs_people_in_and_reports_over_either_version() {
    for versions in [Versions::Any, Versions::Only1_0, Versions::Only1_1] {
        let scene = Scene::new();
        let client = client(vec![up(scene.link(versions)).await]);
        client.status().await.unwrap();
        assert!(matches!(
            client.authenticate(&login()).await.unwrap(),
            AccessReply::Reject { message: Some(_) }
        ));
        client
            .account(&report(1), Timestamp::from_secs(1_800_000_100))
            .await
            .unwrap();
        assert_eq!(scene.centre.reports.lock().unwrap()[0].acct_session_id, "s1");
        assert_eq!(scene.links.count(NasId(7)), 1, "all of it over one connection");
    }
}

#[tokio::test]
async fn what_was_in_flight_when_the_server_died_is_sent_again_and_answered() {
    for versions in [Versions::Only1_0, Versions::Only1_1] {
        let mut scene = Scene::new();
        let client = Arc::new(client(vec![up(scene.link(versions)).await]));
        *scene.centre.takes.lock().unwrap() = Duration::from_secs(30);
        let reports = (0..50).map(|n| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { client.account(&report(n), Timestamp::from_secs(1_800_000_100)).await })
        });
        let reports: Vec<_> = reports.collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        *scene.centre.takes.lock().unwrap() = Duration::ZERO;
        scene.die().await;
        scene.rise();
        for one in reports {
            one.await.unwrap().unwrap();
        }
        let mut kept: Vec<String> = scene
            .centre
            .reports
            .lock()
            .unwrap()
            .iter()
            .map(|r| r.acct_session_id.clone())
            .collect();
        kept.sort();
        kept.dedup();
        assert_eq!(kept.len(), 50);
    }
}

#[tokio::test]
async fn more_questions_than_a_connection_tells_apart_wait_for_their_turn() {
    let scene = Scene::new();
    *scene.centre.takes.lock().unwrap() = Duration::from_millis(20);
    let client = Arc::new(client(vec![up(scene.link(Versions::Only1_0)).await]));
    let all = (0..600).map(|n| {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.account(&report(n), Timestamp::from_secs(1_800_000_700)).await })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
    assert_eq!(scene.centre.reports.lock().unwrap().len(), 600);
}

#[tokio::test]
async fn a_server_that_is_away_is_passed_over_for_one_that_is_there() {
    let scene = Scene::new();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut away = scene.link(Versions::Any);
    away.address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let client = client(vec![Link::open(away).unwrap(), up(scene.link(Versions::Any)).await]);
    tokio::time::timeout(Duration::from_secs(1), client.status())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_link_comes_back_when_the_server_does() {
    let mut scene = Scene::new();
    let link = up(scene.link(Versions::Any)).await;
    scene.die().await;
    until(|| !link.is_up()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    scene.rise();
    until(|| link.is_up()).await;
    client(vec![link]).status().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_dead_without_a_word_is_found_out_and_replaced() {
    let scene = Scene::new();
    // Swallows everything that the first connection sends from some moment on, as a router that lost its state does.
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = scene.link(Versions::Any);
    config.address = relay.local_addr().unwrap().to_string();
    config.times.quiet = Duration::from_millis(400);
    config.times.answer = Duration::from_millis(400);
    let at = scene.at;
    tokio::spawn(async move {
        let (mut near, _) = relay.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(at).await.unwrap();
        let passing = tokio::io::copy_bidirectional(&mut near, &mut far);
        _ = tokio::time::timeout(Duration::from_millis(300), passing).await;
        let (mut again, _) = relay.accept().await.unwrap();
        let mut to = tokio::net::TcpStream::connect(at).await.unwrap();
        _ = tokio::io::copy_bidirectional(&mut again, &mut to).await;
        drop((near, far));
    });
    let link = up(config).await;
    tokio::time::sleep(Duration::from_millis(350)).await;
    let client = client(vec![link]);
    tokio::time::timeout(SOON, client.authenticate(&login()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(scene.centre.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_idle_link_is_kept_alive_by_asking() {
    let limits = kavadam_radius::server::RadsecLimits {
        idle: Duration::from_millis(600),
        ..Default::default()
    };
    let scene = Scene::with(Versions::Any, limits, |_, _| {});
    let mut config = scene.link(Versions::Any);
    config.times.quiet = Duration::from_millis(200);
    let _link = up(config).await;
    let connected = &scene.radsec.connected;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        connected.load(std::sync::atomic::Ordering::Relaxed),
        1,
        "the same connection still"
    );
    assert!(scene.counts.answered() >= 4);
}

#[tokio::test]
async fn a_backlog_of_reports_keeps_no_login_waiting() {
    let scene = Scene::new();
    let client = Arc::new(client(vec![up(scene.link(Versions::Only1_0)).await]));
    *scene.centre.takes.lock().unwrap() = Duration::from_secs(3);
    for n in 0..600 {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.account(&report(n), Timestamp::from_secs(1_800_000_700)).await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    *scene.centre.takes.lock().unwrap() = Duration::ZERO;
    tokio::time::timeout(Duration::from_secs(1), client.authenticate(&login()))
        .await
        .unwrap()
        .unwrap();
}

/// A server by hand: the next connection of a gate to it.
async fn welcome(listener: &TcpListener, files: &TlsFiles) -> TlsStream<TcpStream> {
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain(&files.certificate), key)
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap()
}

async fn heard(stream: &mut TlsStream<TcpStream>) -> Packet {
    let mut octets = vec![0; 4];
    stream.read_exact(&mut octets).await.unwrap();
    octets.resize(announced_length(&octets).unwrap().unwrap(), 0);
    stream.read_exact(&mut octets[4..]).await.unwrap();
    Packet::parse(&octets).unwrap()
}

async fn say(stream: &mut TlsStream<TcpStream>, octets: &[u8]) {
    stream.write_all(octets).await.unwrap();
    stream.flush().await.unwrap();
}

#[tokio::test]
async fn who_answers_with_a_forged_signature_is_hung_up_on_and_asked_again_over_another_connection() {
    let scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = scene.link(Versions::Only1_0);
    config.address = listener.local_addr().unwrap().to_string();
    let client = client(vec![Link::open(config).unwrap()]);
    let asked = tokio::spawn(async move { client.status().await });

    let mut first = welcome(&listener, &scene.server_files).await;
    let question = heard(&mut first).await;
    let answer = |secret: &[u8]| Draft::reply(Code::AccessAccept, &question).seal_reply(secret).unwrap();
    say(&mut first, &answer(b"another secret")).await;
    let hung_up = tokio::time::timeout(SOON, first.read(&mut [0]))
        .await
        .expect("it stays");
    assert!(matches!(hung_up, Ok(0) | Err(_)));

    let mut second = welcome(&listener, &scene.server_files).await;
    assert_eq!(heard(&mut second).await.authenticator(), question.authenticator());
    say(&mut second, &answer(RADSEC_SECRET)).await;
    asked.await.unwrap().unwrap();
}
