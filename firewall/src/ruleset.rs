//! The rule set as text: what may flow, for whom. The prose is in `docs/enforcement.md`; a test keeps a printed copy.
//!
//! Three decisions shape it. Sessions are set elements, so no rule is ever added or removed while people are online. A
//! stranger's packet is judged in `raw`, before it can cost an entry in the connection table. And no rule uses an anonymous
//! set, because a packet that meets one while the rules are being replaced finds nothing in it and is lost.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use ipnet::Ipv6Net;

pub(crate) mod arp;
mod configured;
pub(crate) mod dhcp;
mod filters;
pub(crate) mod impostors;
pub(crate) mod link;
mod passage;
mod rules;
pub(crate) mod share;
mod unleased;

use crate::filter::Filter;
use crate::layout::Layout;
use configured::configured;
pub(crate) use filters::members;
pub(crate) use rules::chains;

/// Names of the sets and maps that the gate fills by netlink.
pub(crate) mod set {
    /// `MAC . IPv4 -> slot`, ends with the session.
    pub const AUTH4: &str = "auth4";
    /// `MAC -> slot`, for any address within the LAN's IPv6 prefix; ends with the session.
    pub const AUTH6: &str = "auth6";
    /// Speed towards the internet, per slot.
    pub const LIM_UP: &str = "lim_up";
    /// Speed towards the device, per slot. Ends with the session: a slot is online as long as it is in here.
    pub const LIM_DOWN: &str = "lim_down";
    /// `slot -> quota object` of its pool; remembers who the session is for.
    pub const TOTAL: &str = "total";
    /// Octets towards the internet, per slot. Apart from what expires, so that an expiry destroys no octets.
    pub const CNT_UP: &str = "cnt_up";
    /// Octets towards the device, per slot.
    pub const CNT_DOWN: &str = "cnt_down";
    /// Octets that went free of charge, per slot, where anything is free. Like those that are charged, only looked up by packets: whoever ends a
    /// session takes them away, and nothing puts them back.
    pub const CNT_FREE_UP: &str = "cnt_free_up";
    /// Octets that came free of charge, likewise.
    pub const CNT_FREE_DOWN: &str = "cnt_free_down";
    /// Octets of the sessions that have left a pool, per pool.
    pub const SPENT: &str = "spent";
    /// One element: the first number that was never a slot or a pool.
    pub const RESERVED: &str = "reserved";
    /// `MAC . IPv4` pairs leased by DHCP.
    pub const LEASES: &str = "leases";
    /// Addresses that the garden's names lead to, IPv4.
    pub const GARDEN_NAMES4: &str = "garden_names4";
    /// Likewise, IPv6.
    pub const GARDEN_NAMES6: &str = "garden_names6";
    /// Addresses that free names lead to, IPv4.
    pub const FREE_NAMES4: &str = "free_names4";
    /// Likewise, IPv6.
    pub const FREE_NAMES6: &str = "free_names6";
    /// The port of DNS, as long as somebody answers those online in the resolver's place.
    pub const CITIZEN_NAMES: &str = "citizen_names";
    /// `slot -> queue` of the sessions that are in a shaping class, where there are any.
    pub const CLASSED: &str = "classed";
    /// Slots of the sessions that have a filter, where there are any.
    pub const FILTERED: &str = "filtered";
    /// MACs that hold a lease, for their IPv6.
    pub const LEASE_MACS: &str = "lease_macs";
    /// Devices that hold a lease, as they are called in requests for one: the same as [`LEASE_MACS`], of another type to `nft`.
    pub const LEASE_CLIENTS: &str = "lease_clients";
    /// MACs that are heard over IPv6 without a DHCP lease. The kernel itself fills it.
    pub const UNLEASED: &str = "unleased";
    /// The LAN's IPv6 prefixes, where they come and go.
    pub const LAN6: &str = "lan6";
    /// LANs of other gates whose tables are there.
    pub const OTHERS: &str = "others";
    /// `device's IPv4 address -> public address and ports`, where each device has its own.
    pub const PUBLIC_PORTS: &str = "public_ports";
    /// `slot's number but for its last bit, modulo 4096 -> queue`, where an uplink is shared. The same for ever, so that no session brings or takes anything.
    pub const SHARES: &str = "shares";
}

/// Set in a connection's mark, beside its session's slot: it is free. Its answers find the session by it, and nothing that charges does.
pub(crate) const FREE_MARK: u32 = 1 << 31;

/// Counters of what is charged to nobody, by direction, and of what was refused as blocked.
pub(crate) const COUNTERS: [&str; 3] = ["free_up", "free_down", "blocked"];

/// A base chain's place in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    pub kind: &'static str,
    pub at: &'static str,
    /// As nft writes it, and the number it stands for.
    pub priority: (&'static str, i32),
    pub policy: &'static str,
}

/// One chain and its rules, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub name: Cow<'static, str>,
    pub hook: Option<Hook>,
    pub rules: Vec<String>,
}

/// The text, in the language of `nft -f -`. Loading it again at any time is one transaction that keeps sessions and meters: `add` leaves
/// what exists, the chains are emptied and refilled, the sets that follow the configuration are refilled.
#[must_use]
pub fn text(layout: &Layout) -> String {
    let table = &layout.table;
    let head = "# Made by kavadam; what it means is in docs/enforcement.md.";
    format!(
        "{head}\nadd table inet {table}\n{}add table bridge {table}\n{}add table arp {table}\n{}",
        content(layout),
        link::content(layout),
        arp::content(layout)
    )
}

/// The same for a table that is there: it is made apart, with its owner's flags.
pub(crate) fn content(layout: &Layout) -> String {
    let table = &layout.table;
    let mut out = String::new();
    for (name, definition) in sets(layout) {
        let kind = if definition.contains(" : ") { "map" } else { "set" };
        line(&mut out, &format!("add {kind} inet {table} {name} {{ {definition} }}"));
    }
    let others = [
        dhcp::REFUSED,
        dhcp::RELAYED,
        impostors::COUNTER,
        link::ADVERTISEMENTS,
        link::DHCP_SERVERS,
    ];
    for name in COUNTERS.into_iter().chain(others) {
        line(&mut out, &format!("add counter inet {table} {name}"));
    }
    let chains = chains(layout);
    for chain in &chains {
        let hook = chain.hook.map_or_else(String::new, |h| {
            let Hook {
                kind,
                at,
                priority: (priority, _),
                policy,
            } = h;
            format!(" {{ type {kind} hook {at} priority {priority}; policy {policy}; }}")
        });
        line(&mut out, &format!("add chain inet {table} {}{hook}", chain.name));
    }
    line(&mut out, &format!("flush table inet {table}"));
    for (name, elements) in configured(layout) {
        let is_map = name == set::SHARES || name == set::PUBLIC_PORTS;
        let kind = if is_map { "map" } else { "set" };
        refill(&mut out, table, (kind, &name), &elements);
    }
    for chain in &chains {
        for rule in &chain.rules {
            line(&mut out, &format!("add rule inet {table} {} {rule}", chain.name));
        }
    }
    out
}

/// What the sets hold that follow the machine: LANs whose gates are there, and prefixes of the LAN.
pub(crate) fn followed(layout: &Layout, others: &BTreeSet<String>, prefixes: &BTreeSet<Ipv6Net>) -> String {
    let table = &layout.table;
    let mut out = String::new();
    let mut fill = |name, elements: Vec<String>| refill(&mut out, table, ("set", name), &elements);
    if !layout.other_lans.is_empty() {
        fill(set::OTHERS, others.iter().map(|name| format!("\"{name}\"")).collect());
    }
    if layout.delegated {
        let all: Vec<Ipv6Net> = prefixes.iter().copied().collect();
        fill(
            set::LAN6,
            Ipv6Net::aggregate(&all).iter().map(ToString::to_string).collect(),
        );
    }
    out
}

/// Puts these and no others into a set or map.
fn refill(out: &mut String, table: &str, (kind, name): (&str, &str), elements: &[String]) {
    line(out, &format!("flush {kind} inet {table} {name}"));
    if !elements.is_empty() {
        line(
            out,
            &format!("add element inet {table} {name} {{ {} }}", elements.join(", ")),
        );
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

/// Every set and map with its definition. Sets of limits declare no expression, so that an element without a limit is one
/// more kind of session; those of counters declare one, so that a foreign `nft add element` cannot add an unmetered slot.
pub(crate) fn sets(layout: &Layout) -> Vec<(Cow<'static, str>, String)> {
    let n = layout.max_sessions;
    let per_slot = |rest: &str| format!("type mark; size {n};{rest}");
    let mut sets = vec![
        (
            set::AUTH4,
            format!("type ether_addr . ipv4_addr : mark; size {n}; flags timeout;"),
        ),
        (set::AUTH6, format!("type ether_addr : mark; size {n}; flags timeout;")),
        (set::LIM_UP, per_slot("")),
        (set::LIM_DOWN, per_slot(" flags timeout;")),
        (set::TOTAL, format!("type mark : quota; size {n};")),
        (set::CNT_UP, per_slot(" counter;")),
        (set::CNT_DOWN, per_slot(" counter;")),
        (set::SPENT, per_slot(" counter;")),
        (set::RESERVED, "type mark; size 2;".to_owned()),
        (
            set::LEASES,
            format!(
                "type ether_addr . ipv4_addr; size {}; flags timeout;",
                n.saturating_mul(2)
            ),
        ),
        (
            set::LEASE_MACS,
            format!("type ether_addr; size {}; flags timeout;", n.saturating_mul(2)),
        ),
        ("garden4", "type ipv4_addr; size 65536;".to_owned()),
        ("garden6", "type ipv6_addr; size 65536;".to_owned()),
        ("free4", "type ipv4_addr; size 65536;".to_owned()),
        ("free6", "type ipv6_addr; size 65536;".to_owned()),
        ("blocked4", "type ipv4_addr; size 1048576; flags interval;".to_owned()),
        ("blocked6", "type ipv6_addr; size 1048576; flags interval;".to_owned()),
        ("blocked_ports", "type inet_proto . inet_service; size 1024;".to_owned()),
        (
            set::FREE_NAMES4,
            "type ipv4_addr; size 65536; flags timeout;".to_owned(),
        ),
        (
            set::FREE_NAMES6,
            "type ipv6_addr; size 65536; flags timeout;".to_owned(),
        ),
        (
            set::CITIZEN_NAMES,
            "type inet_service; size 2; flags timeout;".to_owned(),
        ),
        (
            set::GARDEN_NAMES4,
            "type ipv4_addr; size 65536; flags timeout;".to_owned(),
        ),
        (
            set::GARDEN_NAMES6,
            "type ipv6_addr; size 65536; flags timeout;".to_owned(),
        ),
        ("local_ports", "type inet_service; size 64;".to_owned()),
        ("nd_types", "type icmpv6_type; size 8;".to_owned()),
    ];
    sets.extend(bounds(n));
    if layout.counts_free() {
        sets.extend([set::CNT_FREE_UP, set::CNT_FREE_DOWN].map(|name| (name, per_slot(" counter;"))));
    }
    if unleased::are_heard(layout) {
        sets.push((set::UNLEASED, unleased::definition()));
    }
    if layout.delegated {
        sets.push((set::LAN6, "type ipv6_addr; size 64; flags interval;".to_owned()));
    }
    if !layout.other_lans.is_empty() {
        sets.push((set::OTHERS, "type ifname; size 64;".to_owned()));
    }
    if layout.uplink.is_some() {
        sets.push((set::SHARES, format!("type mark : classid; size {};", share::COUNT)));
    }
    if !layout.classes.is_empty() {
        // It grows as it is needed, as those of filters do.
        sets.push((set::CLASSED, format!("type mark : classid; size {n}; flags timeout;")));
    }
    if let Some(mapping) = &layout.ports {
        let size = mapping.all().count().max(65_536);
        sets.push((
            set::PUBLIC_PORTS,
            format!("type ipv4_addr : interval ipv4_addr . inet_service; size {size};"),
        ));
    }
    let named = sets
        .into_iter()
        .map(|(name, definition)| (Cow::Borrowed(name), definition));
    named
        .chain(dhcp::sets(layout))
        .chain(impostors::sets(layout))
        .chain(filters::sets(layout))
        .collect()
}

/// Sets that the kernel itself fills, with what each device has asked for.
fn bounds(max_sessions: u32) -> Vec<(&'static str, String)> {
    let per = |key: &str| format!("type {key}; size 65536; flags dynamic,timeout; timeout 1m;");
    // Of those online there may be more, and whoever finds no room is not bounded, or not heard.
    let all = max_sessions.max(65_536);
    let per_device = || format!("type ether_addr; size {all}; flags dynamic,timeout; timeout 1m;");
    // The kernel drops an element with its last connection; it takes no timeout beside a count.
    let per_connections = |most: u32| format!("type ether_addr; size {most}; flags dynamic;");
    vec![
        ("nd_rate", per_device()),
        ("dhcp6_rate", per("ether_addr")),
        ("echo_rate", per_device()),
        ("stranger_dns", per("ether_addr")),
        ("stranger_refused", per("ether_addr")),
        ("stranger_tcp", per("ether_addr")),
        ("citizen_dns", per_device()),
        ("dns_answers4", per("ipv4_addr")),
        ("dns_answers6", per("ipv6_addr")),
        ("stranger_new", per("ether_addr")),
        ("citizen_new", per_device()),
        ("stranger_conns", per_connections(65_536)),
        ("citizen_conns", per_connections(all)),
    ]
}

/// The text without what `configured` says. As long as it is the same, nothing but the content of those sets has changed.
pub(crate) fn structure(layout: &Layout) -> String {
    text(&Layout {
        garden4: Vec::new(),
        garden6: Vec::new(),
        free4: Vec::new(),
        free6: Vec::new(),
        blocked4: Vec::new(),
        blocked6: Vec::new(),
        blocked_ports: Vec::new(),
        filters: layout.filters.keys().map(|name| (*name, Filter::default())).collect(),
        ..layout.clone()
    })
}

#[cfg(test)]
mod tests;
