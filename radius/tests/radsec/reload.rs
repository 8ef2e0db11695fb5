//! Certificates that are replaced while people log in.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use kavadam_radius::client::Client;
use kavadam_radius::tls::{TlsFiles, Versions};
use kavadam_radius::{NasIdentity, Retry};

use crate::certificates::Authority;
use crate::scene::{Call, SOON, Scene, chain, status, up};

const LOOKED: Duration = Duration::from_millis(150);

fn replace(files: &TlsFiles, by: &TlsFiles) {
    fs::copy(&by.key, &files.key).unwrap();
    fs::copy(&by.certificate, &files.certificate).unwrap();
    if by.authorities != files.authorities {
        fs::copy(&by.authorities, &files.authorities).unwrap();
    }
}

#[tokio::test]
async fn new_certificates_serve_new_connections_while_the_old_ones_go_on() {
    let scene = Scene::new();
    let client = Client::over_tls(
        vec![up(scene.link(Versions::Any)).await],
        NasIdentity::default(),
        Retry::default(),
    );
    let (is_over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let traffic = tokio::spawn({
        let (is_over, asked) = (Arc::clone(&is_over), Arc::clone(&asked));
        async move {
            while !is_over.load(Ordering::Relaxed) {
                client.status().await.unwrap();
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let mut old = scene.call(None).await;
    assert!(old.ask(&status(1)).await.is_some());
    let old_gate = TlsFiles {
        authorities: scene.dir.path().join("old.ca.pem"),
        certificate: scene.dir.path().join("old.pem"),
        key: scene.dir.path().join("old.key"),
        revoked: None,
    };
    fs::copy(&scene.gate_files.authorities, &old_gate.authorities).unwrap();
    fs::copy(&scene.gate_files.certificate, &old_gate.certificate).unwrap();
    fs::copy(&scene.gate_files.key, &old_gate.key).unwrap();

    let next = Authority::new(scene.dir.path(), "next");
    let new_server = next.issue(&["centre.example.org"]);
    let new_gate = next.issue(&["gate-7.example.org"]);
    replace(&scene.server_files, &new_server);
    tokio::time::sleep(LOOKED).await;

    let new = Call::new(scene.at, &new_gate, None).await.unwrap();
    let shown = new.0.get_ref().1.peer_certificates().unwrap()[0].clone();
    assert_eq!(shown, chain(&new_server.certificate)[0]);
    assert!({ new }.ask(&status(2)).await.is_some());
    assert!(old.ask(&status(3)).await.is_some(), "an open connection goes on");
    let refused = Call::new(scene.at, &old_gate, None).await;
    assert!(
        refused.is_err(),
        "the old authority's gate does not trust the new server, nor the other way round"
    );

    let before = asked.load(Ordering::Relaxed);
    tokio::time::sleep(LOOKED).await;
    is_over.store(true, Ordering::Relaxed);
    traffic.await.unwrap();
    assert!(asked.load(Ordering::Relaxed) > before && before > 0);
    assert_eq!(
        scene.radsec.connected.load(Ordering::Relaxed),
        3,
        "the link's connection was never replaced"
    );
}

#[tokio::test]
async fn a_pair_that_does_not_fit_leaves_the_old_one_in_place() {
    let scene = Scene::new();
    let other = scene.authority.issue(&["centre.example.org"]);
    fs::copy(&other.certificate, &scene.server_files.certificate).unwrap();
    tokio::time::sleep(LOOKED).await;
    assert!(scene.call(None).await.ask(&status(1)).await.is_some());
    fs::copy(&other.key, &scene.server_files.key).unwrap();
    tokio::time::sleep(LOOKED).await;
    let call = scene.call(None).await;
    assert_eq!(
        call.0.get_ref().1.peer_certificates().unwrap()[0],
        chain(&other.certificate)[0]
    );
}

#[tokio::test]
async fn a_key_that_cannot_be_read_for_a_moment_is_read_when_it_can() {
    let scene = Scene::new();
    let other = scene.authority.issue(&["centre.example.org"]);
    let key = &scene.server_files.key;
    // What root copies is not readable to us before it is given to us, and to root everything is: a directory in its place is not, to anybody.
    let aside = key.with_extension("aside");
    fs::copy(&other.key, &aside).unwrap();
    let copied_at = fs::metadata(&aside).unwrap().modified().unwrap();
    fs::remove_file(key).unwrap();
    fs::create_dir(key).unwrap();
    fs::File::open(key).unwrap().set_modified(copied_at).unwrap();
    fs::copy(&other.certificate, &scene.server_files.certificate).unwrap();
    tokio::time::sleep(LOOKED).await;
    assert!(scene.call(None).await.ask(&status(1)).await.is_some());
    fs::remove_dir(key).unwrap();
    fs::rename(&aside, key).unwrap();
    let new = chain(&other.certificate).remove(0);
    let is_shown = async {
        while scene.call(None).await.0.get_ref().1.peer_certificates().unwrap()[0] != new {
            tokio::time::sleep(LOOKED).await;
        }
    };
    tokio::time::timeout(SOON, is_shown)
        .await
        .expect("it is not read again");
}

#[tokio::test]
async fn a_gate_shows_its_new_certificate_when_it_connects_again() {
    let mut scene = Scene::new();
    let link = up(scene.link(Versions::Any)).await;
    let renewed = scene.authority.issue(&["gate-8.example.org"]);
    scene.centre.tie("gate-8.example.org", 8);
    replace(&scene.gate_files, &renewed);
    tokio::time::sleep(LOOKED).await;
    assert!(link.is_up());
    scene.die().await;
    scene.rise();
    scene.connected(8, 1).await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_apart() {
    let scene = Scene::new();
    let good = &scene.server_files;
    assert_eq!(good.examine().unwrap().len(), 2);
    let other = scene.authority.issue(&["x"]);
    let empty = scene.dir.path().join("empty");
    fs::write(&empty, "").unwrap();
    let missing = scene.dir.path().join("missing");
    for (files, why) in [
        (
            TlsFiles {
                certificate: missing,
                ..good.clone()
            },
            "cannot read",
        ),
        (
            TlsFiles {
                certificate: empty.clone(),
                ..good.clone()
            },
            "holds no certificate",
        ),
        (
            TlsFiles {
                key: other.key,
                ..good.clone()
            },
            "cannot be used",
        ),
        (
            TlsFiles {
                authorities: empty.clone(),
                ..good.clone()
            },
            "holds no certificate",
        ),
        (
            TlsFiles {
                revoked: Some(empty),
                ..good.clone()
            },
            "holds no revocation list",
        ),
    ] {
        let error = files.examine().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
