//! A provider that delegates prefixes to the gateway (RFC 8415 §6.3): Kea in the internet, and beside our gateway a client that puts an address out
//! of what it is given on the LAN, such as dhcpcd or systemd-networkd.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::World;
use crate::netns::{Process, sh};

/// Before dhcpcd: what it keeps is kept out of the machine's sight, for there may be several worlds, and the machine's resolver out of its hands, whatever
/// its hooks do.
pub const BEFORE_DHCPCD: &str = "mkdir -p /run/dhcpcd /var/lib/dhcpcd && mount -t tmpfs tmpfs /run/dhcpcd && mount -t tmpfs tmpfs /var/lib/dhcpcd &&
touch /run/dhcpcd/resolver && mount --bind /run/dhcpcd/resolver /etc/resolv.conf";
/// Asks for a prefix and gives its first /64 to the LAN.
const CLIENT: &str = "dhcpcd -B -f \"$0\" wan0 & wait";
const CLIENT_CONFIG: &str = "duid
noipv6rs
ipv6only
allowinterfaces wan0
nohook resolv.conf, hostname, timezone, ntp.conf
interface wan0
  ia_pd 1 lan0/0/64
";

/// For IPv4 by DHCP, and to make an IPv6 address of: these advertisements do not send anybody to DHCP (neither M nor O, RFC 4861
/// §4.2), as many providers' do not.
const ROUTER: [&str; 9] = [
    "-k",
    "--port=0",
    "--pid-file=",
    "--interface=eth0",
    "--dhcp-authoritative",
    "--no-ping",
    "--dhcp-range=198.51.100.2,198.51.100.2,1h",
    "--enable-ra",
    "--dhcp-range=2001:db8:51::,ra-only",
];

/// The provider, gone when dropped.
pub struct Provider {
    config: PathBuf,
    server: Process,
    _beside: Process,
}

impl Provider {
    /// Starts it and dhcpcd; the gateway is given a /56 of this /48, such as `2001:db8:a000::`.
    ///
    /// # Errors
    /// A program is missing.
    pub fn delegating(world: &World, prefix: &str) -> anyhow::Result<Self> {
        let (config, server) = serve(world, prefix)?;
        let own = world.dir().join("dhcpcd.conf");
        fs::write(&own, CLIENT_CONFIG)?;
        let own = own.display().to_string();
        // In a world of their own all of its processes end with the first of them, the shell; else most would outlive it.
        let client = format!("{BEFORE_DHCPCD} && {CLIENT}");
        let words = ["--pid", "--fork", "--kill-child", "sh", "-c", &client, &own];
        let client = world
            .gate
            .start(&world.dir().join("dhcpcd.log"), "unshare", &words)
            .context("no client of DHCPv6-PD")?;
        Ok(Self {
            config,
            server,
            _beside: client,
        })
    }

    /// The same for a gateway that asks for everything by a client of its own: its IPv4 address is 198.51.100.2, it is told of the router by router
    /// advertisements, and has `2001:db8:51::2` by DHCP besides.
    ///
    /// # Errors
    /// A program is missing.
    pub fn with_router(world: &World, prefix: &str) -> anyhow::Result<Self> {
        let (config, server) = serve(world, prefix)?;
        let leases = format!("--dhcp-leasefile={}", world.dir().join("provider.leases").display());
        let words = [&ROUTER[..], &[leases.as_str()]].concat();
        let router = world
            .internet
            .start(&world.dir().join("provider.log"), "dnsmasq", &words)?;
        Ok(Self {
            config,
            server,
            _beside: router,
        })
    }

    /// Delegates out of another /48 from now on. The client asks again every three seconds.
    ///
    /// # Errors
    /// The server cannot be told.
    pub fn renumber(&self, world: &World, prefix: &str) -> anyhow::Result<()> {
        fs::write(&self.config, text(prefix))?;
        lead_back(world, prefix)?;
        sh("kill", &["-HUP", &self.server.id().to_string()]).map(drop)
    }
}

/// Kea, and the file that it reads.
fn serve(world: &World, prefix: &str) -> anyhow::Result<(PathBuf, Process)> {
    let config = world.dir().join("kea.json");
    fs::write(&config, text(prefix))?;
    lead_back(world, prefix)?;
    let pids = format!("KEA_PIDFILE_DIR={}", world.dir().display());
    let path = config.display().to_string();
    let arguments = ["KEA_LOCKFILE_DIR=none", &pids, "kea-dhcp6", "-c", &path];
    let server = world.internet.start(&world.dir().join("kea.log"), "env", &arguments)?;
    Ok((config, server))
}

/// A real provider's router learns this from the answers that it relays.
fn lead_back(world: &World, prefix: &str) -> anyhow::Result<()> {
    world
        .internet
        .ip(&format!("-6 route replace {prefix}/48 via 2001:db8:51::2"))
        .map(drop)
}

fn text(prefix: &str) -> String {
    serde_json::json!({ "Dhcp6": {
        "interfaces-config": { "interfaces": ["eth0"], "service-sockets-max-retries": 20, "service-sockets-retry-wait-time": 500 },
        "lease-database": { "type": "memfile", "persist": false },
        "server-id": { "type": "LL", "htype": 1, "identifier": "02005e00aa01", "persist": false },
        "renew-timer": 3, "rebind-timer": 6, "preferred-lifetime": 1800, "valid-lifetime": 3600,
        "subnet6": [{
            "subnet": "2001:db8:51::/64", "interface": "eth0",
            "pools": [{ "pool": "2001:db8:51::2/128" }],
            "pd-pools": [{ "prefix": prefix, "prefix-len": 48, "delegated-len": 56 }],
        }],
        "loggers": [{ "name": "kea-dhcp6", "severity": "INFO", "output_options": [{ "output": "stdout" }] }],
    }})
    .to_string()
}
