//! What is wrong before the start: for `kavadam check`.

use std::net::SocketAddr;
use std::path::Path;

use crate::config::GatewayConfig;
use crate::{http, neighbours};

/// Something to be put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Everything found wrong, looking only: ports, interfaces, certificate, addresses, programs. Ports count as free while
/// nothing listens there, so it is for a gateway that is not running. Needs a Tokio runtime.
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
    for ip in config.lan_addresses() {
        found.port("gateway.capture_port", SocketAddr::new(ip, config.capture_port));
        found.port("gateway.uam_port", SocketAddr::new(ip, config.uam_port));
    }
    if !config.lan4.contains(&config.dnsmasq.range4.0) || !config.lan4.contains(&config.dnsmasq.range4.1) {
        found.add(
            format!("the DHCP range is not within {}", config.lan4.trunc()),
            "correct gateway.dnsmasq.range4",
        );
    }
    match &config.api {
        None => found.add(
            "the captive portal API (RFC 8908) is off".to_owned(),
            "give a certificate and key in [gateway.api]; without them devices find the portal by being redirected",
        ),
        Some(api) => {
            found.port("gateway.api.listen", api.listen);
            if let Err(error) = http::load_certificate(&api.certificate_file, &api.key_file) {
                found.add(error.to_string(), "correct [gateway.api]");
            }
        }
    }
    let has_dnsmasq = ["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"]
        .into_iter()
        .any(|path| Path::new(path).exists());
    if !has_dnsmasq {
        found.add("dnsmasq is not installed".to_owned(), "apt-get install dnsmasq-base");
    }
    found.0
}

struct Found(Vec<Problem>);

impl Found {
    fn add(&mut self, what: String, remedy: &str) {
        self.0.push(Problem {
            what,
            remedy: remedy.to_owned(),
        });
    }

    fn port(&mut self, key: &str, address: SocketAddr) {
        if let Err(error) = http::listen(address) {
            self.add(
                format!("{key}: cannot listen on {address}: {error}"),
                "end what listens there, or choose another port",
            );
        }
    }
}
