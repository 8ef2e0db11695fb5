//! What can go wrong between us and the kernel, each with the remedy in its text.

use std::io;

use kavadam_domain::FilterName;

use crate::session::{PoolKey, Slot};

/// A failure of the packet filter. A session that may not be opened is somebody else's decision, never one of these.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The configuration describes no gateway that could exist.
    #[error("the network layout cannot be right: {0}")]
    Layout(String),
    /// The program `nft` could not be started.
    #[error("cannot start nft: {0}. Remedy: install it (apt-get install nftables) and keep /usr/sbin in PATH")]
    NftMissing(#[source] io::Error),
    /// No right to change the packet filter.
    #[error("the kernel refuses us the packet filter. Remedy: run as root or with CAP_NET_ADMIN")]
    NotPermitted,
    /// Another process holds the table.
    #[error(
        "another process holds the gate's table. Remedy: stop the gateway that runs (systemctl stop kavadam), or, for another LAN of this \
         machine, give each its own gateway.table"
    )]
    Taken,
    /// Our rules have a line that we cannot read ourselves.
    #[error("a rule cannot be read: {0}. Remedy: report it, as it is a defect; `kavadam gate rules` prints all")]
    RulesUnreadable(String),
    /// The kernel did not take the rule set.
    #[error("the kernel refused the rule {line:?}: {source}. Remedy: {remedy}")]
    RulesRefused {
        /// The line, or its beginning.
        line: String,
        /// The kernel's answer.
        source: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// `nft` did not show the rule set.
    #[error("nft does not show the rule set: {reason}. Remedy: {remedy}")]
    NftRefused {
        /// The first lines of what nft said.
        reason: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The rule set was taken, yet the kernel shows another.
    #[error("the packet filter is not what was loaded: {}. Remedy: {remedy}", missing.join("; "))]
    Unverified {
        /// One entry for each difference.
        missing: Vec<String>,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The kernel refused a request.
    #[error("the kernel refused to {action}: {source}")]
    Kernel {
        /// What was asked.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The LAN interface is not there.
    #[error("there is no network interface {0}. Remedy: correct the LAN interface in the configuration")]
    NoInterface(String),
    /// Somebody else has set a queueing discipline where ours should be.
    #[error(
        "{interface} has a queue of kind {kind} that is not ours. Remedy: remove it (tc qdisc del dev {interface} root), or share the uplink by it \
         and leave gateway.uplink out"
    )]
    QueueTaken {
        /// Where.
        interface: String,
        /// The kernel's name for it.
        kind: String,
    },
    /// The kernel has no Hierarchical Token Bucket.
    #[error(
        "the kernel cannot share an uplink: it has no sch_htb. Remedy: modprobe sch_htb, or leave gateway.uplink out"
    )]
    NoShaping,
    /// No session of ours has this slot.
    #[error("{0} is not open")]
    UnknownSlot(Slot),
    /// The session's time ran out in the kernel; all that can be done with it is to close it.
    #[error("{0} has expired")]
    Expired(Slot),
    /// No session is left in this pool, or it never had one.
    #[error("{0} does not exist")]
    UnknownPool(PoolKey),
    /// The device has a session already; close that first.
    #[error("the device is online already, as {0}")]
    DeviceOnline(Slot),
    /// The gate has no filter of this name.
    #[error(
        "there is no filter {0} here. Remedy: add [gateway.filters.{0}] to the configuration, or take it from the plan"
    )]
    UnknownFilter(FilterName),
    /// Sessions would be without the filter that they have.
    #[error(
        "sessions have the filter {0}, which the configuration no longer has. Remedy: take it from the plan first (kavadam plan set NAME --filter \
         none), or leave [gateway.filters.{0}] where it is"
    )]
    FilterInUse(FilterName),
    /// Another device's session holds this IPv4 address.
    #[error("the address belongs to {0}")]
    AddressTaken(Slot),
    /// As many sessions as the table has room for.
    #[error("every one of {0} session places is taken. Remedy: raise gateway.max_sessions and restart kavadam")]
    Full(u32),
    /// A label longer than the kernel keeps.
    #[error("a session label has at most 160 octets, this one {0}")]
    LabelTooLong(usize),
    /// All 2³² numbers have been used.
    #[error(
        "no slot number is left. Remedy: nft delete table inet kavadam (or the name in gateway.table), then restart"
    )]
    NumbersUsedUp,
}

impl FirewallError {
    pub(crate) fn kernel(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted,
            _ => Self::Kernel { action, source },
        }
    }

    /// Whether the kernel lacks what we took to be there.
    pub(crate) fn is_of_missing(&self) -> bool {
        matches!(self, Self::Kernel { source, .. } if source.raw_os_error() == Some(libc::ENOENT))
    }
}
