//! A machine with our units that boots with systemd: Debian as it is installed here, in namespaces. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod advertised;
mod closed;
mod delegated;
mod lans;
mod ports;
mod service;

use std::path::Path;

use kavadam_lab::operator::{PASSWORD, SECURE_KEY, TEMPLATES, USERNAME};
use kavadam_lab::{Machine, World};

/// What docs/operations.md tells to do, but for the messages, which the lab's operator takes.
fn installation() -> String {
    let [english, malayalam] = TEMPLATES;
    let lan0 = block("[Match]\nName=lan0\n");
    format!(
        r#"
        make -s -C /usr/src/kavadam install KAVADAM=/root/kavadam
        cat >/etc/kavadam/kavadam.toml <<'END'
[sms]
url = "http://203.0.113.20:8090/esms/sendsmsrequestDLT"
username = "{USERNAME}"
password_file = "/etc/kavadam/password"
secure_key_file = "/etc/kavadam/secure-key"
template_id_en = "{english}"
template_id_ml = "{malayalam}"
[gateway.dnsmasq]
upstream = ["203.0.113.53"]
[gateway]
strict = true
END
        printf %s "{PASSWORD}" >/etc/kavadam/password
        printf %s "{SECURE_KEY}" >/etc/kavadam/secure-key
        chown root:kavadam /etc/kavadam/*
        chmod 640 /etc/kavadam/*
        cat >/etc/systemd/network/lan0.network <<'END'
{lan0}END
        cat >/etc/systemd/network/wan0.network <<'END'
[Match]
Name=wan0
[Network]
Address=198.51.100.2/24
Address=2001:db8:51::2/64
Gateway=198.51.100.1
Gateway=2001:db8:51::1
IPv6AcceptRA=no
END
        printf 'net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\n' >/etc/sysctl.d/60-kavadam.conf
        # What systemd does itself unless it is in a container: credentials are mounted by a process of its own, and seen by others by this alone.
        cat >/etc/systemd/system/shared.service <<'END'
[Unit]
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=/usr/bin/mount --make-rshared /
[Install]
WantedBy=sysinit.target
END
        systemctl enable -q systemd-networkd shared
        rm -f /etc/resolv.conf
        printf 'nameserver 203.0.113.53\n' >/etc/resolv.conf
        "#
    )
}

/// The block of docs/operations.md that begins so.
fn block(start: &str) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md")).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let blocks = lines.split(|line| line.starts_with("```"));
    let mut found = blocks
        .map(|block| block.join("\n") + "\n")
        .filter(|block| block.starts_with(start));
    found.next().unwrap_or_else(|| panic!("no block begins with {start}"))
}

fn world() -> World {
    let lab = Path::new(env!("CARGO_BIN_EXE_kavadam-lab"));
    let program = lab.with_file_name("kavadam");
    assert!(
        program.exists(),
        "kavadam is not built: run `make test`, or `cargo build --bin kavadam` first"
    );
    World::without_gateway("all-in-one", &program, lab, "").unwrap_or_else(|error| panic!("no world: {error:#}"))
}

/// The gateway's machine, installed; `more` is done before it boots.
fn boot(world: &World, more: &str) -> Machine {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_kavadam-lab")).with_file_name("kavadam");
    let dir = world.dir().join(format!("{}-machine", world.prefix()));
    let before = installation() + more;
    Machine::boot(&world.gate, &dir, &source, &program, &before).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Runs a script in it; what it printed, without the line's end.
fn run(machine: &Machine, script: &str) -> String {
    let said = machine
        .run(script)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", machine.said()));
    said.trim_end().to_owned()
}

/// A property of a unit of the machine.
fn property(machine: &Machine, unit: &str, name: &str) -> String {
    run(machine, &format!("systemctl show --value -p {name} {unit}"))
}
