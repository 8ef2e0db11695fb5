//! `make soak`: a gateway and a centre, the real processes, with very many devices that come and go for an hour. Every session lasts as long
//! as the plan says, then its device comes back; meanwhile devices taken at random send, and are answered. Two questions: does anything grow,
//! and does the record at the end say just what crossed?

mod crowd;
mod traffic;
mod world;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use kavadam_lab::traces;
use serde_json::{Value, json};

use super::{figures::grouped, marks};
use crowd::Crowd;
pub use traffic::{Chatter, echo};
use world::{Sight, World};

/// Long enough for the last session's end to be reported.
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// What to do for how long.
#[derive(Debug, Args)]
pub struct Soak {
    /// Devices, all of them online but for those that are just coming back
    #[arg(long, default_value_t = 100_000)]
    devices: u32,
    /// How long, after everybody is there
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// How long a session lasts, seconds: devices divided by this is how many come and go in a second
    #[arg(long, default_value_t = 480)]
    session_secs: u32,
    /// Datagrams a second from devices taken at random, each answered
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Markdown file in which to write the table, between the two marks for it
    #[arg(long)]
    write: Option<PathBuf>,
}

impl Soak {
    /// Soaks and tells.
    pub fn run(&self) -> anyhow::Result<Value> {
        traces::heed_signals(|| 130)?;
        let mut world = World::build(self.devices)?;
        let mut crowd = Crowd::new(self.devices, self.session_secs);
        crowd.come(&world)?;
        eprintln!("everybody is there, {} online", world.look()?.online);
        let chatter = world.chatter(self.devices, self.rate)?;
        let start = Instant::now();
        let mut seen = Vec::new();
        for minute in 0..=self.minutes {
            crowd.go_on(&world, start + LOOK_EVERY * u32::try_from(minute)?)?;
            let sight = world.look()?;
            eprintln!("minute {minute}: {sight:?}");
            ensure!(world.is_running(), "a process has ended:\n{}", world.last_words());
            seen.push(sight);
        }
        drop(chatter);
        let crossed = world.crossed()?;
        eprintln!(
            "nobody comes back any more; the last session ends within {} s",
            self.session_secs
        );
        let until = Instant::now() + Duration::from_secs(self.session_secs.into()) + PATIENCE;
        while world.look()?.online > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_secs(2));
        }
        let recorded = world.recorded()?;
        let left = world.left_in_kernel()?;
        let came = crowd.came();
        let table = self.table(&seen, came, crossed, recorded, left);
        eprintln!("\n{table}");
        if let Some(path) = &self.write {
            marks::write(path, "soak", &table)?;
        }
        Ok(
            json!({ "part": "soak", "devices": self.devices, "minutes": self.minutes, "logins": came,
            "crossed_octets": crossed, "recorded_octets": recorded, "elements_left": left,
            "gateway_mib": [seen.first().map(|one| one.gateway_mib), seen.last().map(|one| one.gateway_mib)] }),
        )
    }

    fn table(&self, seen: &[Sight], came: u64, crossed: [u64; 2], recorded: [u64; 2], left: usize) -> String {
        let number = |figure: u64| grouped(as_float(figure));
        let per_sec = self.devices / self.session_secs.max(1);
        let mut text = format!(
            "{} devices, sessions of {} s, so that {per_sec} end and {per_sec} begin in a second; {} datagrams a second and as many answers; \
             {} sessions in all.\n\n| Minute | online | gateway, MiB | centre, MiB | kernel's slabs that it cannot give back, MiB | gateway, % of a processor | centre, % |\n\
             |--:|--:|--:|--:|--:|--:|--:|\n",
            number(self.devices.into()),
            self.session_secs,
            number(self.rate.into()),
            number(came)
        );
        let every = (seen.len() / 6).max(1);
        for (minute, pair) in seen.windows(2).enumerate().filter(|(at, _)| (at + 1) % every == 0) {
            let [before, now] = pair else { continue };
            let secs = now.at.saturating_duration_since(before.at).as_secs_f64();
            let share = |now: f64, before: f64| (now - before) / secs * 100.0;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {:.0} | {:.0} |",
                minute + 1,
                number(now.online),
                now.gateway_mib,
                now.centre_mib,
                now.slab_mib,
                share(now.gateway_secs, before.gateway_secs),
                share(now.centre_secs, before.centre_secs),
            );
        }
        let _ = writeln!(
            text,
            "\n| Octets | up | down |\n|---|--:|--:|\n| crossed, counted at the other side | {} | {} |\n| in the centre's record | {} | {} |\n\n\
             Elements of sessions left in the kernel at the end: {left}.",
            number(crossed[0]),
            number(crossed[1]),
            number(recorded[0]),
            number(recorded[1])
        );
        text
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
const fn as_float(figure: u64) -> f64 {
    figure as f64
}
