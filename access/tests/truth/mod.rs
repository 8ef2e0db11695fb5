//! The world as it truly is: people, devices, gates, and what flows.

mod gates;
mod ledger;
mod mishaps;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use kavadam_access::admin::NasSetting;
use kavadam_access::api::*;
use kavadam_access::{Access, Settings};
use kavadam_domain::gate::Abilities;
use kavadam_domain::{Language, Limits, Mac, MobileNumber, NasId, Plan, SessionId, SubscriberId, Timestamp};

use crate::World;
use crate::lab::{self, Database, Lab, MB};

/// Renews leases and shares them between a person's devices.
pub const SHARING: usize = 0;
/// Takes a limit. It has no Gigawords, and its clock is behind.
pub const NARROW: usize = 1;
/// Takes a limit, and numbers sessions anew under their Class. Its clock is ahead.
pub const RENUMBERING: usize = 2;
/// Heeds no limit of octets: only orders.
pub const CARELESS: usize = 3;
/// Names nothing that it asks for, and gives no Class back. It takes a limit; its clock is behind.
pub const UNTIED: usize = 4;
/// Names nothing that it asks for, and gives Class back. It takes a limit.
pub const CLASSED: usize = 5;
pub const GATES: usize = 6;

/// A session as it truly is at its gate.
pub struct Session {
    /// Of the grant: the same for all that follow on from one.
    pub id: SessionId,
    pub person: usize,
    pub device: u8,
    pub gate: usize,
    pub name: String,
    pub class: Vec<u8>,
    pub limits: Limits,
    /// The most that the centre ever answered or ordered, whether the gate heard of it or not.
    pub offered: u64,
    pub passed: u64,
    /// Of that, before the gate's counters last began at zero.
    pub passed_before: u64,
    /// When they did.
    pub counted_from: Timestamp,
    pub began: Timestamp,
    /// The end of its day, where it was told a time that counts from the start of the one before.
    pub ends_by: Option<Timestamp>,
    pub is_online: bool,
    /// The centre has heard its name.
    pub is_known: bool,
    /// As the furthest report had it that arrived.
    pub reported: u64,
    /// The centre was seen to hold it for ended, and has not taken that back.
    pub is_written_off: bool,
}

impl Session {
    /// `None`: not metered, since the quota is used up and the plan slows.
    pub fn limit(&self) -> Option<u64> {
        self.limits.max_total_octets
    }

    pub fn note_offer(&mut self, limits: &Limits) {
        self.offered = self.offered.max(limits.max_total_octets.unwrap_or(0));
    }

    pub fn ends_at(&self) -> Timestamp {
        let told = self.began + Duration::from_secs(self.limits.session_secs.unwrap().into());
        self.ends_by.map_or(told, |by| told.min(by))
    }

    pub fn is_unnamed(&self) -> bool {
        self.gate == UNTIED || self.gate == CLASSED
    }
}

/// A report on its way.
#[derive(Clone)]
pub struct Sent {
    pub report: AccountingReport,
    pub session: usize,
    /// What the gate had let through by then, as far as the report tells.
    pub passed: u64,
    /// The gate will see to it that it arrives.
    pub is_sure: bool,
}

pub struct Model {
    pub lab: Lab,
    pub world: World,
    pub gates: [NasId; GATES],
    pub people: [(SubscriberId, MobileNumber); 2],
    /// Of the devices.
    pub owners: [usize; 6],
    pub sessions: Vec<Session>,
    /// What ended sessions of a person left in the pool at the gate that shares: granted, passed.
    pub retired: [(u64, u64); 2],
    /// Beyond that, what was offered to those.
    pub unheard: [u64; 2],
    pub reports: Vec<Sent>,
    pub answers: Vec<(Order, OrderAnswer)>,
    pub quota: u64,
    /// By person and day.
    pub passed: HashMap<(usize, Timestamp), u64>,
    /// Of that, while slowed.
    pub slowed: HashMap<(usize, Timestamp), u64>,
    pub topped_up: HashMap<(usize, Timestamp), u64>,
    /// Octets that the centre could not know of when it gave their lease to others: let through and not reported when their session was
    /// held for ended (by its gate's next login, its On, its word that the session is gone), or beyond every limit; and of a session that
    /// was alive all that its gate held of the lease.
    pub debt: HashMap<(usize, Timestamp), u64>,
    /// Charged, as last seen.
    pub charged: HashMap<(usize, Timestamp), u64>,
    /// Of each gate: they all number their sessions alike.
    pub names: [u32; GATES],
}

impl Model {
    /// All gates but the one that shares can be held to what is given of a vendor's.
    pub async fn new(database: Database, vendor: Abilities, world: World) -> Self {
        let quota = 40 * MB * world.scale;
        let mut lab = Lab::new(database, &plan(quota, world)).await;
        let mut settings = Settings::default();
        settings.abilities.insert("vendor".to_owned(), vendor);
        lab.access = Access::new(lab.store.clone(), lab.sealer.clone(), settings);
        lab.access.nas_seen(lab.nas, lab::SEEN_AT.parse().unwrap(), lab.now);
        // A few minutes before midnight in Kerala.
        lab.pass(Duration::from_mins(12 * 60 - 4));
        let mut gates = [lab.nas; GATES];
        for (number, gate) in gates.iter_mut().enumerate().skip(1) {
            *gate = set_gate(&lab, number + 1).await;
        }
        let mut model = Self {
            lab,
            world,
            gates,
            people: [
                (SubscriberId(0), "9876543210".parse().unwrap()),
                (SubscriberId(0), "9876543211".parse().unwrap()),
            ],
            owners: [0, 1, 0, 1, 0, 1],
            sessions: Vec::new(),
            retired: [(0, 0); 2],
            unheard: [0; 2],
            reports: Vec::new(),
            answers: Vec::new(),
            quota,
            passed: HashMap::new(),
            slowed: HashMap::new(),
            topped_up: HashMap::new(),
            debt: HashMap::new(),
            charged: HashMap::new(),
            names: [0; GATES],
        };
        for person in 0..2 {
            let mut tx = model.lab.store.write().await.unwrap();
            let number = model.people[person].1.clone();
            let alias = format!("alias-{person}");
            let row = tx.ensure_subscriber(&number, &alias, Language::En, model.lab.now).await;
            tx.commit().await.unwrap();
            model.people[person].0 = row.unwrap().id;
        }
        for device in 0..6 {
            model.remember(device).await;
        }
        model
    }

    pub fn plan(&self) -> Plan {
        plan(self.quota, self.world)
    }

    pub fn day(&self) -> Timestamp {
        self.day_of(self.lab.now)
    }

    pub fn day_of(&self, at: Timestamp) -> Timestamp {
        self.plan().window(at).unwrap().start
    }

    /// Its owner logged in with it.
    async fn remember(&self, device: u8) {
        let owner = self.people[self.owners[usize::from(device)]].0;
        let until = self.lab.now + Duration::from_hours(10_000);
        let mut tx = self.lab.store.write().await.unwrap();
        tx.remember_device(owner, mac(device), Some(until), self.lab.now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// Somebody else logs in with a device from now on.
    pub async fn exchange(&mut self, device: u8) {
        let owner = &mut self.owners[usize::from(device)];
        *owner = 1 - *owner;
        self.remember(device).await;
    }

    /// Gates end what is over in time.
    pub fn pass(&mut self, secs: u32) {
        for _ in 0..secs {
            self.lab.pass(Duration::from_secs(1));
            for index in 0..self.sessions.len() {
                if self.sessions[index].is_online && self.sessions[index].ends_at() <= self.lab.now {
                    self.end(index, 5);
                }
            }
        }
    }
}

fn plan(quota: u64, world: World) -> Plan {
    Plan {
        after_quota: world.after_quota,
        ..lab::plan(quota)
    }
}

async fn set_gate(lab: &Lab, number: usize) -> NasId {
    let setting = NasSetting {
        name: &format!("gate-{number}"),
        site: "Vizhinjam bus stand",
        source: format!("127.0.0.{number}/32").parse().unwrap(),
        secret: b"a secret of the gate",
        uam_secret: b"a secret of redirects",
        coa_port: 3799,
        coa_host: None,
        profile: "vendor",
        is_renewing: false,
    };
    let id = lab.access.set_nas(&setting, "test", lab.now).await.unwrap();
    let from = format!("127.0.0.{number}:40000").parse().unwrap();
    lab.access.nas_seen(id, from, lab.now);
    id
}

pub fn mac(device: u8) -> Mac {
    Mac([2, 0, 0, 0, 2, device])
}
