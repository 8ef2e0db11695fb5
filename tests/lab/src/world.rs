//! The whole small world.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::flood::Nuisance;
use crate::gateway::{Gateway, certify};
use crate::internet::NAMES;
use crate::lines::{address, connect};
use crate::netns::{Netns, Process, sh};
use crate::operator::Delivered;
use crate::phone::Phone;
use crate::traces;
use crate::xlat::NAT64;

/// The web server.
pub const WEB: &str = "203.0.113.10";
/// The same over IPv6.
pub const WEB6: &str = "2001:db8:113::10";
/// A port of it that no gate captures.
pub const WEB_PORT: u16 = 8000;
/// A domain whose owner answers for it himself, and may put anything into his answers; and where he does.
pub const TUNNEL: &str = "tunnel.example.org";
/// See [`TUNNEL`].
pub const TUNNEL_SERVER: &str = "203.0.113.55";
/// A resolver that is not the gate's, and answers everything with [`FOREIGN_ANSWER`].
pub const FOREIGN_RESOLVER: &str = "203.0.113.54";
/// See [`FOREIGN_RESOLVER`].
pub const FOREIGN_ANSWER: &str = "203.0.113.99";

/// Namespaces, servers, the gateway. Everything is gone when it is dropped; fields are dropped in this order.
pub struct World {
    servers: Vec<Process>,
    /// kavadam and dnsmasq.
    pub gateway: Gateway,
    phones: u32,
    prefix: String,
    dir: PathBuf,
    lab: PathBuf,
    /// The gateway's namespace.
    pub gate: Netns,
    /// The internet's.
    pub internet: Netns,
    _temporary: tempfile::TempDir,
}

impl World {
    /// Builds and starts everything. `program` is kavadam, `lab` the lab's own binary, `extra` more configuration.
    ///
    /// # Errors
    /// No root, a tool or kernel feature is missing, or something did not come up.
    pub fn build(program: &Path, lab: &Path, extra: &str) -> anyhow::Result<Self> {
        Self::build_as("all-in-one", program, lab, extra)
    }

    /// The same with a kavadam of this role.
    ///
    /// # Errors
    /// As [`World::build`].
    pub fn build_as(role: &str, program: &Path, lab: &Path, extra: &str) -> anyhow::Result<Self> {
        let mut world = Self::without_gateway(role, program, lab, extra)?;
        address(&world.gate).context("cannot build the network")?;
        world.gateway.start(&world.gate)?;
        world.gateway.start_dnsmasq(&world.gate)?;
        Ok(world)
    }

    /// The same where the gateway's place is empty but for its two interfaces: neither has an address, and nothing runs.
    ///
    /// # Errors
    /// As [`World::build`].
    pub fn without_gateway(role: &str, program: &Path, lab: &Path, extra: &str) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("kv{}{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let temporary = traces::directory("kavadam-lab-")?;
        let dir = temporary.path().to_owned();
        let internet = Netns::new(&format!("{prefix}-net"))?;
        let gate = Netns::new(&format!("{prefix}-gw"))?;
        connect(&gate, &internet).context("cannot build the network")?;
        let mut world = Self {
            servers: Vec::new(),
            gateway: Gateway::new(program, &dir, role, extra)?,
            phones: 0,
            prefix,
            dir,
            lab: lab.to_owned(),
            gate,
            internet,
            _temporary: temporary,
        };
        world.start_internet()?;
        Ok(world)
    }

    fn start_internet(&mut self) -> anyhow::Result<()> {
        let log = self.dir.join("internet.log");
        let messages = self.messages_file().display().to_string();
        let web: Vec<String> = [80, WEB_PORT]
            .iter()
            .flat_map(|port| [format!("0.0.0.0:{port}"), format!("[{WEB6}]:{port}")])
            .collect();
        let web: Vec<&str> = std::iter::once("serve-web")
            .chain(web.iter().map(String::as_str))
            .collect();
        let mut servers = vec![
            self.lab_in(&self.internet, &web)?,
            self.lab_in(&self.internet, &["serve-sms", &messages])?,
            // QUIC, as far as a firewall can tell.
            self.lab_in(&self.internet, &["serve-echo", &format!("{WEB}:443")])?,
            self.lab_in(&self.internet, &["serve-echo", &format!("[{WEB6}]:443")])?,
        ];
        let path = |name: &str| self.dir.join(name).display().to_string();
        let (key, certificate) = (path("web.key"), path("web.pem"));
        certify("www.example.net", &key, &certificate)?;
        let tls = [
            "s_server",
            "-quiet",
            "-www",
            "-accept",
            "443",
            "-key",
            &key,
            "-cert",
            &certificate,
        ];
        servers.push(self.internet.start(&log, "openssl", &tls)?);
        let known = NAMES
            .iter()
            .flat_map(|name| [format!("/{name}/{WEB}"), format!("/{name}/{WEB6}")]);
        let known = known.map(|answer| format!("--address={answer}"));
        let delegated = format!("--server=/{TUNNEL}/{TUNNEL_SERVER}");
        // How devices find a translator (RFC 7050 §3).
        let nat64 = format!("--address=/ipv4only.arpa/{NAT64}192.0.0.170");
        servers.push(self.resolver("203.0.113.53", known.chain([delegated, nat64]))?);
        servers.push(self.resolver(FOREIGN_RESOLVER, [format!("--address=/#/{FOREIGN_ANSWER}")])?);
        self.servers.extend(servers);
        let is_up = until(Duration::from_secs(10), || {
            self.internet
                .run("curl", &["-s", "-m", "1", "-o", "/dev/null", &format!("http://{WEB}/")])
                .is_ok()
        });
        anyhow::ensure!(is_up, "the web server of the lab does not come up");
        Ok(())
    }

    fn resolver(&self, listen: &str, more: impl IntoIterator<Item = String>) -> anyhow::Result<Process> {
        let mut arguments: Vec<String> = ["-k", "--no-resolv", "--no-hosts", "--pid-file=", "--bind-interfaces"]
            .map(str::to_owned)
            .into();
        arguments.push(format!("--listen-address={listen}"));
        arguments.extend(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.internet
            .start(&self.dir.join("internet.log"), "dnsmasq", &arguments)
    }

    /// Starts the lab's own program in a namespace.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn lab_in(&self, netns: &Netns, words: &[&str]) -> anyhow::Result<Process> {
        netns.start(&self.dir.join("lab.log"), &self.lab.display().to_string(), words)
    }

    /// Runs the lab's own program in a namespace until it ends.
    ///
    /// # Errors
    /// What it said.
    pub fn ask_lab_in(&self, netns: &Netns, words: &[&str]) -> anyhow::Result<String> {
        netns.run(&self.lab.display().to_string(), words)
    }

    /// Lets a device, which has an address, send frames that nobody wants, until it is dropped.
    ///
    /// # Errors
    /// It has no address, or the sender does not start.
    pub fn flood(&self, attacker: &Phone, nuisance: Nuisance) -> anyhow::Result<Process> {
        let gateway = self.gate.run("cat", &["/sys/class/net/lan0/address"])?;
        let own = attacker.address()?;
        let mut words = vec!["flood", nuisance.word(), "--mac", attacker.mac(), "--ipv4", &own];
        words.extend(["--gateway", gateway.trim()]);
        self.lab_in(attacker.netns(), &words)
    }

    /// What the names of its namespaces begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn messages_file(&self) -> PathBuf {
        self.dir.join("messages")
    }

    /// Where the world keeps its files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A new phone on the Wi-Fi, without an address yet.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn phone(&mut self) -> anyhow::Result<Phone> {
        let gate = self.gate.name().to_owned();
        self.phone_at(&gate)
    }

    /// A new phone on the Wi-Fi of the gate in that namespace.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn phone_at(&mut self, gate: &str) -> anyhow::Result<Phone> {
        self.phone_on(gate, "lan0")
    }

    /// A new phone on that bridge of the gate in that namespace.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn phone_on(&mut self, gate: &str, bridge: &str) -> anyhow::Result<Phone> {
        self.phones += 1;
        let number = self.phones;
        let mac = format!("02:00:5e:00:00:{number:02x}");
        let phone = Phone::new(&format!("{}-p{number}", self.prefix), &mac, &self.dir)?;
        let own = phone.netns().name();
        let port = format!("ap{number}");
        sh(
            "ip",
            &[
                "link", "add", &port, "netns", gate, "type", "veth", "peer", "name", "eth0", "netns", own,
            ],
        )?;
        sh("ip", &["-n", gate, "link", "set", &port, "master", bridge, "up"])?;
        phone.netns().ip(&format!("link set eth0 address {mac} up"))?;
        Ok(phone)
    }

    /// Every message the operator delivered.
    #[must_use]
    pub fn messages(&self) -> Vec<Delivered> {
        let text = std::fs::read_to_string(self.messages_file()).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Waits for the message to a number that comes after `seen` earlier messages.
    ///
    /// # Errors
    /// None came in ten seconds.
    pub fn message(&self, number: &str, seen: usize) -> anyhow::Result<Delivered> {
        let mut found = None;
        until(Duration::from_secs(10), || {
            found = self
                .messages()
                .into_iter()
                .skip(seen)
                .find(|message| message.number == number);
            found.is_some()
        });
        found.context("no message came in ten seconds")
    }

    /// Makes the machine's own browser a phone: what it sends to the lab's Wi-Fi goes through a phone's namespace, which
    /// lends it address and MAC. Returns the address to open.
    ///
    /// # Errors
    /// The machine already has a route to these addresses, or cannot be connected.
    pub fn lend_browser(&mut self, phone: &Phone) -> anyhow::Result<String> {
        const WIFI: &str = "10.80.0.0/16";
        let taken = sh("ip", &["route", "show", "to", "root", WIFI])?;
        anyhow::ensure!(taken.is_empty(), "it already has a network {WIFI}");
        let port = format!("{}h", self.prefix);
        let own = phone.netns().name();
        traces::note(|traces| {
            traces.links.insert(port.clone());
        });
        sh(
            "ip",
            &[
                "link", "add", &port, "type", "veth", "peer", "name", "host0", "netns", own,
            ],
        )?;
        // The port goes with the phone's namespace, and the route with the port.
        sh("ip", &["addr", "add", "169.254.80.1/30", "dev", &port])?;
        sh("ip", &["link", "set", &port, "up"])?;
        phone.netns().ip("addr add 169.254.80.2/30 dev host0")?;
        phone.netns().ip("link set host0 up")?;
        phone.netns().run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
        for words in [
            "add table ip lend",
            "add chain ip lend post { type nat hook postrouting priority srcnat; }",
            "add rule ip lend post oifname eth0 masquerade",
        ] {
            phone.netns().run("nft", &[words])?;
        }
        sh("ip", &["route", "add", WIFI, "via", "169.254.80.2"])?;
        Ok("http://10.80.0.1:3990/prelogin".to_owned())
    }

    /// An administrator's command.
    ///
    /// # Errors
    /// What it said.
    pub fn admin(&self, words: &[&str]) -> anyhow::Result<String> {
        self.gateway.admin(&self.gate, words)
    }

    /// Sets the citizens' plan, in a time zone where it is about noon: nothing that is shown or tested falls on a period's boundary.
    ///
    /// # Errors
    /// What it said.
    pub fn set_plan(&self, settings: &[&str]) -> anyhow::Result<()> {
        let zone = noon_zone(std::time::UNIX_EPOCH.elapsed()?);
        let words = [&["plan", "set", "citizen", "--time-zone", &zone], settings].concat();
        self.admin(&words).map(drop)
    }

    /// An administrator's command, answered in JSON.
    ///
    /// # Errors
    /// What it said.
    pub fn admin_json(&self, words: &[&str]) -> anyhow::Result<serde_json::Value> {
        self.gateway.admin_json(&self.gate, words)
    }
}

/// Such as `Etc/GMT-5`, which is five hours ahead of UTC.
pub(crate) fn noon_zone(since_epoch: Duration) -> String {
    let hour = since_epoch.as_secs() / 3600 % 24;
    match 12_i64 - i64::try_from(hour).unwrap_or(0) {
        ahead @ 1.. => format!("Etc/GMT-{ahead}"),
        behind => format!("Etc/GMT+{}", -behind),
    }
}

/// Asks until it is so, or the patience is over.
pub fn until(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_noon_somewhere() {
        let zone = |hour: u64| noon_zone(Duration::from_secs(hour * 3600 + 1_799));
        assert_eq!(
            [0, 7, 12, 23].map(zone),
            ["Etc/GMT-12", "Etc/GMT-5", "Etc/GMT+0", "Etc/GMT+11"]
        );
    }
}
