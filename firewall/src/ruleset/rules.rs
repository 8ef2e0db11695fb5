//! The chains: one function or list for each, in the order in which a packet meets them.

use kavadam_domain::PortMapping;

use super::{COUNTERS, Chain, Hook, filters, set, share, unleased};
use crate::layout::{Layout, OtherLan};

/// Every chain with its rules, as the kernel must show them after loading.
pub(crate) fn chains(layout: &Layout) -> Vec<Chain> {
    let [free_up, free_down, blocked] = COUNTERS;
    let plain = |name: &'static str, rules| Chain {
        name: name.into(),
        hook: None,
        rules,
    };
    let mut chains = hooked(layout);
    chains.extend([
        plain("lan_raw", lan_raw(layout)),
        plain("lan_raw6", lan_raw6(layout)),
        plain("stranger", stranger(layout)),
        plain("nd", nd(layout)),
        plain("capture", capture(layout)),
        plain("newcomer", owned(&NEWCOMER)),
        plain("uplink", owned(&UPLINK)),
        plain("uplink_known", uplink_known(layout)),
        plain("uplink_unmarked", uplink_unmarked(layout)),
        plain("garden_up", garden_up()),
        plain("downlink", downlink(layout)),
        plain("garden_down", garden_down()),
        plain("free_up", counted(layout, free_up)),
        plain("free_down", counted(layout, free_down)),
        plain("refused", refused(blocked)),
        plain("lan_in", lan_in(layout)),
        plain("lan_dns", owned(&LAN_DNS)),
        plain("dns_out", owned(&DNS_OUT)),
        plain("other_in", other_in(layout)),
    ]);
    chains.extend(layout.ports.as_ref().map(|ports| plain("translate", translate(ports))));
    chains.extend(layout.uplink.map(|_| plain("shared", shared())));
    chains.extend(unleased::are_heard(layout).then(|| plain("unleased", unleased::known())));
    chains.extend(citizen_asks(layout).map(|rules| plain("citizen_asks", rules)));
    chains.extend(filters::chains(layout));
    chains
}

/// Those that the kernel calls itself.
fn hooked(layout: &Layout) -> Vec<Chain> {
    let (lan, wan) = (&layout.lan_if, &layout.wan_if);
    let base = |name: &'static str, kind, at, priority, policy, rules| Chain {
        name: name.into(),
        hook: Some(Hook {
            kind,
            at,
            priority,
            policy,
        }),
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
            nat_pre(layout),
        ),
        base(
            "nat_post",
            "nat",
            "postrouting",
            ("srcnat", 100),
            "accept",
            vec![format!(
                "ip saddr {} oifname \"{wan}\" {}",
                layout.lan4.trunc(),
                if layout.ports.is_some() {
                    "goto translate"
                } else {
                    "masquerade"
                }
            )],
        ),
        base("forward", "filter", "forward", ("filter", 0), "drop", forward(layout)),
        base("input", "filter", "input", ("filter", 0), "accept", input(layout)),
        base(
            "output",
            "filter",
            "output",
            ("filter", 0),
            "accept",
            dns_ports(layout)
                .flat_map(|port| {
                    ["udp", "tcp"].map(|proto| format!("oifname \"{lan}\" {proto} sport {port} goto dns_out"))
                })
                .collect(),
        ),
    ]
}

/// What has ports goes by those of its device. What has none, such as tunnels, goes by the first address.
fn translate(ports: &PortMapping) -> Vec<String> {
    let protocols = ["tcp", "udp", "icmp"];
    let own = protocols.map(|proto| format!("meta l4proto {proto} snat ip to ip saddr map @{}", set::PUBLIC_PORTS));
    let none = protocols.map(|proto| format!("meta l4proto {proto} drop  # it has no ports of its own"));
    let first = ports.addresses().first().map(|address| format!("snat ip to {address}"));
    own.into_iter().chain(none).chain(first).collect()
}

/// Between the LAN and the internet, and nothing else: not from one citizen to another either.
fn forward(layout: &Layout) -> Vec<String> {
    let (lan, wan) = (&layout.lan_if, &layout.wan_if);
    let mut rules: Vec<String> = stays_here(layout).into_iter().collect();
    rules.extend([
        format!("iifname \"{lan}\" oifname \"{wan}\" goto uplink"),
        format!("iifname \"{wan}\" oifname \"{lan}\" goto downlink"),
    ]);
    if !layout.other_lans.is_empty() {
        rules.extend([
            format!(
                "iifname @{} oifname \"{wan}\" accept  # another gate's to judge",
                set::OTHERS
            ),
            format!("iifname \"{wan}\" oifname @{} accept", set::OTHERS),
        ]);
    }
    rules
}

/// No answer finds its way back to an address of ours alone (RFC 4193 §4.3). Beside delegated prefixes every device has one, which it may use
/// while there are none; told so it turns to IPv4 at once (RFC 7084 L-14).
fn stays_here(layout: &Layout) -> Option<String> {
    let own = layout
        .lan6
        .filter(|net| layout.delegated && net.addr().is_unique_local())?;
    let (lan, wan, own) = (&layout.lan_if, &layout.wan_if, own.trunc());
    Some(format!(
        "iifname \"{lan}\" oifname \"{wan}\" ip6 saddr {own} reject with icmpv6 policy-fail"
    ))
}

fn input(layout: &Layout) -> Vec<String> {
    let mut rules = vec![
        "iifname \"lo\" accept".to_owned(),
        format!("iifname \"{}\" goto lan_in", layout.lan_if),
    ];
    if !layout.other_lans.is_empty() {
        rules.push(format!("iifname @{} accept  # another gate's to judge", set::OTHERS));
        let closed = |other: &OtherLan| format!("iifname \"{}\" drop  # its gate is not there", other.interface);
        rules.extend(layout.other_lans.iter().map(closed));
    }
    rules.push("goto other_in".to_owned());
    rules
}

fn owned(rules: &[&str]) -> Vec<String> {
    rules.iter().map(|rule| (*rule).to_owned()).collect()
}

/// Who is it? A slot becomes the packet's mark; 0 is a stranger. A session's address is one of the LAN, so only others' are looked at.
fn lan_raw(layout: &Layout) -> Vec<String> {
    vec![
        // The family is asked for first, or the frame would be looked at for it, which takes longer.
        "meta nfproto ipv4 meta mark set ether saddr . ip saddr map @auth4 accept".to_owned(),
        "meta nfproto ipv6 goto lan_raw6".to_owned(),
        "meta mark set 0".to_owned(),
        format!(
            "ip saddr != {} ip saddr != 0.0.0.0 drop  # not from here",
            layout.lan4.trunc()
        ),
        "goto stranger".to_owned(),
    ]
}

fn lan_raw6(layout: &Layout) -> Vec<String> {
    let mut rules = Vec::new();
    let mut own = String::new();
    if let Some(lan6) = lan6(layout) {
        rules.push(format!("ip6 saddr {lan6} meta mark set ether saddr map @auth6 accept"));
        own = format!("ip6 saddr != {lan6} ");
    }
    rules.push("meta mark set 0".to_owned());
    rules.push(format!(
        "{own}ip6 saddr != fe80::/10 ip6 saddr != :: drop  # not from here"
    ));
    rules.push("goto stranger".to_owned());
    rules
}

/// What a device's address must be in.
fn lan6(layout: &Layout) -> Option<String> {
    if layout.delegated {
        return Some(format!("@{}", set::LAN6));
    }
    layout.lan6.map(|net| net.trunc().to_string())
}

/// Before the connection table: a stranger who is refused here leaves no trace.
fn stranger(layout: &Layout) -> Vec<String> {
    let mut rules = owned(&[
        "udp dport 67 accept",
        "udp dport 547 accept",
        "icmpv6 type @nd_types goto nd",
    ]);
    if layout.strict {
        rules.extend(owned(&[
            "meta nfproto ipv4 ether saddr . ip saddr != @leases drop  # no lease, no answer",
        ]));
        rules.push(unleased::judged(layout));
    }
    rules.extend(owned(&[
        "fib daddr type local accept  # lan_in decides",
        "fib daddr type != unicast drop",
        "ip daddr @garden4 accept",
        "ip6 daddr @garden6 accept",
        "ip daddr @garden_names4 accept",
        "ip6 daddr @garden_names6 accept",
        "udp dport 53 accept  # redirected to our resolver",
        "tcp dport 53 accept",
        "tcp dport 80 accept  # redirected to the capture listener",
        "meta l4proto tcp limit rate 2000/second burst 500 packets reject with tcp reset  # fail at once, not by timeout",
        "meta l4proto udp limit rate 500/second burst 200 packets reject with icmpx admin-prohibited",
        "drop",
    ]));
    rules
}

/// Whoever solicits is remembered as a neighbour, under whatever address: the kernel has room for a thousand.
fn nd(layout: &Layout) -> Vec<String> {
    let mut rules = owned(&ND_KNOWN);
    rules.extend(unleased::admitted(layout));
    rules.extend(owned(&ND_OTHERS));
    rules
}

const ND_KNOWN: [&str; 3] = [
    "ip6 saddr :: accept  # a probe, which is remembered nowhere",
    "meta mark != 0 add @nd_rate { ether saddr limit rate 10/second burst 50 packets } accept",
    "ether saddr @lease_macs add @nd_rate { ether saddr limit rate 10/second burst 50 packets } accept",
];

const ND_OTHERS: [&str; 2] = ["meta mark 0 limit rate 20/second burst 100 packets accept", "drop"];

/// A stranger's DNS and HTTP come to the gateway, whoever they were for.
fn capture(layout: &Layout) -> Vec<String> {
    let port = layout.capture_port;
    let gateway4 = layout.lan4.addr();
    let mut rules = garden("daddr", "accept");
    rules.extend(names_to(layout, layout.names_port, "dport 53"));
    rules.push(format!("meta nfproto ipv4 tcp dport 80 dnat ip to {gateway4}:{port}"));
    if let Some(gateway6) = layout.lan6.map(|net| net.addr()) {
        rules.push(format!(
            "meta nfproto ipv6 tcp dport 80 dnat ip6 to [{gateway6}]:{port}"
        ));
    }
    rules
}

fn nat_pre(layout: &Layout) -> Vec<String> {
    let lan = &layout.lan_if;
    let mut rules = vec![format!("iifname \"{lan}\" meta mark 0 goto capture")];
    if layout.citizen_names_port.is_some() {
        rules.push(format!("iifname \"{lan}\" goto citizen_asks"));
    }
    rules
}

/// Those online ask kavadam as long as it says every moment that it answers, and the resolver itself as soon as it does not.
fn citizen_asks(layout: &Layout) -> Option<Vec<String>> {
    let port = layout.citizen_names_port?;
    let mut rules = Vec::new();
    if !layout.all_names {
        rules.push("fib daddr type != local accept  # another resolver is their choice".to_owned());
    }
    rules.extend(names_to(layout, port, &format!("dport @{}", set::CITIZEN_NAMES)));
    Some(rules)
}

/// DNS to a port of ours, both families and protocols.
fn names_to(layout: &Layout, port: u16, matching: &str) -> Vec<String> {
    let mut rules = Vec::new();
    for proto in ["udp", "tcp"] {
        let gateway4 = layout.lan4.addr();
        rules.push(format!(
            "meta nfproto ipv4 {proto} {matching} dnat ip to {gateway4}:{port}"
        ));
    }
    if let Some(gateway6) = layout.lan6.map(|net| net.addr()) {
        for proto in ["udp", "tcp"] {
            rules.push(format!(
                "meta nfproto ipv6 {proto} {matching} dnat ip6 to [{gateway6}]:{port}"
            ));
        }
    }
    rules
}

/// What is open before login, by the address at one end of a packet.
fn garden(end: &str, verdict: &str) -> Vec<String> {
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
const NEWCOMER: [&str; 4] = [
    "meta mark 0 add @stranger_new { ether saddr limit rate over 20/second burst 100 packets } drop",
    "meta mark != 0 add @citizen_new { ether saddr limit rate over 200/second burst 1000 packets } drop",
    "meta mark 0 add @stranger_conns { ether saddr ct count over 50 } drop",
    "meta mark != 0 add @citizen_conns { ether saddr ct count over 2000 } drop",
];

/// Most packets are of a connection that has been let through before, so that is asked first. (A helper of the kernel, where somebody has assigned
/// one, begins connections with the mark of theirs; they are charged like it, and not counted as new.)
const UPLINK: [&str; 6] = [
    "ct mark != 0 goto uplink_known",
    "meta mark 0 goto garden_up",
    "ct status confirmed goto uplink_unmarked  # not `established`: an unanswered datagram would be new each time",
    "ct state invalid drop",
    "jump newcomer",
    "goto uplink_unmarked",
];

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

fn uplink_known(layout: &Layout) -> Vec<String> {
    vec![
        metered_up(layout),
        "meta mark 0 goto garden_up  # its session is over".to_owned(),
        "drop  # too fast, or used up".to_owned(),
    ]
}

/// Only here is looked for what is free or blocked: most packets are of connections that are marked, and so not to there.
fn uplink_unmarked(layout: &Layout) -> Vec<String> {
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

/// Counted apart. The connection stays unmarked, so its answers are free too.
fn counted(layout: &Layout, counter: &str) -> Vec<String> {
    let share = layout.uplink.map_or_else(String::new, |_| {
        format!("meta priority set {} ", share::written(share::FREE))
    });
    vec![format!("counter name \"{counter}\" {share}accept")]
}

/// In which of the uplink's queues it waits its turn. A priority that no queue has would wait nowhere, so nothing is lost for want of one.
fn shared() -> Vec<String> {
    let sessions = share::MASK;
    vec![
        format!(
            "meta priority set meta mark & {sessions:#x} map @{} accept",
            set::SHARES
        ),
        "accept".to_owned(),
    ]
}

fn refused(counter: &str) -> Vec<String> {
    let mut rules = vec![format!("counter name \"{counter}\"")];
    rules.extend(owned(&[
        "meta l4proto tcp reject with tcp reset",
        "meta l4proto udp reject with icmpx admin-prohibited",
        "drop",
    ]));
    rules
}

/// What cannot be told by its connection has no mark, and falls through.
fn downlink(layout: &Layout) -> Vec<String> {
    let mut rules = vec![metered(
        layout,
        "meta mark set ct mark ",
        set::LIM_DOWN,
        "",
        set::CNT_DOWN,
    )];
    rules.extend(owned(&[
        "ct state invalid drop",
        "meta mark 0 goto garden_down",
        "meta mark != @lim_down meta l4proto tcp reject with tcp reset  # the session is over: stop the sender",
        "drop  # too fast, or used up",
    ]));
    rules
}

fn garden_up() -> Vec<String> {
    let mut rules = owned(&["ct status & confirmed == 0 jump newcomer"]);
    rules.extend(garden("daddr", "goto free_up"));
    rules.extend(owned(&[
        "meta l4proto tcp reject with tcp reset  # also ends connections of a closed session",
        "drop",
    ]));
    rules
}

fn garden_down() -> Vec<String> {
    let mut rules = owned(&["ct state new drop"]);
    rules.extend(garden("saddr", "goto free_down"));
    rules.extend(free_of_charge("saddr", "goto free_down"));
    rules.extend(owned(&["meta l4proto tcp reject with tcp reset", "drop"]));
    rules
}

/// The resolver's, and those where the questions of strangers and of those online arrive.
fn dns_ports(layout: &Layout) -> impl Iterator<Item = u16> {
    let own = (layout.names_port != 53).then_some(layout.names_port);
    std::iter::once(53).chain(own).chain(layout.citizen_names_port)
}

fn lan_in(layout: &Layout) -> Vec<String> {
    let mut rules = owned(&[
        "ct state invalid drop",
        "udp dport 67 accept",
        "udp dport 547 accept",
        "meta mark != 0 icmpv6 type @nd_types goto nd",
        "icmpv6 type @nd_types accept  # heard before",
        "icmp type echo-request limit rate 200/second accept",
        "icmpv6 type echo-request limit rate 200/second accept",
    ]);
    if let Some(port) = layout.citizen_names_port {
        rules.push(format!(
            "meta mark 0 th dport {port} drop  # strangers are answered elsewhere"
        ));
    }
    for port in dns_ports(layout) {
        rules.extend(["udp", "tcp"].map(|proto| format!("{proto} dport {port} goto lan_dns")));
    }
    rules.extend(owned(&[
        "ct state established,related accept",
        "tcp dport @local_ports jump newcomer",
        "tcp dport @local_ports meta mark != 0 accept",
        "tcp dport @local_ports add @stranger_tcp { ether saddr limit rate 20/second burst 60 packets } accept",
        "meta l4proto tcp reject with tcp reset",
        "drop",
    ]));
    rules
}

const LAN_DNS: [&str; 4] = [
    "meta mark 0 udp length > 520 drop  # no question has more than 512 octets",
    "meta mark 0 add @stranger_dns { ether saddr limit rate 10/second burst 40 packets } accept",
    "meta mark != 0 add @citizen_dns { ether saddr limit rate 20/second burst 100 packets } accept",
    "drop  # before `established`, or a tunnel would flow on",
];

/// DNS is free, so it must be too slow to be worth a tunnel. By address, as there is no MAC yet on the way out.
const DNS_OUT: [&str; 2] = [
    "add @dns_answers4 { ip daddr limit rate over 16 kbytes/second burst 64 kbytes } drop",
    "add @dns_answers6 { ip6 daddr limit rate over 16 kbytes/second burst 64 kbytes } drop",
];

fn other_in(layout: &Layout) -> Vec<String> {
    let mut rules = owned(&[
        "ct state established,related accept",
        "tcp dport @local_ports drop  # the portal is for the LAN",
    ]);
    for port in dns_ports(layout) {
        // No open resolver.
        rules.extend(["tcp", "udp"].map(|proto| format!("{proto} dport {port} drop")));
    }
    rules.extend(owned(&["udp dport 67 drop", "udp dport 547 drop"]));
    rules
}
