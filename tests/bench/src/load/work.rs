//! The load as it was asked for, shared among threads.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use data_encoding::{DecodeError, HEXLOWER_PERMISSIVE};
use serde_json::{Value, json};

use super::cost::{self, Cost};
use super::flood::{Flood, Wrong};
use super::population::{self, Population, Template};
use super::process::{self, Watched};
use super::pump::Pump;
use super::report::Tally;
use super::story::Scenario;
use super::target::Gates;

/// How requests follow each other.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As many as are answered, so many of each thread at once.
    InFlight(usize),
    /// So many a second of each thread, however slow the answers.
    Rate(f64),
}

/// Service-Type of logins.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Service {
    /// Login (1)
    Login,
    /// Framed (2)
    Framed,
    /// Call-Check (10), as for authentication by MAC
    CallCheck,
}

impl Service {
    /// On the wire.
    pub const fn number(self) -> u32 {
        match self {
            Self::Login => 1,
            Self::Framed => 2,
            Self::CallCheck => 10,
        }
    }
}

/// How Classes begin.
#[derive(Debug, Clone)]
struct Prefix(Vec<u8>);

impl FromStr for Prefix {
    type Err = DecodeError;
    fn from_str(hex: &str) -> Result<Self, DecodeError> {
        HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).map(Self)
    }
}

/// What to do to which server.
#[derive(Debug, Args)]
pub struct Load {
    /// The server's address
    #[arg(long, default_value = "127.0.0.1")]
    server: Ipv4Addr,
    /// Its authentication port
    #[arg(long, default_value_t = 1812)]
    auth_port: u16,
    /// Its accounting port
    #[arg(long, default_value_t = 1813)]
    acct_port: u16,
    /// File with the RADIUS secret of every gate
    #[arg(long)]
    secret_file: PathBuf,
    /// What is played
    #[arg(long, value_enum, default_value = "auth")]
    pub scenario: Scenario,
    /// Requests in flight at once, over all threads
    #[arg(long, default_value_t = 256, conflicts_with = "rate")]
    in_flight: usize,
    /// Requests a second instead, over all threads; latency counts from the moment a request was due
    #[arg(long)]
    rate: Option<f64>,
    /// How long is measured, seconds. A storm ends by itself, but not later
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// How long before that, seconds
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// How many devices there are
    #[arg(long, default_value_t = 10_000)]
    devices: u32,
    /// Nobody is online at first: each device logs in before it reports
    #[arg(long)]
    fresh: bool,
    /// How many gates they are at
    #[arg(long, default_value_t = 1)]
    gates: u32,
    /// Address of the first gate, if they have addresses of their own, one after the other; on loopback any of 127.0.0.0/8
    #[arg(long)]
    first_gate: Option<Ipv4Addr>,
    /// User-Name; {number} is the device's number from 0, {mac} its MAC
    #[arg(long, default_value = "{mac}")]
    pub user_name: Template,
    /// User-Password, likewise
    #[arg(long, default_value = "{mac}")]
    pub password: Template,
    /// Service-Type
    #[arg(long, value_enum, default_value = "call-check")]
    pub service: Service,
    /// Octets in hexadecimal that begin the Class of sessions the server had before; the device's number follows in 4 octets of 7 bits.
    /// Classes of later sessions are taken from the server's answers
    #[arg(long)]
    class: Option<Prefix>,
    /// How long a gate waits before it asks again, milliseconds
    #[arg(long, default_value_t = 2000)]
    retry_ms: u64,
    /// How often it asks
    #[arg(long, default_value_t = 4)]
    pub tries: u8,
    /// Threads
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// Local ports of each thread for each of the server's two; each has 256 identifiers for each gate
    #[arg(long, default_value_t = 2)]
    pub ports: usize,
    /// The authenticator of one answer in so many is checked, and of every one to a repeated request; 0: of these alone
    #[arg(long, default_value_t = 64)]
    pub check: usize,
    /// File that keeps where each device stands, from one run to the next
    #[arg(long)]
    state: Option<PathBuf>,
    /// NAME=PID of a process whose time on processors and memory are told; its descendants count with it
    #[arg(long)]
    watch: Vec<Watched>,
    /// Beside everything else, so many bad datagrams a second to the authentication port
    #[arg(long)]
    flood: Option<u32>,
    /// Where the flood comes from
    #[arg(long, default_value = "127.9.9.9")]
    flood_from: Ipv4Addr,
    /// What is wrong with its datagrams
    #[arg(long, value_enum, default_value = "secret")]
    flood_wrong: Wrong,
}

impl Load {
    /// How requests follow each other in one thread.
    pub fn pace(&self) -> Pace {
        match self.rate {
            Some(rate) => Pace::Rate(rate / f64::from(self.threads)),
            None => Pace::InFlight(self.in_flight.div_ceil(usize::try_from(self.threads).unwrap_or(1))),
        }
    }

    /// The secret, without the line's end.
    pub fn secret(&self) -> anyhow::Result<Vec<u8>> {
        let path = &self.secret_file;
        let secret = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(secret.trim_ascii_end().to_vec())
    }

    /// Where requests come from.
    pub const fn gates(&self) -> Gates {
        Gates {
            first: self.first_gate,
            count: self.gates,
        }
    }

    /// Where logins go.
    pub const fn auth(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.server, self.auth_port)
    }

    /// Where reports go.
    pub const fn acct(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.server, self.acct_port)
    }

    /// Before anything is measured.
    pub fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up)
    }

    /// What is measured.
    pub fn length(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Before a gate asks again.
    pub const fn retry(&self) -> Duration {
        Duration::from_millis(self.retry_ms)
    }

    /// Class of a session that was there before us.
    pub fn class_of(&self, number: u32) -> Option<Vec<u8>> {
        let mut class = self.class.clone()?.0;
        class.extend(population::sevens(number));
        Some(class)
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.threads > 0 && self.ports > 0, "one thread and one port at least");
        ensure!(
            self.gates > 0 && self.devices >= self.threads,
            "too few gates or devices"
        );
        ensure!(
            self.first_gate.is_some() || self.gates == 1,
            "several gates need --first-gate"
        );
        ensure!(self.rate.is_none_or(|rate| rate > 0.0), "--rate must be above 0");
        ensure!(self.seconds > 0.0 && self.warm_up >= 0.0, "--seconds must be above 0");
        Ok(())
    }

    fn people(&self) -> anyhow::Result<Population> {
        match &self.state {
            Some(path) if path.exists() => Population::read(path, self.devices),
            _ if self.fresh => Ok(Population::fresh(self.devices)),
            _ => Ok(Population::loaded(self.devices)),
        }
    }
}

/// Runs it and tells what came of it.
pub fn run(load: &Load) -> anyhow::Result<Value> {
    load.check()?;
    let parts = load.people()?.split(usize::try_from(load.threads)?);
    let start = Instant::now();
    let (ends, costs, flooded) = thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(parts)
            .map(|(own, people)| {
                // Built where it runs: its buffers are not to be handed about.
                scope.spawn(move || Pump::new(load, people, (own, load.threads), start).map(Pump::run))
            })
            .collect();
        sleep_until(start + load.warm_up());
        let before = Costs::now(load)?;
        let flood = flood(load).map(|flood| scope.spawn(move || flood.run()));
        let end = start + load.warm_up() + load.length();
        while Instant::now() < end && threads.iter().any(|thread| !thread.is_finished()) {
            sleep_until(end.min(Instant::now() + Duration::from_millis(20)));
        }
        let after = Costs::now(load)?;
        let flooded = flood.and_then(|flood| flood.join().ok()).transpose()?;
        let ends = threads.into_iter().filter_map(|thread| thread.join().ok());
        let ends = ends.collect::<anyhow::Result<Vec<_>>>()?;
        anyhow::Ok((ends, [before, after], flooded))
    })?;
    ensure!(ends.len() == usize::try_from(load.threads)?, "a thread broke down");
    let mut sum = Tally::new(Duration::ZERO, Duration::ZERO);
    let mut people = Vec::new();
    for (tally, part) in ends {
        sum.add(&tally);
        people.push(part);
    }
    if let Some(path) = &load.state {
        Population::join(people).write(path)?;
    }
    Ok(told(load, &sum, &costs, flooded))
}

fn told(load: &Load, sum: &Tally, [before, after]: &[Costs; 2], flooded: Option<u64>) -> Value {
    let length = match load.scenario {
        Scenario::Storm | Scenario::Pass => sum.last_answer().saturating_sub(load.warm_up()).min(load.length()),
        _ => load.length(),
    };
    let mut told = sum.json(length);
    let Some(fields) = told.as_object_mut() else {
        return told;
    };
    let processes: serde_json::Map<_, _> = before
        .processes
        .iter()
        .zip(&after.processes)
        .map(|((name, before), (_, after))| {
            let cpu_secs = after.cpu_secs - before.cpu_secs;
            #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
            let each = cpu_secs * 1e6 / sum.in_window().max(1) as f64;
            let shown = json!({ "cpu_secs": round(cpu_secs), "cpu_us_per_request": round(each),
                "resident_octets": after.resident });
            (name.clone(), shown)
        })
        .collect();
    let scenario = load.scenario.to_possible_value();
    let scenario = scenario.map(|value| value.get_name().to_owned());
    fields.insert("scenario".into(), json!(scenario));
    fields.insert("seconds".into(), json!(round(length.as_secs_f64())));
    fields.insert("devices".into(), json!(load.devices));
    fields.insert("gates".into(), json!(load.gates));
    match load.rate {
        Some(rate) => fields.insert("rate_asked".into(), json!(rate)),
        None => fields.insert("in_flight".into(), json!(load.in_flight)),
    };
    fields.insert("processes".into(), Value::Object(processes));
    // Known where the server is in the same network namespace.
    fields.insert("dropped_at_the_port".into(), json!(after.dropped - before.dropped));
    if let Some(sent) = flooded {
        fields.insert("flood_sent".into(), json!(sent));
    }
    told
}

fn flood(load: &Load) -> Option<Flood> {
    Some(Flood {
        server: load.auth(),
        from: load.flood_from,
        rate: load.flood?,
        seconds: load.length().as_secs(),
        wrong: load.flood_wrong,
    })
}

/// What everything has cost so far.
struct Costs {
    /// Of the watched processes and our own.
    processes: Vec<(String, Cost)>,
    /// Datagrams lost at the server's ports, for want of room.
    dropped: u64,
}

impl Costs {
    fn now(load: &Load) -> anyhow::Result<Self> {
        let own = Watched {
            name: "generator".into(),
            pid: std::process::id(),
        };
        let all = load.watch.iter().chain([&own]);
        let all = all.map(|one| anyhow::Ok((one.name.clone(), cost::cost(one.pid)?)));
        Ok(Self {
            processes: all.collect::<Result<_, _>>()?,
            dropped: process::dropped(load.auth_port) + process::dropped(load.acct_port),
        })
    }
}

fn sleep_until(end: Instant) {
    thread::sleep(end.saturating_duration_since(Instant::now()));
}

fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}
