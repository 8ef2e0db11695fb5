//! A RADIUS round trip, one at a time: our whole decision, durable in SQLite, beside FreeRADIUS answering from a flat file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use kavadam_access::admin::{NasChange, NasSetting, Tie};
use kavadam_access::{Access, Sealer};
use kavadam_domain::plan::{AfterQuota, Period};
use kavadam_domain::{CertificateName, Mac, NasId, Plan, PlanId, SiteId};
use kavadam_lab::netns::Netns;
use kavadam_lab::traces;
use kavadam_radius::client::{Client, ClientConfig, ServerAddress};
use kavadam_radius::server::{RadiusServer, ServerConfig};
use kavadam_radius::{
    AccessReply, AccessRequest, AccountingKind, AccountingRequest, Counters, Credential, NasIdentity, Retry, Secret,
    ServiceType,
};
use kavadam_store::Store;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::crowd;
use crate::sample::{Sample, Spread, median_ratio};

pub const SECRET: &str = "a-secret-of-the-gate";
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ROUNDS: usize = 5;
const REQUESTS: u32 = 500;
/// In a namespace of its own it disturbs nobody.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1812);
/// How this program calls itself in the namespace.
pub const INSIDE: &str = "radius-inside";

pub fn measure() -> anyhow::Result<Value> {
    measure_apart(INSIDE)
}

/// What this program says, called so, in a namespace and with a directory of its own.
pub fn measure_apart(inside: &str) -> anyhow::Result<Value> {
    let netns = Netns::new(&format!("kvb{}r", std::process::id()))?;
    let dir = traces::directory("kavadam-bench-")?;
    let own = std::env::current_exe()?.display().to_string();
    let line = netns.run(&own, &[inside, &dir.path().display().to_string()])?;
    serde_json::from_str(line.trim()).context("no JSON from the namespace")
}

/// The same, once there.
pub fn measure_inside(dir: &Path) -> anyhow::Result<Value> {
    tokio::runtime::Runtime::new()?.block_on(run(dir))
}

/// A sample for each round.
#[derive(Default)]
struct Rounds {
    known_device: Vec<Sample>,
    renewal: Vec<Sample>,
    accounting: Vec<Sample>,
    peer: Vec<Sample>,
}

async fn run(dir: &Path) -> anyhow::Result<Value> {
    let stop = CancellationToken::new();
    let (auth, acct) = centre(dir, &stop).await?;
    let ours = client(auth, acct, true);
    let _peer = Peer::start(dir)?;
    let peer = client(PEER, PEER, false);

    let known_device = AccessRequest {
        mac: Some(MAC),
        acct_session_id: Some("s".into()),
        ..AccessRequest::new(ServiceType::CallCheck, "02-00-00-00-00-01", Credential::Absent)
    };
    let AccessReply::Accept(grant) = ours.authenticate(&known_device).await? else {
        bail!("a remembered device was refused");
    };
    let begun = AccountingRequest {
        classes: grant.classes.clone(),
        ..AccountingRequest::new(AccountingKind::Start, "s", crowd::now())
    };
    ours.account(&begun, crowd::now()).await?;
    let renewal = AccessRequest {
        mac: Some(MAC),
        acct_session_id: Some("s".into()),
        classes: grant.classes,
        ..AccessRequest::new(ServiceType::AuthorizeOnly, "02-00-00-00-00-01", Credential::Absent)
    };
    let password = Credential::Pap(b"password".to_vec().into());
    let flat = AccessRequest::new(ServiceType::Login, "citizen", password);
    wait_for(&peer, &flat).await?;

    let mut rounds = Rounds::default();
    for round in 0..ROUNDS {
        let [mut known, mut renewed, mut reported, mut other] = [const { Sample::new() }; 4];
        for number in 0..REQUESTS {
            known.add(time(&ours, &known_device).await?);
            other.add(time(&peer, &flat).await?);
            renewed.add(time(&ours, &renewal).await?);
            let done = u64::try_from(round)? * u64::from(REQUESTS) + u64::from(number);
            let report = report("s", done * 1000);
            let start = Instant::now();
            ours.account(&report, crowd::now()).await?;
            reported.add(start.elapsed());
        }
        rounds.known_device.push(known);
        rounds.renewal.push(renewed);
        rounds.accounting.push(reported);
        rounds.peer.push(other);
    }
    stop.cancel();
    Ok(rounds.json())
}

impl Rounds {
    fn json(&self) -> Value {
        let ours = |rounds: &[Sample]| {
            let mut shown = Spread::of(rounds).json();
            if let Some(fields) = shown.as_object_mut() {
                fields.insert(
                    "times_the_peers_p50".to_owned(),
                    json!(median_ratio(rounds, &self.peer)),
                );
            }
            shown
        };
        json!({ "what": "RADIUS round trip on loopback, one at a time", "rounds": ROUNDS, "requests_in_a_round": REQUESTS,
            "ours_return_of_a_known_device_durable_in_sqlite": ours(&self.known_device),
            "ours_lease_renewal_durable_in_sqlite": ours(&self.renewal),
            "ours_accounting_durable_in_sqlite": ours(&self.accounting),
            "freeradius_from_a_flat_file": Spread::of(&self.peer).json() })
    }
}

async fn time(client: &Client, request: &AccessRequest) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let reply = client.authenticate(request).await?;
    let took = start.elapsed();
    ensure!(matches!(reply, AccessReply::Accept(_)), "refused");
    Ok(took)
}

/// An Interim-Update of a session that has moved so much.
pub fn report(session: &str, down_octets: u64) -> AccountingRequest {
    let counters = Counters {
        down_octets,
        session_secs: 1,
        ..Counters::default()
    };
    AccountingRequest {
        counters,
        ..AccountingRequest::new(AccountingKind::Interim, session, crowd::now())
    }
}

fn client(auth: SocketAddr, acct: SocketAddr, requires_message_authenticator: bool) -> Client {
    Client::new(ClientConfig {
        servers: vec![ServerAddress {
            auth,
            acct,
            secret: Secret::new(SECRET.as_bytes()),
        }],
        nas: NasIdentity {
            identifier: "gate-1".into(),
            ..NasIdentity::default()
        },
        retry: Retry {
            first_wait: Duration::from_secs(2),
            tries: 1,
        },
        source: None,
        requires_message_authenticator,
    })
}

/// A centre with one site, on SQLite.
pub struct Centre {
    pub access: Access,
    pub store: Store,
    pub sealer: Sealer,
    pub site: SiteId,
}

impl Centre {
    pub async fn open(dir: &Path) -> anyhow::Result<Self> {
        let store = Store::open(&format!("sqlite:{}", dir.join("kavadam.db").display())).await?;
        let sealer = Sealer::new([5; 32]);
        let access = Access::new(store.clone(), sealer.clone(), crowd::settings());
        let plan = Plan {
            id: PlanId(0),
            name: "citizen".into(),
            quota_octets: Some(1 << 50),
            period: Period::Once,
            time_zone: "Asia/Kolkata".into(),
            down_bits_per_sec: Some(10_000_000),
            up_bits_per_sec: Some(10_000_000),
            session_secs: Some(3600),
            idle_secs: Some(600),
            max_devices: 2,
            remembered_days: 14,
            after_quota: AfterQuota::Close,
            filter: None,
            class: None,
        };
        access.set_plan(&plan, "bench", crowd::now()).await?;
        let site = access.set_site("bench", true, "citizen", "bench", crowd::now()).await?;
        Ok(Self {
            access,
            store,
            sealer,
            site,
        })
    }

    /// Makes a gate of ours known, at this address and perhaps with a certificate.
    pub async fn add(
        &self,
        name: &str,
        source: Ipv4Addr,
        certificate: Option<&CertificateName>,
    ) -> anyhow::Result<NasId> {
        let setting = NasSetting {
            name,
            site: "bench",
            source: IpAddr::from(source).into(),
            secret: SECRET.as_bytes(),
            uam_secret: SECRET.as_bytes(),
            coa_port: 3799,
            coa_host: None,
            profile: "kavadam",
            is_renewing: true,
        };
        let besides = NasChange {
            certificate: certificate.map(Tie::To),
            ..NasChange::default()
        };
        Ok(self.access.make_nas(&setting, &besides, "bench", crowd::now()).await?)
    }

    /// Remembers a device as this number's.
    pub async fn remember(&self, nas: NasId, mac: Mac, ip: Ipv4Addr, number: &str) -> anyhow::Result<()> {
        let visit = crowd::visit(nas, self.site, mac, ip);
        crowd::prove((&self.access, &self.store, &self.sealer), &visit, number).await
    }
}

/// A centre with one remembered device.
async fn centre(dir: &Path, stop: &CancellationToken) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let centre = Centre::open(dir).await?;
    let nas = centre.add("gate-1", Ipv4Addr::LOCALHOST, None).await?;
    centre.remember(nas, MAC, "10.80.1.1".parse()?, "9876543210").await?;
    let any = "127.0.0.1:0".parse()?;
    let server = RadiusServer::bind(ServerConfig { auth: any, acct: any }, centre.access)?;
    let ports = (server.auth_addr()?, server.acct_addr()?);
    tokio::spawn(server.run(stop.clone()));
    Ok(ports)
}

/// FreeRADIUS with one user in a file and nothing else to do; ended when dropped.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Peer {
    fn start(dir: &Path) -> anyhow::Result<Self> {
        configure_peer(dir)?;
        let mut command = Command::new("freeradius");
        command
            .args(["-f", "-d", &dir.display().to_string(), "-D", "/usr/share/freeradius"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command
            .spawn()
            .context("cannot start freeradius (Debian: freeradius)")?;
        Ok(Self(child))
    }
}

fn configure_peer(dir: &Path) -> anyhow::Result<()> {
    let port = PEER.port();
    let shown = dir.display();
    std::fs::write(
        dir.join("users"),
        "citizen Cleartext-Password := \"password\"\n\tSession-Timeout := 3600,\n\tIdle-Timeout := 600\n",
    )?;
    let config = format!(
        "name = freeradius\nprefix = /usr\nlibdir = /usr/lib/freeradius\nlogdir = {shown}\nrun_dir = {shown}\n\
         log {{\n destination = files\n file = {shown}/freeradius.log\n}}\nsecurity {{\n reject_delay = 0\n}}\n\
         thread pool {{\n start_servers = 2\n max_servers = 4\n}}\n\
         client bench {{\n ipaddr = 127.0.0.1\n secret = {SECRET}\n}}\n\
         modules {{\n pap {{\n }}\n files {{\n  usersfile = {shown}/users\n }}\n}}\n\
         server default {{\n listen {{\n  type = auth\n  ipaddr = 127.0.0.1\n  port = {port}\n }}\n\
          authorize {{\n  files\n  pap\n }}\n authenticate {{\n  Auth-Type PAP {{\n   pap\n  }}\n }}\n}}\n"
    );
    Ok(std::fs::write(dir.join("radiusd.conf"), config)?)
}

async fn wait_for(peer: &Client, request: &AccessRequest) -> anyhow::Result<()> {
    for _ in 0..10 {
        if peer.authenticate(request).await.is_ok() {
            return Ok(());
        }
    }
    bail!("FreeRADIUS does not answer")
}
