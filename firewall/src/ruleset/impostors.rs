//! Devices that speak in another's name: in DHCP, in neighbour discovery, and by an IPv6 address that another has.
//!
//! Who a device is, is the hardware address of its frames, for which access point and bridge vouch. Over IPv4 each has the addresses of its leases.
//! Over IPv6 whoever uses an address first **holds** it, as long as he does and for a lease's time after (RFC 6620, without asking the last holder): a
//! device makes its addresses itself, and nobody gives them out. Phones sleep for longer than a few minutes, and would find their address taken.

use std::borrow::Cow;

use super::{dhcp, set};
use crate::layout::Layout;

/// Counter of what was dropped as said in another's name.
pub(crate) const COUNTER: &str = "impostors";
/// Devices that hold a lease, as in their frames and in their requests. Filled with the leases.
pub(crate) const LEASE_OWNERS: &str = "lease_owners";
/// Addresses that are leased to somebody, likewise.
pub(crate) const LEASED: &str = "leased";

/// Addresses that somebody holds, and who.
pub(crate) const HELD: &str = "held6";
pub(crate) const HOLDERS: &str = "holders6";
/// The same for minutes: what is in here needs no look at the others, and takes them on when it is made anew.
const KNOWN: &str = "known6";
/// How many addresses a device takes.
const TAKING: &str = "taking6";

/// An IPv6 packet's source, and the address that an advertisement is about.
const SOURCE: &str = "@nh,64,128";
const TARGET: &str = "@th,64,128";
/// The client's hardware address in a DHCP request, and the sender's own in a router solicitation and in neighbour discovery, where it is the first
/// option.
const CLIENT: &str = "@th,288,48";
const OF_ROUTER_SOLICITATION: &str = "@th,80,48";
const OF_NEIGHBOUR: &str = "@th,208,48";

/// Those that the gate fills, and those that the kernel itself does.
pub(super) fn sets(layout: &Layout) -> Vec<(Cow<'static, str>, String)> {
    let twice = layout.max_sessions.saturating_mul(2);
    let addresses = layout.max_sessions.saturating_mul(4);
    let of_holders = |minutes: u64| {
        format!("typeof {SOURCE} . ether saddr; size {addresses}; flags dynamic,timeout; timeout {minutes}m;")
    };
    let held = dhcp::stay_minutes(layout.dhcp);
    vec![
        (
            LEASE_OWNERS.into(),
            format!("typeof ether saddr . {CLIENT}; size {twice}; flags timeout;"),
        ),
        (LEASED.into(), format!("type ipv4_addr; size {twice}; flags timeout;")),
        (
            HELD.into(),
            format!("typeof {SOURCE}; size {addresses}; flags dynamic,timeout; timeout {held}m;"),
        ),
        // Longer, as an address that is held by nobody would be kept from everybody.
        (HOLDERS.into(), of_holders(held + 1)),
        (KNOWN.into(), of_holders(2)),
        (
            TAKING.into(),
            format!(
                "type ether_addr; size {}; flags dynamic,timeout; timeout 60m;",
                layout.max_sessions.max(65_536)
            ),
        ),
    ]
}

/// At the head of what is asked of DHCP: nobody gives back or declines another's lease, nor asks from another's address. Who believes in a lease that
/// is over, or that the kernel does not know yet, asks from an address that is nobody's. A device that speaks through another's hardware, as some
/// repeaters have it, is not heard in strict mode in any case.
pub(super) fn of_dhcp(layout: &Layout) -> Vec<String> {
    if !layout.strict {
        return Vec::new();
    }
    let leases = set::LEASES;
    vec![
        forged(CLIENT),
        format!("ip saddr @{LEASED} ether saddr . ip saddr != @{leases} counter name \"{COUNTER}\" drop"),
    ]
}

/// At the head of neighbour discovery. What the kernel remembers of a neighbour is the hardware address in the message, and not that of the frame:
/// it must stand where it can be looked at, and be the sender's own. A probe for an address has more, and is remembered nowhere.
pub(super) fn of_neighbours(layout: &Layout) -> Vec<String> {
    let solicits = "icmpv6 type nd-router-solicit";
    let others = "icmpv6 type != nd-router-solicit";
    let mut rules = Vec::new();
    if layout.strict {
        rules.extend([
            format!("{solicits} {}", forged(OF_ROUTER_SOLICITATION)),
            format!("{others} {}", forged(OF_NEIGHBOUR)),
        ]);
    }
    rules.extend([
        format!("{solicits} ip6 length > 16 counter name \"{COUNTER}\" drop"),
        format!("{others} ip6 length > 32 counter name \"{COUNTER}\" drop"),
        anothers(SOURCE, ""),
        anothers(TARGET, "icmpv6 type nd-neighbor-advert "),
    ]);
    rules
}

/// What begins a rule about packets whose source their sender is known to hold.
pub(super) fn known(own: &str) -> String {
    format!("ip6 saddr {own} {SOURCE} . ether saddr @{KNOWN}")
}

/// Likewise, of those with a lease that are not online: whoever is not known takes the address, or is not heard. In strict mode, as anybody could take
/// all addresses otherwise.
pub(super) fn stranger(layout: &Layout, own: Option<&str>) -> Option<String> {
    let own = own.filter(|_| layout.strict)?;
    Some(format!(
        "ip6 saddr {own} {SOURCE} . ether saddr != @{KNOWN} jump holder"
    ))
}

/// A chain to be jumped to: the packet comes back if its sender holds the address, or takes it. Who does is written down first: where there is no room
/// for that the address is nobody's, and anybody may use it.
pub(super) fn holder() -> Vec<String> {
    let add = |set: &str| format!("add @{set} {{ {SOURCE} . ether saddr }}");
    vec![
        format!(
            "{SOURCE} . ether saddr @{HOLDERS} update @{HOLDERS} {{ {SOURCE} . ether saddr }} update @{HELD} {{ {SOURCE} }}"
        ),
        anothers(SOURCE, ""),
        format!(
            "{SOURCE} != @{HELD} update @{TAKING} {{ ether saddr limit rate over 120/hour burst 32 packets }} counter name \"{COUNTER}\" drop"
        ),
        format!("{SOURCE} != @{HELD} {} add @{HELD} {{ {SOURCE} }}", add(HOLDERS)),
        add(KNOWN),
    ]
}

/// A device with a lease is named by a frame that is not its own.
fn forged(place: &str) -> String {
    format!(
        "{place} @{} ether saddr . {place} != @{LEASE_OWNERS} counter name \"{COUNTER}\" drop",
        set::LEASE_CLIENTS
    )
}

/// The address is held by somebody else.
fn anothers(address: &str, of: &str) -> String {
    format!("{of}{address} @{HELD} {address} . ether saddr != @{HOLDERS} counter name \"{COUNTER}\" drop")
}
