//! Root at the keyboard of a machine whose kavadam is somebody else. Needs root.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::machine::{Machine, SOMEBODY, bounding, text, unit};

const NO_MESSAGES: &str = "[sms]\nroute = 'log-nothing'\n";

fn check(machine: &Machine) -> String {
    let program = machine.at("kavadam");
    let config = machine.at("kavadam.toml");
    let output = Command::new("unshare")
        .arg("-n")
        .arg(program)
        .arg("--config")
        .arg(config)
        .arg("check")
        .output();
    text(&output.unwrap().stdout)
}

#[test]
fn a_check_of_a_fresh_machine_makes_nothing() {
    let machine = Machine::new(NO_MESSAGES);
    let said = check(&machine);
    assert!(said.contains("the first start makes it"), "{said}");
    assert!(!said.contains(".secret"), "{said}");
    assert_eq!(fs::read_dir(machine.at("state")).unwrap().count(), 0);
}

#[test]
fn commands_and_checks_leave_no_file_of_roots() {
    let machine = Machine::new(NO_MESSAGES);
    let output = machine.kavadam(&["plan", "set", "citizen"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = check(&machine);
    assert!(said.contains("the database answers"), "{said}");
    assert!(fs::read_dir(machine.at("state")).unwrap().count() >= 2);
    assert_eq!(machine.strangers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_gates_secrets_may_be_roots_own_files() {
    let machine = Machine::new(NO_MESSAGES);
    let (secret, uam) = (
        machine.secret("s", "a-secret-of-thirty-two-octets-xx"),
        machine.secret("u", "another-secret-of-forty-two-octets"),
    );
    for words in [
        ["plan", "set", "citizen"].as_slice(),
        &["site", "set", "Stand", "--plan", "citizen"],
        &[
            "nas",
            "set",
            "stand-7",
            "--site",
            "Stand",
            "--source",
            "10.7.0.2",
            "--secret-file",
            &secret,
            "--uam-secret-file",
            &uam,
        ],
    ] {
        let output = machine.kavadam(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    }
    let list = text(&machine.kavadam(&["nas", "list"]).output().unwrap().stdout);
    assert!(list.contains("stand-7") && list.contains("10.7.0.2/32"), "{list}");
    assert_eq!(machine.strangers(), Vec::<std::path::PathBuf>::new());
}

/// Kavadam as its unit runs it: a user without rights, one capability, and somebody who listens as systemd does.
#[test]
fn the_service_says_that_it_is_ready_and_alive() {
    let machine = Machine::new(NO_MESSAGES);
    let unit = unit("kavadam.service");
    fs::create_dir(machine.at("run")).unwrap();
    std::os::unix::fs::chown(machine.at("run"), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    let notify = machine.at("notify");
    let systemd = UnixDatagram::bind(&notify).unwrap();
    fs::set_permissions(&notify, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let world = "ip link set lo up && ip link add lan0 type veth peer name far && ip address add 10.80.0.1/16 dev lan0 && ip link set lan0 up";
    let run = format!(
        "{world} && exec setpriv --reuid {SOMEBODY} --regid {SOMEBODY} --clear-groups --inh-caps -all,+net_admin \
         --ambient-caps -all,+net_admin {} --no-new-privs {} --config {} run",
        bounding(&unit),
        machine.at("kavadam").display(),
        machine.at("kavadam.toml").display()
    );
    let kavadam = Command::new("unshare")
        .args(["-n", "sh", "-c", &run])
        .env("NOTIFY_SOCKET", &notify)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut heard, mut kept) = (Vec::new(), 0);
    let mut buffer = [0; 256];
    while heard.len() < 2 {
        match systemd.recv(&mut buffer) {
            // Ports that are to outlive the process.
            Ok(length) if buffer[..length].starts_with(b"FDSTORE=1") => kept += 1,
            Ok(length) => heard.push(text(&buffer[..length])),
            Err(_) => break,
        }
    }
    let checked = Command::new("nsenter")
        .args(["-n", "-t", &kavadam.id().to_string()])
        .arg(machine.at("kavadam"))
        .arg("--config")
        .arg(machine.at("kavadam.toml"))
        .arg("check")
        .output()
        .unwrap();
    Command::new("kill").arg(kavadam.id().to_string()).status().unwrap();
    let output = kavadam.wait_with_output().unwrap();
    heard.sort();
    assert_eq!(heard, ["READY=1", "WATCHDOG=1"], "{}", text(&output.stderr));
    assert!(kept >= 8, "{kept} ports");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let checked = text(&checked.stdout);
    for held in [
        "portal.listen",
        "gateway.uam_port",
        "radius.auth_listen",
        "gateway.coa_listen",
    ] {
        let line = checked.lines().find(|line| line.contains(held)).unwrap();
        assert!(
            line.starts_with("ok") && line.contains("held by kavadam, which runs"),
            "{line}"
        );
    }
    assert!(!checked.contains("is taken"), "{checked}");
    assert!(
        checked.contains("note     the captive portal API (RFC 8908) is off"),
        "{checked}"
    );
    assert!(
        checked.contains("can be written") && checked.contains("MiB left"),
        "{checked}"
    );
}

#[test]
fn a_check_looks_at_the_machine_even_if_the_file_is_wrong_and_names_files_of_roots() {
    let machine = Machine::new("lan_if = 7\n[sms]\nroute = 'log-nothing'\n");
    fs::write(machine.at("state/master.key"), [0; 32]).unwrap();
    let said = check(&machine);
    for part in [
        "PROBLEM  gateway.dnsmasq.lan_if: there is no such key",
        "belongs to another user than its directory",
        "DHCP by dnsmasq: UDP port 0.0.0.0:67 is free",
        "gateway.uam_port: TCP port [fd00:80::1]:3990: this machine does not have that address",
    ] {
        assert!(said.contains(part), "{part} is missing from {said}");
    }
}

#[test]
fn a_check_tells_which_other_lan_has_no_gate_and_by_which_file() {
    let machine = Machine::new(NO_MESSAGES);
    let own = fs::read_to_string(machine.at("kavadam.toml")).unwrap();
    let own = own.replace("[gateway]\n", "[gateway]\nother_lans = ['lan1']\n");
    fs::write(machine.at("kavadam.toml"), own).unwrap();
    let usable = "role = 'centre'\n[sms]\nroute = 'log-nothing'\n";
    for (name, content, told) in [
        (
            "staff.toml",
            "colour = 7\nsize = 8\n[gateway]\nlan_if = 'lan1'\n[sms]\nroute = 'log-nothing'\n",
            "PROBLEM  the LAN lan1 has no gate (table inet kavadam-lan1): DIR/staff.toml cannot be used: colour: \
             there is no such key; `kavadam example-config` lists them all (and 1 more)\n         → kavadam --config DIR/staff.toml check tells all",
        ),
        (
            "lan1.toml",
            "[gateway",
            "PROBLEM  the LAN lan1 has no gate (table inet kavadam-lan1): DIR/lan1.toml",
        ),
        (
            "lan1.toml",
            NO_MESSAGES,
            "note     the LAN lan1 has no gate (table inet kavadam-lan1): that of DIR/lan1.toml was not started",
        ),
        (
            "lan2.toml",
            "colour = 7\n[gateway]\nlan_if = 'lan2'\n",
            "unsure   DIR/lan2.toml cannot be used; if a gate of this machine goes by it",
        ),
        (
            "none",
            "",
            "note     the LAN lan1 has no gate (table inet kavadam-lan1); no file beside",
        ),
        // None of these is for a LAN.
        ("portal.toml", "role = 'portal'\nportal.listen = 7\n", ""),
        ("Cargo.toml", "[package]\nname = 7\n", ""),
        ("centre.toml", usable, ""),
    ] {
        fs::write(machine.at(name), content).unwrap();
        let said = check(&machine);
        fs::remove_file(machine.at(name)).unwrap();
        let dir = machine.at("").display().to_string();
        let told = told.replace("DIR", dir.trim_end_matches('/'));
        assert!(said.contains(&told), "{told} is missing from {said}");
        assert!(!told.is_empty() || !said.contains(name), "{name}: {said}");
    }
    // A copy is not taken for the file that units go by.
    fs::write(machine.at("lan1.toml"), NO_MESSAGES).unwrap();
    fs::write(machine.at("lan1-old.toml"), "colour = 7\n[gateway]\nlan_if = 'lan1'\n").unwrap();
    let said = check(&machine);
    let line = |start: &str, end: &str| said.lines().any(|line| line.starts_with(start) && line.contains(end));
    assert!(line("note", "/lan1.toml was not started"), "{said}");
    assert!(line("unsure", "/lan1-old.toml cannot be used"), "{said}");
}

#[test]
fn a_check_of_a_file_that_cannot_be_used_tells_that_its_lan_has_no_gate_though_others_have() {
    let machine = Machine::new(NO_MESSAGES);
    let (program, first) = (machine.at("kavadam"), machine.at("first.toml"));
    fs::copy(machine.at("kavadam.toml"), &first).unwrap();
    let broken = "colour = 7\n[gateway]\nlan_if = 'lan1'\ntable = 'kavadam-lan1'\n";
    fs::write(machine.at("kavadam.toml"), broken).unwrap();
    let check = |before: &str| {
        let script = format!(
            "{before}\n{} --config {} check",
            program.display(),
            machine.at("kavadam.toml").display()
        );
        let output = Command::new("unshare")
            .args(["-n", "sh", "-c", &script])
            .output()
            .unwrap();
        text(&output.stdout)
    };
    let told = "PROBLEM  this LAN has no gate (table inet kavadam-lan1): nothing from it is forwarded";
    let close = format!("{} --config {} gate close", program.display(), first.display());
    let said = check(&close);
    assert!(said.contains(told), "{said}");
    let said = check("");
    assert!(!said.contains(told), "nothing stands: {said}");
}

#[test]
fn packets_that_the_kernel_cut_are_sniffed_whole() {
    let machine = Machine::new(NO_MESSAGES);
    assert!(
        machine
            .kavadam(&["plan", "set", "citizen"])
            .output()
            .unwrap()
            .status
            .success()
    );
    // A Status-Server of 3,015 octets; what is sent by one write is one datagram.
    let mut packet = [&[12, 1][..], &3015_u16.to_be_bytes(), &[7; 16]].concat();
    for _ in 0..35 {
        packet.extend([&[11, 85][..], &[b'x'; 83]].concat());
    }
    packet.resize(3015, 0);
    packet[2995..].copy_from_slice(&[&[11, 20][..], &[b'y'; 18]].concat());
    std::fs::write(machine.at("packet"), packet).unwrap();
    let script = format!(
        "ip link set lo mtu 1280 up
         timeout 30 '{program}' -c '{config}' radius sniff --count 2 & sniffer=$!
         while kill -0 $sniffer 2>/dev/null; do
             for to in 127.0.0.1 ::1; do bash -c \"cat '{packet}' > /dev/udp/$to/1812\" 2>/dev/null; done
             sleep 0.2
         done
         wait $sniffer",
        program = machine.at("kavadam").display(),
        config = machine.at("kavadam.toml").display(),
        packet = machine.at("packet").display(),
    );
    let output = Command::new("unshare")
        .args(["-n", "sh", "-c", &script])
        .output()
        .unwrap();
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    for to in ["> 127.0.0.1:1812", "> [::1]:1812"] {
        assert_eq!(said.matches(to).count(), 1, "{said}");
    }
    assert_eq!(said.matches(&"y".repeat(18)).count(), 2, "{said}");
}

#[test]
fn packets_are_sniffed_on_roots_socket_with_somebody_elses_rights() {
    let machine = Machine::new(NO_MESSAGES);
    let secret = machine.secret("s", "a-secret-of-thirty-two-octets-xx");
    for words in [
        ["plan", "set", "citizen"].as_slice(),
        &["site", "set", "Stand", "--plan", "citizen"],
        &[
            "nas",
            "set",
            "stand-7",
            "--site",
            "Stand",
            "--source",
            "127.0.0.1",
            "--secret-file",
            &secret,
            "--uam-secret-file",
            &secret,
        ],
    ] {
        assert!(machine.kavadam(words).output().unwrap().status.success(), "{words:?}");
    }
    // In a network of its own. Nothing is asked before somebody else reads: by then root's socket is open.
    let (program, config) = (machine.at("kavadam"), machine.at("kavadam.toml"));
    let script = format!(
        "ip link set lo up
         timeout 30 '{program}' -c '{config}' radius sniff --count 1 & sniffer=$!
         while kill -0 $sniffer 2>/dev/null; do
             for pid in $(cat /proc/$sniffer/task/*/children 2>/dev/null); do
                 grep -P '^Uid:\t{SOMEBODY}\t' /proc/$pid/status >&2 &&
                     '{program}' radius test --server 127.0.0.1:1812 --secret-file '{secret}' --tries 1 >/dev/null
             done
             sleep 0.2
         done
         wait $sniffer",
        program = program.display(),
        config = config.display(),
    );
    let output = Command::new("unshare")
        .args(["-n", "sh", "-c", &script])
        .output()
        .unwrap();
    let (said, whose) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}{whose}");
    assert_eq!(said.matches("Status-Server").count(), 1, "{said}");
    assert!(said.contains("[stand-7]") && said.contains(", verified"), "{said}");
    assert!(whose.contains(&SOMEBODY.to_string()), "{whose}");
    assert_eq!(machine.strangers(), Vec::<std::path::PathBuf>::new());
}
