//! Reads the configuration, and tells everything that is wrong with it at once.

mod check;
mod file;
mod gateway;
mod lan;
mod problems;
mod role;
mod secret;
mod sift;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kavadam_access::Settings;
use kavadam_access::sms::Texts;
use kavadam_domain::challenge::Rate;
use kavadam_gateway::GatewayConfig;
use kavadam_radius::Secret;
use kavadam_radius::profile::Profiles;
use kavadam_radius::server::RadsecConfig;
use kavadam_radius::tls::TlsFiles;
use toml::Table;

use problems::Problems;

pub use file::{File, Filter, Role, UplinkClass};
pub use lan::{LanTold, lan_told};
pub use problems::Problem;
pub use role::is_without_gateway;
pub use secret::read_secret;

/// The example, which is also the list of every key there is.
pub const EXAMPLE: &str = include_str!("../../kavadam.example.toml");

/// Where the configuration is looked for.
pub const DEFAULT_PATH: &str = "/etc/kavadam/kavadam.toml";

/// A configuration that cannot be used: trying again does not help, changing it does.
#[derive(Debug)]
pub struct Unusable {
    path: PathBuf,
    problems: Vec<Problem>,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration {} cannot be used:", self.path.display())?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Unusable {}

/// A file whose every value can be used.
#[derive(Debug, Clone)]
pub struct Config {
    /// As written, defaults filled in.
    pub file: File,
    /// RADIUS ports over UDP.
    pub radius_listen: RadiusListen,
    /// The port for RADIUS over TLS, if it is on.
    pub radsec_listen: Option<SocketAddr>,
    /// The portal's port.
    pub portal_listen: SocketAddr,
    /// How each vendor's gates are spoken to.
    pub profiles: Arc<Profiles>,
    /// Where figures are told to a collector, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
}

/// Where the RADIUS server listens over UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RadiusListen {
    /// For logins.
    pub auth: Places,
    /// For reports.
    pub acct: Places,
}

/// At least one address with its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    pub first: SocketAddr,
    pub others: Vec<SocketAddr>,
}

impl Places {
    pub fn all(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.others.iter().try_for_each(|other| write!(f, ", {other}"))
    }
}

/// A port that one of the parts listens on.
#[derive(Debug, Clone, Copy)]
pub struct Listen {
    /// The key that says so.
    pub key: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// UDP, not TCP.
    pub is_udp: bool,
}

impl Config {
    /// Reads a file; looks at no other files but the profiles that it names.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn load(path: &Path) -> Result<Self, Unusable> {
        let (config, problems) = Self::examine(path).map_err(|problem| unusable(path, vec![problem]))?;
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(unusable(path, problems))
        }
    }

    /// Reads a file for its gateway alone, whose rules, DHCP and DNS must not wait until the rest of it is right.
    ///
    /// # Errors
    /// Everything wrong that a gateway could be concerned by.
    pub fn load_gateway(path: &Path) -> Result<Self, Unusable> {
        const OTHERS: [&str; 7] = [
            "log.",
            "database.",
            "secrets.",
            "radius.",
            "metrics.",
            "challenge.",
            "sms.",
        ];
        let (config, mut problems) = Self::examine(path).map_err(|problem| unusable(path, vec![problem]))?;
        problems.retain(|problem| !OTHERS.iter().any(|section| problem.key.starts_with(section)));
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(unusable(path, problems))
        }
    }

    /// What can be used of a file, and everything wrong with it.
    ///
    /// # Errors
    /// Nothing of it can be used.
    pub fn examine(path: &Path) -> Result<(Self, Vec<Problem>), Problem> {
        let text = std::fs::read_to_string(path).map_err(|error| Problem {
            key: path.display().to_string(),
            text: match error.kind() {
                ErrorKind::NotFound => "is not there; `kavadam example-config` prints one to begin with".to_owned(),
                ErrorKind::InvalidData => "is no text in UTF-8: save it as such".to_owned(),
                _ => format!("cannot be read: {error}"),
            },
        })?;
        let (config, mut problems) = Self::examine_text(&text)?;
        problems.extend(secret::exposed_password(&config.file.database.url, path));
        Ok((config, problems))
    }

    fn examine_text(text: &str) -> Result<(Self, Vec<Problem>), Problem> {
        let given: Table = text.parse().map_err(|error| broken("syntax", text, &error))?;
        let example: Table = EXAMPLE.parse().map_err(|error| broken("example", EXAMPLE, &error))?;
        let mut problems = Problems::default();
        let file = sift::sift(&given, &example, &mut problems);
        let config = check::check(file, &mut problems);
        Ok((config, problems.0))
    }

    /// What is wrong with the files of secrets it names; makes none.
    pub fn secret_problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        check::secrets(&self.file, &mut problems);
        problems.0
    }

    /// Every file that the roles of this process read, with the key that names it; those made at the first start are not among them.
    pub fn named_files(&self) -> Vec<(String, PathBuf)> {
        check::named_files(&self.file)
    }

    /// Refuses secrets that cannot be read.
    ///
    /// # Errors
    /// All of them.
    pub fn require_secrets(&self, path: &Path) -> Result<(), Unusable> {
        match self.secret_problems() {
            problems if problems.is_empty() => Ok(()),
            problems => Err(unusable(path, problems)),
        }
    }

    /// Every port that the roles listen on, dnsmasq's too.
    pub fn listens(&self) -> Vec<Listen> {
        check::listens(self)
    }

    /// Where the database is.
    pub fn database_url(&self) -> String {
        match self.file.database.url.as_str() {
            "" => format!("sqlite:{}", self.file.state_dir.join("kavadam.db").display()),
            url => url.to_owned(),
        }
    }

    /// Where the running process lets the command line look on: for the owner of the state alone.
    pub fn watch_socket(&self) -> PathBuf {
        self.file.state_dir.join("watch.sock")
    }

    /// The same for the gateway.
    pub fn gate_socket(&self) -> PathBuf {
        self.file.state_dir.join("gate.sock")
    }

    /// Where the master key is.
    pub fn master_key_file(&self) -> PathBuf {
        if self.file.secrets.master_key_file.as_os_str().is_empty() {
            secret::credential("master.key").unwrap_or_else(|| self.file.state_dir.join("master.key"))
        } else {
            self.file.secrets.master_key_file.clone()
        }
    }

    /// RADIUS over TLS, if it is on.
    pub fn radsec(&self) -> Option<RadsecConfig> {
        Some(tls::server(&self.file, self.radsec_listen?))
    }

    /// Certificates for RADIUS over TLS of the roles of this process, with the section that names them.
    pub fn tls_files(&self) -> Vec<(&'static str, TlsFiles)> {
        tls::files(&self.file)
    }

    /// Limits of logins.
    pub fn settings(&self) -> Settings {
        let limits = &self.file.challenge;
        let rate = |most, within| Rate { most, within };
        let ten_minutes = Duration::from_mins(10);
        Settings {
            resend_after: Duration::from_secs(u64::from(limits.resend_after_secs)),
            number_burst: rate(limits.number_per_10_min, ten_minutes),
            number_daily: rate(limits.number_per_day, Duration::from_hours(24)),
            device: rate(limits.device_per_10_min, ten_minutes),
            address: rate(limits.address_per_10_min, ten_minutes),
            site: rate(limits.site_per_minute, Duration::from_mins(1)),
            abilities: self.profiles.abilities(),
            ..Settings::default()
        }
    }

    /// What messages say.
    pub fn texts(&self) -> Texts {
        Texts {
            ml: self.file.sms.text_ml.clone(),
            en: self.file.sms.text_en.clone(),
        }
    }

    /// The gateway's part; reads its secrets, and makes those of an all-in-one. For the process that runs it alone.
    ///
    /// # Errors
    /// A secret cannot be read or made.
    pub fn gateway(&self) -> anyhow::Result<GatewayConfig> {
        let (secret, uam_secret) = gateway::secrets(&self.file)?;
        gateway::build(
            &self.file,
            Secret::new(secret.as_bytes()),
            Secret::new(uam_secret.as_bytes()),
        )
    }

    /// The gateway's part with blank secrets: for its rules, its DHCP and DNS, and for looking. Reads and makes no file.
    ///
    /// # Errors
    /// A value cannot be used.
    pub fn gateway_outline(&self) -> anyhow::Result<GatewayConfig> {
        gateway::build(&self.file, Secret::new(b""), Secret::new(b""))
    }
}

/// Where a text is broken and how, without a word of it: it may hold the database's password.
fn broken(key: &str, text: &str, error: &toml::de::Error) -> Problem {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or_default();
    let line = before.lines().count() + usize::from(before.is_empty() || before.ends_with('\n'));
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Problem {
        key: key.to_owned(),
        text: format!(
            "line {line}, column {column}: {}",
            error.message().trim().replace('\n', " ")
        ),
    }
}

fn unusable(path: &Path, problems: Vec<Problem>) -> Unusable {
    Unusable {
        path: path.to_owned(),
        problems,
    }
}
