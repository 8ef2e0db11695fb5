//! A full uplink: what a device with one connection gets beside one with sixteen, and how long a third waits for an answer. Shared by us, and by a
//! line that only is as slow (`tbf`), in turns.

use std::time::Duration;

use anyhow::Context as _;
use kavadam_lab::netns::Process;
use kavadam_lab::{Citizen, Phone, Tally, World};
use serde_json::{Value, json};

use crate::RUNS;
use crate::sample::median;

const NUMBERS: [&str; 3] = ["9876543210", "9876543211", "9876543212"];
const LINE: &str = "20Mbit";
const GREEDY_CONNECTIONS: usize = 16;
const ENDLESS: &str = "http://203.0.113.10:8000/bytes/1000000000000";
const SERVER: &str = "203.0.113.10";
/// In which buckets and windows fill.
const LEFT_OUT: Duration = Duration::from_secs(4);
const MEASURED: Duration = Duration::from_secs(6);

pub fn measure() -> anyhow::Result<Value> {
    let mut world = World::build(
        &crate::beside("kavadam")?,
        &crate::beside("kavadam-lab")?,
        "[gateway.uplink]\nup = \"\"\ndown = \"\"\n",
    )?;
    world.set_plan(&["--quota", "none", "--down", "1Gbit"])?;
    let phones = [world.phone()?, world.phone()?, world.phone()?];
    for (phone, number) in phones.iter().zip(NUMBERS) {
        phone.dhcp()?;
        Citizen { phone, number }.log_in(&world)?;
    }
    let [greedy, modest, waiting] = &phones;
    let slow_line = format!("qdisc add dev lan0 root tbf rate {LINE} burst 64kb limit 128kb");
    let (mut shared, mut bare) = (Figures::default(), Figures::default());
    for _ in 0..RUNS {
        world.gate.run("tc", &slow_line.split(' ').collect::<Vec<_>>())?;
        bare.add(&world, greedy, modest, waiting)?;
        world.gate.run("tc", &["qdisc", "del", "dev", "lan0", "root"])?;

        world
            .gateway
            .reload_with("up = \"\"\ndown = \"\"", &format!("up = \"{LINE}\"\ndown = \"{LINE}\""))?;
        std::thread::sleep(Duration::from_secs(4));
        shared.add(&world, greedy, modest, waiting)?;
        world
            .gateway
            .reload_with(&format!("up = \"{LINE}\"\ndown = \"{LINE}\""), "up = \"\"\ndown = \"\"")?;
        std::thread::sleep(Duration::from_secs(3));
    }
    Ok(
        json!({ "what": "share of a full line that one connection gets beside sixteen of another device, how much of the line is used, and \
         the round trip of a third device that waits", "runs": RUNS, "line": LINE,
        "shared": shared.told(), "line_alone": bare.told() }),
    )
}

#[derive(Default)]
struct Figures {
    modest: Vec<f64>,
    used: Vec<f64>,
    millis: Vec<f64>,
}

impl Figures {
    fn add(&mut self, world: &World, greedy: &Phone, modest: &Phone, waiting: &Phone) -> anyhow::Result<()> {
        let connections = (0..GREEDY_CONNECTIONS).map(|_| greedy.download(ENDLESS));
        let _connections: Vec<Process> = connections.collect::<Result<_, _>>()?;
        let _one = modest.download(ENDLESS)?;
        std::thread::sleep(LEFT_OUT);
        let tallies = [Tally::begin(world, &[greedy])?, Tally::begin(world, &[modest])?];
        let began = std::time::Instant::now();
        std::thread::sleep(MEASURED);
        let [theirs, its] = [tallies[0].down()?, tallies[1].down()?];
        let seconds = began.elapsed().as_secs_f64();
        let told = waiting.netns().run("ping", &["-c", "20", "-i", "0.1", "-q", SERVER])?;
        let middle = told.lines().last().and_then(|line| line.split('/').nth(4));
        self.millis.push(middle.context("ping told no times")?.parse()?);
        let octets = |octets: u64| u32::try_from(octets).map(f64::from).context("too many octets");
        let (theirs, its) = (octets(theirs)?, octets(its)?);
        self.modest.push(its / (theirs + its));
        self.used.push((theirs + its) * 8.0 / seconds / 20e6);
        Ok(())
    }

    fn told(self) -> Value {
        json!({ "one_of_two": median(self.modest), "line_used": median(self.used), "ping_ms": median(self.millis) })
    }
}
