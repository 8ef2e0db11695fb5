//! Seeing what RADIUS does, on the command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use kavadam_domain::{Mac, MobileNumber};

use super::Output;
use crate::units;

#[derive(Subcommand)]
pub enum RadiusCommand {
    /// Ask a RADIUS server as a gate does, and say what is wrong in plain words
    #[command(
        after_help = "Without --server and --secret-file it asks the server of this configuration; at a gateway the first one of [gateway.radius], with the gateway's own name and secret.
A password is read from --password-file, or from the standard input; secrets stand in no process list.

Examples:
  kavadam radius test
  kavadam radius test pap 9876543210 --server 10.1.0.5:1812 --secret-file s
  kavadam radius test pap 9876543210 --session 17 --mac 02:00:00:00:00:01
  kavadam radius test start 9876543210 --session 17 --mac 02:00:00:00:00:01

A report that belongs to no session is answered, kept, and charged to nobody. Asked on the server's own machine the test says so; elsewhere \
`kavadam nas show` and `kavadam check` on the server count them.

Exit codes: 0 answered, 1 no or a false answer, 2 wrong usage, 4 Access-Reject: the server is well, and said no"
    )]
    Test(RadiusTest),
    /// Show RADIUS packets as they pass, decoded; passwords never, people masked
    #[command(
        after_help = "Needs root, or CAP_NET_RAW; with --file neither. A centre verifies the packets of its gates; a gateway those between itself and its servers, \
which are then all that --nas with its name shows. With --file neither database nor configuration need be there: what comes of no gate of ours \
is shown, and not verified.

Examples:
  kavadam radius sniff --nas stand-7
  kavadam radius sniff --file trace.pcapng --code access-reject"
    )]
    Sniff(RadiusSniff),
    /// Live table of the gates: rates, refusals, latency, what is dropped and why
    #[command(after_help = "Examples:\n  kavadam radius top\n  kavadam radius top --once --json")]
    Top(RadiusTop),
    /// The same as `kavadam why`
    Why(WhyQuestion),
}

#[derive(Args)]
pub struct RadiusTop {
    /// Print once, what happened within a second, and end
    #[arg(long)]
    pub once: bool,
    /// Gates shown at most, the busiest first
    #[arg(long, default_value_t = 20)]
    pub most: usize,
    #[command(flatten)]
    pub output: Output,
}

/// What to ask.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Probe {
    /// Status-Server: is it alive?
    Status,
    /// Access-Request with User-Password
    Pap,
    /// Access-Request with CHAP-Password
    Chap,
    /// Access-Request of a device: User-Name and password are its MAC
    Mac,
    /// Accounting-Request Start
    Start,
    /// Accounting-Request Interim-Update
    Interim,
    /// Accounting-Request Stop
    Stop,
}

#[derive(Args, Clone)]
pub struct RadiusTest {
    /// What to ask
    #[arg(value_enum, default_value = "status")]
    pub probe: Probe,
    /// User-Name
    #[arg(required_if_eq_any = [("probe", "pap"), ("probe", "chap")])]
    pub user: Option<String>,
    /// Server to ask, as ADDRESS:PORT [default: the one of this configuration]
    #[arg(long, value_parser = units::endpoint)]
    pub server: Option<SocketAddr>,
    /// File with the RADIUS secret, `-` the standard input [default: that of the gate we are to the server of this configuration]
    #[arg(long)]
    pub secret_file: Option<PathBuf>,
    /// File with the password [default: the standard input]
    #[arg(long)]
    pub password_file: Option<PathBuf>,
    /// The device, for Calling-Station-Id
    #[arg(long, required_if_eq("probe", "mac"))]
    pub mac: Option<Mac>,
    /// Acct-Session-Id, of logins too: reports belong to the login of the same one
    #[arg(long, default_value = "radius-test")]
    pub session: String,
    /// Class for reports in hexadecimal, as the Access-Accept had it
    #[arg(long, value_name = "HEX", value_parser = units::octets_in_hex)]
    pub class: Option<units::Hex>,
    /// Octets from the device, for interim and stop
    #[arg(long, default_value_t = 0)]
    pub up: u64,
    /// Octets to the device, for interim and stop
    #[arg(long, default_value_t = 0)]
    pub down: u64,
    /// NAS-Identifier to go by [default: radius-test; at a gateway its own]
    #[arg(long)]
    pub nas: Option<String>,
    /// Address to send from
    #[arg(long)]
    pub source: Option<IpAddr>,
    /// Copies sent, one each second
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10))]
    pub tries: u32,
    /// Show whose packets they are
    #[arg(long)]
    pub show_personal: bool,
    #[command(flatten)]
    pub output: Output,
}

impl RadiusTest {
    /// Who we say we are.
    pub fn nas(&self) -> &str {
        self.nas.as_deref().unwrap_or("radius-test")
    }
}

#[derive(Args)]
pub struct RadiusSniff {
    /// Read a capture (pcap or pcapng) instead of the network
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Only packets from or to this gate: its name or address
    #[arg(long)]
    pub nas: Option<String>,
    /// Only packets whose User-Name is this, and their answers
    #[arg(long)]
    pub user: Option<String>,
    /// Only packets of this code, such as access-reject
    #[arg(long)]
    pub code: Option<String>,
    /// Other ports than 1812, 1813, 3799 and those of this configuration
    #[arg(long, value_delimiter = ',')]
    pub port: Vec<u16>,
    /// End after so many packets
    #[arg(long)]
    pub count: Option<u64>,
    /// Show numbers, MACs and addresses of people
    #[arg(long)]
    pub show_personal: bool,
    #[command(flatten)]
    pub output: Output,
}

/// Somebody: a mobile number, a device's MAC, or the number of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Number(MobileNumber),
    Device(Mac),
    Session(i64),
}

impl FromStr for Who {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        if text.len() < 10
            && let Ok(session) = text.parse()
        {
            return Ok(Self::Session(session));
        }
        text.parse().map(Self::Device).map_err(
            |_| "give a mobile number of 10 digits, a MAC such as 02:00:00:00:00:01, or the number of a session",
        )
    }
}

#[derive(Args)]
pub struct WhyQuestion {
    /// Mobile number, MAC, or number of a session
    pub who: Who,
    /// In front of this gate [default: where they were last online]
    #[arg(long)]
    pub gate: Option<String>,
    /// Show the number and MACs in full
    #[arg(long)]
    pub show_personal: bool,
    #[command(flatten)]
    pub output: Output,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_told_by_number_device_or_session() {
        let who = |text: &str| text.parse::<Who>();
        assert!(matches!(who("9876543210"), Ok(Who::Number(_))));
        assert!(matches!(who("02-00-00-00-00-01"), Ok(Who::Device(_))));
        assert!(matches!(who("020000000001"), Ok(Who::Device(_))));
        assert_eq!(who("4711"), Ok(Who::Session(4711)));
        assert!(who("nobody").is_err());
    }
}
