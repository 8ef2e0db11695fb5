//! A RADIUS round trip, one at a time: our whole decision, durable in SQLite, beside FreeRADIUS answering from a flat file.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use kavadam_access::admin::NasSetting;
use kavadam_access::api::{Verified, Visit};
use kavadam_access::{Access, Sealer, Settings};
use kavadam_domain::plan::{AfterQuota, Period};
use kavadam_domain::{Language, Mac, Plan, PlanId, Timestamp, challenge};
use kavadam_radius::client::{Client, ClientConfig, ServerAddress};
use kavadam_radius::server::{RadiusServer, ServerConfig};
use kavadam_radius::{
    AccessReply, AccessRequest, AccountingKind, AccountingRequest, Counters, Credential, NasIdentity, Retry, Secret,
    ServiceType,
};
use kavadam_store::Store;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::sample::{Sample, median};

const SECRET: &str = "a-secret-of-the-gate";
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ROUNDS: usize = 5;
const REQUESTS: u32 = 500;
const PEER_PORT: u16 = 28_120;

pub fn measure() -> anyhow::Result<Value> {
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> anyhow::Result<Value> {
    let dir = tempfile::tempdir()?;
    let stop = CancellationToken::new();
    let (auth, acct) = centre(dir.path(), &stop).await?;
    let ours = client(auth, acct, true);
    let mut peer_process = start_peer(dir.path())?;
    let peer_address = SocketAddr::from(([127, 0, 0, 1], PEER_PORT));
    let peer = client(peer_address, peer_address, false);

    let renewal = AccessRequest {
        mac: Some(MAC),
        acct_session_id: Some("s".into()),
        ..AccessRequest::new(ServiceType::CallCheck, "02-00-00-00-00-01", Credential::Absent)
    };
    let password = Credential::Pap(b"password".to_vec().into());
    let flat = AccessRequest::new(ServiceType::Login, "citizen", password);
    wait_for(&peer, &flat).await?;

    let (mut decision, mut accounting, mut file, mut ratios) =
        (Sample::default(), Sample::default(), Sample::default(), Vec::new());
    for round in 0..ROUNDS {
        let (mut one, mut other) = (Sample::default(), Sample::default());
        for number in 0..REQUESTS {
            time(&ours, &renewal, &mut [&mut one, &mut decision]).await?;
            time(&peer, &flat, &mut [&mut other, &mut file]).await?;
            let report = report(u64::try_from(round)? * u64::from(REQUESTS) + u64::from(number));
            let start = Instant::now();
            ours.account(&report, now()).await?;
            accounting.add(start.elapsed());
        }
        ratios.push(one.percentile(50).as_secs_f64() / other.percentile(50).as_secs_f64());
    }
    stop.cancel();
    peer_process.kill()?;
    peer_process.wait()?;
    let show = |sample: &Sample| json!({ "p50_us": sample.percentile_us(50), "p99_us": sample.percentile_us(99) });
    Ok(
        json!({ "what": "RADIUS round trip on loopback, one at a time", "requests": ROUNDS * REQUESTS as usize,
        "ours_decision_durable_in_sqlite": show(&decision), "ours_accounting_durable_in_sqlite": show(&accounting),
        "freeradius_from_a_flat_file": show(&file), "median_ratio_of_p50": median(ratios) }),
    )
}

async fn time(client: &Client, request: &AccessRequest, samples: &mut [&mut Sample]) -> anyhow::Result<()> {
    let start = Instant::now();
    let reply = client.authenticate(request).await?;
    let took = start.elapsed();
    ensure!(matches!(reply, AccessReply::Accept(_)), "refused");
    for sample in samples {
        sample.add(took);
    }
    Ok(())
}

fn report(number: u64) -> AccountingRequest {
    let counters = Counters {
        down_octets: number * 1000,
        session_secs: 1,
        ..Counters::default()
    };
    AccountingRequest {
        counters,
        ..AccountingRequest::new(AccountingKind::Interim, "s", now())
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

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A centre with one remembered device.
async fn centre(dir: &Path, stop: &CancellationToken) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let store = Store::open(&format!("sqlite:{}", dir.join("kavadam.db").display())).await?;
    let sealer = Sealer::new([5; 32]);
    let access = Access::new(store.clone(), sealer.clone(), Settings::default());
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
    };
    access.set_plan(&plan, "bench", now()).await?;
    let site = access.set_site("bench", true, "citizen", "bench", now()).await?;
    let nas = NasSetting {
        name: "gate-1",
        site: "bench",
        source: "127.0.0.1/32".parse()?,
        secret: SECRET.as_bytes(),
        uam_secret: SECRET.as_bytes(),
        coa_port: 3799,
        is_renewing: true,
    };
    let nas = access.set_nas(&nas, "bench", now()).await?;
    let visit = Visit {
        nas,
        site,
        mac: MAC,
        ip: "10.80.1.1".parse()?,
        language: Language::En,
        offline_at: None,
    };
    access.start_login(&visit, "9876543210", true, now()).await?;
    let row = store
        .read()
        .await?
        .last_challenge(site, MAC)
        .await?
        .context("no challenge")?;
    let code = challenge::code(sealer.code_secret(&row.public_id).as_slice());
    if let Verified::Refused(reason) = access.verify_code(&visit, &code, now()).await? {
        bail!("refused: {reason:?}");
    }
    let any = "127.0.0.1:0".parse()?;
    let server = RadiusServer::bind(ServerConfig { auth: any, acct: any }, access)?;
    let ports = (server.auth_addr()?, server.acct_addr()?);
    tokio::spawn(server.run(stop.clone()));
    Ok(ports)
}

/// FreeRADIUS with one user in a file and nothing else to do.
fn start_peer(dir: &Path) -> anyhow::Result<Child> {
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
         server default {{\n listen {{\n  type = auth\n  ipaddr = 127.0.0.1\n  port = {PEER_PORT}\n }}\n\
          authorize {{\n  files\n  pap\n }}\n authenticate {{\n  Auth-Type PAP {{\n   pap\n  }}\n }}\n}}\n"
    );
    std::fs::write(dir.join("radiusd.conf"), config)?;
    let mut command = Command::new("freeradius");
    command
        .args(["-f", "-d", &shown.to_string(), "-D", "/usr/share/freeradius"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().context("cannot start freeradius (Debian: freeradius)")
}

async fn wait_for(peer: &Client, request: &AccessRequest) -> anyhow::Result<()> {
    for _ in 0..10 {
        if peer.authenticate(request).await.is_ok() {
            return Ok(());
        }
    }
    bail!("FreeRADIUS does not answer")
}
