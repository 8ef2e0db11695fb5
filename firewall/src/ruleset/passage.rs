//! Between the LAN and the internet: what is charged, free, refused, and over.

use super::rules::owned;
use super::{FREE_MARK, filters, set, share};
use crate::layout::Layout;

/// What is open before login, by the address at one end of a packet.
pub(super) fn garden(end: &str, verdict: &str) -> Vec<String> {
    vec![
        format!("ip {end} @garden4 {verdict}"),
        format!("ip6 {end} @garden6 {verdict}"),
        format!("ip {end} @{} {verdict}", set::GARDEN_NAMES4),
        format!("ip6 {end} @{} {verdict}", set::GARDEN_NAMES6),
    ]
}

/// What is free after login, beside the garden.
fn free_of_charge(end: &str, verdict: &str) -> Vec<String> {
    vec![
        format!("ip {end} @free4 {verdict}"),
        format!("ip6 {end} @free6 {verdict}"),
        format!("ip {end} @{} {verdict}", set::FREE_NAMES4),
        format!("ip6 {end} @{} {verdict}", set::FREE_NAMES6),
    ]
}

/// One device must not fill the connection table. Only a connection's first packet comes here; how often is bounded first,
/// since counting takes the longer the more there are.
pub(super) const NEWCOMER: [&str; 4] = [
    "meta mark 0 add @stranger_new { ether saddr limit rate over 20/second burst 100 packets } drop",
    "meta mark != 0 add @citizen_new { ether saddr limit rate over 200/second burst 1000 packets } drop",
    "meta mark 0 add @stranger_conns { ether saddr ct count over 50 } drop",
    "meta mark != 0 add @citizen_conns { ether saddr ct count over 2000 } drop",
];

/// Most packets are of a connection that has been let through before, so that is asked first. (A helper of the kernel, where somebody has assigned
/// one, begins connections with the mark of theirs; they are charged like it, and not counted as new.) One that is free is asked each time whether
/// it still is, and whose: so its mark needs to be true for its answers alone.
pub(super) fn uplink(layout: &Layout) -> Vec<String> {
    let charged = if layout.counts_free() {
        format!("ct mark & {FREE_MARK:#x} == 0 ")
    } else {
        String::new()
    };
    let mut rules = vec![
        "ct state related goto uplink_errors".to_owned(),
        format!("ct mark != 0 {charged}goto uplink_known"),
    ];
    rules.extend(owned(&[
        "meta mark 0 goto garden_up",
        "ct status confirmed goto uplink_unmarked  # not `established`: an unanswered datagram would be new each time",
        "ct state invalid drop",
        "jump newcomer",
        "goto uplink_unmarked",
    ]));
    rules
}

/// Speed, then one sum for both directions, then what this direction carried: a packet that is refused is not counted. All in one rule, since
/// each that a packet meets costs it some time.
fn metered(layout: &Layout, before: &str, limits: &str, connection: &str, counters: &str) -> String {
    let end = if layout.uplink.is_some() {
        "goto shared"
    } else {
        "accept"
    };
    let total = set::TOTAL;
    format!("{before}meta mark @{limits} {connection}quota name meta mark map @{total} meta mark @{counters} {end}")
}

/// The connection's mark is how the answers find the slot, another than before if the device has logged in anew.
fn metered_up(layout: &Layout) -> String {
    metered(layout, "", set::LIM_UP, "ct mark set meta mark ", set::CNT_UP)
}

/// An error that tells of a connection counts as that connection's, whoever has sent it: it must not mark it. It is charged to its sender.
pub(super) fn uplink_errors(layout: &Layout) -> Vec<String> {
    vec![
        "meta mark 0 goto garden_up".to_owned(),
        metered(layout, "", set::LIM_UP, "", set::CNT_UP),
        "drop  # too fast, or used up".to_owned(),
    ]
}

pub(super) fn uplink_known(layout: &Layout) -> Vec<String> {
    vec![
        metered_up(layout),
        "meta mark 0 goto garden_up  # its session is over".to_owned(),
        "drop  # too fast, or used up".to_owned(),
    ]
}

/// Only here is looked for what is free or blocked: most packets are of connections that are marked, and so not to there.
pub(super) fn uplink_unmarked(layout: &Layout) -> Vec<String> {
    let mut rules = garden("daddr", "goto free_up");
    rules.extend(free_of_charge("daddr", "goto free_up"));
    rules.extend(owned(&[
        "ip daddr @blocked4 goto refused",
        "ip6 daddr @blocked6 goto refused",
        "meta l4proto . th dport @blocked_ports goto refused",
    ]));
    rules.extend(filters::question(layout));
    rules.push(metered_up(layout));
    rules.push("drop  # too fast, or used up".to_owned());
    rules
}

/// Counted for its session, by whose slot the connection is marked as free, and for the gate as a whole. A stranger has no session; one from before
/// anything was free has no meter yet, and its answers pass by the mark alone.
pub(super) fn free_up(layout: &Layout, counter: &str) -> Vec<String> {
    let mut rules = Vec::new();
    if layout.counts_free() {
        let own = set::CNT_FREE_UP;
        rules.push(format!(
            "meta mark != 0 ct mark set meta mark | {FREE_MARK:#x} meta mark @{own}  # so that its answers are known, and counted"
        ));
    }
    rules.extend(counted(layout, counter));
    rules
}

/// Likewise; the packet has the slot of its connection, if any. One whose session has ended has no counter any more.
pub(super) fn free_down(layout: &Layout, counter: &str) -> Vec<String> {
    let mut rules = Vec::new();
    if layout.counts_free() {
        rules.push(format!("meta mark @{}", set::CNT_FREE_DOWN));
    }
    rules.extend(counted(layout, counter));
    rules
}

/// Counted apart, for the gate as a whole.
fn counted(layout: &Layout, counter: &str) -> Vec<String> {
    let share = layout.uplink.map_or_else(String::new, |_| {
        format!("meta priority set {} ", share::written(share::FREE))
    });
    vec![format!("counter name \"{counter}\" {share}accept")]
}

/// In which of the uplink's queues it waits its turn: in one of its class, or of those without. A priority that no queue has would wait nowhere, so
/// nothing is lost for want of one.
pub(super) fn shared(layout: &Layout) -> Vec<String> {
    let sessions = share::MASK;
    let classed = || format!("meta priority set meta mark map @{} accept", set::CLASSED);
    let mut rules: Vec<String> = (!layout.classes.is_empty()).then(classed).into_iter().collect();
    rules.extend([
        format!(
            "meta priority set meta mark & {sessions:#x} map @{} accept",
            set::SHARES
        ),
        "accept".to_owned(),
    ]);
    rules
}

pub(super) fn refused(counter: &str) -> Vec<String> {
    let mut rules = vec![format!("counter name \"{counter}\"")];
    rules.extend(owned(&[
        "meta l4proto tcp reject with tcp reset",
        "meta l4proto udp reject with icmpx admin-prohibited",
        "drop",
    ]));
    rules
}

/// What cannot be told by its connection has no mark, and falls through. Whether anything is free now or not, connections may have been marked so.
pub(super) fn downlink(layout: &Layout) -> Vec<String> {
    let mut rules = vec![metered(
        layout,
        "meta mark set ct mark ",
        set::LIM_DOWN,
        "",
        set::CNT_DOWN,
    )];
    rules.push("ct state invalid drop".to_owned());
    rules.push(format!(
        "meta mark & {FREE_MARK:#x} != 0 goto downlink_free  # free, if it still is"
    ));
    rules.extend(owned(&[
        "meta mark 0 goto garden_down",
        "meta mark != @lim_down meta l4proto tcp reject with tcp reset  # the session is over: stop the sender",
        "drop  # too fast, or used up",
    ]));
    rules
}

/// Its way up was free when it was last gone. The garden is open to those whose session is over too; what else is free is not, and what is free no
/// longer is charged, as it would be on its way up.
pub(super) fn downlink_free(layout: &Layout) -> Vec<String> {
    let mut rules = vec![format!("meta mark set meta mark & {:#x}", !FREE_MARK)];
    rules.extend(garden("saddr", "goto free_down"));
    rules.push(format!("meta mark != @{} goto session_over", set::LIM_DOWN));
    rules.extend(free_of_charge("saddr", "goto free_down"));
    rules.push(metered(
        layout,
        "",
        set::LIM_DOWN,
        "ct mark set meta mark ",
        set::CNT_DOWN,
    ));
    rules.push("drop  # too fast, or used up".to_owned());
    rules
}

/// Of a session that is over.
pub(super) const SESSION_OVER: [&str; 2] = ["meta l4proto tcp reject with tcp reset  # stop the sender", "drop"];

pub(super) fn garden_up() -> Vec<String> {
    let mut rules = owned(&[
        "ct status & confirmed == 0 jump newcomer",
        "ct state invalid goto garden_odd  # what is no connection is not counted, nor translated",
    ]);
    rules.extend(garden("daddr", "goto free_up"));
    rules.extend(owned(&[
        "meta l4proto tcp reject with tcp reset  # also ends connections of a closed session",
        "drop",
    ]));
    rules
}

/// A segment out of its window must not end the connection that it is said to be of. Elsewhere there is none that may go on.
pub(super) fn garden_odd() -> Vec<String> {
    let mut rules = garden("daddr", "drop");
    rules.extend(owned(&["meta l4proto tcp reject with tcp reset", "drop"]));
    rules
}

/// A stranger's: what is free for those online alone has its mark.
pub(super) fn garden_down() -> Vec<String> {
    let mut rules = owned(&["ct state new drop"]);
    rules.extend(garden("saddr", "goto free_down"));
    rules.extend(owned(&["meta l4proto tcp reject with tcp reset", "drop"]));
    rules
}
