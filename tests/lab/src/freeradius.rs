//! FreeRADIUS as Debian configures it, with clients, users and servers of ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::netns::{Netns, Process, sh};
use crate::world::until;

/// What Debian's package brings.
const STOCK: &str = "/etc/freeradius/3.0";

/// A copy of the stock configuration, and later the server.
pub struct FreeRadius {
    dir: PathBuf,
    server: Option<Process>,
}

impl FreeRadius {
    /// Copies the stock configuration into `dir`, which must not exist. Nothing runs yet.
    ///
    /// # Errors
    /// FreeRADIUS is not installed, or its configuration is not the one known.
    pub fn stock(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.display().to_string();
        sh("cp", &["-a", STOCK, &path]).context("FreeRADIUS is missing: install freeradius")?;
        let made = Self {
            dir: dir.to_owned(),
            server: None,
        };
        fs::create_dir_all(dir.join("log"))?;
        for (from, to) in [
            ("logdir = /var/log/freeradius", format!("logdir = {path}/log")),
            ("raddbdir = /etc/freeradius/3.0", format!("raddbdir = {path}")),
            (
                "run_dir = ${localstatedir}/run/${name}",
                format!("run_dir = {path}/log"),
            ),
            ("user = freerad\n", "user = root\n".to_owned()),
            ("group = freerad\n", "group = root\n".to_owned()),
        ] {
            made.replace("radiusd.conf", from, &to)?;
        }
        Ok(made)
    }

    /// Has it sign its answers, as those from 3.2.5 on do by themselves: a client that knows of `BlastRADIUS` takes no others.
    ///
    /// # Errors
    /// Its configuration is not the one known.
    pub fn sign_answers(&self) -> anyhow::Result<()> {
        const SIGN: &str = "update reply {\n&Message-Authenticator := 0x00\n}\n";
        for section in ["\npost-auth {\n", "\tPost-Auth-Type REJECT {\n"] {
            self.replace("sites-available/default", section, &format!("{section}{SIGN}"))?;
        }
        Ok(())
    }

    /// Has it listen on this port and, for accounting, on the next.
    ///
    /// # Errors
    /// Its configuration is not the one known.
    pub fn listen(&self, port: u16) -> anyhow::Result<()> {
        const PORT: &str = "\n\tport = 0\n";
        let path = self.dir.join("sites-available/default");
        let mut text = fs::read_to_string(&path)?;
        // Authentication and accounting over IPv4, then over IPv6.
        for port in [port, port + 1, port, port + 1] {
            ensure!(text.contains(PORT), "less than four ports in {}", path.display());
            text = text.replacen(PORT, &format!("\n\tport = {port}\n"), 1);
        }
        Ok(fs::write(path, text)?)
    }

    /// Where its configuration is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Replaces a text of a file of its configuration, wherever it stands there.
    ///
    /// # Errors
    /// It does not stand there.
    pub fn replace(&self, file: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let path = self.dir.join(file);
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(from), "no `{from}` in {}", path.display());
        Ok(fs::write(path, text.replace(from, to))?)
    }

    /// Writes a file of its configuration in place of the stock one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.dir.join(file), text)?)
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It does not come up; what it said is in the message.
    pub fn start(&mut self, netns: &Netns) -> anyhow::Result<()> {
        let said = self.dir.join("log/said");
        let dir = self.dir.display().to_string();
        let mut server = netns.start(&said, "freeradius", &["-f", "-l", "stdout", "-d", &dir])?;
        until(Duration::from_secs(20), || {
            self.said().contains("Ready to process requests") || !server.is_running()
        });
        ensure!(server.is_running(), "FreeRADIUS does not come up:\n{}", self.said());
        self.server = Some(server);
        Ok(())
    }

    /// What it said of itself since the start.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.dir.join("log/said")).unwrap_or_default()
    }

    /// What it wrote into its detail files about accounting, of all clients and days.
    #[must_use]
    pub fn detail(&self) -> String {
        let pattern = format!("cat {}/log/radacct/*/detail-*", self.dir.display());
        sh("sh", &["-c", &pattern]).unwrap_or_default()
    }
}
