//! Sets whose content is the configuration's, not the sessions'.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv6Net};
use kavadam_domain::PortRange;

use super::{set, share};
use crate::layout::Layout;

/// Sets whose content is the configuration's, not the sessions'.
pub(super) fn configured(layout: &Layout) -> Vec<(&'static str, Vec<String>)> {
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
        .map(|_| (set::SHARES, share::slots().map(share).collect()));
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
