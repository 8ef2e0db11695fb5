//! Layer 2: what passes from one port of a bridge to another, where the LAN interface is one. A table of its own, in the `bridge` family.

use crate::layout::Layout;

/// Names of the counters of what no device may say to others. Router advertisements and what DHCP servers say is counted as well where it comes to the
/// gateway itself: of a LAN with one port, or without a bridge, it sees no more.
pub(crate) const ROGUES: [&str; 3] = [ADVERTISEMENTS, "redirects", DHCP_SERVERS];
pub(crate) const ADVERTISEMENTS: &str = "router_advertisements";
pub(crate) const DHCP_SERVERS: &str = "dhcp_servers";

/// Ports of the LAN's bridge, by name; [`crate::Gate::tie_ports`] fills it. To match the bridge's own name wants a kernel option that not all
/// have.
pub(crate) const PORTS: &str = "ports";

/// `port -> bay` of those who ask for an address there, where there are several ([`super::dhcp`]); filled likewise.
pub(crate) const BAYS: &str = "bays";

/// The text, for a table that is there. The counters go on counting, and the ports stay, when it is loaded again.
pub(crate) fn content(layout: &Layout) -> String {
    let table = &layout.table;
    let [advertisements, redirects, servers] = ROGUES;
    let mut lines: Vec<String> = ROGUES
        .iter()
        .map(|name| format!("add counter bridge {table} {name}"))
        .collect();
    lines.push(format!("add set bridge {table} {PORTS} {{ type ifname; size 4096; }}"));
    lines.push(format!(
        "add map bridge {table} {BAYS} {{ type ifname : mark; size 4096; }}"
    ));
    // Before `br_netfilter`, where that is on, has the rules of `inet` judge the request.
    lines.push(format!(
        "add chain bridge {table} asking {{ type filter hook prerouting priority -200; policy accept; }}"
    ));
    lines.push(format!(
        "add chain bridge {table} between {{ type filter hook forward priority -200; policy accept; }}"
    ));
    lines.push(format!("flush table bridge {table}"));
    let asking = [
        // Bridge and kernel take off one tag each: what is in there would be judged by nobody here, and yet heard.
        format!("iifname @{PORTS} meta protocol 8021q drop  # tagged twice"),
        format!("iifname @{PORTS} meta protocol 8021ad drop"),
        format!("udp dport 67 meta mark set iifname map @{BAYS}"),
    ];
    lines.extend(
        asking
            .iter()
            .map(|rule| format!("add rule bridge {table} asking {rule}")),
    );
    let mut rules = vec![
        format!("iifname != @{PORTS} accept  # another bridge of this machine"),
        // By what the kernel has made of the frame, as this may have a tag.
        format!(
            "meta protocol ip6 icmpv6 type nd-router-advert counter name \"{advertisements}\" drop  # we are the router"
        ),
        format!("meta protocol ip6 icmpv6 type nd-redirect counter name \"{redirects}\" drop"),
        format!("udp sport 67 udp dport 68 counter name \"{servers}\" drop  # the DHCP server is ours"),
        format!("udp sport 547 udp dport 546 counter name \"{servers}\" drop"),
    ];
    if layout.isolate {
        rules.push("drop  # one citizen to another".to_owned());
    }
    lines.extend(
        rules
            .iter()
            .map(|rule| format!("add rule bridge {table} between {rule}")),
    );
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::tests::sample;

    #[test]
    fn only_isolation_keeps_everything_apart() {
        let shared = Layout {
            isolate: false,
            ..sample()
        };
        let ends = |layout: &Layout| content(layout).lines().last().unwrap().to_owned();
        assert!(ends(&sample()).contains("between drop"));
        assert!(ends(&shared).contains("dhcp_servers"));
    }
}
