//! Three namespaces for each gate: devices, gateway, internet.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use kavadam_domain::Mac;
use kavadam_lab::netns::Netns;
use kavadam_lab::traces;
use serde_json::Value;

use super::device::{LAN, ipv4, mac};
use super::peers::{self, Peer};
use super::pump::Way;

/// Devices that send at the same time.
pub const FLOWS: u32 = 4096;

/// A gate with what is on both sides of it, gone when dropped.
pub struct World {
    pub peer: Peer,
    pub sessions: u32,
    /// Seconds it took until everybody was online.
    pub filling: f64,
    clients: Netns,
    gateway: Netns,
    internet: Netns,
    lan: Mac,
    wan: Mac,
}

/// What one run came to.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// A packet, from the call to send it until it was delivered.
    pub nanos: f64,
}

impl World {
    /// Builds it and lets everybody online.
    pub fn build(peer: Peer, sessions: u32, number: usize) -> anyhow::Result<Self> {
        let name = |part: &str| format!("kvp{}-{number}{part}", std::process::id());
        let (clients, gateway, internet) = (
            Netns::new(&name("c"))?,
            Netns::new(&name("g"))?,
            Netns::new(&name("i"))?,
        );
        gateway.ip(&format!(
            "link add lan0 type veth peer name eth0 netns {}",
            clients.name()
        ))?;
        gateway.ip(&format!(
            "link add wan0 type veth peer name eth0 netns {}",
            internet.name()
        ))?;
        // The first device is real: it measures TCP.
        clients.ip(&format!("link set eth0 address {}", colons(mac(0))))?;
        clients.ip(&format!("address add {}/8 dev eth0", ipv4(0)))?;
        internet.ip("address add 198.51.100.1/24 dev eth0")?;
        internet.ip("address add 203.0.113.10/32 dev lo")?;
        gateway.ip(&format!("address add {LAN} dev lan0"))?;
        gateway.ip("address add 198.51.100.2/24 dev wan0")?;
        for (netns, link) in [
            (&clients, "eth0"),
            (&gateway, "lan0"),
            (&gateway, "wan0"),
            (&internet, "eth0"),
        ] {
            netns.ip(&format!("link set {link} up"))?;
        }
        clients.ip("route add default via 10.0.0.1")?;
        gateway.ip("route add default via 198.51.100.1")?;
        internet.ip("route add 10.0.0.0/8 via 198.51.100.2")?;
        gateway.run(
            "sysctl",
            &["-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0"],
        )?;
        for (netns, port) in [(&clients, "sport"), (&internet, "dport")] {
            let table = format!(
                "table netdev sink {{\n chain in {{\n  type filter hook ingress device eth0 priority 0; policy accept;\n  udp {port} 9 drop\n }}\n}}\n"
            );
            load(netns, &table)?;
        }
        let (lan, wan) = (address(&gateway, "lan0")?, address(&gateway, "wan0")?);
        let world = Self {
            peer,
            sessions,
            filling: 0.0,
            clients,
            gateway,
            internet,
            lan,
            wan,
        };
        let start = Instant::now();
        world.fill()?;
        Ok(Self {
            filling: start.elapsed().as_secs_f64(),
            ..world
        })
    }

    fn fill(&self) -> anyhow::Result<()> {
        if self.peer.is_ours() {
            let this = std::env::current_exe()?.display().to_string();
            let sessions = self.sessions.to_string();
            let mut words = vec!["fill", sessions.as_str()];
            words.extend((self.peer == Peer::KavadamShared).then_some("--share-uplink"));
            self.gateway.run(&this, &words)?;
        } else {
            self.tie()?;
        }
        if let Some(rules) = peers::rules(self.peer, self.sessions) {
            load(&self.gateway, &rules)?;
        }
        Ok(())
    }

    /// Ties the addresses of those who send to their devices, which at our gate every session does.
    fn tie(&self) -> anyhow::Result<()> {
        let apart = (self.sessions / FLOWS.min(self.sessions)).max(1);
        let mut lines = String::new();
        for number in (0..self.sessions).step_by(usize::try_from(apart)?) {
            let (ip, mac) = (ipv4(number), colons(mac(number)));
            writeln!(lines, "neighbour replace {ip} lladdr {mac} dev lan0 nud permanent")?;
        }
        let directory = traces::directory("kvp")?;
        let path = directory.path().join("neighbours");
        std::fs::write(&path, lines)?;
        self.gateway.run("ip", &["-batch", &path.display().to_string()])?;
        Ok(())
    }

    /// Frames that go in at the gateway are thrown away there, or no longer: what sending alone costs.
    pub fn stop_at_the_door(&self, is_stopped: bool) -> anyhow::Result<()> {
        if is_stopped {
            let chain = |link: &str| {
                format!(
                    " chain {link} {{\n  type filter hook ingress device {link} priority 0; policy accept;\n  ip version 4 drop\n }}\n"
                )
            };
            load(
                &self.gateway,
                &format!("table netdev door {{\n{}{}}}\n", chain("lan0"), chain("wan0")),
            )
        } else {
            self.gateway
                .run("nft", &["delete", "table", "netdev", "door"])
                .map(drop)
        }
    }

    /// Sends one way for so long. Everything must arrive, unless it is stopped at the door.
    pub fn run(&self, is_up: bool, millis: u64, is_stopped: bool) -> anyhow::Result<Run> {
        let flows = FLOWS.min(self.sessions);
        if !is_stopped {
            // Connections must be there, or answers would be refused.
            self.send(Way::Up, &["--once"])?;
        }
        let (way, end) = match (is_up, self.peer.is_transparent()) {
            (true, _) => (Way::Up, &self.internet),
            (false, true) => (Way::Down, &self.clients),
            (false, false) => (Way::DownTranslated, &self.clients),
        };
        let before = end.counter("eth0", "rx_packets")?;
        let told = self.send(way, &["--millis", &millis.to_string()])?;
        let arrived = end.counter("eth0", "rx_packets")? - before;
        let figure = |name: &str| {
            told.get(name)
                .and_then(Value::as_f64)
                .context("the sender told nothing")
        };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let share = arrived as f64 / figure("sent")?;
        ensure!(
            is_stopped || share > 0.999,
            "{} with {} sessions, {way:?}, {flows} flows: only {share:.3} of the packets came through",
            self.peer.name(),
            self.sessions
        );
        Ok(Run {
            nanos: figure("nanos")?,
        })
    }

    fn send(&self, way: Way, more: &[&str]) -> anyhow::Result<Value> {
        let (from, gateway) = match way {
            Way::Up => (&self.clients, self.lan),
            Way::Down | Way::DownTranslated => (&self.internet, self.wan),
        };
        let way = match way {
            Way::Up => "up",
            Way::Down => "down",
            Way::DownTranslated => "down-translated",
        };
        let this = std::env::current_exe()?.display().to_string();
        let (gateway, devices, flows) = (gateway.to_string(), self.sessions.to_string(), FLOWS.to_string());
        // On one processor, as a flow at a real machine is by its queue.
        let mut words = vec![
            "-c",
            "1",
            &this,
            "send",
            "--interface",
            "eth0",
            "--way",
            way,
            "--gateway",
            &gateway,
        ];
        words.extend(["--devices", &devices, "--flows", &flows]);
        words.extend(more);
        Ok(serde_json::from_str(self_said(from, &words)?.trim())?)
    }

    /// Of the first device, which measures TCP.
    pub const fn ends(&self) -> (&Netns, &Netns, &Netns) {
        (&self.clients, &self.gateway, &self.internet)
    }
}

fn self_said(netns: &Netns, words: &[&str]) -> anyhow::Result<String> {
    netns.run("taskset", words)
}

fn load(netns: &Netns, rules: &str) -> anyhow::Result<()> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(rules.as_bytes())?;
    netns.run("nft", &["-f", &file.path().display().to_string()]).map(drop)
}

fn address(netns: &Netns, link: &str) -> anyhow::Result<Mac> {
    let told = netns.run("cat", &[&format!("/sys/class/net/{link}/address")])?;
    told.trim().parse().ok().context("an interface without an address")
}

fn colons(mac: Mac) -> String {
    mac.to_string().replace('-', ":")
}
