//! EAP, which we do not offer, as the supplicant of hostapd's authors meets it: refused at once and properly, not left to time out.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{SECRET, centre};

/// What phones are told to try, with or without a name for the outside.
const METHODS: [(&str, &str); 5] = [
    ("MD5", ""),
    ("PEAP", "anonymous_identity=\"anonymous\"\nphase2=\"auth=MSCHAPV2\""),
    ("TTLS", "anonymous_identity=\"anonymous\"\nphase2=\"auth=PAP\""),
    ("PWD", ""),
    ("GTC", ""),
];

/// Far below the thirty seconds after which `eapol_test` gives up.
const AT_ONCE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_eap_is_refused_at_once_with_an_eap_failure() {
    let centre = centre().await;
    for (method, settings) in METHODS {
        let to = centre.auth;
        let start = Instant::now();
        let said = tokio::task::spawn_blocking(move || eapol_test(method, settings, to));
        let said = said.await.unwrap();
        let took = start.elapsed();
        println!("{method}: refused after {took:?}");
        for wanted in [
            "RADIUS message: code=3 (Access-Reject)",
            "(code=4 id=",
            "from RADIUS server: EAP Failure",
            "CTRL-EVENT-EAP-FAILURE",
        ] {
            assert!(said.contains(wanted), "{method}: {wanted} is missing from\n{said}");
        }
        assert!(took < AT_ONCE, "{method} took {took:?}");
    }
}

/// What it prints. It must have failed: nobody gets in by EAP.
fn eapol_test(method: &str, settings: &str, to: SocketAddr) -> String {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("eapol_test.conf");
    let network = format!(
        "network={{\nkey_mgmt=WPA-EAP\neap={method}\nidentity=\"9876543210\"\npassword=\"123456\"\n{settings}\n}}\n"
    );
    fs::write(&config, network).unwrap();
    let output = Command::new("eapol_test")
        .arg("-c")
        .arg(&config)
        .args(["-a", "127.0.0.1", "-p", &to.port().to_string(), "-s", SECRET])
        .output()
        .expect("eapol_test is missing: install eapoltest (tests/setup.sh test does)");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{method} let somebody in\n{said}");
    said
}
