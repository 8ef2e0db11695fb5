//! The units of `systemd/`: that systemd takes them, and that what they start works with no more than they grant. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const UNITS: [&str; 3] = ["kavadam.service", "kavadam-closed.service", "kavadam-dnsmasq.service"];
/// `nobody`: somebody else than root.
const SOMEBODY: u32 = 65534;

fn unit(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name)).unwrap()
}

/// The values of a directive, in order.
fn values<'a>(unit: &'a str, directive: &str) -> Vec<&'a str> {
    let value = |line: &'a str| line.strip_prefix(directive)?.strip_prefix('=');
    unit.lines().filter_map(value).collect()
}

/// What a unit's capabilities are to setpriv.
fn bounding(unit: &str) -> String {
    let names = values(unit, "CapabilityBoundingSet")[0].split(' ');
    let kept = names.map(|name| format!(",+{}", name.strip_prefix("CAP_").unwrap().to_lowercase()));
    format!("--bounding-set=-all{}", kept.collect::<String>())
}

/// A machine's directories in small: configuration of root's, state of somebody else's.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new(extra: &str) -> Self {
        assert_eq!(
            fs::metadata("/proc/self").unwrap().uid(),
            0,
            "run this as root: it gives away capabilities"
        );
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| dir.path().join(name);
        // A clone may lie in a home that is closed to others.
        fs::copy(env!("CARGO_BIN_EXE_kavadam"), at("kavadam")).unwrap();
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

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the unit starts, in a network namespace of its own, with the unit's capabilities and no more; then `after`.
    fn start(&self, unit: &str, before: &str, after: &str) -> Output {
        let command = values(unit, "ExecStart")[0];
        let command = command
            .replace("/usr/bin/kavadam", &self.at("kavadam").display().to_string())
            .replace(
                "/etc/kavadam/kavadam.toml",
                &self.at("kavadam.toml").display().to_string(),
            );
        let set = bounding(unit);
        let text = format!("{before}\nsetpriv {set} --no-new-privs {command} || exit $?\n{after}");
        Command::new("unshare")
            .args(["-n", "sh", "-c", &text])
            .output()
            .unwrap()
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn systemd_takes_each_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: systemd-analyze is not installed, so no unit was verified");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let paths = UNITS.map(|name| {
        let path = dir.path().join(name);
        fs::write(
            &path,
            unit(name).replace("/usr/bin/kavadam", env!("CARGO_BIN_EXE_kavadam")),
        )
        .unwrap();
        path
    });
    for path in &paths {
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .arg(path)
            .env("SYSTEMD_UNIT_PATH", format!("{}:", dir.path().display()))
            .output()
            .unwrap();
        let said = text(&output.stderr);
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("kavadam")).collect();
        assert!(output.status.success() && ours.is_empty(), "{}: {said}", path.display());
    }
}

#[test]
fn each_service_tries_for_ever_except_with_a_bad_configuration() {
    for name in ["kavadam.service", "kavadam-dnsmasq.service"] {
        let unit = unit(name);
        assert_eq!(values(&unit, "StartLimitIntervalSec"), ["0"], "{name}");
        assert_eq!(values(&unit, "Restart"), ["always"], "{name}");
        assert_eq!(values(&unit, "RestartPreventExitStatus"), ["78"], "{name}");
        let machine = Machine::new("colour = 'blue'\n");
        let output = machine.start(&unit, "", "");
        assert_eq!(output.status.code(), Some(78), "{name}: {}", text(&output.stderr));
    }
}

#[test]
fn the_gate_closes_without_entering_kavadams_directory() {
    let unit = unit("kavadam-closed.service");
    assert!(
        values(&unit, "After").contains(&"nftables.service"),
        "Debian's own rules begin by flushing ours"
    );
    let machine = Machine::new("");
    let output = machine.start(&unit, "", "nft list table inet kavadam");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(said.contains("hook forward"), "{said}");
    assert_eq!(
        fs::read_dir(machine.at("state")).unwrap().count(),
        0,
        "it makes nothing"
    );
}

#[test]
fn dnsmasq_runs_on_its_own_directory_and_makes_no_secret() {
    let unit = unit("kavadam-dnsmasq.service");
    let machine = Machine::new("domain = 'wifi.internal'\n");
    // dnsmasq stays in the foreground: a fourth second means that it runs.
    let command = values(&unit, "ExecStart")[0];
    let unit = unit.replace(
        command,
        &command.replace("/usr/bin/kavadam", "timeout 4 /usr/bin/kavadam"),
    );
    let before = "ip link add lan0 type dummy && ip address add 10.80.0.1/16 dev lan0 && ip link set lan0 up";
    let output = machine.start(&unit, before, "");
    assert_eq!(output.status.code(), Some(124), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("started, version"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(
        fs::read_dir(machine.at("state")).unwrap().count(),
        0,
        "it makes nothing there"
    );
    let script = fs::read_to_string(machine.at("dnsmasq/lease-event")).unwrap();
    let socket = machine.at("run/lease.sock");
    assert!(script.contains(&format!("--socket '{}'", socket.display())), "{script}");
    assert_eq!(fs::metadata(machine.at("dnsmasq")).unwrap().mode() & 0o777, 0o750);
}

#[test]
fn dnsmasq_runs_no_script_from_somebody_elses_directory() {
    let machine = Machine::new("");
    fs::create_dir(machine.at("dnsmasq")).unwrap();
    chown(machine.at("dnsmasq"), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    let output = machine.start(&unit("kavadam-dnsmasq.service"), "", "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("run as root"), "{}", text(&output.stderr));
    assert_eq!(fs::read_dir(machine.at("dnsmasq")).unwrap().count(), 0);
}

#[test]
fn a_check_by_root_leaves_nothing_in_kavadams_directory() {
    let machine = Machine::new("[sms]\nroute = 'log-nothing'\n");
    let output = Command::new("unshare")
        .arg("-n")
        .arg(machine.at("kavadam"))
        .arg("--config")
        .arg(machine.at("kavadam.toml"))
        .arg("check")
        .output()
        .unwrap();
    let said = text(&output.stdout);
    assert!(said.contains("the first start makes it"), "{said}");
    assert!(!said.contains("local-uam.secret"), "{said}");
    assert_eq!(fs::read_dir(machine.at("state")).unwrap().count(), 0);
}
