//! The command line.

mod nouns;
mod plans;
mod radius;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use kavadam_domain::Mac;

pub use nouns::{
    AuditCommand, NasCommand, NasSettings, Output, SessionCommand, SiteCommand, SiteSettings, SubscriberCommand,
    VoucherCommand, VoucherOrder,
};
pub use plans::{PlanCommand, PlanSettings};
pub use radius::{Probe, RadiusCommand, RadiusSniff, RadiusTest, RadiusTop, Who, WhyQuestion};

use crate::config::DEFAULT_PATH;

/// A public Wi-Fi gateway and its RADIUS centre.
///
/// A citizen joins the open Wi-Fi, proves a mobile number with a one-time code, and is online within a quota.
#[derive(Parser)]
#[command(name = "kavadam", version, arg_required_else_help = true, after_help = FIRST_STEPS)]
pub struct Cli {
    /// Configuration file
    #[arg(long, short, global = true, default_value = DEFAULT_PATH, env = "KAVADAM_CONFIG")]
    pub config: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

const FIRST_STEPS: &str = "First steps:
  kavadam example-config > /etc/kavadam/kavadam.toml
  # fill in lan_if, wan_if and [sms], or sms.route = \"log-nothing\" for vouchers or apps alone
  kavadam check
  kavadam run

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 there is no such thing, 4 refused by a RADIUS server,
5 not closed, and the gates that stand left as they are (gate close --shut), 78 the configuration cannot be used";

const WHY_EXAMPLES: &str = "Nothing is changed, but the audit says that you looked.

Examples:
  kavadam why 9876543210
  kavadam why 02:00:00:00:00:01 --gate stand-7
  kavadam why 4711";

const ADVERTISE_HELP: &str = "Prefixes are those of lan_if, followed as they change; the resolver is gateway.lan6. \
With gateway.api devices are told of the captive portal (RFC 8910), with gateway.nat64_prefix of the translator to IPv4 (RFC 8781). \
An interface that is not there is waited for.

Needs root, or CAP_NET_RAW. \
Ends at once, with 0, where gateway.router_advertisements says that others do it, lan6 is empty or the kernel has no IPv6. \
At its end nothing is said: devices keep their way to the internet for half an hour without it.";

#[derive(Subcommand)]
pub enum Command {
    /// Run the roles of the configuration until SIGTERM; people online stay online
    Run,
    /// Look for everything that would keep it from running, each with its remedy; run it as root, whether kavadam runs or not. It makes and
    /// changes nothing
    Check,
    /// Print a configuration with every key, its default and what it is for
    ExampleConfig,
    /// Write the configuration of dnsmasq (DHCP and DNS for the devices) and become dnsmasq
    Dnsmasq,
    /// Tell the devices of the gateway, over IPv6: router advertisements, until SIGTERM
    #[command(after_help = ADVERTISE_HELP)]
    Advertise {
        /// Where to keep what devices were told, to take back after a restart what has gone; without, it is forgotten
        #[arg(long, env = "STATE_DIRECTORY")]
        state_dir: Option<PathBuf>,
    },
    /// Tell the gateway of a DHCP lease; dnsmasq calls this
    #[command(hide = true)]
    LeaseEvent {
        /// The gateway's socket
        #[arg(long)]
        socket: PathBuf,
        /// add, old or del, then MAC, address and name
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The gate in the kernel
    #[command(subcommand)]
    Gate(GateCommand),
    /// What subscribers may use
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Places
    #[command(subcommand)]
    Site(SiteCommand),
    /// Gates: the RADIUS clients of the centre
    #[command(subcommand)]
    Nas(NasCommand),
    /// People, by mobile number
    #[command(subcommand)]
    Subscriber(SubscriberCommand),
    /// Devices online, and past ones
    #[command(subcommand)]
    Session(SessionCommand),
    /// Printed codes worth octets
    #[command(subcommand)]
    Voucher(VoucherCommand),
    /// See what RADIUS does
    #[command(subcommand)]
    Radius(RadiusCommand),
    /// Why somebody is let in or refused now: the rule, the facts, and what gates were answered last
    #[command(after_help = WHY_EXAMPLES)]
    Why(WhyQuestion),
    /// What administrators did
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages
    Man {
        /// Into this directory
        directory: PathBuf,
    },
}

#[derive(Subcommand)]
pub enum GateCommand {
    /// Load the closed gate; sessions that are there stay
    Close {
        /// If it cannot be closed, as with a configuration that cannot be used, and no gate stands: say why, and forward nothing at all until
        /// it can. If one stands, as another LAN's: say what becomes of this LAN, change nothing, and exit with 5. Not where there is no
        /// configuration, or one that has no gateway
        #[arg(long)]
        shut: bool,
    },
    /// Print the rules that would be loaded
    Rules,
    /// Who is online here: octets, quota, speed, time left, as the kernel has it
    #[command(after_help = "Needs root, or CAP_NET_ADMIN; changes nothing.

Examples:
  kavadam gate show
  kavadam gate show --whole --json")]
    Show(GateShow),
    /// Live table of what flows, the busiest first
    #[command(
        after_help = "Needs root, or CAP_NET_ADMIN. Examples:\n  kavadam gate top\n  kavadam gate top --once --json"
    )]
    Top(GateTop),
    /// Why a device is where it is: each rule its packets meet, the fact that answers it, and what to do next
    #[command(
        after_help = "Needs root, or CAP_NET_ADMIN. Why a person was refused the centre knows: kavadam why.

Examples:
  kavadam gate trace 02:00:00:00:00:01
  kavadam gate trace 0200.0000.0001 --json"
    )]
    Trace(GateTrace),
}

#[derive(Args)]
pub struct GateShow {
    /// Sessions shown at most
    #[arg(long, default_value_t = 100)]
    pub most: usize,
    /// Mobile numbers and MACs in full, and addresses: they are people's
    #[arg(long)]
    pub whole: bool,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Args)]
pub struct GateTop {
    /// Print once, what flowed within a second, and end
    #[arg(long)]
    pub once: bool,
    /// Sessions shown at most, the busiest first
    #[arg(long, default_value_t = 20)]
    pub most: usize,
    /// Whole MACs: they are people's
    #[arg(long)]
    pub whole: bool,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Args)]
pub struct GateTrace {
    /// The device's MAC, in any usual spelling
    pub mac: Mac,
    #[command(flatten)]
    pub output: Output,
}
