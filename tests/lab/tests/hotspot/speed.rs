//! The plan's speed, with TCP.

use std::time::Duration;

use kavadam_lab::Tally;

use crate::{ENDLESS, NUMBER, SINK, alone, assert_rate, log_in, phone, rate, world};

/// The kernel's bucket holds a second of the rate: let it run dry first.
const RUN_DRY: Duration = Duration::from_secs(4);
const MEASURE: Duration = Duration::from_secs(12);

#[test]
fn each_direction_runs_within_five_per_cent_of_the_plans_speed() {
    let _alone = alone();
    let mut world = world(&["--quota", "none", "--down", "5Mbit", "--up", "20Mbit"]);
    let (loader, sender) = (phone(&mut world), phone(&mut world));
    log_in(&world, &loader, NUMBER);
    log_in(&world, &sender, "9876543211");
    let tally = Tally::begin(&world, &[&loader]).unwrap();
    let _flows = [
        loader.download(ENDLESS).unwrap(),
        loader.download(ENDLESS).unwrap(),
        sender.upload(SINK).unwrap(),
        sender.upload(SINK).unwrap(),
    ];
    for (down, up) in [(5, 20), (20, 5)] {
        // A changed plan reaches those who are online.
        let speeds = [format!("{down}Mbit"), format!("{up}Mbit")];
        world.set_plan(&["--down", &speeds[0], "--up", &speeds[1]]).unwrap();
        std::thread::sleep(RUN_DRY);
        std::thread::scope(|scope| {
            let upward = scope.spawn(|| rate(|| tally.up().unwrap(), MEASURE));
            assert_rate(rate(|| tally.down().unwrap(), MEASURE), down * 1_000_000, "download");
            assert_rate(upward.join().unwrap(), up * 1_000_000, "upload");
        });
    }
}
