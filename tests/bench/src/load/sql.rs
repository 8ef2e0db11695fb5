//! Databases of the servers under test, filled by the databases' own programs: a million rows come from one statement.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use data_encoding::HEXLOWER;

/// Which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// In a file of the server's own
    Sqlite,
    /// On a private server: run this under tests/postgres.sh
    Postgres,
}

impl Engine {
    /// As it is called in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// What `tests/postgres.sh` tells.
const PRIVATE_SERVER: &str = "KAVADAM_TEST_POSTGRES";

/// One database.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A database of this name at a server with this socket directory and user.
    Postgres {
        /// Directory of its socket.
        host: PathBuf,
        /// Who we are there.
        user: String,
        /// Its name.
        name: String,
    },
}

impl Database {
    /// Makes an empty one.
    pub fn make(engine: Engine, dir: &Path, name: &str) -> anyhow::Result<Self> {
        match engine {
            Engine::Sqlite => Ok(Self::Sqlite(dir.join(format!("{name}.db")))),
            Engine::Postgres => {
                let url = std::env::var(PRIVATE_SERVER).context("PostgreSQL: run this under tests/postgres.sh")?;
                let part = |key: &str| {
                    let query = url.split_once('?').map_or("", |(_, query)| query);
                    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                    pairs.find_map(|(name, value)| (name == key).then(|| value.to_owned()))
                };
                let unreadable = || format!("{PRIVATE_SERVER} is not as tests/postgres.sh sets it");
                let made = |name: &str| -> anyhow::Result<Self> {
                    Ok(Self::Postgres {
                        host: part("host").with_context(unreadable)?.into(),
                        user: part("user").with_context(unreadable)?,
                        name: name.to_owned(),
                    })
                };
                let server = made("postgres")?;
                server.run(dir, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE);"))?;
                server.run(dir, &format!("CREATE DATABASE {name};"))?;
                made(name)
            }
        }
    }

    /// Runs statements of this engine, in order.
    pub fn run(&self, dir: &Path, statements: &str) -> anyhow::Result<String> {
        let script = dir.join("script.sql");
        fs::write(&script, statements)?;
        let file = script.display();
        let output = match self {
            Self::Sqlite(path) => Command::new("sqlite3")
                .args(["-bail", &path.display().to_string(), &format!(".read {file}")])
                .output()
                .context("cannot run sqlite3 (Debian: sqlite3)")?,
            Self::Postgres { host, user, name } => Command::new("psql")
                .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
                .args(["-h", &host.display().to_string(), "-U", user, "-d", name])
                .args(["-f", &file.to_string()])
                .output()
                .context("cannot run psql (Debian: postgresql-client)")?,
        };
        if !output.status.success() {
            bail!("SQL: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// As Kavadam takes it.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres { host, user, name } => format!("postgres:///{name}?host={}&user={user}", host.display()),
        }
    }

    /// The process that serves it, if it is not the server under test itself.
    pub fn pid(&self) -> Option<u32> {
        let Self::Postgres { host, .. } = self else { return None };
        let told = fs::read_to_string(host.join("data/postmaster.pid")).ok()?;
        told.lines().next()?.trim().parse().ok()
    }

    /// The rows `n` of 0 … count-1, to select from.
    pub fn numbers(&self, count: u32) -> String {
        match self {
            Self::Sqlite(_) => format!(
                "(WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count}) SELECT n FROM numbers)"
            ),
            Self::Postgres { .. } => {
                format!("(SELECT n::bigint AS n FROM generate_series(0, {count} - 1) AS n) AS numbers")
            }
        }
    }

    /// Octets below 128 as a blob: those given and the number `n` in four of 7 bits.
    pub fn blob_of_n(&self, before: &[u8]) -> String {
        match self {
            Self::Sqlite(_) => {
                let before: Vec<_> = before.iter().map(|octet| format!("{octet}, ")).collect();
                let before = before.concat();
                format!("CAST(char({before}(n >> 21) & 127, (n >> 14) & 127, (n >> 7) & 127, n & 127) AS BLOB)")
            }
            Self::Postgres { .. } => {
                let before = HEXLOWER.encode(before);
                let octet = |shift| format!("lpad(to_hex((n >> {shift}) & 127), 2, '0')");
                let octets = [21, 14, 7, 0].map(octet).join(" || ");
                format!("decode('{before}' || {octets}, 'hex')")
            }
        }
    }

    /// The number `n` in eight hexadecimal digits.
    pub fn hex_of_n(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "printf('%08x', n)",
            Self::Postgres { .. } => "lpad(to_hex(n), 8, '0')",
        }
    }

    /// The MAC of device `n`, as [`super::population::mac`] writes it.
    pub fn mac_of_n(&self) -> String {
        match self {
            Self::Sqlite(_) => {
                "printf('02-4C-%02X-%02X-%02X-%02X', (n >> 21) & 127, (n >> 14) & 127, (n >> 7) & 127, n & 127)".into()
            }
            Self::Postgres { .. } => {
                let octet = |shift| format!("lpad(upper(to_hex((n >> {shift}) & 127)), 2, '0')");
                format!("'02-4C-' || {}", [21, 14, 7, 0].map(octet).join(" || '-' || "))
            }
        }
    }

    /// What makes loading fast; `work` follows in one transaction, and the database is durable again after it.
    pub fn load(&self, dir: &Path, work: &str) -> anyhow::Result<()> {
        let (before, after) = match self {
            Self::Sqlite(_) => (
                "PRAGMA synchronous = OFF; PRAGMA cache_size = -500000; BEGIN;",
                "COMMIT; PRAGMA wal_checkpoint(TRUNCATE);",
            ),
            // Triggers are the foreign keys' checks.
            Self::Postgres { .. } => (
                "SET maintenance_work_mem = '512MB'; BEGIN; SET LOCAL session_replication_role = replica;",
                "COMMIT; VACUUM ANALYZE;",
            ),
        };
        self.run(dir, &format!("{before}\n{work}\n{after}\n")).map(drop)
    }

    /// Has the database write what was loaded now, rather than while it is measured.
    pub fn settle(&self, dir: &Path) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres { .. } => self.run(dir, "CHECKPOINT;\n").map(drop),
        }
    }
}
