//! The kernel: nftables sessions, meters and limits.
//!
//! [`ruleset`] says what may flow (prose: `docs/enforcement.md`), [`Gate`] loads it and keeps the sessions in it, and
//! [`Events`] tells when a quota is used up and when somebody else changed the rules. The kernel is the only store: a new process finds every session, limit and
//! octet where its predecessor left them.

mod apply;
mod class;
mod compile;
mod error;
mod filter;
mod gate;
mod lan;
mod layout;
mod netlink;
pub mod ruleset;
mod session;
mod shares;
pub mod shut;
mod trace;

pub use class::{MOST_CLASSES, Portion, ShapingClass, class_problems};
pub use error::FirewallError;
pub use filter::{Filter, MOST_FILTERS};
pub use gate::{Gate, Opening, Restored, SeenAddresses, SeenDevice, SeenSession, Stay, Uncharged, View};
pub use lan::LanAddress;
pub use layout::{DhcpPool, Layout, OtherLan, UPLINK_BITS_PER_SEC, Uplink, is_table_name};
pub use netlink::{Events, GateEvent};
pub use session::{AdoptedSession, Meter, OpenSession, PoolKey, SessionLimits, SessionState, Slot};
pub use shares::Shares;
pub use trace::{DeviceState, Step, Trace};
