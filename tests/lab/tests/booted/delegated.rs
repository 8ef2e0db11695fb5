//! IPv6 as the provider gives it, by systemd-networkd as docs/operations.md has it.

use std::time::Duration;

use kavadam_lab::provider::Provider;
use kavadam_lab::world::{WEB_PORT, WEB6, until};
use kavadam_lab::{Citizen, Phone};
use serde_json::Value;

use crate::{block, boot, run, world};

const FIRST: &str = "2001:db8:a000::";
const SECOND: &str = "2001:db8:b000::";
const START: &str = "systemctl enable -q --now kavadam-closed kavadam kavadam-dnsmasq";

/// The documentation's networkd, in place of fixed addresses at the WAN.
fn networkd() -> String {
    let both = block("# wan0.network\n");
    let (wan0, beside) = both.split_once("# lan0.network, beside what is above\n").unwrap();
    format!(
        "
        echo 'delegated_prefixes = true' >>/etc/kavadam/kavadam.toml
        cat >/etc/systemd/network/wan0.network <<'END'\n{wan0}END
        cat >>/etc/systemd/network/lan0.network <<'END'\n{beside}END
        "
    )
}

/// Whether the phone reaches the internet from this address of its own.
fn reaches_from(phone: &Phone, own: &str) -> bool {
    let url = format!("http://[{WEB6}]:{WEB_PORT}/bytes/1000");
    let words = ["-sS", "-m", "2", "-o", "/dev/null", "--interface", own, &url];
    phone.netns().output("curl", &words).unwrap().status.success()
}

#[test]
fn networkd_as_documented_is_delegated_a_prefix_and_another_and_sessions_go_on() {
    let mut world = world();
    let provider = Provider::with_router(&world, FIRST).unwrap();
    let phone = world.phone().unwrap();
    let machine = boot(&world, &networkd());
    let has = |prefix: &str| {
        let shown = run(&machine, "ip -6 -o address show dev lan0 scope global");
        shown.contains(&format!("{prefix}1/64"))
    };
    assert!(until(Duration::from_secs(20), || has(FIRST)), "{}", machine.said());
    run(&machine, START);
    phone.dhcp().unwrap();
    let first = phone
        .slaac_in("2001:db8:a000:")
        .unwrap_or_else(|error| panic!("{error:#}\n{}", machine.said()));
    let told = machine.output("kavadam check").unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("devices have addresses of 2001:db8:a000::/64"), "{told}");
    assert!(!reaches_from(&phone, &first), "a stranger");
    Citizen {
        phone: &phone,
        number: "9876543210",
    }
    .log_in(&world)
    .unwrap_or_else(|error| panic!("no login: {error:#}\n{}", machine.said()));
    assert!(reaches_from(&phone, &first), "{}", machine.said());
    let sessions = || -> Vec<Value> { serde_json::from_str(&run(&machine, "kavadam session list --json")).unwrap() };
    let before = sessions();

    provider.renumber(&world, SECOND).unwrap();
    let second = phone
        .slaac_in("2001:db8:b000:")
        .unwrap_or_else(|error| panic!("{error:#}\n{}", machine.said()));
    assert!(
        until(Duration::from_secs(10), || reaches_from(&phone, &second)),
        "{}",
        machine.said()
    );
    assert!(!has(FIRST) && has(SECOND), "networkd keeps what has gone");
    let is_over = || {
        let shown = phone.netns().ip("-6 -o address show dev eth0 scope global deprecated");
        shown.is_ok_and(|shown| shown.contains(&first))
    };
    assert!(until(Duration::from_secs(10), is_over), "{}", machine.said());
    assert!(!reaches_from(&phone, &first), "the first prefix is over");
    let after = sessions();
    assert_eq!(
        (after.len(), &after[0]["id"]),
        (1, &before[0]["id"]),
        "the same session"
    );
    assert_ne!(after[0]["state"], "ended");
}
