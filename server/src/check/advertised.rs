//! Whether anybody tells devices of the router.

use std::fs;
use std::path::Path;

use kavadam_gateway::GatewayConfig;
use kavadam_gateway::config::Advertiser;

use super::Findings;
use crate::config::Config;

/// `path` is the configuration's own file, by which another gate's process is told from ours.
pub(super) fn look(config: &Config, path: &Path, gateway: &GatewayConfig, findings: &mut Findings) {
    if let (Some(wait), Some(nat64)) = (gateway.ipv6_only_wait, gateway.nat64) {
        findings.note(&format!(
            "gateway.ipv6_only_preferred: devices that can do without IPv4 ask for none for {} s, and reach the rest of it by the translator behind {nat64} alone",
            wait.as_secs()
        ));
    }
    let Some(lan6) = gateway.lan6 else { return };
    if lan6.prefix_len() != 64 {
        findings.unsure(&format!(
            "gateway.lan6: of a prefix of {} bits devices make no addresses, of 64 alone (RFC 4862, RFC 2464)",
            lan6.prefix_len()
        ));
    }
    let dnsmasq = config.file.gateway.dnsmasq.state_dir.join("dnsmasq.conf");
    let dnsmasq = dnsmasq.display().to_string();
    let serves = |one: &Running| one.name == "dnsmasq" && one.words.iter().any(|word| word.ends_with(&dnsmasq));
    let path = path.display().to_string();
    let advertises = |one: &Running| {
        let has = |wanted: &str| one.words.iter().any(|word| word == wanted);
        one.name == "kavadam" && has("advertise") && has(&path)
    };
    match gateway.advertiser {
        Advertiser::Dnsmasq => findings.note(
            "router advertisements are dnsmasq's: devices without DHCPv6 (Android) learn of neither the captive portal nor a translator",
        ),
        Advertiser::Others => findings.note("router advertisements are none of ours (gateway.router_advertisements)"),
        Advertiser::Kavadam => {
            let running = processes();
            if running.iter().any(advertises) {
                findings.good("router advertisements are sent by kavadam, which runs");
            } else if running.iter().any(serves) {
                findings.bad(
                    "nobody sends router advertisements: devices get no IPv6, although DHCP and DNS run",
                    "systemctl restart kavadam-dnsmasq (or kavadam-dnsmasq@…), whose unit starts kavadam-advertise too; by hand: kavadam advertise",
                );
            } else {
                findings.note("router advertisements are not sent yet: kavadam-advertise does not run");
            }
        }
    }
}

struct Running {
    name: String,
    words: Vec<String>,
}

/// As far as they may be seen.
fn processes() -> Vec<Running> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let read = |entry: fs::DirEntry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let words = fs::read(entry.path().join("cmdline")).ok()?;
        Some(Running {
            name: fs::read_to_string(entry.path().join("comm")).ok()?.trim().to_owned(),
            words: words
                .split(|octet| *octet == 0)
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect(),
        })
    };
    entries.filter_map(read).collect()
}
