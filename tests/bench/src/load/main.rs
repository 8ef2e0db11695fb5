//! A RADIUS load generator for any server, and the worlds in which Kavadam and FreeRADIUS are measured with it.

mod centre;
mod compare;
#[path = "../cost.rs"]
mod cost;
#[path = "../figures.rs"]
mod figures;
mod flood;
#[path = "../marks.rs"]
mod marks;
mod packaged;
mod packet;
mod peer;
mod population;
mod process;
mod pump;
mod report;
mod slots;
mod sql;
mod story;
mod table;
mod target;
mod work;
mod world;
mod yardstick;

#[cfg(test)]
mod loaded;
#[cfg(test)]
mod tests;

use std::io::Write as _;

use clap::{Parser, Subcommand};

use work::Load;

/// A RADIUS load generator.
///
/// It plays gates (NAS) with many devices behind them: logins, accounting of sessions that go on, the mix of both, and the return of
/// everybody after a power cut; with a fixed number of requests in flight or at a fixed rate. Latencies at a fixed rate count from the
/// moment a request was due, so that a server that stalls cannot hide it. Gates ask again as real ones do, and what was never
/// answered is told.
#[derive(Debug, Parser)]
#[command(name = "kavadam-load", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put load on a RADIUS server that runs already, and print what came of it as JSON
    Run(Box<Load>),
    /// Set up a server with many subscribers in a network namespace and hold it until told to stop
    Hold(world::Hold),
    /// Measure Kavadam and FreeRADIUS side by side (make bench-radius)
    Compare(compare::Compare),
    /// Be a server that says yes to everybody and keeps nothing, until ended: what generator and machine can carry at most
    Yardstick(yardstick::Yardstick),
    /// Send datagrams no server should answer, alone, and print how many were sent
    Flood(flood::Flood),
}

fn main() -> anyhow::Result<()> {
    let line = match Arguments::parse().command {
        Command::Run(load) => work::run(&load)?,
        Command::Hold(hold) => hold.run()?,
        Command::Compare(compare) => compare.run()?,
        Command::Yardstick(server) => server.run()?,
        Command::Flood(flood) => flood.run_alone()?,
    };
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
