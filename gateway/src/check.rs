//! What is wrong before the start: for `kavadam check`.

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
    if let Some(api) = &config.api
        && let Err(error) = http::load_certificate(&api.certificate_file, &api.key_file)
    {
        found.add(error.to_string(), "correct [gateway.api]");
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
}
