//! What devices are told over IPv6, and that some of them can do without IPv4.

use std::time::Duration;

use anyhow::Context as _;
use kavadam_gateway::advertise::Nat64Prefix;
use kavadam_gateway::config::Advertiser;

use crate::config::file::{File, Gateway};
use crate::config::problems::Problems;
use crate::units;

/// `MIN_V6ONLY_WAIT` (RFC 8925 §3.4).
const LEAST_WAIT: Duration = Duration::from_mins(5);

/// Finds what the others could not use, and what would lead devices astray.
pub(super) fn check(file: &File, problems: &mut Problems) {
    let gateway = &file.gateway;
    problems.require(
        !gateway.delegated_prefixes || !gateway.lan6.is_empty(),
        "gateway.delegated_prefixes",
        "wants a gateway.lan6 that stays, such as fd00:80::1/64, where devices find the gateway whatever the provider delegates",
    );
    let advertiser = advertiser(gateway);
    if let Err(error) = &advertiser {
        problems.add("gateway.router_advertisements", &error.to_string());
    }
    let key = "gateway.nat64_prefix";
    match nat64(gateway) {
        Err(error) => problems.add(key, &error.to_string()),
        Ok(None) => {}
        Ok(Some(_)) => problems.require(
            !gateway.lan6.is_empty() && matches!(advertiser, Ok(Advertiser::Kavadam) | Err(_)),
            key,
            "is told in our own router advertisements: it wants a gateway.lan6, and router_advertisements = \"kavadam\"",
        ),
    }
    let key = "gateway.ipv6_only_preferred";
    match ipv6_only_wait(gateway) {
        Err(error) => problems.add(key, &error.to_string()),
        Ok(None) => {}
        Ok(Some(_)) => {
            problems.require(
                !gateway.lan6.is_empty() && (gateway.admit_ipv6_only || !gateway.strict),
                key,
                "devices that do without IPv4 hold no lease, and would not be heard: give gateway.lan6 and admit_ipv6_only = true",
            );
            problems.require(
                !gateway.nat64_prefix.is_empty() || matches!(advertiser, Ok(Advertiser::Others)),
                key,
                "devices that do without IPv4 reach the rest of it by a NAT64: say in gateway.nat64_prefix where it is",
            );
        }
    }
}

/// Who advertises.
pub(super) fn advertiser(gateway: &Gateway) -> anyhow::Result<Advertiser> {
    match gateway.router_advertisements.as_str() {
        "kavadam" => Ok(Advertiser::Kavadam),
        "dnsmasq" => Ok(Advertiser::Dnsmasq),
        "none" => Ok(Advertiser::Others),
        _ => anyhow::bail!("use kavadam, dnsmasq or none"),
    }
}

/// Where all of IPv4 is.
pub(super) fn nat64(gateway: &Gateway) -> anyhow::Result<Option<Nat64Prefix>> {
    let text = &gateway.nat64_prefix;
    (!text.is_empty()).then(|| Ok(text.parse()?)).transpose()
}

/// How long devices that can are to do without IPv4.
pub(super) fn ipv6_only_wait(gateway: &Gateway) -> anyhow::Result<Option<Duration>> {
    let text = &gateway.ipv6_only_preferred;
    if text.is_empty() {
        return Ok(None);
    }
    let wait = units::span(text).map_err(anyhow::Error::msg)?;
    let secs = u32::try_from(wait.as_secs()).with_context(|| format!("`{text}` is more than the option holds"))?;
    anyhow::ensure!(
        wait >= LEAST_WAIT,
        "`{text}` is less than 5m, which devices would take it for"
    );
    Ok(Some(Duration::from_secs(secs.into())))
}
