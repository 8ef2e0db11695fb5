//! ARP: who may be in the kernel's table of neighbours. It has room for a thousand, and a stranger who fills it with inventions keeps
//! everybody else from coming in. A table of its own, in the `arp` family.

use crate::layout::Layout;

/// `MAC . IPv4` pairs leased by DHCP, which are always heard.
pub(crate) const PAIRS: &str = "pairs";
/// Leased addresses. In strict mode nobody else is heard who says that he has one of them.
pub(crate) const LEASED: &str = "leased";
/// Counter of requests that were not heard.
pub(crate) const UNHEARD: &str = "unheard";

/// The text, for a table that is there. The pairs stay when it is loaded again.
pub(crate) fn content(layout: &Layout) -> String {
    let table = &layout.table;
    let size = layout.max_sessions.saturating_mul(2);
    let mut lines = vec![
        format!("add counter arp {table} {UNHEARD}"),
        format!("add set arp {table} {PAIRS} {{ type ether_addr . ipv4_addr; size {size}; flags timeout; }}"),
        format!("add set arp {table} {LEASED} {{ type ipv4_addr; size {size}; flags timeout; }}"),
        format!("add chain arp {table} input {{ type filter hook input priority 0; policy accept; }}"),
        format!("flush table arp {table}"),
    ];
    let mut rules = vec![
        format!("iifname != \"{}\" accept", layout.lan_if),
        "arp saddr ip 0.0.0.0 limit rate 50/second burst 200 packets accept  # a probe, which is remembered nowhere"
            .to_owned(),
        format!("arp saddr ether . arp saddr ip @{PAIRS} accept"),
    ];
    if layout.strict {
        // Otherwise a repeater may speak for the device, by an address of its own.
        rules.push(format!(
            "arp saddr ip @{LEASED} counter name \"{UNHEARD}\" drop  # another's"
        ));
    }
    rules.extend([
        "limit rate 20/second burst 100 packets accept  # before the lease is known, or where there is none".to_owned(),
        format!("counter name \"{UNHEARD}\" drop"),
    ]);
    lines.extend(rules.iter().map(|rule| format!("add rule arp {table} input {rule}")));
    lines.join("\n") + "\n"
}
