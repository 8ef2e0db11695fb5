//! FreeRADIUS's client, as a stranger would use it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// What radclient prints, the attributes of the answer among it.
pub async fn radclient(to: SocketAddr, kind: &'static str, secret: &'static str, request: String) -> String {
    tokio::task::spawn_blocking(move || {
        let mut child = Command::new("radclient")
            .args(["-x", "-r", "1", "-t", "2", &to.to_string(), kind, secret])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("radclient is missing: install freeradius-utils (tests/setup.sh test does)");
        child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        [output.stdout, output.stderr]
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .concat()
    })
    .await
    .unwrap()
}
