//! More gates of ours at one internet, and a centre of ours in it that they all ask.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::World;
use crate::gateway::Gateway;
use crate::netns::{Netns, sh};
use crate::secrets::secret_file;
use crate::world::noon_zone;

/// Where the centre is.
pub const CENTRE: &str = "203.0.113.30";
const RADIUS_SECRET: &str = "a secret of gates and centre";
const UAM_SECRET: &str = "a secret of gates and portal";

/// A centre in the internet of a world whose gate is at it.
pub struct Centre {
    kavadam: Gateway,
}

impl Centre {
    /// Starts it, with a plan for citizens and a site.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(world: &World, program: &Path, plan: &[&str]) -> anyhow::Result<Self> {
        let dir = world.dir().join("centre");
        fs::create_dir(&dir)?;
        world.internet.ip(&format!("addr add {CENTRE}/32 dev lo"))?;
        let config = format!(
            "[radius]\nauth_listen = \"{CENTRE}:1812\"\nacct_listen = \"{CENTRE}:1813\"\n\
             [portal]\nlisten = \"{CENTRE}:8081\"\npublic_url = \"http://{CENTRE}:8081\"\n"
        );
        let mut kavadam = Gateway::new(program, &dir, "centre", &config)?;
        kavadam.start_and_ask(&world.internet, &format!("http://{CENTRE}:8081/"))?;
        let centre = Self { kavadam };
        let zone = noon_zone(std::time::UNIX_EPOCH.elapsed()?);
        let settings = [&["plan", "set", "citizen", "--time-zone", &zone], plan].concat();
        centre.admin(world, &settings)?;
        centre.admin(world, &["site", "set", "Town", "--plan", "citizen"])?;
        Ok(centre)
    }

    /// Makes a gate known that asks from this address.
    ///
    /// # Errors
    /// What the command said.
    pub fn know(&self, world: &World, gate: &str, source: &str) -> anyhow::Result<()> {
        self.know_at(world, "Town", gate, source, &[])
    }

    /// Makes a gate known at this site, with more settings.
    ///
    /// # Errors
    /// What the command said.
    pub fn know_at(&self, world: &World, site: &str, gate: &str, source: &str, more: &[&str]) -> anyhow::Result<()> {
        let (radius, uam) = secrets(world.dir(), gate)?;
        let source = format!("{source}/32");
        let words = [
            "nas",
            "set",
            gate,
            "--site",
            site,
            "--source",
            &source,
            "--secret-file",
            &radius,
            "--uam-secret-file",
            &uam,
            "--renews",
        ];
        self.admin(world, &[&words, more].concat()).map(drop)
    }

    /// An administrator's command.
    ///
    /// # Errors
    /// What it said.
    pub fn admin(&self, world: &World, words: &[&str]) -> anyhow::Result<String> {
        self.kavadam.admin(&world.internet, words)
    }

    /// The sessions, the newest first.
    ///
    /// # Errors
    /// What the command said.
    pub fn sessions(&self, world: &World) -> anyhow::Result<Vec<Value>> {
        let listed = self.kavadam.admin_json(&world.internet, &["session", "list"])?;
        Ok(listed.as_array().cloned().unwrap_or_default())
    }
}

/// What a gate of ours at the address `own` needs to be at the [`Centre`], from where orders come to it as from `orders_from`.
///
/// # Errors
/// The secrets cannot be written.
pub fn config(dir: &Path, gate: &str, own: &str, orders_from: &str) -> anyhow::Result<String> {
    let (radius, uam) = secrets(dir, gate)?;
    Ok(format!(
        "nas_identifier = \"{gate}\"\nportal_url = \"http://{CENTRE}:8081\"\nwalled_garden = [\"{CENTRE}\"]\nuam_secret_file = \"{uam}\"\n\
         coa_listen = \"{own}:3799\"\n\
         [gateway.radius]\nsecret_file = \"{radius}\"\nauth_servers = [\"{CENTRE}:1812\"]\n\
         acct_servers = [\"{CENTRE}:1813\"]\norder_sources = [\"{orders_from}/32\"]\n"
    ))
}

/// Files with the secrets of RADIUS, another for each gate, and of the portal.
///
/// # Errors
/// They cannot be written.
pub fn secrets(dir: &Path, gate: &str) -> anyhow::Result<(String, String)> {
    let radius = format!("{RADIUS_SECRET}, {gate}");
    Ok((
        secret_file(dir, &format!("radius-{gate}.secret"), &radius)?,
        secret_file(dir, "branch-uam.secret", UAM_SECRET)?,
    ))
}

/// Another gate of ours at the internet of a world, over IPv4.
pub struct Branch {
    /// kavadam and dnsmasq.
    pub gateway: Gateway,
    /// Its namespace.
    pub gate: Netns,
}

impl Branch {
    /// The address of the gate of that number, from 0.
    #[must_use]
    pub fn address(number: u8) -> String {
        format!("192.0.2.{}", 4 * number + 2)
    }

    /// The address of the internet as that gate sees it.
    #[must_use]
    pub fn next_hop(number: u8) -> String {
        format!("192.0.2.{}", 4 * number + 1)
    }

    /// Builds and starts it.
    ///
    /// # Errors
    /// The network cannot be built, or something does not come up.
    pub fn start(world: &World, program: &Path, number: u8, config: &str) -> anyhow::Result<Self> {
        let gate = Netns::new(&format!("{}-b{number}", world.prefix()))?;
        let far = format!("branch{number}");
        let (own, internet) = (gate.name(), world.internet.name());
        let link = [
            "link", "add", "wan0", "netns", own, "type", "veth", "peer", "name", &far, "netns", internet,
        ];
        sh("ip", &link)?;
        let (address, next_hop) = (Self::address(number), Self::next_hop(number));
        world.internet.ip(&format!("addr add {next_hop}/30 dev {far}"))?;
        world.internet.ip(&format!("link set {far} up"))?;
        for words in [
            "link add lan0 type bridge",
            "link set lan0 up",
            "link set wan0 up",
            "addr add 10.80.0.1/16 dev lan0",
            &format!("addr add {address}/30 dev wan0"),
            &format!("route add default via {next_hop}"),
        ] {
            gate.ip(words)?;
        }
        gate.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
        let dir = world.dir().join(format!("branch{number}"));
        fs::create_dir(&dir)?;
        let config = format!("lan6 = \"\"\n{config}");
        let mut gateway = Gateway::new(program, &dir, "gateway", &config)?;
        gateway.start(&gate)?;
        gateway.start_dnsmasq(&gate)?;
        Ok(Self { gateway, gate })
    }
}

/// A second LAN of a world's own gate, with a gate of its own: another bridge and another process in the same namespace.
pub struct SecondLan {
    /// kavadam and dnsmasq.
    pub gateway: Gateway,
}

impl SecondLan {
    /// Its interface.
    pub const INTERFACE: &str = "lan1";

    /// Builds and starts it. `config` is as for [`Branch::start`], and orders come to port 3798.
    ///
    /// # Errors
    /// The network cannot be built, or something does not come up.
    pub fn start(world: &World, program: &Path, config: &str) -> anyhow::Result<Self> {
        let lan = Self::INTERFACE;
        for words in [
            &format!("link add {lan} type bridge"),
            &format!("link set {lan} up"),
            &format!("addr add 10.81.0.1/16 dev {lan}"),
        ] {
            world.gate.ip(words)?;
        }
        let dir = world.dir().join(lan);
        fs::create_dir(&dir)?;
        let config = format!(
            "lan_if = \"{lan}\"\nlan4 = \"10.81.0.1/16\"\nlan6 = \"\"\nother_lans = [\"lan0=kavadam\"]\ntable = \"kavadam-{lan}\"\n{}",
            config.replace(":3799", ":3798")
        );
        let mut gateway = Gateway::new(program, &dir, "gateway", &config)?;
        gateway.amend("[gateway.api]\n", "[gateway.api]\nlisten = \"10.81.0.1:8443\"\n")?;
        let range = "[gateway.dnsmasq]\nrange4 = [\"10.81.1.0\", \"10.81.254.255\"]\n";
        gateway.amend("[gateway.dnsmasq]\n", range)?;
        gateway.start_and_ask(&world.gate, "http://10.81.0.1:3990/prelogin")?;
        gateway.start_dnsmasq(&world.gate)?;
        Ok(Self { gateway })
    }
}
