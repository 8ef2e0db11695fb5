//! kavadam-advertise.service under systemd: what whoever takes it over could reach.

use std::time::Duration;

use kavadam_lab::Machine;
use kavadam_lab::world::until;

use crate::{boot, property, run, world};

const START: &str = "systemctl enable -q --now kavadam-closed kavadam kavadam-dnsmasq";

/// Whether the script succeeds where the advertiser sees files, as its user, with its groups and without its capability.
fn can(machine: &Machine, script: &str) -> bool {
    let words = format!(
        "process=$(systemctl show --value -p MainPID kavadam-advertise)
         of() {{ sed -n \"s/^$1:[[:space:]]*//p\" /proc/$process/status; }}
         groups=$(of Groups | sed 's/ *$//' | tr ' ' ,)
         groups=${{groups:+--groups=$groups}}
         nsenter -t $process -m setpriv --reuid $(of Uid | cut -f1) --regid $(of Gid | cut -f1) ${{groups:---clear-groups}} \\
           --inh-caps=-all --bounding-set=-all sh -c '{script}'"
    );
    machine.output(&words).unwrap().status.success()
}

#[test]
fn who_takes_over_the_advertiser_gets_no_secret_and_tells_of_no_lease_and_without_ipv6_it_ends() {
    let world = world();
    let machine = boot(&world, "");
    run(&machine, START);
    let sees_it = || run(&machine, "kavadam check || true").contains("sent by kavadam, which runs");
    assert!(until(Duration::from_secs(10), sees_it), "{}", machine.said());
    run(
        &machine,
        "test -S /run/kavadam/lease.sock && test -s /etc/kavadam/password",
    );

    assert!(can(
        &machine,
        "test -r /run/credentials/kavadam-advertise.service/kavadam.toml"
    ));
    assert!(can(
        &machine,
        "touch /var/lib/kavadam-advertise/t && rm /var/lib/kavadam-advertise/t"
    ));
    for script in [
        "cat /etc/kavadam/password",
        "ls /etc/kavadam",
        "ls /run/kavadam",
        "test -w /run/kavadam/lease.sock",
        "ls /var/lib/kavadam",
        "ls /var/lib/kavadam-dnsmasq",
        "touch /var/lib/t",
    ] {
        assert!(!can(&machine, script), "{script}");
    }
    let user = run(&machine, "id -g kavadam");
    let groups = run(
        &machine,
        "grep ^Groups: /proc/$(systemctl show --value -p MainPID kavadam-advertise)/status",
    );
    assert!(!groups.split_whitespace().any(|group| group == user), "{groups}");
    let families = property(&machine, "kavadam-advertise", "RestrictAddressFamilies");
    let mut families: Vec<&str> = families.split(' ').collect();
    families.sort_unstable();
    assert_eq!(families, ["AF_INET6", "AF_NETLINK"]);

    // To it, a kernel without IPv6 (`ipv6.disable=1`).
    run(
        &machine,
        "mkdir /etc/systemd/system/kavadam-advertise.service.d
         printf '[Service]\nRestrictAddressFamilies=\nRestrictAddressFamilies=AF_NETLINK\n' \
           >/etc/systemd/system/kavadam-advertise.service.d/none.conf
         systemctl daemon-reload && systemctl restart kavadam-advertise",
    );
    let is_over = || property(&machine, "kavadam-advertise", "ActiveState") == "inactive";
    assert!(until(Duration::from_secs(10), is_over), "{}", machine.said());
    assert_eq!(property(&machine, "kavadam-advertise", "ExecMainStatus"), "0");
    let journal = run(&machine, "journalctl -q --no-pager -u kavadam-advertise");
    assert!(journal.contains("has no IPv6"), "{journal}");
}
