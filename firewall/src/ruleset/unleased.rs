//! Devices with IPv6 only, in strict mode: who has no DHCP lease is heard once it has taken part in neighbour discovery.
//!
//! The kernel admits them by itself. Whoever invents hardware addresses is admitted as others are, hence three bounds: so many new ones a second,
//! so many at a time, and nothing more in neighbour discovery than any unheard device has. Devices with a lease, and those online, do not notice.

use super::set;
use crate::layout::Layout;

/// At once, whoever they are: with the connections that each stranger may have, a fraction of any connection table.
const MOST: u32 = 1_024;
/// New ones. At this rate, for as long as one stays without a packet, there are never [`MOST`] of those that fall silent. Whoever keeps all of them
/// speaking keeps newcomers with IPv6 only out.
const NEW: &str = "rate 5/second burst 20 packets";
const STAY: &str = "3m";

/// Whether there are any rules of this kind.
pub fn are_heard(layout: &Layout) -> bool {
    layout.strict && layout.admit_ipv6_only
}

/// Of the set that the kernel fills.
pub fn definition() -> String {
    format!("type ether_addr; size {MOST}; flags dynamic,timeout; timeout {STAY};")
}

/// In the chain of strangers, what becomes of who has no lease.
pub fn judged(layout: &Layout) -> String {
    let verdict = if are_heard(layout) { "jump unleased" } else { "drop" };
    format!("meta nfproto ipv6 ether saddr != @{} {verdict}", set::LEASE_MACS)
}

/// In the chain of neighbour discovery, after those who have a lease and before the bound for all others.
pub fn admitted(layout: &Layout) -> Option<String> {
    let unleased = set::UNLEASED;
    are_heard(layout)
        .then(|| format!("meta mark 0 ether saddr != @{unleased} limit {NEW} add @{unleased} {{ ether saddr }}"))
}

/// A chain of its own: whoever speaks on stays.
pub fn known() -> Vec<String> {
    let unleased = set::UNLEASED;
    vec![
        format!("ether saddr != @{unleased} drop"),
        format!("update @{unleased} {{ ether saddr }}"),
    ]
}
