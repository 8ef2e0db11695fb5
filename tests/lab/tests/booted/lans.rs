//! A second LAN by the units' templates, as docs/operations.md has it.

use std::time::Duration;

use kavadam_lab::citizen::CHECK;
use kavadam_lab::world::{WEB, until};
use kavadam_lab::{Machine, Phone, World};

use crate::closed::{heard, listen};
use crate::{block, boot, property, run, world};

/// Packets to the internet from a device of the second LAN that come through.
fn passed(world: &World, other: &Phone) -> u64 {
    let before = heard(world);
    let words = ["-q", "-c", "3", "-i", "0.2", "-W", "1", WEB];
    other.netns().output("ping", &words).unwrap();
    heard(world) - before
}

/// The machine has booted with a file for the second LAN that cannot be used.
fn has_a_gate_for_the_first_lan_alone_and_tells_why(world: &World, machine: &Machine, phone: &Phone, other: &Phone) {
    let serves_the_first = || phone.dhcp().is_ok() && phone.open(CHECK).is_ok_and(|page| page.form("/number").is_ok());
    assert!(until(Duration::from_secs(30), serves_the_first), "{}", machine.said());
    let told = run(machine, "kavadam check || true");
    for part in [
        "PROBLEM  the LAN lan1 has no gate (table inet kavadam-lan1), and nothing from it is forwarded: /etc/kavadam/lan1.toml cannot be used: colour: ",
        "then systemctl restart kavadam-closed@lan1 kavadam@lan1 kavadam-dnsmasq@lan1",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let is_closed = |deed: &str| {
        assert_eq!(run(machine, "nft list tables inet"), "table inet kavadam", "{deed}");
        for unit in ["kavadam-closed@lan1", "kavadam"] {
            assert_eq!(property(machine, unit, "ActiveState"), "active", "{unit}: {deed}");
        }
        assert_eq!(
            passed(world, other),
            0,
            "the second LAN has no gate, and is open: {deed}"
        );
    };
    is_closed("booted");
    for deed in ["restart", "reload"] {
        run(machine, &format!("systemctl {deed} kavadam-closed@lan1"));
        is_closed(deed);
        assert_eq!(
            property(machine, "kavadam-closed@lan1", "ExecMainStatus"),
            "5",
            "{deed}"
        );
    }
    let journal = run(machine, "journalctl -q --no-pager -u kavadam-closed@lan1");
    assert!(
        journal.contains("this LAN has no gate (table inet kavadam-lan1): nothing from it is forwarded"),
        "{journal}"
    );
}

#[test]
fn a_second_lan_has_units_directories_and_a_gate_of_its_own_and_none_as_long_as_its_file_cannot_be_used() {
    let mut world = world();
    for words in ["link add lan1 type bridge", "link set lan1 up"] {
        world.gate.ip(words).unwrap();
    }
    let gate = world.gate.name().to_owned();
    let (visitor, phone) = (world.phone().unwrap(), world.phone_on(&gate, "lan1").unwrap());
    let lan1 = block("role = \"gateway\"\nstate_dir = \"/var/lib/kavadam-lan1\"");
    let network = block("[Match]\nName=lan0\n")
        .replace("lan0", "lan1")
        .replace("10.80.", "10.81.");
    let network = network.replace("Address=fd00:80::1/64\n", "");
    let machine = boot(
        &world,
        &format!(
            "
            echo 'other_lans = [\"lan1\"]' >>/etc/kavadam/kavadam.toml
            cat >/etc/kavadam/lan1.toml <<'END'\n{lan1}END
            cat >/etc/systemd/network/lan1.network <<'END'\n{network}END
            cd /etc/kavadam
            openssl rand -hex 24 >lan1-radius.secret
            openssl rand -hex 24 >lan1-uam.secret
            chown root:kavadam *
            chmod 640 *
            sed -i '1i colour = 7' lan1.toml
            systemctl enable -q kavadam-closed kavadam kavadam-dnsmasq kavadam-closed@lan1 kavadam@lan1 kavadam-dnsmasq@lan1
            "
        ),
    );
    listen(&world);
    for words in ["address add 10.81.77.7/16 dev eth0", "route add default via 10.81.0.1"] {
        phone.netns().ip(words).unwrap();
    }
    has_a_gate_for_the_first_lan_alone_and_tells_why(&world, &machine, &visitor, &phone);
    run(
        &machine,
        "cd /etc/kavadam
         kavadam nas set staff --site 'First site' --source 127.0.0.1 --coa-port 3798 --renews \\
           --secret-file lan1-radius.secret --uam-secret-file lan1-uam.secret",
    );
    run(
        &machine,
        "sed -i 1d /etc/kavadam/lan1.toml
         systemctl restart kavadam-closed@lan1 kavadam@lan1 kavadam-dnsmasq@lan1",
    );
    for unit in [
        "kavadam-closed@lan1",
        "kavadam@lan1",
        "kavadam-dnsmasq@lan1",
        "kavadam",
        "kavadam-advertise",
    ] {
        assert_eq!(
            property(&machine, unit, "ActiveState"),
            "active",
            "{unit}: {}",
            machine.said()
        );
    }
    let has_nothing_to_tell = property(&machine, "kavadam-advertise@lan1", "Result") == "success";
    assert!(has_nothing_to_tell, "a LAN without IPv6: {}", machine.said());
    let told = run(&machine, "kavadam check || true");
    assert!(
        told.contains("ok       the LAN lan1 has its gate (/etc/kavadam/lan1.toml)"),
        "{told}"
    );
    for directory in [
        "/var/lib/kavadam-lan1",
        "/var/lib/kavadam-dnsmasq-lan1",
        "/run/kavadam-lan1",
    ] {
        run(&machine, &format!("test -d {directory}"));
    }
    assert!(phone.dhcp().unwrap().address.starts_with("10.81."));
    // The gate's first word to the centre may have come before the centre knew it.
    let is_welcomed = || phone.open(CHECK).is_ok_and(|page| page.form("/number").is_ok());
    assert!(until(Duration::from_secs(30), is_welcomed), "{}", machine.said());
    // From the second LAN everything would have come through but for the first one's gate.
    run(
        &machine,
        "systemctl stop kavadam kavadam@lan1; nft delete table inet kavadam; nft delete table inet kavadam-lan1",
    );
    assert!(passed(&world, &phone) > 0, "this test looks in the wrong place");
}
