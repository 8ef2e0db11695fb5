//! A second LAN by the units' templates, as docs/operations.md has it.

use std::time::Duration;

use kavadam_lab::citizen::CHECK;
use kavadam_lab::world::until;

use crate::{block, boot, property, run, world};

#[test]
fn a_second_lan_has_units_directories_and_a_gate_of_its_own() {
    let mut world = world();
    for words in ["link add lan1 type bridge", "link set lan1 up"] {
        world.gate.ip(words).unwrap();
    }
    let gate = world.gate.name().to_owned();
    let phone = world.phone_on(&gate, "lan1").unwrap();
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
            "
        ),
    );
    run(
        &machine,
        "systemctl enable -q --now kavadam-closed kavadam kavadam-dnsmasq",
    );
    run(
        &machine,
        "cd /etc/kavadam
         kavadam nas set staff --site 'First site' --source 127.0.0.1 --coa-port 3798 --renews \\
           --secret-file lan1-radius.secret --uam-secret-file lan1-uam.secret",
    );
    run(
        &machine,
        "systemctl enable -q --now kavadam-closed@lan1 kavadam@lan1 kavadam-dnsmasq@lan1",
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
}
