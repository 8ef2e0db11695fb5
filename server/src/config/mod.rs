//! Reads the configuration, and tells everything that is wrong with it at once.

mod file;
mod gateway;
mod secret;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use kavadam_access::Settings;
use kavadam_access::sms::Texts;
use kavadam_domain::challenge::Rate;
use kavadam_gateway::GatewayConfig;
use toml::{Table, Value};

pub use file::{File, Role};
pub use secret::{local_secret, read_secret};

/// The example, which is also the list of every key there is.
pub const EXAMPLE: &str = include_str!("../../kavadam.example.toml");

/// Where the configuration is looked for.
pub const DEFAULT_PATH: &str = "/etc/kavadam/kavadam.toml";

/// Something wrong in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key.
    pub key: String,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

/// A file whose every value can be used.
#[derive(Debug, Clone)]
pub struct Config {
    /// As written, defaults filled in.
    pub file: File,
    /// RADIUS ports.
    pub radius_listen: (SocketAddr, SocketAddr),
    /// The portal's port.
    pub portal_listen: SocketAddr,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let text = format!("cannot be read: {error}; `kavadam example-config` prints one to begin with");
            vec![Problem {
                key: path.display().to_string(),
                text,
            }]
        })?;
        Self::parse(&text)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let broken = |key: &str, text: String| {
            vec![Problem {
                key: key.to_owned(),
                text,
            }]
        };
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| broken("syntax", error.to_string()))?;
        let example: Table = EXAMPLE
            .parse()
            .map_err(|error: toml::de::Error| broken("example", error.to_string()))?;
        let mut problems = Problems::default();
        problems.compare("", &table, &example);
        problems.finish()?;
        let file: File = Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| broken("role", error.message().to_owned()))?;
        Self::check(file)
    }

    fn check(file: File) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let auth = problems.read("radius.auth_listen", &file.radius.auth_listen, "ADDRESS:PORT");
        let acct = problems.read("radius.acct_listen", &file.radius.acct_listen, "ADDRESS:PORT");
        let portal = problems.read("portal.listen", &file.portal.listen, "ADDRESS:PORT");
        let _: Option<kavadam_portal::PublicUrl> = problems.read(
            "portal.public_url",
            &file.portal.public_url,
            "http://host[:port] without a path",
        );
        if file.role.is_half() && !file.database.url.starts_with("postgres") {
            problems.add(
                "database.url",
                "a portal and a radius process share one database, which must be PostgreSQL",
            );
        }
        let url = &file.database.url;
        if !url.is_empty()
            && !["sqlite:", "postgres://", "postgresql://"]
                .iter()
                .any(|start| url.starts_with(start))
        {
            problems.add("database.url", "begin with sqlite: or postgres://");
        }
        if !["error", "warn", "info", "debug", "trace"].contains(&file.log.level.as_str()) {
            problems.add("log.level", "use error, warn, info, debug or trace");
        }
        if !["text", "json"].contains(&file.log.format.as_str()) {
            problems.add("log.format", "use text or json");
        }
        check_sms(&file, &mut problems);
        if file.role.has_gateway() {
            gateway::check(&file, &mut problems);
        }
        problems.finish()?;
        match (auth, acct, portal) {
            (Some(auth), Some(acct), Some(portal_listen)) => Ok(Self {
                file,
                radius_listen: (auth, acct),
                portal_listen,
            }),
            // Each `None` has left a problem, so this is not reached.
            _ => Err(Vec::new()),
        }
    }

    /// Where the database is.
    pub fn database_url(&self) -> String {
        match self.file.database.url.as_str() {
            "" => format!("sqlite:{}", self.file.state_dir.join("kavadam.db").display()),
            url => url.to_owned(),
        }
    }

    /// Where the master key is.
    pub fn master_key_file(&self) -> PathBuf {
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join("master.key"));
        if self.file.secrets.master_key_file.as_os_str().is_empty() {
            credential
                .filter(|path| path.exists())
                .unwrap_or_else(|| self.file.state_dir.join("master.key"))
        } else {
            self.file.secrets.master_key_file.clone()
        }
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

    /// The gateway's part; reads its secrets, and makes those of an all-in-one.
    ///
    /// # Errors
    /// A secret cannot be read.
    pub fn gateway(&self) -> anyhow::Result<GatewayConfig> {
        gateway::build(&self.file)
    }
}

fn check_sms(file: &File, problems: &mut Problems) {
    if !file.role.has_portal() {
        return;
    }
    match file.sms.route.as_str() {
        "log-nothing" => {}
        "mobile-seva" => {
            for (key, value) in [
                ("sms.username", file.sms.username.as_str()),
                ("sms.template_id_en", &file.sms.template_id_en),
                ("sms.template_id_ml", &file.sms.template_id_ml),
            ] {
                if value.is_empty() {
                    problems.add(key, "give it, or set sms.route = \"log-nothing\"");
                }
            }
            for (key, path) in [
                ("sms.password_file", &file.sms.password_file),
                ("sms.secure_key_file", &file.sms.secure_key_file),
            ] {
                if let Err(error) = read_secret(path) {
                    problems.add(key, &error.to_string());
                }
            }
        }
        _ => problems.add("sms.route", "use mobile-seva or log-nothing"),
    }
    for (key, text) in [("sms.text_en", &file.sms.text_en), ("sms.text_ml", &file.sms.text_ml)] {
        if !text.contains("{code}") {
            problems.add(key, "the text must contain {code}");
        }
    }
}

/// What was found, in the order it was found.
#[derive(Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn add(&mut self, key: &str, text: &str) {
        self.0.push(Problem {
            key: key.to_owned(),
            text: text.to_owned(),
        });
    }

    /// A value of a type with a textual form; `None` leaves a problem.
    pub(crate) fn read<T: FromStr>(&mut self, key: &str, value: &str, form: &str) -> Option<T> {
        let read = value.parse().ok();
        if read.is_none() {
            self.add(key, &format!("`{value}` is not of the form {form}"));
        }
        read
    }

    fn finish(self) -> Result<(), Vec<Problem>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }

    /// Every key that the example does not have, and every value of another type than its.
    fn compare(&mut self, path: &str, given: &Table, example: &Table) {
        for (key, value) in given {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            match (example.get(key), value) {
                (None, _) => self.add(&path, "there is no such key; `kavadam example-config` lists them all"),
                (Some(Value::Table(example)), Value::Table(given)) => self.compare(&path, given, example),
                (Some(example), value) if example.type_str() != value.type_str() => {
                    self.add(
                        &path,
                        &format!("expected {}, found {}", example.type_str(), value.type_str()),
                    );
                }
                (Some(_), Value::Integer(number)) if !(0..=i64::from(u32::MAX)).contains(number) => {
                    self.add(&path, "the number is out of range");
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        Config::parse(text)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn the_example_says_the_defaults() {
        let example: File = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(example, File::default());
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_key() {
        let found = problems("rolle = 'x'\n[gateway]\nlan_if = 7\n[gateway.api]\nport = 1\n[log]\nlevels = 'x'");
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(
            found
                .iter()
                .any(|line| line.starts_with("gateway.api.port: there is no such key")),
            "{found:?}"
        );
        assert!(
            found
                .iter()
                .any(|line| line.starts_with("gateway.lan_if: expected string, found integer")),
            "{found:?}"
        );

        let found = problems(
            "[log]\nlevel = 'loud'\n[portal]\nlisten = 'here'\n[gateway]\nlan4 = '10.80.0.1'\n[sms]\nroute = 'log-nothing'",
        );
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn a_half_of_the_centre_needs_postgresql() {
        let found = problems("role = 'portal'\n[sms]\nroute = 'log-nothing'");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("PostgreSQL"), "{found:?}");
    }

    #[test]
    fn an_sms_route_without_an_account_is_refused() {
        let found = problems("");
        assert!(found.iter().any(|line| line.starts_with("sms.username")), "{found:?}");
        assert!(Config::parse("[sms]\nroute = 'log-nothing'").is_ok());
    }
}
