//! The lines between gateway and internet.

use crate::netns::{Netns, sh};

/// The gateway's two interfaces, without addresses, and the internet with all of its own.
pub(crate) fn connect(gate: &Netns, internet: &Netns) -> anyhow::Result<()> {
    let (gate_name, internet_name) = (gate.name(), internet.name());
    sh(
        "ip",
        &[
            "link",
            "add",
            "wan0",
            "netns",
            gate_name,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            internet_name,
        ],
    )?;
    for words in ["link add lan0 type bridge", "link set lan0 up", "link set wan0 up"] {
        gate.ip(words)?;
    }
    for words in [
        "link set eth0 up",
        "addr add 198.51.100.1/24 dev eth0",
        "addr add 2001:db8:51::1/64 dev eth0 nodad",
        "addr add 203.0.113.10/32 dev lo",
        "addr add 203.0.113.20/32 dev lo",
        "addr add 203.0.113.53/32 dev lo",
        "addr add 203.0.113.54/32 dev lo",
        "addr add 2001:db8:113::10/128 dev lo nodad",
        "route add fd00:80::/64 via 2001:db8:51::2",
    ] {
        internet.ip(words)?;
    }
    // Where the bridge filter is built in, bridged packets would pass the gate's rules twice. Absent elsewhere.
    let _ = gate.output(
        "sysctl",
        &[
            "-qw",
            "net.bridge.bridge-nf-call-iptables=0",
            "net.bridge.bridge-nf-call-ip6tables=0",
        ],
    );
    Ok(())
}

/// Addresses, routes and forwarding of a gateway that nobody else sets up.
pub(crate) fn address(gate: &Netns) -> anyhow::Result<()> {
    for words in [
        "addr add 10.80.0.1/16 dev lan0",
        "addr add fd00:80::1/64 dev lan0 nodad",
        "addr add 198.51.100.2/24 dev wan0",
        "addr add 2001:db8:51::2/64 dev wan0 nodad",
        "route add default via 198.51.100.1",
        "-6 route add default via 2001:db8:51::1",
    ] {
        gate.ip(words)?;
    }
    gate.run(
        "sysctl",
        &["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"],
    )
    .map(drop)
}
