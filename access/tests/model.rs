//! Whatever happens, in whatever order: random histories of two people, their devices and six kinds of gates, against the octets that
//! truly flowed. On both databases.
//!
//! The gates: one that renews leases; one that takes a limit, has no Gigawords, and whose clock is behind; one that numbers sessions anew
//! under their Class, and whose clock is ahead; one that heeds no limit and only obeys orders; two that name nothing that they ask for,
//! of which one gives no Class back either. They all number their sessions alike, prove devices anew that are online, and lose Stops.
//!
//!
//! `KAVADAM_HISTORIES=5000` runs so many of them, `KAVADAM_SEED=7` other ones, and `TMPDIR=/dev/shm` saves the disk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;
mod truth;

use std::time::Duration;

use kavadam_access::AccessError;
use kavadam_domain::gate::{Abilities, Hold};
use kavadam_domain::plan::AfterQuota;
use lab::{Database, MB};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use truth::Model;

#[derive(Debug, Clone)]
enum Event {
    /// A device comes; the answer may be lost on its way to the gate.
    Login(u8, u8, bool),
    Flow(u8, u64),
    Report(u8),
    /// A device that is online is proven again: its session goes on, or another begins.
    LoginAgain(u8, u8),
    /// A session is over, and nobody says so.
    Vanish(u8),
    /// A report arrives, is lost (no Stop that is sent ever is), or arrives and will arrive again.
    Deliver(u8, u8),
    /// Reports from everywhere arrive at one moment.
    DeliverMany(Vec<u8>),
    /// The answer may be lost.
    Renew(u8, bool),
    /// Perhaps with a Stop before the true one that knows only half.
    Stop(u8, bool),
    /// A gate goes on with a session under another Acct-Session-Id, with or without a Stop of the old one.
    Renumber(u8, bool),
    /// A gate loses a session's counters, and counts from zero.
    Reset(u8),
    /// The gate's On overtakes the Stops of its sessions.
    Restart(u8),
    Sweep,
    /// Nothing is heard for so long that whoever is online is taken for ended.
    Silence,
    /// Orders go out; the gate obeys and says so, obeys in silence, hears nothing, or refuses.
    Order(u8),
    /// An answer comes at last.
    Answer(u8),
    TopUp(bool, u64),
    LargerPlan,
    Block(bool, bool),
    /// A device changes hands.
    Exchange(u8),
    Pass(u32),
}

/// What a history is about.
#[derive(Debug, Clone, Copy)]
pub struct World {
    /// What the plan does at the quota's end.
    pub after_quota: AfterQuota,
    /// Octets for each one of a small world: with a hundred, counters of 32 bits wrap.
    pub scale: u64,
}

fn world() -> impl Strategy<Value = World> {
    let after = prop_oneof![
        2 => Just(AfterQuota::Close),
        1 => Just(AfterQuota::Throttle { bits_per_sec: 256_000 }),
    ];
    (after, prop_oneof![Just(1), Just(100)]).prop_map(|(after_quota, scale)| World { after_quota, scale })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..6_u8, 0..6_u8, prop::bool::weighted(0.1)).prop_map(|(d, g, lost)| Event::Login(d, g, lost)),
        8 => (any::<u8>(), 0..9 * MB).prop_map(|(s, octets)| Event::Flow(s, octets)),
        5 => any::<u8>().prop_map(Event::Report),
        8 => any::<(u8, u8)>().prop_map(|(r, fate)| Event::Deliver(r, fate)),
        1 => prop::collection::vec(any::<u8>(), 2..6).prop_map(Event::DeliverMany),
        6 => (any::<u8>(), prop::bool::weighted(0.1)).prop_map(|(s, lost)| Event::Renew(s, lost)),
        1 => any::<(u8, bool)>().prop_map(|(s, twice)| Event::Stop(s, twice)),
        1 => any::<(u8, bool)>().prop_map(|(s, stops)| Event::Renumber(s, stops)),
        4 => any::<(u8, u8)>().prop_map(|(s, whim)| Event::LoginAgain(s, whim)),
        1 => any::<u8>().prop_map(Event::Vanish),
        1 => any::<u8>().prop_map(Event::Reset),
        1 => (0..6_u8).prop_map(Event::Restart),
        2 => Just(Event::Sweep),
        2 => Just(Event::Silence),
        4 => any::<u8>().prop_map(Event::Order),
        3 => any::<u8>().prop_map(Event::Answer),
        1 => (any::<bool>(), MB..20 * MB).prop_map(|(p, octets)| Event::TopUp(p, octets)),
        1 => Just(Event::LargerPlan),
        1 => any::<(bool, bool)>().prop_map(|(p, is_blocked)| Event::Block(p, is_blocked)),
        1 => (0..6_u8).prop_map(Event::Exchange),
        4 => (1..90_u32).prop_map(Event::Pass),
        1 => prop_oneof![Just(150_u32), Just(1_000), 3_600..25_000_u32].prop_map(Event::Pass),
    ]
}

impl Model {
    async fn happen(&mut self, event: Event) {
        self.pass(1);
        match event {
            Event::Login(device, gate, is_lost) => self.log_in(device, usize::from(gate), is_lost).await,
            Event::LoginAgain(pick, whim) => self.log_in_again(pick, whim).await,
            Event::Vanish(pick) => self.vanish(pick),
            Event::Flow(pick, octets) => self.flow(pick, octets * self.world.scale),
            Event::Report(pick) => self.report_one(pick),
            Event::Deliver(pick, fate) => self.deliver(pick, fate).await,
            Event::DeliverMany(picks) => self.deliver_many(&picks).await,
            Event::Renew(pick, is_lost) => self.renew(pick, is_lost).await,
            Event::Stop(pick, twice) => self.stop(pick, twice),
            Event::Renumber(pick, stops) => self.renumber(pick, stops),
            Event::Reset(pick) => self.reset(pick).await,
            Event::Restart(gate) => self.restart(usize::from(gate)).await,
            Event::Sweep => _ = self.lab.sweep().await,
            Event::Silence => {
                self.pass(16 * 60);
                self.lab.sweep().await;
            }
            Event::Order(whim) => self.send_orders(whim).await,
            Event::Answer(pick) => self.answer(pick).await,
            Event::TopUp(person, octets) => self.top_up(usize::from(person), octets * self.world.scale).await,
            Event::LargerPlan => {
                self.quota += 5 * MB * self.world.scale;
                let plan = self.plan();
                self.lab.access.set_plan(&plan, "test", self.lab.now).await.unwrap();
            }
            Event::Block(person, is_blocked) => {
                let number = &self.people[usize::from(person)].1;
                let blocked = self.lab.access.block(number, is_blocked, "test", self.lab.now);
                blocked.await.unwrap();
            }
            Event::Exchange(device) => self.exchange(device).await,
            Event::Pass(secs) => self.pass(secs),
        }
    }

    async fn top_up(&mut self, person: usize, octets: u64) {
        let number = &self.people[person].1;
        match self.lab.access.top_up(number, octets, "test", self.lab.now).await {
            Ok(()) => *self.topped_up.entry((person, self.day())).or_default() += octets,
            // Never online yet: nobody knows of which plan.
            Err(AccessError::Invalid(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn answer(&mut self, pick: u8) {
        if !self.answers.is_empty() {
            let (order, answer) = self.answers.remove(usize::from(pick) % self.answers.len());
            self.lab.answer(&order, answer).await;
        }
    }

    /// Everybody goes home, and every report arrives.
    async fn finish(mut self) {
        for index in 0..self.sessions.len() {
            if self.sessions[index].is_online {
                self.end(index, 1);
            }
        }
        while !self.reports.is_empty() {
            self.deliver(7, 2).await;
        }
        for (order, answer) in std::mem::take(&mut self.answers) {
            self.lab.answer(&order, answer).await;
        }
        // What nobody began ends by itself, and what nobody hears of, at gates that may report rarely.
        self.lab.pass(Duration::from_hours(3));
        self.lab.sweep().await;
        self.check_end().await;
    }
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number")))
}

fn histories(database: Database, vendor: Abilities, cases: u32) {
    let cases = number_from("KAVADAM_HISTORIES").map_or(cases, |cases| cases.try_into().unwrap());
    let seed = number_from("KAVADAM_SEED").unwrap_or_else(rand::random);
    let mut octets = [0; 32];
    octets[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 150,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let history = (world(), prop::collection::vec(event(), 1..120));
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &octets));
    let outcome = runner.run(&history, |(world, events)| {
        runtime.block_on(async {
            let mut model = Model::new(database, vendor, world).await;
            for event in events {
                model.happen(event).await;
                model.check().await;
            }
            model.finish().await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("KAVADAM_SEED={seed}: {failure}");
    }
}

#[test]
fn any_history_keeps_to_the_quota_and_charges_what_flowed_on_sqlite() {
    histories(Database::Sqlite, Abilities::ALL, 24);
}

#[test]
fn any_history_keeps_to_the_quota_and_charges_what_flowed_on_postgres() {
    histories(Database::Postgres, Abilities::ALL, 4);
}

/// As MikroTik: octets at the login alone.
#[test]
fn any_history_with_gates_that_are_told_octets_once_keeps_to_the_quota() {
    let once = Abilities {
        octets: Hold::AtLogin,
        ..Abilities::ALL
    };
    histories(Database::Sqlite, once, 24);
}
