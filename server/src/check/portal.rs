//! Whether devices get to the portal, and the centre's orders to the gate, where these are on several machines.

use std::net::IpAddr;

use kavadam_access::admin::NasView;
use kavadam_domain::gate::OWN_PROFILE;
use kavadam_gateway::GatewayConfig;
use kavadam_portal::PublicUrl;

use super::{Findings, ports};
use crate::config::{Config, Role};

/// A gate whose portal and centre are other processes.
pub(super) fn look(config: &Config, gateway: &GatewayConfig, findings: &mut Findings) {
    if config.file.role == Role::Gateway {
        look_at_portal(gateway, |address| ports::find_here(address).is_ok(), findings);
        look_at_orders(gateway, findings);
    }
}

/// Strangers get no further than to the walled garden and the ports of this machine that are open to them.
fn look_at_portal(gateway: &GatewayConfig, is_here: impl Fn(IpAddr) -> bool, findings: &mut Findings) {
    let url = &gateway.portal_url;
    let Ok(parsed) = url.parse::<PublicUrl>() else { return };
    let (host, port) = parsed.host_and_port();
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok();
    let own_name = gateway.api.as_ref().map(|api| api.host_name.as_str());
    if address.is_some_and(is_here) || own_name == Some(host.as_str()) {
        return if gateway.other_ports.contains(&port) {
            findings.good(&format!("strangers get to the portal of this machine, {url}"));
        } else {
            findings.bad(
                &format!("gateway.portal_url: no device gets to port {port} of this machine"),
                &format!("add {port} to gateway.local_ports"),
            );
        };
    }
    let is_open = match address {
        Some(address) => gateway.walled_garden.contains(&address),
        None => gateway.garden_names.has(&host),
    };
    if is_open {
        findings.good(&format!("strangers get to the portal, {url}, by the walled garden"));
    } else {
        findings.bad(
            &format!("gateway.portal_url: strangers are sent to {url}, and do not get there"),
            &format!("add \"{host}\" to gateway.walled_garden"),
        );
    }
}

/// The centre sends its orders to where the gate's requests come from, unless they go down a TLS connection.
fn look_at_orders(gateway: &GatewayConfig, findings: &mut Findings) {
    let radius = &gateway.radius;
    let servers = radius.servers.iter().map(|(auth, _)| auth.ip());
    let servers = servers.filter(|_| radius.tls.is_none());
    let others = radius.order_sources.iter().map(ipnet::IpNet::addr);
    let Some(from) = servers.chain(others).find(|address| !address.is_loopback()) else {
        return;
    };
    let listen = gateway.coa_listen;
    if listen.ip().is_loopback() {
        findings.bad(
            &format!(
                "gateway.coa_listen: no order of {from} arrives at {listen}: who is blocked, or at a site that is closed, stays online, and a \
                 top-up waits for the next login"
            ),
            &format!(
                "gateway.coa_listen = \"ADDRESS:{}\", with the address that the centre knows this gate by (kavadam nas set --source, --coa-port)",
                listen.port()
            ),
        );
    }
}

/// An all-in-one's portal sees the devices of its own machine, and is closed to all others.
pub(super) fn look_at_others(config: &Config, gates: &[NasView], findings: &mut Findings) {
    let file = &config.file;
    if file.role != Role::AllInOne {
        return;
    }
    let is_elsewhere =
        |gate: &&NasView| gate.name != file.gateway.nas_identifier && ports::find_here(gate.source.addr()).is_err();
    // Another process may serve them, of the same database.
    let may_have_another = file.database.url.starts_with("postgres");
    let (ours, vendors): (Vec<&NasView>, Vec<&NasView>) = gates
        .iter()
        .filter(is_elsewhere)
        .partition(|gate| gate.profile == OWN_PROFILE);
    for gate in ours {
        let what = format!(
            "the gate `{}` is on another machine ({}), whose devices do not get to the portal of an all-in-one",
            gate.name, gate.source
        );
        if may_have_another {
            findings.unsure(&format!("{what}: whether it has another is not known here"));
        } else {
            findings.bad(
                &what,
                "make this machine a centre (role = \"centre\"), and its gate a process of its own (role = \"gateway\"), here or elsewhere",
            );
        }
    }
    if !vendors.is_empty() {
        findings.unsure(&format!(
            "{} gates of vendors are on other machines: where they send people to a portal, it cannot be the one of this all-in-one",
            vendors.len()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::gates::tests::some_gate;
    use super::*;

    /// What is found of a gate alone with this in its `[gateway]`, on a machine that has 10.80.0.1.
    fn found(text: &str) -> Findings {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kavadam.toml");
        std::fs::write(&path, format!("role = 'gateway'\n[gateway]\n{text}\n")).unwrap();
        let (config, _) = Config::examine(&path).unwrap();
        let gateway = config.gateway_outline().unwrap();
        let mut findings = Findings::default();
        look_at_portal(
            &gateway,
            |address| address == IpAddr::from([10, 80, 0, 1]),
            &mut findings,
        );
        look_at_orders(&gateway, &mut findings);
        findings
    }

    #[test]
    fn a_portal_elsewhere_that_strangers_do_not_get_to_is_a_problem() {
        for (url, garden) in [
            ("http://192.0.2.5:8081", "'192.0.2.6'"),
            ("http://portal.example.in", "'example.in'"),
            ("https://portal.example.in", "'*.portal.example.in', '192.0.2.5'"),
        ] {
            let findings = found(&format!("portal_url = '{url}'\nwalled_garden = [{garden}]"));
            assert_eq!(findings.bad, 1, "{url}: {:?}", findings.lines);
            let host = url.split('/').nth(2).unwrap().split(':').next().unwrap();
            assert!(
                findings.lines[0].contains(&format!("add \"{host}\" to gateway.walled_garden")),
                "{:?}",
                findings.lines
            );
        }
        for (url, garden) in [
            ("http://192.0.2.5:8081/", "'192.0.2.6', '192.0.2.5'"),
            ("http://Portal.example.in", "'portal.example.in'"),
            ("https://portal.example.in", "'*.example.in'"),
        ] {
            let findings = found(&format!("portal_url = '{url}'\nwalled_garden = [{garden}]"));
            assert_eq!(findings.bad, 0, "{url}: {:?}", findings.lines);
        }
    }

    #[test]
    fn a_portal_of_another_process_here_needs_its_port_open() {
        let here = "lan4 = '10.81.0.1/16'\nportal_url = 'http://10.80.0.1:8081'\n";
        assert_eq!(found(&format!("{here}local_ports = [8081]")).bad, 0);
        let closed = found(here);
        assert_eq!(closed.bad, 1);
        assert!(
            closed.lines[0].contains("add 8081 to gateway.local_ports"),
            "{:?}",
            closed.lines
        );
    }

    #[test]
    fn a_gate_that_hears_no_orders_of_its_centre_is_a_problem() {
        let garden = "portal_url = 'http://192.0.2.5:8081'\nwalled_garden = ['192.0.2.5']\n";
        let servers = "radius = { auth_servers = ['192.0.2.5:1812'], acct_servers = ['192.0.2.5:1813'] }\n";
        let deaf = found(&format!("{garden}{servers}"));
        assert_eq!(deaf.bad, 1, "{:?}", deaf.lines);
        assert!(deaf.lines[1].contains("no order of 192.0.2.5 arrives at 127.0.0.1:3799"));
        assert_eq!(found(&format!("{garden}{servers}coa_listen = '192.0.2.7:3799'")).bad, 0);
        assert_eq!(found(garden).bad, 0, "a centre of this machine");
        let tls =
            "tls = { servers = ['radius.example.org:2083'], certificate_file = '/c', key_file = '/k', ca_file = '/a' }";
        assert_eq!(
            found(&format!(
                "{garden}radius = {{ auth_servers = ['192.0.2.5:1812'], acct_servers = ['192.0.2.5:1813'], {tls} }}"
            ))
            .bad,
            0,
            "orders come down the connection"
        );
    }

    #[test]
    fn an_all_in_one_is_no_portal_for_the_gates_of_other_machines() {
        let gate = |name: &str, source: &str, profile: &str| NasView {
            name: name.into(),
            source: source.parse().unwrap(),
            profile: profile.into(),
            ..some_gate()
        };
        let gates = [
            gate("local", "127.0.0.1/32", OWN_PROFILE),
            gate("staff", "127.0.0.1/32", OWN_PROFILE),
            gate("stand-7", "192.0.2.7/32", OWN_PROFILE),
            gate("hall", "192.0.2.8/32", "mikrotik"),
        ];
        let found = |text: &str| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("kavadam.toml");
            std::fs::write(&path, text).unwrap();
            let mut findings = Findings::default();
            look_at_others(&Config::examine(&path).unwrap().0, &gates, &mut findings);
            findings
        };
        let alone = found("");
        assert_eq!((alone.bad, alone.lines.len()), (1, 2), "{:?}", alone.lines);
        assert!(alone.lines[0].contains("`stand-7`"), "{:?}", alone.lines);
        assert_eq!(found("database.url = 'postgres://k@db/k'").bad, 0);
        assert!(found("role = 'centre'").lines.is_empty());
    }
}
