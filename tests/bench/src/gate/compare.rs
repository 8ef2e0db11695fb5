//! In turns: plain forwarding, then one of the others, again and again, so that a ratio is of runs that followed each other.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use kavadam_lab::traces;
use serde_json::{Value, json};

use super::peers::Peer;
use super::throughput;
use super::world::World;
use super::{graph, marks, report};

/// So many are measured after all others.
const MANY: u32 = 500_000;

/// Measures ours and its peers.
#[derive(Debug, Args)]
pub struct Compare {
    /// Two minutes: fewer rounds, no million
    #[arg(long)]
    quick: bool,
    /// Sessions at our gate, instead of those that are usual
    #[arg(long, value_delimiter = ',')]
    sessions: Vec<u32>,
    /// Clients at openNDS's
    #[arg(long, value_delimiter = ',')]
    clients: Vec<u32>,
    /// Packets alone, no TCP
    #[arg(long)]
    packets_only: bool,
    /// Markdown file in which to write the tables, between the two marks for them; the graph goes beside it, as gate-cost.svg
    #[arg(long)]
    write: Option<PathBuf>,
}

/// One contender, one way: per round what it took beside plain forwarding.
#[derive(Debug, Default, Clone)]
pub struct Series {
    /// Nanoseconds of a packet.
    pub nanos: Vec<f64>,
    /// To plain forwarding, in the same round.
    pub ratios: Vec<f64>,
    /// The same without what sending alone takes.
    pub net_ratios: Vec<f64>,
}

/// One contender.
#[derive(Debug, Clone)]
pub struct Measured {
    pub peer: Peer,
    pub sessions: u32,
    pub up: Series,
    pub down: Series,
}

impl Compare {
    /// Measures and tells.
    pub fn run(self) -> anyhow::Result<Value> {
        traces::heed_signals(|| 130)?;
        let began = Instant::now();
        let (rounds, millis) = if self.quick { (5, 300) } else { (7, 500) };
        let mut measured = Vec::new();
        let mut worlds = Vec::new();
        // All namespaces share one table of neighbours: a million in it would be felt by everybody else, so they come last.
        let (first, last): (Vec<_>, Vec<_>) = self.wanted().into_iter().partition(|(_, sessions)| *sessions < MANY);
        for wanted in [first, last] {
            let present = worlds.len();
            for (peer, sessions) in wanted {
                let world = World::build(peer, sessions, worlds.len())?;
                eprintln!("{}, {sessions} online after {:.1} s", peer.name(), world.filling);
                worlds.push(world);
            }
            let (plain, others) = worlds.split_first().ok_or_else(|| anyhow::anyhow!("no world"))?;
            let others = others.get(present.max(1) - 1..).unwrap_or_default();
            let (base, found) = in_turns(plain, others, rounds, millis)?;
            if measured.is_empty() {
                measured.push(base);
            }
            measured.extend(found);
        }
        let tcp = if self.packets_only {
            Vec::new()
        } else {
            throughput::measure(&worlds, self.quick)?
        };
        let minutes = (began.elapsed().as_secs_f64() / 6.0).round() / 10.0;
        let tables = report::markdown(&measured, &tcp, rounds, minutes);
        eprintln!("\n{tables}");
        if let Some(path) = &self.write {
            marks::write(path, "bench-gate", &tables)?;
            std::fs::write(path.with_file_name("gate-cost.svg"), graph::svg(&measured))?;
        }
        Ok(
            json!({ "part": "bench-gate", "quick": self.quick, "rounds": rounds, "minutes": minutes,
            "packets": measured.iter().map(Measured::json).collect::<Vec<_>>(), "tcp": tcp }),
        )
    }

    /// Plain forwarding first.
    fn wanted(&self) -> Vec<(Peer, u32)> {
        let or = |given: &[u32], usual: &[u32]| {
            if given.is_empty() {
                usual.to_vec()
            } else {
                given.to_vec()
            }
        };
        let usual: &[u32] = if self.quick {
            &[1000, 100_000]
        } else {
            &[1000, 10_000, 100_000, 1_000_000]
        };
        let clients: &[u32] = if self.quick { &[250] } else { &[250, 1000, 10_000] };
        let mut wanted = vec![(Peer::Plain, super::world::FLOWS), (Peer::Router, super::world::FLOWS)];
        let opennds = or(&self.clients, clients).into_iter();
        wanted.extend(opennds.map(|clients| (Peer::OpenNds, clients)));
        let ours = or(&self.sessions, usual).into_iter();
        wanted.push((Peer::KavadamShared, 1000));
        wanted.extend(ours.map(|sessions| (Peer::Kavadam, sessions)));
        wanted
    }
}

/// Each of the others after plain forwarding, and that after what sending alone takes; plain forwarding's own figures first.
fn in_turns(plain: &World, others: &[World], rounds: usize, millis: u64) -> anyhow::Result<(Measured, Vec<Measured>)> {
    let mut measured: Vec<Measured> = others.iter().map(Measured::of).collect();
    let mut base = Measured::of(plain);
    for round in 1..=rounds {
        eprintln!("packets: round {round} of {rounds}");
        for (world, measured) in others.iter().zip(&mut measured) {
            for is_up in [true, false] {
                plain.stop_at_the_door(true)?;
                let sending = plain.run(is_up, millis / 2, true)?.nanos;
                plain.stop_at_the_door(false)?;
                let alone = plain.run(is_up, millis, false)?.nanos;
                let theirs = world.run(is_up, millis, false)?.nanos;
                measured.way(is_up).add(theirs, alone, sending);
                base.way(is_up).add(alone, alone, sending);
            }
        }
    }
    Ok((base, measured))
}

impl Series {
    fn add(&mut self, nanos: f64, plain: f64, sending: f64) {
        self.nanos.push(nanos);
        self.ratios.push(nanos / plain);
        self.net_ratios.push((nanos - sending) / (plain - sending));
    }

    fn json(&self) -> Value {
        json!({ "nanos": self.nanos, "ratios": self.ratios, "net_ratios": self.net_ratios })
    }
}

impl Measured {
    fn of(world: &World) -> Self {
        Self {
            peer: world.peer,
            sessions: world.sessions,
            up: Series::default(),
            down: Series::default(),
        }
    }

    const fn way(&mut self, is_up: bool) -> &mut Series {
        if is_up { &mut self.up } else { &mut self.down }
    }

    fn json(&self) -> Value {
        json!({ "peer": self.peer.name(), "sessions": self.sessions, "up": self.up.json(), "down": self.down.json() })
    }
}
