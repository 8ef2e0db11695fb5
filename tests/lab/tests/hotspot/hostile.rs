//! Devices that mean harm: whatever a stranger sends, newcomers come in, those online go on, and nothing gets through.

use std::time::{Duration, Instant};

use kavadam_lab::citizen::CHECK;
use kavadam_lab::flood::Nuisance;
use kavadam_lab::world::{TUNNEL, TUNNEL_SERVER, until};
use kavadam_lab::{Citizen, Phone, Tally, World};

use crate::{ENDLESS, NUMBER, alone, beside_others, is_online, log_in, phone, world};

/// Longer than a tunnel needs to be set up where it may be.
const PATIENCE: Duration = Duration::from_secs(40);
/// Begun by a stranger.
const CONNECTIONS: u64 = 1_000_000;
/// Of them in the kernel's table.
const MOST_CONNECTIONS: u64 = 2_000;
/// What a download keeps of its speed at least: far less than it does where nothing else is at work (docs/benchmarks.md), far more than if it stood.
const LEAST_KEPT: f64 = 0.1;
/// Of entries in the kernel's table of neighbours, where a thousand have room.
const MOST_NEIGHBOURS: usize = 500;

fn connections(world: &World) -> u64 {
    let told = world
        .gate
        .run("cat", &["/proc/sys/net/netfilter/nf_conntrack_count"])
        .unwrap();
    told.trim().parse().unwrap()
}

/// Frames that a phone has sent.
fn sent(phone: &Phone) -> u64 {
    let told = phone.netns().run("cat", &["/sys/class/net/eth0/statistics/tx_packets"]);
    told.unwrap().trim().parse().unwrap()
}

/// Octets a second since then.
fn rate(tally: &Tally, (since, octets): (Instant, u64)) -> f64 {
    let passed = u32::try_from(tally.down().unwrap() - octets).unwrap();
    f64::from(passed) / since.elapsed().as_secs_f64()
}

#[test]
fn newcomers_come_in_and_those_online_go_on_whatever_a_stranger_floods() {
    let _alone = alone();
    let mut world = world(&["--quota", "none", "--down", "5Mbit", "--up", "5Mbit"]);
    // A bridge without an address of its own has the least of its ports', and another one when a newcomer's port comes.
    world.gate.ip("link set lan0 address 02:80:00:00:00:01").unwrap();
    let (attacker, citizen) = (phone(&mut world), phone(&mut world));
    log_in(&world, &citizen, NUMBER);
    let tally = Tally::begin(&world, &[&citizen]).unwrap();
    let since = |tally: &Tally| (Instant::now(), tally.down().unwrap());
    let calm = {
        let _download = citizen.download(ENDLESS).unwrap();
        // The kernel's bucket holds a second of the speed: let it run dry first.
        std::thread::sleep(Duration::from_secs(3));
        let begun = since(&tally);
        std::thread::sleep(Duration::from_secs(3));
        rate(&tally, begun)
    };
    for (number, nuisance) in Nuisance::ALL.into_iter().enumerate() {
        let sent_before = sent(&attacker);
        let mut flood = world.flood(&attacker, nuisance).unwrap();
        std::thread::sleep(Duration::from_secs(2));
        if nuisance == Nuisance::Connections {
            let are_begun = until(Duration::from_mins(2), || sent(&attacker) - sent_before >= CONNECTIONS);
            assert!(are_begun, "{} frames were sent", sent(&attacker) - sent_before);
        }
        // One for each: none lasts longer than two minutes.
        let mut download = citizen.download(ENDLESS).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        let begun = Instant::now();
        let flooded = since(&tally);
        let newcomer = phone(&mut world);
        let own = format!("98765432{:02}", number + 20);
        let done = Citizen {
            phone: &newcomer,
            number: &own,
        }
        .log_in(&world);
        assert!(done.is_ok(), "{}: {:#}", nuisance.word(), done.unwrap_err());
        assert!(is_online(&newcomer), "{}", nuisance.word());
        eprintln!(
            "{}: a newcomer was online after {:.1} s",
            nuisance.word(),
            begun.elapsed().as_secs_f64()
        );
        // Once more if a packet was lost among so many.
        let opened = [citizen.probe(CHECK), citizen.probe(CHECK)];
        let is_opened = opened
            .iter()
            .any(|told| told.as_ref().is_ok_and(|(status, _)| *status == 204));
        assert!(
            is_opened,
            "{}: who is online can open another page: {opened:?}",
            nuisance.word()
        );
        std::thread::sleep(Duration::from_secs(2).saturating_sub(begun.elapsed()));
        let kept = rate(&tally, flooded) / calm;
        eprintln!("{}: a download keeps {kept:.2} of its speed", nuisance.word());
        assert!(download.is_running(), "{}: a download goes on", nuisance.word());
        assert!(kept >= LEAST_KEPT, "{}: a download stands, {kept:.2}", nuisance.word());
        assert!(!is_online(&attacker), "{}: nothing got through", nuisance.word());
        let present = connections(&world);
        assert!(
            present <= MOST_CONNECTIONS,
            "{}: {present} connections",
            nuisance.word()
        );
        let known = ["-4", "-6"].map(|family| {
            let told = world.gate.ip(&format!("{family} neighbour show dev lan0")).unwrap();
            told.lines().count()
        });
        let are_few = known.iter().all(|count| *count <= MOST_NEIGHBOURS);
        assert!(are_few, "{}: {known:?} neighbours", nuisance.word());
        assert!(flood.is_running(), "{}: there was no flood", nuisance.word());
    }
}

#[test]
fn requests_that_never_end_keep_nobody_out() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "100MB"]);
    let attacker = phone(&mut world);
    let doors = ["10.80.0.1:8080", "10.80.0.1:3990", "10.80.0.1:8081", "10.80.0.1:8443"];
    let mut slow = world
        .lab_in(attacker.netns(), &[&["dawdle"][..], &doors].concat())
        .unwrap();
    std::thread::sleep(Duration::from_secs(5));
    let begun = Instant::now();
    for number in ["9876543220", "9876543221", "9876543222"] {
        let newcomer = phone(&mut world);
        log_in(&world, &newcomer, number);
        assert!(is_online(&newcomer));
    }
    eprintln!(
        "three newcomers were online after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert!(slow.is_running() && !is_online(&attacker));
    let present = connections(&world);
    assert!((30..=200).contains(&present), "{present} connections");
}

#[test]
fn a_stranger_finds_no_door_but_those_that_are_for_him() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "100MB"]);
    // What a machine has besides, at all its addresses.
    let _besides = world
        .lab_in(&world.gate, &["serve-web", "0.0.0.0:22", "0.0.0.0:9090"])
        .unwrap();
    let stranger = phone(&mut world);
    let from_within = || -> Vec<u16> {
        let told = world.ask_lab_in(&world.gate, &["scan", "127.0.0.1", "10000"]).unwrap();
        serde_json::from_str(&told).unwrap()
    };
    assert!(until(Duration::from_secs(10), || [22, 9090]
        .iter()
        .all(|port| from_within().contains(port))));
    for address in ["10.80.0.1", "198.51.100.2", "203.0.113.10"] {
        let told = world.ask_lab_in(stranger.netns(), &["scan", address, "10000"]).unwrap();
        let open: Vec<u16> = serde_json::from_str(&told).unwrap();
        // Names (whomever he asks), pages, the API, and the web as far as it leads to the portal.
        let meant = [53, 80, 3990, 5300, 8080, 8081, 8443];
        assert!(open.iter().all(|port| meant.contains(port)), "{address}: {open:?}");
        assert!(!open.is_empty(), "{address}: nothing was found, so nothing was tried");
    }
}

#[test]
fn a_tunnel_through_names_comes_to_nothing() {
    let _machine = beside_others();
    if !std::path::Path::new("/dev/net/tun").exists() {
        eprintln!("not tried: this machine has no /dev/net/tun");
        return;
    }
    let mut world = world(&["--quota", "100MB"]);
    world
        .internet
        .ip(&format!("address add {TUNNEL_SERVER}/32 dev lo"))
        .unwrap();
    let log = world.dir().join("iodined.log");
    let words = ["-f", "-c", "-P", "secret", "-l", TUNNEL_SERVER, "10.99.0.1/24", TUNNEL];
    let mut server = world.internet.start(&log, "iodined", &words).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(server.is_running(), "{}", std::fs::read_to_string(&log).unwrap());
    let phone = phone(&mut world);
    // As it comes, then with questions that browsers ask as well.
    for (name, more) in [("as it comes", &[][..]), ("addresses", &["-T", "A"])] {
        let log = world.dir().join(format!("iodine-{name}.log"));
        let mut words = vec!["-f", "-r", "-P", "secret"];
        words.extend(more);
        words.extend(["10.80.0.1", TUNNEL]);
        let mut client = phone.netns().start(&log, "iodine", &words).unwrap();
        let is_up = || {
            phone
                .netns()
                .ip("address show dev dns0")
                .is_ok_and(|told| told.contains("10.99.0"))
        };
        let came_up = until(PATIENCE, || is_up() || !client.is_running());
        let carried = if came_up && is_up() { carried(&phone) } else { 0 };
        // 1 kbit/s.
        assert!(carried < 125 * 20, "{name}: {carried} octets in 20 s");
        eprintln!("{name}: {carried} octets in 20 s; {}", last_line(&log));
    }
    // It would work, were it not for the gate: who is online may do as he likes, at his cost.
    log_in(&world, &phone, NUMBER);
    let log = world.dir().join("iodine-online.log");
    let words = ["-f", "-r", "-P", "secret", TUNNEL_SERVER, TUNNEL];
    let _client = phone.netns().start(&log, "iodine", &words).unwrap();
    let is_up = until(PATIENCE, || {
        phone.netns().run("ping", &["-c1", "-W1", "10.99.0.1"]).is_ok()
    });
    assert!(is_up, "the tunnel does not work at all: {}", last_line(&log));
}

/// Octets of answered pings through the tunnel, as many as go in 20 seconds.
fn carried(phone: &Phone) -> u64 {
    let words = ["-i", "0.1", "-s", "100", "-w", "20", "10.99.0.1"];
    let said = phone.netns().output("ping", &words).unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    128 * u64::try_from(text.matches("bytes from").count()).unwrap()
}

fn last_line(log: &std::path::Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or_default().to_owned()
}
