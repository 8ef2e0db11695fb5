//! kavadam.service under systemd: what it may, and what becomes of it.

use std::time::Duration;

use kavadam_lab::Machine;
use kavadam_lab::world::until;

use crate::{boot, property, run, world};

/// `CAP_NET_ADMIN` alone, as the kernel shows it.
const NET_ADMIN: &str = "0000000000001000";

/// `CAP_NET_RAW` alone.
const NET_RAW: &str = "0000000000002000";

/// `CAP_SETGID`, `CAP_NET_BIND_SERVICE`, `CAP_NET_ADMIN` and `CAP_NET_RAW`.
const OF_DNSMASQ: &str = "0000000000003440";

/// A watchdog of seconds, so that a test may wait for it, and no rest before a new start.
const HASTE: &str = "
    mkdir /etc/systemd/system/kavadam.service.d
    printf '[Service]\\nWatchdogSec=3\\nRestartSec=0\\n' >/etc/systemd/system/kavadam.service.d/haste.conf
    ";

/// What the machine's own kernel would have: a directory that is not there when a service starts is not kept from it.
const MODULES: &str = "
    mkdir -p /lib/modules
    touch /lib/modules/of-others
    ";

fn main_process(machine: &Machine) -> String {
    property(machine, "kavadam", "MainPID")
}

/// Whether the script succeeds as the user kavadam where the service sees files.
fn can(machine: &Machine, script: &str) -> bool {
    let process = main_process(machine);
    let words = format!(
        "nsenter -t {process} -m setpriv --reuid kavadam --regid kavadam --clear-groups sh -c '{script}' 2>/dev/null"
    );
    machine.output(&words).unwrap().status.success()
}

/// But for the clock, which the machine has from its host, and the address that IPv6 holds back as long as there is no carrier.
fn finds_nothing_wrong(machine: &Machine, when: &str) {
    let checked = machine.output("kavadam check").unwrap();
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    let mut wrong = checked
        .lines()
        .filter(|line| line.starts_with("PROBLEM") || line.starts_with("unsure"));
    assert!(
        wrong.all(|line| line.contains("clock") || line.contains("duplicate address detection")),
        "{when}: {checked}"
    );
    for good in [
        "the kernel takes our rules",
        "gateway.uam_port: TCP port 10.80.0.1:3990",
    ] {
        assert!(
            checked
                .lines()
                .any(|line| line.starts_with("ok") && line.contains(good)),
            "{when}: {checked}"
        );
    }
}

/// What the kernel shows of the process of a unit.
struct Status(String);

impl Status {
    fn of(machine: &Machine, unit: &str) -> Self {
        let process = property(machine, unit, "MainPID");
        Self(run(machine, &format!("cat /proc/{process}/status")))
    }

    fn values(&self, key: &str) -> Vec<&str> {
        let line = self
            .0
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap().split_whitespace().collect()
    }

    fn has_one_capability(&self, capability: &str) {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(self.values(set), [capability], "{set}");
        }
        assert_eq!(self.values("NoNewPrivs"), ["1"]);
        assert_eq!(self.values("Seccomp"), ["2"]);
        assert!(!self.values("Uid").contains(&"0"));
    }
}

fn has_its_capability_and_no_more(machine: &Machine) {
    let status = Status::of(machine, "kavadam");
    status.has_one_capability(NET_ADMIN);
    let user = run(machine, "id -u kavadam");
    assert_eq!(status.values("Uid"), [user.as_str(); 4]);
    let of_dnsmasq = run(
        machine,
        "cat /proc/$(systemctl show --value -p MainPID kavadam-dnsmasq)/status",
    );
    assert!(of_dnsmasq.contains(&format!("CapBnd:\t{OF_DNSMASQ}")), "{of_dnsmasq}");
}

fn is_advertised_by_one_who_may_do_nothing_else(machine: &Machine) {
    assert_eq!(property(machine, "kavadam-advertise", "ActiveState"), "active");
    let status = Status::of(machine, "kavadam-advertise");
    status.has_one_capability(NET_RAW);
    assert_ne!(status.values("Uid"), Status::of(machine, "kavadam").values("Uid"));
    let remembers = || {
        let kept = machine.output("test -s /var/lib/kavadam-advertise/*");
        kept.unwrap().status.success()
    };
    assert!(until(Duration::from_secs(10), remembers), "{}", machine.said());
    let is_active = || property(machine, "kavadam-advertise", "ActiveState") == "active";
    run(machine, "systemctl restart kavadam-dnsmasq");
    assert!(until(Duration::from_secs(10), is_active), "{}", machine.said());
    let again = Status::of(machine, "kavadam-advertise");
    assert_ne!(
        again.values("Pid"),
        status.values("Pid"),
        "it is restarted with DHCP and DNS"
    );
    run(machine, "systemctl stop kavadam-dnsmasq");
    assert!(until(Duration::from_secs(10), || !is_active()), "{}", machine.said());
    run(machine, "systemctl start kavadam-dnsmasq");
    assert!(until(Duration::from_secs(10), is_active), "{}", machine.said());
}

fn is_in_its_sandbox(machine: &Machine) {
    run(machine, "touch /tmp/of-others; mknod /dev/disk b 7 0");
    // Of those that root alone may do anyway, as root; what is refused inside is done outside.
    let process = main_process(machine);
    for (directive, script) in [
        ("ProtectSystem", "touch /usr/written"),
        ("ProtectSystem", "touch /var/written"),
        ("ProtectSystem", "touch /etc/written"),
        ("ProtectHome", "ls /root/kavadam"),
        ("PrivateTmp", "ls /tmp/of-others"),
        ("PrivateDevices", "ls /dev/disk"),
        ("ProtectKernelTunables", "echo 1 >/proc/sys/net/ipv4/ip_forward"),
        ("ProtectKernelModules", "ls /lib/modules/of-others"),
        ("ProtectControlGroups", "mkdir /sys/fs/cgroup/made"),
    ] {
        let inside = format!("timeout 2 nsenter -t {process} -m sh -c '{script}'");
        assert!(
            !machine.output(&inside).unwrap().status.success(),
            "{directive} does not hold"
        );
        run(machine, script);
    }
    let mounted = run(machine, &format!("cat /proc/{process}/mountinfo"));
    assert!(mounted.contains(" /proc/kmsg "), "ProtectKernelLogs does not hold");
    assert!(!can(machine, "ls -d /proc/1"), "ProtectProc does not hold");
    assert!(can(
        machine,
        "ls -d /proc/self && touch /var/lib/kavadam/t /run/kavadam/t && rm /var/lib/kavadam/t /run/kavadam/t"
    ));
    assert!(!can(machine, "touch /etc/kavadam/t"), "its configuration is root's");
    let uts = |process: &str| run(machine, &format!("readlink /proc/{process}/ns/uts"));
    assert_ne!(uts(&process), uts("1"), "ProtectHostname does not hold");
}

fn takes_over_a_changed_configuration(machine: &Machine) {
    let before = main_process(machine);
    run(
        machine,
        "sed -i '1i [gateway.blocked]\\nports = [\"tcp/6667\"]' /etc/kavadam/kavadam.toml; systemctl reload kavadam",
    );
    let is_in_force = || {
        machine
            .output("nft list table inet kavadam | grep -q 6667")
            .unwrap()
            .status
            .success()
    };
    assert!(until(Duration::from_secs(10), is_in_force), "{}", machine.said());
    assert_eq!(main_process(machine), before, "a reload is no restart");
}

fn is_started_anew_when_it_hangs(machine: &Machine) {
    // As long as it lives, it says so in time, however impatient the watchdog is.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(property(machine, "kavadam", "NRestarts"), "0", "{}", machine.said());
    let hung = main_process(machine);
    run(machine, &format!("kill -STOP {hung}"));
    let runs_again = || {
        let process = main_process(machine);
        process != "0" && process != hung && property(machine, "kavadam", "ActiveState") == "active"
    };
    assert!(until(Duration::from_secs(30), runs_again), "{}", machine.said());
    let journal = run(machine, "journalctl -q --no-pager -u kavadam");
    assert!(journal.contains("Watchdog timeout"), "{journal}");
}

fn is_not_tried_again_with_a_configuration_that_cannot_be_used(machine: &Machine) {
    run(
        machine,
        "echo 'colour = 7' >>/etc/kavadam/kavadam.toml; ! systemctl restart kavadam",
    );
    // Longer than until it would be started again.
    std::thread::sleep(Duration::from_secs(1));
    for (name, value) in [("ActiveState", "failed"), ("ExecMainStatus", "78"), ("NRestarts", "0")] {
        assert_eq!(property(machine, "kavadam", name), value, "{name}: {}", machine.said());
    }
    run(
        machine,
        "sed -i /colour/d /etc/kavadam/kavadam.toml; systemctl start kavadam",
    );
    assert_eq!(property(machine, "kavadam", "ActiveState"), "active");
}

#[test]
fn enabled_as_the_documentation_says_it_runs_in_its_sandbox_heeds_reloads_and_is_started_anew_when_that_helps() {
    let world = world();
    // The access point is off: its cable is there, and nobody at the other end.
    for words in ["link add ap0 type veth peer name off0", "link set ap0 master lan0 up"] {
        world.gate.ip(words).unwrap();
    }
    let machine = boot(&world, &format!("{HASTE}{MODULES}"));
    finds_nothing_wrong(&machine, "before it was started");
    run(
        &machine,
        "systemctl enable -q --now kavadam-closed kavadam kavadam-dnsmasq",
    );
    assert_eq!(property(&machine, "kavadam", "ActiveState"), "active");
    assert_eq!(run(&machine, "systemctl --failed --no-legend"), "");
    finds_nothing_wrong(&machine, "while it runs");
    has_its_capability_and_no_more(&machine);
    is_in_its_sandbox(&machine);
    is_advertised_by_one_who_may_do_nothing_else(&machine);
    takes_over_a_changed_configuration(&machine);
    is_started_anew_when_it_hangs(&machine);
    is_not_tried_again_with_a_configuration_that_cannot_be_used(&machine);
}
