//! A machine in small, for tests of what its administrator and its units do. Needs root.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `nobody`: somebody else than root.
pub const SOMEBODY: u32 = 65534;

/// The text of a unit.
pub fn unit(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name)).unwrap()
}

/// The values of a directive, in order.
pub fn values<'a>(unit: &'a str, directive: &str) -> Vec<&'a str> {
    let value = |line: &'a str| line.strip_prefix(directive)?.strip_prefix('=');
    unit.lines().filter_map(value).collect()
}

/// What a unit's capabilities are to setpriv.
pub fn bounding(unit: &str) -> String {
    let names = values(unit, "CapabilityBoundingSet")[0].split(' ');
    let kept = names.map(|name| format!(",+{}", name.strip_prefix("CAP_").unwrap().to_lowercase()));
    format!("--bounding-set=-all{}", kept.collect::<String>())
}

/// Who the unit runs as, and what it may do for all that, to setpriv: root in a test but where the unit says that nobody's files are its own.
fn user(unit: &str) -> String {
    if values(unit, "DynamicUser") != ["yes"] {
        return String::new();
    }
    let own = bounding(unit).replace("--bounding-set=", "");
    format!("--reuid={SOMEBODY} --regid={SOMEBODY} --clear-groups --inh-caps={own} --ambient-caps={own}")
}

/// A machine's directories in small: configuration of root's, state of somebody else's.
pub struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    pub fn new(extra: &str) -> Self {
        assert_eq!(
            fs::metadata("/proc/self").unwrap().uid(),
            0,
            "run this as root: it gives away capabilities"
        );
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| dir.path().join(name);
        // A clone may lie in a home that is closed to others. By a process of its own: a file that this one has open to write is, for a
        // moment, also open in whatever another test starts, and a file open to write cannot be started ("Text file busy").
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_kavadam"))
            .arg(at("kavadam"))
            .status();
        assert!(copied.unwrap().success());
        fs::create_dir(at("state")).unwrap();
        fs::set_permissions(at("state"), fs::Permissions::from_mode(0o700)).unwrap();
        chown(at("state"), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        let shown = dir.path().display();
        let config = format!(
            "state_dir = '{shown}/state'\n[gateway]\nlease_socket = '{shown}/run/lease.sock'\n\
             [gateway.dnsmasq]\nstate_dir = '{shown}/dnsmasq'\n{extra}"
        );
        fs::write(at("kavadam.toml"), config).unwrap();
        Self { dir }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Kavadam, run by root.
    pub fn kavadam(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.at("kavadam"));
        command
            .env_remove("KAVADAM_CONFIG")
            .arg("--config")
            .arg(self.at("kavadam.toml"))
            .args(words);
        command
    }

    /// Puts a file there that root alone reads.
    pub fn secret(&self, name: &str, content: &str) -> String {
        let path = self.at(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    /// Files of kavadam's directory that are not its own.
    pub fn strangers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.at("state")).unwrap().map(|entry| entry.unwrap());
        let foreign = entries.filter(|entry| entry.metadata().unwrap().uid() != SOMEBODY);
        foreign.map(|entry| entry.path()).collect()
    }

    /// What the unit starts, in a network namespace of its own, with the unit's capabilities and no more; then `after`.
    pub fn start(&self, unit: &str, before: &str, after: &str) -> Output {
        let config = self.at("kavadam.toml").display().to_string();
        let command = values(unit, "ExecStart")[0]
            .replace("/usr/bin/kavadam", &self.at("kavadam").display().to_string())
            .replace("/etc/kavadam/kavadam.toml", &config)
            // As systemd hands it over (`LoadCredential=`).
            .replace("%d/kavadam.toml", &config);
        let (set, user) = (bounding(unit), user(unit));
        let text = format!("set -e\n{before}\nsetpriv {set} {user} --no-new-privs {command} || exit $?\n{after}");
        Command::new("unshare")
            .args(["-n", "sh", "-c", &text])
            .output()
            .unwrap()
    }
}

pub fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
