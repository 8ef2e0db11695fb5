//! When something breaks.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use kavadam_lab::accounting::{Caught, Status, caught};
use kavadam_lab::netns::Process;
use kavadam_lab::world::until;
use kavadam_lab::{Tally, World};
use serde_json::Value;

use crate::{
    ENDLESS, MERGED_PACKET, NUMBER, alone, assert_rate, beside_others, end, is_over, log_in, octets, phone, rate,
    sessions, world, world_with,
};

const RELAY: &str = "127.0.0.1:11813";
const CENTRE: &str = "127.0.0.1:1813";

/// What remains of the one quota in the gate's kernel.
fn left_in_the_kernel(world: &World) -> u64 {
    let text = world
        .gate
        .run("nft", &["list", "quotas", "table", "inet", "kavadam"])
        .unwrap();
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match (numbers.as_slice(), text.matches("quota ").count()) {
        ([over], 1) => *over,
        ([over, used], 1) => over.saturating_sub(*used),
        _ => panic!("no single quota in octets: {text}"),
    }
}

#[test]
fn while_nobody_runs_the_speed_holds_and_the_quota_closes_at_the_octet() {
    let _alone = alone();
    let mut world = world(&["--quota", "40MB", "--down", "4Mbit", "--up", "4Mbit"]);
    let phone = phone(&mut world);
    let tally = Tally::begin(&world, &[&phone]).unwrap();
    log_in(&world, &phone, NUMBER);
    phone
        .curl(&["-o", "/dev/null", &ENDLESS.replace("1000000000000", "500000")])
        .unwrap();
    world.gateway.kill();
    let (before, left) = (tally.both().unwrap(), left_in_the_kernel(&world));
    let mut flows = [phone.download(ENDLESS).unwrap(), phone.download(ENDLESS).unwrap()];
    std::thread::sleep(Duration::from_secs(2));
    let down = || tally.down().unwrap();
    assert_rate(rate(down, Duration::from_secs(10)), 4_000_000, "while nobody runs");
    let is_closed = until(Duration::from_secs(40), || rate(down, Duration::from_secs(1)) == 0);
    assert!(is_closed, "the quota does not close while nobody runs");
    let crossed = tally.both().unwrap() - before;
    assert!(
        (left - MERGED_PACKET..=left).contains(&crossed),
        "{crossed} crossed, {left} were left"
    );
    let World { gateway, gate, .. } = &mut world;
    gateway.start(gate).unwrap();
    // The quota has more than what the gate held of it.
    let goes_on = until(Duration::from_secs(20), || tally.both().unwrap() > before + left);
    assert!(goes_on, "no more octets after the restart");
    assert!(flows.iter_mut().all(Process::is_running), "a connection was lost");
    assert_eq!(sessions(&world).len(), 1, "the session was adopted, not begun anew");
    end(&world);
    std::thread::sleep(Duration::from_millis(200));
    assert_charged(octets(&sessions(&world)[0]), tally.both().unwrap());
}

#[test]
fn a_killed_gateway_leaves_people_online_and_loses_no_octet() {
    let _alone = alone();
    let mut world = world(&["--quota", "none", "--down", "20Mbit", "--up", "20Mbit"]);
    let phone = phone(&mut world);
    let tally = Tally::begin(&world, &[&phone]).unwrap();
    log_in(&world, &phone, NUMBER);
    let mut download = phone.download(&ENDLESS.replace("1000000000000", "30000000")).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    world.gateway.kill();
    std::thread::sleep(Duration::from_secs(3));
    assert!(
        rate(|| tally.down().unwrap(), Duration::from_secs(1)) > 10_000_000,
        "traffic stopped with the process"
    );
    let World { gateway, gate, .. } = &mut world;
    gateway.start(gate).unwrap();
    assert!(download.is_success().unwrap(), "the download broke off");
    assert_eq!(sessions(&world).len(), 1, "the session was adopted, not begun anew");
    end(&world);
    assert_charged(octets(&sessions(&world)[0]), tally.both().unwrap());
}

/// To the octet, but for the resets that a tally does not count.
fn assert_charged(charged: u64, crossed: u64) {
    assert!(
        (crossed..crossed + 500).contains(&charged),
        "{charged} charged, {crossed} crossed"
    );
}

/// A world whose accounting passes a relay.
fn relayed(plan: &[&str]) -> (World, Process, PathBuf) {
    let extra = format!("[gateway.radius]\nacct_servers = [\"{RELAY}\"]\n");
    let world = world_with(&extra, plan);
    let record = world.dir().join("accounting");
    let words = ["relay", RELAY, CENTRE, &record.display().to_string()];
    let relay = world.lab_in(&world.gate, &words).unwrap();
    (world, relay, record)
}

/// The centre's accounting port falls silent.
fn cut(world: &World) {
    for words in [
        "add table inet away",
        "add chain inet away in { type filter hook input priority -10; }",
        "add rule inet away in udp dport 1813 drop",
    ] {
        world.gate.run("nft", &[words]).unwrap();
    }
}

#[test]
fn accounting_waits_on_disk_while_the_centre_is_away_and_arrives_in_order() {
    let _alone = alone();
    let (mut world, _relay, record) = relayed(&[
        "--quota",
        "80MB",
        "--down",
        "50Mbit",
        "--up",
        "50Mbit",
        "--remember",
        "0d",
    ]);
    let (one, two) = (phone(&mut world), phone(&mut world));
    let tally = Tally::begin(&world, &[&one, &two]).unwrap();
    log_in(&world, &one, NUMBER);
    let taken = || caught(&record).unwrap_or_default();
    let is_begun = until(Duration::from_secs(10), || {
        taken().iter().any(|report| report.status() == Status::Start)
    });
    assert!(is_begun, "the Start did not arrive");
    let known = taken().len();
    cut(&world);
    // One device draws on its lease, with an Interim when it gets low, until the gate can get no more for it; another comes,
    // is online, and is sent away.
    let flow = one.download(ENDLESS).unwrap();
    log_in(&world, &two, "9876543211");
    two.curl(&["-o", "/dev/null", &ENDLESS.replace("1000000000000", "3000000")])
        .unwrap();
    // It is asked for again for a minute, as the reports may yet arrive.
    let is_cut = until(Duration::from_secs(100), || {
        let open = world.gate.run("nft", &["list", "map", "inet", "kavadam", "auth4"]);
        !open.unwrap().contains(one.mac())
    });
    assert!(is_cut, "a session without a lease goes on");
    drop(flow);
    let id = sessions(&world)[0]["id"].to_string();
    world.admin(&["session", "end", &id]).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    // The gate dies with all of it undelivered, and goes on with it afterwards.
    world.gateway.kill();
    let World { gateway, gate, .. } = &mut world;
    gateway.start(gate).unwrap();
    assert_eq!(taken().len(), known, "something passed the outage");
    world.gate.run("nft", &["delete table inet away"]).unwrap();
    assert!(
        is_over(&world, Duration::from_secs(40)),
        "a Stop was lost: {:?}",
        sessions(&world)
    );
    let charged = sessions(&world).iter().map(octets).sum();
    assert_charged(charged, tally.both().unwrap());
    for session in sessions_of(&taken()) {
        let reports: Vec<Caught> = taken().into_iter().filter(|one| one.session() == session).collect();
        let order: Vec<Status> = reports.iter().map(Caught::status).collect();
        assert_eq!(
            (order.first(), order.last()),
            (Some(&Status::Start), Some(&Status::Stop)),
            "{order:?}"
        );
        // An Interim that was under way may remain; the others were replaced by what came after them.
        assert!(order.len() <= 3, "{order:?}");
        assert!(reports.is_sorted_by_key(Caught::octets), "{reports:?}");
    }
}

/// Acct-Session-Ids but the gate's own, each once.
fn sessions_of(reports: &[Caught]) -> BTreeSet<String> {
    let of_devices = reports.iter().filter(|report| report.status() != Status::Other);
    of_devices.map(Caught::session).collect()
}

#[test]
fn reports_that_come_twice_or_out_of_order_change_no_total() {
    let _machine = beside_others();
    let (mut world, _relay, record) = relayed(&["--quota", "40MB", "--down", "none", "--up", "none"]);
    let phone = phone(&mut world);
    log_in(&world, &phone, NUMBER);
    // Each lease that is renewed brings an Interim.
    phone
        .curl(&["-o", "/dev/null", &ENDLESS.replace("1000000000000", "25000000")])
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let show = || world.admin_json(&["subscriber", "show", NUMBER]).unwrap();
    let replay = || {
        let words = ["replay", &record.display().to_string(), CENTRE];
        world.ask_lab_in(&world.gate, &words).unwrap();
    };
    let online = (sessions(&world), show()["used_octets"].clone());
    let interims = caught(&record).unwrap();
    let interims = interims.iter().filter(|one| one.status() == Status::Interim).count();
    assert!(interims >= 2, "{interims} Interims are too few to be out of order");
    replay();
    assert_eq!((sessions(&world), show()["used_octets"].clone()), online);
    end(&world);
    let ended = (sessions(&world), show()["used_octets"].clone());
    assert!(octets(&ended.0[0]) > 25_000_000, "{ended:?}");
    assert_eq!(ended.1, Value::from(octets(&ended.0[0])));
    replay();
    assert_eq!((sessions(&world), show()["used_octets"].clone()), ended);
}
