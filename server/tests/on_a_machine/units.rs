//! The units of `systemd/`: that systemd takes them, and that what they start works with no more than they grant. Needs root.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::process::Command;

use crate::machine::{Machine, SOMEBODY, text, unit, values};

const UNITS: [&str; 4] = [
    "kavadam.service",
    "kavadam-closed.service",
    "kavadam-dnsmasq.service",
    "kavadam-advertise.service",
];
#[test]
fn systemd_takes_each_unit() {
    assert!(
        Command::new("systemd-analyze").arg("--version").output().is_ok(),
        "systemd-analyze is not installed, so that no unit can be verified: apt-get install systemd"
    );
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
    for (name, prevented) in [
        ("kavadam.service", "78"),
        ("kavadam-dnsmasq.service", "78"),
        ("kavadam-advertise.service", "0 78 243"),
    ] {
        let unit = unit(name);
        assert_eq!(values(&unit, "StartLimitIntervalSec"), ["0"], "{name}");
        assert_eq!(values(&unit, "Restart"), ["always"], "{name}");
        assert_eq!(values(&unit, "RestartPreventExitStatus"), [prevented], "{name}");
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
fn a_machine_is_shut_only_where_a_gate_should_be_and_cannot_be_closed() {
    const SHUT: &str = "table inet kavadam-shut\n";
    let unit = unit("kavadam-closed.service");
    let machine = Machine::new("");
    let start = |before: &str| machine.start(&unit, &format!("trap 'nft list tables inet' EXIT\n{before}"), "");
    for (config, code, tables) in [
        ("gateway.lan_if =", 0, SHUT),
        ("role = 'gateway'\ncolour = 7", 0, SHUT),
        ("role = 'center'", 0, SHUT),
        ("role = 'portal'\nportal.listen = 7", 78, ""),
        ("role = 'centre'\n[sms", 78, ""),
    ] {
        fs::write(machine.at("kavadam.toml"), config).unwrap();
        let output = start("");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{config}: {said}");
        assert_eq!(text(&output.stdout), tables, "{config}: {said}");
        assert_eq!(said.contains("nothing is forwarded"), !tables.is_empty(), "{said}");
    }
    // The gate of another configuration is still missing.
    fs::write(machine.at("kavadam.toml"), "role = 'centre'").unwrap();
    let output = start("nft add table inet kavadam-shut");
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("nft delete table"), "{said}");
    assert_eq!(text(&output.stdout), SHUT);
    fs::remove_file(machine.at("kavadam.toml")).unwrap();
    let output = start("");
    assert_eq!(output.status.code(), Some(78), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn where_another_lans_gate_stands_a_gate_that_cannot_be_closed_leaves_it_and_says_so() {
    let unit = unit("kavadam-closed.service");
    assert_eq!(values(&unit, "SuccessExitStatus"), ["5"], "active, to be started again");
    let machine = Machine::new("");
    let first = machine.at("first.toml");
    fs::copy(machine.at("kavadam.toml"), &first).unwrap();
    let stands = format!(
        "{} --config {} gate close\ntrap 'nft list tables inet' EXIT",
        machine.at("kavadam").display(),
        first.display()
    );
    for (config, told) in [
        (
            "colour = 7\n[gateway]\nlan_if = 'lan1'\ntable = 'kavadam-lan1'\n",
            "no gate (table inet kavadam-lan1): nothing from it is forwarded",
        ),
        (
            "colour = 7\n[gateway]\ntable = 'kavadam'\n",
            "it stands as it was loaded before",
        ),
        ("[gateway", "a LAN that none of them is for has nothing forwarded"),
    ] {
        fs::write(machine.at("kavadam.toml"), config).unwrap();
        let output = machine.start(&unit, &stands, "");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{config}: {said}");
        assert!(
            said.contains(told) && said.contains("cannot be used"),
            "{config}: {said}"
        );
        assert_eq!(text(&output.stdout), "table inet kavadam\n", "{config}: {said}");
    }
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
    let before =
        "ip link add lan0 type veth peer name far && ip address add 10.80.0.1/16 dev lan0 && ip link set lan0 up";
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
fn router_advertisements_need_one_capability_and_wait_for_the_interface() {
    let unit = unit("kavadam-advertise.service");
    let command = values(&unit, "ExecStart")[0];
    let for_a_moment = |seconds: u32| {
        let timed = command.replace("/usr/bin/kavadam", &format!("timeout {seconds} /usr/bin/kavadam"));
        unit.replace(command, &timed)
    };
    let late = "(sleep 6; ip link add lan0 type veth peer name far; ip address add fd00:80::1/64 dev lan0 nodad; ip link set far up; \
         ip link set lan0 up) &";
    let output = Machine::new("").start(&for_a_moment(12), late, "");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(124), "{said}");
    assert!(said.contains("cannot advertise the gateway yet"), "{said}");
    assert!(said.contains("advertising the gateway"), "{said}");

    let without = unit.replace("CapabilityBoundingSet=CAP_NET_RAW", "CapabilityBoundingSet=CAP_SETGID");
    let output = Machine::new("").start(&without, "", "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("CAP_NET_RAW"), "{}", text(&output.stderr));

    // Where others advertise it has nothing to do, and is not started again.
    let machine = Machine::new("");
    let config = fs::read_to_string(machine.at("kavadam.toml")).unwrap();
    let config = config.replace("[gateway]\n", "[gateway]\nrouter_advertisements = 'none'\n");
    fs::write(machine.at("kavadam.toml"), config).unwrap();
    let output = machine.start(&unit, "", "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("nothing to advertise"));
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
