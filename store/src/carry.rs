//! What is remembered from one writing transaction to the next, packed: of each subscriber who is online, everything that is going on;
//! of some who were so last, what they were charged to.
//!
//! It equals what is committed. On SQLite one process has the one writer, so nobody else changes these rows but a command of an
//! administrator, which [`Carry::is_of_version`] notices. On PostgreSQL a subscriber is remembered only as long as the row says that
//! this process may ([`crate::gather`]), by a number that is another once everything was forgotten.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use kavadam_domain::{Mac, NasId, Plan, PlanId, SessionId, SiteId, SubscriberId};
use serde::{Deserialize, Serialize};

use crate::sqlite::Version;
use crate::working::{Keys, Whole, Working};
use crate::{DeviceRow, EntitlementRow, LeaseRow, NasRow, SessionRow, SiteRow, SubscriberRow};

/// Beyond so many subscribers nobody more is remembered.
const MOST: usize = 1 << 21;
/// So many who went offline last are surely remembered, and at most twice as many.
const MOST_RESTING: usize = 8192;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Carry {
    people: HashMap<SubscriberId, Box<[u8]>>,
    /// Those of whom nothing is going on, but may be soon: the next visit follows the last.
    resting: [HashMap<SubscriberId, Box<[u8]>>; 2],
    by_session: HashMap<SessionId, SubscriberId>,
    by_name: HashMap<u64, SubscriberId>,
    /// On SQLite, every live session by its gate.
    by_gate: HashMap<NasId, HashSet<SessionId>>,
    /// Every live session is known by its name and its gate, on SQLite.
    knows_all_live: bool,
    names: RandomState,
    /// By address.
    pub(crate) devices: HashMap<Mac, DeviceRow>,
    /// A transaction changed devices or places and did not commit yet.
    pub(crate) is_uncertain: bool,
    /// A transaction is being committed: whether it was, nobody knows if that is broken off.
    pub(crate) is_in_doubt: bool,
    pub(crate) places: Places,
    pub(crate) numbers: Numbers,
    /// On PostgreSQL, by which number a subscriber's row says that this is remembered. Forgotten with all else: a statement whose fate is open
    /// may still come to the server, minutes later, and must not find the number it was made for.
    pub(crate) holder: Option<i64>,
    /// On SQLite, of the database it was read from. `None` while a transaction decided by it waits for the writer.
    version: Option<Version>,
}

/// What administrators set: read often, changed seldom.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) plans: HashMap<PlanId, Arc<Plan>>,
    pub(crate) sites: HashMap<SiteId, Arc<SiteRow>>,
    pub(crate) nases: HashMap<NasId, Arc<NasRow>>,
    /// On PostgreSQL, of what was read.
    pub(crate) revision: i64,
}

/// Identifiers that nobody has yet.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) sessions: Range<i64>,
    pub(crate) leases: Range<i64>,
    pub(crate) entitlements: Range<i64>,
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

    /// Whether everything is from after so many transactions were lost, and nothing of one whose fate is open.
    pub(crate) fn is_after(&self, lost: u64) -> bool {
        self.version.is_some_and(|version| version.lost() == lost)
    }

    /// Whether this is the version of the database that it was read from. If not, everything is forgotten.
    pub(crate) fn is_of_version(&mut self, version: Version) -> bool {
        let is_same = self.version == Some(version);
        if !is_same {
            self.clear();
            self.version = Some(version);
        }
        is_same
    }

    /// Before it knows more than the database, should the one who writes that give up.
    pub(crate) const fn take_version(&mut self) -> Option<Version> {
        self.version.take()
    }

    /// That it is of the version taken, if the database still is. If not, everything is forgotten.
    pub(crate) fn is_still(&mut self, version: Option<Version>, present: Version) -> bool {
        self.version = version;
        self.is_of_version(present)
    }

    pub(crate) fn subscriber(&self, id: SubscriberId) -> Option<(SubscriberRow, Whole)> {
        let [young, old] = &self.resting;
        let packed = self.people.get(&id).or_else(|| young.get(&id)).or_else(|| old.get(&id));
        let unpacked: Unpacked = postcard::from_bytes(packed?).ok()?;
        let whole = Whole {
            sessions: unpacked.sessions,
            leases: unpacked.leases,
            entitlements: unpacked.entitlements,
        };
        Some((unpacked.subscriber, whole))
    }

    /// Whether everybody of these is remembered.
    pub(crate) fn knows_all(&self, ids: &[SubscriberId]) -> bool {
        let [young, old] = &self.resting;
        ids.iter()
            .all(|id| self.people.contains_key(id) || young.contains_key(id) || old.contains_key(id))
    }

    /// Who has that live session.
    pub(crate) fn owner_of_session(&self, id: SessionId) -> Option<SubscriberId> {
        self.by_session.get(&id).copied()
    }

    /// Who may have the live session of that name.
    pub(crate) fn owner_of_name(&self, nas: NasId, name: &str) -> Option<SubscriberId> {
        self.by_name.get(&self.names.hash_one((nas, name))).copied()
    }

    /// Whether no live session had that name when the transaction began: certain, but for names that a hash of 64 bits takes for one.
    pub(crate) fn lacks_name(&self, nas: NasId, name: &str) -> bool {
        self.knows_all_live && self.owner_of_name(nas, name).is_none()
    }

    pub(crate) const fn knows_all_live(&self) -> bool {
        self.knows_all_live
    }

    /// Every session at a gate that was live when the transaction began; `None` where not all are known.
    pub(crate) fn live_at(&self, nas: NasId) -> Option<impl Iterator<Item = SessionId>> {
        let at = self.by_gate.get(&nas).into_iter().flatten().copied();
        self.knows_all_live.then_some(at)
    }

    /// Every live session, and whose it is.
    pub(crate) fn learn_all_live(&mut self, all: impl Iterator<Item = (SubscriberId, Keys)>) {
        (self.by_name, self.by_gate) = Default::default();
        self.knows_all_live = true;
        for (owner, keys) in all {
            self.learn_place(owner, &keys);
        }
    }

    /// What is live may have changed unseen.
    pub(crate) fn doubt_live(&mut self) {
        self.knows_all_live = false;
    }

    /// After the commit: those who were held, as they are now.
    pub(crate) fn keep(&mut self, working: Working) {
        self.is_uncertain = false;
        if self.devices.len() > MOST {
            self.devices.clear();
        }
        for left in working.into_left() {
            let (subscriber, whole) = (left.row, left.whole);
            let id = subscriber.id;
            let keys: Vec<Keys> = whole.sessions.iter().map(Keys::from).collect();
            if !left.is_carried || keys != left.known_by {
                self.forget_keys(id, &left.known_by);
                self.learn_keys(id, &keys);
            }
            self.wake(id);
            let is_resting = keys.is_empty();
            if !is_resting && self.people.len() >= MOST && !self.people.contains_key(&id) {
                continue;
            }
            let packed = Packed {
                subscriber,
                sessions: whole.sessions,
                leases: whole.leases,
                entitlements: whole.entitlements,
            };
            match postcard::to_allocvec(&packed) {
                Ok(octets) if is_resting => self.rest(id, octets.into()),
                Ok(octets) => _ = self.people.insert(id, octets.into()),
                Err(_) => _ = self.people.remove(&id),
            }
        }
    }

    /// Forgets a subscriber, whom another process has held since.
    pub(crate) fn forget(&mut self, id: SubscriberId) {
        if let Some((_, whole)) = self.subscriber(id) {
            let keys: Vec<Keys> = whole.sessions.iter().map(Keys::from).collect();
            self.forget_keys(id, &keys);
        }
        self.people.remove(&id);
        self.wake(id);
    }

    /// Forgets these, whom another process has held since, but not those who are `ours` still.
    pub(crate) fn forget_all_but(&mut self, ours: &HashSet<SubscriberId>, ids: &[SubscriberId]) {
        for id in ids.iter().filter(|id| !ours.contains(id)) {
            self.forget(*id);
        }
    }

    /// Forgets what subscribers do: rows of whoever are about to change. Their sessions' names do not.
    pub(crate) fn forget_people(&mut self) {
        self.people.clear();
        self.resting = Default::default();
    }

    fn wake(&mut self, id: SubscriberId) {
        for resting in &mut self.resting {
            resting.remove(&id);
        }
    }

    fn rest(&mut self, id: SubscriberId, packed: Box<[u8]>) {
        self.people.remove(&id);
        let [young, old] = &mut self.resting;
        if young.len() >= MOST_RESTING {
            *old = std::mem::take(young);
        }
        young.insert(id, packed);
    }

    /// A transaction begins: what one before changed and did not commit was never so.
    pub(crate) fn begin(&mut self) {
        if self.is_in_doubt {
            self.clear();
        }
        if std::mem::take(&mut self.is_uncertain) {
            self.devices.clear();
            self.places = Places::default();
        }
    }

    fn forget_keys(&mut self, owner: SubscriberId, keys: &[Keys]) {
        for keys in keys {
            self.by_session.remove(&keys.id);
            if let Some(at) = self.by_gate.get_mut(&keys.nas) {
                at.remove(&keys.id);
            }
            if let Some(name) = &keys.name {
                let key = self.names.hash_one((keys.nas, &**name));
                if self.by_name.get(&key) == Some(&owner) {
                    self.by_name.remove(&key);
                }
            }
        }
    }

    fn learn_keys(&mut self, owner: SubscriberId, keys: &[Keys]) {
        for keys in keys {
            self.by_session.insert(keys.id, owner);
            self.learn_place(owner, keys);
        }
    }

    /// By its gate only where all are known: nobody asks otherwise.
    fn learn_place(&mut self, owner: SubscriberId, keys: &Keys) {
        if self.knows_all_live {
            self.by_gate.entry(keys.nas).or_default().insert(keys.id);
        }
        if let Some(name) = &keys.name {
            self.by_name.insert(self.names.hash_one((keys.nas, &**name)), owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_who_went_offline_the_last_stay_and_the_first_are_forgotten() {
        let mut carry = Carry::default();
        let most = i64::try_from(MOST_RESTING).unwrap();
        for id in 0..10 * most {
            carry.rest(SubscriberId(id), Box::default());
        }
        let last: Vec<_> = (9 * most..10 * most).map(SubscriberId).collect();
        assert!(carry.knows_all(&last));
        assert!(!carry.knows_all(&[SubscriberId(0)]));
        assert!(carry.resting.iter().map(HashMap::len).sum::<usize>() <= 2 * MOST_RESTING);
    }

    #[test]
    fn whoever_is_online_again_rests_no_more() {
        let mut carry = Carry::default();
        carry.rest(SubscriberId(1), Box::default());
        carry.wake(SubscriberId(1));
        assert!(!carry.knows_all(&[SubscriberId(1)]));
    }
}
