//! Opens the centre, and furnishes an empty one so that a first start works.

use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;

use anyhow::{Context as _, bail};
use ipnet::IpNet;
use kavadam_access::admin::NasSetting;
use kavadam_access::key::KeyError;
use kavadam_access::{Access, AccessError, Sealer};
use kavadam_domain::gate::OWN_PROFILE;
use kavadam_domain::plan::{AfterQuota, Period};
use kavadam_domain::{Plan, PlanId};
use kavadam_store::{Found, Store, without_password};

use crate::clock;
use crate::config::Config;

/// Who made what a first start makes, in the audit.
const ACTOR: &str = "first start";
/// The site and plan of an empty centre.
const FIRST_SITE: &str = "First site";
const FIRST_PLAN: &str = "citizen";

/// A database that cannot be opened, with what to do.
#[derive(Debug)]
pub struct Unopened {
    /// What is wrong, without the database's password.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Unopened {
    fn new(url: &str, error: &kavadam_store::Error) -> Self {
        Self {
            what: format!("cannot open the database {}: {error}", without_password(url)),
            remedy: error.remedy(),
        }
    }
}

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. Remedy: {}", self.what, self.remedy)
    }
}

impl std::error::Error for Unopened {}

/// The use cases over the configured database; of both database and master key the first use makes what is missing.
///
/// # Errors
/// The state directory, key or database cannot be opened, or the key is not the database's.
pub async fn open(config: &Config) -> anyhow::Result<Access> {
    Ok(open_with_key(config).await?.0)
}

/// Likewise, with the key, for what is derived from it besides.
///
/// # Errors
/// As [`open`].
pub async fn open_with_key(config: &Config) -> anyhow::Result<(Access, Sealer)> {
    let dir = &config.file.state_dir;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make the state directory {}", dir.display()))?;
    let url = config.database_url();
    let store = Store::open(&url).await.map_err(|error| Unopened::new(&url, &error))?;
    let sealer = Sealer::of_database(&store, &config.master_key_file(), rand::random()).await?;
    Ok((Access::new(store, sealer.clone(), config.settings()), sealer))
}

/// What is there of a centre.
pub enum Looked {
    /// Nothing: the first start makes it.
    Nothing,
    /// A database whose tables are brought up to date at the next start.
    Older,
    /// All of it, to look at.
    Here(Access),
}

/// Looks at the configured database and master key: nothing is made, brought up to date or changed.
///
/// # Errors
/// The database cannot be looked at, or the key is not there, or not the database's.
pub async fn look(config: &Config) -> anyhow::Result<Looked> {
    let (url, key) = (config.database_url(), config.master_key_file());
    // The first start makes the state directory, and no other.
    let found = if config.file.database.url.is_empty() && !config.file.state_dir.exists() {
        Found::Nothing
    } else {
        Store::look(&url).await.map_err(|error| Unopened::new(&url, &error))?
    };
    let store = match found {
        Found::Current(store) => store,
        // A start would take the key that is there.
        Found::Nothing if key.exists() => return Ok(Sealer::read(&key).map(|_| Looked::Nothing)?),
        Found::Nothing => return Ok(Looked::Nothing),
        Found::Older => return Ok(Looked::Older),
    };
    match Sealer::look(&store, &key).await {
        Ok(sealer) => Ok(Looked::Here(Access::new(store, sealer, config.settings()))),
        Err(error) => {
            store.close().await;
            match error {
                AccessError::Key(KeyError::None(_)) => Ok(Looked::Nothing),
                error => Err(error.into()),
            }
        }
    }
}

/// Likewise, for whoever can do nothing without.
///
/// # Errors
/// As [`look`], and where there is no database of this version yet.
pub async fn must_look(config: &Config) -> anyhow::Result<Access> {
    match look(config).await? {
        Looked::Here(access) => Ok(access),
        Looked::Nothing => bail!("the database has never been used: the first start makes it"),
        Looked::Older => bail!("the database is an older version's: the next start brings it up to date"),
    }
}

/// Makes the plan and site of a centre where there are none yet, and keeps the gate of an all-in-one as the configuration has it.
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
    if config.file.role.has_gateway() {
        furnish_gate(config, access).await?;
    }
    Ok(())
}

/// The centre knows its own gate as the configuration has it: a secret changed in one place alone would silence RADIUS.
async fn furnish_gate(config: &Config, access: &Access) -> anyhow::Result<()> {
    let gateway = config.gateway()?;
    let (auth, _) = gateway.radius.servers.first().context("gateway.radius.auth_servers")?;
    // Asking an address of this machine, the gate is heard from that same address.
    let source = IpNet::from(auth.ip());
    let (secret, uam_secret) = (gateway.radius.secret.octets(), gateway.uam_secret.octets());
    let coa_port = gateway.coa_listen.port();
    if let Some(known) = access.nas_by_name(&gateway.nas_identifier).await?
        && known.secret.as_slice() == secret
        && known.uam_secret.as_slice() == uam_secret
        && (known.source, known.coa_port) == (source, coa_port)
    {
        return Ok(());
    }
    let known = access.nases().await?;
    let site = match known.into_iter().find(|nas| nas.name == gateway.nas_identifier) {
        Some(nas) => {
            tracing::info!(
                nas = nas.name,
                "the centre takes over what the configuration says of this gate"
            );
            nas.site
        }
        None => access
            .sites()
            .await?
            .into_iter()
            .next()
            .map_or_else(|| FIRST_SITE.to_owned(), |site| site.name),
    };
    let nas = NasSetting {
        name: &gateway.nas_identifier,
        site: &site,
        source,
        secret,
        uam_secret,
        coa_port,
        coa_host: None,
        profile: OWN_PROFILE,
        is_renewing: true,
    };
    access.set_nas(&nas, ACTOR, clock::now()).await?;
    Ok(())
}

pub fn first_plan() -> Plan {
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
        filter: None,
        class: None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn secret(path: &std::path::Path, content: &str) {
        fs::write(path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[tokio::test]
    async fn a_changed_secret_or_address_of_our_own_gate_reaches_the_centre() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let furnished = async |more: &str| {
            let text = format!(
                "state_dir = '{}'\nsms.route = 'log-nothing'\n{more}",
                at("state").display()
            );
            fs::write(at("kavadam.toml"), text).unwrap();
            let config = Config::load(&at("kavadam.toml")).unwrap();
            let access = open(&config).await.unwrap();
            furnish(&config, &access).await.unwrap();
            access.nas_by_name("local").await.unwrap().unwrap()
        };
        let made = furnished("").await;
        assert_eq!(made.source.to_string(), "127.0.0.1/32");
        secret(&at("nas"), "a-secret-of-thirty-two-octets-xx");
        let with_file = format!("gateway.radius.secret_file = '{}'\n", at("nas").display());
        let changed = furnished(&with_file).await;
        assert_eq!(changed.secret.as_slice(), b"a-secret-of-thirty-two-octets-xx");
        assert_eq!((changed.id, changed.uam_secret), (made.id, made.uam_secret));
        let elsewhere = "radius.auth_listen = '10.80.0.1:1812'\nradius.acct_listen = '10.80.0.1:1813'\n\
             gateway.radius.auth_servers = ['10.80.0.1:1812']\ngateway.radius.acct_servers = ['10.80.0.1:1813']\n";
        assert_eq!(furnished(elsewhere).await.source.to_string(), "10.80.0.1/32");
    }
}
