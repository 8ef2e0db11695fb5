//! `kavadam radius test` where there is no centre.

use crate::desk::{Desk, NUMBER, text};
use crate::seen::{Service, says};

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
