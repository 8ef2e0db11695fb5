//! DHCP: whoever invents devices gets a part of the addresses at most.
//!
//! A device is what the request says it is (`chaddr`), as for the server, whatever the frame says. Those that ask at one port of the LAN's bridge are
//! in the set of its **bay**, which has room for as many as one port may hold of the pool, for as long as a lease lasts after their last request.
//! A set that is full admits nobody new: the kernel counts, and whoever renews stays counted. Where everybody comes by one port nobody can be told
//! apart; then only the last of the addresses are given out slowly.

use std::borrow::Cow;
use std::time::Duration;

use super::{impostors, set};
use crate::layout::{DhcpPool, Layout};

/// Ports have one of so many bays, by their numbers in the bridge. A bay is a set and a rule, so they are not as many as ports may be; a bridge
/// with more ports has some that share.
pub(crate) const BAYS: u16 = 16;
/// Counter of requests that were not let in.
pub(crate) const REFUSED: &str = "dhcp_requests";
/// Counter of what relays have asked for others (RFC 2131 §4.1), from a server's port and in frames of their own: in whose name cannot be held against
/// them.
pub(crate) const RELAYED: &str = "dhcp_relays";
/// Those that got one of the last addresses, where all come by one port.
const LAST: &str = "dhcp_last";
/// Chain, and set with what each may ask, of those at a bay without room for another.
const ELSEWHERE: &str = "dhcp_elsewhere";
/// Those that stay counted in another bay because they asked; a look once a minute will do, and takes little of what they may ask there.
const KEPT: &str = "dhcp_kept";
/// Chains: stay counted; be counted nowhere.
const KEEP: &str = "dhcp_keep";
const NEW: &str = "dhcp_new";
/// The set of the bays' numbers.
const NUMBERS: &str = "dhcp_bays";
/// The client's hardware address in a request, in octets 28 to 33 after the header of UDP.
const DEVICE: &str = "@th,288,48";
/// Of requests of one device: it sends a handful, and some clients a second one each second.
const EACH: &str = "limit rate 2/second burst 20 packets";
/// How much longer than its lease a device is counted: the server is never so late to end one.
const GRACE: Duration = Duration::from_mins(2);

/// Which bay a port has that has this number in its bridge, which begins at 1.
pub(crate) const fn bay_of(port: u16) -> u16 {
    match port {
        0 => 0,
        port => (port - 1) % BAYS + 1,
    }
}

/// The set of those that ask at a bay; 0 is for a LAN where all come by one port.
pub(crate) fn bay(number: u16) -> String {
    format!("dhcp_{number}")
}

/// How long a device is counted after its last request, minutes.
pub(super) const fn stay_minutes(pool: DhcpPool) -> u64 {
    (pool.lease.as_secs() + GRACE.as_secs()).div_ceil(60)
}

/// The set of devices with a lease, and those that the kernel itself fills.
pub(super) fn sets(layout: &Layout) -> Vec<(Cow<'static, str>, String)> {
    let pool = layout.dhcp;
    let minutes = stay_minutes(pool);
    let of_devices = |size, rest: &str| format!("typeof {DEVICE}; size {size}; flags {rest};");
    let mut sets = vec![
        (NUMBERS.into(), "type mark; size 32;".to_owned()),
        (
            set::LEASE_CLIENTS.into(),
            of_devices(layout.max_sessions.saturating_mul(2), "timeout"),
        ),
    ];
    let for_a_minute = ["dhcp_leased", ELSEWHERE, KEPT].map(|name| {
        let definition = of_devices(65_536, "dynamic,timeout");
        (name.into(), definition + " timeout 1m;")
    });
    sets.extend(for_a_minute);
    let mut counting = |name: String, most: u32| {
        let definition = of_devices(most, "dynamic,timeout");
        sets.push((name.into(), format!("{definition} timeout {minutes}m;")));
    };
    for number in 0..=BAYS {
        let most = if number == 0 {
            at_once(pool)
        } else {
            pool.most_per_port()
        };
        counting(bay(number), most);
    }
    if is_slow_at_last(pool) {
        counting(LAST.to_owned(), pool.addresses - at_once(pool));
    }
    sets
}

/// What the set of the bays' numbers holds.
pub(super) fn numbers() -> (Cow<'static, str>, Vec<String>) {
    (NUMBERS.into(), (0..=BAYS).map(|number| number.to_string()).collect())
}

/// The chains that a request may come to.
pub(super) fn chains(layout: &Layout) -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("dhcp", asked(layout)),
        (ELSEWHERE, asked_elsewhere()),
        (KEEP, (1..=BAYS).map(kept).collect()),
        (NEW, asked_anew(layout)),
        ("dhcp_online", asked_online(layout)),
    ]
}

/// The end of a rule: the device is counted in this set and let in, as often as it may ask.
fn counted(set: &str) -> String {
    format!("update @{set} {{ {DEVICE} {EACH} }} meta mark set 0 accept")
}

/// The chain of those who are not online. The packet's mark is the bay of the port; it came with it from the bridge.
fn asked(layout: &Layout) -> Vec<String> {
    let mut rules = vec![
        format!("meta mark != @{NUMBERS} meta mark set 0  # one that somebody else has set"),
        "fib daddr type unicast drop  # for another than us".to_owned(),
        format!(
            "@th,72,16 != 0x0106 counter name \"{REFUSED}\" drop  # another kind of address would be another device to the server"
        ),
    ];
    rules.extend(impostors::of_dhcp(layout));
    rules.extend((0..=BAYS).map(|number| format!("meta mark {number} {}", counted(&bay(number)))));
    // An inverted look-up spends nothing of what the device may ask, a plain one does.
    rules.extend((0..=BAYS).map(|number| format!("meta mark {number} {DEVICE} != @{} goto {ELSEWHERE}", bay(number))));
    rules.push(format!("counter name \"{REFUSED}\" drop  # counted here, and too fast"));
    rules
}

/// The chain of those at a bay where there is no room left for another. Whoever says here that he is a device of another bay must not spend what that
/// may ask there.
fn asked_elsewhere() -> Vec<String> {
    let nowhere: Vec<String> = (1..=BAYS)
        .map(|number| format!("{DEVICE} != @{}", bay(number)))
        .collect();
    vec![
        format!("{} goto {NEW}", nowhere.join(" ")),
        format!("{DEVICE} != @{KEPT} add @{KEPT} {{ {DEVICE} }} jump {KEEP}"),
        counted(ELSEWHERE),
        format!("counter name \"{REFUSED}\" drop"),
    ]
}

fn kept(number: u16) -> String {
    let bay = bay(number);
    format!("{DEVICE} @{bay} update @{bay} {{ {DEVICE} {EACH} }}")
}

/// The chain of those that no bay counts.
fn asked_anew(layout: &Layout) -> Vec<String> {
    let mut rules = Vec::new();
    if is_slow_at_last(layout.dhcp) {
        rules.push(slowly(layout.dhcp));
        rules.push(format!("meta mark 0 {}", counted(LAST)));
    }
    rules.push(format!(
        "{DEVICE} @{} add @dhcp_leased {{ {DEVICE} {EACH} }} meta mark set 0 accept  # a lease of another bay, or from before a boot",
        set::LEASE_CLIENTS
    ));
    rules.push(format!("counter name \"{REFUSED}\" drop"));
    rules
}

/// Where all come by one port nobody can be told apart: so many addresses are given out as they are asked for, nine tenths.
fn at_once(pool: DhcpPool) -> u32 {
    if is_slow_at_last(pool) {
        pool.addresses - (pool.addresses / 10).max(1)
    } else {
        pool.addresses
    }
}

/// The others then come back one by one in the time of a lease. So a flood that is over leaves addresses to be had.
const fn is_slow_at_last(pool: DhcpPool) -> bool {
    pool.share_percent < 100 && pool.addresses > 1
}

/// Of those that have no lease nor one of the last addresses.
fn slowly(pool: DhcpPool) -> String {
    let last = u64::from(pool.addresses - at_once(pool));
    let an_hour = (last * 3600 / pool.lease.as_secs().max(1)).max(1);
    format!(
        "meta mark 0 {DEVICE} != @{LAST} {DEVICE} != @{} limit rate over {an_hour}/hour burst 5 packets counter name \"{REFUSED}\" drop",
        set::LEASE_CLIENTS
    )
}

/// The chain of those online, who ask for themselves. Whoever is online and has no lease any longer asks as a stranger does, without an address.
fn asked_online(layout: &Layout) -> Vec<String> {
    let mut rules = impostors::of_dhcp(layout);
    rules.extend([
        format!(
            "@th,72,16 0x0106 {DEVICE} @{} add @dhcp_leased {{ {DEVICE} {EACH} }} accept",
            set::LEASE_CLIENTS
        ),
        format!("counter name \"{REFUSED}\" drop"),
    ]);
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::tests::sample;

    fn with(addresses: u32, share_percent: u8) -> Layout {
        Layout {
            dhcp: DhcpPool {
                addresses,
                lease: Duration::from_hours(1),
                share_percent,
            },
            ..sample()
        }
    }

    #[test]
    fn a_bay_has_room_for_a_ports_part_and_forgets_nobody_before_his_lease_ends() {
        let sets = sets(&with(250, 50));
        let of = |name: &str| &sets.iter().find(|(known, _)| known == name).unwrap().1;
        for number in 1..=BAYS {
            let text = of(&bay(number));
            assert!(text.contains("size 125;") && text.contains("timeout 62m;"), "{text}");
        }
        assert!(of("dhcp_0").contains("size 225;") && of(LAST).contains("size 25;"));
    }

    #[test]
    fn all_that_come_by_one_port_get_the_last_tenth_slowly_unless_it_may_take_all() {
        let all = |layout: &Layout| chains(layout).into_iter().flat_map(|chain| chain.1).collect::<Vec<_>>();
        let slow = |layout: &Layout| all(layout).into_iter().find(|rule| rule.contains("over"));
        let text = slow(&with(250, 50)).unwrap();
        assert!(text.contains("over 25/hour"), "{text}");
        let rules = all(&with(250, 50));
        let at = |word: &str| rules.iter().position(|rule| rule.contains(word)).unwrap();
        assert!(
            at("update @dhcp_0 ") < at("over"),
            "as long as there is room nobody waits"
        );
        assert_eq!(slow(&with(250, 100)), None);
        assert_eq!(slow(&with(1, 50)), None);
        assert!(sets(&with(250, 100)).iter().all(|(name, _)| name != LAST));
    }

    #[test]
    fn ports_have_bays_of_their_own_until_there_are_more_than_bays() {
        let bays = [0, 1, 2, BAYS, BAYS + 1, u16::MAX].map(bay_of);
        assert_eq!(bays, [0, 1, 2, BAYS, 1, 15]);
    }
}
