//! Public addresses divided among the devices: whose was a connection that a server in the internet has seen?

use std::collections::BTreeSet;
use std::time::Duration;

use kavadam_lab::world::{WEB, until};
use kavadam_lab::{Phone, World};
use serde_json::Value;

use crate::{ENDLESS, NUMBER, beside_others, log_in, phone, world_with};

const OTHER_NUMBER: &str = "9876543211";
const CONNECTIONS: usize = 30;

/// Two public addresses, each for 126 devices.
fn divided() -> World {
    let mut world = world_with(
        "[gateway.nat]\naddresses = []\nports_each = 512\n",
        &["--quota", "none"],
    );
    world.gate.ip("address add 198.51.100.3/24 dev wan0").unwrap();
    let addresses = "addresses = [\"198.51.100.2\", \"198.51.100.3\"]";
    world.gateway.amend("addresses = []", addresses).unwrap();
    let range = "[gateway.dnsmasq]\nrange4 = [\"10.80.1.0\", \"10.80.1.251\"]\n";
    world.gateway.amend("[gateway.dnsmasq]\n", range).unwrap();
    world.gateway.stop().unwrap();
    let World { gateway, gate, .. } = &mut world;
    gateway.start(gate).unwrap();
    gateway.start_dnsmasq(gate).unwrap();
    world
}

/// Addresses and ports by which the server sees connections now.
fn seen(world: &World) -> BTreeSet<(String, u16)> {
    let told = world
        .internet
        .run("ss", &["-Htn", "state", "established", &format!("src {WEB}:8000")])
        .unwrap();
    let peer = |line: &str| {
        let (address, port) = line.split_whitespace().last()?.rsplit_once(':')?;
        Some((
            address
                .trim_matches(['[', ']'])
                .trim_start_matches("::ffff:")
                .to_owned(),
            port.parse().ok()?,
        ))
    };
    told.lines().filter_map(peer).collect()
}

fn behind(world: &World, (address, port): &(String, u16)) -> Vec<Value> {
    let told = world
        .admin_json(&["session", "behind", &format!("{address}:{port}")])
        .unwrap();
    told.as_array().unwrap().clone()
}

/// As a person would write it down.
fn now(world: &World) -> String {
    world
        .gate
        .run("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])
        .unwrap()
        .trim()
        .to_owned()
}

/// What the server sees of so many connections of one phone.
fn seen_of(world: &World, phone: &Phone) -> BTreeSet<(String, u16)> {
    let _connections: Vec<_> = (0..CONNECTIONS).map(|_| phone.download(ENDLESS).unwrap()).collect();
    let mut found = BTreeSet::new();
    assert!(until(Duration::from_secs(10), || {
        found = seen(world);
        found.len() == CONNECTIONS
    }));
    found
}

#[test]
fn a_public_address_and_port_lead_to_one_session_and_another_devices_never() {
    let _machine = beside_others();
    let mut world = divided();
    let (first, second) = (phone(&mut world), phone(&mut world));
    let mut sessions = Vec::new();
    for (phone, number) in [(&first, NUMBER), (&second, OTHER_NUMBER)] {
        log_in(&world, phone, number);
        let found = seen_of(&world, phone);
        let all_lead_home = || found.iter().all(|one| behind(&world, one).len() == 1);
        assert!(until(Duration::from_secs(5), all_lead_home), "{found:?}");
        let ids: BTreeSet<i64> = found
            .iter()
            .map(|one| behind(&world, one)[0]["id"].as_i64().unwrap())
            .collect();
        assert_eq!(ids.len(), 1, "all are of one session");
        sessions.extend(ids);
        assert!(
            until(Duration::from_secs(10), || seen(&world).is_empty()),
            "connections end"
        );
    }
    assert_ne!(sessions[0], sessions[1]);

    let shown = world
        .admin_json(&["session", "show", &sessions[0].to_string()])
        .unwrap();
    let (address, low, high) = (&shown["public_address"], &shown["first_port"], &shown["last_port"]);
    assert_eq!(high.as_u64().unwrap() - low.as_u64().unwrap(), 511);
    let own = (
        address.as_str().unwrap().to_owned(),
        u16::try_from(low.as_u64().unwrap()).unwrap(),
    );
    assert_eq!(behind(&world, &own)[0]["id"], sessions[0]);
    let nobodys = ("198.51.100.3".to_owned(), 65_535);
    assert_eq!(behind(&world, &nobodys), [] as [Value; 0]);
    let earlier = format!("{}:{}", own.0, own.1);
    let told = world
        .admin_json(&["session", "behind", &earlier, "--at", "2020-01-01T00:00:00Z"])
        .unwrap();
    assert_eq!(told, serde_json::json!([]), "nobody was there then");
    // The address goes to another device; what its last one did stays its own.
    let before = now(&world);
    let address = first.address().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let event = |kind: &str, mac: &str| {
        let words = [
            "lease-event",
            "--socket",
            &world.dir().join("lease.sock").display().to_string(),
            kind,
            mac,
            &address,
        ];
        world.gate.run(&crate::program().display().to_string(), &words).unwrap();
    };
    event("del", first.mac());
    assert!(
        until(Duration::from_secs(10), || behind(&world, &own).is_empty()),
        "it has it no longer"
    );
    let then = ["session", "behind", &earlier, "--at", &before];
    assert_eq!(world.admin_json(&then).unwrap()[0]["id"], sessions[0], "it had it then");
    event("add", first.mac());
    assert!(until(Duration::from_secs(10), || behind(&world, &own).len() == 1));
    // What has no ports of its own to be told apart by goes through as well.
    assert!(first.netns().run("ping", &["-c", "1", "-W", "2", WEB]).is_ok());
}
