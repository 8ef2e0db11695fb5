//! RADIUS (RFC 2865, 2866, 5176, 5997, 6614, 9765): the wire, typed messages, a client for gates, a server for the centre.
//!
//! - [`wire`]: packets, authenticators, attributes. The only importer of the codec crate.
//! - [`AccessRequest`], [`AccessReply`], [`AccountingRequest`], [`DynamicRequest`]: what is said, free of numbers and octets.
//! - [`client`]: asks a server, for our gateway. [`dynamic`]: tells a gate to end or change a session, and is told.
//! - [`tls`]: the same over TLS.
//! - [`profile`]: how each vendor's gates are told limits and orders. [`server`]: answers gates with the centre's use cases.
//! - [`probe`]: asks a server to find out what is wrong. [`tell`]: packets in words. [`capture`]: packets that pass.

mod access;
mod accounting;
#[cfg(feature = "capture")]
pub mod capture;
#[cfg(feature = "client")]
pub mod client;
mod clock;
mod device;
mod duplicates;
pub mod dynamic;
mod exchange;
mod free;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod limits;
mod listener;
mod nas;
mod port_range;
#[cfg(feature = "client")]
pub mod probe;
#[cfg(feature = "server")]
pub mod profile;
#[cfg(feature = "server")]
pub mod server;
pub mod tell;
pub mod tls;
pub mod wire;

pub use access::{AccessReply, AccessRequest, Credential, Grant, MsChapV2, ServiceType};
pub use accounting::{AccountingKind, AccountingRequest, Counters};
pub use dynamic::{DynamicAction, DynamicRequest, Target};
pub use exchange::Retry;
pub use limits::{Change, LimitsPatch};
pub use nas::NasIdentity;
pub use wire::{ErrorCause, Secret};
