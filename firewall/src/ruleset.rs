//! The rule set as text: what may flow, for whom. The prose is in `docs/enforcement.md`; a test keeps a printed copy.
//!
//! Three decisions shape it. Sessions are set elements, so no rule is ever added or removed while people are online. A
//! stranger's packet is judged in `raw`, before it can cost an entry in the connection table. And no rule uses an anonymous
//! set, because a packet that meets one while the rules are being replaced finds nothing in it and is lost.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::layout::Layout;

/// Name of the table, in the `inet` family.
pub const TABLE: &str = "kavadam";

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
    /// MACs that hold a lease, for their IPv6.
    pub const LEASE_MACS: &str = "lease_macs";
}

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
    let mut out = format!("# Made by kavadam; what it means is in docs/enforcement.md.\nadd table inet {TABLE}\n");
    for (name, definition) in sets(layout) {
        let kind = if definition.contains(" : ") { "map" } else { "set" };
        line(&mut out, &format!("add {kind} inet {TABLE} {name} {{ {definition} }}"));
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
        line(&mut out, &format!("add chain inet {TABLE} {}{hook}", chain.name));
    }
    line(&mut out, &format!("flush table inet {TABLE}"));
    for (name, elements) in configured(layout) {
        line(&mut out, &format!("flush set inet {TABLE} {name}"));
        if !elements.is_empty() {
            line(
                &mut out,
                &format!("add element inet {TABLE} {name} {{ {} }}", elements.join(", ")),
            );
        }
    }
    line(&mut out, &format!("table inet {TABLE} {{"));
    for chain in &chains {
        line(&mut out, &format!("  chain {} {{", chain.name));
        for rule in &chain.rules {
            line(&mut out, &format!("    {rule}"));
        }
        line(&mut out, "  }");
    }
    line(&mut out, "}");
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
    let per_stranger = || "type ether_addr; size 65536; flags dynamic,timeout; timeout 1m;".to_owned();
    vec![
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
        ("local_ports", "type inet_service; size 64;".to_owned()),
        ("nd_types", "type icmpv6_type; size 8;".to_owned()),
        ("stranger_dns", per_stranger()),
        ("stranger_tcp", per_stranger()),
        ("citizen_dns", per_stranger()),
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
    let nd_types = ["nd-router-solicit", "nd-neighbor-solicit", "nd-neighbor-advert"];
    vec![
        ("garden4", elements(&layout.garden4)),
        ("garden6", elements(&layout.garden6)),
        ("local_ports", elements(&layout.local_ports)),
        ("nd_types", nd_types.map(ToOwned::to_owned).to_vec()),
    ]
}

/// Every chain with its rules, as the kernel must show them after loading.
pub(crate) fn chains(layout: &Layout) -> Vec<Chain> {
    let (lan, wan) = (&layout.lan_if, &layout.wan_if);
    let base = |name, kind, at, priority, policy, rules| Chain {
        name,
        hook: Some(Hook {
            kind,
            at,
            priority,
            policy,
        }),
        rules,
    };
    let plain = |name, rules| Chain {
        name,
        hook: None,
        rules,
    };
    vec![
        base(
            "raw",
            "filter",
            "prerouting",
            ("raw", -300),
            "accept",
            vec![format!("iifname \"{lan}\" goto lan_raw")],
        ),
        base(
            "nat_pre",
            "nat",
            "prerouting",
            ("dstnat", -100),
            "accept",
            vec![format!("iifname \"{lan}\" meta mark 0 goto capture")],
        ),
        base(
            "nat_post",
            "nat",
            "postrouting",
            ("srcnat", 100),
            "accept",
            vec![format!("ip saddr {} oifname \"{wan}\" masquerade", layout.lan4.trunc())],
        ),
        base(
            "forward",
            "filter",
            "forward",
            ("filter", 0),
            "drop",
            vec![
                format!("iifname \"{lan}\" oifname \"{lan}\" drop  # one citizen to another"),
                format!("iifname \"{lan}\" oifname \"{wan}\" goto uplink"),
                format!("iifname \"{wan}\" oifname \"{lan}\" goto downlink"),
            ],
        ),
        base(
            "input",
            "filter",
            "input",
            ("filter", 0),
            "accept",
            vec![
                "iifname \"lo\" accept".to_owned(),
                format!("iifname \"{lan}\" goto lan_in"),
                "goto other_in".to_owned(),
            ],
        ),
        plain("lan_raw", lan_raw(layout)),
        plain("stranger", stranger(layout)),
        plain("capture", capture(layout)),
        plain("uplink", owned(&UPLINK)),
        plain("uplink_metered", metered(set::CNT_UP)),
        plain("garden_up", owned(&GARDEN_UP)),
        plain("downlink", owned(&DOWNLINK)),
        plain("downlink_metered", metered(set::CNT_DOWN)),
        plain("garden_down", owned(&GARDEN_DOWN)),
        plain("lan_in", owned(&LAN_IN)),
        plain("lan_dns", owned(&LAN_DNS)),
        plain("other_in", owned(&OTHER_IN)),
    ]
}

fn owned(rules: &[&str]) -> Vec<String> {
    rules.iter().map(|rule| (*rule).to_owned()).collect()
}

/// Who is it? A slot becomes the packet's mark; 0 is a stranger.
fn lan_raw(layout: &Layout) -> Vec<String> {
    let mut rules = vec![
        "meta mark set 0".to_owned(),
        format!(
            "ip saddr != {} ip saddr != 0.0.0.0 drop  # not from here",
            layout.lan4.trunc()
        ),
    ];
    if let Some(lan6) = layout.lan6 {
        rules.push(format!(
            "ip6 saddr != {} ip6 saddr != fe80::/10 ip6 saddr != :: drop",
            lan6.trunc()
        ));
    } else {
        rules.push("ip6 saddr != fe80::/10 ip6 saddr != :: drop".to_owned());
    }
    rules.push("meta mark set ether saddr . ip saddr map @auth4".to_owned());
    if let Some(lan6) = layout.lan6 {
        rules.push(format!(
            "ip6 saddr {} meta mark set ether saddr map @auth6",
            lan6.trunc()
        ));
    }
    rules.push("meta mark 0 goto stranger".to_owned());
    rules
}

/// Before the connection table: a stranger who is refused here leaves no trace.
fn stranger(layout: &Layout) -> Vec<String> {
    let mut rules = owned(&[
        "udp dport 67 accept",
        "udp dport 547 accept",
        "icmpv6 type @nd_types accept",
    ]);
    if layout.strict {
        rules.extend(owned(&[
            "meta nfproto ipv4 ether saddr . ip saddr != @leases drop  # no lease, no answer",
            "meta nfproto ipv6 ether saddr != @lease_macs drop",
        ]));
    }
    rules.extend(owned(&[
        "fib daddr type local accept  # lan_in decides",
        "fib daddr type != unicast drop",
        "ip daddr @garden4 accept",
        "ip6 daddr @garden6 accept",
        "udp dport 53 accept  # redirected to our resolver",
        "tcp dport 53 accept",
        "tcp dport 80 accept  # redirected to the capture listener",
        "meta l4proto tcp limit rate 2000/second burst 500 packets reject with tcp reset  # fail at once, not by timeout",
        "meta l4proto udp limit rate 500/second burst 200 packets reject with icmpx admin-prohibited",
        "drop",
    ]));
    rules
}

/// A stranger's DNS and HTTP come to the gateway, whoever they were for.
fn capture(layout: &Layout) -> Vec<String> {
    let port = layout.capture_port;
    let gateway4 = layout.lan4.addr();
    let mut rules = owned(&["ip daddr @garden4 accept", "ip6 daddr @garden6 accept"]);
    for proto in ["udp", "tcp"] {
        rules.push(format!(
            "meta nfproto ipv4 {proto} dport 53 fib daddr type != local dnat ip to {gateway4}:53"
        ));
    }
    rules.push(format!("meta nfproto ipv4 tcp dport 80 dnat ip to {gateway4}:{port}"));
    if let Some(gateway6) = layout.lan6.map(|net| net.addr()) {
        for proto in ["udp", "tcp"] {
            rules.push(format!(
                "meta nfproto ipv6 {proto} dport 53 fib daddr type != local dnat ip6 to [{gateway6}]:53"
            ));
        }
        rules.push(format!(
            "meta nfproto ipv6 tcp dport 80 dnat ip6 to [{gateway6}]:{port}"
        ));
    }
    rules
}

const UPLINK: [&str; 7] = [
    "meta mark 0 goto garden_up",
    "ct state invalid drop",
    "ip daddr @garden4 accept  # free of charge; the connection stays unmarked, so its answers are free too",
    "ip6 daddr @garden6 accept",
    "ct mark set meta mark  # how the answers find the slot",
    "meta mark @lim_up goto uplink_metered",
    "drop  # too fast",
];

const DOWNLINK: [&str; 6] = [
    "ct state invalid drop",
    "meta mark set ct mark",
    "meta mark 0 goto garden_down",
    "meta mark @lim_down goto downlink_metered",
    "meta mark != @lim_down meta l4proto tcp reject with tcp reset  # the session is over: stop the sender",
    "drop  # too fast",
];

/// One sum for both directions, then what this direction carried. A refused packet is not counted.
fn metered(counters: &str) -> Vec<String> {
    vec![
        format!("quota name meta mark map @{} meta mark @{counters} accept", set::TOTAL),
        "drop  # used up".to_owned(),
    ]
}

const GARDEN_UP: [&str; 4] = [
    "ip daddr @garden4 accept",
    "ip6 daddr @garden6 accept",
    "meta l4proto tcp reject with tcp reset  # also ends connections of a closed session",
    "drop",
];

const GARDEN_DOWN: [&str; 5] = [
    "ct state new drop",
    "ip saddr @garden4 accept",
    "ip6 saddr @garden6 accept",
    "meta l4proto tcp reject with tcp reset",
    "drop",
];

const LAN_IN: [&str; 13] = [
    "ct state invalid drop",
    "udp dport 67 accept",
    "udp dport 547 accept",
    "icmpv6 type @nd_types accept",
    "icmp type echo-request limit rate 200/second accept",
    "icmpv6 type echo-request limit rate 200/second accept",
    "udp dport 53 goto lan_dns",
    "tcp dport 53 goto lan_dns",
    "ct state established,related accept",
    "tcp dport @local_ports meta mark != 0 accept",
    "tcp dport @local_ports add @stranger_tcp { ether saddr limit rate 20/second burst 60 packets } accept",
    "meta l4proto tcp reject with tcp reset",
    "drop",
];

const LAN_DNS: [&str; 3] = [
    "meta mark 0 add @stranger_dns { ether saddr limit rate 10/second burst 40 packets } accept",
    "meta mark != 0 add @citizen_dns { ether saddr limit rate 100/second burst 400 packets } accept",
    "drop  # before `established`, or a tunnel would flow on",
];

const OTHER_IN: [&str; 6] = [
    "ct state established,related accept",
    "tcp dport @local_ports drop  # the portal is for the LAN",
    "tcp dport 53 drop",
    "udp dport 53 drop  # no open resolver",
    "udp dport 67 drop",
    "udp dport 547 drop",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::tests::sample;

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
        assert_snapshot("sample.nft", &text(&sample()));
    }

    #[test]
    fn matches_the_printed_copy_without_ipv6_garden_and_leases() {
        let bare = Layout {
            lan6: None,
            garden4: vec![],
            garden6: vec![],
            strict: false,
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
                chain.hook.is_some() || all.contains(&format!("goto {}", chain.name)),
                "chain {}",
                chain.name
            );
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
            "uplink",
            "uplink_metered",
            "downlink",
            "downlink_metered",
            "garden_up",
            "garden_down",
            "lan_in",
        ] {
            let chain = chains(&sample()).into_iter().find(|chain| chain.name == name).unwrap();
            assert!(chain.rules.last().unwrap().starts_with("drop"), "{name}");
        }
    }

    #[test]
    fn strict_mode_is_what_asks_for_a_lease() {
        assert!(rules(&sample()).iter().any(|rule| rule.contains("!= @leases drop")));
        let open = Layout {
            strict: false,
            ..sample()
        };
        assert!(!rules(&open).iter().any(|rule| rule.contains("@lease")));
    }
}
