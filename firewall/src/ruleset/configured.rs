//! Sets whose content is the configuration's, not the sessions': as text for `nft`, and as keys for our own netlink.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use kavadam_domain::PortRange;

use super::{set, share};
use crate::layout::Layout;

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
