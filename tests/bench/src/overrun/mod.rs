//! What crosses beyond a quota: one person with three devices that download at once, each behind a gate of its own, which is a process
//! of its own that speaks RADIUS. The octets are counted where they arrive, by the devices.

mod gate;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use kavadam_access::admin::NasSetting;
use kavadam_access::{Access, Sealer, Settings};
use kavadam_domain::gate::OWN_PROFILE;
use kavadam_domain::plan::{AfterQuota, Period};
use kavadam_domain::{Language, Mac, MobileNumber, Plan, PlanId};
use kavadam_lab::traces;
use kavadam_radius::Retry;
use kavadam_radius::dynamic::DynamicClient;
use kavadam_radius::server::{RadiusServer, ServerConfig, run_orders};
use kavadam_store::Store;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::crowd::now;
use gate::{Gate, Kind};

/// How this program calls itself to be a gate.
pub const GATE: &str = "gate-inside";
const SECRET: &str = "a-secret-of-the-gates";
const NUMBER: &str = "9876543210";
const QUOTA_OCTETS: u64 = 60_000_000;
/// Of each device.
const OCTETS_PER_SEC: u64 = 2_500_000;
/// Between the reports of a gate.
const INTERIM: Duration = Duration::from_secs(2);
/// After the octets are through.
const PATIENCE: Duration = Duration::from_secs(90);

/// Every line-up of gates, with what crossed.
pub fn measure() -> anyhow::Result<Value> {
    let line_ups = [
        ("renew", [Kind::Renews; 3]),
        ("limit", [Kind::Limits; 3]),
        ("report", [Kind::Reports; 3]),
        ("one of each", [Kind::Renews, Kind::Limits, Kind::Reports]),
    ];
    let mut runs = Vec::new();
    for (name, kinds) in line_ups {
        let run = tokio::runtime::Runtime::new()?.block_on(run(kinds))?;
        runs.push(run.json(name));
    }
    Ok(json!({
        "quota_octets": QUOTA_OCTETS,
        "octets_per_sec_of_each_device": OCTETS_PER_SEC,
        "interim_ms": u64::try_from(INTERIM.as_millis())?,
        "runs": runs,
    }))
}

/// One gate, until its session is over.
pub fn be_gate(description: &str) -> anyhow::Result<()> {
    let gate: Gate = serde_json::from_str(description)?;
    tokio::runtime::Runtime::new()?.block_on(gate::run(gate))
}

struct Run {
    /// Arrived at each device.
    arrived: Vec<u64>,
    charged: u64,
    promised: u64,
    took: Duration,
}

impl Run {
    fn json(&self, name: &str) -> Value {
        let arrived: u64 = self.arrived.iter().sum();
        json!({
            "gates": name,
            "arrived_octets": self.arrived,
            "arrived_octets_in_all": arrived,
            "charged_octets": self.charged,
            "promised_octets_at_the_end": self.promised,
            "overrun_octets": arrived.saturating_sub(QUOTA_OCTETS),
            "left_octets": QUOTA_OCTETS.saturating_sub(arrived),
            "seconds": self.took.as_secs_f64(),
        })
    }
}

async fn run(kinds: [Kind; 3]) -> anyhow::Result<Run> {
    let dir = traces::directory("kavadam-bench-")?;
    let stop = CancellationToken::new();
    let (access, store) = furnish(dir.path()).await?;
    let any = "127.0.0.1:0".parse()?;
    let server = RadiusServer::bind(ServerConfig { auth: any, acct: any }, access.clone())?;
    let (auth, acct) = (server.auth_addr()?, server.acct_addr()?);
    let counts = server.counts();
    tokio::spawn(server.run(stop.clone()));
    let orders = DynamicClient::new(None, Retry::default());
    tokio::spawn(run_orders(access.clone(), orders, Arc::default(), counts, stop.clone()));

    let internet = internet().await?;
    let begun = Instant::now();
    let mut gates = Vec::new();
    for (number, kind) in (1_u8..).zip(kinds) {
        let source = Ipv4Addr::new(127, 0, 0, number + 1);
        let coa_port = free_port(source)?;
        let name = format!("gate-{number}");
        add_gate(&access, &name, source, coa_port, kind).await?;
        let mac = Mac([2, 0, 0, 0, 3, number]);
        remember(&store, mac).await?;
        let (device, arrived) = device().await?;
        let description = Gate {
            kind,
            name,
            secret: SECRET.to_owned(),
            source: IpAddr::V4(source),
            coa_port,
            auth,
            acct,
            mac,
            internet,
            device,
            octets_per_sec: OCTETS_PER_SEC,
            interim_ms: u64::try_from(INTERIM.as_millis())?,
        };
        gates.push((Process::start(&description)?, arrived));
    }
    for (process, _) in &mut gates {
        process.wait(begun + PATIENCE).await?;
    }
    let took = begun.elapsed();
    let view = access
        .subscriber(&NUMBER.parse()?, now())
        .await?
        .context("nobody was online")?;
    stop.cancel();
    Ok(Run {
        arrived: gates
            .iter()
            .map(|(_, arrived)| arrived.load(Ordering::SeqCst))
            .collect(),
        charged: view.used_octets,
        promised: view.leased_octets,
        took,
    })
}

async fn furnish(dir: &Path) -> anyhow::Result<(Access, Store)> {
    let store = Store::open(&format!("sqlite:{}", dir.join("kavadam.db").display())).await?;
    let access = Access::new(store.clone(), Sealer::new([5; 32]), Settings::default());
    let plan = Plan {
        id: PlanId(0),
        name: "citizen".into(),
        quota_octets: Some(QUOTA_OCTETS),
        period: Period::Once,
        time_zone: "Asia/Kolkata".into(),
        down_bits_per_sec: Some(OCTETS_PER_SEC * 8),
        up_bits_per_sec: Some(OCTETS_PER_SEC * 8),
        session_secs: Some(3600),
        idle_secs: Some(600),
        max_devices: 3,
        remembered_days: 14,
        after_quota: AfterQuota::Close,
        filter: None,
        class: None,
    };
    access.set_plan(&plan, "bench", now()).await?;
    access.set_site("bench", true, "citizen", "bench", now()).await?;
    Ok((access, store))
}

async fn add_gate(access: &Access, name: &str, source: Ipv4Addr, coa_port: u16, kind: Kind) -> anyhow::Result<()> {
    let setting = NasSetting {
        name,
        site: "bench",
        source: format!("{source}/32").parse()?,
        secret: SECRET.as_bytes(),
        uam_secret: SECRET.as_bytes(),
        coa_port,
        coa_host: None,
        profile: OWN_PROFILE,
        is_renewing: kind == Kind::Renews,
    };
    access.set_nas(&setting, "bench", now()).await?;
    Ok(())
}

async fn remember(store: &Store, mac: Mac) -> anyhow::Result<()> {
    let number: MobileNumber = NUMBER.parse()?;
    let mut tx = store.write().await?;
    let person = tx.ensure_subscriber(&number, "alias", Language::En, now()).await?;
    let until = now() + Duration::from_hours(1);
    tx.remember_device(person.id, mac, Some(until), now()).await?;
    Ok(tx.commit().await?)
}

/// Whoever connects gets octets without end.
async fn internet() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move { while connection.write_all(&[b'x'; 16_384]).await.is_ok() {} });
        }
    });
    Ok(address)
}

/// A device, and what arrived at it.
async fn device() -> anyhow::Result<(SocketAddr, Arc<AtomicU64>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, arrived) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&arrived);
    tokio::spawn(async move {
        let Ok((mut connection, _)) = listener.accept().await else {
            return;
        };
        let mut buffer = vec![0; 65_536];
        while let Ok(octets @ 1..) = connection.read(&mut buffer).await {
            count.fetch_add(u64::try_from(octets).unwrap_or(0), Ordering::SeqCst);
        }
    });
    Ok((address, arrived))
}

fn free_port(source: Ipv4Addr) -> anyhow::Result<u16> {
    Ok(std::net::UdpSocket::bind((source, 0))?.local_addr()?.port())
}

/// A gate's process; ended when dropped.
struct Process(Child);

impl Process {
    fn start(gate: &Gate) -> anyhow::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args([GATE, &serde_json::to_string(gate)?])
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start a gate")?;
        Ok(Self(child))
    }

    async fn wait(&mut self, until: Instant) -> anyhow::Result<()> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                ensure!(status.success(), "a gate failed: {status}");
                // What it let through last has arrived.
                tokio::time::sleep(Duration::from_millis(50)).await;
                return Ok(());
            }
            ensure!(Instant::now() < until, "a gate's session does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
