//! The configuration of dnsmasq, which does DHCP and DNS for the devices.

use std::fmt::Write as _;
use std::path::Path;

use crate::config::{Advertiser, GatewayConfig, MOST_LEASES};

/// A line by which it is known of a dnsmasq that runs that router advertisements were left to [`crate::advertise`] when it was started.
pub const ADVERTISED_BY_US: &str = "# Router advertisements are sent by kavadam.";

/// The text of `dnsmasq.conf`. `lease_command` is what dnsmasq runs at each change of a lease, with `add|old|del MAC IP [NAME]`.
#[must_use]
pub fn config_text(config: &GatewayConfig, lease_command: &Path) -> String {
    let dns = &config.dnsmasq;
    let mut text = String::from("# Written by kavadam at each start; changes here are lost.\n");
    let mut line = |line: String| {
        // A line break in a value would be another directive.
        text.push_str(&line.replace(['\n', '\r'], " "));
        text.push('\n');
    };
    line("keep-in-foreground".into());
    line("log-facility=-".into());
    line("pid-file=".into());
    line("no-hosts".into());
    line(format!("interface={}", config.lan_if));
    line("except-interface=lo".into());
    line("bind-dynamic".into());

    line("domain-needed".into());
    line("bogus-priv".into());
    // No stop-dns-rebind: a state's own network serves names that lead to private addresses. Rebinding is met at our doors,
    // which show a device nothing of itself under a foreign Host, and by the packet filter, which lets no device reach another.
    line("cache-size=10000".into());
    // Of these strangers have a small part at most: the door for names sees to it.
    line("dns-forward-max=4096".into());
    if !dns.upstream.is_empty() {
        line("no-resolv".into());
        for server in &dns.upstream {
            line(format!("server={server}"));
        }
    }
    line(format!("domain={}", dns.domain));
    line(format!("local=/{}/", dns.domain));

    let (first, last) = dns.range4;
    let lease_secs = dns.lease.as_secs();
    line("dhcp-authoritative".into());
    // A device is its MAC, as for the gate: whoever sends another's Client Identifier shall not be given its lease.
    line("dhcp-ignore-clid".into());
    // A name that a device gives itself (option 12) would have precedence over the gate's own, and tell others who is here.
    line("dhcp-ignore-names".into());
    if config.is_strict {
        // Nobody without a lease may answer a ping, so asking for three seconds whether an address is free only keeps people waiting.
        line("no-ping".into());
    }
    line(format!(
        "dhcp-range={first},{last},{},{lease_secs}",
        config.lan4.netmask()
    ));
    line(format!("dhcp-option=option:router,{}", config.lan4.addr()));
    line(format!("dhcp-option=option:dns-server,{}", config.lan4.addr()));
    line(format!("dhcp-leasefile={}", config.lease_file.display()));
    line(format!("dhcp-lease-max={MOST_LEASES}"));
    line(format!("dhcp-script={}", lease_command.display()));
    // So that renewals are told of as well.
    line("script-on-renewal".into());
    if let Some(api) = &config.api {
        line(format!("dhcp-option=114,{}", api.url()));
        line(format!("address=/{}/{}", api.host_name, config.lan4.addr()));
        if let Some(lan6) = config.lan6 {
            line(format!("address=/{}/{}", api.host_name, lan6.addr()));
        }
    }
    if let Some(wait) = config.ipv6_only_wait {
        // Four octets (RFC 8925 §3.1), said to those alone who ask for it.
        let [a, b, c, d] = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).to_be_bytes();
        line(format!("dhcp-option=108,{a:02x}:{b:02x}:{c:02x}:{d:02x}"));
    }
    if let Some(lan6) = config.lan6 {
        if config.advertiser == Advertiser::Kavadam {
            line(ADVERTISED_BY_US.into());
        }
        let is_advertising = config.advertiser == Advertiser::Dnsmasq;
        if is_advertising {
            line("enable-ra".into());
        }
        if is_advertising && config.is_delegated {
            // Every two minutes, not ten: devices keep a provider's prefix for no longer than was last advertised, and that may be little.
            line(format!("ra-param={},120", config.lan_if));
        }
        // Addresses by router advertisement; the rest, which is asked for by those who want it, by DHCPv6. Every mode that begins with `ra` would have
        // it advertise; in this one it gives no address, and answers who wants to know the rest.
        let mode = if is_advertising { "ra-stateless" } else { "static" };
        line(format!(
            "dhcp-range=::,constructor:{},{mode},{lease_secs}",
            config.lan_if
        ));
        if let Some(api) = &config.api {
            // RFC 8910 §2.2.
            line(format!("dhcp-option=option6:103,{}", api.url()));
        }
        // The one address that stays, whatever prefixes come and go.
        line(format!("dhcp-option=option6:dns-server,[{}]", lan6.addr()));
    }
    text
}

/// The script dnsmasq runs: a line, for dnsmasq takes a path without arguments.
#[must_use]
pub fn lease_script(kavadam: &Path, lease_socket: &Path) -> String {
    let mut text = String::from("#!/bin/sh\n# Tells kavadam of DHCP leases. Written at each start.\n");
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    let _ = writeln!(
        text,
        "exec {} lease-event --socket {} \"$@\"",
        quoted(kavadam),
        quoted(lease_socket)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_config;

    #[test]
    fn the_configuration_says_what_devices_need() {
        let text = config_text(&sample_config(), Path::new("/run/kavadam/lease-event"));
        for wanted in [
            "interface=lan0\n",
            "dhcp-range=10.80.1.0,10.80.254.255,255.255.0.0,3600\n",
            "dhcp-option=114,https://gate.wifi.internal:8443/captive\n",
            "address=/gate.wifi.internal/10.80.0.1\n",
            "dhcp-script=/run/kavadam/lease-event\n",
            "server=203.0.113.53\n",
            "dhcp-range=::,constructor:lan0,static,3600\n",
            "dhcp-option=option6:103,https://gate.wifi.internal:8443/captive\n",
        ] {
            assert!(text.contains(wanted), "{wanted} is missing from\n{text}");
        }
    }

    #[test]
    fn a_device_has_no_name_whatever_the_doors() {
        let mut config = sample_config();
        (config.lan6, config.api, config.is_strict) = (None, None, false);
        for config in [sample_config(), config] {
            let text = config_text(&config, Path::new("/x"));
            assert!(text.contains("\ndhcp-ignore-names\n"), "{text}");
        }
    }

    #[test]
    fn writes_what_the_sample_shows() {
        let text = config_text(&sample_config(), Path::new("/run/kavadam/lease-event"));
        assert_eq!(text, include_str!("../tests/dnsmasq.conf"));
    }

    #[test]
    fn it_advertises_only_if_it_is_to_and_a_prefix_that_may_go_more_often() {
        let mut config = sample_config();
        config.is_delegated = true;
        for advertiser in [Advertiser::Kavadam, Advertiser::Others] {
            config.advertiser = advertiser;
            let text = config_text(&config, Path::new("/x"));
            assert!(!text.contains("ra-"), "{text}");
            assert_eq!(text.contains(ADVERTISED_BY_US), advertiser == Advertiser::Kavadam);
        }
        config.advertiser = Advertiser::Dnsmasq;
        let text = config_text(&config, Path::new("/x"));
        for wanted in [
            "enable-ra\n",
            "ra-param=lan0,120\n",
            "dhcp-range=::,constructor:lan0,ra-stateless,3600\n",
        ] {
            assert!(text.contains(wanted), "{wanted} is missing from\n{text}");
        }
        assert!(text.contains("dhcp-option=option6:dns-server,[fd00:80::1]\n"), "{text}");
    }

    #[test]
    fn who_can_do_without_ipv4_is_told_for_how_long() {
        let mut config = sample_config();
        assert!(!config_text(&config, Path::new("/x")).contains("108"));
        config.ipv6_only_wait = Some(std::time::Duration::from_mins(30));
        let text = config_text(&config, Path::new("/x"));
        assert!(text.contains("dhcp-option=108,00:00:07:08\n"), "{text}");
    }

    #[test]
    fn says_nothing_of_ipv6_and_the_api_where_there_are_none() {
        let mut config = sample_config();
        (config.lan6, config.api) = (None, None);
        let text = config_text(&config, Path::new("/x"));
        for word in [
            "enable-ra",
            "constructor",
            "114",
            "option6",
            "address=",
            ADVERTISED_BY_US,
        ] {
            assert!(!text.contains(word), "{word}");
        }
    }

    #[test]
    fn dnsmasq_itself_takes_the_text() {
        let Some(dnsmasq) = ["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"]
            .into_iter()
            .find(|path| Path::new(path).exists())
        else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let mut config = sample_config();
        config.lease_file = dir.path().join("leases");
        config.is_delegated = true;
        let path = dir.path().join("dnsmasq.conf");
        std::fs::write(&path, config_text(&config, Path::new("/bin/true"))).unwrap();
        let output = std::process::Command::new(dnsmasq)
            .arg("--test")
            .arg(format!("--conf-file={}", path.display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn a_value_cannot_smuggle_in_a_directive() {
        let mut config = sample_config();
        config.dnsmasq.domain = "a\ndhcp-script=/tmp/evil".into();
        let text = config_text(&config, Path::new("/x"));
        assert_eq!(text.lines().filter(|line| line.starts_with("dhcp-script=")).count(), 1);
    }

    #[test]
    fn the_script_quotes_its_paths() {
        let script = lease_script(Path::new("/opt/it's/kavadam"), Path::new("/run/l.sock"));
        assert!(
            script.contains(r"exec '/opt/it'\''s/kavadam' lease-event --socket '/run/l.sock' "),
            "{script}"
        );
    }
}
