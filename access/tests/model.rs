//! Whatever happens, in whatever order: random histories of two people, their devices, a gate that renews leases and one that only takes a
//! limit, against the octets that truly flowed. On both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;
mod truth;

use std::collections::HashMap;
use std::time::Duration;

use kavadam_access::admin::NasSetting;
use kavadam_access::api::*;
use kavadam_access::{Access, AccessError, Settings};
use kavadam_domain::gate::{Abilities, Hold};
use kavadam_domain::session::SessionState;
use kavadam_domain::{Language, Limits, Mac, MobileNumber, NasId, SessionId, SubscriberId, Timestamp};
use lab::{Database, Lab, MB, plan};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[derive(Debug, Clone)]
enum Event {
    /// A device comes; the answer may be lost on its way to the gate.
    Login(u8, bool, bool),
    Flow(u8, u64),
    Report(u8),
    /// A report arrives, is lost (no Stop ever is), or arrives and will arrive again.
    Deliver(u8, u8),
    /// The answer may be lost.
    Renew(u8, bool),
    Stop(u8),
    /// The gate's On overtakes the Stops of its sessions.
    Restart(bool),
    Sweep,
    /// Orders go out; the gate obeys and says so, obeys in silence, hears nothing, or refuses.
    Order(u8),
    /// An answer comes at last.
    Answer(u8),
    TopUp(bool, u64),
    LargerPlan,
    Block(bool, bool),
    Pass(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..6_u8, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(d, g, lost)| Event::Login(d, g, lost)),
        8 => (any::<u8>(), 0..9 * MB).prop_map(|(s, octets)| Event::Flow(s, octets)),
        5 => any::<u8>().prop_map(Event::Report),
        8 => any::<(u8, u8)>().prop_map(|(r, fate)| Event::Deliver(r, fate)),
        6 => (any::<u8>(), prop::bool::weighted(0.1)).prop_map(|(s, lost)| Event::Renew(s, lost)),
        1 => any::<u8>().prop_map(Event::Stop),
        1 => any::<bool>().prop_map(Event::Restart),
        2 => Just(Event::Sweep),
        4 => any::<u8>().prop_map(Event::Order),
        3 => any::<u8>().prop_map(Event::Answer),
        1 => (any::<bool>(), MB..20 * MB).prop_map(|(p, octets)| Event::TopUp(p, octets)),
        1 => Just(Event::LargerPlan),
        1 => any::<(bool, bool)>().prop_map(|(p, is_blocked)| Event::Block(p, is_blocked)),
        4 => (1..90_u32).prop_map(Event::Pass),
        1 => prop_oneof![Just(150_u32), Just(1_000), 3_600..25_000_u32].prop_map(Event::Pass),
    ]
}

/// A session as it truly is at its gate.
struct Session {
    id: SessionId,
    person: usize,
    device: u8,
    gate: usize,
    name: String,
    class: Vec<u8>,
    limits: Limits,
    passed: u64,
    began: Timestamp,
    is_online: bool,
    /// The centre was seen to hold it for ended.
    is_written_off: bool,
}

impl Session {
    fn limit(&self) -> u64 {
        self.limits
            .max_total_octets
            .expect("every plan here has a quota, and closes")
    }

    fn ends_at(&self) -> Timestamp {
        self.began + Duration::from_secs(self.limits.session_secs.unwrap().into())
    }
}

struct Model {
    lab: Lab,
    gates: [NasId; 2],
    people: [(SubscriberId, MobileNumber); 2],
    sessions: Vec<Session>,
    /// What ended sessions of a person left in the pool at the gate that shares: granted, passed.
    retired: [(u64, u64); 2],
    reports: Vec<AccountingReport>,
    answers: Vec<(Order, OrderAnswer)>,
    quota: u64,
    /// By person and day.
    passed: HashMap<(usize, Timestamp), u64>,
    topped_up: HashMap<(usize, Timestamp), u64>,
    /// Octets that a gate let through and had not reported when their session was held for ended, and its lease given to others: by its
    /// next login, its On, its word that the session is gone.
    debt: [u64; 2],
    /// A session of theirs was taken for ended while it was alive: all of its lease may have gone to others as well.
    is_overdrawn: [bool; 2],
    names: u32,
}

const SHARING: usize = 0;

impl Model {
    async fn new(database: Database, vendor: Abilities) -> Self {
        let quota = 40 * MB;
        let mut lab = Lab::new(database, &lab::plan(quota)).await;
        let mut settings = Settings::default();
        settings.abilities.insert("vendor".to_owned(), vendor);
        lab.access = Access::new(lab.store.clone(), lab.sealer.clone(), settings);
        // A few minutes before midnight in Kerala.
        lab.pass(Duration::from_mins(12 * 60 - 4));
        let fixed = NasSetting {
            name: "gate-2",
            site: "Vizhinjam bus stand",
            source: "127.0.0.2/32".parse().unwrap(),
            secret: b"a secret of the gate",
            uam_secret: b"a secret of redirects",
            coa_port: 3799,
            coa_host: None,
            profile: "vendor",
            is_renewing: false,
        };
        let fixed = lab.access.set_nas(&fixed, "test", lab.now).await.unwrap();
        let from = "127.0.0.2:40000".parse().unwrap();
        lab.access.nas_seen(fixed, from, lab.now).await.unwrap();
        let mut tx = lab.store.write().await.unwrap();
        let mut people = Vec::new();
        for person in 0..2 {
            let number: MobileNumber = format!("987654321{person}").parse().unwrap();
            let alias = format!("alias-{person}");
            let row = tx
                .ensure_subscriber(&number, &alias, Language::En, lab.now)
                .await
                .unwrap();
            for device in (0..6).filter(|device| person_of(*device) == person) {
                let until = lab.now + Duration::from_hours(10_000);
                tx.remember_device(row.id, mac(device), Some(until), lab.now)
                    .await
                    .unwrap();
            }
            people.push((row.id, number));
        }
        tx.commit().await.unwrap();
        Self {
            gates: [lab.nas, fixed],
            lab,
            people: people.try_into().ok().unwrap(),
            sessions: Vec::new(),
            retired: [(0, 0); 2],
            reports: Vec::new(),
            answers: Vec::new(),
            quota,
            passed: HashMap::new(),
            topped_up: HashMap::new(),
            debt: [0; 2],
            is_overdrawn: [false; 2],
            names: 0,
        }
    }

    async fn happen(&mut self, event: Event) {
        self.pass(1);
        match event {
            Event::Login(device, gate, is_lost) => self.log_in(device, usize::from(gate), is_lost).await,
            Event::Flow(pick, octets) => self.flow(pick, octets),
            Event::Report(pick) => {
                if let Some(index) = self.online(pick) {
                    let report = self.report(index, AccountingKind::Interim);
                    self.reports.push(report);
                }
            }
            Event::Deliver(pick, fate) => self.deliver(pick, fate).await,
            Event::Renew(pick, is_lost) => self.renew(pick, is_lost).await,
            Event::Stop(pick) => {
                if let Some(index) = self.online(pick) {
                    self.end(index, 1);
                }
            }
            Event::Restart(gate) => self.restart(usize::from(gate)).await,
            Event::Sweep => _ = self.lab.sweep().await,
            Event::Order(whim) => self.send_orders(whim).await,
            Event::Answer(pick) => {
                if !self.answers.is_empty() {
                    let (order, answer) = self.answers.remove(usize::from(pick) % self.answers.len());
                    self.lab.answer(&order, answer).await;
                }
            }
            Event::TopUp(person, octets) => {
                let (person, now) = (usize::from(person), self.lab.now);
                let number = &self.people[person].1;
                match self.lab.access.top_up(number, octets, "test", now).await {
                    Ok(()) => *self.topped_up.entry((person, self.day())).or_default() += octets,
                    // Never online yet: nobody knows of which plan.
                    Err(AccessError::Invalid(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            Event::LargerPlan => {
                self.quota += 5 * MB;
                self.lab
                    .access
                    .set_plan(&plan(self.quota), "test", self.lab.now)
                    .await
                    .unwrap();
            }
            Event::Block(person, is_blocked) => {
                let number = &self.people[usize::from(person)].1;
                let blocked = self.lab.access.block(number, is_blocked, "test", self.lab.now);
                blocked.await.unwrap();
            }
            Event::Pass(secs) => self.pass(secs),
        }
    }

    fn day(&self) -> Timestamp {
        plan(self.quota).window(self.lab.now).unwrap().start
    }

    async fn note_debts(&mut self) {
        let mut tx = self.lab.store.read().await.unwrap();
        for session in self.sessions.iter_mut().filter(|session| !session.is_written_off) {
            let known = tx.session(session.id).await.unwrap().unwrap();
            if known.state == SessionState::Ended {
                session.is_written_off = true;
                self.debt[session.person] += session.passed - known.meter().total_octets();
                self.is_overdrawn[session.person] |= session.is_online;
            }
        }
    }

    /// Never more than there is; never charged what did not flow; nothing promised to nobody.
    async fn check(&mut self) {
        self.note_debts().await;
        for (person, (id, number)) in self.people.iter().enumerate() {
            let today = (person, self.day());
            let there_is = self.quota + self.topped_up.get(&today).copied().unwrap_or(0);
            let passed = self.passed.get(&today).copied().unwrap_or(0);
            let free = self.free_of(person);
            if !self.is_overdrawn[person] {
                let most = there_is + self.debt[person];
                assert!(passed + free <= most, "{passed} passed, {free} free, of {most}");
            }
            let view = self.lab.access.subscriber(number, self.lab.now).await.unwrap().unwrap();
            assert!(view.used_octets <= passed, "{} charged of {passed}", view.used_octets);
            let mut tx = self.lab.store.read().await.unwrap();
            if tx.live_sessions_of(*id).await.unwrap().is_empty() {
                assert_eq!(view.leased_octets, 0, "promised to nobody");
            }
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
        // What nobody began ends by itself.
        self.lab.pass(Duration::from_mins(20));
        self.lab.sweep().await;
        let mut days: Vec<Timestamp> = self.passed.keys().map(|(_, day)| *day).collect();
        days.push(self.day());
        for (person, (id, number)) in self.people.iter().enumerate() {
            let mut tx = self.lab.store.read().await.unwrap();
            assert_eq!(tx.live_sessions_of(*id).await.unwrap(), []);
            drop(tx);
            for day in &days {
                let view = self.lab.access.subscriber(number, *day).await.unwrap().unwrap();
                let passed = self.passed.get(&(person, *day)).copied().unwrap_or(0);
                assert_eq!(
                    (view.used_octets, view.leased_octets),
                    (passed, 0),
                    "charged as it flowed"
                );
            }
        }
    }
}

fn person_of(device: u8) -> usize {
    usize::from(device % 2)
}

fn mac(device: u8) -> Mac {
    Mac([2, 0, 0, 0, 2, device])
}

fn histories(database: Database, vendor: Abilities, cases: u32) {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let events = prop::collection::vec(event(), 1..120);
    let outcome = TestRunner::new(config).run(&events, |events| {
        runtime.block_on(async {
            let mut model = Model::new(database, vendor).await;
            for event in events {
                model.happen(event).await;
                model.check().await;
            }
            model.finish().await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
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
fn any_history_with_a_gate_that_is_told_octets_once_keeps_to_the_quota() {
    let once = Abilities {
        octets: Hold::AtLogin,
        ..Abilities::ALL
    };
    histories(Database::Sqlite, once, 24);
}
