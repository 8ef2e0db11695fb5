//! What is wrong before the start: for `kavadam check`.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use crate::config::GatewayConfig;
use crate::{clock, http, lease, neighbours, pool};

/// Something to be put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Everything found wrong, looking only: interfaces, certificate, addresses, programs. The gateway may be running.
#[must_use]
pub fn check(config: &GatewayConfig) -> Vec<Problem> {
    let mut found = Found(Vec::new());
    if let Err(error) = config.layout().check() {
        found.add(error.to_string(), "correct [gateway]");
    }
    for (key, name) in [("lan_if", &config.lan_if), ("wan_if", &config.wan_if)] {
        if neighbours::own_mac(name).is_err() {
            found.add(
                format!("there is no network interface {name}"),
                &format!("correct gateway.{key}, or create the interface"),
            );
        }
    }
    if !config.lan4.contains(&config.dnsmasq.range4.0) || !config.lan4.contains(&config.dnsmasq.range4.1) {
        found.add(
            format!("the DHCP range is not within {}", config.lan4.trunc()),
            "correct gateway.dnsmasq.range4",
        );
    }
    let (held, addresses) = (given_out(config), config.dnsmasq.pool().addresses);
    if pool::is_nearly_used_up(held, addresses) {
        found.add(
            format!("{held} of {addresses} addresses are given out by DHCP, and newcomers will soon get none"),
            "kavadam gate show: were requests refused, and at which ports? Else widen gateway.dnsmasq.range4 and gateway.lan4, or shorten lease_secs",
        );
    }
    if let Some(api) = &config.api
        && let Err(error) = http::load_certificate(&api.certificate_file, &api.key_file)
    {
        found.add(error.to_string(), "correct [gateway.api]");
    }
    if config.admits_ipv6_only && config.lan6.is_some() && is_ipv4_alone(&config.portal_url) {
        found.add(
            format!("gateway.admit_ipv6_only: who has IPv6 only cannot open {}", config.portal_url),
            "give portal.public_url a name that leads to both families (gateway.api.host_name does), and let portal.listen be [::]:PORT",
        );
    }
    let has_dnsmasq = ["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"]
        .into_iter()
        .any(|path| Path::new(path).exists());
    if !has_dnsmasq {
        found.add("dnsmasq is not installed".to_owned(), "apt-get install dnsmasq-base");
    }
    found.0
}

/// Leases that last, as dnsmasq's file says; none where there is none.
fn given_out(config: &GatewayConfig) -> usize {
    let text = std::fs::read_to_string(&config.lease_file).unwrap_or_default();
    let now = clock::now();
    let lasts = |lease: &lease::Lease| lease.until.is_none_or(|until| until > now);
    lease::read_file(&text).iter().filter(|one| lasts(one)).count()
}

/// Whether an origin has an IPv4 address where others have a name.
fn is_ipv4_alone(origin: &str) -> bool {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    host.parse::<SocketAddrV4>().is_ok() || host.parse::<Ipv4Addr>().is_ok()
}

struct Found(Vec<Problem>);

impl Found {
    fn add(&mut self, what: String, remedy: &str) {
        self.0.push(Problem {
            what,
            remedy: remedy.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_is_nearly_given_out_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = crate::testing::sample_config();
        config.lease_file = dir.path().join("leases");
        config.dnsmasq.range4 = ("10.80.1.1".parse().unwrap(), "10.80.1.10".parse().unwrap());
        let says_so = |leases: u8, over: u8| {
            let line = |expiry: &str, n| format!("{expiry} 02:00:00:00:00:{n:02x} 10.80.1.{n} * *\n");
            let lasting = (0..leases).map(|n| line("0", n));
            let past = (0..over).map(|n| line("1000", 100 + n));
            std::fs::write(&config.lease_file, lasting.chain(past).collect::<String>()).unwrap();
            check(&config).iter().any(|one| one.what.contains("9 of 10 addresses"))
        };
        assert!(says_so(9, 0));
        assert!(!says_so(8, 2), "a lease that is over is none");
    }

    #[test]
    fn a_portal_at_an_ipv4_address_is_out_of_reach_for_who_has_ipv6_only() {
        for (origin, is_so) in [
            ("http://10.80.0.1:8081", true),
            ("https://10.80.0.1", true),
            ("http://[fd00:80::1]:8081", false),
            ("http://gate.wifi.internal:8081", false),
        ] {
            assert_eq!(is_ipv4_alone(origin), is_so, "{origin}");
        }
        let config = crate::config::GatewayConfig {
            admits_ipv6_only: true,
            ..crate::testing::sample_config()
        };
        let told = check(&config);
        assert!(
            told.iter().any(|problem| problem.what.contains("admit_ipv6_only")),
            "{told:?}"
        );
    }
}
