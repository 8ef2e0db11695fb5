//! Who comes when: each device takes a lease, as dnsmasq would tell, and so is online if it is remembered; when its session's time is up it
//! takes another.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::world::World;

/// The first sessions last differently long, in so many steps, so that later ones do not all end at once.
const STEPS: u32 = 24;
/// While everybody comes for the first time.
const FILL_PER_SEC: u32 = 1_500;
/// A device comes back so long after its session's end.
const AWAY: Duration = Duration::from_secs(5);
/// The first of the first sessions.
const SHORTEST_SECS: u32 = 60;

/// Everybody.
pub struct Crowd {
    devices: u32,
    session_secs: u32,
    due: BinaryHeap<Reverse<(Instant, u32)>>,
    came: u64,
}

impl Crowd {
    pub const fn new(devices: u32, session_secs: u32) -> Self {
        Self {
            devices,
            session_secs,
            due: BinaryHeap::new(),
            came: 0,
        }
    }

    /// Sessions begun.
    pub const fn came(&self) -> u64 {
        self.came
    }

    /// Everybody comes for the first time.
    pub fn come(&mut self, world: &World) -> anyhow::Result<()> {
        let size = self.devices.div_ceil(STEPS).max(1);
        for step in 0..STEPS {
            let secs = (SHORTEST_SECS + step * self.session_secs / STEPS).min(self.session_secs.max(SHORTEST_SECS));
            world.set_session_time(secs)?;
            let apart = Duration::from_secs((self.session_secs / STEPS).into()) / size;
            let group = step * size..((step + 1) * size).min(self.devices);
            for (place, device) in (0_u32..).zip(group) {
                self.arrive(world, device, secs, apart * place)?;
                std::thread::sleep(Duration::from_secs(1) / FILL_PER_SEC);
            }
            self.those_due(world, Instant::now())?;
        }
        world.set_session_time(self.session_secs)
    }

    /// Whoever's session ends before this instant comes back in time.
    pub fn go_on(&mut self, world: &World, until: Instant) -> anyhow::Result<()> {
        while Instant::now() < until {
            self.those_due(world, Instant::now())?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn those_due(&mut self, world: &World, now: Instant) -> anyhow::Result<()> {
        while let Some(Reverse((at, device))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            self.arrive(world, device, self.session_secs, Duration::ZERO)?;
        }
        Ok(())
    }

    fn arrive(&mut self, world: &World, device: u32, secs: u32, later: Duration) -> anyhow::Result<()> {
        world.lease(device)?;
        self.came += 1;
        let back = Instant::now() + Duration::from_secs(secs.into()) + AWAY + later;
        self.due.push(Reverse((back, device)));
        Ok(())
    }
}
