//! Dynamic authorization (RFC 5176): the centre tells a gate to end a session or to change its limits.

mod client;
mod counts;
mod message;
mod server;

pub use client::{DynamicClient, DynamicReply};
pub use counts::DynamicCounts;
pub use message::{DynamicAction, DynamicRequest, Target};
#[cfg(feature = "fuzzing")]
pub(crate) use server::DynamicDoor;
pub use server::{Authority, DynamicConfig, DynamicHandler, DynamicServer};
