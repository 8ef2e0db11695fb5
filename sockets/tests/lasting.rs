//! An idle connection whose probes are lost, in a network namespace of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use kavadam_sockets::Lasting;

const NAME: &str = "an_idle_connection_outlives_a_lost_probe_and_not_the_loss_of_all";
/// Set for the run within the namespace.
const WITHIN: &str = "KAVADAM_TEST_WITHIN";
const UNACKNOWLEDGED: Duration = Duration::from_secs(6);

/// A connection to this port, and its other end.
fn connected(port: u16) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let near = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (far, _) = listener.accept().unwrap();
    (near, far)
}

fn sh(script: &str) {
    let done = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(
        done.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn an_idle_connection_outlives_a_lost_probe_and_not_the_loss_of_all() {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return eprintln!("left out: it makes a network namespace, which takes root");
    }
    if std::env::var_os(WITHIN).is_none() {
        let within = Command::new("unshare")
            .arg("--net")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(WITHIN, "1")
            .status();
        return assert!(within.unwrap().success());
    }
    sh("ip link set lo up");
    let ((mut near, mut far), (mut lonely, _gone)) = (connected(5001), connected(5002));
    // A probe is of 52 octets: the first to 5001 is lost, as is each to 5002.
    sh("nft add table inet t
        nft add chain inet t in '{ type filter hook input priority 0; }'
        nft add rule inet t in tcp dport 5001 quota 60 bytes counter drop
        nft add rule inet t in tcp dport 5002 drop");
    let lasting = Lasting {
        unacknowledged: UNACKNOWLEDGED,
    };
    let begun = Instant::now();
    for near in [&near, &lonely] {
        lasting.set(near).unwrap();
        near.set_read_timeout(Some(UNACKNOWLEDGED * 3)).unwrap();
    }
    let alone = std::thread::spawn(move || (lonely.read(&mut [0]), begun.elapsed()));
    // Long enough for probes that begin too late.
    std::thread::sleep(UNACKNOWLEDGED * 3);
    sh("nft list chain inet t in | grep -q 'counter packets 1 '");
    far.write_all(&[7]).unwrap();
    near.read_exact(&mut [0]).expect("it stands");
    let (read, after) = alone.join().unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(after >= UNACKNOWLEDGED && after < UNACKNOWLEDGED * 3 / 2, "{after:?}");
}
