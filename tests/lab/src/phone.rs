//! A citizen's phone: a namespace with a MAC of its own, DHCP, and curl for a browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::html::{Form, Page};
use crate::netns::{Netns, Process};
use crate::traces;
use crate::world::until;

/// What udhcpc does with an address: as a phone would, no more.
const DHCP_SCRIPT: &str = "#!/bin/sh
[ \"$1\" = bound ] || exit 0
ip -4 addr flush dev \"$interface\"
ip -4 addr add \"$ip/$mask\" dev \"$interface\"
ip -4 route replace default via \"$router\"
echo \"nameserver $dns\" > \"$OWN_FILES/resolv.conf\"
printf '%s\\n%s\\n%s\\n' \"$ip\" \"$opt114\" \"$opt108\" > \"$RESULT\"
";

/// A phone.
pub struct Phone {
    netns: Netns,
    mac: String,
    dir: PathBuf,
}

/// What DHCP said.
#[derive(Debug, Clone)]
pub struct Lease {
    /// Address.
    pub address: String,
    /// Option 114: where the captive portal API is (RFC 8910).
    pub api: Option<String>,
    /// Option 108: for how many seconds who can do without IPv4 is to ask for none (RFC 8925).
    pub ipv6_only_secs: Option<u32>,
}

impl Phone {
    /// A phone whose `eth0` will be attached by the world.
    ///
    /// # Errors
    /// The namespace cannot be made.
    pub fn new(name: &str, mac: &str, dir: &Path) -> anyhow::Result<Self> {
        let dir = dir.join(name);
        fs::create_dir_all(&dir)?;
        let netns = Netns::new(name)?;
        fs::create_dir_all(traces::own_files(name))?;
        let mac = mac.to_owned();
        Ok(Self { netns, mac, dir })
    }

    /// Its namespace.
    #[must_use]
    pub const fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its hardware address.
    #[must_use]
    pub fn mac(&self) -> &str {
        &self.mac
    }

    /// Asks for an address.
    ///
    /// # Errors
    /// It got none.
    pub fn dhcp(&self) -> anyhow::Result<Lease> {
        self.ask_for_address(&[])
    }

    /// The same behind an access point that adds where it is (option 82, RFC 3046).
    ///
    /// # Errors
    /// It got none.
    pub fn dhcp_at(&self, remote: &str, circuit: &str) -> anyhow::Result<Lease> {
        let part = |kind: u8, id: &str| {
            let length = u8::try_from(id.len()).unwrap_or(u8::MAX);
            [&[kind, length][..], id.as_bytes()].concat()
        };
        let octets = [part(1, circuit), part(2, remote)].concat();
        let option = format!("0x52:{}", data_encoding::HEXLOWER.encode(&octets));
        self.ask_for_address(&["-x", &option])
    }

    /// Asks for an address by DHCP with the Client Identifier of another device, as its MAC makes it (RFC 2132 §9.14).
    ///
    /// # Errors
    /// It got none.
    pub fn ask_by_the_identifier_of(&self, other: &Self) -> anyhow::Result<Lease> {
        let id = other.mac().replace(':', "");
        self.ask_for_address(&["-C", "-x", &format!("0x3d:01{id}")])
    }

    /// Asks for its address again, by DHCP, as a client that calls itself this (Vendor Class Identifier).
    ///
    /// # Errors
    /// It got none.
    pub fn ask_as(&self, vendor_class: &str) -> anyhow::Result<Lease> {
        self.ask_for_address(&["-V", vendor_class])
    }

    /// Asks for an address by DHCP as a device of this name (RFC 2132 §3.14).
    ///
    /// # Errors
    /// It got none.
    pub fn ask_named(&self, name: &str) -> anyhow::Result<Lease> {
        self.ask_for_address(&["-x", &format!("hostname:{name}")])
    }

    fn ask_for_address(&self, more: &[&str]) -> anyhow::Result<Lease> {
        let (script, result) = (self.dir.join("udhcpc.sh"), self.dir.join("lease"));
        fs::write(&script, DHCP_SCRIPT)?;
        fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let output = self
            .netns
            .command("udhcpc")
            .args([
                "-q", "-n", "-f", "-t", "10", "-T", "1", "-i", "eth0", "-O", "114", "-O", "108",
            ])
            .args(more)
            .arg("-s")
            .arg(&script)
            .env("OWN_FILES", traces::own_files(self.netns.name()))
            .env("RESULT", &result)
            .output()?;
        ensure!(
            output.status.success(),
            "no address by DHCP: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = fs::read_to_string(&result).context("DHCP gave no address")?;
        let mut lines = text.lines().map(str::to_owned);
        let address = lines.next().context("DHCP gave no address")?;
        // udhcpc prints an option it does not know in hexadecimal.
        let api = lines.next().filter(|hex| !hex.is_empty()).map(|hex| from_hex(&hex));
        let ipv6_only_secs = lines.next().and_then(|hex| u32::from_str_radix(&hex, 16).ok());
        Ok(Lease {
            address,
            api,
            ipv6_only_secs,
        })
    }

    /// Its IPv4 address.
    ///
    /// # Errors
    /// It has none.
    pub fn address(&self) -> anyhow::Result<String> {
        let told = self.netns.run("ip", &["-4", "-o", "address", "show", "dev", "eth0"])?;
        let mut words = told.split_whitespace().skip_while(|word| *word != "inet");
        let address = words.nth(1).and_then(|net| net.split('/').next());
        Ok(address.context("the phone has no address")?.to_owned())
    }

    /// Asks this resolver from now on, whatever DHCP said.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_resolver(&self, address: &str) -> anyhow::Result<()> {
        let file = traces::own_files(self.netns.name()).join("resolv.conf");
        Ok(fs::write(file, format!("nameserver {address}\n"))?)
    }

    /// Waits for an IPv6 address by router advertisement.
    ///
    /// # Errors
    /// None came in fifteen seconds.
    pub fn slaac(&self) -> anyhow::Result<()> {
        let has_address = until(Duration::from_secs(15), || {
            let shown = self.netns.ip("-6 addr show dev eth0 scope global");
            shown.is_ok_and(|text| text.contains("inet6") && !text.contains("tentative"))
        });
        ensure!(has_address, "no IPv6 address by router advertisement");
        Ok(())
    }

    /// Waits for an IPv6 address that begins so, fit for use.
    ///
    /// # Errors
    /// None came in thirty seconds.
    pub fn slaac_in(&self, start: &str) -> anyhow::Result<String> {
        let mut found = None;
        until(Duration::from_secs(30), || {
            let shown = self.netns.ip("-6 -o addr show dev eth0 scope global");
            let shown = shown.unwrap_or_default();
            let mut usable = shown
                .lines()
                .filter(|line| !line.contains("tentative") && !line.contains("deprecated"));
            found = usable.find_map(|line| {
                let mut words = line.split_whitespace().skip_while(|word| *word != "inet6");
                let address = words.nth(1)?.split('/').next()?;
                address.starts_with(start).then(|| address.to_owned())
            });
            found.is_some()
        });
        found.with_context(|| format!("no IPv6 address in {start} by router advertisement"))
    }

    /// Starts to fetch an address; ended when dropped.
    ///
    /// # Errors
    /// curl cannot be started.
    pub fn download(&self, url: &str) -> anyhow::Result<Process> {
        let arguments = ["-sS", "-m", "120", "-o", "/dev/null", url];
        self.netns.start(&self.dir.join("curl.log"), "curl", &arguments)
    }

    /// Starts to send without end; ended when dropped.
    ///
    /// # Errors
    /// curl cannot be started.
    pub fn upload(&self, url: &str) -> anyhow::Result<Process> {
        let arguments = ["-sS", "-m", "120", "-o", "/dev/null", "-T", "/dev/zero", url];
        self.netns.start(&self.dir.join("curl.log"), "curl", &arguments)
    }

    /// curl inside the phone; fails as curl does.
    ///
    /// # Errors
    /// curl's message.
    pub fn curl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut all = vec!["-sS", "-m", "20"];
        all.extend(arguments);
        self.netns.run("curl", &all)
    }

    /// Opens an address as a browser without cookies does, following redirects.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn open(&self, url: &str) -> anyhow::Result<Page> {
        self.fetch(&[url])
    }

    /// Sends a form.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn submit(&self, form: &Form) -> anyhow::Result<Page> {
        let fields: Vec<String> = form
            .fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut arguments = Vec::new();
        for field in &fields {
            arguments.extend(["--data-urlencode", field]);
        }
        arguments.push(&form.action);
        self.fetch(&arguments)
    }

    fn fetch(&self, arguments: &[&str]) -> anyhow::Result<Page> {
        let mut all = vec!["-L", "--compressed", "-w", "\n%{http_code} %{url_effective}"];
        all.extend(arguments);
        let text = self.curl(&all)?;
        let (body, last) = text.rsplit_once('\n').context("curl said nothing")?;
        let (status, url) = last.split_once(' ').context("curl said nothing")?;
        Ok(Page {
            url: url.to_owned(),
            status: status.parse()?,
            body: body.to_owned(),
        })
    }

    /// The answer to an address, not followed: status, and where it redirects to.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn probe(&self, url: &str) -> anyhow::Result<(u16, String)> {
        let text = self.curl(&["-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", url])?;
        let (status, to) = text.split_once(' ').context("curl said nothing")?;
        Ok((status.parse()?, to.to_owned()))
    }
}

fn from_hex(text: &str) -> String {
    let octets = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes());
    octets
        .ok()
        .and_then(|octets| String::from_utf8(octets).ok())
        .unwrap_or_else(|| text.to_owned())
}
