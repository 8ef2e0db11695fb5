//! How often meters are read: seldom enough for a crowd, often enough for a lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use kavadam_domain::{ClassName, FilterName};
use kavadam_firewall::{AdoptedSession, FirewallError, Meter, OpenSession, SessionLimits, SessionState, Slot};
use proptest::prelude::*;

use super::super::session::Left;
use super::*;
use crate::kernel::Kernel;

/// As the centre makes them: 20 s at the plan's speed, 32 MiB at least.
fn lease_octets(mbit: u64) -> u64 {
    (mbit * 250_000 * 20).max(32 << 20)
}

/// A kernel of many sessions that hardly do anything; it counts how often it is read.
#[derive(Clone)]
struct Crowd {
    lease: u64,
    state: Arc<Mutex<CrowdState>>,
}

#[derive(Default)]
struct CrowdState {
    secs: u64,
    reads: u64,
}

impl Crowd {
    /// Up to three quarters of their first lease are used; a tenth of them listen to something.
    fn used(&self, slot: Slot) -> u64 {
        let number = u64::from(slot.0);
        let secs = self.state.lock().unwrap().secs;
        self.lease / 100 * (number * 7_919 % 75) + secs * if number.is_multiple_of(10) { 20_000 } else { 200 }
    }

    fn meter(&self, slot: Slot) -> Meter {
        Meter {
            down_octets: self.used(slot),
            ..Meter::default()
        }
    }
}

impl Kernel for Crowd {
    fn create_pool(&mut self, _: Option<u64>) -> Result<PoolKey, FirewallError> {
        Err(FirewallError::NotPermitted)
    }
    fn set_pool_limits(&mut self, _: &BTreeMap<PoolKey, Option<u64>>) -> Vec<(PoolKey, FirewallError)> {
        Vec::new()
    }
    fn open_all(&mut self, sessions: &[OpenSession]) -> Vec<Result<Slot, FirewallError>> {
        sessions.iter().map(|_| Err(FirewallError::NotPermitted)).collect()
    }
    fn close_all(&mut self, _: &BTreeSet<Slot>) -> Vec<(Slot, Result<Meter, FirewallError>)> {
        Vec::new()
    }
    fn read(&mut self, slots: &[Slot]) -> Result<Vec<(Slot, Meter)>, FirewallError> {
        self.state.lock().unwrap().reads += u64::try_from(slots.len()).unwrap();
        Ok(slots.iter().map(|slot| (*slot, self.meter(*slot))).collect())
    }
    fn limit_all(&mut self, _: &BTreeMap<Slot, SessionLimits>) -> Vec<(Slot, FirewallError)> {
        Vec::new()
    }
    fn set_timeouts(&mut self, _: &BTreeMap<Slot, Option<Duration>>) -> Vec<(Slot, FirewallError)> {
        Vec::new()
    }
    fn set_ipv4(&mut self, _: Slot, _: Option<Ipv4Addr>) -> Result<(), FirewallError> {
        Ok(())
    }
    fn has_filter(&self, _: FilterName) -> bool {
        false
    }
    fn has_class(&self, _: ClassName) -> bool {
        false
    }
    fn pools_used_up(&mut self) -> Result<Vec<PoolKey>, FirewallError> {
        Ok(Vec::new())
    }
}

fn limits(mbit: u64, octets: u64) -> Limits {
    Limits {
        max_total_octets: Some(octets),
        up_bits_per_sec: Some(mbit * 1_000_000),
        down_bits_per_sec: Some(mbit * 1_000_000),
        interim_secs: Some(60),
        ..Limits::default()
    }
}

/// How often meters are read, and how often it is asked for more, in a minute of 100,000 sessions with a plan of this speed.
fn in_a_minute(mbit: u64) -> (u64, u64) {
    const SESSIONS: u32 = 100_000;
    let lease_octets = lease_octets(mbit);
    let crowd = Crowd {
        lease: lease_octets,
        state: Arc::default(),
    };
    let settings = Settings {
        interim: Duration::from_mins(1),
        called_station_id: String::new(),
        seed: 1,
    };
    let mut core = Core::new(settings, crowd.clone());
    let mut now = Scene::new().now;
    let one = |number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        let mut row = row(&number.to_string());
        (row.mac, row.cui, row.ipv4) = (Mac([2, 0, a, b, c, d]), None, None);
        row.limits = limits(mbit, lease_octets);
        row.left = Some(Left {
            octets: lease_octets * 9,
            at_used_octets: 0,
        });
        let found = AdoptedSession {
            slot: Slot(number),
            mac: row.mac,
            ipv4: None,
            label: row.id.clone().into_bytes(),
            filter: None,
            class: None,
            state: SessionState::Online { remaining: None },
            meter: crowd.meter(Slot(number)),
            pool: PoolKey(number),
            pool_limit_octets: Some(lease_octets),
            pool_used_octets: crowd.used(Slot(number)),
        };
        (found, row)
    };
    let (found, rows) = (1..=SESSIONS).map(one).unzip();
    let mut commands = core.adopt(found, rows, now);
    let (mut asked, mut before) = (0, (0, 0));
    for secs in 1..=120 {
        crowd.state.lock().unwrap().secs = secs;
        now.mono += Duration::from_secs(1);
        commands.extend(core.handle(Input::Tick, now));
        while core.wake_at().is_some_and(|at| at <= now.mono) {
            commands.extend(core.handle(Input::Tick, now));
        }
        while let Some(command) = commands.pop() {
            if let Command::Ask(ask, request, _) = command {
                asked += 1;
                let slot = Slot(request.acct_session_id.unwrap().parse().unwrap());
                let grant = Grant {
                    limits: limits(mbit, crowd.used(slot) + lease_octets),
                    cui: None,
                    ..lease(0)
                };
                commands.extend(core.handle(Input::Answered(ask, Answer::Accept(Box::new(grant))), now));
            }
        }
        if secs == 60 {
            before = (crowd.state.lock().unwrap().reads, asked);
        }
    }
    let reads = crowd.state.lock().unwrap().reads;
    (reads - before.0, asked - before.1)
}

#[test]
fn a_hundred_thousand_who_do_hardly_anything_are_read_a_few_times_a_minute_each() {
    for (mbit, most) in [(2, 175_000), (10, 600_000)] {
        let (reads, asked) = in_a_minute(mbit);
        println!("{mbit} Mbit/s: {reads} readings and {asked} questions a minute");
        assert!(reads <= most, "{mbit} Mbit/s: {reads} readings a minute");
        assert!(asked <= 10_000, "{mbit} Mbit/s: {asked} questions a minute");
    }
}

proptest! {
    /// Leases of 12 s at full speed and more: a smaller one is the rest of a quota.
    #[test]
    fn no_lease_of_a_session_at_full_speed_runs_dry_before_it_was_read_at_low_water(
        up in 1..100_u64, down in 1..100_u64, secs in 12..120_u64,
        phases in prop::collection::vec((0..90_u64, 1..40_u64), 1..6),
    ) {
        let rate = (up + down) * 125_000;
        let grant = |octets| {
            let mut grant = lease(octets);
            (grant.limits.up_bits_per_sec, grant.limits.down_bits_per_sec) = (Some(up * 1_000_000), Some(down * 1_000_000));
            grant.limits.session_secs = None;
            grant
        };
        let mut scene = Scene::new();
        scene.online(1, grant(rate * secs));
        let mut used = 0;
        for (idle, busy) in phases {
            for second in 0..idle + busy {
                let octets = match second.checked_sub(idle) {
                    None => 0,
                    // What the kernel's bucket has gathered meanwhile passes at once.
                    Some(0) => rate * 2,
                    Some(_) => rate,
                };
                prop_assert_eq!(scene.flow(1, octets), octets, "ran dry in second {}", second);
                used += octets;
                scene.step(Duration::from_secs(1));
                if !scene.asked.is_empty() {
                    scene.accept(grant(used + rate * secs));
                }
            }
        }
    }
}
