//! The gate is closed, whatever is up.

use std::thread::sleep;
use std::time::Duration;

use kavadam_lab::netns::Process;
use kavadam_lab::world::{WEB, until};
use kavadam_lab::{Phone, World};

use crate::{boot, property, run, world};

/// What Debian's package brings, whatever became of it on the host.
const RULES_OF_DEBIAN: &str = r"
    printf '#!/usr/sbin/nft -f\n\nflush ruleset\n' >/etc/nftables.conf
    systemctl enable -q nftables kavadam-closed
    ";

/// What the machine is when its network comes up, by a unit of the network itself.
const WITNESS: &str = r"
    mkdir /etc/systemd/system/systemd-networkd.service.d
    cat >/etc/systemd/system/systemd-networkd.service.d/witness.conf <<'END'
[Service]
ExecStartPre=+sh -c 'nft list chain inet kavadam forward >/run/rules; ip -br address >/run/addresses'
END
    ";

/// Somebody who tries to get through all the while, fifty times a second; ended when dropped.
fn stranger(world: &mut World) -> (Phone, Process) {
    let phone = world.phone().unwrap();
    phone.netns().ip("address add 10.80.77.7/16 dev eth0").unwrap();
    phone.netns().ip("route add default via 10.80.0.1").unwrap();
    listen(world);
    let log = world.dir().join("ping.log");
    let tries = phone.netns().start(&log, "ping", &["-q", "-i", "0.02", WEB]).unwrap();
    (phone, tries)
}

/// Counts in the internet what comes through.
pub(crate) fn listen(world: &World) {
    for words in [
        "add table inet heard",
        "add chain inet heard input { type filter hook input priority 0; }",
        "add rule inet heard input iifname eth0 icmp type echo-request counter",
    ] {
        world.internet.run("nft", &[words]).unwrap();
    }
}

/// Packets that came through.
pub(crate) fn heard(world: &World) -> u64 {
    let told = world
        .internet
        .run("nft", &["list", "chain", "inet", "heard", "input"])
        .unwrap();
    let count = told.split_once("packets ").unwrap().1.split(' ').next();
    count.unwrap().parse().unwrap()
}

/// The command of docs/operations.md that has `words` in it: a line by itself.
fn documented(words: &str) -> String {
    let page = include_str!("../../../../docs/operations.md");
    let line = page.lines().find(|line| line.starts_with("{ ") && line.contains(words));
    line.expect("the page has no such command").to_owned()
}

#[test]
fn no_stranger_passes_before_the_network_is_up_nor_while_kavadam_is_not_there_nor_when_other_rules_are_loaded() {
    let mut world = world();
    let (phone, _tries) = stranger(&mut world);
    let machine = boot(&world, &format!("{WITNESS}{RULES_OF_DEBIAN}"));
    let rules = run(&machine, "cat /run/rules");
    assert!(rules.contains("hook forward"), "{rules}");
    let addresses = run(&machine, "cat /run/addresses");
    assert!(
        addresses.contains("lan0") && !addresses.contains("10.80.0.1"),
        "{addresses}"
    );

    // The network is up, forwards, and kavadam was never started.
    assert_eq!(property(&machine, "kavadam", "ActiveState"), "inactive");
    run(
        &machine,
        "ip address show lan0 | grep 10.80.0.1; test $(cat /proc/sys/net/ipv4/ip_forward) = 1",
    );
    let meets = || {
        phone
            .netns()
            .ip("neigh show to 10.80.0.1")
            .is_ok_and(|known| known.contains("lladdr"))
    };
    assert!(
        until(Duration::from_secs(5), meets),
        "the stranger does not find the gateway"
    );
    let is_closed = |when: &str| {
        let is_there = || machine.run("nft list chain inet kavadam forward").is_ok();
        assert!(until(Duration::from_secs(5), is_there), "{when}: {}", machine.said());
        // What passed a moment ago is still on the way.
        sleep(Duration::from_millis(200));
        let before = heard(&world);
        sleep(Duration::from_millis(500));
        assert_eq!(heard(&world), before, "packets pass: {when}");
    };
    is_closed("kavadam was never started");
    assert_eq!(heard(&world), 0, "packets passed before or while the network came up");
    // These begin with `flush ruleset`: as long as no kavadam is there, the gate is open for the moment until it is closed again.
    run(&machine, "systemctl restart nftables");
    is_closed("other rules were loaded");
    run(&machine, "systemctl reload nftables");
    is_closed("other rules were loaded anew");
    let before = heard(&world);
    run(&machine, "systemctl start kavadam");
    is_closed("kavadam runs");
    run(&machine, "systemctl restart nftables");
    is_closed("other rules were loaded while kavadam runs");
    assert_eq!(property(&machine, "kavadam", "ActiveState"), "active");
    run(&machine, "systemctl restart kavadam-closed");
    is_closed("the gate was closed while kavadam runs");
    run(&machine, "systemctl stop kavadam");
    is_closed("kavadam was stopped");
    run(
        &machine,
        "nft add element inet kavadam lease_macs '{ 02:00:00:00:00:07 }'",
    );
    run(&machine, &documented("kavadam gate rules"));
    is_closed("it was closed for everybody by hand");
    let known = run(&machine, "nft list set inet kavadam lease_macs");
    assert!(!known.contains("02:00:00:00:00:07"), "{known}");
    run(&machine, "systemctl stop kavadam-closed");
    is_closed("everything of ours was stopped");
    run(
        &machine,
        "echo 'colour = 7' >>/etc/kavadam/kavadam.toml; ! systemctl start kavadam",
    );
    is_closed("kavadam cannot start");
    assert_eq!(heard(&world), before, "packets passed");

    // He would have passed.
    run(&machine, "nft delete table inet kavadam");
    assert!(
        until(Duration::from_secs(5), || heard(&world) > before),
        "this test looks in the wrong place"
    );
}

#[test]
fn a_machine_that_boots_with_a_configuration_that_cannot_be_used_forwards_nothing_until_it_can() {
    let mut world = world();
    let (_phone, _tries) = stranger(&mut world);
    let machine = boot(
        &world,
        &format!("{RULES_OF_DEBIAN} echo 'colour = 7' >>/etc/kavadam/kavadam.toml"),
    );
    run(
        &machine,
        "ip address show lan0 | grep 10.80.0.1; test $(cat /proc/sys/net/ipv4/ip_forward) = 1",
    );
    let is_shut = |when: &str| {
        // What passed a moment ago is still on the way.
        sleep(Duration::from_millis(500));
        let before = heard(&world);
        sleep(Duration::from_secs(1));
        assert_eq!(heard(&world), before, "packets pass: {when}");
        assert_eq!(
            run(&machine, "nft list tables inet"),
            "table inet kavadam-shut",
            "{when}"
        );
        assert_eq!(
            property(&machine, "kavadam-closed", "ActiveState"),
            "active",
            "otherwise it is not run again: {when}"
        );
    };
    is_shut("it has booted");
    assert_eq!(heard(&world), 0, "packets passed before or while the network came up");
    for deed in ["restart", "reload"] {
        run(&machine, &format!("systemctl {deed} nftables"));
        is_shut(deed);
    }
    let told = run(&machine, "journalctl -q --no-pager -u kavadam-closed");
    assert!(
        told.contains("colour") && told.contains("nothing is forwarded"),
        "{told}"
    );
    let is_told = || {
        let checked = machine.output("kavadam check").unwrap();
        String::from_utf8_lossy(&checked.stdout).contains("PROBLEM  the gate could not be closed")
    };
    assert!(is_told());

    // A unit that is active is not started again: whoever loads the gate's rules forwards again.
    let before = heard(&world);
    run(
        &machine,
        "sed -i /colour/d /etc/kavadam/kavadam.toml; systemctl start kavadam",
    );
    let tables = run(&machine, "nft list tables inet");
    assert_eq!(tables, "table inet kavadam");
    assert!(!is_told());
    // Whoever finds the gate standing forwards again too.
    run(&machine, "nft add table inet kavadam-shut");
    let shown = run(&machine, "kavadam gate show");
    assert!(is_told() && shown.contains("Nothing is forwarded"), "{shown}");
    run(&machine, "systemctl restart kavadam-closed");
    assert_eq!(run(&machine, "nft list tables inet"), tables);
    // With the gate there, and held by nobody, it is left as it is.
    run(
        &machine,
        "systemctl stop kavadam; echo 'colour = 7' >>/etc/kavadam/kavadam.toml; systemctl restart kavadam-closed",
    );
    assert_eq!(run(&machine, "nft list tables inet"), tables);
    // He would have passed but for these.
    assert_eq!(heard(&world), before, "packets pass");
    run(&machine, "nft delete table inet kavadam");
    assert!(
        until(Duration::from_secs(5), || heard(&world) > before),
        "this test looks in the wrong place"
    );
}
