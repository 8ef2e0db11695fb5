//! Where those of one filter may not go: looked at once for each connection, behind what is blocked for everybody.
//!
//! A session is in two sets: `filtered`, by which everybody else is passed over with one look, and that of its filter. A map from the session to a
//! verdict would need but one, and the kernel would go through all of it whenever somebody logs in, to look for loops.

use std::borrow::Cow;

use kavadam_domain::FilterName;

use super::{Chain, set};
use crate::layout::Layout;

/// The set of the sessions that have this filter.
pub(crate) fn members(name: FilterName) -> String {
    format!("filtered_{name}")
}

/// The sets of what is in it: IPv4, IPv6 and ports.
pub(super) fn contents(name: FilterName) -> [String; 3] {
    [
        format!("filter4_{name}"),
        format!("filter6_{name}"),
        format!("filter_ports_{name}"),
    ]
}

/// What `uplink_unmarked` asks; nothing where there are no filters.
pub(super) fn question(layout: &Layout) -> Option<String> {
    (!layout.filters.is_empty()).then(|| format!("meta mark @{} jump filters", set::FILTERED))
}

/// Which filter, and then what is in it. What it lets pass comes back.
pub(super) fn chains(layout: &Layout) -> Vec<Chain> {
    if layout.filters.is_empty() {
        return Vec::new();
    }
    let plain = |name: String, rules| Chain {
        name: Cow::Owned(name),
        hook: None,
        rules,
    };
    let names = || layout.filters.keys().copied();
    let which = names().map(|name| format!("meta mark @{} goto filter_{name}", members(name)));
    let mut chains = vec![plain("filters".to_owned(), which.collect())];
    chains.extend(names().map(|name| {
        let [nets4, nets6, ports] = contents(name);
        let rules = vec![
            format!("ip daddr @{nets4} goto refused"),
            format!("ip6 daddr @{nets6} goto refused"),
            format!("meta l4proto . th dport @{ports} goto refused"),
        ];
        plain(format!("filter_{name}"), rules)
    }));
    chains
}

/// Their sets. Those of sessions grow as they are needed: a set of a fixed size would take its whole room for each filter.
pub(super) fn sets(layout: &Layout) -> Vec<(Cow<'static, str>, String)> {
    if layout.filters.is_empty() {
        return Vec::new();
    }
    let sessions = format!("type mark; size {}; flags timeout;", layout.max_sessions);
    let mut sets = vec![(Cow::Borrowed(set::FILTERED), sessions.clone())];
    for name in layout.filters.keys() {
        let [nets4, nets6, ports] = contents(*name);
        let own = [
            (members(*name), sessions.clone()),
            (nets4, "type ipv4_addr; size 1048576; flags interval;".to_owned()),
            (nets6, "type ipv6_addr; size 1048576; flags interval;".to_owned()),
            (ports, "type inet_proto . inet_service; size 1024;".to_owned()),
        ];
        sets.extend(own.map(|(name, definition)| (Cow::Owned(name), definition)));
    }
    sets
}
