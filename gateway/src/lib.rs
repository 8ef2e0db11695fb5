//! Our NAS: captures strangers, sends them to the portal, asks a RADIUS server, opens and ends sessions in the kernel, and
//! reports what they used.
//!
//! ```text
//!   http doors ─┐                                       ┌─▶ spool (commit) ──▶ courier ──▶ RADIUS accounting
//!   leases ─────┼─▶ engine ──▶ core (sans-IO) ──Command─┼─▶ packet filter
//!   kernel ─────┤                                       └─▶ RADIUS authentication ──▶ engine
//!   CoA ────────┘
//! ```
//!
//! [`start`] binds everything, [`Gateway::run`] serves; both in one: [`run`]. Stopping leaves people online: the kernel holds
//! their sessions, and the next start adopts them.

pub mod advertise;
mod check;
mod clock;
pub mod config;
mod core;
mod courier;
mod devices;
pub mod dnsmasq;
mod engine;
pub mod fingerprints;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guard;
mod http;
mod kernel;
pub mod lease;
mod leases;
mod names;
mod neighbours;
mod onlook;
mod pool;
mod prefixes;
mod reload;
mod report;
mod requests;
mod rogues;
mod run;
mod sightings;
mod spool;

pub use check::{Problem, check};
pub use config::GatewayConfig;
pub use http::CertificateError;
pub use kavadam_firewall::{
    MOST_FILTERS, OtherLan, Portion, ShapingClass, UPLINK_BITS_PER_SEC, Uplink, class_problems, is_table_name,
};
pub use names::{Blocklist, Garden, InvalidBlockedName, InvalidGardenName, ListRead};
pub use onlook::{Known, Onlooker, Standing};
pub use reload::{ReloadError, Reloader};
pub use requests::full_ports;
pub use run::{Gateway, GatewayError, Pulse, run, start};
pub use spool::SpoolError;

#[cfg(test)]
mod testing;
