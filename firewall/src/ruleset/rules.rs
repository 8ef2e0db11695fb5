//! The chains: one function or list for each, in the order in which a packet meets them.

use kavadam_domain::PortMapping;

use super::passage::{
    NEWCOMER, SESSION_OVER, downlink, downlink_free, free_down, free_up, garden, garden_down, garden_odd, garden_up,
    refused, shared, uplink, uplink_errors, uplink_known, uplink_unmarked,
};
use super::{COUNTERS, Chain, Hook, dhcp, filters, impostors, link, set, unleased};
use crate::layout::{Layout, OtherLan};

/// Every chain with its rules, as the kernel must show them after loading.
pub(crate) fn chains(layout: &Layout) -> Vec<Chain> {
    let [up, down, blocked] = COUNTERS;
    let plain = |name: &'static str, rules| Chain {
        name: name.into(),
        hook: None,
        rules,
    };
    let mut chains = hooked(layout);
    chains.extend(dhcp::chains(layout).into_iter().map(|(name, rules)| plain(name, rules)));
    chains.extend([
        plain("lan_raw", lan_raw(layout)),
        plain("lan_raw6", lan_raw6(layout)),
        plain("citizen6", owned(&["jump holder", "accept"])),
        plain("holder", impostors::holder()),
        plain("stranger", stranger(layout)),
        plain("nd", nd(layout)),
        plain("capture", capture(layout)),
        plain("newcomer", owned(&NEWCOMER)),
        plain("uplink", uplink(layout)),
        plain("uplink_errors", uplink_errors(layout)),
        plain("uplink_known", uplink_known(layout)),
        plain("uplink_unmarked", uplink_unmarked(layout)),
        plain("garden_up", garden_up()),
        plain("garden_odd", garden_odd()),
        plain("downlink", downlink(layout)),
        plain("downlink_free", downlink_free(layout)),
        plain("session_over", owned(&SESSION_OVER)),
        plain("garden_down", garden_down()),
        plain("free_up", free_up(layout, up)),
        plain("free_down", free_down(layout, down)),
        plain("refused", refused(blocked)),
        plain("lan_in", lan_in(layout)),
        plain("echo", owned(&ECHO)),
        plain("lan_dns", owned(&LAN_DNS)),
        plain("dns_out", owned(&DNS_OUT)),
        plain("other_in", other_in(layout)),
    ]);
    chains.extend(layout.ports.as_ref().map(|ports| plain("translate", translate(ports))));
    chains.extend(layout.uplink.map(|_| plain("shared", shared(layout))));
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

pub(super) fn owned(rules: &[&str]) -> Vec<String> {
    rules.iter().map(|rule| (*rule).to_owned()).collect()
}

/// Who is it? A slot becomes the packet's mark; 0 is a stranger. A session's address is one of the LAN, so only others' are looked at.
fn lan_raw(layout: &Layout) -> Vec<String> {
    let servers = link::DHCP_SERVERS;
    vec![
        // The family is asked for first, or the frame would be looked at for it, which takes longer.
        "meta nfproto ipv4 meta mark set ether saddr . ip saddr map @auth4 accept".to_owned(),
        "meta nfproto ipv6 goto lan_raw6".to_owned(),
        // Whatever address it gives itself.
        format!("udp sport 67 udp dport 68 counter name \"{servers}\" drop  # the DHCP server is ours"),
        format!(
            "ip saddr != {} ip saddr != 0.0.0.0 drop  # not from here",
            layout.lan4.trunc()
        ),
        "udp sport 68 udp dport 67 goto dhcp".to_owned(),
        "meta mark set 0".to_owned(),
        format!(
            "udp sport 67 udp dport 67 counter name \"{}\" drop  # a relay's",
            dhcp::RELAYED
        ),
        "udp dport 67 drop  # no client's".to_owned(),
        "goto stranger".to_owned(),
    ]
}

fn lan_raw6(layout: &Layout) -> Vec<String> {
    let mut rules = Vec::new();
    let mut own = String::new();
    if let Some(lan6) = lan6(layout) {
        let map = "meta mark set ether saddr map @auth6";
        rules.push(format!("{} {map} accept", impostors::known(&lan6)));
        rules.push(format!("ip6 saddr {lan6} {map} goto citizen6"));
        own = format!("ip6 saddr != {lan6} ");
    }
    rules.push("meta mark set 0".to_owned());
    let advertisements = link::ADVERTISEMENTS;
    rules.push(format!(
        "icmpv6 type nd-router-advert counter name \"{advertisements}\" drop  # we are the router"
    ));
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
    let mut rules = owned(&DHCP6);
    rules.push("icmpv6 type @nd_types goto nd".to_owned());
    if layout.strict {
        rules.extend(owned(&[
            "meta nfproto ipv4 ether saddr . ip saddr != @leases drop  # no lease, no answer",
        ]));
        rules.push(unleased::judged(layout));
        rules.extend(impostors::stranger(layout, lan6(layout).as_deref()));
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
        // Bounded by device first, so that one which asks for all of them takes none from the others.
        "meta l4proto tcp add @stranger_refused { ether saddr limit rate 200/second burst 1000 packets } \
         limit rate 5000/second burst 2000 packets reject with tcp reset  # fail at once, not by timeout",
        "meta l4proto udp add @stranger_refused { ether saddr limit rate 200/second burst 1000 packets } \
         limit rate 1000/second burst 500 packets reject with icmpx admin-prohibited",
        "drop",
    ]));
    rules
}

/// It gives no addresses here, and tells nobody anything that advertisements do not: so it is slow, for one and for all together. Clients ask from and
/// to these addresses (RFC 9915 §7.1).
const DHCP6: [&str; 2] = [
    "ip6 saddr fe80::/10 ip6 daddr ff02::1:2 udp dport 547 add @dhcp6_rate { ether saddr limit rate 2/second burst 20 packets } \
     limit rate 200/second burst 200 packets accept",
    "udp dport 547 drop",
];

/// Whoever solicits is remembered as a neighbour, under whatever address: the kernel has room for a thousand.
fn nd(layout: &Layout) -> Vec<String> {
    let mut rules = impostors::of_neighbours(layout);
    rules.extend(owned(&ND_KNOWN));
    rules.extend(unleased::admitted(layout));
    rules.extend(owned(&ND_OTHERS));
    rules
}

const ND_KNOWN: [&str; 2] = [
    "meta mark != 0 add @nd_rate { ether saddr limit rate 10/second burst 50 packets } accept",
    "ether saddr @lease_macs add @nd_rate { ether saddr limit rate 10/second burst 50 packets } accept",
];

const ND_OTHERS: [&str; 3] = [
    "ip6 saddr :: limit rate 50/second burst 200 packets accept  # a probe, which is remembered nowhere, but answered to all",
    "meta mark 0 limit rate 20/second burst 100 packets accept",
    "drop",
];

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

/// The resolver's, and those where the questions of strangers and of those online arrive.
fn dns_ports(layout: &Layout) -> impl Iterator<Item = u16> {
    let own = (layout.names_port != 53).then_some(layout.names_port);
    std::iter::once(53).chain(own).chain(layout.citizen_names_port)
}

fn lan_in(layout: &Layout) -> Vec<String> {
    let mut rules = owned(&[
        "ct state invalid drop",
        "meta mark != 0 udp dport 67 goto dhcp_online",
        "meta nfproto ipv4 udp sport 68 udp dport 67 accept  # judged before",
        "ip6 saddr fe80::/10 ip6 daddr ff02::1:2 udp dport 547 accept  # likewise",
        "udp sport 67 udp dport 68 counter name \"dhcp_servers\" drop",
        "meta mark != 0 icmpv6 type @nd_types goto nd",
        "icmpv6 type @nd_types accept  # heard before",
        "icmp type echo-request goto echo",
        "icmpv6 type echo-request goto echo",
    ]);
    rules.extend(not_for_strangers(layout));
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

/// Each device is answered so often that it takes nothing from the others.
const ECHO: [&str; 2] = [
    "add @echo_rate { ether saddr limit rate 10/second burst 50 packets } limit rate 200/second burst 200 packets accept",
    "drop  # before `established`, or only the first would be counted",
];

/// What strangers ask was led to the door for names before. What comes to the resolver itself began while its device was online, or was sent to an
/// address from which nothing is led there: in either case it would be answered without that door's bounds.
fn not_for_strangers(layout: &Layout) -> impl Iterator<Item = String> {
    let resolver = (layout.names_port != 53).then_some(53);
    let ports = resolver.into_iter().chain(layout.citizen_names_port);
    ports.map(|port| format!("meta mark 0 th dport {port} drop  # strangers are answered elsewhere"))
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
