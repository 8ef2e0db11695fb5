//! OpenSSL's client at our port; radsecproxy before our server, and between our gate's link and our server.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use kavadam_domain::Timestamp;
use kavadam_radius::client::{Client, ClientConfig, ServerAddress};
use kavadam_radius::tls::{TlsFiles, Versions};
use kavadam_radius::{
    AccessReply, AccessRequest, AccountingKind, AccountingRequest, Credential, NasIdentity, Retry, Secret, ServiceType,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::scene::{Paper, Scene, status, up};

const SECRET: &str = "a-secret-of-the-gate";

fn login() -> AccessRequest {
    AccessRequest::new(
        ServiceType::Login,
        "9876543210",
        Credential::Pap(b"123456".to_vec().into()),
    )
}

/// Logs in and reports.
async fn is_served(client: &Client, centre: &Paper) {
    assert!(matches!(
        client.authenticate(&login()).await.unwrap(),
        AccessReply::Reject { message: Some(_) }
    ));
    let now = Timestamp::from_secs(1_800_000_000);
    let mut start = AccountingRequest::new(AccountingKind::Start, "s1", now);
    // Without one radsecproxy acknowledges a report itself, and passes it on to nobody.
    start.user_name = Some("9876543210".into());
    client.account(&start, now).await.unwrap();
    assert_eq!(centre.asked.lock().unwrap().len(), 1);
    assert_eq!(centre.reports.lock().unwrap().len(), 1);
}

/// radsecproxy with what both directions have in common; killed when dropped.
fn radsecproxy(dir: &Path, files: &TlsFiles, rest: &str) -> Child {
    let [ca, certificate, key] = [&files.authorities, &files.certificate, &files.key].map(|path| path.display());
    let text = format!(
        "LogLevel 2\nLogDestination file://{}\ntls default {{\n CACertificateFile {ca}\n CertificateFile {certificate}\n \
         CertificateKeyFile {key}\n}}\n{rest}\nrealm * {{\n server centre\n accountingServer centre\n}}\n",
        dir.join("radsecproxy.log").display()
    );
    let path = dir.join("radsecproxy.conf");
    fs::write(&path, text).unwrap();
    let child = Command::new("radsecproxy")
        .arg("-f")
        .arg("-c")
        .arg(&path)
        .kill_on_drop(true)
        .spawn();
    child.expect("radsecproxy is missing: install radsecproxy (tests/setup.sh test does)")
}

fn free_udp() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn radsecproxy_brings_an_old_gate_to_our_server() {
    let scene = Scene::new();
    let (auth, acct, port) = (free_udp(), free_udp(), scene.at.port());
    let rest = format!(
        "ListenUDP {auth}\nListenUDP {acct}\nclient gate {{\n host 127.0.0.1\n type udp\n secret {SECRET}\n}}\n\
         server centre {{\n host 127.0.0.1\n port {port}\n type tls\n secret radsec\n statusServer on\n}}"
    );
    let _proxy = radsecproxy(scene.dir.path(), &scene.gate_files, &rest);
    scene.connected(7, 1).await;
    let client = Client::new(ClientConfig {
        servers: vec![ServerAddress {
            auth,
            acct,
            secret: Secret::new(SECRET),
        }],
        nas: NasIdentity::default(),
        retry: Retry::default(),
        source: None,
        requires_message_authenticator: false,
    });
    is_served(&client, &scene.centre).await;
}

#[tokio::test]
async fn our_gate_is_served_by_radsecproxy_as_its_server() {
    let scene = Scene::new();
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = scene.at.port();
    let proxy_files = scene.authority.issue(&["centre.example.org", "gate-7.example.org"]);
    let rest = format!(
        "ListenTLS {listen}\nclient gate {{\n host 127.0.0.1\n type tls\n secret radsec\n certificateNameCheck off\n}}\n\
         server centre {{\n host 127.0.0.1\n port {port}\n type tls\n secret radsec\n}}"
    );
    let _proxy = radsecproxy(scene.dir.path(), &proxy_files, &rest);
    let mut config = scene.link(Versions::Any);
    config.address = listen.to_string();
    let client = Client::over_tls(vec![up(config).await], NasIdentity::default(), Retry::default());
    client.status().await.unwrap();
    is_served(&client, &scene.centre).await;
}

#[tokio::test]
async fn openssl_s_client_is_answered_with_tls_1_3_and_refused_with_tls_1_2() {
    let scene = Scene::new();
    for (version, is_served) in [("-tls1_3", true), ("-tls1_2", false)] {
        let files = &scene.gate_files;
        let mut client = Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-verify_return_error",
                "-verify_hostname",
                "centre.example.org",
                version,
            ])
            .args(["-alpn", "radius/1.0", "-connect", &scene.at.to_string()])
            .arg("-cert")
            .arg(&files.certificate)
            .arg("-key")
            .arg(&files.key)
            .arg("-CAfile")
            .arg(&files.authorities)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("openssl is installed");
        let mut stdin = client.stdin.take().unwrap();
        _ = stdin.write_all(&status(5)).await;
        _ = stdin.flush().await;
        let mut answer = [0; 38];
        let read = client.stdout.as_mut().unwrap().read_exact(&mut answer);
        let read = tokio::time::timeout(Duration::from_secs(10), read).await;
        assert_eq!(read.is_ok_and(|read| read.is_ok()), is_served, "{version}");
        assert_eq!(answer[..2] == [2, 5], is_served);
    }
}
