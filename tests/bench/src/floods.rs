//! What those online notice of a stranger who floods: the speed of one download beside the same without a flood, in turns.

use std::time::Duration;

use anyhow::Context as _;
use kavadam_lab::flood::Nuisance;
use kavadam_lab::{Citizen, Tally, World};
use serde_json::{Map, Value, json};

use crate::RUNS;
use crate::sample::median;

const NUMBER: &str = "9876543210";
/// Of the plan.
const SPEED: &str = "50Mbit";
const ENDLESS: &str = "http://203.0.113.10:8000/bytes/1000000000000";
/// The kernel's bucket holds a second of the rate: let it run dry first.
const RUN_DRY: Duration = Duration::from_secs(3);
const MEASURE: Duration = Duration::from_secs(4);

pub fn measure() -> anyhow::Result<Value> {
    let mut world = World::build(&crate::beside("kavadam")?, &crate::beside("kavadam-lab")?, "")?;
    world.set_plan(&["--quota", "none", "--down", SPEED])?;
    let (attacker, citizen) = (world.phone()?, world.phone()?);
    attacker.dhcp()?;
    citizen.dhcp()?;
    Citizen {
        phone: &citizen,
        number: NUMBER,
    }
    .log_in(&world)?;
    let tally = Tally::begin(&world, &[&citizen])?;
    let mut shares = Map::new();
    for nuisance in Nuisance::ALL {
        // One for each: none lasts longer than two minutes.
        let _download = citizen.download(ENDLESS)?;
        std::thread::sleep(RUN_DRY);
        let mut ratios = Vec::new();
        for _ in 0..RUNS {
            let before = rate(&tally)?;
            let mut flood = world.flood(&attacker, nuisance)?;
            std::thread::sleep(Duration::from_millis(500));
            let during = rate(&tally)?;
            anyhow::ensure!(flood.is_running(), "{}: there was no flood", nuisance.word());
            anyhow::ensure!(
                before > 0.0 && during > 0.0,
                "{}: the download stood still",
                nuisance.word()
            );
            ratios.push(during / before);
        }
        shares.insert(nuisance.word().to_owned(), json!(median(ratios)));
    }
    Ok(
        json!({ "what": "share of its speed that a download keeps while a stranger sends 50,000 frames a second", "runs": RUNS,
        "speed_of_the_plan": SPEED, "shares": shares }),
    )
}

fn rate(tally: &Tally) -> anyhow::Result<f64> {
    let before = tally.down()?;
    std::thread::sleep(MEASURE);
    let octets = u32::try_from(tally.down()? - before).context("too many octets")?;
    Ok(f64::from(octets) / MEASURE.as_secs_f64())
}
