//! The lab's own program: shows a citizen's day, and is the servers of its internet.

#![allow(clippy::print_stdout, reason = "what it tells is for standard output")]

mod story;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kavadam_lab::{internet, operator};

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
    /// Be the web server of the lab's internet
    #[command(hide = true)]
    ServeWeb,
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
        Command::ServeWeb => serve(internet::serve(vec![
            SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 80),
            SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x10)), 80),
        ])),
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
