mod gateway;

use super::*;

fn problems(text: &str) -> Vec<String> {
    match Config::examine_text(text) {
        Ok((_, problems)) => problems.iter().map(ToString::to_string).collect(),
        Err(problem) => vec![problem.to_string()],
    }
}

const NO_MESSAGES: &str = "sms.route = 'log-nothing'\n";

/// Exactly these keys are complained of.
fn complains_of(text: &str, keys: &[&str]) {
    let found = problems(&format!("{NO_MESSAGES}{text}"));
    for key in keys {
        let start = format!("{key}: ");
        assert!(found.iter().any(|line| line.starts_with(&start)), "{key} in {found:?}");
    }
    assert_eq!(found.len(), keys.len(), "{text}: {found:?}");
}

#[test]
fn the_example_says_the_defaults() {
    let example: File = toml::from_str(EXAMPLE).unwrap();
    assert_eq!(example, File::default());
}

#[test]
fn the_defaults_lack_an_account_for_messages_and_nothing_else() {
    let found = problems("");
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.iter().all(|line| line.starts_with("sms.")), "{found:?}");
    complains_of("", &[]);
}

#[test]
fn one_mistake_hides_no_other() {
    complains_of(
        "role = 'king'\ncolour = 'blue'\nlog = 7\n\
         challenge.number_per_day = -1\nchallenge.device_per_10_min = 0\nradius.auth_listen = 'here'\n\
         [gateway]\ncapture_port = 70000\nlan_if = 7\nwan_if = 'a b'\nwalled_garden = [7]\nlan4 = '10.80.0.1'\n\
         [gateway.api]\nport = 1\n[gateway.dnsmasq]\nrange4 = ['10.80.1.0']\n",
        &[
            "role",
            "colour",
            "log",
            "challenge.number_per_day",
            "challenge.device_per_10_min",
            "radius.auth_listen",
            "gateway.capture_port",
            "gateway.lan_if",
            "gateway.wan_if",
            "gateway.walled_garden",
            "gateway.lan4",
            "gateway.api.port",
            "gateway.dnsmasq.range4",
        ],
    );
}

#[test]
fn a_broken_line_is_told_by_its_place_and_never_shown() {
    for (line, place) in [
        ("url = postgres://kavadam:s3cret@db/kavadam", "line 2, column 7"),
        ("url = \"postgres://kavadam:s3cret@db/kavadam", "line 2, column "),
        ("url = 'postgres://kavadam:s3cret@db/kavadam' s3cret", "line 2, column "),
        ("postgres://kavadam:s3cret@db/kavadam", "line 2, column "),
        (
            "url = 'x'\nurl = 'postgres://kavadam:s3cret@db/kavadam'",
            "line 3, column 1",
        ),
        ("url = ['postgres://kavadam:s3cret@db/kavadam']", "database.url"),
        ("url = 'kavadam:s3cret@db/kavadam'", "database.url"),
    ] {
        let found = problems(&format!("[database]\n{line}\n")).join("\n");
        assert!(found.contains(place) && !found.contains("s3cret"), "{line}: {found}");
    }
}

#[test]
fn a_value_out_of_range_is_told_under_its_own_key() {
    let found = problems("sms.route = 'log-nothing'\ngateway.capture_port = 70000\nrole = 'king'");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found.contains(&"gateway.capture_port: 70000 is out of range".to_owned()),
        "{found:?}"
    );
    assert!(found.iter().any(|line| line.contains("`all-in-one`")), "{found:?}");
}

#[test]
fn listeners_do_not_share_a_port() {
    complains_of("gateway.capture_port = 3990", &["gateway.uam_port", "gateway.uam_port"]);
    complains_of("gateway.uam_port = 8081", &["portal.listen"]);
    complains_of("portal.listen = '0.0.0.0:8080'", &["portal.listen"]);
    complains_of("portal.listen = '10.90.0.1:8080'", &[]);
    complains_of("gateway.coa_listen = '127.0.0.1:1812'", &["gateway.coa_listen"]);
    complains_of(
        "radius.acct_listen = '127.0.0.1:1812'\ngateway.radius.acct_servers = ['127.0.0.1:1812']",
        &["radius.acct_listen"],
    );
}

#[test]
fn the_radius_server_listens_at_one_address_or_at_a_list_of_them() {
    let listen = |text: &str| {
        let (config, problems) = Config::examine_text(&format!("{NO_MESSAGES}{text}")).unwrap();
        assert_eq!(problems, [], "{text}");
        config.radius_listen
    };
    let one = listen("radius.auth_listen = '127.0.0.1:18120'");
    assert_eq!(one.auth.to_string(), "127.0.0.1:18120");
    assert_eq!(one.acct.to_string(), "127.0.0.1:1813");
    let several = listen(
        "radius.auth_listen = ['127.0.0.1:1812', '192.0.2.5:1812', '[2001:db8::5]:1812']\nradius.acct_listen = ['0.0.0.0:1813', '[2001:db8::5]:1813']",
    );
    assert_eq!(
        several.auth.to_string(),
        "127.0.0.1:1812, 192.0.2.5:1812, [2001:db8::5]:1812"
    );
    assert_eq!(several.acct.others, ["[2001:db8::5]:1813".parse().unwrap()]);
    let its_second =
        "gateway.radius.auth_servers = ['192.0.2.5:1812']\nradius.auth_listen = ['127.0.0.1:1812', '192.0.2.5:1812']";
    complains_of(its_second, &[]);
}

#[test]
fn a_list_of_addresses_that_cannot_be_listened_at_is_told_under_its_key() {
    for (list, key) in [
        ("radius.auth_listen = []", "radius.auth_listen"),
        ("radius.auth_listen = ['127.0.0.1:1812', 'here']", "radius.auth_listen"),
        ("radius.auth_listen = ['127.0.0.1:1812', 7]", "radius.auth_listen"),
        ("radius.auth_listen = 7", "radius.auth_listen"),
        (
            "radius.acct_listen = ['127.0.0.1:1813', '127.0.0.1:1813']",
            "radius.acct_listen",
        ),
        (
            "radius.acct_listen = ['127.0.0.1:1813', '[::]:1813']",
            "radius.acct_listen",
        ),
        (
            "radius.acct_listen = ['127.0.0.1:1813', '192.0.2.5:1812']\nradius.auth_listen = ['127.0.0.1:1812', '0.0.0.0:1812']",
            "radius.auth_listen",
        ),
        ("portal.listen = ['127.0.0.1:80']", "portal.listen"),
    ] {
        let found = problems(&format!("{NO_MESSAGES}{list}"));
        assert!(!found.is_empty() && found[0].starts_with(key), "{list}: {found:?}");
    }
}

#[test]
fn figures_that_cannot_work_are_refused() {
    for (text, key) in [
        ("gateway.lan_if = 'a b'", "gateway.lan_if"),
        ("gateway.lan_if = ''", "gateway.lan_if"),
        ("gateway.lan_if = 'wan0'", "gateway.wan_if"),
        ("gateway.nas_identifier = ''", "gateway.nas_identifier"),
        (
            "gateway.lan6 = ''\ngateway.delegated_prefixes = true",
            "gateway.delegated_prefixes",
        ),
        ("gateway.max_sessions = 0", "gateway.max_sessions"),
        ("gateway.max_sessions = 2000000", "gateway.max_sessions"),
        (
            "gateway.lan4 = '10.80.0.1/15'\ngateway.dnsmasq.range4 = ['10.80.1.0', '10.81.1.0']",
            "gateway.dnsmasq.range4",
        ),
        ("gateway.interim_secs = 0", "gateway.interim_secs"),
        ("gateway.capture_port = 0", "gateway.capture_port"),
        ("gateway.radius.timeout_ms = 0", "gateway.radius.timeout_ms"),
        ("gateway.radius.retries = 1000", "gateway.radius.retries"),
        (
            "gateway.radius.auth_servers = ['10.9.9.9:1812']",
            "gateway.radius.auth_servers",
        ),
        (
            "gateway.radius.auth_servers = ['[fd00::9]:1812']",
            "gateway.radius.auth_servers",
        ),
        ("radius.tls.version = '1.2'", "radius.tls.version"),
        ("radius.tls.max_per_source = 0", "radius.tls.max_per_source"),
        (
            "radius.tls.certificate_file = '/c'\nradius.tls.key_file = '/k'",
            "radius.tls.client_ca_file",
        ),
        (
            "gateway.radius.tls = { servers = ['r:2083'], certificate_file = '/c', key_file = '/k', ca_file = '/a' }",
            "gateway.radius.tls.servers",
        ),
        ("gateway.other_lans = ['lan0']", "gateway.other_lans"),
        ("gateway.other_lans = ['a b=x']", "gateway.other_lans"),
        ("gateway.other_lans = ['lan1=kavadam']", "gateway.other_lans"),
        ("gateway.other_lans = ['lan1=']", "gateway.other_lans"),
        ("gateway.table = 'a;b'", "gateway.table"),
        ("gateway.local_ports = [0]", "gateway.local_ports"),
        ("gateway.nat.addresses = ['198.51.100.2']", "gateway.nat"),
        ("gateway.nat.addresses = ['2001:db8::1']", "gateway.nat"),
        (
            "gateway.nat = { addresses = ['198.51.100.2'], ports_each = 0 }",
            "gateway.nat",
        ),
        ("gateway.burst = '2'", "gateway.burst"),
        ("gateway.burst = '5GB'", "gateway.burst"),
        ("gateway.uplink.up = '20Mbit'", "gateway.uplink"),
        ("gateway.uplink = { up = '20Mbit', down = '100' }", "gateway.uplink"),
        ("gateway.uplink = { up = '20Mbit', down = '1kbit' }", "gateway.uplink"),
        ("gateway.uplink = { up = '31Gbit', down = '1Mbit' }", "gateway.uplink"),
        ("gateway.dnsmasq.lease_secs = 1", "gateway.dnsmasq.lease_secs"),
        (
            "gateway.dnsmasq.port_share_percent = 0",
            "gateway.dnsmasq.port_share_percent",
        ),
        (
            "gateway.dnsmasq.port_share_percent = 101",
            "gateway.dnsmasq.port_share_percent",
        ),
        (
            "gateway.dnsmasq.range4 = ['10.80.2.0', '10.80.1.0']",
            "gateway.dnsmasq.range4",
        ),
        (
            "gateway.dnsmasq.range4 = ['10.80.200.0', '10.81.1.0']",
            "gateway.dnsmasq.range4",
        ),
        ("gateway.dnsmasq.range4 = ['10.80.1.0', 'x']", "gateway.dnsmasq.range4"),
        ("gateway.lan6 = 'fd00::1'", "gateway.lan6"),
        ("challenge.site_per_minute = 0", "challenge.site_per_minute"),
        ("challenge.resend_after_secs = 0", "challenge.resend_after_secs"),
        ("database.url = 'mysql://x'", "database.url"),
        ("log.level = 'loud'", "log.level"),
    ] {
        complains_of(text, &[key]);
    }
    let found = problems(
        "[sms]\nusername = 'u'\npassword_file = '/p'\nsecure_key_file = '/k'\ntemplate_id_en = '1'\ntemplate_id_ml = '2'\nurl = 'ftp://x'",
    );
    assert_eq!(found, ["sms.url: begin with https://"]);
}

#[test]
fn a_slash_at_the_end_of_the_portals_address_is_in_no_redirect() {
    let dir = tempfile::tempdir().unwrap();
    let url = |text: &str| {
        let path = dir.path().join("kavadam.toml");
        std::fs::write(&path, format!("{NO_MESSAGES}{text}")).unwrap();
        Config::load(&path).unwrap().gateway_outline().unwrap().portal_url
    };
    let plain = "http://10.80.0.1:8081";
    assert_eq!(url("portal.public_url = 'http://10.80.0.1:8081/'"), plain);
    assert_eq!(url("gateway.portal_url = 'http://10.80.0.1:8081/'"), plain);
    assert_eq!(url(""), plain);
}

#[test]
fn a_portal_beside_its_gate_is_not_where_strangers_are_caught() {
    for url in [
        "http://10.80.0.1",
        "http://10.80.0.1:80/",
        "https://wifi.example.in",
        "https://10.80.0.1:8081",
    ] {
        complains_of(&format!("portal.public_url = '{url}'"), &["portal.public_url"]);
        let text = format!("portal.public_url = '{url}'\nportal.listen = '10.90.0.1:80'");
        complains_of(&format!("role = 'centre'\n{text}"), &[]);
    }
    complains_of("gateway.portal_url = 'http://10.80.0.1'", &["gateway.portal_url"]);
    let alone = "role = 'gateway'\ngateway.uam_secret_file = '/u'\ngateway.radius.secret_file = '/r'\n";
    for (url, keys) in [
        ("http://10.80.0.1", &["gateway.portal_url"][..]),
        ("http://[fd00:80::1]", &["gateway.portal_url"]),
        ("https://10.80.0.1:8443", &["gateway.portal_url"]),
        ("http://192.0.2.5", &[]),
        ("https://portal.example.in", &[]),
    ] {
        complains_of(&format!("{alone}gateway.portal_url = '{url}'"), keys);
    }
}

#[test]
fn a_centre_is_not_asked_for_a_gateways_values() {
    complains_of("role = 'centre'\ngateway.lan_if = 'a b'", &[]);
}

#[test]
fn a_half_of_the_centre_needs_postgresql_and_a_key_of_its_own() {
    complains_of("role = 'portal'", &["database.url", "secrets.master_key_file"]);
    complains_of(
        "role = 'radius'\ndatabase.url = 'postgres://k@db/k'\nsecrets.master_key_file = '/k'",
        &[],
    );
}

#[test]
fn a_password_in_a_file_that_everybody_reads_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kavadam.toml");
    let look = |url: &str, mode: u32| {
        std::fs::write(&path, format!("{NO_MESSAGES}database.url = '{url}'")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Config::load(&path).map_err(|error| error.to_string())
    };
    let refused = look("postgres://kavadam:s3@cret@db/kavadam", 0o644).unwrap_err();
    assert!(refused.contains("chmod 640") && !refused.contains("cret"), "{refused}");
    assert!(look("postgres://kavadam:password@db/kavadam", 0o640).is_ok());
    assert!(look("postgres://kavadam@db/kavadam", 0o644).is_ok());
    assert!(look("postgres:///kavadam?host=/run/postgresql", 0o644).is_ok());
}

#[test]
fn a_gateways_rules_wait_for_no_other_part_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kavadam.toml");
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Config::load_gateway(&path)
    };
    assert!(load("gateway.lan_if = 'eth1'\nsms.route = 'pigeon'\nlog.level = 'loud'").is_ok());
    assert!(
        load("gatway.lan_if = 'eth1'").is_err(),
        "a rule for the wrong interface would close nothing"
    );
    assert!(load("gateway.lan_if = 'a b'").is_err());
}

#[test]
fn an_outline_of_the_gateway_makes_no_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("{NO_MESSAGES}state_dir = '{}'", dir.path().display());
    let (config, _) = Config::examine_text(&text).unwrap();
    config.gateway_outline().unwrap();
    assert_eq!(config.secret_problems(), []);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    config.gateway().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

/// A gateway that needs nothing but its RADIUS servers.
const GATEWAY: &str = "role = 'gateway'\ngateway.portal_url = 'http://p'\ngateway.uam_secret_file = '/u'\n";

#[test]
fn a_gateway_that_asks_over_tls_needs_no_shared_secret_unless_others_give_orders() {
    let tls = "gateway.radius.tls = { servers = ['radius.example.org:2083'], certificate_file = '/c', key_file = '/k', ca_file = '/a' }";
    complains_of(&format!("{GATEWAY}{tls}"), &[]);
    let orders = "gateway.radius.order_sources = ['192.0.2.1/32']";
    complains_of(&format!("{GATEWAY}{orders}\n{tls}"), &["gateway.radius.secret_file"]);
    complains_of(GATEWAY, &["gateway.radius.secret_file"]);
}

#[test]
fn a_server_over_tls_is_named_by_host_and_port() {
    for (address, is_one) in [
        ("radius.example.org:2083", true),
        ("192.0.2.1:2083", true),
        ("[2001:db8::1]:2083", true),
        ("radius.example.org", false),
        ("radius.example.org:0", false),
        ("two words:2083", false),
        (":2083", false),
    ] {
        for name in ["", "radius.example.org"] {
            let tls = format!(
                "gateway.radius.tls = {{ servers = ['{address}'], server_name = '{name}', certificate_file = '/c', key_file = '/k', ca_file = '/a' }}"
            );
            let expected: &[&str] = if is_one { &[] } else { &["gateway.radius.tls.servers"] };
            complains_of(&format!("{GATEWAY}{tls}"), expected);
        }
    }
}
