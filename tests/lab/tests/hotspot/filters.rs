//! Two people of one LAN, and what only one of them may reach, by their plans.

use std::time::Duration;

use kavadam_lab::world::{WEB_PORT, until};
use kavadam_lab::{Citizen, Phone, World};

use crate::names::{fetches, resolves};
use crate::{NUMBER, beside_others, is_online, log_in, phone, sessions, world_with};

const PUPIL: &str = "9876543211";
const QUOTA: [&str; 2] = ["--quota", "100MB"];
const PATIENCE: Duration = Duration::from_secs(10);
/// Names, an address, one of IPv6, and a port. Another address leads to the same server.
const MINORS: &str = "[gateway.filters.minors]\nfiles = [\"LIST\"]\naddresses = [\"203.0.113.20\", \"2001:db8:113::10\"]\nports = [\"tcp/443\"]\n";
const ADDRESS: &str = "http://203.0.113.20:8000/bytes/1";
const ADDRESS6: &str = "http://[2001:db8:113::10]:8000/bytes/1";
const PORT: &str = "https://203.0.113.10/";
const OTHERWISE: &str = "http://203.0.113.10:8000/bytes/1";

/// What the kernel alone decides: address, IPv6 address, port.
fn reaches(phone: &Phone) -> [bool; 3] {
    [("-4", ADDRESS), ("-6", ADDRESS6), ("-4", PORT)].map(|(family, url)| fetches(phone, family, url))
}

/// Neither by name, address nor port, and all else.
fn is_held(phone: &Phone) -> bool {
    !resolves(phone, "www.example.net") && reaches(phone) == [false; 3]
}

fn is_free(phone: &Phone) -> bool {
    resolves(phone, "www.example.net") && reaches(phone) == [true; 3]
}

fn assert_only_the_pupil_is_held(citizen: &Phone, pupil: &Phone, when: &str) {
    assert!(until(PATIENCE, || is_held(pupil)), "{when}: the pupil");
    assert!(
        fetches(pupil, "-4", OTHERWISE) && resolves(pupil, "www.google.com"),
        "{when}: all else"
    );
    assert!(is_free(citizen), "{when}: the citizen");
}

#[test]
fn two_people_of_one_lan_have_different_blocklists_by_their_plans() {
    let _machine = beside_others();
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), "||www.example.net^\n").unwrap();
    let minors = MINORS.replace("LIST", &list.path().display().to_string());
    let mut world = world_with(&minors, &QUOTA);
    let (citizen, pupil) = (phone(&mut world), phone(&mut world));
    for phone in [&citizen, &pupil] {
        phone.slaac().unwrap();
    }
    log_in(&world, &citizen, NUMBER);
    log_in(&world, &pupil, PUPIL);
    assert!(is_free(&citizen) && is_free(&pupil), "neither plan has a filter");
    let admin = |world: &World, words: &[&str]| world.admin(words).unwrap();
    admin(
        &world,
        &["plan", "set", "pupils", "--quota", "100MB", "--filter", "minors"],
    );
    admin(&world, &["subscriber", "plan", PUPIL, "pupils"]);
    assert_only_the_pupil_is_held(&citizen, &pupil, "by an order");
    let seen = world.admin_json(&["gate", "trace", pupil.mac()]).unwrap().to_string();
    assert!(seen.contains("the filter minors"), "{seen}");
    let mut filters = Vec::new();
    for session in world.admin_json(&["gate", "show"]).unwrap()["sessions"]
        .as_array()
        .unwrap()
    {
        filters.push(session["filter"].as_str().map(ToOwned::to_owned));
    }
    filters.sort_unstable();
    assert_eq!(filters, [None, Some("minors".to_owned())]);

    for (resolver, when) in [("fd00:80::1", "asked over IPv6"), ("10.80.0.1", "and over IPv4 again")] {
        for phone in [&citizen, &pupil] {
            phone.set_resolver(resolver).unwrap();
        }
        assert!(until(PATIENCE, || resolves(&citizen, "www.example.net")), "{when}");
        assert_only_the_pupil_is_held(&citizen, &pupil, when);
    }

    world.gateway.kill();
    assert_eq!(
        (reaches(&pupil), reaches(&citizen)),
        ([false; 3], [true; 3]),
        "kavadam is dead"
    );
    world.gateway.start(&world.gate).unwrap();
    assert_only_the_pupil_is_held(&citizen, &pupil, "after kill -9");
    // What is in it changes for those who are online.
    world.gateway.reload_with("\"203.0.113.20\", ", "").unwrap();
    assert!(until(PATIENCE, || fetches(&pupil, "-4", ADDRESS)));
    world
        .gateway
        .reload_with("[\"2001:db8:113::10\"]", "[\"203.0.113.20\", \"2001:db8:113::10\"]")
        .unwrap();
    assert!(until(PATIENCE, || !fetches(&pupil, "-4", ADDRESS)));

    admin(&world, &["subscriber", "end", PUPIL]);
    // Its device is remembered, and let in again by another Access-Accept.
    assert!(until(PATIENCE, || is_online(&pupil) && sessions(&world).len() == 3));
    assert_only_the_pupil_is_held(&citizen, &pupil, "after a new login");
    admin(&world, &["plan", "set", "pupils", "--filter", "none"]);
    assert!(until(PATIENCE, || is_free(&pupil)), "the plan has none any more");
    assert!(is_free(&citizen));
}

#[test]
fn a_filter_holds_for_names_that_are_asked_for_from_a_link_local_address() {
    let _machine = beside_others();
    let names = "[gateway.filters.minors]\nnames = [\"www.example.net\"]\n";
    let mut world = world_with(names, &[QUOTA[0], QUOTA[1], "--filter", "minors"]);
    let (pupil, stranger) = (phone(&mut world), phone(&mut world));
    log_in(&world, &pupil, PUPIL);
    let words = ["-6", "-o", "address", "show", "dev", "lan0", "scope", "link"];
    let shown = world.gate.run("ip", &words).unwrap();
    let own = shown.split_whitespace().find(|word| word.starts_with("fe80:")).unwrap();
    let resolver = format!("{}%eth0", own.split('/').next().unwrap());
    for phone in [&pupil, &stranger] {
        phone.set_resolver(&resolver).unwrap();
        assert!(until(PATIENCE, || resolves(phone, "www.google.com")), "{resolver}");
    }
    assert!(!resolves(&pupil, "www.example.net"));
    assert!(resolves(&stranger, "www.example.net"), "who has no filter");
}

#[test]
fn a_plan_whose_filter_the_gate_has_not_lets_nobody_in_until_it_has() {
    let _machine = beside_others();
    let mut world = world_with("burst = \"0B\"\n", &[QUOTA[0], QUOTA[1], "--filter", "class-5"]);
    let (refused, other) = (phone(&mut world), phone(&mut world));
    let pupil = Citizen {
        phone: &refused,
        number: PUPIL,
    };
    assert!(pupil.log_in(&world).is_err());
    assert!(!is_online(&refused));
    let log = std::fs::read_to_string(world.gateway.log()).unwrap();
    assert!(
        log.contains("add [gateway.filters.class-5] to the configuration"),
        "{log}"
    );
    let port = format!("burst = \"0B\"\n[gateway.filters.class-5]\nports = [\"tcp/{WEB_PORT}\"]\n");
    world.gateway.reload_with("burst = \"0B\"\n", &port).unwrap();
    let taken = || {
        std::fs::read_to_string(world.gateway.log())
            .unwrap()
            .contains("as the configuration says now")
    };
    assert!(until(PATIENCE, taken));
    log_in(&world, &other, NUMBER);
    assert!(is_online(&other) && !fetches(&other, "-4", OTHERWISE));
    // It cannot go while somebody has it.
    world.gateway.reload_with(&port, "burst = \"0B\"\n").unwrap();
    let is_told = || {
        std::fs::read_to_string(world.gateway.log())
            .unwrap()
            .contains("sessions have the filter class-5")
    };
    assert!(until(PATIENCE, is_told));
    assert!(!fetches(&other, "-4", OTHERWISE));
}
