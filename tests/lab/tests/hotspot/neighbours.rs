//! Devices beside each other on the gateway's own bridge: what one may do to another, which is nothing.

use std::process::Stdio;
use std::time::Duration;

use kavadam_lab::world::until;
use kavadam_lab::{Phone, World};

use crate::{NUMBER, beside_others, log_in, phone, world_with};

fn can_ping(from: &Phone, address: &str) -> bool {
    from.netns()
        .output("ping", &["-c2", "-i0.2", "-W1", address])
        .unwrap()
        .status
        .success()
}

/// As the gate's own command shows it.
fn gate(world: &World, words: &[&str]) -> serde_json::Value {
    world.admin_json(&[&["gate"], words].concat()).unwrap()
}

#[test]
fn one_device_cannot_reach_another_unless_the_configuration_lets_it() {
    let _machine = beside_others();
    for (extra, reaches) in [("", false), ("isolate_clients = false\n", true)] {
        let mut world = world_with(extra, &["--quota", "100MB"]);
        let (one, two) = (phone(&mut world), phone(&mut world));
        // The gateway looks for new ports each second.
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(
            can_ping(&one, &two.address().unwrap()),
            reaches,
            "{extra:?}, before login"
        );
        log_in(&world, &one, NUMBER);
        log_in(&world, &two, "9876543211");
        assert_eq!(
            can_ping(&one, &two.address().unwrap()),
            reaches,
            "{extra:?}, after login"
        );
    }
}

#[test]
fn a_false_router_and_dhcp_server_among_the_devices_is_heard_by_nobody_and_noted() {
    let _machine = beside_others();
    let mut world = world_with("isolate_clients = false\n", &["--quota", "100MB"]);
    let (honest, rogue) = (phone(&mut world), phone(&mut world));
    rogue.netns().ip("address add 192.168.66.1/24 dev eth0").unwrap();
    rogue.netns().ip("address add fd66::1/64 dev eth0 nodad").unwrap();
    let mut server = rogue
        .netns()
        .command("dnsmasq")
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--interface=eth0",
            "--user=root",
            "--enable-ra",
        ])
        .args([
            "--dhcp-range=192.168.66.10,192.168.66.20",
            "--dhcp-range=fd66::,ra-only",
            "--dhcp-authoritative",
            "--no-ping",
        ])
        .args(["--leasefile-ro", "--pid-file="])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(server.try_wait().unwrap().is_none(), "the false server does not run");
    honest.slaac().unwrap();
    honest.dhcp().unwrap();
    assert!(
        honest.address().unwrap().starts_with("10.80."),
        "{}",
        honest.address().unwrap()
    );
    let routes = honest.netns().run("ip", &["-6", "route"]).unwrap();
    assert!(!routes.contains("fd66"), "{routes}");
    server.kill().unwrap();
    server.wait().unwrap();
    let refused = &gate(&world, &["show"])["refused_frames"];
    for what in ["router_advertisements", "dhcp_servers"] {
        assert!(refused[what].as_u64().unwrap() > 0, "{what} were not noted: {refused}");
    }
}

#[test]
fn the_gate_says_why_a_device_is_where_it_is() {
    let _machine = beside_others();
    let mut world = world_with("", &["--quota", "100MB", "--down", "8Mbit"]);
    let stranger = world.phone().unwrap();
    let state = |world: &World, phone: &Phone| gate(world, &["trace", phone.mac()])["state"].clone();
    assert_eq!(state(&world, &stranger), "unheard");
    stranger.dhcp().unwrap();
    assert_eq!(state(&world, &stranger), "stranger");
    let is_told = || {
        let steps = gate(&world, &["trace", stranger.mac()])["steps"].to_string();
        steps.contains("was not let in a moment ago")
    };
    assert!(
        until(Duration::from_secs(5), is_told),
        "the gateway asked whether it is remembered"
    );
    log_in(&world, &stranger, NUMBER);
    let trace = gate(&world, &["trace", &stranger.mac().to_uppercase().replace(':', "-")]);
    assert_eq!(trace["state"], "online");
    let facts = trace["steps"].to_string();
    assert!(facts.contains("towards the device: 8,000,000 bit/s"), "{facts}");
    let shown = gate(&world, &["show"]);
    let one = &shown["sessions"][0];
    assert_eq!((&one["state"], &one["slot"]), (&"online".into(), &trace["slot"]));
    assert!(
        one["person"].as_str().is_some_and(|person| !person.contains(NUMBER)),
        "{shown}"
    );
    assert!(one["idle_secs"].as_u64().unwrap() < 30, "{shown}");
    assert!(facts.contains("has its session"), "{facts}");
    assert!(
        !shown.to_string().to_lowercase().contains(&stranger.mac()[9..]),
        "{shown}"
    );
    let top = gate(&world, &["top", "--once"]);
    assert_eq!(top["sessions"], 1);
    assert!(world.admin(&["gate", "trace", "not-a-mac"]).is_err());
}

/// What the gateway says, by this, of a device.
fn told_by(world: &World, phone: &Phone, rule: &str) -> Option<serde_json::Value> {
    let told = gate(world, &["trace", phone.mac()]);
    let steps = told["steps"].as_array().unwrap().clone();
    steps.into_iter().find(|step| step["rule"] == rule)
}

#[test]
fn whoever_sends_anothers_client_identifier_is_not_given_its_lease() {
    let mut world = world_with("", &["--quota", "100MB"]);
    let owner = phone(&mut world);
    let mine = owner.address().unwrap();
    assert_eq!(owner.ask_by_the_identifier_of(&owner).unwrap().address, mine);
    let thief = world.phone().unwrap();
    assert_ne!(thief.ask_by_the_identifier_of(&owner).unwrap().address, mine);
    log_in(&world, &owner, NUMBER);
}

#[test]
fn two_devices_of_one_address_behind_one_port_are_noticed_by_how_they_ask() {
    let mut world = world_with("", &["--quota", "100MB"]);
    let owner = phone(&mut world);
    log_in(&world, &owner, NUMBER);
    let ask = |as_whom: &str| owner.ask_as(as_whom).unwrap();
    let lines = |world: &World| {
        let log = std::fs::read_to_string(world.gateway.log()).unwrap();
        let about = log.lines().filter(|line| line.contains("in two ways in turns"));
        about.map(str::to_owned).collect::<Vec<_>>()
    };
    ask("android-dhcp-15");
    world.gateway.start_dnsmasq(&world.gate).unwrap();
    ask("android-dhcp-15");
    ask("MSFT 5.0");
    ask("android-dhcp-15");
    // Later than the gateway hears of it.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(told_by(&world, &owner, "DHCP"), None, "it may look into another system");
    assert_eq!(lines(&world), [""; 0]);
    ask("MSFT 5.0");
    assert!(
        until(Duration::from_secs(5), || told_by(&world, &owner, "DHCP").is_some()),
        "{:#}",
        gate(&world, &["trace", owner.mac()])
    );
    let told = lines(&world);
    assert!(told.len() == 1 && !told[0].contains(owner.mac()), "{told:?}");
}

#[test]
fn a_device_that_takes_anothers_address_while_that_is_there_is_noticed() {
    let _machine = beside_others();
    let mut world = world_with("", &["--quota", "100MB"]);
    let (owner, clone) = (phone(&mut world), world.phone().unwrap());
    log_in(&world, &owner, NUMBER);
    let bridge = |world: &World| told_by(world, &owner, "the bridge");
    assert_eq!(bridge(&world), None);

    clone
        .netns()
        .ip(&format!("link set eth0 address {}", owner.mac()))
        .unwrap();
    clone
        .netns()
        .ip(&format!("address add {}/16 dev eth0", owner.address().unwrap()))
        .unwrap();
    clone.netns().ip("route add default via 10.80.0.1").unwrap();
    // At one pace, a few milliseconds apart, the same of the two would be the last that the bridge heard, whenever one looks.
    let _both: Vec<_> = [(&owner, "0.07"), (&clone, "0.045")]
        .map(|(phone, pace)| {
            let log = world.dir().join("ping.log");
            phone
                .netns()
                .start(&log, "ping", &["-i", pace, "-W", "1", "203.0.113.10"])
                .unwrap()
        })
        .into();
    assert!(
        until(Duration::from_secs(40), || bridge(&world).is_some()),
        "{:#}",
        gate(&world, &["trace", owner.mac()])
    );
    let fact = bridge(&world).unwrap()["fact"].to_string();
    assert!(fact.contains("ap1 and ap2"), "{fact}");
    let log = std::fs::read_to_string(world.gateway.log()).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("seen at several ports in turns"))
        .unwrap();
    assert!(line.contains("ap1, ap2") && !line.contains(owner.mac()), "{line}");
}
