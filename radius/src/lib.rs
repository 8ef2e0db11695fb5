//! RADIUS (RFC 2865, 2866, 5176, 5997): the wire, typed messages, a client for gates, a server for the centre.
//!
//! - [`wire`]: packets, authenticators, attributes. The only importer of the codec crate.
//! - [`AccessRequest`], [`AccessReply`], [`AccountingRequest`], [`DynamicRequest`]: what is said, free of numbers and octets.
//! - [`client`]: asks a server, for our gateway. [`dynamic`]: tells a gate to end or change a session, and is told.
//! - [`server`]: answers gates with the centre's use cases.

mod access;
mod accounting;
#[cfg(feature = "client")]
pub mod client;
mod clock;
mod duplicates;
pub mod dynamic;
mod exchange;
mod limits;
mod listener;
mod nas;
#[cfg(feature = "server")]
pub mod server;
pub mod wire;

pub use access::{AccessReply, AccessRequest, Credential, Grant, MsChapV2, ServiceType};
pub use accounting::{AccountingKind, AccountingRequest, Counters};
pub use dynamic::{DynamicAction, DynamicRequest, Target};
pub use exchange::Retry;
pub use limits::{Change, LimitsPatch};
pub use nas::NasIdentity;
pub use wire::{ErrorCause, Secret};
