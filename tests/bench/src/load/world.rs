//! A server under test in a network namespace of its own.

use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use kavadam_lab::netns::{Netns, Process};
use kavadam_lab::traces;
use kavadam_lab::world::until;
use serde_json::Value;
use tempfile::TempDir;

use super::sql::{Database, Engine};
use super::target::Gates;
use super::{centre, cost, packaged, peer};

/// Of every gate, in a namespace that nobody else reaches.
pub const SECRET: &str = "a-secret-of-all-gates";
const FIRST_GATE: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Who {
    /// This project's binary
    Kavadam,
    /// Debian's FreeRADIUS, trimmed to what is needed
    Freeradius,
    /// The same as it is packaged
    Packaged,
}

impl Who {
    /// As it is called in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kavadam => "kavadam",
            Self::Freeradius => "freeradius",
            Self::Packaged => "packaged",
        }
    }

    /// As its process is called.
    const fn process(self) -> &'static str {
        match self {
            Self::Kavadam => "kavadam",
            Self::Freeradius | Self::Packaged => "freeradius",
        }
    }

    /// In names of namespaces.
    pub const fn letter(self) -> char {
        match self {
            Self::Kavadam => 'k',
            Self::Freeradius => 'f',
            Self::Packaged => 'p',
        }
    }
}

/// What stands there.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who.
    pub who: Who,
    /// On what.
    pub engine: Engine,
    /// Subscribers, each with a device and an open session.
    pub devices: u32,
    /// At how many gates.
    pub gates: u32,
    /// The binary.
    pub kavadam: Option<PathBuf>,
}

/// A server that runs, with its database filled.
pub struct World {
    /// Ended first.
    server: Process,
    netns: Netns,
    dir: TempDir,
    plan: Plan,
    database: Database,
}

impl World {
    /// Makes it.
    pub fn make(plan: Plan, netns: &str) -> anyhow::Result<Self> {
        let dir = traces::directory("kavadam-load-")?;
        let netns = Netns::new(netns)?;
        let gates = Gates {
            first: Some(FIRST_GATE),
            count: plan.gates,
        };
        let sizes = (gates, plan.devices);
        let (database, server) = match plan.who {
            Who::Kavadam => {
                let database = Database::make(plan.engine, dir.path(), "kavadam")?;
                let program = match &plan.kavadam {
                    Some(path) => path.clone(),
                    None => beside("kavadam")?,
                };
                let server = centre::start(&program, &netns, dir.path(), &database, sizes)?;
                (database, server)
            }
            Who::Freeradius => {
                let database = Database::make(plan.engine, dir.path(), "radius")?;
                let server = peer::start(&netns, dir.path(), &database, sizes)?;
                (database, server)
            }
            Who::Packaged => {
                let database = Database::make(plan.engine, dir.path(), "packaged")?;
                let server = packaged::start(&netns, dir.path(), &database, plan.devices)?;
                (database, server)
            }
        };
        Ok(Self {
            server,
            netns,
            dir,
            plan,
            database,
        })
    }

    /// The server's process.
    pub fn pid(&self) -> anyhow::Result<u32> {
        let name = self.plan.who.process();
        let inside = self.netns.processes()?;
        inside
            .into_iter()
            .find(|pid| {
                let told = std::fs::read_to_string(format!("/proc/{pid}/comm"));
                told.is_ok_and(|told| told.trim() == name)
            })
            .with_context(|| format!("{name} does not run"))
    }

    /// A gate the server knows and no device is at.
    pub fn spare_gate(&self) -> Ipv4Addr {
        let gates = Gates {
            first: Some(FIRST_GATE),
            count: self.plan.gates,
        };
        gates.address(usize::try_from(self.plan.gates).unwrap_or(0))
    }

    /// Octets that the server holds in memory now.
    pub fn resident(&self) -> anyhow::Result<u64> {
        Ok(cost::cost(self.pid()?)?.resident)
    }

    /// Whether the server has not ended.
    pub fn is_running(&mut self) -> bool {
        self.server.is_running()
    }

    /// What the generator must be told of this world.
    pub fn arguments(&self) -> anyhow::Result<Vec<String>> {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let mut words = [
            ("--secret-file", path("secret")),
            ("--first-gate", FIRST_GATE.to_string()),
            ("--gates", self.plan.gates.to_string()),
            ("--devices", self.plan.devices.to_string()),
            ("--state", path("devices")),
            ("--watch", format!("server={}", self.pid()?)),
        ]
        .map(|(name, value)| [name.to_owned(), value])
        .concat();
        if let Some(pid) = self.database.pid() {
            words.extend(["--watch".to_owned(), format!("database={pid}")]);
        }
        if self.plan.who == Who::Kavadam {
            words.extend(centre::arguments());
        }
        Ok(words)
    }

    /// Runs the generator in here.
    pub fn load(&self, words: &str) -> anyhow::Result<Value> {
        // Itself, even where it was built anew meanwhile.
        let own = format!("/proc/{}/exe", std::process::id());
        let mut command: Command = self.netns.command(&own);
        let output = command
            .arg("run")
            .args(self.arguments()?)
            .args(words.split_whitespace())
            .output()?;
        ensure!(
            output.status.success(),
            "the generator: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Sets a server up and holds it.
#[derive(Debug, Args)]
pub struct Hold {
    /// Which server
    #[arg(long, value_enum, default_value = "kavadam")]
    server: Who,
    /// On which database; for `postgres` run this under tests/postgres.sh
    #[arg(long, value_enum, default_value = "sqlite")]
    database: Engine,
    /// Subscribers, each with a remembered device and an open session
    #[arg(long, default_value_t = 10_000)]
    devices: u32,
    /// Gates they are at
    #[arg(long, default_value_t = 200)]
    gates: u32,
    /// Name of the network namespace
    #[arg(long, default_value = "kvload")]
    netns: String,
    /// The binary [default: the one built beside this program]
    #[arg(long)]
    kavadam: Option<PathBuf>,
    /// Run this scenario once the server stands, print what came of it, and end
    #[arg(last = true)]
    run: Vec<String>,
}

impl Hold {
    /// Until told to stop.
    pub fn run(self) -> anyhow::Result<Value> {
        traces::heed_signals(|| 130)?;
        let plan = Plan {
            who: self.server,
            engine: self.database,
            devices: self.devices,
            gates: self.gates,
            kavadam: self.kavadam,
        };
        let mut world = World::make(plan, &self.netns)?;
        if !self.run.is_empty() {
            return world.load(&self.run.join(" "));
        }
        let words = world.arguments()?;
        let file = world.dir.path().join("arguments");
        std::fs::write(&file, words.join(" "))?;
        let own = std::env::current_exe()?;
        eprintln!(
            "server {} runs; put load on it with\n  ip netns exec {} {} run $(cat {}) --scenario mix\nand end it with Ctrl-C.",
            world.pid()?,
            self.netns,
            own.display(),
            file.display()
        );
        while world.is_running() {
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!("the server has ended: see {}", world.dir.path().display())
    }
}

/// Waits until a UDP port is open in the namespace.
pub fn wait_for_port(netns: &Netns, port: u16) -> anyhow::Result<()> {
    let is_open = || {
        let told = netns.run("cat", &["/proc/net/udp", "/proc/net/udp6"]);
        told.is_ok_and(|told| told.contains(&format!(":{port:04X} ")))
    };
    ensure!(until(Duration::from_secs(30), is_open), "UDP port {port} does not open");
    Ok(())
}

/// Where both the server and the generator find it.
pub fn write_secret(dir: &Path) -> anyhow::Result<()> {
    let mut options = File::options();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    Ok(options.open(dir.join("secret"))?.write_all(SECRET.as_bytes())?)
}

/// A program built beside this one.
fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is not built: run make build", path.display());
    Ok(path)
}
