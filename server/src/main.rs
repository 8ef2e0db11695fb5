//! Kavadam: a public Wi-Fi gateway and its RADIUS centre in one binary.

mod admin;
mod advertise;
mod authenticator;
mod centre;
mod check;
mod cli;
mod clock;
mod close;
mod config;
mod dnsmasq;
mod notify;
mod owner;
mod reload;
mod run;
mod units;
mod vitals;
mod watch;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use kavadam_access::AccessError;
use kavadam_firewall::{FirewallError, Gate, ruleset, shut};
use kavadam_gateway::fingerprints::Fingerprint;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, GateCommand, RadiusCommand};
use crate::config::{Config, Unusable};

/// Requests are taken apart and answered on whatever thread is free: four parts in ten of a decision went into the C library's allocator,
/// which is slow to free what another thread made.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// There is no such thing.
const NOT_FOUND: u8 = 3;
/// The configuration cannot be used (`EX_CONFIG`, sysexits.h): the units do not try again.
const BAD_CONFIG: u8 = 78;

fn main() -> ExitCode {
    // The allocator asks for huge pages, and a table that is filled here and there then holds a third more memory than it uses. Without
    // this it works the same.
    _ = rustix::thread::disable_transparent_huge_pages(true);
    let cli = Cli::parse();
    match execute(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kavadam: {error:#}{}", way_out(&error));
            exit_code(&error)
        }
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<Unusable>() {
        return ExitCode::from(BAD_CONFIG);
    }
    match error.downcast_ref::<AccessError>() {
        Some(AccessError::Missing { .. }) => ExitCode::from(NOT_FOUND),
        _ => ExitCode::FAILURE,
    }
}

/// How to make what is not there, or to find what was meant.
fn way_out(error: &anyhow::Error) -> &'static str {
    match error.downcast_ref::<AccessError>() {
        Some(AccessError::Missing { kind: "plan", .. }) => {
            ": `kavadam plan list` names those there are, `kavadam plan set NAME` makes one"
        }
        Some(AccessError::Missing { kind: "site", .. }) => {
            ": `kavadam site list` names those there are, `kavadam site set NAME --plan PLAN` makes one"
        }
        Some(AccessError::Missing { kind: "gate", .. }) => ": `kavadam nas list` names those there are",
        _ => "",
    }
}

fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::ExampleConfig => print_text(config::EXAMPLE)?,
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "kavadam", &mut text);
            print_text(&String::from_utf8_lossy(&text))?;
        }
        Command::Man { directory } => write_manual(&directory)?,
        Command::LeaseEvent { socket, arguments } => lease_event(&socket, &arguments)?,
        Command::Check => return Ok(runtime()?.block_on(check::check(&cli.config))),
        Command::Run => {
            let config = Config::load(&cli.config)?;
            config.require_secrets(&cli.config)?;
            start_log(&config)?;
            runtime()?.block_on(run::run(config, &cli.config))?;
        }
        Command::Dnsmasq => return Err(dnsmasq::become_dnsmasq(&Config::load_gateway(&cli.config)?)),
        Command::Advertise { state_dir } => {
            let config = Config::load_gateway(&cli.config)?;
            start_log(&config)?;
            advertise::run(&config, state_dir.as_deref())?;
        }
        Command::Gate(GateCommand::Close { shut: true }) => return close::close_or_shut(&cli.config),
        Command::Gate(GateCommand::Close { shut: false }) => return close::close(&cli.config),
        Command::Gate(command) => return gate(&command, &Config::load_gateway(&cli.config)?),
        // Where server and secret are named, nothing of ours is needed.
        Command::Radius(RadiusCommand::Test(test)) if test.secret_file.is_some() && test.server.is_some() => {
            let server = test.server.context("--server")?;
            return runtime()?.block_on(admin::probe::run_against(server, &test, &owner::Secrets::default()));
        }
        // A capture is brought to wherever somebody looks at it.
        Command::Radius(RadiusCommand::Sniff(sniff)) if sniff.file.is_some() && is_absent(&cli.config) => {
            admin::sniff::run_bare(&sniff)?;
        }
        command => {
            let config = Config::load(&cli.config)?;
            let secrets = owner::become_owner(&config.file.state_dir, &command)?;
            return runtime()?.block_on(admin::execute(&config, command, secrets));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A reader that went away (`kavadam … | head`) is no failure.
fn print_text(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// dnsmasq says in the environment what a relay agent added (option 82).
fn lease_event(socket: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let said = |name: &str| std::env::var_os(name).unwrap_or_default();
    let (remote, circuit) = (said("DNSMASQ_REMOTE_ID"), said("DNSMASQ_CIRCUIT_ID"));
    let place = kavadam_gateway::lease::place_of(remote.as_bytes(), circuit.as_bytes());
    let (id, class, wanted) = (
        said("DNSMASQ_CLIENT_ID"),
        said("DNSMASQ_VENDOR_CLASS"),
        said("DNSMASQ_REQUESTED_OPTIONS"),
    );
    let fingerprint = Fingerprint::of(id.as_bytes(), class.as_bytes(), wanted.as_bytes());
    Ok(kavadam_gateway::lease::send_event(
        socket,
        arguments,
        place.as_deref(),
        fingerprint,
    )?)
}

fn gate(command: &GateCommand, config: &Config) -> anyhow::Result<ExitCode> {
    if !config.file.role.has_gateway() {
        eprintln!("kavadam: this configuration has no gateway: there is no gate here");
        if shut::is_shut().unwrap_or_default() {
            eprintln!(
                "kavadam: nothing is forwarded since a gate could not be closed: if none is to be here, nft delete table inet {}",
                shut::TABLE
            );
        }
        // Of nothing there is nothing to close.
        return Ok(match command {
            GateCommand::Close { .. } => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        });
    }
    let layout = config.gateway_outline()?.layout();
    match command {
        GateCommand::Rules => print_text(&ruleset::text(&layout))?,
        GateCommand::Close { .. } => {
            match Gate::load(&layout) {
                Err(FirewallError::Taken) => {
                    eprintln!("kavadam: the gate stands already, held by the gateway that runs here");
                }
                loaded => drop(loaded?),
            }
            shut::lift()?;
        }
        GateCommand::Show(wanted) => admin::gate::show(&layout, &config.gate_socket(), wanted)?,
        GateCommand::Top(wanted) => admin::gate::top(&layout, wanted)?,
        GateCommand::Trace(wanted) => admin::gate::trace(&layout, &config.gate_socket(), wanted)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Not one that is there and cannot be read.
fn is_absent(config: &Path) -> bool {
    matches!(config.try_exists(), Ok(false))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    // One TLS provider for everything in the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Runtime::new().context("cannot start")
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    let level = &config.file.log.level;
    // sqlx tells of every statement at debug: that would be numbers and MACs.
    let filter = EnvFilter::try_new(format!("{level},sqlx=warn,hyper=warn"))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.file.log.format.as_str() {
        "json" => log.json().init(),
        _ => log
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
    }
    Ok(())
}

fn write_manual(directory: &Path) -> anyhow::Result<()> {
    let shown = directory.display();
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
        .with_context(|| format!("cannot write manual pages into {shown}"))
}
