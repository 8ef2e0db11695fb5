//! A file of packets as Wireshark reads it, and what Wireshark says of it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Mutex;

const CENTRE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);
/// Of a gate's questions.
const ASKING: u16 = 40_000;
/// Packets begin with IPv4 (`LINKTYPE_RAW`).
const RAW: u32 = 101;

/// By the ports that Wireshark takes for RADIUS.
#[derive(Clone, Copy)]
pub enum Port {
    Authentication = 1812,
    Accounting = 1813,
    Orders = 3799,
}

/// Packets as they would have passed between a gate and a centre on the well-known ports.
#[derive(Default)]
pub struct Capture(Mutex<Vec<u8>>);

impl Capture {
    pub fn question(&self, gate: IpAddr, to: Port, octets: &[u8]) {
        self.add((v4(gate), ASKING), (CENTRE, to as u16), octets);
    }

    pub fn answer(&self, gate: IpAddr, by: Port, octets: &[u8]) {
        self.add((CENTRE, by as u16), (v4(gate), ASKING), octets);
    }

    pub fn order(&self, gate: Ipv4Addr, from: u16, octets: &[u8]) {
        self.add((CENTRE, from), (gate, Port::Orders as u16), octets);
    }

    pub fn order_answer(&self, gate: Ipv4Addr, to: u16, octets: &[u8]) {
        self.add((gate, Port::Orders as u16), (CENTRE, to), octets);
    }

    fn add(&self, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), octets: &[u8]) {
        let short = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
        let udp = [
            &from.1.to_be_bytes()[..],
            &to.1.to_be_bytes(),
            &short(octets.len() + 8),
            // No checksum.
            &[0, 0],
            octets,
        ]
        .concat();
        let ip = [
            &[0x45, 0][..],
            &short(udp.len() + 20),
            &[0, 0, 0, 0, 64, 17, 0, 0],
            &from.0.octets(),
            &to.0.octets(),
            &udp,
        ]
        .concat();
        let mut packets = self.0.lock().unwrap();
        let at = u32::try_from(packets.len()).unwrap();
        let length = u32::try_from(ip.len()).unwrap();
        for figure in [1_800_000_000, at % 1_000_000, length, length] {
            packets.extend(figure.to_be_bytes());
        }
        packets.extend(ip);
    }

    /// Whatever Wireshark has to say against any of the packets, or against the authenticator of an answer.
    pub fn remarks(&self, secret: &[u8]) -> String {
        let amiss = "!radius || _ws.expert || _ws.malformed || radius.authenticator.invalid == 1";
        self.tshark(secret, &["-Y", amiss])
    }

    pub fn codes(&self, secret: &[u8]) -> BTreeSet<u8> {
        let told = self.tshark(secret, &["-T", "fields", "-e", "radius.code"]);
        told.lines().map(|line| line.parse().unwrap()).collect()
    }

    fn tshark(&self, secret: &[u8], words: &[&str]) -> String {
        let head = [
            0xa1b2_c3d4_u32.to_be_bytes(),
            [0, 2, 0, 4],
            [0; 4],
            [0; 4],
            65_535_u32.to_be_bytes(),
            RAW.to_be_bytes(),
        ];
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [&head.concat()[..], &self.0.lock().unwrap()].concat()).unwrap();
        let secret = format!("radius.shared_secret:{}", std::str::from_utf8(secret).unwrap());
        let output = Command::new("tshark")
            .arg("-r")
            .arg(file.path())
            .args(["-o", &secret, "-o", "radius.validate_authenticator:TRUE"])
            .args(words)
            .output()
            .expect("tshark is missing: install it (tests/setup.sh test does)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => unreachable!("gates stand on the loopback of IPv4"),
    }
}
