//! Sites, gates, people, sessions, vouchers and the audit on the command line.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use kavadam_domain::{MobileNumber, Timestamp};

use crate::units;

/// Whether to print for people or for programs.
#[derive(Args, Clone, Copy)]
pub struct Output {
    /// Print JSON with stable keys: octets, seconds, times in seconds since 1970 UTC
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum SiteCommand {
    /// All sites
    #[command(after_help = "Example:\n  kavadam site list")]
    List(Output),
    /// One site, with its gates
    #[command(after_help = "Example:\n  kavadam site show 'Vizhinjam bus stand'")]
    Show {
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Make a site, or change what is given of one, at once for those online there; it says which
    #[command(after_help = "Example:\n  kavadam site set 'Vizhinjam bus stand' --plan citizen")]
    Set(SiteSettings),
    /// Remove a site at which no gates stand any more; it stays on record
    #[command(
        after_help = "To let nobody in for now: kavadam site set NAME --closed\n\nExample:\n  kavadam site end 'Old jetty'"
    )]
    End {
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Args)]
pub struct SiteSettings {
    pub name: String,
    /// Plan of those who have none of their own; a new site needs one
    #[arg(long)]
    pub plan: Option<String>,
    /// Let nobody in for now; who is online is sent away
    #[arg(long)]
    pub closed: bool,
    /// Let people in again
    #[arg(long, conflicts_with = "closed")]
    pub open: bool,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "read once, at the start")]
pub enum NasCommand {
    /// All gates
    #[command(after_help = "Example:\n  kavadam nas list")]
    List(Output),
    /// One gate, without its secrets
    #[command(after_help = "Example:\n  kavadam nas show stand-7")]
    Show {
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Make a gate known, or change what is given of one; it says which
    #[command(
        after_help = "Secrets are read from files, so that they stand in no process list. A new gate needs --site, --source and both secrets.\n\nExamples:\n  kavadam nas set stand-7 --site 'Vizhinjam bus stand' --source 10.7.0.2/32 --secret-file s --uam-secret-file u --vendor mikrotik\n  kavadam nas set stand-7 --secret-file new --old-secret-until 2d\n  kavadam nas set stand-7 --no-message-authenticator-until 2027-03-31\n  kavadam nas set stand-7 --ms-chap"
    )]
    Set(NasSettings),
    /// The vendors whose gates are known, with what each can be held to
    #[command(
        after_help = "at login: as told when somebody logs in; any time: also as told later. What a gate cannot be told ends the session or waits for the next login.\n\nExample:\n  kavadam nas vendors\n  kavadam nas vendors --print mikrotik > /etc/kavadam/radius.d/mikrotik.toml"
    )]
    Vendors {
        /// Print the built-in file of that name, such as `mikrotik` or `dictionary.mikrotik`, to begin one's own with
        #[arg(long)]
        print: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Know a gate no more: its sessions are over, with the octets last reported
    #[command(after_help = "Example:\n  kavadam nas end stand-7")]
    End {
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Args)]
pub struct NasSettings {
    /// NAS-Identifier
    pub name: String,
    /// Where it stands
    #[arg(long)]
    pub site: Option<String>,
    /// Where its requests come from: an address, or a network. Gates of one source are told apart by NAS-Identifier, and each needs a
    /// secret of its own
    #[arg(long, value_parser = units::network)]
    pub source: Option<IpNet>,
    /// File with the RADIUS secret, at least 16 characters
    #[arg(long)]
    pub secret_file: Option<PathBuf>,
    /// With a new secret: the one before is valid too until then, a date (to its end) or a span such as 2h; `now` ends it
    #[arg(long, value_name = "DATE", value_parser = units::until)]
    pub old_secret_until: Option<Timestamp>,
    /// Take its Access-Requests without Message-Authenticator until then, though they prove nothing: for an old gate, alone at its
    /// source, that is to be upgraded or replaced; `now` ends it
    #[arg(long, value_name = "DATE", value_parser = units::until)]
    pub no_message_authenticator_until: Option<Timestamp>,
    /// Take MS-CHAPv2 there as a proof of a code or ticket: whoever records one can find the password. For a gate that can speak nothing
    /// else; `--ms-chap=false` takes it back
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ms_chap: Option<bool>,
    /// File with the UAM secret, at least 16 characters
    #[arg(long)]
    pub uam_secret_file: Option<PathBuf>,
    /// Whose gate it is: see `kavadam nas vendors` [new gates: kavadam, a gateway of ours]
    #[arg(long)]
    pub vendor: Option<String>,
    /// UDP port for CoA and Disconnect [new gates: 3799, or their vendor's; one that a vendor has several of is where to begin]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub coa_port: Option<u16>,
    /// Where it takes CoA and Disconnect, by address or name, if not where its requests come from; '' takes it back
    #[arg(long)]
    pub coa_host: Option<String>,
    /// It is a gateway of ours: it gets small leases, shared by a person's devices, and asks again before they are used up. Without
    /// this a gate gets a fixed share; `--renews=false` takes it back
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub renews: Option<bool>,
    /// Over TLS it is whoever shows a trusted certificate with this name: a DNS name or URI of its subjectAltName, or sha256: and
    /// the certificate's fingerprint; `none` takes it back
    #[arg(long, value_parser = units::certificate)]
    pub certificate_name: Option<units::Certificate>,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Subcommand)]
pub enum SubscriberCommand {
    /// People, the newest first, their numbers masked
    #[command(after_help = "Example:\n  kavadam subscriber list --most 20")]
    List {
        /// At most so many
        #[arg(long, default_value_t = 100)]
        most: u32,
        #[command(flatten)]
        output: Output,
    },
    /// One person: plan, use, devices
    #[command(after_help = "Example:\n  kavadam subscriber show 9876543210")]
    Show {
        number: MobileNumber,
        #[command(flatten)]
        output: Output,
    },
    /// Keep a number out; its sessions end
    #[command(after_help = "Example:\n  kavadam subscriber block 9876543210")]
    Block {
        number: MobileNumber,
        #[command(flatten)]
        output: Output,
    },
    /// Let a number in again
    #[command(after_help = "Example:\n  kavadam subscriber unblock 9876543210")]
    Unblock {
        number: MobileNumber,
        #[command(flatten)]
        output: Output,
    },
    /// Enrol an authenticator app: prints what it must scan, the only time it can be read
    #[command(
        after_help = "Whoever logs in with that number may then enter the app's code in place of the message's.\nRunning it again replaces the app.\n\nExample:\n  kavadam subscriber enrol 9876543210"
    )]
    Enrol {
        number: MobileNumber,
        #[command(flatten)]
        output: Output,
    },
    /// Forget the authenticator app; codes come by message alone
    #[command(after_help = "Example:\n  kavadam subscriber unenrol 9876543210")]
    Unenrol {
        number: MobileNumber,
        #[command(flatten)]
        output: Output,
    },
    /// Add data to the present period of the plan in force, or of the plan where the person was online last
    #[command(after_help = "Example:\n  kavadam subscriber top-up 9876543210 500MB")]
    TopUp {
        number: MobileNumber,
        /// Such as 500MB
        #[arg(value_parser = units::octets)]
        octets: u64,
        #[command(flatten)]
        output: Output,
    },
    /// Give a person a plan of their own, or with `--default` the site's
    #[command(
        override_usage = "kavadam subscriber plan [OPTIONS] <NUMBER> <PLAN>\n       kavadam subscriber plan [OPTIONS] <NUMBER> --default",
        after_help = "Examples:\n  kavadam subscriber plan 9876543210 staff\n  kavadam subscriber plan 9876543210 --default"
    )]
    Plan {
        number: MobileNumber,
        /// The plan's name
        #[arg(required_unless_present = "default")]
        plan: Option<String>,
        /// The plan of the site where the person is
        #[arg(long, conflicts_with = "plan")]
        default: bool,
        #[command(flatten)]
        output: Output,
    },
    /// End every session of a number; it may come in again
    #[command(after_help = "Example:\n  kavadam subscriber end 9876543210")]
    End {
        number: MobileNumber,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Subcommand)]
pub enum SessionCommand {
    /// Sessions, the newest first
    #[command(after_help = "Example:\n  kavadam session list --open --site 'Vizhinjam bus stand'")]
    List {
        /// Only those not ended
        #[arg(long)]
        open: bool,
        /// Only of this number
        #[arg(long)]
        number: Option<MobileNumber>,
        /// Only at this site
        #[arg(long)]
        site: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 1000)]
        most: u32,
        #[command(flatten)]
        output: Output,
    },
    /// One session
    #[command(after_help = "Example:\n  kavadam session show 4711")]
    Show {
        /// Its number, as in the list
        #[arg(value_parser = units::number)]
        id: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Whose connection it was, by a public address, a port and a time
    ///
    /// Where a gate gives each device ports of its own (gateway.nat), one session answers to them. Connections that a device keeps beyond the end of its session
    /// are cut, so the session at that time is the one.
    #[command(after_help = "Example:\n  kavadam session behind 198.51.100.2:5321 --at 2026-11-30T08:15:00+05:30")]
    Behind {
        /// As a server in the internet has seen it
        #[arg(value_name = "ADDRESS:PORT", value_parser = units::endpoint4)]
        endpoint: SocketAddrV4,
        /// When, with its time zone; without it, now
        #[arg(long, value_name = "TIME", value_parser = units::moment)]
        at: Option<Timestamp>,
        #[command(flatten)]
        output: Output,
    },
    /// Have its gate end one
    #[command(after_help = "Example:\n  kavadam session end 4711")]
    End {
        /// Its number, as in the list
        #[arg(value_parser = units::number)]
        id: i64,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Subcommand)]
pub enum VoucherCommand {
    /// Make vouchers and print their codes, the only time they can be read
    #[command(
        after_help = "Examples:\n  kavadam voucher create --octets 1GB --count 50 --expires 30d --label 'Akshaya 7'\n  kavadam voucher create --plan pupils --count 30"
    )]
    Create(VoucherOrder),
    /// Vouchers made, without their codes, the newest first
    #[command(after_help = "Example:\n  kavadam voucher list --label 'Akshaya 7'")]
    List {
        /// Only of this lot
        #[arg(long)]
        label: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 10_000)]
        most: u32,
        #[command(flatten)]
        output: Output,
    },
    /// One voucher, without its code
    #[command(after_help = "Example:\n  kavadam voucher show 12")]
    Show {
        /// Its number, as in the list
        #[arg(value_parser = units::number)]
        id: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Have an unused voucher, or all of a lot, expire now
    #[command(after_help = "Example:\n  kavadam voucher end --label 'Akshaya 7'")]
    End {
        /// Its number, as in the list
        #[arg(required_unless_present = "label", value_parser = units::number)]
        id: Option<i64>,
        /// All unused ones of this lot
        #[arg(long, conflicts_with = "id")]
        label: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Args)]
pub struct VoucherOrder {
    /// What each adds to the present period, such as 1GB
    #[arg(long, value_parser = units::octets, required_unless_present = "plan")]
    pub octets: Option<u64>,
    /// The plan that whoever uses it has from then on
    #[arg(long)]
    pub plan: Option<String>,
    /// How many
    #[arg(long, default_value_t = 1)]
    pub count: u32,
    /// Good for so long, such as 30d
    #[arg(long, value_parser = units::some_time)]
    pub expires: Option<Duration>,
    /// For your own order, such as a counter's name
    #[arg(long, default_value = "")]
    pub label: String,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Who changed what, the newest first
    #[command(after_help = "Example:\n  kavadam audit list --most 20")]
    List {
        /// At most so many
        #[arg(long, default_value_t = 100)]
        most: u32,
        #[command(flatten)]
        output: Output,
    },
}
