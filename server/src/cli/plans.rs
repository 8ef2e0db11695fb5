//! Plans on the command line.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use kavadam_domain::plan::{AfterQuota, Period};
use kavadam_domain::{ClassName, FilterName};

use super::Output;
use crate::units;

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "read once, at the start")]
pub enum PlanCommand {
    /// All plans
    #[command(after_help = "Example:\n  kavadam plan list --json")]
    List(Output),
    /// One plan
    #[command(after_help = "Example:\n  kavadam plan show citizen")]
    Show {
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Make a plan, or change what is given of one; it says which
    #[command(
        after_help = "Example:\n  kavadam plan set citizen --quota 1GB --period day --down 10Mbit --up 10Mbit --devices 3 --remember 14d"
    )]
    Set(PlanSettings),
    /// Offer a plan no more; what was used under it stays on record
    #[command(
        after_help = "Refused while a site, a subscriber or an unused voucher needs it.\n\nExample:\n  kavadam plan end student"
    )]
    End {
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Args)]
pub struct PlanSettings {
    /// Lower case letters, digits and dashes
    pub name: String,
    /// Data per period, such as 1GB, or `none` [new plans: none]
    #[arg(long, value_parser = or_none(units::octets))]
    pub quota: Option<Limit<u64>>,
    /// How long one allowance lasts [new plans: day]
    #[arg(long, value_enum)]
    pub period: Option<PeriodName>,
    /// IANA time zone whose midnight begins a day [new plans: Asia/Kolkata]
    #[arg(long)]
    pub time_zone: Option<String>,
    /// Speed towards the device, such as 10Mbit, or `none` [new plans: none]
    #[arg(long, value_parser = or_none(units::rate))]
    pub down: Option<Limit<u64>>,
    /// Speed towards the internet, or `none` [new plans: none]
    #[arg(long, value_parser = or_none(units::rate))]
    pub up: Option<Limit<u64>>,
    /// Longest session, such as 4h, or `none` [new plans: none]
    #[arg(long, value_parser = or_none(units::span))]
    pub session_time: Option<Limit<Duration>>,
    /// A session idle for so long ends, such as 10m, or `none` [new plans: 10m]
    #[arg(long, value_parser = or_none(units::span))]
    pub idle_time: Option<Limit<Duration>>,
    /// Devices of one person at once, 1 to 100 [new plans: 1]
    #[arg(long)]
    pub devices: Option<u32>,
    /// How long a device returns without a code, in days, such as 14d [new plans: 14d]
    #[arg(long, value_parser = units::span)]
    pub remember: Option<Duration>,
    /// At the quota's end: `close`, or `throttle:SPEED` such as throttle:256kbit [new plans: close]
    #[arg(long, value_parser = after_quota)]
    pub after_quota: Option<AfterQuota>,
    /// Filter for its people, as the gateways have it in [gateway.filters], or `none` [new plans: none]
    #[arg(long, value_parser = or_none(filter))]
    pub filter: Option<Limit<FilterName>>,
    /// Shaping class of its people, as the gateways have it in [gateway.uplink.classes], or `none` [new plans: none]
    #[arg(long, value_parser = or_none(class))]
    pub class: Option<Limit<ClassName>>,
    #[command(flatten)]
    pub output: Output,
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

fn filter(text: &str) -> Result<FilterName, String> {
    text.parse()
        .map_err(|error: kavadam_domain::InvalidFilterName| error.to_string())
}

fn class(text: &str) -> Result<ClassName, String> {
    text.parse()
        .map_err(|error: kavadam_domain::InvalidClassName| error.to_string())
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
