//! Whose packets can be told apart and verified.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Context as _;
use ipnet::IpNet;
use kavadam_access::Access;
use kavadam_radius::capture::KnownGate;
use kavadam_radius::profile::Profiles;
use kavadam_radius::wire::Secret;

use crate::admin::missing;
use crate::centre::{self, Looked};
use crate::config::{Config, read_secret};
use crate::{clock, units};

/// By convention: authentication, accounting, CoA and Disconnect.
const PORTS: [u16; 3] = [1812, 1813, 3799];

/// The gates that are known here, and the ports that RADIUS has.
pub(super) struct Known {
    pub(super) gates: Vec<KnownGate>,
    pub(super) ports: Vec<u16>,
    /// Of gates, by number.
    pub(super) names: HashMap<i64, String>,
}

impl Known {
    /// Nobody: packets are told, and none is verified.
    pub(super) fn nobody() -> Self {
        Self {
            gates: Vec::new(),
            ports: PORTS.to_vec(),
            names: HashMap::new(),
        }
    }

    /// Those of a configuration: a centre's gates, or the gateway itself before its servers. A capture needs none: it may come from elsewhere.
    pub(super) async fn of(config: &Config, is_capture: bool) -> anyhow::Result<Self> {
        if !config.file.role.has_centre() {
            return Self::of_a_gateway(config);
        }
        let listen = &config.radius_listen;
        let mut known = Self::nobody();
        let places = listen.auth.all().chain(listen.acct.all());
        known.ports.extend(places.map(|place| place.port()));
        known.ports.extend(config.radsec().map(|radsec| radsec.listen.port()));
        if is_capture {
            if let Looked::Here(access) = centre::look(config).await? {
                known.add_gates(&access, &config.profiles).await?;
            }
        } else {
            known
                .add_gates(&centre::must_look(config).await?, &config.profiles)
                .await?;
        }
        Ok(known)
    }

    async fn add_gates(&mut self, access: &Access, profiles: &Profiles) -> anyhow::Result<()> {
        let now = clock::now();
        for gate in access.gate_entries().await? {
            self.ports.extend(profiles.get(&gate.profile).ports_of(gate.coa_port));
            self.names.insert(gate.id.0, gate.name.clone());
            self.gates.extend(gate.secrets(now).map(|(_, secret)| KnownGate {
                name: gate.name.clone(),
                source: gate.source,
                servers: None,
                secret: Secret::new(secret),
            }));
        }
        Ok(())
    }

    /// Over TLS nothing of its servers' is seen; others may give orders all the same.
    fn of_a_gateway(config: &Config) -> anyhow::Result<Self> {
        let gateway = config.gateway_outline()?;
        let mut known = Self::nobody();
        known.ports.push(gateway.coa_listen.port());
        let mut servers = gateway.radius.order_sources.clone();
        if gateway.radius.tls.is_none() {
            for (auth, acct) in &gateway.radius.servers {
                known.ports.extend([auth.port(), acct.port()]);
                servers.extend([auth, acct].map(|server| IpNet::from(server.ip())));
            }
        }
        if servers.is_empty() {
            return Ok(known);
        }
        let secret = read_secret(&config.file.gateway.radius.secret_file).context("gateway.radius.secret_file")?;
        known.gates.extend(servers.into_iter().map(|servers| KnownGate {
            name: gateway.nas_identifier.clone(),
            source: anywhere(servers),
            servers: Some(servers),
            secret: Secret::new(secret.as_bytes()),
        }));
        Ok(known)
    }

    /// Where that gate is, or what is of that address.
    pub(super) fn networks(&self, nas: &str) -> anyhow::Result<Vec<IpNet>> {
        let named = self.gates.iter().filter(|gate| gate.name == nas);
        let named: Vec<IpNet> = named.map(|gate| gate.servers.unwrap_or(gate.source)).collect();
        match units::network(nas) {
            _ if !named.is_empty() => Ok(named),
            Ok(network) => Ok(vec![network]),
            Err(_) => Err(missing("gate", nas).into()),
        }
    }
}

/// Which of its addresses the gateway sends from is the system's choice.
fn anywhere(servers: IpNet) -> IpNet {
    let all = match servers {
        IpNet::V4(_) => IpNet::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        IpNet::V6(_) => IpNet::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    };
    all.unwrap_or(servers)
}
