//! Everything that can happen to a session, in an order nobody chose, on a line that loses packets: what was charged is what crossed.

use std::path::PathBuf;
use std::time::Duration;

use kavadam_lab::netns::Process;
use kavadam_lab::world::until;
use kavadam_lab::{Phone, Tally, World};
use serde_json::Value;

use kavadam_lab::world::{WEB, WEB6};

use crate::{ENDLESS, ENDLESS6, NUMBER, SINK, SINK6, alone, is_over, log_in, octets, phone, sessions, world_with};

const OTHER_NUMBER: &str = "9876543211";
/// Of a hundred packets, on the way to the gate, from either side.
const LOST: u32 = 3;
const STEPS: u32 = 30;
/// Acct-Terminate-Cause.
const SESSION_TIMEOUT: u64 = 5;
/// Where a stranger is captured, and nobody is charged.
const CAPTURED: &str = "http://10.80.0.1/";
/// Of 1,000 octets, in one exchange.
const DATAGRAMS: &str = "300";
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
        &format!(
            "add rule inet loss out meta l4proto {{ tcp, udp }} th dport 8000 numgen random mod 100 < {LOST} drop"
        ),
        &format!(
            "add rule inet loss out meta l4proto {{ tcp, udp }} th sport 8000 numgen random mod 100 < {LOST} drop"
        ),
    ] {
        phone_or_internet.run("nft", &[words]).unwrap();
    }
}

/// Octets one way or datagrams both ways, over either version of IP; it ends by itself.
fn flow(world: &World, phone: &Phone, dice: &mut Dice) -> Process {
    let (is_ipv6, octets) = (dice.roll(2) == 0, 50_000 + dice.roll(1_500_000));
    match dice.roll(4) {
        0 => {
            let far_end = if is_ipv6 { echo6() } else { echo4() };
            world.lab_in(phone.netns(), &["exchange", &far_end, DATAGRAMS]).unwrap()
        }
        1 => transfer(world, phone, true, is_ipv6, octets),
        _ => transfer(world, phone, false, is_ipv6, octets),
    }
}

fn echo4() -> String {
    format!("{WEB}:8000")
}

fn echo6() -> String {
    format!("[{WEB6}]:8000")
}

fn transfer(world: &World, phone: &Phone, is_up: bool, is_ipv6: bool, octets: u64) -> Process {
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
        let sink = if is_ipv6 { SINK6 } else { SINK };
        words.extend(["--data-binary".into(), format!("@{}", file.display()), sink.into()]);
    } else {
        let endless = if is_ipv6 { ENDLESS6 } else { ENDLESS };
        words.push(endless.replace("1000000000000", &octets.to_string()));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    phone.netns().start(&log, "curl", &words).unwrap()
}

/// What there is to be changed and changed back.
struct Turns {
    is_free: bool,
    is_timed: bool,
    cuts: u32,
}

impl Turns {
    /// Something happens; what it was.
    fn next(&mut self, world: &mut World, dice: &mut Dice) -> &'static str {
        match dice.roll(8) {
            0 | 1 => {
                let number = [NUMBER, OTHER_NUMBER][usize::try_from(dice.roll(2)).unwrap()];
                world.admin(&["subscriber", "top-up", number, "3MB"]).unwrap();
                "a top-up"
            }
            2 => {
                world.gateway.kill();
                std::thread::sleep(Duration::from_millis(dice.roll(1500)));
                let World { gateway, gate, .. } = world;
                gateway.start(gate).unwrap();
                "killed, and started again"
            }
            3 => {
                let (before, after) = if self.is_free {
                    ("free = [\"203.0.113.77\"]", "free = []")
                } else {
                    ("free = []", "free = [\"203.0.113.77\"]")
                };
                world.gateway.reload_with(before, after).unwrap();
                self.is_free = !self.is_free;
                "a reload"
            }
            4 => {
                let all = sessions(world);
                let open = all.iter().find(|session| session["state"] == "open");
                if let Some(session) = open {
                    self.cuts += 1;
                    world.admin(&["session", "end", &session["id"].to_string()]).unwrap();
                }
                "an end by order"
            }
            5 => {
                world.gateway.stop().unwrap();
                let World { gateway, gate, .. } = world;
                gateway.start(gate).unwrap();
                "stopped, and started again"
            }
            6 => {
                // Whoever is online for longer than that is so no longer, and the others not for much longer.
                let limit = if self.is_timed { "none" } else { "1m" };
                world
                    .admin(&["plan", "set", "citizen", "--session-time", limit])
                    .unwrap();
                self.is_timed = !self.is_timed;
                "another limit of time"
            }
            _ => "nothing",
        }
    }
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
    let _echoes = [echo4(), echo6()].map(|at| world.lab_in(&world.internet, &["serve-echo", &at]).unwrap());
    let tally = Tally::begin(&world, &[&phones[0], &phones[1]]).unwrap();
    lose_packets(&world.internet);
    for phone in &phones {
        lose_packets(phone.netns());
    }

    let (mut flows, mut happened) = (Vec::new(), Vec::new());
    let mut turns = Turns {
        is_free: true,
        is_timed: false,
        cuts: 0,
    };
    for _ in 0..STEPS {
        let phone = &phones[usize::try_from(dice.roll(2)).unwrap()];
        // Whoever was cut off is remembered, and let in again at the next request that is captured; who is online is charged nothing there.
        _ = phone.open(CAPTURED);
        flows.push(flow(&world, phone, &mut dice));
        std::thread::sleep(Duration::from_millis(200 + dice.roll(900)));
        happened.push(turns.next(&mut world, &mut dice));
    }
    for number in [NUMBER, OTHER_NUMBER] {
        world.admin(&["subscriber", "top-up", number, "1GB"]).unwrap();
    }
    let are_done = until(Duration::from_secs(40), || !flows.iter_mut().any(Process::is_running));
    assert!(are_done, "a transfer goes on: {happened:?}");
    // At last everybody's time runs out in the midst of something.
    let _downloads = phones.each_ref().map(|phone| {
        _ = phone.open(CAPTURED);
        phone.download(ENDLESS).unwrap()
    });
    let limit = ["plan", "set", "citizen", "--session-time", "1m"];
    world.admin(&limit).unwrap();
    assert!(is_over(&world, Duration::from_mins(2)), "{happened:?}");
    std::thread::sleep(Duration::from_millis(200));

    let (charged, crossed) = (sessions(&world).iter().map(octets).sum::<u64>(), tally.both().unwrap());
    let is_timed = |session: &Value| session["terminate_cause"] == SESSION_TIMEOUT;
    let timed = sessions(&world).into_iter().filter(is_timed).count();
    eprintln!(
        "{charged} octets charged, {crossed} crossed, {} sessions, {} cut off, {timed} by their time: {happened:?}",
        sessions(&world).len(),
        turns.cuts
    );
    let of_ipv6 = tally.ipv6().unwrap();
    eprintln!("{of_ipv6} of them over IPv6");
    assert!(
        of_ipv6 > 100_000 && crossed - of_ipv6 > 100_000,
        "so little shows nothing: {of_ipv6}"
    );
    assert!(timed > 0, "nobody's time ran out");
    assert!(crossed > 2_000_000, "so little shows nothing: {crossed}");
    let resets = RESET_OCTETS * u64::try_from(flows.len()).unwrap() * 4;
    assert!(
        (crossed..=crossed + resets).contains(&charged),
        "{charged} charged, {crossed} crossed: {happened:?}"
    );
}
