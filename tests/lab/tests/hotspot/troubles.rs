//! Everything that can happen to a session, in an order nobody chose, on a line that loses packets: what was charged is what crossed.

use std::path::PathBuf;
use std::time::Duration;

use kavadam_lab::netns::Process;
use kavadam_lab::world::until;
use kavadam_lab::{Phone, Tally, World};

use crate::{ENDLESS, NUMBER, SINK, alone, is_over, log_in, octets, phone, sessions, world_with};

const OTHER_NUMBER: &str = "9876543211";
/// Of a hundred packets, on the way to the gate, from either side.
const LOST: u32 = 3;
const STEPS: u32 = 20;
/// What a tally does not count: resets of connections that were cut off.
const RESET_OCTETS: u64 = 60;

/// Numbers in an order that its seed tells.
struct Dice(u64);

impl Dice {
    /// A seed of this run; `KAVADAM_SEED` repeats one.
    fn new() -> Self {
        let given = std::env::var("KAVADAM_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 0x5eed);
        eprintln!("KAVADAM_SEED={seed} repeats what happens here");
        Self(seed)
    }

    /// Below `end`.
    fn roll(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn lose_packets(phone_or_internet: &kavadam_lab::netns::Netns) {
    for words in [
        "add table inet loss",
        "add chain inet loss out { type filter hook output priority 300; }",
        &format!("add rule inet loss out tcp dport 8000 numgen random mod 100 < {LOST} drop"),
        &format!("add rule inet loss out tcp sport 8000 numgen random mod 100 < {LOST} drop"),
    ] {
        phone_or_internet.run("nft", &[words]).unwrap();
    }
}

/// So many octets, up or down; it ends by itself.
fn transfer(world: &World, phone: &Phone, is_up: bool, octets: u64) -> Process {
    let log = world.dir().join("transfers.log");
    let mut words = vec![
        "-sS".to_owned(),
        "-m".into(),
        "30".into(),
        "-o".into(),
        "/dev/null".into(),
    ];
    if is_up {
        let file: PathBuf = world.dir().join(format!("{octets}"));
        std::fs::write(&file, vec![7; usize::try_from(octets).unwrap()]).unwrap();
        words.extend(["--data-binary".into(), format!("@{}", file.display()), SINK.into()]);
    } else {
        words.push(ENDLESS.replace("1000000000000", &octets.to_string()));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    phone.netns().start(&log, "curl", &words).unwrap()
}

#[test]
fn what_is_charged_is_what_crossed_whatever_happens_in_whatever_order() {
    let _alone = alone();
    let mut dice = Dice::new();
    let mut world = world_with(
        "free = [\"203.0.113.77\"]\n",
        &["--quota", "4MB", "--down", "30Mbit", "--up", "30Mbit"],
    );
    let phones = [phone(&mut world), phone(&mut world)];
    for (phone, number) in phones.iter().zip([NUMBER, OTHER_NUMBER]) {
        log_in(&world, phone, number);
    }
    let tally = Tally::begin(&world, &[&phones[0], &phones[1]]).unwrap();
    lose_packets(&world.internet);
    for phone in &phones {
        lose_packets(phone.netns());
    }

    let (mut flows, mut cuts, mut happened) = (Vec::new(), 0, Vec::new());
    let mut is_free = true;
    for _ in 0..STEPS {
        let phone = &phones[usize::try_from(dice.roll(2)).unwrap()];
        flows.push(transfer(
            &world,
            phone,
            dice.roll(3) == 0,
            50_000 + dice.roll(1_500_000),
        ));
        std::thread::sleep(Duration::from_millis(200 + dice.roll(900)));
        let what = match dice.roll(7) {
            0 | 1 => {
                let number = [NUMBER, OTHER_NUMBER][usize::try_from(dice.roll(2)).unwrap()];
                world.admin(&["subscriber", "top-up", number, "3MB"]).unwrap();
                "a top-up"
            }
            2 => {
                world.gateway.kill();
                std::thread::sleep(Duration::from_millis(dice.roll(1500)));
                let World { gateway, gate, .. } = &mut world;
                gateway.start(gate).unwrap();
                "killed, and started again"
            }
            3 => {
                let (before, after) = if is_free {
                    ("free = [\"203.0.113.77\"]", "free = []")
                } else {
                    ("free = []", "free = [\"203.0.113.77\"]")
                };
                world.gateway.reload_with(before, after).unwrap();
                is_free = !is_free;
                "a reload"
            }
            4 => {
                let all = sessions(&world);
                let open = all.iter().find(|session| session["state"] == "open");
                if let Some(session) = open {
                    cuts += 1;
                    world.admin(&["session", "end", &session["id"].to_string()]).unwrap();
                }
                "an end by order"
            }
            5 => {
                world.gateway.stop().unwrap();
                let World { gateway, gate, .. } = &mut world;
                gateway.start(gate).unwrap();
                "stopped, and started again"
            }
            _ => "nothing",
        };
        happened.push(what);
    }
    for number in [NUMBER, OTHER_NUMBER] {
        world.admin(&["subscriber", "top-up", number, "1GB"]).unwrap();
    }
    // Whoever was cut off has to ask for something to be let in again.
    let are_done = until(Duration::from_secs(40), || !flows.iter_mut().any(Process::is_running));
    assert!(are_done, "a transfer goes on: {happened:?}");
    for session in sessions(&world).iter().filter(|session| session["state"] != "ended") {
        world.admin(&["session", "end", &session["id"].to_string()]).unwrap();
    }
    assert!(is_over(&world, Duration::from_mins(1)), "{happened:?}");
    std::thread::sleep(Duration::from_millis(200));

    let (charged, crossed) = (sessions(&world).iter().map(octets).sum::<u64>(), tally.both().unwrap());
    eprintln!(
        "{charged} octets charged, {crossed} crossed, {} sessions, {cuts} cut off: {happened:?}",
        sessions(&world).len()
    );
    assert!(crossed > 2_000_000, "so little shows nothing: {crossed}");
    let resets = RESET_OCTETS * u64::try_from(flows.len()).unwrap() * 4;
    assert!(
        (crossed..=crossed + resets).contains(&charged),
        "{charged} charged, {crossed} crossed: {happened:?}"
    );
}
