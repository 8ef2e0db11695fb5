//! Finding the sessions of a process that is no more.
//!
//! `total` has one element for each session, without timeout, and says who it is; the meters and limits are then read by
//! its number. Only here is a set read whole: slow with very many sessions, but once.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use kavadam_domain::Mac;

use super::numbers::Numbers;
use super::pools::limit_from_kernel;
use super::{Pool, Session, State};
use crate::FirewallError;
use crate::netlink::{Element, Quota};
use crate::ruleset::set;
use crate::session::{AdoptedSession, Meter, PoolKey, Remembered, SessionState, Slot, recall};

/// Sessions for which to ask one by one is not dearer than to read a whole set.
const FEW: usize = 64;

impl State {
    pub(super) fn adopt(&mut self) -> Result<Vec<AdoptedSession>, FirewallError> {
        let adopted = self.list()?;
        self.pin_adopted(&adopted);
        Ok(adopted)
    }

    /// Changes nothing in the kernel.
    pub(super) fn list(&mut self) -> Result<Vec<AdoptedSession>, FirewallError> {
        self.rebuild().map_err(FirewallError::kernel("list sessions"))?;
        self.listed()
    }

    /// The session of this device and those that share its pool, and knows of no others then: for who looks on.
    pub(super) fn list_pool_of(&mut self, mac: Mac) -> Result<Vec<AdoptedSession>, FirewallError> {
        let rebuilt = self.rebuild_pool_of(mac);
        rebuilt.map_err(FirewallError::kernel("look for a session"))?;
        self.listed()
    }

    fn listed(&mut self) -> Result<Vec<AdoptedSession>, FirewallError> {
        let slots: Vec<Slot> = self.sessions.keys().copied().collect();
        let meters: HashMap<_, _> = self.read(&slots)?.into_iter().collect();
        let online = self
            .by_slot(set::LIM_DOWN, &slots)
            .map_err(FirewallError::kernel("list sessions"))?;
        let mut used: HashMap<PoolKey, u64> = self.pools.iter().map(|(key, pool)| (*key, pool.spent_octets)).collect();
        for (slot, session) in &self.sessions {
            let octets = meters.get(slot).map_or(0, Meter::total_octets);
            *used.entry(session.pool).or_default() += octets;
        }
        let mut found: Vec<_> = self
            .sessions
            .iter()
            .map(|(slot, session)| AdoptedSession {
                slot: *slot,
                mac: session.mac,
                ipv4: session.ipv4,
                label: session.label.clone(),
                filter: session.filter,
                class: session.class,
                state: online
                    .get(slot)
                    .map_or(SessionState::Expired, |element| SessionState::Online {
                        remaining: element.expires_ms.map(Duration::from_millis),
                    }),
                meter: meters.get(slot).copied().unwrap_or_default(),
                pool: session.pool,
                pool_limit_octets: self.pools.get(&session.pool).and_then(|pool| pool.limit_octets),
                pool_used_octets: used.get(&session.pool).copied().unwrap_or_default(),
            })
            .collect();
        found.sort_by_key(|session| session.slot);
        Ok(found)
    }

    /// Replaces what is in memory by what is in the kernel. Pools that have no session yet exist only in memory, and stay.
    fn rebuild(&mut self) -> io::Result<()> {
        let reserved = self
            .nft
            .all_elements(set::RESERVED)?
            .iter()
            .filter_map(|one| number(&one.key))
            .max();
        if self.numbers.is_fresh() {
            self.numbers = Numbers::adopted(reserved);
        }
        let quotas = self.nft.all_quotas()?;
        let spent = self.nft.all_elements(set::SPENT)?;
        let elements = self.nft.all_elements(set::TOTAL)?;
        self.take_over(quotas, &spent, elements)
    }

    fn rebuild_pool_of(&mut self, mac: Mac) -> io::Result<()> {
        let mut elements = self.nft.all_elements(set::TOTAL)?;
        let pool_in = |one: &Element| one.object.as_deref().and_then(PoolKey::from_name);
        let is_its = |one: &&Element| {
            one.userdata
                .as_deref()
                .and_then(recall)
                .is_some_and(|own| own.mac == mac)
        };
        let Some(pool) = elements.iter().find(is_its).and_then(pool_in) else {
            return self.take_over(Vec::new(), &[], Vec::new());
        };
        elements.retain(|one| pool_in(one) == Some(pool));
        let quotas = self.quota_of(pool)?;
        let spent = self.nft.elements(set::SPENT, &[&pool.0.to_ne_bytes()])?;
        self.take_over(quotas, &spent, elements)
    }

    /// A pool's quota, if it is there.
    pub(super) fn quota_of(&mut self, pool: PoolKey) -> io::Result<Vec<Quota>> {
        match self.nft.quota(&pool.name()) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Vec::new()),
            quota => Ok(vec![quota?]),
        }
    }

    /// Quotas, what ended sessions have left, and who the sessions are for.
    fn take_over(&mut self, quotas: Vec<Quota>, spent: &[Element], elements: Vec<Element>) -> io::Result<()> {
        let slots: Vec<Slot> = elements.iter().filter_map(|one| number(&one.key).map(Slot)).collect();
        let up = self.by_slot(set::LIM_UP, &slots)?;
        let down = self.by_slot(set::LIM_DOWN, &slots)?;
        let speed = |by_slot: &HashMap<Slot, Element>, slot| by_slot.get(&slot).and_then(|one| one.limit_octets);

        self.pools.retain(|_, pool| pool.slots.is_empty());
        for quota in quotas {
            if let Some(key) = PoolKey::from_name(&quota.name) {
                let limit_octets = limit_from_kernel(quota.limit_octets);
                self.pools.insert(
                    key,
                    Pool {
                        limit_octets,
                        ..Pool::default()
                    },
                );
            }
        }
        for one in spent {
            let pool = number(&one.key).and_then(|key| self.pools.get_mut(&PoolKey(key)));
            if let Some((pool, counter)) = pool.zip(one.counter) {
                pool.spent_octets = counter.octets;
            }
        }
        self.sessions.clear();
        self.by_mac.clear();
        self.by_ipv4.clear();
        for one in elements {
            let pool = one.object.as_deref().and_then(PoolKey::from_name);
            let device = one.userdata.as_deref().and_then(recall);
            let (Some(slot), Some(pool), Some(device)) = (number(&one.key).map(Slot), pool, device) else {
                tracing::warn!("a foreign element is in the map {} of the gate's table", set::TOTAL);
                continue;
            };
            let Remembered {
                mac,
                ipv4,
                filter,
                class,
                label,
            } = device;
            let session = Session {
                mac,
                ipv4,
                pool,
                up: speed(&up, slot),
                down: speed(&down, slot),
                filter,
                class,
                queue: None,
                label,
                counts_free: false,
            };
            self.pools.entry(pool).or_default().slots.insert(slot);
            self.index(slot, &session);
            self.sessions.insert(slot, session);
        }
        self.read_queues()?;
        self.find_free()?;
        self.filtered.set_all(&self.sessions);
        Ok(())
    }

    /// Where those that have a class wait for their turn.
    fn read_queues(&mut self) -> io::Result<()> {
        if self.classes.is_empty() {
            return Ok(());
        }
        // Who only looks may know of classes before the gate does.
        let elements = self.of_sessions(set::CLASSED)?;
        for one in elements {
            let session = number(&one.key).and_then(|slot| self.sessions.get_mut(&Slot(slot)));
            if let Some(session) = session.filter(|session| session.class.is_some()) {
                session.queue = one.data.as_deref().and_then(number);
            }
        }
        Ok(())
    }

    pub(super) fn expired(&mut self) -> Result<Vec<Slot>, FirewallError> {
        let slots: Vec<Slot> = self.sessions.keys().copied().collect();
        let online = self
            .by_slot(set::LIM_DOWN, &slots)
            .map_err(FirewallError::kernel("read sessions"))?;
        Ok(slots.into_iter().filter(|slot| !online.contains_key(slot)).collect())
    }

    /// The elements of a set, those of the sessions among them: of a few sessions theirs alone are read. There need be no such set.
    pub(super) fn of_sessions(&mut self, set: &str) -> io::Result<Vec<Element>> {
        if self.sessions.len() <= FEW {
            let slots: Vec<Slot> = self.sessions.keys().copied().collect();
            return Ok(self.by_slot(set, &slots)?.into_values().collect());
        }
        match self.nft.all_elements(set) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Vec::new()),
            elements => elements,
        }
    }

    /// Reads the elements of these slots; those without are left out.
    pub(super) fn by_slot(&mut self, set: &str, slots: &[Slot]) -> io::Result<HashMap<Slot, Element>> {
        let keys: Vec<[u8; 4]> = slots.iter().map(|slot| slot.0.to_ne_bytes()).collect();
        let keys: Vec<&[u8]> = keys.iter().map(<[u8; 4]>::as_slice).collect();
        let elements = self.nft.elements(set, &keys)?;
        Ok(elements
            .into_iter()
            .filter_map(|one| Some((Slot(number(&one.key)?), one)))
            .collect())
    }

    /// An interface that went down has lost its neighbour entries.
    fn pin_adopted(&mut self, adopted: &[AdoptedSession]) {
        for session in adopted {
            let (Some(ipv4), SessionState::Online { .. }) = (session.ipv4, &session.state) else {
                continue;
            };
            if let Err(error) = self.neighbours.pin(&[(ipv4, session.mac)]) {
                tracing::warn!(%error, "cannot tie an adopted session's address to its device");
            }
        }
    }

    /// In a new table numbers start anew, while connections of an earlier one may still carry them.
    pub(super) fn forget_connections(&mut self) {
        if let Err(error) = self.nft.forget_connections() {
            tracing::warn!(%error, "cannot empty the connection table; connections older than the gate may be mischarged");
        }
    }
}

/// A slot's or pool's number in a key: a mark, in the machine's order.
fn number(key: &[u8]) -> Option<u32> {
    key.try_into().ok().map(u32::from_ne_bytes)
}
