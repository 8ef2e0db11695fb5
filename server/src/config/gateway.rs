//! The gateway's part of the configuration.

mod blocked;
mod classes;
mod ipv6;
mod values;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kavadam_gateway::config::{ApiConfig, DnsmasqConfig, MOST_LEASES, RadiusConfig};
use kavadam_gateway::{GatewayConfig, OtherLan, is_table_name};
use kavadam_radius::Secret;
use zeroize::Zeroizing;

use super::problems::Problems;
use super::secret::{local_secret, read_secret};
use super::{File, Listen, Role, tls};
use values::{burst, garden, other_lan, ports, uplink};

/// The longest name of an interface that the kernel takes.
const INTERFACE_OCTETS: usize = 15;

/// Finds what [`build`] could not use, and what could not work.
pub(super) fn check(file: &File, problems: &mut Problems) {
    let gateway = &file.gateway;
    problems.require(
        !gateway.nas_identifier.is_empty(),
        "gateway.nas_identifier",
        "give the gate a name",
    );
    let others: Vec<OtherLan> = gateway.other_lans.iter().map(|text| other_lan(text)).collect();
    let named = others.iter().map(|other| ("gateway.other_lans", &other.interface));
    let own = [("gateway.lan_if", &gateway.lan_if), ("gateway.wan_if", &gateway.wan_if)];
    for (key, name) in own.into_iter().chain(named) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
        let is_name = (1..=INTERFACE_OCTETS).contains(&name.len()) && name.chars().all(allowed);
        problems.require(is_name, key, &format!("`{name}` is no name of an interface"));
    }
    problems.require(
        gateway.lan_if != gateway.wan_if,
        "gateway.wan_if",
        "must be another interface than gateway.lan_if",
    );
    for OtherLan { interface, table } in &others {
        problems.require(
            *interface != gateway.lan_if && *interface != gateway.wan_if,
            "gateway.other_lans",
            "names the LANs of other gates of this machine, not our own interfaces",
        );
        let text = format!("the gate of {interface} cannot have the table `{table}`: each has its own (gateway.table)");
        problems.require(
            *table != gateway.table && is_table_name(table),
            "gateway.other_lans",
            &text,
        );
    }
    problems.require(
        is_table_name(&gateway.table),
        "gateway.table",
        "a letter, then letters, digits, - and _, 31 at most, and not kavadam-shut",
    );
    problems.require(
        !gateway.local_ports.contains(&0),
        "gateway.local_ports",
        "there is no port 0",
    );
    numbers(file, problems);
    addresses(file, problems);
    servers(file, problems);
    tls::check_gateway(file, problems);
    if !gateway.portal_url.is_empty() {
        let _: Option<kavadam_portal::PublicUrl> = problems.read(
            "gateway.portal_url",
            &gateway.portal_url,
            "http://host[:port] without a path",
        );
    }
    if let Ok(url) = portal_url(file) {
        local_portal(file, &url, problems);
    }
    if is_api_on(file) {
        let _: Option<SocketAddr> = problems.read("gateway.api.listen", &gateway.api.listen, "ADDRESS:PORT");
        problems.require(
            !gateway.api.host_name.is_empty(),
            "gateway.api.host_name",
            "give the name in the certificate",
        );
        let venue = gateway.api.venue_info_url.as_str();
        let is_url = venue.is_empty() || venue.starts_with("https://") || venue.starts_with("http://");
        problems.require(
            is_url && !venue.contains(char::is_whitespace),
            "gateway.api.venue_info_url",
            "give an https:// address, or leave it empty",
        );
    }
    if file.role == Role::Gateway {
        for (key, path, is_needed) in [
            ("gateway.uam_secret_file", &gateway.uam_secret_file, true),
            (
                "gateway.radius.secret_file",
                &gateway.radius.secret_file,
                needs_secret(file),
            ),
        ] {
            let is_there = !is_needed || !path.as_os_str().is_empty();
            problems.require(is_there, key, "name the file that holds it");
        }
        problems.require(
            !gateway.portal_url.is_empty(),
            "gateway.portal_url",
            "say where the portal is",
        );
    }
}

/// A portal of this machine stands where a stranger's browser gets to it, and where it sees whose browser that is.
fn local_portal(file: &File, url: &kavadam_portal::PublicUrl, problems: &mut Problems) {
    let (host, port) = url.host_and_port();
    let own = [&file.gateway.lan4, &file.gateway.lan6].map(|text| text.parse().map(|net: IpNet| net.addr()));
    let is_own = |address: IpAddr| own.contains(&Ok(address));
    let (key, is_ours) = match file.gateway.portal_url.as_str() {
        "" => ("portal.public_url", file.role.has_portal()),
        _ => ("gateway.portal_url", false),
    };
    if !is_ours && !host.parse().is_ok_and(is_own) {
        return;
    }
    problems.require(
        !url.is_https(),
        key,
        "the portal of the gate's own machine speaks no TLS, and behind a proxy there it would not see the devices: begin with http://",
    );
    problems.require(
        url.is_https() || port != 80,
        key,
        "strangers' port 80 of every address, ours too, is led to where they are sent to the portal, so that this one would lead to itself for ever: \
         give the portal another port, such as 8081 (portal.listen too)",
    );
}

fn numbers(file: &File, problems: &mut Problems) {
    let gateway = &file.gateway;
    for (key, value, least, most) in [
        ("gateway.capture_port", u32::from(gateway.capture_port), 1, 65_535),
        ("gateway.uam_port", u32::from(gateway.uam_port), 1, 65_535),
        // Below are dnsmasq's own and those that only root may open.
        ("gateway.names_port", u32::from(gateway.names_port), 1024, 65_535),
        (
            "gateway.citizen_names_port",
            u32::from(gateway.citizen_names_port),
            1024,
            65_535,
        ),
        ("gateway.max_sessions", gateway.max_sessions, 1, 1_000_000),
        ("gateway.interim_secs", gateway.interim_secs, 10, 86_400),
        ("gateway.radius.timeout_ms", gateway.radius.timeout_ms, 100, 60_000),
        ("gateway.radius.retries", gateway.radius.retries, 0, 10),
        // dnsmasq itself takes no less.
        ("gateway.dnsmasq.lease_secs", gateway.dnsmasq.lease_secs, 120, 604_800),
        (
            "gateway.dnsmasq.port_share_percent",
            u32::from(gateway.dnsmasq.port_share_percent),
            1,
            100,
        ),
    ] {
        let text = format!("{value} is not within {least} to {most}");
        problems.require((least..=most).contains(&value), key, &text);
    }
}

fn addresses(file: &File, problems: &mut Problems) {
    let gateway = &file.gateway;
    let lan4: Option<Ipv4Net> = problems.read("gateway.lan4", &gateway.lan4, "ADDRESS/LENGTH, such as 10.80.0.1/16");
    if !gateway.lan6.is_empty() {
        let _: Option<Ipv6Net> = problems.read("gateway.lan6", &gateway.lan6, "ADDRESS/LENGTH, such as fd00:80::1/64");
    }
    let _: Option<SocketAddr> = problems.read("gateway.coa_listen", &gateway.coa_listen, "ADDRESS:PORT");
    for (key, entries) in [
        ("gateway.walled_garden", &gateway.walled_garden),
        ("gateway.free", &gateway.free),
    ] {
        if let Err(error) = garden(entries) {
            problems.require(false, key, &error.to_string());
        }
    }
    blocked::check(file, problems);
    ipv6::check(file, problems);
    if let Err(error) = burst(file) {
        problems.add("gateway.burst", &error.to_string());
    }
    if let Err(error) = ports(file) {
        problems.add("gateway.nat", &format!("{error:#}"));
    }
    if let Err(error) = uplink(file) {
        problems.add("gateway.uplink", &format!("{error:#}"));
    }
    classes::check(file, problems);
    for address in &gateway.dnsmasq.upstream {
        let _: Option<IpAddr> = problems.read("gateway.dnsmasq.upstream", address, "an address");
    }
    let key = "gateway.dnsmasq.range4";
    let [first, last] = &gateway.dnsmasq.range4;
    let range: [Option<Ipv4Addr>; 2] = [first, last].map(|address| problems.read(key, address, "an IPv4 address"));
    if let [Some(first), Some(last)] = range {
        problems.require(first <= last, key, "the first address is beyond the last");
        let addresses = u32::from(last).saturating_sub(u32::from(first)).saturating_add(1);
        let text = format!(
            "{addresses} addresses are more than dnsmasq can give out: {MOST_LEASES} at most; for more people give the machine several LANs, each with \
             a gate of its own, or several machines"
        );
        problems.require(addresses <= MOST_LEASES, key, &text);
        if let Some(lan4) = lan4 {
            let is_inside = lan4.contains(&first) && lan4.contains(&last);
            problems.require(
                is_inside,
                key,
                &format!("must lie within gateway.lan4, {}", lan4.trunc()),
            );
        }
    }
    if let Some(lan4) = lan4 {
        let text = format!("{lan4} has no room for a citizen");
        problems.require(lan4.prefix_len() <= 30, "gateway.lan4", &text);
    }
}

fn servers(file: &File, problems: &mut Problems) {
    let radius = &file.gateway.radius;
    for network in &radius.order_sources {
        let _: Option<IpNet> = problems.read("gateway.radius.order_sources", network, "ADDRESS/LENGTH");
    }
    let (auth, acct) = ("gateway.radius.auth_servers", "gateway.radius.acct_servers");
    problems.require(!radius.auth_servers.is_empty(), auth, "name at least one");
    problems.require(
        radius.auth_servers.len() == radius.acct_servers.len(),
        acct,
        "name as many as auth_servers, in the same order",
    );
    for (key, servers, listen) in [
        (auth, &radius.auth_servers, &file.radius.auth_listen),
        (acct, &radius.acct_servers, &file.radius.acct_listen),
    ] {
        let own: Vec<SocketAddr> = listen.texts().iter().filter_map(|text| text.parse().ok()).collect();
        for address in servers {
            let server: Option<SocketAddr> = problems.read(key, address, "ADDRESS:PORT");
            if let (Role::AllInOne, Some(server), Some(first)) = (file.role, server, own.first()) {
                // Not its ports: a RADIUS proxy of this machine may stand between.
                let is_own = server.ip().is_loopback() || own.iter().any(|own| own.ip() == server.ip());
                let text =
                    format!("an all-in-one asks its own centre, at {first}; use role = \"gateway\" to ask {server}");
                problems.require(is_own, key, &text);
            }
        }
    }
}

/// Whether anybody is spoken to under the shared secret.
fn needs_secret(file: &File) -> bool {
    !tls::is_asked(file) || !file.gateway.radius.order_sources.is_empty()
}

fn is_api_on(file: &File) -> bool {
    !file.gateway.api.certificate_file.as_os_str().is_empty()
}

/// TCP ports of the gateway that the configuration names, with their keys.
pub(super) fn tcp_listens(file: &File) -> Vec<(&'static str, SocketAddr)> {
    let gateway = &file.gateway;
    let mut listens = Vec::new();
    let lan4 = gateway.lan4.parse().map(|net: Ipv4Net| IpAddr::V4(net.addr()));
    let lan6 = gateway.lan6.parse().map(|net: Ipv6Net| IpAddr::V6(net.addr()));
    for address in [lan4, lan6].into_iter().flatten() {
        listens.push(("gateway.capture_port", SocketAddr::new(address, gateway.capture_port)));
        listens.push(("gateway.uam_port", SocketAddr::new(address, gateway.uam_port)));
        listens.push(("gateway.names_port", SocketAddr::new(address, gateway.names_port)));
        listens.push((
            "gateway.citizen_names_port",
            SocketAddr::new(address, gateway.citizen_names_port),
        ));
    }
    if is_api_on(file) {
        listens.extend(gateway.api.listen.parse().map(|listen| ("gateway.api.listen", listen)));
    }
    listens
}

/// UDP ports likewise.
pub(super) fn udp_listens(file: &File) -> Option<(&'static str, SocketAddr)> {
    let listen = file.gateway.coa_listen.parse().ok()?;
    Some(("gateway.coa_listen", listen))
}

/// Where dnsmasq answers: names on our address, DHCP on all, for who asks has none yet.
pub(super) fn dnsmasq_listens(file: &File) -> Vec<Listen> {
    let Ok(lan4) = file.gateway.lan4.parse::<Ipv4Net>() else {
        return Vec::new();
    };
    let names = SocketAddr::new(lan4.addr().into(), 53);
    let leases = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 67);
    let listen = |(key, address, is_udp)| Listen { key, address, is_udp };
    [
        ("DNS by dnsmasq", names, true),
        ("DNS by dnsmasq", names, false),
        ("DHCP by dnsmasq", leases, true),
    ]
    .map(listen)
    .to_vec()
}

/// Key and path of the secrets, and whether they are made at the first start.
pub(super) fn secret_files(file: &File) -> [(&'static str, PathBuf, bool); 2] {
    let gateway = &file.gateway;
    [
        (
            "gateway.radius.secret_file",
            &gateway.radius.secret_file,
            "local-nas.secret",
        ),
        ("gateway.uam_secret_file", &gateway.uam_secret_file, "local-uam.secret"),
    ]
    .map(|(key, path, own)| {
        if path.as_os_str().is_empty() {
            (key, file.state_dir.join(own), true)
        } else {
            (key, path.clone(), false)
        }
    })
}

/// The RADIUS secret and the UAM secret.
pub(super) fn secrets(file: &File) -> anyhow::Result<(Zeroizing<String>, Zeroizing<String>)> {
    let [nas, uam] = secret_files(file).map(|(key, path, is_made)| {
        let secret = if is_made {
            local_secret(&path)
        } else {
            read_secret(&path)
        };
        secret.context(key)
    });
    Ok((nas?, uam?))
}

/// Where strangers are sent. Portal and gate spell it alike, since the signature of each redirect covers it.
fn portal_url(file: &File) -> anyhow::Result<kavadam_portal::PublicUrl> {
    let (key, url) = match file.gateway.portal_url.as_str() {
        "" => ("portal.public_url", &file.portal.public_url),
        _ => ("gateway.portal_url", &file.gateway.portal_url),
    };
    url.parse().context(key)
}

pub(super) fn build(file: &File, secret: Secret, uam_secret: Secret) -> anyhow::Result<GatewayConfig> {
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
            venue_info_url: Some(gateway.api.venue_info_url.clone()).filter(|url| !url.is_empty()),
        })
    });
    let (walled_garden, garden_names) = garden(&gateway.walled_garden).context("gateway.walled_garden")?;
    let (free, free_names) = garden(&gateway.free).context("gateway.free")?;
    Ok(GatewayConfig {
        nas_identifier: gateway.nas_identifier.clone(),
        state_dir: file.state_dir.clone(),
        lease_socket: gateway.lease_socket.clone(),
        lease_file: gateway.dnsmasq.state_dir.join("dnsmasq.leases"),
        table: gateway.table.clone(),
        other_lans: gateway.other_lans.iter().map(|text| other_lan(text)).collect(),
        lan_if: gateway.lan_if.clone(),
        wan_if: gateway.wan_if.clone(),
        lan4: gateway.lan4.parse().context("gateway.lan4")?,
        lan6: (!gateway.lan6.is_empty())
            .then(|| gateway.lan6.parse())
            .transpose()
            .context("gateway.lan6")?,
        is_delegated: gateway.delegated_prefixes,
        advertiser: ipv6::advertiser(gateway).context("gateway.router_advertisements")?,
        nat64: ipv6::nat64(gateway).context("gateway.nat64_prefix")?,
        ipv6_only_wait: ipv6::ipv6_only_wait(gateway).context("gateway.ipv6_only_preferred")?,
        capture_port: gateway.capture_port,
        uam_port: gateway.uam_port,
        names_port: gateway.names_port,
        citizen_names_port: gateway.citizen_names_port,
        other_ports: portal_port
            .filter(|_| file.role.has_portal())
            .into_iter()
            .chain(gateway.local_ports.iter().copied())
            .collect(),
        portal_url: portal_url(file)?.origin().to_owned(),
        uam_secret,
        is_strict: gateway.strict,
        admits_ipv6_only: gateway.admit_ipv6_only,
        are_isolated: gateway.isolate_clients,
        burst_octets: burst(file).context("gateway.burst")?,
        ports: ports(file).context("gateway.nat")?,
        uplink: uplink(file).context("gateway.uplink")?,
        classes: classes::classes(file)?,
        max_sessions: gateway.max_sessions,
        walled_garden,
        garden_names,
        free,
        free_names,
        blocked: blocked::blocked(file)?,
        is_every_resolver_ours: gateway.blocked.every_resolver,
        filters: blocked::filters(file)?,
        interim: Duration::from_secs(u64::from(gateway.interim_secs)),
        radius: RadiusConfig {
            servers: servers.collect::<anyhow::Result<_>>().context("gateway.radius")?,
            secret,
            order_sources: sources
                .collect::<Result<_, _>>()
                .context("gateway.radius.order_sources")?,
            timeout: Duration::from_millis(u64::from(gateway.radius.timeout_ms)),
            retries: gateway.radius.retries,
            tls: tls::gateway(file)?,
        },
        coa_listen: gateway.coa_listen.parse().context("gateway.coa_listen")?,
        api: api.transpose().context("gateway.api")?,
        dnsmasq: DnsmasqConfig {
            lease: Duration::from_secs(u64::from(gateway.dnsmasq.lease_secs)),
            range4: (first.parse()?, last.parse()?),
            port_share_percent: gateway.dnsmasq.port_share_percent,
            upstream: addresses(&gateway.dnsmasq.upstream).context("gateway.dnsmasq.upstream")?,
            domain: gateway.dnsmasq.domain.clone(),
        },
    })
}
