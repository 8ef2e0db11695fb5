//! Restarts and upgrades of the service: ports that systemd keeps, and sessions that the kernel keeps.

use std::collections::BTreeMap;
use std::time::Duration;

use kavadam_lab::world::until;
use kavadam_lab::{Citizen, Machine, Phone};
use serde_json::Value;

use crate::{boot, property, run, world};

const NUMBER: &str = "9876543210";
const PAGE: &str = "http://10.80.0.1:3990/prelogin";

/// A second in which nobody is there, at each start; and no rest after a crash.
const GAP: &str = "
    mkdir /etc/systemd/system/kavadam.service.d
    printf '[Service]\\nExecStartPre=/bin/sleep 1\\nRestartSec=0\\n' >/etc/systemd/system/kavadam.service.d/gap.conf
    systemctl enable -q kavadam-closed kavadam kavadam-dnsmasq
    ";

/// Each port that somebody of the machine listens on, and the number of its socket in the kernel; those from which somebody asks others are
/// above these.
fn ports(machine: &Machine) -> BTreeMap<String, String> {
    let told = run(machine, "ss -HtuelnO");
    let socket = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = words.iter().find(|word| word.starts_with("ino:")).unwrap();
        let port: u16 = words[4].rsplit(':').next().unwrap().parse().unwrap();
        (port < 32_768).then(|| (format!("{} {}", words[0], words[4]), (*number).to_owned()))
    };
    told.lines().filter_map(socket).collect()
}

fn assert_is_answered(phone: &Phone, when: &str) {
    let words = ["-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", PAGE];
    let output = phone.netns().output("curl", &words).unwrap();
    let code = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && code.starts_with(['2', '3']),
        "{when}: {code} {complaint}"
    );
}

/// Asks for a page again and again while something is done in the machine, and once for certain when nobody is there.
fn is_answered_during(phone: &Phone, machine: &Machine, script: &str) {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| run(machine, script));
        scope.spawn(move || {
            while !done.is_finished() {
                assert_is_answered(phone, script);
            }
        });
        let is_nobody_there = || property(machine, "kavadam", "MainPID") == "0";
        assert!(until(Duration::from_secs(10), is_nobody_there), "{script}");
        assert_is_answered(phone, &format!("{script}, and nobody is there"));
    });
}

fn sessions(machine: &Machine) -> Vec<Value> {
    serde_json::from_str(&run(machine, "kavadam session list --json")).unwrap()
}

#[test]
fn a_restart_an_upgrade_and_a_crash_refuse_nobody_and_end_no_session() {
    let mut world = world();
    let phone = world.phone().unwrap();
    let machine = boot(&world, GAP);
    run(&machine, "kavadam plan set citizen --quota 1GB --down 1Mbit --up 1Mbit");
    // DHCP is that of kavadam-dnsmasq.service, whose word of it goes to kavadam with where the device is.
    phone.dhcp_at("hall", "port-7").unwrap();
    // Likewise IPv6, of kavadam-advertise.service, which that one starts.
    phone
        .slaac()
        .unwrap_or_else(|error| panic!("{error:#}\n{}", machine.said()));
    Citizen {
        phone: &phone,
        number: NUMBER,
    }
    .log_in(&world)
    .unwrap_or_else(|error| panic!("no login: {error:#}\n{}", machine.said()));
    let place = sessions(&machine)[0].to_string();
    assert!(place.contains("hall") && place.contains("port-7"), "{place}");
    let mut download = phone.download("http://203.0.113.10:8000/bytes/1000000000000").unwrap();
    let received = || phone.netns().counter("eth0", "rx_bytes").unwrap();

    let kept = ports(&machine);
    assert!(kept.len() > 8, "{kept:?}");
    for what in [
        "systemctl restart kavadam",
        // As `make install` puts it there.
        "cp -p /usr/bin/kavadam /root/newer; install -m 755 /root/newer /usr/bin/kavadam; systemctl restart kavadam",
        // What it was in the middle of is lost; who comes from then on is not.
        "until systemctl is-active -q kavadam; do sleep 0.1; done",
    ] {
        let (before, octets) = (property(&machine, "kavadam", "MainPID"), received());
        if what.starts_with("until") {
            run(
                &machine,
                "systemctl kill -s KILL kavadam; while systemctl is-active -q kavadam; do sleep 0.01; done",
            );
        }
        is_answered_during(&phone, &machine, what);
        let after = property(&machine, "kavadam", "MainPID");
        assert_ne!(before, after, "{what}");
        let same = format!("test /proc/{after}/exe -ef /usr/bin/kavadam");
        run(&machine, &same);
        assert_eq!(ports(&machine), kept, "{what}");
        assert!(
            download.is_running() && until(Duration::from_secs(5), || received() > octets + 10_000),
            "{what}"
        );
    }
    let sessions = sessions(&machine);
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_ne!(sessions[0]["state"], "ended", "{sessions:?}");
}
