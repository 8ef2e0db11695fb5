//! `make bench-radius`: Kavadam and FreeRADIUS side by side, in turns on one machine, on the same kind of database.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use kavadam_lab::traces;
use serde_json::{Map, Value, json};

use super::figures::median;
use super::sql::Engine;
use super::world::{Plan, Who, World};
use super::{marks, table};

const ALL: [Who; 3] = [Who::Kavadam, Who::Freeradius, Who::Packaged];
/// Up to so many the peers are measured too, unless asked for by name: they are fastest with few, and slow to fill.
const FEW: u32 = 10_000;
/// Logins last: whoever only logged in would begin the accounting that follows with a Start.
const SCENARIOS: [&str; 4] = ["acct", "mix", "reauth", "auth"];
/// All of a state's hotspots at their ceiling, back after a power cut, within so many seconds.
const STORM_DEVICES: u32 = 303_000;
const STORM_SECS: u32 = 120;
const FLOOD_RATE: u32 = 200_000;
/// Of the gates that are served meanwhile: what either server can do easily.
const RATE_BESIDE_FLOOD: u32 = 1_000;
/// Of datagrams from no gate, where the cost of one is sought.
const RATE_OF_UNKNOWN: u32 = 50_000;

/// Measures both.
#[derive(Debug, Args)]
pub struct Compare {
    /// 8 minutes: 10,000 devices, short runs, a storm of 10,000. Without it: 10,000, 303,000 and 1,000,000, an hour or so
    #[arg(long)]
    quick: bool,
    /// One of them alone
    #[arg(long, value_enum)]
    server: Option<Who>,
    /// One database alone
    #[arg(long, value_enum)]
    database: Option<Engine>,
    /// These populations instead
    #[arg(long, value_delimiter = ',')]
    devices: Vec<u32>,
    /// Gates they are at
    #[arg(long, default_value_t = 200)]
    gates: u32,
    /// Requests in flight where the highest rate is sought
    #[arg(long, default_value_t = 1024)]
    in_flight: u32,
    /// The binary [default: the one built beside this program]
    #[arg(long)]
    kavadam: Option<PathBuf>,
    /// Markdown file in which to write the tables, between the two marks for them
    #[arg(long)]
    write: Option<PathBuf>,
}

/// How long and how often.
struct Sizes {
    runs: usize,
    secs: &'static str,
    warm_up: &'static str,
    flood_secs: &'static str,
    devices: Vec<u32>,
    /// The population of the storm, if it is among those measured.
    storm: u32,
}

impl Compare {
    /// Measures and tells.
    pub fn run(self) -> anyhow::Result<Value> {
        traces::heed_signals(|| 130)?;
        let began = Instant::now();
        let sizes = self.sizes();
        let mut told = Vec::new();
        for engine in [Engine::Sqlite, Engine::Postgres] {
            if self.database.is_none_or(|only| only == engine) {
                for devices in &sizes.devices {
                    told.push(self.measure(engine, *devices, &sizes)?);
                }
            }
        }
        let all = json!({ "part": "bench-radius", "quick": self.quick, "runs": sizes.runs, "gates": self.gates,
            "in_flight": self.in_flight, "minutes": (began.elapsed().as_secs_f64() / 6.0).round() / 10.0, "measured": told });
        let tables = table::markdown(&all);
        eprintln!("\n{tables}");
        if let Some(path) = &self.write {
            marks::write(path, "bench-radius", &tables)?;
        }
        Ok(all)
    }

    fn sizes(&self) -> Sizes {
        let mut sizes = if self.quick {
            Sizes {
                runs: 3,
                secs: "2",
                warm_up: "0.5",
                flood_secs: "2",
                devices: vec![10_000],
                storm: 10_000,
            }
        } else {
            Sizes {
                runs: 3,
                secs: "4",
                warm_up: "1",
                flood_secs: "5",
                devices: vec![10_000, STORM_DEVICES, 1_000_000],
                storm: STORM_DEVICES,
            }
        };
        if !self.devices.is_empty() {
            sizes.devices.clone_from(&self.devices);
        }
        sizes
    }

    /// One population on one kind of database.
    fn measure(&self, engine: Engine, devices: u32, sizes: &Sizes) -> anyhow::Result<Value> {
        let mut worlds = Vec::new();
        for who in ALL.into_iter().filter(|who| {
            self.server.is_none_or(|only| only == *who)
                && (*who == Who::Kavadam || devices <= FEW || self.server.is_some())
        }) {
            say(&format!("{} on {}: {devices} devices", who.name(), engine.name()));
            let plan = Plan {
                who,
                engine,
                devices,
                gates: self.gates,
                kavadam: self.kavadam.clone(),
            };
            let netns = format!("kvl{}{}", std::process::id(), who.letter());
            worlds.push((who, World::make(plan, &netns)?));
        }
        let mut told = Map::new();
        told.insert("database".into(), json!(engine.name()));
        told.insert("devices".into(), json!(devices));
        for (who, world) in &worlds {
            told.insert(format!("{}_memory", who.name()), memory(world)?);
        }
        for scenario in SCENARIOS {
            told.insert(scenario.into(), self.scenario(&worlds, scenario, sizes)?);
        }
        let measured = |who: &Who| *who != Who::Packaged;
        if devices == FEW {
            for (who, world) in worlds.iter().filter(|(who, _)| measured(who)) {
                told.insert(format!("{}_flood", who.name()), flood(world, sizes.flood_secs)?);
            }
        }
        if devices == sizes.storm {
            for (who, world) in worlds.iter().filter(|(who, _)| measured(who)) {
                told.insert(format!("{}_storm", who.name()), storm(world, devices)?);
            }
        }
        Ok(Value::Object(told))
    }

    /// The highest rate, in turns; then the latencies at half of it.
    fn scenario(&self, worlds: &[(Who, World)], scenario: &str, sizes: &Sizes) -> anyhow::Result<Value> {
        say(scenario);
        let common = format!(
            "--scenario {scenario} --seconds {} --warm-up {}",
            sizes.secs, sizes.warm_up
        );
        let mut runs: Vec<Vec<Value>> = vec![Vec::new(); worlds.len()];
        for _ in 0..sizes.runs {
            for ((_, world), runs) in worlds.iter().zip(&mut runs) {
                runs.push(world.load(&format!("{common} --in-flight {}", self.in_flight))?);
            }
        }
        let mut told = Map::new();
        for ((who, world), runs) in worlds.iter().zip(runs) {
            let peak = median(runs.iter().map(|run| table::figure(run, "/rate")).collect());
            let at_half = world.load(&format!("{common} --rate {}", (peak / 2.0).max(1.0)))?;
            let both = json!({ "rate": peak, "runs": runs, "at_half": at_half });
            told.insert(who.name().into(), both);
        }
        Ok(Value::Object(told))
    }
}

/// What the server holds at first, and when every session has been heard of. Whatever the population, reports go on for a while after
/// that: what is remembered of answers is as much for few sessions as for many.
fn memory(world: &World) -> anyhow::Result<Value> {
    let before = world.resident()?;
    let pass = world.load("--scenario pass --in-flight 256 --warm-up 0 --seconds 60")?;
    world.load("--scenario acct --in-flight 256 --warm-up 0 --seconds 8")?;
    Ok(json!({ "at_start": before, "resident": world.resident()?, "reported": pass.get("answered") }))
}

/// Bad datagrams from a gate nobody is at while the others are served; then from nowhere, alone, to tell what each costs.
fn flood(world: &World, secs: &str) -> anyhow::Result<Value> {
    say("flood");
    let served = format!("--scenario mix --rate {RATE_BESIDE_FLOOD} --seconds {secs} --warm-up 1");
    let from = world.spare_gate();
    let calm = world.load(&served)?;
    let flooded = world.load(&format!("{served} --flood {FLOOD_RATE} --flood-from {from}"))?;
    let unknown = world.load(&format!(
        "--scenario auth --rate 1 --seconds {secs} --warm-up 0 --flood {RATE_OF_UNKNOWN}"
    ))?;
    let taken = table::figure(&unknown, "/flood_sent") - table::figure(&unknown, "/dropped_at_the_port");
    let each = table::figure(&unknown, "/processes/server/cpu_secs") * 1e6 / taken.max(1.0);
    Ok(json!({ "calm": calm, "flooded": flooded, "unknown_source": unknown,
        "unknown_source_cpu_us": (each * 100.0).round() / 100.0 }))
}

/// Everybody logs in anew and starts; the gates ask again as they do.
fn storm(world: &World, devices: u32) -> anyhow::Result<Value> {
    say("storm");
    // A login and a Start each.
    let rate = 2 * STORM_DEVICES / STORM_SECS;
    let secs = devices * STORM_SECS / STORM_DEVICES + 60;
    let words = format!("--scenario storm --rate {rate} --seconds {secs} --warm-up 0");
    world.load(&words).context("storm")
}

fn say(what: &str) {
    eprintln!("bench-radius: {what}");
}
