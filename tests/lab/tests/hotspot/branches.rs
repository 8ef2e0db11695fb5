//! One person, three devices, three gates of ours, one quota.

use std::path::Path;
use std::time::Duration;

use kavadam_lab::branch::{self, Branch, Centre};
use kavadam_lab::netns::sh;
use kavadam_lab::world::until;
use kavadam_lab::{Citizen, Phone, Tally, World};
use tempfile::TempDir;

use crate::{ENDLESS, MERGED_PACKET, NUMBER, SINK, beside_others, is_online, octets, program};

const QUOTA: u64 = 30_000_000;

/// Fields are dropped in this order.
struct Town {
    branches: Vec<Branch>,
    centre: Centre,
    phones: Vec<Phone>,
    world: World,
    /// Of the world's own gate.
    _secrets: TempDir,
}

impl Town {
    /// Everybody is online, with the same number.
    fn new() -> Self {
        let lab = Path::new(env!("CARGO_BIN_EXE_kavadam-lab"));
        let secrets = tempfile::tempdir().unwrap();
        let first = branch::config(secrets.path(), "gate-0", "198.51.100.2", "198.51.100.1").unwrap();
        let mut world = World::build_as("gateway", &program(), lab, &first).unwrap();
        let plan = ["--quota", "30MB", "--down", "none", "--up", "none", "--devices", "3"];
        let centre = Centre::start(&world, &program(), &plan).unwrap();
        centre.know(&world, "gate-0", "198.51.100.2").unwrap();
        for number in 1..=2 {
            let (name, own) = (format!("gate-{number}"), Branch::address(number));
            centre.know(&world, &name, &own).unwrap();
        }
        let mut branches = Vec::new();
        for number in 1..=2 {
            let (name, own, orders_from) = (
                format!("gate-{number}"),
                Branch::address(number),
                Branch::next_hop(number),
            );
            let config = branch::config(world.dir(), &name, &own, &orders_from).unwrap();
            branches.push(Branch::start(&world, &program(), number, &config).unwrap());
        }
        let mut phones = vec![world.phone().unwrap()];
        for branch in &branches {
            phones.push(world.phone_at(branch.gate.name()).unwrap());
        }
        for phone in &phones {
            phone.dhcp().unwrap();
            let citizen = Citizen { phone, number: NUMBER };
            // The centre has heard of the gate by then.
            assert!(until(Duration::from_secs(30), || citizen.arrive().is_ok()));
            citizen.log_in(&world).unwrap();
        }
        Self {
            branches,
            centre,
            phones,
            world,
            _secrets: secrets,
        }
    }

    fn is_over(&self, patience: Duration) -> bool {
        until(patience, || {
            let sessions = self.centre.sessions(&self.world).unwrap();
            sessions.iter().all(|session| session["state"] == "ended")
        })
    }

    /// Charged over all sessions.
    fn charged(&self) -> u64 {
        self.centre.sessions(&self.world).unwrap().iter().map(octets).sum()
    }

    /// All that crossed was charged, and it was the quota, whoever used it where.
    fn assert_quota_was_kept(&self, tally: &Tally) {
        assert!(
            self.is_over(Duration::from_mins(1)),
            "{:?}",
            self.centre.sessions(&self.world)
        );
        // What was on its way has arrived.
        std::thread::sleep(Duration::from_millis(200));
        let (charged, crossed) = (self.charged(), tally.both().unwrap());
        assert!(crossed <= QUOTA, "{crossed} crossed, {charged} charged");
        assert!(
            crossed > QUOTA - 3 * MERGED_PACKET,
            "{crossed} crossed, {charged} charged"
        );
        assert!(
            (crossed..=QUOTA).contains(&charged),
            "{crossed} crossed, {charged} charged"
        );
        for phone in &self.phones {
            assert!(!is_online(phone));
        }
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(tally.both().unwrap(), crossed, "something crosses after the end");
    }
}

#[test]
fn three_gates_let_one_quota_through_and_not_an_octet_more() {
    let _machine = beside_others();
    let town = Town::new();
    let phones: Vec<&Phone> = town.phones.iter().collect();
    let tally = Tally::begin(&town.world, &phones).unwrap();
    let _flows = [
        town.phones[0].download(ENDLESS).unwrap(),
        town.phones[1].download(ENDLESS).unwrap(),
        town.phones[2].upload(SINK).unwrap(),
    ];
    town.assert_quota_was_kept(&tally);
    // A device may come back for what is left, less than a packet: each gate has one session or more.
    let sessions = town.centre.sessions(&town.world).unwrap();
    for gate in ["gate-0", "gate-1", "gate-2"] {
        let part: u64 = sessions
            .iter()
            .filter(|session| session["nas"] == gate)
            .map(octets)
            .sum();
        assert!(part > QUOTA / 20, "each gate had a part: {sessions:?}");
    }
}

#[test]
fn a_gate_that_dies_and_comes_back_costs_the_quota_nothing_and_nobody_pays_twice() {
    let _machine = beside_others();
    let mut town = Town::new();
    let phones: Vec<&Phone> = town.phones.iter().collect();
    let tally = Tally::begin(&town.world, &phones).unwrap();
    let some = ENDLESS.replace("1000000000000", "4000000");
    for phone in &town.phones {
        phone.curl(&["-o", "/dev/null", &some]).unwrap();
    }
    // Its kernel goes on while it is dead.
    let dead = town.branches.first_mut().unwrap();
    dead.gateway.kill();
    town.phones[1]
        .curl(&["-o", "/dev/null", &ENDLESS.replace("1000000000000", "1000000")])
        .unwrap();
    let Branch { gateway, gate } = dead;
    gateway.start(gate).unwrap();
    let _flows = [
        town.phones[0].download(ENDLESS).unwrap(),
        town.phones[1].download(ENDLESS).unwrap(),
        town.phones[2].upload(SINK).unwrap(),
    ];
    town.assert_quota_was_kept(&tally);
}

#[test]
fn who_walks_from_one_gate_to_another_is_online_there_without_a_page() {
    let _machine = beside_others();
    let town = Town::new();
    let walker = &town.phones[0];
    assert!(is_online(walker));
    // Its Wi-Fi hears the other gate: another bridge, another address by DHCP.
    let (here, there) = (town.world.gate.name(), town.branches[0].gate.name());
    walker.netns().ip("link set eth0 down").unwrap();
    walker.netns().ip("address flush dev eth0").unwrap();
    sh("ip", &["-n", here, "link", "set", "ap1", "nomaster"]).unwrap();
    sh("ip", &["-n", here, "link", "set", "ap1", "netns", there]).unwrap();
    sh("ip", &["-n", there, "link", "set", "ap1", "master", "lan0", "up"]).unwrap();
    walker.netns().ip("link set eth0 up").unwrap();
    walker.dhcp().unwrap();
    assert!(
        until(Duration::from_secs(10), || is_online(walker)),
        "it is asked to log in again"
    );
    let sessions = town.centre.sessions(&town.world).unwrap();
    assert_eq!(sessions[0]["nas"], "gate-1");
    assert_eq!(
        sessions.len(),
        4,
        "its session at the first gate, and those of the two who stay: {sessions:?}"
    );
}
