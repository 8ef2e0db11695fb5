//! What stands at the gate: nothing, address translation alone, openNDS 10's rules, or ours.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use kavadam_firewall::{Gate, Layout, OpenSession, Shares, UPLINK_BITS_PER_SEC, Uplink};
use serde_json::{Value, json};

use super::device::{LAN, ipv4, mac};

/// Faster than any packet comes, so that limits are looked up and counted but refuse nothing.
const SPEED_BITS: u64 = 80_000_000_000;
const QUOTA_OCTETS: u64 = 1 << 50;

/// Who stands at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A bare kernel that forwards.
    Plain,
    /// The same, with connection tracking and masquerading.
    Router,
    /// The rules that openNDS 10 makes, for each client the six of its source: mark and count, and return or drop by rate, each way.
    OpenNds,
    /// Ours, whole.
    Kavadam,
    /// Ours, with the uplink shared fairly: faster than it ever is full, so that queues are passed and nothing waits.
    KavadamShared,
}

impl Peer {
    /// As it is called in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain forwarding",
            Self::Router => "NAT router",
            Self::OpenNds => "openNDS 10's rules",
            Self::Kavadam => "Kavadam",
            Self::KavadamShared => "Kavadam, uplink shared",
        }
    }

    /// Whether it leaves addresses alone.
    pub const fn is_transparent(self) -> bool {
        matches!(self, Self::Plain)
    }

    /// Whether it is ours.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Kavadam | Self::KavadamShared)
    }
}

/// In the namespace it is called in.
pub fn fill(sessions: u32, shares_uplink: bool) -> anyhow::Result<Value> {
    let uplink = Uplink {
        up_bits_per_sec: *UPLINK_BITS_PER_SEC.end(),
        down_bits_per_sec: *UPLINK_BITS_PER_SEC.end(),
    };
    let layout = Layout {
        lan6: Some("fd00:80::1/64".parse()?),
        // As it comes, or as many as are needed.
        max_sessions: sessions.max(131_072),
        uplink: shares_uplink.then_some(uplink),
        ..Layout::new("lan0", "wan0", LAN.parse()?, 8080)
    };
    let gate = Gate::load(&layout)?;
    Shares::new()?.keep(&layout)?;
    let start = Instant::now();
    for number in 0..sessions {
        gate.open(&OpenSession {
            mac: mac(number),
            ipv4: Some(ipv4(number)),
            pool: gate.create_pool(Some(QUOTA_OCTETS))?,
            up_bits_per_sec: Some(SPEED_BITS),
            down_bits_per_sec: Some(SPEED_BITS),
            timeout: Some(Duration::from_hours(12)),
            filter: None,
            class: None,
            label: number.to_string().into_bytes(),
        })?;
    }
    let rate = f64::from(sessions) / start.elapsed().as_secs_f64();
    Ok(json!({ "opened": sessions, "opens_per_sec": rate.round() }))
}

/// Rules for `nft -f`, for those that need some.
pub fn rules(peer: Peer, clients: u32) -> Option<String> {
    match peer {
        Peer::Plain | Peer::Kavadam | Peer::KavadamShared => None,
        Peer::Router => Some(
            "table ip nat {\n chain post {\n  type nat hook postrouting priority srcnat; policy accept;\n  oifname \"wan0\" masquerade\n }\n}\n"
                .to_owned(),
        ),
        Peer::OpenNds => Some(opennds(clients)),
    }
}

/// A captive gateway whose clients are rules: its chains, and in them six rules for each client, the last client first where the source inserts.
fn opennds(clients: u32) -> String {
    const MARK: u32 = 0x3_0000;
    const MASK: u32 = 0xf_0000;
    const PACKETS_A_MINUTE: &str = "limit rate 60000000/minute burst 60000 packets";
    let mut text = format!(
        "table ip nds_mangle {{\n chain out {{\n }}\n chain rate {{\n }}\n chain inc {{\n }}\n\
         chain pre {{\n type filter hook prerouting priority mangle; policy accept;\n iifname \"lan0\" counter jump out\n }}\n\
         chain post {{\n type filter hook postrouting priority mangle; policy accept;\n oifname \"lan0\" counter jump inc\n }}\n}}\n\
         table ip nds_nat {{\n chain out {{\n mark and {MASK:#x} == {MARK:#x} counter return\n tcp dport 80 counter dnat to 10.0.0.1:2050\n counter accept\n }}\n\
         chain pre {{\n type nat hook prerouting priority dstnat; policy accept;\n iifname \"lan0\" counter jump out\n }}\n\
         chain post {{\n type nat hook postrouting priority srcnat; policy accept;\n oifname \"wan0\" masquerade\n }}\n}}\n\
         table ip nds_filter {{\n chain rate {{\n }}\n chain known {{\n counter jump rate\n counter accept\n }}\n\
         chain net {{\n ct state invalid counter drop\n mark and {MASK:#x} == {MARK:#x} counter goto known\n counter reject\n }}\n\
         chain forward {{\n type filter hook forward priority filter; policy accept;\n iifname \"lan0\" counter jump net\n }}\n}}\n\
         add rule ip nds_mangle inc oifname \"lan0\" counter jump rate\n"
    );
    for number in (0..clients).rev() {
        let (mac, ip) = (mac(number).to_string().replace('-', ":"), ipv4(number));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "add rule ip nds_mangle out ip saddr {ip} ether saddr {mac} counter meta mark set mark or {MARK:#x}"
        );
        let _ = writeln!(
            text,
            "add rule ip nds_mangle inc ip daddr {ip} counter meta mark set mark or {MARK:#x}"
        );
    }
    for number in 0..clients {
        let ip = ipv4(number);
        for (table, side) in [("nds_filter", "saddr"), ("nds_mangle", "daddr")] {
            let _ = writeln!(
                text,
                "add rule ip {table} rate ip {side} {ip} {PACKETS_A_MINUTE} counter return"
            );
            let _ = writeln!(text, "add rule ip {table} rate ip {side} {ip} counter drop");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_opennds_is_six_rules() {
        let lines = |clients| opennds(clients).lines().count();
        assert_eq!(lines(12) - lines(2), 60);
    }
}
