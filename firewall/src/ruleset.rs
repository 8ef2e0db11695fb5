//! The rule set as text: what may flow, for whom. The prose is in `docs/enforcement.md`; a test keeps a printed copy.
//!
//! Three decisions shape it. Sessions are set elements, so no rule is ever added or removed while people are online. A
//! stranger's packet is judged in `raw`, before it can cost an entry in the connection table. And no rule uses an anonymous
//! set, because a packet that meets one while the rules are being replaced finds nothing in it and is lost.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use kavadam_domain::PortRange;

pub(crate) mod arp;
pub(crate) mod link;
mod rules;

use crate::layout::Layout;
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
    /// MACs that hold a lease, for their IPv6.
    pub const LEASE_MACS: &str = "lease_macs";
    /// `device's IPv4 address -> public address and ports`, where each device has its own.
    pub const PUBLIC_PORTS: &str = "public_ports";
    /// `slot modulo 2048 -> queue`, where an uplink is shared. The same for ever, so that no session brings or takes anything.
    pub const SHARES: &str = "shares";
}

/// The numbers of the queues in which an uplink is shared, as traffic control writes them: one for all, and a part after the colon.
pub(crate) mod share {
    /// What the sum of all waits for.
    pub const ALL: u32 = HANDLE | 1;
    /// What is charged to nobody: it has a share as one session has.
    pub const FREE: u32 = HANDLE | 2;
    /// The number of our queueing discipline, `4b76:` ("Kv"), which nobody else is likely to have.
    pub const HANDLE: u32 = 0x4b76_0000;
    /// Shares of sessions, which follow one another in their numbers: two meet in one share if this many began between them.
    pub const COUNT: u32 = MASK + 1;
    /// What of a slot's number makes its share.
    pub const MASK: u32 = 0x7ff;

    /// The share of a session of this number.
    pub const fn of(slot: u32) -> u32 {
        HANDLE | (0x10 + (slot & MASK))
    }

    /// As `nft` and `tc` write it.
    pub fn written(class: u32) -> String {
        format!("{:x}:{:x}", class >> 16, class & 0xffff)
    }
}

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
    pub name: &'static str,
    pub hook: Option<Hook>,
    pub rules: Vec<String>,
}

/// The text for `nft -f -`. Loading it again at any time is one transaction that keeps sessions and meters: `add` leaves
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

/// The same for a table that is there. No line may name the table alone: `nft` 1.0.6 would say of it that it is not persistent, which
/// the kernel refuses.
pub(crate) fn content(layout: &Layout) -> String {
    let table = &layout.table;
    let mut out = String::new();
    for (name, definition) in sets(layout) {
        let kind = if definition.contains(" : ") { "map" } else { "set" };
        line(&mut out, &format!("add {kind} inet {table} {name} {{ {definition} }}"));
    }
    for name in COUNTERS {
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
        line(&mut out, &format!("flush {kind} inet {table} {name}"));
        if !elements.is_empty() {
            line(
                &mut out,
                &format!("add element inet {table} {name} {{ {} }}", elements.join(", ")),
            );
        }
    }
    for chain in &chains {
        for rule in &chain.rules {
            line(&mut out, &format!("add rule inet {table} {} {rule}", chain.name));
        }
    }
    out
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

/// Every set and map with its definition. Sets of limits declare no expression, so that an element without a limit is one
/// more kind of session; those of counters declare one, so that a foreign `nft add element` cannot add an unmetered slot.
pub(crate) fn sets(layout: &Layout) -> Vec<(&'static str, String)> {
    let n = layout.max_sessions;
    let per_slot = |rest: &str| format!("type mark; size {n};{rest}");
    let per = |key: &str| format!("type {key}; size 65536; flags dynamic,timeout; timeout 1m;");
    // The kernel drops an element with its last connection; it takes no timeout beside a count.
    let per_connections = || "type ether_addr; size 65536; flags dynamic;".to_owned();
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
        ("nd_rate", per("ether_addr")),
        ("stranger_dns", per("ether_addr")),
        ("stranger_tcp", per("ether_addr")),
        ("citizen_dns", per("ether_addr")),
        ("dns_answers4", per("ipv4_addr")),
        ("dns_answers6", per("ipv6_addr")),
        ("stranger_new", per("ether_addr")),
        ("citizen_new", per("ether_addr")),
        ("stranger_conns", per_connections()),
        ("citizen_conns", per_connections()),
    ];
    if layout.uplink.is_some() {
        sets.push((set::SHARES, format!("type mark : classid; size {};", share::COUNT)));
    }
    if let Some(mapping) = &layout.ports {
        let size = mapping.all().count().max(65_536);
        sets.push((
            set::PUBLIC_PORTS,
            format!("type ipv4_addr : interval ipv4_addr . inet_service; size {size};"),
        ));
    }
    sets
}

/// The text without what [`configured_keys`] says. As long as it is the same, nothing but the content of those sets has changed.
pub(crate) fn structure(layout: &Layout) -> String {
    text(&Layout {
        garden4: Vec::new(),
        garden6: Vec::new(),
        free4: Vec::new(),
        free6: Vec::new(),
        blocked4: Vec::new(),
        blocked6: Vec::new(),
        blocked_ports: Vec::new(),
        ..layout.clone()
    })
}

/// A key of a set, and whether a range ends before it.
pub(crate) type Bound = (Vec<u8>, bool);

/// What the sets of the configuration hold, as the kernel has it.
pub(crate) fn configured_keys(layout: &Layout) -> Vec<(&'static str, Vec<Bound>)> {
    /// A range goes from its first address to the one after its last, if there is one.
    fn ranges<const N: usize>(nets: impl Iterator<Item = ([u8; N], [u8; N])>) -> Vec<Bound> {
        let after = |mut last: [u8; N]| {
            for octet in last.iter_mut().rev() {
                *octet = octet.wrapping_add(1);
                if *octet != 0 {
                    return Some(last);
                }
            }
            None
        };
        nets.flat_map(|(first, last)| {
            let end = after(last).map(|end| (end.to_vec(), true));
            std::iter::once((first.to_vec(), false)).chain(end)
        })
        .collect()
    }
    let points4 = |all: &[Ipv4Addr]| {
        all.iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|ip| (ip.octets().to_vec(), false))
            .collect()
    };
    let points6 = |all: &[Ipv6Addr]| {
        all.iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|ip| (ip.octets().to_vec(), false))
            .collect()
    };
    let blocked4 = Ipv4Net::aggregate(&layout.blocked4);
    let blocked6 = Ipv6Net::aggregate(&layout.blocked6);
    let ports: BTreeSet<_> = layout.blocked_ports.iter().collect();
    // Each part of a key begins at a multiple of four octets.
    let port = |(proto, port): &(u8, u16)| {
        let [high, low] = port.to_be_bytes();
        (vec![*proto, 0, 0, 0, high, low, 0, 0], false)
    };
    vec![
        ("garden4", points4(&layout.garden4)),
        ("garden6", points6(&layout.garden6)),
        ("free4", points4(&layout.free4)),
        ("free6", points6(&layout.free6)),
        (
            "blocked4",
            ranges(
                blocked4
                    .iter()
                    .map(|net| (net.network().octets(), net.broadcast().octets())),
            ),
        ),
        (
            "blocked6",
            ranges(
                blocked6
                    .iter()
                    .map(|net| (net.network().octets(), net.broadcast().octets())),
            ),
        ),
        ("blocked_ports", ports.into_iter().map(port).collect()),
    ]
}

/// Sets whose content is the configuration's, not the sessions'.
fn configured(layout: &Layout) -> Vec<(&'static str, Vec<String>)> {
    /// In order and without repetition, so that the text does not change when only the spelling does.
    fn elements<T: Ord + ToString>(items: &[T]) -> Vec<String> {
        items
            .iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(ToString::to_string)
            .collect()
    }
    fn ports(all: &[(u8, u16)]) -> Vec<String> {
        let all: BTreeSet<_> = all.iter().collect();
        all.into_iter()
            .map(|(proto, port)| format!("{proto} . {port}"))
            .collect()
    }
    let nd_types = ["nd-router-solicit", "nd-neighbor-solicit", "nd-neighbor-advert"];
    let share = |slot| format!("{slot:#x} : {}", share::written(share::of(slot)));
    let shares = layout
        .uplink
        .map(|_| (set::SHARES, (0..share::COUNT).map(share).collect()));
    let mut sets = vec![
        ("garden4", elements(&layout.garden4)),
        ("garden6", elements(&layout.garden6)),
        ("free4", elements(&layout.free4)),
        ("free6", elements(&layout.free6)),
        // The kernel takes no ranges that overlap.
        ("blocked4", elements(&Ipv4Net::aggregate(&layout.blocked4))),
        ("blocked6", elements(&Ipv6Net::aggregate(&layout.blocked6))),
        ("blocked_ports", ports(&layout.blocked_ports)),
        ("local_ports", elements(&layout.local_ports)),
        ("nd_types", nd_types.map(ToOwned::to_owned).to_vec()),
    ];
    sets.extend(shares);
    if let Some(mapping) = &layout.ports {
        let entry = |(device, ports): (Ipv4Addr, PortRange)| {
            format!("{device} : {} . {}-{}", ports.address, ports.first, ports.last)
        };
        sets.push((set::PUBLIC_PORTS, mapping.all().map(entry).collect()));
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::tests::sample;
    use kavadam_domain::PortMapping;

    /// Set `UPDATE_SNAPSHOT=1` to write the file anew after a wanted change.
    fn assert_snapshot(name: &str, text: &str) {
        let path = format!("{}/tests/ruleset/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_SNAPSHOT").is_some() {
            std::fs::write(&path, text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{path} differs");
    }

    #[test]
    fn matches_the_printed_copy() {
        let whole = text(&sample());
        let shares = whole.lines().find(|line| line.contains("element inet kavadam shares"));
        let (first, rest) = shares.unwrap().split_once(", ").unwrap();
        let (between, last) = rest.rsplit_once(", ").unwrap();
        assert_eq!(between.split(", ").count(), 2046);
        assert_snapshot(
            "sample.nft",
            &whole.replace(shares.unwrap(), &format!("{first}, …, {last}")),
        );
    }

    #[test]
    fn matches_the_printed_copy_without_ipv6_garden_and_leases() {
        let bare = Layout {
            lan6: None,
            garden4: vec![],
            garden6: vec![],
            free4: vec![],
            free6: vec![],
            blocked4: vec![],
            blocked6: vec![],
            blocked_ports: vec![],
            citizen_names_port: None,
            strict: false,
            uplink: None,
            ..sample()
        };
        assert_snapshot("bare.nft", &text(&bare));
    }

    /// Rules without their comments.
    fn rules(layout: &Layout) -> Vec<String> {
        let strip = |rule: &String| rule.split("  # ").next().unwrap().to_owned();
        chains(layout)
            .iter()
            .flat_map(|chain| &chain.rules)
            .map(strip)
            .collect()
    }

    #[test]
    fn has_no_anonymous_set() {
        for rule in rules(&sample()) {
            assert!(!rule.contains('{') || rule.contains("add @"), "{rule}");
        }
    }

    #[test]
    fn names_interfaces_never_their_indexes() {
        for rule in rules(&sample()) {
            assert!(!rule.contains("iif ") && !rule.contains("oif "), "{rule}");
        }
    }

    #[test]
    fn uses_every_set_and_reaches_every_chain() {
        let all = rules(&sample()).join("\n");
        let only_for_us = [set::SPENT, set::RESERVED];
        for (name, _) in sets(&sample()) {
            assert!(
                all.contains(&format!("@{name}")) || only_for_us.contains(&name),
                "set {name} is unused"
            );
        }
        for chain in chains(&sample()) {
            assert!(
                chain.hook.is_some()
                    || ["goto", "jump"]
                        .iter()
                        .any(|go| all.contains(&format!("{go} {}", chain.name))),
                "chain {}",
                chain.name
            );
        }
    }

    #[test]
    fn counts_connections_at_their_first_packet_only() {
        for chain in chains(&sample()) {
            if let Some(counting) = chain.rules.iter().position(|rule| rule.contains("jump newcomer")) {
                let before = chain.rules[..counting].join("\n");
                let is_new = chain.rules[counting].contains("ct status & confirmed == 0");
                let known_left = ["ct status confirmed", "ct state established,related"];
                assert!(
                    is_new || known_left.iter().any(|known| before.contains(known)),
                    "{}",
                    chain.name
                );
            }
        }
        for chain in chains(&sample()) {
            for rule in &chain.rules {
                assert!(!rule.contains("ct count") || chain.name == "newcomer", "{rule}");
            }
        }
    }

    #[test]
    fn forwards_nothing_by_default_and_ends_every_side_chain_in_a_verdict() {
        for chain in chains(&sample()) {
            if chain.name == "forward" {
                assert_eq!(chain.hook.unwrap().policy, "drop");
            }
        }
        for name in [
            "stranger",
            "uplink_known",
            "uplink_unmarked",
            "uplink_metered",
            "downlink",
            "downlink_metered",
            "garden_up",
            "garden_down",
            "refused",
            "lan_in",
        ] {
            let chain = chains(&sample()).into_iter().find(|chain| chain.name == name).unwrap();
            assert!(chain.rules.last().unwrap().starts_with("drop"), "{name}");
        }
    }

    #[test]
    fn other_lans_are_passed_over_and_never_reached_from_ours() {
        let two = Layout {
            table: "kavadam-lan1".to_owned(),
            other_lans: vec!["lan1".to_owned()],
            ..sample()
        };
        let chain = |name| chains(&two).into_iter().find(|chain| chain.name == name).unwrap().rules;
        let forward = chain("forward").join("\n");
        assert!(!forward.contains("iifname \"lan0\" oifname \"lan1\""));
        assert!(forward.contains("iifname \"lan1\" oifname \"wan0\" accept"));
        assert_eq!(chain("input").last().unwrap(), "goto other_in");
        assert!(!text(&two).contains(" kavadam "), "every line is of its own table");
    }

    #[test]
    fn a_device_without_ports_of_its_own_has_none_of_anybodys() {
        let mapped = Layout {
            ports: PortMapping::new(
                "10.80.1.0".parse().unwrap(),
                "10.80.1.1".parse().unwrap(),
                vec!["198.51.100.2".parse().unwrap()],
                512,
            )
            .ok(),
            ..sample()
        };
        let chain = |name| {
            chains(&mapped)
                .into_iter()
                .find(|chain| chain.name == name)
                .unwrap()
                .rules
        };
        assert!(!chain("nat_post").concat().contains("masquerade"));
        assert!(chain("translate").contains(&"meta l4proto udp drop  # it has no ports of its own".to_owned()));
        assert!(
            text(&mapped).contains("{ 10.80.1.0 : 198.51.100.2 . 1024-1535, 10.80.1.1 : 198.51.100.2 . 1536-2047 }")
        );
    }

    #[test]
    fn strict_mode_is_what_asks_for_a_lease() {
        assert!(rules(&sample()).iter().any(|rule| rule.contains("!= @leases drop")));
        let open = Layout {
            strict: false,
            ..sample()
        };
        assert!(!rules(&open).iter().any(|rule| rule.contains("!= @lease")));
    }
}
