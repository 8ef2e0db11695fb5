//! Opens the centre, and furnishes an empty one so that a first start works.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;

use anyhow::Context as _;
use kavadam_access::admin::NasSetting;
use kavadam_access::{Access, Sealer};
use kavadam_domain::plan::{AfterQuota, Period};
use kavadam_domain::{Plan, PlanId};
use kavadam_store::Store;

use crate::clock;
use crate::config::{Config, local_secret, read_secret};

/// Who made what a first start makes, in the audit.
const ACTOR: &str = "first start";
/// The site and plan of an empty centre.
const FIRST_SITE: &str = "First site";
const FIRST_PLAN: &str = "citizen";

/// The master key; made at the first start.
///
/// # Errors
/// It cannot be used; the message says why.
pub fn sealer(config: &Config) -> anyhow::Result<Sealer> {
    Ok(Sealer::from_file(&config.master_key_file(), rand::random())?)
}

/// The use cases over the configured database.
///
/// # Errors
/// The state directory, key or database cannot be opened.
pub async fn open(config: &Config) -> anyhow::Result<Access> {
    let dir = &config.file.state_dir;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make the state directory {}", dir.display()))?;
    let sealer = sealer(config)?;
    let store = Store::open(&config.database_url())
        .await
        .context("cannot open the database")?;
    Ok(Access::new(store, sealer, config.settings()))
}

/// Makes the plan, site and gate of an all-in-one where there are none yet.
///
/// # Errors
/// The database failed, or a secret cannot be made.
pub async fn furnish(config: &Config, access: &Access) -> anyhow::Result<()> {
    let now = clock::now();
    if access.plans().await?.is_empty() {
        access.set_plan(&first_plan(), ACTOR, now).await?;
    }
    if access.sites().await?.is_empty() {
        let plan = access
            .plans()
            .await?
            .first()
            .map_or_else(|| FIRST_PLAN.to_owned(), |plan| plan.name.clone());
        access.set_site(FIRST_SITE, true, &plan, ACTOR, now).await?;
    }
    let gateway = &config.file.gateway;
    if !config.file.role.has_gateway() || access.nas_by_name(&gateway.nas_identifier).await?.is_some() {
        return Ok(());
    }
    let read = |path: &std::path::Path, own: &str| {
        if path.as_os_str().is_empty() {
            local_secret(&config.file.state_dir.join(own))
        } else {
            read_secret(path)
        }
    };
    let secret = read(&gateway.radius.secret_file, "local-nas.secret")?;
    let uam_secret = read(&gateway.uam_secret_file, "local-uam.secret")?;
    let site = access
        .sites()
        .await?
        .into_iter()
        .next()
        .map_or_else(|| FIRST_SITE.to_owned(), |site| site.name);
    let coa: std::net::SocketAddr = gateway.coa_listen.parse()?;
    let nas = NasSetting {
        name: &gateway.nas_identifier,
        site: &site,
        source: "127.0.0.1/32".parse()?,
        secret: secret.as_bytes(),
        uam_secret: uam_secret.as_bytes(),
        coa_port: coa.port(),
        is_renewing: true,
    };
    access.set_nas(&nas, ACTOR, now).await?;
    Ok(())
}

fn first_plan() -> Plan {
    Plan {
        id: PlanId(0),
        name: FIRST_PLAN.to_owned(),
        quota_octets: Some(1_000_000_000),
        period: Period::Day,
        time_zone: "Asia/Kolkata".to_owned(),
        down_bits_per_sec: Some(10_000_000),
        up_bits_per_sec: Some(10_000_000),
        session_secs: Some(4 * 3600),
        idle_secs: Some(600),
        max_devices: 3,
        remembered_days: 14,
        after_quota: AfterQuota::Close,
    }
}
