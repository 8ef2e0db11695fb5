//! The gateway's part of the configuration.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kavadam_gateway::GatewayConfig;
use kavadam_gateway::config::{ApiConfig, DnsmasqConfig, RadiusConfig};
use kavadam_radius::Secret;

use super::{File, Problems, Role, local_secret, read_secret};

/// Finds what [`build`] could not use.
pub(super) fn check(file: &File, problems: &mut Problems) {
    let gateway = &file.gateway;
    let _: Option<Ipv4Net> = problems.read("gateway.lan4", &gateway.lan4, "ADDRESS/LENGTH, such as 10.80.0.1/16");
    if !gateway.lan6.is_empty() {
        let _: Option<Ipv6Net> = problems.read("gateway.lan6", &gateway.lan6, "ADDRESS/LENGTH, such as fd00:80::1/64");
    }
    let _: Option<SocketAddr> = problems.read("gateway.coa_listen", &gateway.coa_listen, "ADDRESS:PORT");
    for address in &gateway.walled_garden {
        let _: Option<IpAddr> = problems.read("gateway.walled_garden", address, "an address");
    }
    for address in gateway.radius.auth_servers.iter().chain(&gateway.radius.acct_servers) {
        let _: Option<SocketAddr> = problems.read("gateway.radius", address, "ADDRESS:PORT");
    }
    for network in &gateway.radius.order_sources {
        let _: Option<IpNet> = problems.read("gateway.radius.order_sources", network, "ADDRESS/LENGTH");
    }
    if gateway.radius.auth_servers.is_empty() {
        problems.add("gateway.radius.auth_servers", "name at least one");
    }
    if gateway.radius.auth_servers.len() != gateway.radius.acct_servers.len() {
        problems.add(
            "gateway.radius.acct_servers",
            "name as many as auth_servers, in the same order",
        );
    }
    for address in &gateway.dnsmasq.range4 {
        let _: Option<Ipv4Addr> = problems.read("gateway.dnsmasq.range4", address, "an IPv4 address");
    }
    for address in &gateway.dnsmasq.upstream {
        let _: Option<IpAddr> = problems.read("gateway.dnsmasq.upstream", address, "an address");
    }
    if !gateway.portal_url.is_empty() {
        let _: Option<kavadam_portal::PublicUrl> = problems.read(
            "gateway.portal_url",
            &gateway.portal_url,
            "http://host[:port] without a path",
        );
    }
    if is_api_on(file) {
        let _: Option<SocketAddr> = problems.read("gateway.api.listen", &gateway.api.listen, "ADDRESS:PORT");
        if gateway.api.host_name.is_empty() {
            problems.add("gateway.api.host_name", "give the name in the certificate");
        }
    }
    if file.role == Role::Gateway {
        for (key, path) in [
            ("gateway.uam_secret_file", &gateway.uam_secret_file),
            ("gateway.radius.secret_file", &gateway.radius.secret_file),
        ] {
            if let Err(error) = read_secret(path) {
                problems.add(key, &error.to_string());
            }
        }
        if gateway.portal_url.is_empty() {
            problems.add("gateway.portal_url", "say where the portal is");
        }
    }
}

fn is_api_on(file: &File) -> bool {
    !file.gateway.api.certificate_file.as_os_str().is_empty()
}

/// The secret in a file, or the all-in-one's own.
fn secret(file: &File, path: &Path, own: &str) -> anyhow::Result<Secret> {
    let text = if path.as_os_str().is_empty() {
        local_secret(&file.state_dir.join(own))?
    } else {
        read_secret(path)?
    };
    Ok(Secret::new(text.as_bytes()))
}

/// Where dnsmasq's lease script writes.
fn runtime_dir(file: &File) -> PathBuf {
    std::env::var_os("RUNTIME_DIRECTORY").map_or_else(|| file.state_dir.clone(), PathBuf::from)
}

pub(super) fn build(file: &File) -> anyhow::Result<GatewayConfig> {
    let gateway = &file.gateway;
    let servers = gateway.radius.auth_servers.iter().zip(&gateway.radius.acct_servers);
    let servers = servers.map(|(auth, acct)| Ok((auth.parse()?, acct.parse()?)));
    let sources = gateway.radius.order_sources.iter().map(|text| text.parse());
    let addresses = |list: &[String]| list.iter().map(|text| text.parse()).collect::<Result<Vec<IpAddr>, _>>();
    let portal_port = file
        .portal
        .listen
        .parse::<SocketAddr>()
        .ok()
        .map(|address| address.port());
    let [first, last] = &gateway.dnsmasq.range4;
    let api = is_api_on(file).then(|| {
        anyhow::Ok(ApiConfig {
            listen: gateway.api.listen.parse()?,
            host_name: gateway.api.host_name.clone(),
            certificate_file: gateway.api.certificate_file.clone(),
            key_file: gateway.api.key_file.clone(),
            venue_info_url: None,
        })
    });
    Ok(GatewayConfig {
        nas_identifier: gateway.nas_identifier.clone(),
        state_dir: file.state_dir.clone(),
        lease_socket: runtime_dir(file).join("lease.sock"),
        lease_file: file.state_dir.join("dnsmasq.leases"),
        lan_if: gateway.lan_if.clone(),
        wan_if: gateway.wan_if.clone(),
        lan4: gateway.lan4.parse().context("gateway.lan4")?,
        lan6: (!gateway.lan6.is_empty())
            .then(|| gateway.lan6.parse())
            .transpose()
            .context("gateway.lan6")?,
        capture_port: gateway.capture_port,
        uam_port: gateway.uam_port,
        other_ports: portal_port.filter(|_| file.role.has_portal()).into_iter().collect(),
        portal_url: match gateway.portal_url.as_str() {
            "" => file.portal.public_url.clone(),
            url => url.to_owned(),
        },
        uam_secret: secret(file, &gateway.uam_secret_file, "local-uam.secret")?,
        is_strict: gateway.strict,
        max_sessions: gateway.max_sessions,
        walled_garden: addresses(&gateway.walled_garden).context("gateway.walled_garden")?,
        interim: Duration::from_secs(u64::from(gateway.interim_secs)),
        radius: RadiusConfig {
            servers: servers.collect::<anyhow::Result<_>>().context("gateway.radius")?,
            order_sources: sources
                .collect::<Result<_, _>>()
                .context("gateway.radius.order_sources")?,
            secret: secret(file, &gateway.radius.secret_file, "local-nas.secret")?,
            timeout: Duration::from_millis(u64::from(gateway.radius.timeout_ms)),
            retries: gateway.radius.retries,
        },
        coa_listen: gateway.coa_listen.parse().context("gateway.coa_listen")?,
        api: api.transpose().context("gateway.api")?,
        dnsmasq: DnsmasqConfig {
            lease: Duration::from_secs(u64::from(gateway.dnsmasq.lease_secs)),
            range4: (first.parse()?, last.parse()?),
            upstream: addresses(&gateway.dnsmasq.upstream).context("gateway.dnsmasq.upstream")?,
            domain: gateway.dnsmasq.domain.clone(),
        },
    })
}
