//! Whether anybody tells devices of the router.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _};
use kavadam_gateway::GatewayConfig;
use kavadam_gateway::config::Advertiser;
use kavadam_gateway::dnsmasq::ADVERTISED_BY_US;

use super::Findings;
use crate::cli::{Cli, Command};
use crate::config::{Config, DEFAULT_PATH};

pub(super) fn look(config: &Config, gateway: &GatewayConfig, findings: &mut Findings) {
    if let (Some(wait), Some(nat64)) = (gateway.ipv6_only_wait, gateway.nat64) {
        findings.note(&format!(
            "gateway.ipv6_only_preferred: devices that can do without IPv4 ask for none for {} s, and reach the rest of it by the translator behind {nat64} alone",
            wait.as_secs()
        ));
    }
    let Some(lan6) = gateway.lan6 else { return };
    if lan6.prefix_len() != 64 {
        findings.unsure(&format!(
            "gateway.lan6: of a prefix of {} bits devices make no addresses, of 64 alone (RFC 4862, RFC 2464)",
            lan6.prefix_len()
        ));
    }
    match gateway.advertiser {
        Advertiser::Dnsmasq => findings.note(
            "router advertisements are dnsmasq's: devices without DHCPv6 (Android) learn of neither the captive portal nor a translator",
        ),
        Advertiser::Others => findings.note("router advertisements are none of ours (gateway.router_advertisements)"),
        Advertiser::Kavadam => look_for_ours(config, gateway, findings),
    }
}

fn look_for_ours(config: &Config, gateway: &GatewayConfig, findings: &mut Findings) {
    let dnsmasq_conf = config.file.gateway.dnsmasq.state_dir.join("dnsmasq.conf");
    let running: Vec<Running> = processes().filter(Running::is_in_our_network).collect();
    let advertisers = running.iter().filter_map(Running::advertises_at);
    let (known, unknown): (Vec<_>, Vec<_>) = advertisers.partition(Result::is_ok);
    let mut dnsmasqs = running.iter().filter_map(|one| one.serves_by(&dnsmasq_conf));
    if known.into_iter().flatten().any(|interface| interface == gateway.lan_if) {
        findings.good("router advertisements are sent by kavadam, which runs");
    } else if !unknown.is_empty() {
        findings.unsure("router advertisements: run the check as root to know for which LAN they are sent");
    } else {
        match dnsmasqs.next() {
            None => findings.note("router advertisements are not sent yet: kavadam-advertise does not run"),
            Some(Err(_)) => findings.unsure("router advertisements: run the check as root to know"),
            Some(Ok(text)) if !text.lines().any(|line| line == ADVERTISED_BY_US) => findings.note(
                "router advertisements are not kavadam's until kavadam-dnsmasq is restarted: it was started with another configuration, or by an older version",
            ),
            Some(Ok(_)) => findings.bad(
                "nobody sends router advertisements: devices get no IPv6, although DHCP and DNS run",
                "systemctl restart kavadam-dnsmasq (or kavadam-dnsmasq@…), whose unit starts kavadam-advertise too; by hand: kavadam advertise",
            ),
        }
    }
}

/// A process, as far as it may be seen.
struct Running {
    /// Of `/proc`.
    dir: PathBuf,
    name: String,
    words: Vec<String>,
}

impl Running {
    fn is_in_our_network(&self) -> bool {
        let own = fs::read_link("/proc/self/ns/net").ok();
        // Whose network may not be seen is taken for a part of ours.
        fs::read_link(self.dir.join("ns/net")).map_or(true, |its| Some(its) == own)
    }

    /// The file that the process calls by this name.
    fn file(&self, path: &Path) -> PathBuf {
        match path.strip_prefix("/") {
            Ok(below) => self.dir.join("root").join(below),
            Err(_) => self.dir.join("cwd").join(path),
        }
    }

    /// The interface at which it advertises, if it does and may be looked into.
    fn advertises_at(&self) -> Option<io::Result<String>> {
        let environment = || fs::read(self.dir.join("environ"));
        let path = (self.name == "kavadam").then(|| advertises_by(&self.words, environment))??;
        let read = |path: PathBuf| Config::examine(&self.file(&path)).map_err(|problem| io::Error::other(problem.text));
        Some(path.and_then(read).map(|(config, _)| config.file.gateway.lan_if))
    }

    /// What dnsmasq was started with, if this is the one of that file, and it may be read.
    fn serves_by(&self, conf: &Path) -> Option<io::Result<String>> {
        let mut files = self
            .words
            .iter()
            .filter_map(|word| word.strip_prefix("--conf-file=").map(Path::new));
        let own = (self.name == "dnsmasq").then(|| files.find(|file| *file == conf))??;
        Some(fs::read_to_string(self.file(own)))
    }
}

/// By which configuration kavadam advertises, if it is that which these words have it do.
fn advertises_by(words: &[String], environment: impl FnOnce() -> io::Result<Vec<u8>>) -> Option<io::Result<PathBuf>> {
    let matches = Cli::command().try_get_matches_from(words).ok()?;
    let is_told = matches.value_source("config") == Some(ValueSource::CommandLine);
    let cli = Cli::from_arg_matches(&matches).ok()?;
    if !matches!(cli.command, Command::Advertise { .. }) {
        return None;
    }
    if is_told {
        return Some(Ok(cli.config));
    }
    Some(environment().map(|environment| {
        let mut settings = environment.split(|octet| *octet == 0);
        let path = settings.find_map(|setting| setting.strip_prefix(b"KAVADAM_CONFIG="));
        path.map_or_else(|| DEFAULT_PATH.into(), |path| OsStr::from_bytes(path).into())
    }))
}

fn processes() -> impl Iterator<Item = Running> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let read = |entry: fs::DirEntry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let dir = entry.path();
        let words = fs::read(dir.join("cmdline")).ok()?;
        let words = words.strip_suffix(&[0]).unwrap_or(&words).split(|octet| *octet == 0);
        Some(Running {
            name: fs::read_to_string(dir.join("comm")).ok()?.trim().to_owned(),
            words: words.map(|word| String::from_utf8_lossy(word).into_owned()).collect(),
            dir,
        })
    };
    entries.filter_map(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(line: &str, environment: &str) -> Option<PathBuf> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        advertises_by(&words, || Ok(environment.as_bytes().to_vec()))
            .transpose()
            .unwrap()
    }

    #[test]
    fn who_advertises_by_which_file_is_read_as_kavadam_reads_it() {
        let file = |path: &str| Some(PathBuf::from(path));
        for line in [
            "kavadam --config /x/lan1.toml advertise",
            "/usr/bin/kavadam --config=/x/lan1.toml advertise",
            "kavadam advertise --state-dir /y -c /x/lan1.toml",
            "kavadam -c/x/lan1.toml advertise",
        ] {
            assert_eq!(by(line, "KAVADAM_CONFIG=/z"), file("/x/lan1.toml"), "{line}");
        }
        assert_eq!(by("kavadam advertise", "A=b\0KAVADAM_CONFIG=/z"), file("/z"));
        assert_eq!(by("kavadam advertise", "A=b"), file(DEFAULT_PATH));
        assert_eq!(by("kavadam --config lan1.toml advertise", ""), file("lan1.toml"));
        for line in [
            "kavadam run",
            "kavadam -c advertise run",
            "kavadam",
            "kavadam advertise nonsense",
        ] {
            assert_eq!(by(line, ""), None, "{line}");
        }
    }

    #[test]
    fn a_process_is_looked_at_where_it_sees_files() {
        let own = processes()
            .find(|one| one.dir.ends_with(std::process::id().to_string()))
            .unwrap();
        assert!(own.is_in_our_network());
        assert!(own.words[0].contains("kavadam"), "{:?}", own.words);
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("dnsmasq.conf");
        fs::write(&there, "port=0\n").unwrap();
        let dnsmasq = |word: String| Running {
            name: "dnsmasq".into(),
            words: vec!["dnsmasq".into(), word],
            dir: own.dir.clone(),
        };
        let by = |word: String, conf| dnsmasq(word).serves_by(conf).map(Result::ok);
        let text = by(format!("--conf-file={}", there.display()), &there);
        assert_eq!(text, Some(Some("port=0\n".into())));
        assert_eq!(by("--conf-file=/etc/dnsmasq.conf".into(), &there), None);
        let gone = Path::new("/nowhere/dnsmasq.conf");
        assert_eq!(by(format!("--conf-file={}", gone.display()), gone), Some(None));
    }
}
