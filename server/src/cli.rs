//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use kavadam_domain::MobileNumber;
use kavadam_domain::plan::{AfterQuota, Period};

use crate::config::DEFAULT_PATH;
use crate::units;

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
  # fill in lan_if, wan_if and [sms], or sms.route = \"log-nothing\" for vouchers alone
  kavadam check
  kavadam run

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 there is no such thing, 78 the configuration cannot be used";

#[derive(Subcommand)]
pub enum Command {
    /// Run the roles of the configuration until SIGTERM; people online stay online
    Run,
    /// Look for everything that would keep it from running, each with its remedy; run it as root, whether kavadam runs or not
    Check,
    /// Print a configuration with every key, its default and what it is for
    ExampleConfig,
    /// Write the configuration of dnsmasq (DHCP and DNS for the devices) and become dnsmasq
    Dnsmasq,
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
    Close,
    /// Print the rules that would be loaded
    Rules,
}

/// Whether to print for people or for programs.
#[derive(Args)]
pub struct Output {
    /// Print JSON with stable keys
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum PlanCommand {
    /// All plans
    List(Output),
    /// One plan
    Show {
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Make a plan, or change what is given of one
    #[command(
        after_help = "Example:\n  kavadam plan set citizen --quota 1GB --period day --down 10Mbit --up 10Mbit --devices 3 --remember 14d"
    )]
    Set(PlanSettings),
}

#[derive(Args)]
pub struct PlanSettings {
    /// Lower case letters, digits and dashes
    pub name: String,
    /// Data per period, such as 1GB, or `none`
    #[arg(long, value_parser = or_none(units::octets))]
    pub quota: Option<Limit<u64>>,
    /// How long one allowance lasts
    #[arg(long, value_enum)]
    pub period: Option<PeriodName>,
    /// IANA time zone whose midnight begins a day [new plans: Asia/Kolkata]
    #[arg(long)]
    pub time_zone: Option<String>,
    /// Speed towards the device, such as 10Mbit, or `none`
    #[arg(long, value_parser = or_none(units::rate))]
    pub down: Option<Limit<u64>>,
    /// Speed towards the internet, or `none`
    #[arg(long, value_parser = or_none(units::rate))]
    pub up: Option<Limit<u64>>,
    /// Longest session, such as 4h, or `none`
    #[arg(long, value_parser = or_none(units::span))]
    pub session_time: Option<Limit<Duration>>,
    /// A session idle for so long ends, such as 10m, or `none`
    #[arg(long, value_parser = or_none(units::span))]
    pub idle_time: Option<Limit<Duration>>,
    /// Devices of one person at once
    #[arg(long)]
    pub devices: Option<u32>,
    /// How long a device returns without a code, in days, such as 14d
    #[arg(long, value_parser = units::span)]
    pub remember: Option<Duration>,
    /// At the quota's end: `close`, or `throttle:SPEED` such as throttle:256kbit
    #[arg(long, value_parser = after_quota)]
    pub after_quota: Option<AfterQuota>,
}

/// A limit, or the wish for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit<T>(pub Option<T>);

fn or_none<T: Clone + Send + Sync + 'static>(
    read: fn(&str) -> Result<T, String>,
) -> impl Fn(&str) -> Result<Limit<T>, String> + Clone + Send + Sync + 'static {
    move |text| {
        if text == "none" {
            Ok(Limit(None))
        } else {
            read(text).map(|value| Limit(Some(value)))
        }
    }
}

fn after_quota(text: &str) -> Result<AfterQuota, String> {
    match text.split_once(':') {
        None if text == "close" => Ok(AfterQuota::Close),
        Some(("throttle", speed)) => Ok(AfterQuota::Throttle {
            bits_per_sec: units::rate(speed)?,
        }),
        _ => Err("write close, or throttle:SPEED such as throttle:256kbit".to_owned()),
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum PeriodName {
    Day,
    Week,
    Month,
    Once,
}

impl From<PeriodName> for Period {
    fn from(name: PeriodName) -> Self {
        match name {
            PeriodName::Day => Self::Day,
            PeriodName::Week => Self::Week,
            PeriodName::Month => Self::Month,
            PeriodName::Once => Self::Once,
        }
    }
}

#[derive(Subcommand)]
pub enum SiteCommand {
    /// All sites
    List(Output),
    /// Make a site, or change one
    Set {
        name: String,
        /// Plan of those who have none of their own
        #[arg(long)]
        plan: String,
        /// Let nobody in for now
        #[arg(long)]
        closed: bool,
    },
}

#[derive(Subcommand)]
pub enum NasCommand {
    /// All gates
    List(Output),
    /// Make a gate known, or change one
    #[command(
        after_help = "Secrets are read from files, so that they stand in no process list.\n\nExample:\n  kavadam nas set stand-7 --site 'Vizhinjam bus stand' --source 10.7.0.2/32 --secret-file s --uam-secret-file u"
    )]
    Set {
        /// NAS-Identifier
        name: String,
        /// Where it stands
        #[arg(long)]
        site: String,
        /// Where its requests come from: an address or a prefix
        #[arg(long, value_parser = units::network)]
        source: IpNet,
        /// File with the RADIUS secret, at least 16 characters
        #[arg(long)]
        secret_file: PathBuf,
        /// File with the UAM secret, at least 16 characters
        #[arg(long)]
        uam_secret_file: PathBuf,
        /// UDP port for CoA and Disconnect
        #[arg(long, default_value_t = 3799)]
        coa_port: u16,
    },
}

#[derive(Subcommand)]
pub enum SubscriberCommand {
    /// One person: plan, use, devices
    Show {
        number: MobileNumber,
        #[command(flatten)]
        output: Output,
    },
    /// Keep a number out; its sessions end
    Block { number: MobileNumber },
    /// Let a number in again
    Unblock { number: MobileNumber },
    /// Enrol an authenticator app: prints what it must scan, the only time it can be read
    #[command(
        after_help = "Whoever logs in with that number may then enter the app's code in place of the message's.\nRunning it again replaces the app."
    )]
    Enrol { number: MobileNumber },
    /// Forget the authenticator app; codes come by message alone
    Unenrol { number: MobileNumber },
    /// Add data to the present period
    TopUp {
        number: MobileNumber,
        /// Such as 500MB
        #[arg(value_parser = units::octets)]
        octets: u64,
    },
    /// Give a person a plan of their own, or with `--default` the site's
    Plan {
        number: MobileNumber,
        #[arg(required_unless_present = "default")]
        plan: Option<String>,
        #[arg(long, conflicts_with = "plan")]
        default: bool,
    },
}

#[derive(Subcommand)]
pub enum SessionCommand {
    /// Sessions, the newest first
    List {
        /// Only those not ended
        #[arg(long)]
        open: bool,
        /// Only of this number
        #[arg(long)]
        number: Option<MobileNumber>,
        #[command(flatten)]
        output: Output,
    },
    /// One session
    Show {
        id: i64,
        #[command(flatten)]
        output: Output,
    },
    /// End one
    End { id: i64 },
}

#[derive(Subcommand)]
pub enum VoucherCommand {
    /// Make vouchers and print their codes, the only time they can be read
    Create {
        /// What each is worth, such as 1GB
        #[arg(long, value_parser = units::octets)]
        octets: u64,
        /// How many
        #[arg(long, default_value_t = 1)]
        count: u32,
        /// Good for so long, such as 30d
        #[arg(long, value_parser = units::span)]
        expires: Option<Duration>,
        /// For your own order, such as a counter's name
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Vouchers made, without their codes
    List {
        #[arg(long)]
        label: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}
