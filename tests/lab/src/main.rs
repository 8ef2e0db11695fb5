//! The lab's own program: shows a citizen's day, and is the servers of its internet.

#![allow(clippy::print_stdout, reason = "what it tells is for standard output")]

mod story;
mod tale;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kavadam_lab::{accounting, delay, dhcp6, internet, nuisance, operator};

/// A small world of network namespaces with a citizen in it.
#[derive(Parser)]
#[command(name = "kavadam-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play one citizen's day, then stay up until Ctrl-C
    Run {
        /// Exit after the story, with its figures as one JSON line last
        #[arg(long)]
        once: bool,
    },
    /// Be a web server
    #[command(hide = true)]
    ServeWeb {
        /// Where it listens
        #[arg(required = true)]
        listen: Vec<SocketAddr>,
    },
    /// Send datagrams back
    #[command(hide = true)]
    ServeEcho {
        /// Where it listens
        listen: SocketAddr,
    },
    /// Send datagrams, and print how many came back
    #[command(hide = true)]
    Exchange {
        /// Who sends them back
        address: SocketAddr,
        /// How many
        count: u32,
    },
    /// Say what becomes of a datagram
    #[command(hide = true)]
    Knock {
        /// Where it goes
        address: SocketAddr,
    },
    /// Pass accounting on and write down what was taken
    #[command(hide = true)]
    Relay {
        /// Where the gate sends it
        listen: SocketAddr,
        /// The centre
        to: SocketAddr,
        /// Requests go to the end of this file
        record: PathBuf,
    },
    /// Send what a relay wrote down again, backwards, each twice
    #[command(hide = true)]
    Replay {
        /// A relay's file
        record: PathBuf,
        /// The centre
        to: SocketAddr,
    },
    /// Be a long way between two interfaces
    #[command(hide = true)]
    Delay {
        /// One end
        one: String,
        /// The other
        other: String,
        /// Each way
        #[arg(long)]
        micros: u64,
    },
    /// Ask by DHCP over IPv6 where the captive portal API is
    #[command(hide = true)]
    AskDhcp6 {
        /// Where
        interface: String,
    },
    /// Begin requests and never end them
    #[command(hide = true)]
    Dawdle {
        /// How many at each address
        #[arg(long, default_value_t = 100)]
        connections: usize,
        /// Servers
        #[arg(required = true)]
        addresses: Vec<SocketAddr>,
    },
    /// Print which TCP ports are open
    #[command(hide = true)]
    Scan {
        /// Whose
        address: IpAddr,
        /// Up to this one
        last: u16,
    },
    /// Send frames that nobody wants
    #[command(hide = true)]
    Flood(kavadam_lab::flood::Flood),
    /// Take addresses for devices that are invented, and print how many there were
    #[command(hide = true)]
    Starve(kavadam_lab::starve::Starve),
    /// Be the SMS operator
    #[command(hide = true)]
    ServeSms {
        /// Messages go to the end of this file
        messages: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run { once } => story::run(once),
        Command::ServeWeb { listen } => serve(internet::serve(listen)),
        Command::ServeEcho { listen } => internet::echo(listen),
        Command::Exchange { address, count } => internet::exchange(address, count).map(|heard| println!("{heard}")),
        Command::Knock { address } => internet::knock(address).map(|said| println!("{said}")),
        Command::Relay { listen, to, record } => accounting::relay(listen, to, &record),
        Command::Replay { record, to } => accounting::replay(&record, to),
        Command::Delay { one, other, micros } => delay::carry([&one, &other], std::time::Duration::from_micros(micros)),
        Command::AskDhcp6 { interface } => dhcp6::captive_portal(&interface).map(|url| println!("{url}")),
        Command::Dawdle { connections, addresses } => {
            nuisance::dawdle(&addresses, connections);
            Ok(())
        }
        Command::Scan { address, last } => {
            println!("{:?}", nuisance::open_ports(address, last));
            Ok(())
        }
        Command::Flood(flood) => flood.run(),
        Command::Starve(starve) => starve.run().map(|got| println!("{got}")),
        Command::ServeSms { messages } => serve(operator::serve(
            SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 20)), 8090),
            messages,
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kavadam-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(server: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(server)
}
