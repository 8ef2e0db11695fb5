//! Just enough netlink to keep sessions in nftables: own encoder and decoder over `netlink-sys` sockets.
//!
//! Why not `nft` or its JSON: a process costs 2–16 ms where a message costs 0.01 ms, and nft's JSON drops the limit of an
//! element. Numbers are those of `linux/netlink.h`, `linux/netfilter/nf_tables.h`, `linux/neighbour.h` and `linux/pkt_sched.h`.

mod events;
pub(crate) mod expression;
pub(crate) mod lan;
mod many;
mod nft;
mod queue;
mod route;
mod socket;
mod structure;
mod tables;
mod wire;

pub use events::{Events, GateEvent};
pub(crate) use nft::{
    Batch, Counter, Element, Entry, FAMILY_ARP, FAMILY_BRIDGE, FAMILY_INET, OWNED, PERSISTENT, Quota, Table,
};
pub(crate) use queue::{Class, Queues, Root};
pub(crate) use route::Neighbours;
pub(crate) use socket::{Channel, Refused};
pub(crate) use structure::{BaseChain, Place, SetDefinition, SetEntry};
