//! OpenSSL's client at our port.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::scene::{Scene, status};

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
