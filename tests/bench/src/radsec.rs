//! RADIUS over TLS beside UDP: the same reports, by the same number of gates, to the same centre, in turns.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use kavadam_domain::Mac;
use kavadam_lab::certificates::{Authority, Certificate};
use kavadam_radius::client::{Client, ClientConfig, ServerAddress};
use kavadam_radius::server::{RadiusServer, RadsecConfig, RadsecLimits, ServerConfig};
use kavadam_radius::tls::{Link, LinkConfig, LinkTimes, TlsFiles, Versions};
use kavadam_radius::{
    AccessReply, AccessRequest, AccountingKind, AccountingRequest, Credential, NasIdentity, Retry, Secret, ServiceType,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::crowd;
use crate::radius::{Centre, SECRET, measure_apart, report};
use crate::sample::median;

const GATES: u8 = 16;
/// Reports of a gate that wait for their answer.
const IN_FLIGHT: u8 = 64;
const ROUNDS: u64 = 5;
const ROUND: Duration = Duration::from_secs(3);
/// How this program calls itself in the namespace.
pub const INSIDE: &str = "radsec-inside";

pub fn measure() -> anyhow::Result<Value> {
    measure_apart(INSIDE)
}

/// The same, once there.
pub fn measure_inside(dir: &Path) -> anyhow::Result<Value> {
    tokio::runtime::Runtime::new()?.block_on(run(dir))
}

/// A gate by both ways.
struct Gate {
    number: u8,
    udp: Arc<Client>,
    tls: Arc<Client>,
}

async fn run(dir: &Path) -> anyhow::Result<Value> {
    let stop = CancellationToken::new();
    let gates = gates(dir, &stop).await?;
    for gate in &gates {
        online(gate).await?;
    }
    let (mut by_udp, mut by_tls) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        by_udp.push(rate(&gates, |gate| &gate.udp, 2 * round).await?);
        by_tls.push(rate(&gates, |gate| &gate.tls, 2 * round + 1).await?);
    }
    stop.cancel();
    let ratios = by_tls.iter().zip(&by_udp).map(|(tls, udp)| tls / udp);
    Ok(
        json!({ "what": "Interim-Updates acknowledged after the commit, generator, server and SQLite in one process", "gates": GATES,
        "in_flight_each": IN_FLIGHT, "rounds": ROUNDS, "seconds_each": ROUND.as_secs(), "tls_to_udp": median(ratios.collect()),
        "tls_per_second": median(by_tls).round(), "udp_per_second": median(by_udp).round() }),
    )
}

/// Reports a second, by one way.
async fn rate(gates: &[Gate], way: impl Fn(&Gate) -> &Arc<Client>, turn: u64) -> anyhow::Result<f64> {
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for gate in gates {
        for session in 0..IN_FLIGHT {
            let (client, name) = (Arc::clone(way(gate)), session_name(gate.number, session));
            tasks.spawn(async move {
                let mut answered = 0_u64;
                while start.elapsed() < ROUND {
                    let octets = turn * 1_000_000_000 + answered * 1_000;
                    client.account(&report(&name, octets), crowd::now()).await?;
                    answered += 1;
                }
                anyhow::Ok(answered)
            });
        }
    }
    let mut answered = 0_u64;
    while let Some(done) = tasks.join_next().await {
        answered += done??;
    }
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2⁵²")]
    Ok(answered as f64 / start.elapsed().as_secs_f64())
}

/// Each device of a gate comes online.
async fn online(gate: &Gate) -> anyhow::Result<()> {
    for session in 0..IN_FLIGHT {
        let (mac, name) = (device(gate.number, session), session_name(gate.number, session));
        let request = AccessRequest {
            mac: Some(mac),
            acct_session_id: Some(name.clone()),
            ..AccessRequest::new(ServiceType::CallCheck, mac.to_string(), Credential::Absent)
        };
        let AccessReply::Accept(grant) = gate.tls.authenticate(&request).await? else {
            bail!("a remembered device was refused");
        };
        let begun = AccountingRequest {
            classes: grant.classes,
            ..AccountingRequest::new(AccountingKind::Start, &name, crowd::now())
        };
        gate.tls.account(&begun, crowd::now()).await?;
    }
    Ok(())
}

fn session_name(gate: u8, session: u8) -> String {
    format!("{gate}-{session}")
}

const fn device(gate: u8, session: u8) -> Mac {
    Mac([2, 0, 0, 0, gate, session])
}

/// A centre with both doors, and gates whose devices it remembers.
async fn gates(dir: &Path, stop: &CancellationToken) -> anyhow::Result<Vec<Gate>> {
    let centre = Centre::open(dir).await?;
    let authority = Authority::new(dir)?;
    let any: SocketAddr = "127.0.0.1:0".parse()?;
    let mut issued = Vec::new();
    for number in 1..=GATES {
        let certificate = authority.issue(&gate_name(number))?;
        record(&centre, number).await?;
        issued.push((number, certificate));
    }
    let files = |certificate: &Certificate| TlsFiles {
        certificate: (&certificate.certificate).into(),
        key: (&certificate.key).into(),
        authorities: authority.certificate().into(),
        revoked: None,
    };
    let config = RadsecConfig {
        listen: any,
        files: files(&authority.issue("centre.example.org")?),
        versions: Versions::Any,
        limits: RadsecLimits::default(),
    };
    let server =
        RadiusServer::bind(ServerConfig { auth: any, acct: any }, centre.access.clone())?.with_radsec(config)?;
    let tls = server.radsec_addr().context("no door for TLS")?;
    let address = ServerAddress {
        auth: server.auth_addr()?,
        acct: server.acct_addr()?,
        secret: Secret::new(SECRET.as_bytes()),
    };
    tokio::spawn(server.run(stop.clone()));
    let mut gates = Vec::new();
    for (number, certificate) in issued {
        gates.push(gate(number, address.clone(), tls, files(&certificate)).await?);
    }
    Ok(gates)
}

async fn gate(number: u8, address: ServerAddress, tls: SocketAddr, files: TlsFiles) -> anyhow::Result<Gate> {
    let nas = NasIdentity {
        identifier: gate_name(number),
        ..NasIdentity::default()
    };
    let retry = Retry {
        first_wait: Duration::from_secs(2),
        tries: 2,
    };
    let link = Link::open(LinkConfig {
        address: tls.to_string(),
        server_name: "centre.example.org".try_into()?,
        files,
        versions: Versions::Any,
        nas: nas.clone(),
        times: LinkTimes::default(),
    })?;
    for _ in 0..500 {
        if link.is_up() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ensure!(link.is_up(), "no connection over TLS");
    Ok(Gate {
        number,
        tls: Arc::new(Client::over_tls(vec![link], nas.clone(), retry)),
        udp: Arc::new(Client::new(ClientConfig {
            servers: vec![address],
            nas,
            retry,
            source: Some(source(number).into()),
            requires_message_authenticator: true,
        })),
    })
}

fn gate_name(number: u8) -> String {
    format!("gate-{number}.example.org")
}

const fn source(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, number)
}

async fn record(centre: &Centre, number: u8) -> anyhow::Result<()> {
    let name = gate_name(number);
    let certificate = name.parse().context("no name of a certificate")?;
    let nas = centre.add(&name, source(number), Some(&certificate)).await?;
    for session in 0..IN_FLIGHT {
        let ip = Ipv4Addr::new(10, 80, number, session);
        let phone = format!("98765{number:02}{session:03}");
        centre.remember(nas, device(number, session), ip, &phone).await?;
    }
    Ok(())
}
