//! kavadam itself in its namespace, with a configuration and a database of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::netns::{Netns, Process, sh};
use crate::operator;
use crate::secrets::secret_file;
use crate::world::until;

/// With no more capabilities than its unit in `systemd/` leaves it; a clone may lie in a home that is closed to others, hence
/// `dac_read_search`.
const KAVADAM: [&str; 2] = ["--bounding-set=-all,+net_admin,+dac_read_search", "--no-new-privs"];
const DNSMASQ: [&str; 2] = [
    "--bounding-set=-all,+net_bind_service,+net_raw,+net_admin,+setgid,+dac_read_search",
    "--no-new-privs",
];
const ADVERTISER: [&str; 2] = ["--bounding-set=-all,+net_raw,+dac_read_search", "--no-new-privs"];

fn as_unit<'a>(privileges: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    privileges.iter().chain(command).copied().collect()
}

/// A certificate signed by itself, which phones are told to trust.
pub(crate) fn certify(host: &str, key: &str, certificate: &str) -> anyhow::Result<()> {
    let (subject, name) = (format!("/CN={host}"), format!("subjectAltName=DNS:{host}"));
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    let mut arguments: Vec<&str> = words.split(' ').collect();
    arguments.extend(["-subj", &subject, "-addext", &name, "-keyout", key, "-out", certificate]);
    sh("openssl", &arguments).context("cannot make a certificate")?;
    Ok(())
}

/// The name in the certificate of the captive portal API.
pub const API_HOST: &str = "gate.wifi.internal";

/// The gateway's software.
pub struct Gateway {
    program: PathBuf,
    config: PathBuf,
    dir: PathBuf,
    log: PathBuf,
    kavadam: Option<Process>,
    dnsmasq: Option<Process>,
    advertiser: Option<Process>,
}

impl Gateway {
    /// Writes the configuration; nothing runs yet. `extra` goes to the end of it: keys of the gateway, then more sections.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn new(program: &Path, dir: &Path, role: &str, extra: &str) -> anyhow::Result<Self> {
        let made = Self {
            program: program.to_owned(),
            config: dir.join("kavadam.toml"),
            dir: dir.to_owned(),
            log: dir.join("kavadam.log"),
            kavadam: None,
            dnsmasq: None,
            advertiser: None,
        };
        secret_file(dir, "password", operator::PASSWORD)?;
        secret_file(dir, "secure-key", operator::SECURE_KEY)?;
        let path = |name: &str| dir.join(name).display().to_string();
        certify(API_HOST, &path("api.key"), &path("api.pem"))?;
        fs::write(&made.config, made.text(role, extra))?;
        Ok(made)
    }

    /// The certificate that phones trust.
    #[must_use]
    pub fn authority(&self) -> String {
        self.dir.join("api.pem").display().to_string()
    }

    fn text(&self, role: &str, extra: &str) -> String {
        let dir = self.dir.display();
        let [template_en, template_ml] = operator::TEMPLATES;
        format!(
            "role = \"{role}\"\nstate_dir = \"{dir}/state\"\n\
             [sms]\nurl = \"http://203.0.113.20:8090/esms/sendsmsrequestDLT\"\nusername = \"{}\"\n\
             password_file = \"{dir}/password\"\nsecure_key_file = \"{dir}/secure-key\"\n\
             template_id_en = \"{template_en}\"\ntemplate_id_ml = \"{template_ml}\"\n\
             [gateway.api]\nhost_name = \"{API_HOST}\"\ncertificate_file = \"{dir}/api.pem\"\nkey_file = \"{dir}/api.key\"\n\
             [gateway.dnsmasq]\nstate_dir = \"{dir}/dnsmasq\"\nupstream = [\"203.0.113.53\"]\n\
             [gateway]\nlease_socket = \"{dir}/lease.sock\"\n{extra}",
            operator::USERNAME
        )
    }

    /// Where kavadam writes its log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts kavadam and waits until its pages answer.
    ///
    /// # Errors
    /// It does not come up; the end of its log is in the message.
    pub fn start(&mut self, netns: &Netns) -> anyhow::Result<()> {
        self.start_and_ask(netns, "http://10.80.0.1:3990/prelogin")
    }

    /// The same with a kavadam whose pages are elsewhere.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_and_ask(&mut self, netns: &Netns, url: &str) -> anyhow::Result<()> {
        let config = self.config.display().to_string();
        let program = self.program.display().to_string();
        let mut process = netns.start(
            &self.log,
            "setpriv",
            &as_unit(&KAVADAM, &[&program, "--config", &config, "run"]),
        )?;
        let is_up = until(Duration::from_secs(20), || {
            let answer = netns.output("curl", &["-s", "-m", "1", "-o", "/dev/null", url]);
            answer.is_ok_and(|output| output.status.success()) || !process.is_running()
        });
        if !is_up || !process.is_running() {
            bail!("kavadam does not come up:\n{}", self.last_words());
        }
        self.kavadam = Some(process);
        Ok(())
    }

    /// Starts DHCP and DNS, and router advertisements; again, if they run.
    ///
    /// # Errors
    /// They cannot be started.
    pub fn start_dnsmasq(&mut self, netns: &Netns) -> anyhow::Result<()> {
        self.dnsmasq = None;
        self.dnsmasq = Some(self.start_beside(netns, &DNSMASQ, &["dnsmasq"])?);
        self.start_advertiser(netns)
    }

    /// Starts router advertisements, anew if there are some.
    ///
    /// # Errors
    /// They cannot be started.
    pub fn start_advertiser(&mut self, netns: &Netns) -> anyhow::Result<()> {
        self.stop_advertiser();
        let state = self.dir.display().to_string();
        let words = ["advertise", "--state-dir", &state];
        self.advertiser = Some(self.start_beside(netns, &ADVERTISER, &words)?);
        Ok(())
    }

    /// Ends router advertisements.
    pub fn stop_advertiser(&mut self) {
        self.advertiser = None;
    }

    fn start_beside(&self, netns: &Netns, privileges: &[&str], words: &[&str]) -> anyhow::Result<Process> {
        let config = self.config.display().to_string();
        let program = self.program.display().to_string();
        netns.start(
            &self.dir.join(format!("{}.log", words.first().unwrap_or(&"beside"))),
            "setpriv",
            &as_unit(privileges, &[&[&program, "--config", &config], words].concat()),
        )
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines
            .iter()
            .skip(lines.len().saturating_sub(10))
            .copied()
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Ends kavadam as a power cut would.
    pub fn kill(&mut self) {
        self.kavadam = None;
    }

    /// Asks kavadam to end, and waits.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.kavadam.as_mut().map_or(Ok(()), Process::terminate)?;
        self.kavadam = None;
        Ok(())
    }

    /// Changes words in the configuration, and tells kavadam to look.
    ///
    /// # Errors
    /// The words are not in it, or kavadam does not run.
    pub fn reload_with(&self, before: &str, after: &str) -> anyhow::Result<()> {
        self.amend(before, after)?;
        let process = self.kavadam.as_ref().context("kavadam does not run")?;
        sh("kill", &["-HUP", &process.id().to_string()]).map(drop)
    }

    /// Changes words in the configuration, for the next start.
    ///
    /// # Errors
    /// The words are not in it.
    pub fn amend(&self, before: &str, after: &str) -> anyhow::Result<()> {
        let text = fs::read_to_string(&self.config)?;
        anyhow::ensure!(text.contains(before), "the configuration has no {before}");
        Ok(fs::write(&self.config, text.replacen(before, after, 1))?)
    }

    /// Whether kavadam runs.
    pub fn is_running(&mut self) -> bool {
        self.kavadam.as_mut().is_some_and(Process::is_running)
    }

    /// An administrator's command.
    ///
    /// # Errors
    /// What the command said.
    pub fn admin(&self, netns: &Netns, words: &[&str]) -> anyhow::Result<String> {
        let config = self.config.display().to_string();
        let mut arguments = vec!["--config", config.as_str()];
        arguments.extend(words);
        netns.run(&self.program.display().to_string(), &arguments)
    }

    /// What `kavadam check` says, problems or not.
    #[must_use]
    pub fn check(&self, netns: &Netns) -> String {
        let config = self.config.display().to_string();
        let told = netns.output(&self.program.display().to_string(), &["--config", &config, "check"]);
        told.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }

    /// An administrator's command with `--json`.
    ///
    /// # Errors
    /// What the command said.
    pub fn admin_json(&self, netns: &Netns, words: &[&str]) -> anyhow::Result<Value> {
        let mut words = words.to_vec();
        words.push("--json");
        Ok(serde_json::from_str(&self.admin(netns, &words)?)?)
    }
}
