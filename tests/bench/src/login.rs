//! From the code submitted to the first packet through, in the whole small world: alone, and with a crowd online.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use kavadam_lab::world::{WEB, until};
use kavadam_lab::{Citizen, World};
use serde_json::{Value, json};

use crate::sample::{Sample, Spread, median_ratio};
use crate::{RUNS, crowd};

const LOGINS: usize = 20;
const CROWD: u32 = 1_000;
const NUMBER: &str = "9876543210";
/// No limit of codes gets in the way.
const NO_LIMITS: &str = "[challenge]\nresend_after_secs = 1\nnumber_per_10_min = 10000\nnumber_per_day = 10000\n\
                         device_per_10_min = 10000\naddress_per_10_min = 10000\nsite_per_minute = 10000\n";

/// A world without limits of logins.
pub fn world() -> anyhow::Result<World> {
    World::build(&crate::beside("kavadam")?, &crate::beside("kavadam-lab")?, NO_LIMITS)
}

/// Times of each run: code to status page, code to first packet answered.
#[derive(Default)]
struct Times {
    pages: Vec<Sample>,
    packets: Vec<Sample>,
}

impl Times {
    fn json(&self) -> Value {
        json!({ "code_to_status_page": Spread::of(&self.pages).json(),
            "code_to_first_packet_answered": Spread::of(&self.packets).json() })
    }
}

pub fn measure() -> anyhow::Result<Value> {
    let mut world = world()?;
    world.set_plan(&["--quota", "none", "--remember", "1d"])?;
    world.admin(&["plan", "set", "passing", "--quota", "none", "--remember", "0d"])?;
    let (phone, other) = (world.phone()?, world.phone()?);
    phone.dhcp()?;
    other.dhcp()?;
    // The one who is measured comes anew each time, unlike the crowd. A number is known once it has logged in.
    let citizen = |phone| Citizen { phone, number: NUMBER };
    citizen(&other).log_in(&world)?;
    world.admin(&["session", "end", &crowd::session_of(&world, NUMBER)?])?;
    world.admin(&["subscriber", "plan", NUMBER, "passing"])?;
    wait_for_end(&world)?;

    let alone = run(&world, &citizen(&phone))?;
    crowd::come(&world, CROWD)?;
    let crowded = run(&world, &citizen(&phone))?;
    Ok(
        json!({ "what": "login in the whole world, one after the other", "runs": RUNS, "logins_in_a_run": LOGINS,
        "alone": alone.json(), "with_1000_sessions": crowded.json(),
        "median_ratio_of_p50_crowded_to_alone": median_ratio(&crowded.pages, &alone.pages) }),
    )
}

fn run(world: &World, citizen: &Citizen) -> anyhow::Result<Times> {
    let mut times = Times::default();
    for _ in 0..RUNS {
        let (mut pages, mut packets) = (Sample::default(), Sample::default());
        for _ in 0..LOGINS {
            log_in(world, citizen, &mut pages, &mut packets)?;
        }
        times.pages.push(pages);
        times.packets.push(packets);
    }
    Ok(times)
}

fn log_in(world: &World, citizen: &Citizen, pages: &mut Sample, packets: &mut Sample) -> anyhow::Result<()> {
    let seen = world.messages().len();
    let page = citizen.give_number(&citizen.arrive()?)?;
    let (_, code) = citizen.read_code(world, seen)?;
    let start = Instant::now();
    let (page, took) = citizen.enter_code(&page, &code)?;
    page.form("/disconnect").with_context(|| page.text())?;
    pages.add(took);
    citizen.phone.netns().run("ping", &["-c1", "-W1", "-q", WEB])?;
    packets.add(start.elapsed());
    world.admin(&["session", "end", &crowd::session_of(world, NUMBER)?])?;
    wait_for_end(world)
}

/// Asks the centre: a phone that asked all the time would use up what strangers may ask of DNS.
fn wait_for_end(world: &World) -> anyhow::Result<()> {
    let is_over = until(Duration::from_secs(20), || crowd::session_of(world, NUMBER).is_err());
    ensure!(is_over, "the session did not end");
    Ok(())
}
