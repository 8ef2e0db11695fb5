//! `make bench-gate`: what a packet costs at a gate, against the number of sessions, beside a bare kernel, a router that only translates
//! addresses, and the rules of openNDS 10.

mod compare;
#[path = "../cost.rs"]
mod cost;
mod device;
#[path = "../figures.rs"]
mod figures;
mod graph;
#[path = "../marks.rs"]
mod marks;
mod peers;
mod pump;
mod report;
mod soak;
mod throughput;
mod world;

use std::io::Write as _;

use clap::{Parser, Subcommand};

/// Measures what a packet costs at a gate.
#[derive(Debug, Parser)]
#[command(name = "kavadam-gate-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure ours and its peers side by side (make bench-gate)
    Compare(compare::Compare),
    /// Keep so many devices coming and going at a real gateway and centre, and look whether anything grows or is lost (make soak)
    Soak(soak::Soak),
    /// In the devices' namespace: send datagrams from devices taken at random, without end
    #[command(hide = true)]
    Chatter(soak::Chatter),
    /// In the internet's namespace: answer them
    #[command(hide = true)]
    Echo,
    /// In a gateway's namespace: load our rules and open so many sessions
    #[command(hide = true)]
    Fill {
        sessions: u32,
        /// With queues for an uplink that is never full
        #[arg(long)]
        share_uplink: bool,
    },
    /// In a sender's namespace: send frames from there and print how long each took, JSON
    #[command(hide = true)]
    Send(pump::Send),
}

fn main() -> anyhow::Result<()> {
    let line = match Arguments::parse().command {
        Command::Compare(compare) => compare.run()?,
        Command::Soak(soak) => soak.run()?,
        Command::Chatter(chatter) => chatter.run()?,
        Command::Echo => soak::echo()?,
        Command::Fill { sessions, share_uplink } => peers::fill(sessions, share_uplink)?,
        Command::Send(send) => send.run()?,
    };
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
