//! Sets whose content is the configuration's, not the sessions'.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv6Net};
use kavadam_domain::PortRange;

use super::{dhcp, filters, set, share};
use crate::layout::Layout;

/// A set and what it holds.
type Filled<T> = (Cow<'static, str>, Vec<T>);

/// Three sets, and where may not be gone by them.
struct Closed<'a> {
    sets: [Cow<'static, str>; 3],
    nets4: &'a Vec<Ipv4Net>,
    nets6: &'a Vec<Ipv6Net>,
    ports: &'a [(u8, u16)],
}

/// For everybody, then for each filter.
fn closed(layout: &Layout) -> impl Iterator<Item = Closed<'_>> {
    let all = Closed {
        sets: ["blocked4", "blocked6", "blocked_ports"].map(Cow::Borrowed),
        nets4: &layout.blocked4,
        nets6: &layout.blocked6,
        ports: &layout.blocked_ports,
    };
    let own = layout.filters.iter().map(|(name, filter)| Closed {
        sets: filters::contents(*name).map(Cow::Owned),
        nets4: &filter.nets4,
        nets6: &filter.nets6,
        ports: &filter.ports,
    });
    std::iter::once(all).chain(own)
}

/// Sets whose content is the configuration's, not the sessions'.
pub(super) fn configured(layout: &Layout) -> Vec<Filled<String>> {
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
        .map(|_| (set::SHARES.into(), share::slots().map(share).collect()));
    let mut sets = vec![
        ("garden4".into(), elements(&layout.garden4)),
        ("garden6".into(), elements(&layout.garden6)),
        ("free4".into(), elements(&layout.free4)),
        ("free6".into(), elements(&layout.free6)),
    ];
    for one in closed(layout) {
        let [nets4, nets6, port_set] = one.sets;
        // The kernel takes no ranges that overlap.
        sets.push((nets4, elements(&Ipv4Net::aggregate(one.nets4))));
        sets.push((nets6, elements(&Ipv6Net::aggregate(one.nets6))));
        sets.push((port_set, ports(one.ports)));
    }
    sets.push(("local_ports".into(), elements(&layout.local_ports)));
    sets.push(("nd_types".into(), nd_types.map(ToOwned::to_owned).to_vec()));
    sets.push(dhcp::numbers());
    sets.extend(shares);
    if let Some(mapping) = &layout.ports {
        let entry = |(device, ports): (Ipv4Addr, PortRange)| {
            format!("{device} : {} . {}-{}", ports.address, ports.first, ports.last)
        };
        sets.push((set::PUBLIC_PORTS.into(), mapping.all().map(entry).collect()));
    }
    sets
}
