//! Addresses by DHCP, while somebody takes them for devices that he invents.

use std::time::Duration;

use kavadam_lab::world::until;
use kavadam_lab::{Phone, World};
use serde_json::Value;

use crate::{NUMBER, beside_others, log_in, phone, world};

/// Of the pool; a port may hold half of it.
const ADDRESSES: u32 = 160;
const PART: u32 = ADDRESSES / 2;
/// A bus, which comes in within a minute.
const CROWD: u32 = 60;

/// A world with few addresses.
fn narrow() -> World {
    let mut world = world(&["--quota", "100MB"]);
    let range = format!("[gateway.dnsmasq]\nrange4 = [\"10.80.1.1\", \"10.80.1.{ADDRESSES}\"]\n");
    world.gateway.amend("[gateway.dnsmasq]\n", &range).unwrap();
    world.gateway.stop().unwrap();
    let World { gateway, gate, .. } = &mut world;
    gateway.start(gate).unwrap();
    gateway.start_dnsmasq(gate).unwrap();
    world
}

/// Addresses that a device gets for others, in some seconds.
fn taken(world: &World, attacker: &Phone, kind: &str, more: &[&str]) -> u32 {
    let words = [&["starve", kind, "--mac", attacker.mac()], more].concat();
    let told = world.ask_lab_in(attacker.netns(), &words).unwrap();
    told.trim().parse().unwrap()
}

/// As the gate's own command shows them.
fn addresses(world: &World) -> Value {
    world.admin_json(&["gate", "show"]).unwrap()["addresses"].clone()
}

fn log_says(world: &World, words: &str) -> bool {
    std::fs::read_to_string(world.gateway.log()).unwrap().contains(words)
}

#[test]
fn who_invents_devices_gets_a_part_of_the_addresses_and_other_ports_have_theirs() {
    let _machine = beside_others();
    let mut world = narrow();
    let (attacker, citizen) = (world.phone().unwrap(), phone(&mut world));
    // The gateway looks for new ports each second.
    std::thread::sleep(Duration::from_millis(1500));
    attacker.dhcp().unwrap();

    let got = taken(&world, &attacker, "devices", &[]);
    eprintln!("as devices: {got} addresses");
    assert!(
        (PART * 3 / 4..PART).contains(&got),
        "{got} addresses, {}",
        addresses(&world)
    );
    for kind in ["clients", "longer"] {
        let got = taken(&world, &attacker, kind, &["--seconds", "1"]);
        assert_eq!(got, 0, "{kind}: {}", addresses(&world));
    }
    attacker.dhcp().unwrap();
    assert_eq!(addresses(&world)["full_ports"], serde_json::json!(["ap1"]));

    // Whoever comes from another port with his lease keeps it.
    let mine = citizen.address().unwrap();
    let own = attacker.mac().to_owned();
    attacker
        .netns()
        .ip(&format!("link set eth0 address {}", citizen.mac()))
        .unwrap();
    assert_eq!(attacker.dhcp().unwrap().address, mine);
    attacker.netns().ip(&format!("link set eth0 address {own}")).unwrap();

    let bus = world.phone().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let got = taken(
        &world,
        &bus,
        "devices",
        &["--seconds", "30", "--at-once", "8", "--most", &CROWD.to_string()],
    );
    assert_eq!(got, CROWD, "a crowd at another port: {}", addresses(&world));
    let newcomer = phone(&mut world);
    log_in(&world, &newcomer, NUMBER);
    citizen.dhcp().unwrap();
    let told = addresses(&world);
    assert!(told["refused_requests"].as_u64().unwrap() > 100, "{told}");
    assert!(
        until(Duration::from_secs(15), || log_says(
            &world,
            "requests for an address are refused"
        )),
        "{told}"
    );
}

#[test]
fn a_pool_that_comes_to_its_end_is_told() {
    let _machine = beside_others();
    let mut world = narrow();
    let only = world.phone().unwrap();
    let nearly_all = (ADDRESSES * 9 / 10).to_string();
    // Where there is one port it is everybody's.
    let got = taken(
        &world,
        &only,
        "clients",
        &["--seconds", "30", "--at-once", "8", "--most", &nearly_all],
    );
    assert_eq!(got.to_string(), nearly_all, "{}", addresses(&world));
    assert!(
        until(Duration::from_secs(10), || log_says(
            &world,
            "nearly all addresses of gateway.dnsmasq.range4"
        )),
        "{}",
        addresses(&world)
    );
    let check = world.gateway.check(&world.gate);
    assert!(
        check.contains(&format!("{nearly_all} of {ADDRESSES} addresses")),
        "{check}"
    );
    let got = taken(&world, &only, "clients", &["--seconds", "1"]);
    assert!(got <= 6, "{got} of the last tenth, which is slow");
}
