//! `kavadam radius test` and `sniff` where there is no centre.

use std::process::Command;

use crate::desk::{Desk, NUMBER, text};
use crate::seen::{Service, capture, says};

/// A gateway's configuration, whose servers are at these ports.
fn gateway(auth: u16, acct: u16, more: &str) -> Desk {
    let desk = Desk::new();
    let secret = desk.file("secret", "a-secret-of-thirty-two-octets-xx");
    let config = format!(
        "role = \"gateway\"\nstate_dir = \"{}/state\"\n[gateway]\nnas_identifier = \"gate-1\"\n\
         portal_url = \"http://portal.example\"\nuam_secret_file = \"{secret}\"\n\
         [gateway.radius]\nauth_servers = [\"127.0.0.1:{auth}\"]\nacct_servers = [\"127.0.0.1:{acct}\"]\n\
         secret_file = \"{secret}\"\n{more}",
        desk.dir.path().display()
    );
    std::fs::write(desk.config(), config).unwrap();
    desk
}

#[test]
fn a_test_at_a_gateway_asks_the_gateway_s_own_servers_as_that_gateway() {
    let service = Service::start();
    let desk = gateway(service.auth, service.acct, "");
    let well = desk.run(&["radius", "test", "--show-personal"]);
    says(&well, 0, &["WELL: the server is alive", "NAS-Identifier = \"gate-1\""]);
    assert!(text(&well.stdout).contains(&format!("127.0.0.1:{}", service.auth)));
    let kept = desk.run(&["radius", "test", "start", NUMBER]);
    says(&kept, 0, &["Accounting-Response"]);
    assert!(text(&kept.stdout).contains(&format!("127.0.0.1:{}", service.acct)));
    assert!(!desk.dir.path().join("state").exists(), "a gateway has no database");
}

#[test]
fn a_test_at_a_gateway_that_asks_over_tls_says_that_it_does_not() {
    let tls = "[gateway.radius.tls]\nservers = [\"localhost:2083\"]\ncertificate_file = \"/c\"\nkey_file = \"/k\"\n\
               ca_file = \"/a\"\n";
    let desk = gateway(1812, 1813, tls);
    desk.refused(&["radius", "test"], 1, "over TLS");
    assert!(!desk.dir.path().join("state").exists());
}

#[test]
fn a_gateway_tells_what_passes_between_itself_and_its_servers() {
    let desk = gateway(1812, 1813, "");
    let file = desk.file("trace.pcap", capture(NUMBER));
    let sniff = ["radius", "sniff", "--file", &file];
    let said = desk.done(&sniff);
    for words in ["Access-Request id 9", "[gate-1]", "NO Message-Authenticator"] {
        assert!(said.contains(words), "`{words}` is not in\n{said}");
    }
    assert!(desk.done(&[&sniff[..], &["--nas", "gate-1"]].concat()).contains("id 9"));
    assert_eq!(desk.done(&[&sniff[..], &["--nas", "10.0.0.0/8"]].concat()), "");
    desk.refused(&[&sniff[..], &["--nas", "gate-2"]].concat(), 3, "gate-2");
    let config = std::fs::read_to_string(desk.config()).unwrap();
    let elsewhere = config
        .replace("127.0.0.1:1812", "127.0.0.2:1812")
        .replace("127.0.0.1:1813", "127.0.0.2:1813");
    std::fs::write(desk.config(), elsewhere).unwrap();
    assert!(desk.done(&sniff).contains("not verified: no gate of ours"));
    assert!(!desk.dir.path().join("state").exists(), "a gateway has no database");
}

#[test]
fn a_capture_from_elsewhere_is_told_without_database_and_without_configuration() {
    let desk = Desk::new();
    let file = desk.file("trace.pcap", capture(NUMBER));
    let said = desk.done(&["radius", "sniff", "--file", &file]);
    assert!(
        said.contains("Access-Request id 9, not verified: no gate of ours"),
        "{said}"
    );
    assert!(!said.contains(NUMBER) && !desk.dir.path().join("state").exists());
    let nowhere = desk.dir.path().join("none.toml");
    let bare = Command::new(env!("CARGO_BIN_EXE_kavadam"))
        .arg("--config")
        .arg(&nowhere)
        .args(["radius", "sniff", "--file", &file])
        .output()
        .unwrap();
    assert_eq!(text(&bare.stdout), said, "{}", text(&bare.stderr));
}
