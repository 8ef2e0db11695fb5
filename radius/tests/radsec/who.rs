//! Who is let in.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kavadam_domain::NasId;
use kavadam_radius::Retry;
use kavadam_radius::dynamic::{DynamicClient, DynamicReply};
use kavadam_radius::server::RadsecLimits;
use kavadam_radius::tls::{Link, TlsFiles, Versions};
use kavadam_radius::wire::{Code, Draft, attr};
use rcgen::SanType;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;

use crate::certificates::Authority;
use crate::scene::{Call, SOON, Scene, chain, status, until};

/// Whether a client with this certificate, which trusts the scene's authority, is answered.
async fn is_answered(scene: &Scene, files: &TlsFiles) -> bool {
    let files = TlsFiles {
        authorities: scene.gate_files.authorities.clone(),
        ..files.clone()
    };
    match Call::new(scene.at, &files, None).await {
        Ok(mut call) => call.ask(&status(1)).await.is_some(),
        Err(_) => false,
    }
}

fn serial_of(files: &TlsFiles) -> u64 {
    let certificate = chain(&files.certificate).remove(0);
    let (_, read) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    let octets = read.raw_serial().iter();
    octets.fold(0, |all, octet| (all << 8) | u64::from(*octet))
}

#[tokio::test]
async fn a_gate_is_known_by_each_kind_of_name_in_its_certificate() {
    let scene = Scene::new();
    let by_uri = scene.authority.issue_as(&[], |params| {
        params.subject_alt_names = vec![SanType::URI("urn:gate:8".try_into().unwrap())];
    });
    let by_fingerprint = scene.authority.issue(&["renewed-too-often.example.org"]);
    let print = Sha256::digest(&chain(&by_fingerprint.certificate)[0]);
    let hex = data_encoding::HEXLOWER.encode(&print);
    scene.centre.tie("urn:gate:8", 8);
    scene.centre.tie(&format!("sha256:{hex}"), 9);
    for files in [&scene.gate_files, &by_uri, &by_fingerprint] {
        assert!(is_answered(&scene, files).await);
    }
}

#[tokio::test]
async fn strangers_are_refused_each_for_its_reason() {
    let scene = Scene::new();
    let other = Authority::new(scene.dir.path(), "foreign");
    let handshakes = [
        ("another authority's", other.issue(&["gate-7.example.org"])),
        ("expired", scene.authority.issue_expired(&["gate-7.example.org"])),
        (
            "not valid yet",
            scene.authority.issue_as(&["gate-7.example.org"], |params| {
                params.not_before = rcgen::date_time_ymd(2090, 1, 1);
            }),
        ),
    ];
    for (what, files) in handshakes {
        assert!(!is_answered(&scene, &files).await, "{what}");
    }
    until(|| scene.radsec.no_handshake.load(Ordering::Relaxed) == 3).await;
    let names = [
        scene.authority.issue(&["gate-8.example.org"]),
        scene.authority.issue(&["*.example.org"]),
    ];
    for files in names {
        assert!(!is_answered(&scene, &files).await, "no record names it");
    }
    assert_eq!(scene.radsec.no_gate.load(Ordering::Relaxed), 2);
    assert!(is_answered(&scene, &scene.gate_files).await);
}

#[tokio::test]
async fn without_a_certificate_or_with_tls_1_2_alone_there_is_no_handshake() {
    let scene = Scene::new();
    let stream = async || TcpStream::connect(scene.at).await.unwrap();
    let bare = Call::open(stream().await, &scene.gate_files, None, &rustls::version::TLS13, None).await;
    if let Ok(mut call) = bare {
        // With TLS 1.3 a client learns of it only when it reads.
        assert!(call.hear().await.is_none());
    }
    let own = || {
        let key = PrivateKeyDer::from_pem_file(&scene.gate_files.key).unwrap();
        Some((chain(&scene.gate_files.certificate), key))
    };
    let old = Call::open(stream().await, &scene.gate_files, own(), &rustls::version::TLS12, None).await;
    assert!(old.is_err(), "TLS 1.3 is the least");
    until(|| scene.radsec.no_handshake.load(Ordering::Relaxed) == 2).await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused() {
    let scene = Scene::with(Versions::Any, RadsecLimits::default(), |authority, files| {
        files.revoked = Some(authority.revoke(u64::MAX));
    });
    assert!(is_answered(&scene, &scene.gate_files).await, "another one is revoked");
    scene.authority.revoke(serial_of(&scene.gate_files));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!is_answered(&scene, &scene.gate_files).await);
}

#[tokio::test]
async fn a_gate_whose_certificate_is_revoked_while_it_is_connected_is_cut_off_and_hears_no_order() {
    let limits = RadsecLimits {
        known_every: Duration::from_millis(20),
        ..RadsecLimits::default()
    };
    let scene = Scene::with(Versions::Any, limits, |authority, files| {
        files.revoked = Some(authority.revoke(u64::MAX));
    });
    let other = scene.authority.issue(&["gate-8.example.org"]);
    scene.centre.tie("gate-8.example.org", 8);
    let mut revoked = scene.call(None).await;
    let mut stays = Call::new(scene.at, &other, None).await.unwrap();
    for call in [&mut revoked, &mut stays] {
        assert!(call.ask(&status(1)).await.is_some());
    }
    scene.authority.revoke(serial_of(&scene.gate_files));
    assert!(revoked.ends().await, "silent as it is");
    scene.connected(7, 0).await;
    assert!(stays.ask(&status(2)).await.is_some());
}

#[tokio::test]
async fn a_gate_taken_out_of_service_is_cut_off_at_its_next_request() {
    let scene = Scene::new();
    let mut call = scene.call(None).await;
    assert!(call.ask(&status(1)).await.is_some());
    scene.centre.gates.lock().unwrap().clear();
    assert!(call.ask(&status(2)).await.is_none());
    scene.connected(7, 0).await;
    scene.centre.tie("gate-7.example.org", 7);
    let mut call = scene.call(None).await;
    assert!(call.ask(&status(3)).await.is_some());
    scene.centre.tie("gate-7.example.org", 8);
    assert!(
        call.ask(&status(4)).await.is_none(),
        "another gate's now: it is to connect anew"
    );
    assert!(scene.call(None).await.ask(&status(5)).await.is_some());
}

#[tokio::test]
async fn a_gate_whose_certificate_is_taken_back_is_cut_off_though_it_asks_nothing() {
    let limits = RadsecLimits {
        known_every: Duration::from_millis(20),
        ..RadsecLimits::default()
    };
    let scene = Scene::with(Versions::Any, limits, |_, _| {});
    let mut call = scene.call(None).await;
    scene.connected(7, 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(scene.links.count(NasId(7)), 1, "as long as it is the gate's, it stays");
    scene.centre.tie("gate-7.example.org", 8);
    assert!(call.ends().await);
    scene.connected(7, 0).await;
}

#[tokio::test]
async fn a_gate_whose_certificate_is_taken_back_hears_no_order_any_more() {
    let scene = Scene::new();
    let mut call = scene.call(None).await;
    scene.connected(7, 1).await;
    let retry = Retry {
        first_wait: Duration::from_secs(1),
        tries: 1,
    };
    let orders = DynamicClient::new(None, retry).over(Arc::clone(&scene.links));
    let order = || {
        let mut draft = Draft::request(Code::DisconnectRequest, [0; 16]);
        draft.text(attr::ACCT_SESSION_ID, "s1");
        draft
    };
    let asked = orders.send_down_a_link(NasId(7), Code::DisconnectRequest, order());
    assert_eq!(asked.await, DynamicReply::NoAnswer);
    assert!(call.hear().await.is_some(), "it hears what is meant for it");
    scene.centre.gates.lock().unwrap().clear();
    let asked = orders.send_down_a_link(NasId(7), Code::DisconnectRequest, order());
    assert_eq!(asked.await, DynamicReply::NoAnswer);
    assert!(call.ends().await, "and nothing more came");
    scene.connected(7, 0).await;
}

#[tokio::test]
async fn a_gate_refuses_a_server_of_another_name_or_authority() {
    let scene = Scene::new();
    let mut wrong_name = scene.link(Versions::Any);
    wrong_name.server_name = "other.example.org".try_into().unwrap();
    let other = Authority::new(scene.dir.path(), "foreign");
    let mut wrong_authority = scene.link(Versions::Any);
    wrong_authority.files.authorities = other.issue(&["x"]).authorities;
    let links = [Link::open(wrong_name).unwrap(), Link::open(wrong_authority).unwrap()];
    until(|| scene.radsec.no_handshake.load(Ordering::Relaxed) >= 4).await;
    assert!(links.iter().all(|link| !link.is_up()));
    let mut by_address = scene.link(Versions::Any);
    by_address.server_name = "127.0.0.1".try_into().unwrap();
    let link = Link::open(by_address).unwrap();
    tokio::time::timeout(SOON, until(|| link.is_up())).await.unwrap();
}
