//! What those of a plan get together of a full line, by their class.

use std::time::Duration;

use kavadam_lab::netns::Process;
use kavadam_lab::world::until;
use kavadam_lab::{Phone, Tally, World};

use crate::{ENDLESS, NUMBER, beside_others, is_online, log_in, phone, world_with};

const STAFF: &str = "9876543211";
const PATIENCE: Duration = Duration::from_secs(20);
/// The line and its classes, as part of the gateway's configuration.
const LINE: &str = "[gateway.uplink]\nup = \"8Mbit\"\ndown = \"8Mbit\"\n[gateway.uplink.classes.free]\nat_most = \"60%\"\n\
     [gateway.uplink.classes.public-service]\nat_least = \"70%\"\n";
const OCTETS_PER_SEC: u64 = 1_000_000;
/// In which buckets and windows fill.
const LEFT_OUT: Duration = Duration::from_secs(3);
const SECONDS: u64 = 4;

/// What gate show tells of each session: its class, and whether it waits in a queue of one.
fn classes(world: &World) -> Vec<(Option<String>, bool)> {
    let shown = world.admin_json(&["gate", "show"]).unwrap();
    let mut all: Vec<_> = shown["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["class"].as_str().map(ToOwned::to_owned), one["queue"].is_string()))
        .collect();
    all.sort_unstable();
    all
}

fn flows(phone: &Phone, count: usize) -> Vec<Process> {
    (0..count).map(|_| phone.download(ENDLESS).unwrap()).collect()
}

/// Octets that each has got in some seconds.
fn got<const N: usize>(world: &World, phones: [&Phone; N]) -> [u64; N] {
    std::thread::sleep(LEFT_OUT);
    let tallies = phones.map(|phone| Tally::begin(world, &[phone]).unwrap());
    std::thread::sleep(Duration::from_secs(SECONDS));
    tallies.map(|tally| tally.down().unwrap())
}

fn said(world: &World, words: &str) -> bool {
    std::fs::read_to_string(world.gateway.log()).unwrap().contains(words)
}

#[test]
fn a_plans_class_holds_on_a_full_line_and_follows_the_plan() {
    let _machine = beside_others();
    let mut world = world_with(LINE, &["--quota", "none", "--down", "1Gbit", "--class", "free"]);
    let (citizen, staff) = (phone(&mut world), phone(&mut world));
    let admin = |world: &World, words: &[&str]| world.admin(words).unwrap();
    admin(
        &world,
        &[
            "plan",
            "set",
            "staff",
            "--quota",
            "none",
            "--down",
            "1Gbit",
            "--class",
            "public-service",
        ],
    );
    log_in(&world, &citizen, NUMBER);
    log_in(&world, &staff, STAFF);
    let free = || (Some("free".to_owned()), true);
    let service = || (Some("public-service".to_owned()), true);
    assert_eq!(classes(&world), [free(), free()]);
    admin(&world, &["subscriber", "plan", STAFF, "staff"]);
    assert!(
        until(PATIENCE, || classes(&world) == [free(), service()]),
        "by an order"
    );
    let seen = world.admin_json(&["gate", "trace", staff.mac()]).unwrap().to_string();
    assert!(seen.contains("of the class public-service"), "{seen}");
    assert!(until(PATIENCE, || said(&world, "the uplink is shared fairly")));

    let whole = OCTETS_PER_SEC * SECONDS;
    let _busy = flows(&citizen, 8);
    let [alone] = got(&world, [&citizen]);
    assert!(
        (whole * 40..=whole * 70).contains(&(alone * 100)),
        "the ceiling: {alone}"
    );
    let flow = flows(&staff, 1);
    let [few, most] = got(&world, [&citizen, &staff]);
    assert!(most * 100 >= (few + most) * 65, "the guarantee: {most} beside {few}");
    assert!(few * 100 >= (few + most) * 5, "and the rest: {few} beside {most}");

    world.gateway.kill();
    let [few, most] = got(&world, [&citizen, &staff]);
    assert!(most * 100 >= (few + most) * 65, "kavadam is dead: {most} beside {few}");
    world.gateway.start(&world.gate).unwrap();
    assert!(
        until(PATIENCE, || classes(&world) == [free(), service()]),
        "after kill -9"
    );
    drop(flow);

    // A class goes and comes while people are in it, and another ceiling is one at once.
    world
        .gateway
        .reload_with("[gateway.uplink.classes.public-service]\nat_least = \"70%\"\n", "")
        .unwrap();
    assert!(until(PATIENCE, || classes(&world).contains(&(service().0, false))));
    assert!(is_online(&staff));
    let shown = admin(&world, &["gate", "show"]);
    assert!(shown.contains("public-service (not here)"), "{shown}");
    world
        .gateway
        .reload_with(
            "at_most = \"60%\"\n",
            "at_most = \"20%\"\n[gateway.uplink.classes.public-service]\n",
        )
        .unwrap();
    assert!(until(PATIENCE, || classes(&world) == [free(), service()]));
    let [slow] = got(&world, [&citizen]);
    assert!(
        (whole * 10..=whole * 30).contains(&(slow * 100)),
        "the other ceiling: {slow}"
    );

    admin(&world, &["plan", "set", "citizen", "--class", "none"]);
    assert!(
        until(PATIENCE, || classes(&world) == [(None, false), service()]),
        "the plan has none any more"
    );
    let [quick] = got(&world, [&citizen]);
    assert!(quick * 100 >= whole * 70, "no ceiling any more: {quick}");
}

#[test]
fn what_no_guarantee_takes_is_shared_session_by_session_across_classes() {
    let _machine = beside_others();
    let config = LINE
        .replace("at_most = \"60%\"\n", "")
        .replace("at_least = \"70%\"\n", "");
    let mut world = world_with(&config, &["--quota", "none", "--down", "1Gbit", "--class", "free"]);
    let phones = [phone(&mut world), phone(&mut world), phone(&mut world)];
    for (phone, number) in phones.iter().zip([NUMBER, "9876543212", STAFF]) {
        log_in(&world, phone, number);
    }
    world
        .admin(&["plan", "set", "plain", "--quota", "none", "--down", "1Gbit"])
        .unwrap();
    world.admin(&["subscriber", "plan", STAFF, "plain"]).unwrap();
    let free = || (Some("free".to_owned()), true);
    assert!(until(PATIENCE, || classes(&world) == [(None, false), free(), free()]));
    assert!(until(PATIENCE, || said(&world, "the uplink is shared fairly")));
    let _flows: Vec<_> = phones.iter().map(|phone| flows(phone, 4)).collect();
    let got = got(&world, phones.each_ref());
    let sum: u64 = got.iter().sum();
    for one in got {
        assert!((25..=42).contains(&(one * 100 / sum)), "{got:?}: each a third");
    }
}

#[test]
fn a_plan_whose_class_the_gate_has_not_lets_people_in_and_the_log_says_so() {
    let _machine = beside_others();
    let mut world = world_with("burst = \"0B\"\n", &["--quota", "100MB", "--class", "free"]);
    let citizen = phone(&mut world);
    log_in(&world, &citizen, NUMBER);
    assert!(is_online(&citizen));
    assert!(said(&world, "add [gateway.uplink.classes.free] to the configuration"));
    assert_eq!(classes(&world), [(Some("free".to_owned()), false)]);
    world
        .gateway
        .reload_with("burst = \"0B\"\n", &format!("burst = \"0B\"\n{LINE}"))
        .unwrap();
    assert!(until(PATIENCE, || classes(&world) == [(Some("free".to_owned()), true)]));
    // More than the line carries is refused as a whole.
    world
        .gateway
        .reload_with("at_most = \"60%\"", "at_least = \"40%\"")
        .unwrap();
    assert!(until(PATIENCE, || said(&world, "guarantee less")));
    world
        .gateway
        .reload_with("at_least = \"40%\"", "at_most = \"60%\"")
        .unwrap();
    assert_eq!(classes(&world), [(Some("free".to_owned()), true)]);
    assert!(is_online(&citizen));
}
