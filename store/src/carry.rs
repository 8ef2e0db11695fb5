//! What is remembered from one writing transaction to the next, packed: of each subscriber who is online, everything that is going on.
//!
//! It equals what is committed. On SQLite one process has the one writer, so nobody else changes these rows but a command of an
//! administrator, which [`Carry::is_of_version`] notices. On PostgreSQL a subscriber is remembered only as long as the row says that
//! this process may ([`crate::gather`]).

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use kavadam_domain::{Mac, NasId, Plan, PlanId, SiteId, SubscriberId};
use serde::{Deserialize, Serialize};

use crate::working::{Keys, Whole, Working};
use crate::{DeviceRow, EntitlementRow, LeaseRow, NasRow, SessionRow, SiteRow, SubscriberRow};

/// Beyond so many subscribers nobody more is remembered.
const MOST: usize = 1 << 21;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Carry {
    people: HashMap<SubscriberId, Box<[u8]>>,
    by_class: HashMap<u64, SubscriberId>,
    by_name: HashMap<u64, SubscriberId>,
    names: RandomState,
    /// By address; `None` if nobody's is remembered.
    pub(crate) devices: HashMap<Mac, Option<DeviceRow>>,
    /// A transaction changed devices or places and did not commit yet.
    pub(crate) is_uncertain: bool,
    pub(crate) places: Places,
    pub(crate) numbers: Numbers,
    version: (u64, i64),
}

/// What administrators set: read often, changed seldom.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) plans: HashMap<PlanId, Plan>,
    pub(crate) sites: HashMap<SiteId, SiteRow>,
    pub(crate) nases: HashMap<NasId, NasRow>,
    /// On PostgreSQL, of what was read.
    pub(crate) revision: i64,
}

/// Identifiers that nobody has yet.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) sessions: Vec<i64>,
    pub(crate) leases: Vec<i64>,
    pub(crate) entitlements: Vec<i64>,
}

#[derive(Serialize, Deserialize)]
struct Packed<S, W, L, E> {
    subscriber: S,
    sessions: W,
    leases: L,
    entitlements: E,
}

type Unpacked = Packed<SubscriberRow, Vec<SessionRow>, Vec<LeaseRow>, Vec<EntitlementRow>>;

impl Carry {
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets everything unless this is the version of the database that it was read from.
    pub(crate) fn is_of_version(&mut self, version: (u64, i64)) {
        if self.version != version {
            self.clear();
            self.version = version;
        }
    }

    pub(crate) fn subscriber(&self, id: SubscriberId) -> Option<(SubscriberRow, Whole)> {
        let unpacked: Unpacked = postcard::from_bytes(self.people.get(&id)?).ok()?;
        let whole = Whole {
            sessions: unpacked.sessions,
            leases: unpacked.leases,
            entitlements: unpacked.entitlements,
        };
        Some((unpacked.subscriber, whole))
    }

    /// Who may have the session of that Class.
    pub(crate) fn owner_of_class(&self, class: &[u8]) -> Option<SubscriberId> {
        self.by_class.get(&class_key(class.try_into().ok()?)).copied()
    }

    /// Who may have the live session of that name.
    pub(crate) fn owner_of_name(&self, nas: NasId, name: &str) -> Option<SubscriberId> {
        self.by_name.get(&self.names.hash_one((nas, name))).copied()
    }

    /// After the commit: those who were held, as they are now.
    pub(crate) fn keep(&mut self, working: Working) {
        self.is_uncertain = false;
        if self.devices.len() > MOST {
            self.devices.clear();
        }
        for (subscriber, whole, known_by) in working.into_wholes() {
            let id = subscriber.id;
            let keys: Vec<Keys> = whole.sessions.iter().map(Keys::from).collect();
            if keys != known_by {
                self.forget_keys(id, &known_by);
            }
            if keys.is_empty() || (self.people.len() >= MOST && !self.people.contains_key(&id)) {
                self.people.remove(&id);
                continue;
            }
            let packed = Packed {
                subscriber,
                sessions: whole.sessions,
                leases: whole.leases,
                entitlements: whole.entitlements,
            };
            match postcard::to_allocvec(&packed) {
                Ok(octets) => {
                    self.people.insert(id, octets.into());
                    if keys != known_by {
                        self.learn_keys(id, &keys);
                    }
                }
                Err(_) => {
                    self.people.remove(&id);
                }
            }
        }
    }

    /// Forgets a subscriber, who is changed without being held.
    pub(crate) fn forget(&mut self, id: SubscriberId) {
        if let Some((_, whole)) = self.subscriber(id) {
            let keys: Vec<Keys> = whole.sessions.iter().map(Keys::from).collect();
            self.forget_keys(id, &keys);
        }
        self.people.remove(&id);
    }

    /// A transaction begins: what one before changed and did not commit was never so.
    pub(crate) fn begin(&mut self) {
        if std::mem::take(&mut self.is_uncertain) {
            self.devices.clear();
            self.places = Places::default();
        }
    }

    fn forget_keys(&mut self, owner: SubscriberId, keys: &[Keys]) {
        for keys in keys {
            let key = class_key(&keys.class);
            if self.by_class.get(&key) == Some(&owner) {
                self.by_class.remove(&key);
            }
            if let Some(name) = &keys.name {
                let key = self.names.hash_one((name.0, &*name.1));
                if self.by_name.get(&key) == Some(&owner) {
                    self.by_name.remove(&key);
                }
            }
        }
    }

    fn learn_keys(&mut self, owner: SubscriberId, keys: &[Keys]) {
        for keys in keys {
            self.by_class.insert(class_key(&keys.class), owner);
            if let Some(name) = &keys.name {
                self.by_name.insert(self.names.hash_one((name.0, &*name.1)), owner);
            }
        }
    }
}

/// A Class is random: half of it tells it from all others but for one in 2^64, and who has it is looked at anyway.
fn class_key(class: &[u8; 16]) -> u64 {
    class.first_chunk().copied().map_or(0, u64::from_le_bytes)
}
