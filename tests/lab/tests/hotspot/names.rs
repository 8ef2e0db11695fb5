//! Names of people online: what is free by name, what is blocked, and what becomes of them when kavadam dies.

use std::time::Duration;

use kavadam_lab::gateway::API_HOST;
use kavadam_lab::world::{WEB, WEB_PORT, WEB6, until};
use kavadam_lab::{Phone, World};
use serde_json::Value;

use crate::{NUMBER, beside_others, end, log_in, octets, phone, sessions, world_with};

const QUOTA: [&str; 2] = ["--quota", "100MB"];

pub fn fetches(phone: &Phone, family: &str, url: &str) -> bool {
    let words = ["-sSk", "-m", "10", "-o", "/dev/null", family, url];
    phone.netns().output("curl", &words).unwrap().status.success()
}

pub fn resolves(phone: &Phone, name: &str) -> bool {
    let output = phone.netns().output("getent", &["ahostsv4", name]).unwrap();
    output.status.success() && !output.stdout.is_empty()
}

#[test]
fn what_is_free_by_name_is_charged_to_nobody_and_counted_apart() {
    let _machine = beside_others();
    let mut world = world_with("free = [\"*.example.net\"]\n", &QUOTA);
    let phone = phone(&mut world);
    phone.slaac().unwrap();
    log_in(&world, &phone, NUMBER);
    for family in ["-4", "-6"] {
        let url = format!("http://www.example.net:{WEB_PORT}/bytes/3000000");
        assert!(fetches(&phone, family, &url), "{family}");
    }
    let shown = world.admin_json(&["gate", "show"]).unwrap();
    assert!(shown["free_down_octets"].as_u64().unwrap() > 6_000_000, "{shown}");
    end(&world);
    let charged = octets(&sessions(&world)[0]);
    assert!(charged < 200_000, "{charged} octets were charged");
}

#[test]
fn the_record_of_a_session_tells_what_was_free_beside_what_was_charged() {
    let _machine = beside_others();
    let mut world = world_with(&format!("free = [\"{WEB6}\"]\n"), &QUOTA);
    let phone = phone(&mut world);
    phone.slaac().unwrap();
    log_in(&world, &phone, NUMBER);
    let free = format!("http://[{WEB6}]:{WEB_PORT}/bytes/3000000");
    let charged = format!("http://{WEB}:{WEB_PORT}/bytes/1000000");
    let both = || fetches(&phone, "-6", &free) && fetches(&phone, "-4", &charged);
    assert!(both());
    world.gateway.kill();
    assert!(fetches(&phone, "-6", &free), "while nobody runs");
    let World { gateway, gate, .. } = &mut world;
    gateway.start(gate).unwrap();
    assert!(both());
    let shown = world.admin_json(&["gate", "show"]).unwrap();
    end(&world);
    let told = &sessions(&world)[0];
    let free_of = |session: &Value, way: &str| session[format!("free_{way}_octets")].as_u64();
    for (way, least) in [("up", 1_000), ("down", 9_000_000)] {
        let octets = free_of(told, way).unwrap();
        assert!((least..least + 600_000).contains(&octets), "{way}: {octets}");
        assert_eq!(
            free_of(&shown, way),
            Some(octets),
            "nobody else's, in the kernel and in the record"
        );
    }
    let down = told["down_octets"].as_u64().unwrap();
    assert!((2_000_000..2_200_000).contains(&down), "{down}");
    let sheet = world.admin(&["session", "show", &told["id"].to_string()]).unwrap();
    assert!(sheet.contains("free down"), "{sheet}");
}

#[test]
fn what_is_blocked_does_not_exist_until_the_list_says_otherwise() {
    let _machine = beside_others();
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), "0.0.0.0 www.example.net\n").unwrap();
    let extra = format!(
        "[gateway.blocked]\nfiles = [\"{}\"]\nports = [\"tcp/8000\"]\n",
        list.path().display()
    );
    let mut world = world_with(&extra, &QUOTA);
    let phone = phone(&mut world);
    log_in(&world, &phone, NUMBER);
    assert!(!resolves(&phone, "www.example.net"));
    assert!(resolves(&phone, "www.google.com"), "another name");
    assert!(
        !fetches(&phone, "-4", "http://203.0.113.10:8000/bytes/1"),
        "the port is blocked"
    );
    std::fs::write(list.path(), "# empty\n").unwrap();
    assert!(until(Duration::from_secs(20), || resolves(&phone, "www.example.net")));
}

#[test]
fn a_device_that_calls_itself_the_gate_takes_no_name_and_none_is_told_of_anybody() {
    let _machine = beside_others();
    let mut world = world_with("", &QUOTA);
    let domain = API_HOST.split_once('.').unwrap().1;
    let mut addresses = Vec::new();
    for name in ["gate", "wpad"] {
        addresses.push(world.phone().unwrap().ask_named(name).unwrap().address);
    }
    let phone = phone(&mut world);
    let told = phone.netns().run("getent", &["ahostsv4", API_HOST]).unwrap();
    assert!(told.lines().all(|line| line.starts_with("10.80.0.1 ")), "{told}");
    assert!(!resolves(&phone, &format!("wpad.{domain}")));
    for address in addresses {
        let told = phone.netns().output("getent", &["hosts", &address]).unwrap();
        assert!(told.stdout.is_empty(), "{}", String::from_utf8_lossy(&told.stdout));
    }
}

#[test]
fn names_are_resolved_though_kavadam_is_dead() {
    let _machine = beside_others();
    let mut world = world_with("free = [\"free.example.net\"]\n", &QUOTA);
    let phone = phone(&mut world);
    log_in(&world, &phone, NUMBER);
    assert!(resolves(&phone, "www.example.net"));
    world.gateway.kill();
    std::thread::sleep(Duration::from_secs(4));
    assert!(resolves(&phone, "www.example.net"));
}

#[test]
fn a_changed_configuration_is_taken_over_while_a_download_goes_on() {
    let _machine = beside_others();
    let mut world = world_with("walled_garden = []\nfree = [\"free.example.net\"]\n", &QUOTA);
    let (citizen, stranger) = (phone(&mut world), phone(&mut world));
    log_in(&world, &citizen, NUMBER);
    let mut download = citizen.download(crate::ENDLESS).unwrap();
    let url = "http://203.0.113.10:8000/bytes/1";
    let says = |words: &str| {
        let log = world.gateway.log();
        until(Duration::from_secs(5), || {
            std::fs::read_to_string(log).unwrap().contains(words)
        })
    };
    assert!(!fetches(&stranger, "-4", url));
    world
        .gateway
        .reload_with("walled_garden = []", "walled_garden = [\"203.0.113.10\"]")
        .unwrap();
    assert!(until(Duration::from_secs(5), || fetches(&stranger, "-4", url)));
    // What cannot be used changes nothing, and is told.
    world
        .gateway
        .reload_with("[\"203.0.113.10\"]", "[\"https://example.org\"]")
        .unwrap();
    assert!(says("gateway.walled_garden: `https://example.org` is no name"));
    assert!(fetches(&stranger, "-4", url));
    // By name, a rule more, and a key that takes a restart.
    world
        .gateway
        .reload_with(
            "[\"https://example.org\"]",
            "[\"www.example.net\"]\nisolate_clients = false\ninterim_secs = 61",
        )
        .unwrap();
    assert!(until(Duration::from_secs(5), || !fetches(&stranger, "-4", url)));
    assert!(says("they take a restart"));
    assert!(fetches(
        &stranger,
        "-4",
        &format!("http://www.example.net:{WEB_PORT}/bytes/1")
    ));
    world
        .gateway
        .reload_with(
            "free = [\"free.example.net\"]",
            "free = []\n[gateway.blocked]\nfiles = [\"/nowhere\"]",
        )
        .unwrap();
    assert!(says("/nowhere: No such file"));
    assert!(download.is_running());
}
