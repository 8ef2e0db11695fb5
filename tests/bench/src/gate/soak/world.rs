//! Devices, gateway with its centre, and internet, each in a namespace.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use kavadam_domain::Mac;
use kavadam_lab::netns::{Netns, Process, sh};
use kavadam_lab::traces;
use kavadam_lab::world::until;
use tempfile::TempDir;

use super::traffic::PORTS;
use crate::cost;
use crate::device::{LAN, ipv4, mac};

const PATIENCE: Duration = Duration::from_secs(30);
const GATE: &str = "soak";

/// What is to be seen at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    pub at: Instant,
    /// Sessions, by the centre's record.
    pub online: u64,
    pub gateway_mib: u64,
    pub centre_mib: u64,
    /// Of the whole machine.
    pub slab_mib: u64,
    /// On processors, since the start.
    pub gateway_secs: f64,
    pub centre_secs: f64,
}

/// Fields are dropped in this order.
pub struct World {
    gateway_process: Process,
    centre: Process,
    _echo: Process,
    leases: UnixDatagram,
    clients: Netns,
    gateway: Netns,
    internet: Netns,
    lan: Mac,
    program: String,
    dir: TempDir,
}

impl World {
    /// Builds and starts it; so many devices are remembered.
    pub fn build(devices: u32) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("kavadam");
        ensure!(program.exists(), "{} is not built: run make soak", program.display());
        let program = program.display().to_string();
        let dir = traces::directory("kvs")?;
        let name = |part: &str| format!("kvs{}{part}", std::process::id());
        let (clients, gateway, internet) = (
            Netns::new(&name("c"))?,
            Netns::new(&name("g"))?,
            Netns::new(&name("i"))?,
        );
        connect(&clients, &gateway, &internet)?;
        let told = gateway.run("cat", &["/sys/class/net/lan0/address"])?;
        let lan = told.trim().parse().ok().context("an interface without an address")?;
        let this = std::env::current_exe()?.display().to_string();
        let echo = internet.start(&dir.path().join("echo.log"), &this, &["echo"])?;
        let centre = start_centre(&program, &gateway, dir.path(), devices)?;
        let config = configure_gateway(dir.path())?;
        let log = dir.path().join("gateway.log");
        let gateway_process = gateway.start(&log, &program, &["-c", &config, "run"])?;
        let socket = dir.path().join("lease.sock");
        let leases = UnixDatagram::unbound()?;
        ensure!(
            until(PATIENCE, || leases.connect(&socket).is_ok()),
            "the gateway does not start:\n{}",
            fs::read_to_string(&log).unwrap_or_default()
        );
        Ok(Self {
            gateway_process,
            centre,
            _echo: echo,
            leases,
            clients,
            gateway,
            internet,
            lan,
            program,
            dir,
        })
    }

    /// How long sessions last that begin from now on.
    pub fn set_session_time(&self, secs: u32) -> anyhow::Result<()> {
        set_plan(&self.program, self.dir.path(), secs)
    }

    /// The device loses its address and gets it again.
    pub fn lease(&self, device: u32) -> anyhow::Result<()> {
        for action in ["del", "add"] {
            let text = format!("{action} {} {}", colons(mac(device)), ipv4(device));
            self.leases
                .send(text.as_bytes())
                .context("the gateway takes no leases")?;
        }
        Ok(())
    }

    /// Devices that send until it is dropped.
    pub fn chatter(&self, devices: u32, rate: u32) -> anyhow::Result<Process> {
        let this = std::env::current_exe()?.display().to_string();
        let (lan, devices, rate) = (self.lan.to_string(), devices.to_string(), rate.to_string());
        let words = ["chatter", "--gateway", &lan, "--devices", &devices, "--rate", &rate];
        self.clients.start(&self.dir.path().join("chatter.log"), &this, &words)
    }

    pub fn is_running(&mut self) -> bool {
        self.gateway_process.is_running() && self.centre.is_running()
    }

    /// The ends of both logs.
    pub fn last_words(&self) -> String {
        let mut words = String::new();
        for log in ["gateway.log", "centre.log"] {
            let text = fs::read_to_string(self.dir.path().join(log)).unwrap_or_default();
            let skipped = text.lines().count().saturating_sub(5);
            text.lines().skip(skipped).for_each(|line| {
                // Writing to a String cannot fail.
                _ = writeln!(words, "{log}: {line}");
            });
        }
        words
    }

    pub fn look(&mut self) -> anyhow::Result<Sight> {
        const MIB: u64 = 1 << 20;
        let (gateway, centre) = (cost::cost(self.gateway_process.id())?, cost::cost(self.centre.id())?);
        let memory = fs::read_to_string("/proc/meminfo")?;
        let slab = memory.lines().find_map(|line| line.strip_prefix("SUnreclaim:"));
        let slab_kib: u64 = slab
            .and_then(|rest| rest.split_whitespace().next())
            .context("no SUnreclaim")?
            .parse()?;
        Ok(Sight {
            at: Instant::now(),
            online: self
                .query("SELECT COUNT(*) FROM session WHERE state = 'open'")?
                .parse()?,
            gateway_mib: gateway.resident / MIB,
            centre_mib: centre.resident / MIB,
            slab_mib: slab_kib / 1024,
            gateway_secs: gateway.cpu_secs,
            centre_secs: centre.cpu_secs,
        })
    }

    /// Octets of IP packets that arrived in the internet, and at the devices.
    pub fn crossed(&self) -> anyhow::Result<[u64; 2]> {
        // What is on its way arrives.
        std::thread::sleep(Duration::from_secs(1));
        let counted = |netns: &Netns| -> anyhow::Result<u64> {
            let told = netns.run("nft", &["list", "counter", "netdev", "count", "arrived"])?;
            let octets = told.split_whitespace().skip_while(|word| *word != "bytes").nth(1);
            Ok(octets.context("no counter")?.parse()?)
        };
        Ok([counted(&self.internet)?, counted(&self.clients)?])
    }

    /// Octets up and down that the centre has charged.
    pub fn recorded(&self) -> anyhow::Result<[u64; 2]> {
        let told = self.query("SELECT SUM(up_octets) || ' ' || SUM(down_octets) FROM session")?;
        let (up, down) = told.split_once(' ').context("no sums")?;
        Ok([up.parse()?, down.parse()?])
    }

    /// Elements and quotas of sessions, which all should be gone.
    pub fn left_in_kernel(&self) -> anyhow::Result<usize> {
        let told = self.gateway.run("nft", &["-j", "list", "ruleset"])?;
        let listing: serde_json::Value = serde_json::from_str(&told)?;
        let entries = listing.get("nftables").and_then(serde_json::Value::as_array);
        let of_sessions = [
            "auth4", "auth6", "lim_up", "lim_down", "total", "cnt_up", "cnt_down", "spent",
        ];
        let left = |entry: &serde_json::Value| -> usize {
            let set = entry.get("set").or_else(|| entry.get("map"));
            let is_of_sessions = set
                .and_then(|set| set.get("name")?.as_str())
                .is_some_and(|name| of_sessions.contains(&name));
            let elements = set.and_then(|set| set.get("elem")?.as_array()).map_or(0, Vec::len);
            usize::from(entry.get("quota").is_some()) + if is_of_sessions { elements } else { 0 }
        };
        Ok(entries.into_iter().flatten().map(left).sum())
    }

    fn query(&self, sql: &str) -> anyhow::Result<String> {
        let database = self.dir.path().join("kavadam.db").display().to_string();
        Ok(sh("sqlite3", &["-readonly", &database, sql])?.trim().to_owned())
    }
}

fn connect(clients: &Netns, gateway: &Netns, internet: &Netns) -> anyhow::Result<()> {
    for (link, far) in [("lan0", clients), ("wan0", internet)] {
        gateway.ip(&format!(
            "link add {link} type veth peer name eth0 netns {}",
            far.name()
        ))?;
        gateway.ip(&format!("link set {link} up"))?;
        far.ip("link set eth0 up")?;
    }
    gateway.ip(&format!("address add {LAN} dev lan0"))?;
    gateway.ip("address add 198.51.100.2/24 dev wan0")?;
    gateway.ip("route add default via 198.51.100.1")?;
    internet.ip("address add 198.51.100.1/24 dev eth0")?;
    internet.ip("address add 203.0.113.10/32 dev lo")?;
    gateway.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
    let (first, last) = (PORTS.start(), PORTS.end());
    // Nothing in the devices' namespace has their addresses: what came is counted and thrown away.
    for (netns, rule) in [
        (internet, format!("udp dport {first}-{last} counter name arrived")),
        (clients, format!("udp sport {first}-{last} counter name arrived drop")),
    ] {
        let table = format!(
            "table netdev count {{\n counter arrived {{ }}\n chain in {{\n  type filter hook ingress device eth0 priority 0; policy accept;\n  {rule}\n }}\n}}\n"
        );
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(table.as_bytes())?;
        netns.run("nft", &["-f", &file.path().display().to_string()])?;
    }
    Ok(())
}

fn start_centre(program: &str, netns: &Netns, dir: &Path, devices: u32) -> anyhow::Result<Process> {
    let state = dir.join("centre").display().to_string();
    let database = dir.join("kavadam.db").display().to_string();
    let config = format!(
        "role = \"centre\"\nstate_dir = \"{state}\"\n[database]\nurl = \"sqlite:{database}\"\n[log]\nlevel = \"warn\"\n\
         [sms]\nroute = \"log-nothing\"\n[portal]\nlisten = \"127.0.0.1:8081\"\npublic_url = \"http://127.0.0.1:8081\"\n\
         [radius]\nauth_listen = \"127.0.0.1:1812\"\nacct_listen = \"127.0.0.1:1813\"\n"
    );
    let path = path_of(dir, "centre.toml");
    fs::write(&path, config)?;
    let secret = secret(dir)?;
    let log = dir.join("centre.log");
    // The first start makes the tables and the master key.
    let mut process = netns.start(&log, program, &["-c", &path, "run"])?;
    wait_for_radius(netns, &log)?;
    process.terminate()?;
    set_plan(program, dir, 3600)?;
    for words in [
        "site set Town --plan citizen".to_owned(),
        format!(
            "nas set {GATE} --site Town --source 127.0.0.1/32 --secret-file {secret} --uam-secret-file {secret} --renews"
        ),
    ] {
        say(program, dir, &words)?;
    }
    let script = dir.join("devices.sql");
    fs::write(&script, remembered(devices)?)?;
    sh("sqlite3", &["-bail", &database, &format!(".read {}", script.display())])?;
    let process = netns.start(&log, program, &["-c", &path, "run"])?;
    wait_for_radius(netns, &log)?;
    Ok(process)
}

fn wait_for_radius(netns: &Netns, log: &Path) -> anyhow::Result<()> {
    let is_open = || {
        netns
            .run("cat", &["/proc/net/udp"])
            .is_ok_and(|told| told.contains(":0714 "))
    };
    ensure!(
        until(PATIENCE, is_open),
        "the centre does not start:\n{}",
        fs::read_to_string(log).unwrap_or_default()
    );
    Ok(())
}

fn say(program: &str, dir: &Path, words: &str) -> anyhow::Result<()> {
    let path = path_of(dir, "centre.toml");
    let words: Vec<&str> = words.split(' ').collect();
    sh(program, &[&["-c", path.as_str()], words.as_slice()].concat()).map(drop)
}

fn set_plan(program: &str, dir: &Path, session_secs: u32) -> anyhow::Result<()> {
    let words = format!(
        "plan set citizen --quota 1TB --period day --down 10Mbit --up 10Mbit --session-time {session_secs}s --idle-time none --devices 2 \
         --remember 14d --after-quota close"
    );
    say(program, dir, &words)
}

/// A subscriber and a remembered device for each number.
fn remembered(devices: u32) -> anyhow::Result<String> {
    let now = jiff::Timestamp::now().as_microsecond();
    let until = now + 14 * 86_400_000_000;
    let mut sql = "PRAGMA synchronous = OFF;\nBEGIN;\n".to_owned();
    for number in 0..devices {
        let (id, mac) = (number + 1, data_encoding::HEXLOWER.encode(&mac(number).0));
        writeln!(
            sql,
            "INSERT INTO subscriber (id, number, alias, language, created_at) VALUES ({id}, '{}', 'soak-{id}', 'en', {now});\n\
             INSERT INTO device (id, subscriber_id, mac, remembered_until, last_seen_at) VALUES ({id}, {id}, X'{mac}', {until}, {now});",
            7_000_000_000_u64 + u64::from(number)
        )?;
    }
    sql.push_str("COMMIT;\n");
    Ok(sql)
}

fn configure_gateway(dir: &Path) -> anyhow::Result<String> {
    let (secret, at) = (secret(dir)?, dir.display());
    let config = format!(
        "role = \"gateway\"\nstate_dir = \"{at}/gateway\"\n[log]\nlevel = \"warn\"\n\
         [gateway]\nnas_identifier = \"{GATE}\"\nlan_if = \"lan0\"\nwan_if = \"wan0\"\nlan4 = \"{LAN}\"\nlan6 = \"\"\n\
         lease_socket = \"{at}/lease.sock\"\nportal_url = \"http://127.0.0.1:8081\"\nuam_secret_file = \"{secret}\"\ncoa_listen = \"127.0.0.1:3799\"\n\
         [gateway.radius]\nsecret_file = \"{secret}\"\nauth_servers = [\"127.0.0.1:1812\"]\nacct_servers = [\"127.0.0.1:1813\"]\n\
         [gateway.dnsmasq]\nstate_dir = \"{at}/dnsmasq\"\nrange4 = [\"10.16.0.0\", \"10.31.255.255\"]\nlease_secs = 604800\n"
    );
    let path = path_of(dir, "gateway.toml");
    fs::write(&path, config)?;
    Ok(path)
}

fn secret(dir: &Path) -> anyhow::Result<String> {
    let path = path_of(dir, "secret");
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(b"a-secret-of-gate-and-centre")?;
    Ok(path)
}

fn path_of(dir: &Path, name: &str) -> String {
    PathBuf::from(dir).join(name).display().to_string()
}

fn colons(mac: Mac) -> String {
    mac.to_string().replace('-', ":")
}
