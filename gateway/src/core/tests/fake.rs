//! A kernel made of numbers: quotas exact to the packet of one kilobyte, timeouts, one session a device.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kavadam_domain::{ClassName, FilterName, Mac};
use kavadam_firewall::{AdoptedSession, FirewallError, Meter, OpenSession, PoolKey, SessionLimits, SessionState, Slot};

use crate::kernel::Kernel;

#[derive(Clone, Default)]
pub struct FakeKernel(Arc<Mutex<State>>);

#[derive(Default)]
pub struct State {
    last: u32,
    pub sessions: HashMap<Slot, Session>,
    pools: HashMap<PoolKey, Pool>,
    pub is_full: bool,
    /// Whom the kernel does not take.
    pub refused: Option<Mac>,
    /// How many were to be opened, each time.
    pub asked_to_open: Vec<usize>,
    /// How many were to be closed, each time.
    pub asked_to_close: Vec<usize>,
    /// Sessions are not let go.
    pub is_clinging: bool,
    /// Whose session is given no other address.
    pub immovable: Option<Mac>,
    /// Neither limits nor ends are taken.
    pub is_stubborn: bool,
    /// Those that the rules have.
    pub filters: HashSet<FilterName>,
    pub classes: HashSet<ClassName>,
    /// Slots whose meters were read.
    pub reads: HashSet<Slot>,
}

pub struct Session {
    open: OpenSession,
    pub remaining: Option<Duration>,
    pub is_expired: bool,
    pub meter: Meter,
    pub rates: (Option<u64>, Option<u64>),
}

impl Session {
    /// The timeout of a halt has passed when anybody looks.
    fn is_over(&self) -> bool {
        self.is_expired || self.remaining.is_some_and(|left| left <= Duration::from_millis(10))
    }
}

#[derive(Default)]
struct Pool {
    limit: Option<u64>,
    used: u64,
}

const PACKET: u64 = 1_000;

impl FakeKernel {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn pass(&self, span: Duration) {
        for session in self.state().sessions.values_mut() {
            if let Some(remaining) = &mut session.remaining {
                *remaining = remaining.saturating_sub(span);
                session.is_expired |= remaining.is_zero();
            }
        }
    }

    pub fn flow(&self, mac: Mac, octets: u64) -> (u64, Option<PoolKey>) {
        let mut state = self.state();
        let state = &mut *state;
        let Some(session) = state.sessions.values_mut().find(|one| one.open.mac == mac) else {
            return (0, None);
        };
        if session.is_over() {
            return (0, None);
        }
        let pool = state.pools.get_mut(&session.open.pool).unwrap();
        let mut passed = 0;
        while passed < octets {
            let packet = PACKET.min(octets - passed);
            if pool.limit.is_some_and(|limit| pool.used + packet > limit) {
                return (passed, Some(session.open.pool));
            }
            pool.used += packet;
            passed += packet;
            session.meter.down_octets += packet;
            session.meter.down_packets += 1;
        }
        (passed, None)
    }

    /// Octets to and from where it is free.
    pub fn flow_free(&self, mac: Mac, up: u64, down: u64) {
        let mut state = self.state();
        let session = state.sessions.values_mut().find(|one| one.open.mac == mac).unwrap();
        let free = session.meter.free.get_or_insert_default();
        free.up += up;
        free.down += down;
    }

    pub fn is_open(&self, mac: Mac) -> bool {
        self.state().sessions.values().any(|one| one.open.mac == mac)
    }

    /// Whether its packets pass, as far as its time goes.
    pub fn is_flowing(&self, mac: Mac) -> bool {
        self.state()
            .sessions
            .values()
            .any(|one| one.open.mac == mac && !one.is_over())
    }

    pub fn pool_of(&self, mac: Mac) -> PoolKey {
        let state = self.state();
        state
            .sessions
            .values()
            .find(|one| one.open.mac == mac)
            .unwrap()
            .open
            .pool
    }

    pub fn filter_of(&self, mac: Mac) -> Option<FilterName> {
        let state = self.state();
        let session = state.sessions.values().find(|one| one.open.mac == mac);
        session.unwrap().open.filter
    }

    pub fn class_of(&self, mac: Mac) -> Option<ClassName> {
        let state = self.state();
        let session = state.sessions.values().find(|one| one.open.mac == mac);
        session.unwrap().open.class
    }

    pub fn rates_of(&self, mac: Mac) -> (Option<u64>, Option<u64>) {
        let state = self.state();
        state.sessions.values().find(|one| one.open.mac == mac).unwrap().rates
    }

    pub fn pool_limit(&self, pool: PoolKey) -> Option<u64> {
        self.state().pools.get(&pool)?.limit
    }

    pub fn found(&self) -> Vec<AdoptedSession> {
        let state = self.state();
        let adopted = |(slot, one): (&Slot, &Session)| AdoptedSession {
            slot: *slot,
            mac: one.open.mac,
            ipv4: one.open.ipv4,
            label: one.open.label.clone(),
            filter: one.open.filter,
            class: one.open.class,
            state: if one.is_expired {
                SessionState::Expired
            } else {
                SessionState::Online {
                    remaining: one.remaining,
                }
            },
            meter: one.meter,
            pool: one.open.pool,
            pool_limit_octets: state.pools[&one.open.pool].limit,
            pool_used_octets: state.pools[&one.open.pool].used,
        };
        state.sessions.iter().map(adopted).collect()
    }
}

impl State {
    fn living(&mut self, slot: Slot) -> Result<&mut Session, FirewallError> {
        if self.is_stubborn {
            return Err(FirewallError::NotPermitted);
        }
        let session = self.sessions.get_mut(&slot).ok_or(FirewallError::UnknownSlot(slot))?;
        if session.is_expired {
            return Err(FirewallError::Expired(slot));
        }
        Ok(session)
    }
}

impl FakeKernel {
    fn close(&mut self, slot: Slot) -> Result<Meter, FirewallError> {
        let mut state = self.state();
        if state.is_clinging {
            return Err(FirewallError::NotPermitted);
        }
        let gone = state.sessions.remove(&slot).ok_or(FirewallError::UnknownSlot(slot))?;
        if !state.sessions.values().any(|one| one.open.pool == gone.open.pool) {
            state.pools.remove(&gone.open.pool);
        }
        Ok(gone.meter)
    }

    fn open(&mut self, session: &OpenSession) -> Result<Slot, FirewallError> {
        let mut state = self.state();
        if state.is_full || state.refused == Some(session.mac) {
            return Err(FirewallError::Full(1));
        }
        if let Some((slot, _)) = state.sessions.iter().find(|(_, one)| one.open.mac == session.mac) {
            return Err(FirewallError::DeviceOnline(*slot));
        }
        assert!(session.label.len() <= 160);
        state.last += 1;
        let slot = Slot(state.last);
        let entry = Session {
            open: session.clone(),
            remaining: session.timeout,
            is_expired: false,
            meter: Meter::default(),
            rates: (session.up_bits_per_sec, session.down_bits_per_sec),
        };
        state.sessions.insert(slot, entry);
        Ok(slot)
    }
}

impl Kernel for FakeKernel {
    fn create_pool(&mut self, limit: Option<u64>) -> Result<PoolKey, FirewallError> {
        let mut state = self.state();
        state.last += 1;
        let key = PoolKey(state.last);
        state.pools.insert(key, Pool { limit, used: 0 });
        Ok(key)
    }

    fn set_pool_limits(&mut self, limits: &BTreeMap<PoolKey, Option<u64>>) -> Vec<(PoolKey, FirewallError)> {
        let mut state = self.state();
        let mut failed = Vec::new();
        for (key, limit) in limits {
            match state.pools.get_mut(key) {
                Some(pool) => pool.limit = *limit,
                None => failed.push((*key, FirewallError::UnknownPool(*key))),
            }
        }
        failed
    }

    fn open_all(&mut self, sessions: &[OpenSession]) -> Vec<Result<Slot, FirewallError>> {
        self.state().asked_to_open.push(sessions.len());
        sessions.iter().map(|session| self.open(session)).collect()
    }

    fn close_all(&mut self, slots: &BTreeSet<Slot>) -> Vec<(Slot, Result<Meter, FirewallError>)> {
        if !slots.is_empty() {
            self.state().asked_to_close.push(slots.len());
        }
        slots.iter().map(|slot| (*slot, self.close(*slot))).collect()
    }

    fn read(&mut self, slots: &[Slot]) -> Result<Vec<(Slot, Meter)>, FirewallError> {
        let mut state = self.state();
        state.reads.extend(slots);
        Ok(slots
            .iter()
            .filter_map(|slot| Some((*slot, state.sessions.get(slot)?.meter)))
            .collect())
    }

    fn limit_all(&mut self, wanted: &BTreeMap<Slot, SessionLimits>) -> Vec<(Slot, FirewallError)> {
        let mut state = self.state();
        let mut failed = Vec::new();
        for (slot, limits) in wanted {
            match state.living(*slot) {
                Ok(session) => {
                    session.rates = (limits.up_bits_per_sec, limits.down_bits_per_sec);
                    session.remaining = limits.timeout;
                    session.open.filter = limits.filter;
                    session.open.class = limits.class;
                }
                Err(error) => failed.push((*slot, error)),
            }
        }
        failed
    }

    fn set_timeouts(&mut self, wanted: &BTreeMap<Slot, Option<Duration>>) -> Vec<(Slot, FirewallError)> {
        let mut state = self.state();
        let mut failed = Vec::new();
        for (slot, timeout) in wanted {
            match state.living(*slot) {
                Ok(session) => session.remaining = *timeout,
                Err(error) => failed.push((*slot, error)),
            }
        }
        failed
    }

    fn set_ipv4(&mut self, slot: Slot, ipv4: Option<Ipv4Addr>) -> Result<(), FirewallError> {
        let mut state = self.state();
        let immovable = state.immovable;
        let session = state.sessions.get_mut(&slot).ok_or(FirewallError::UnknownSlot(slot))?;
        if immovable == Some(session.open.mac) {
            return Err(FirewallError::NotPermitted);
        }
        session.open.ipv4 = ipv4;
        Ok(())
    }

    fn has_class(&self, class: ClassName) -> bool {
        self.state().classes.contains(&class)
    }

    fn has_filter(&self, filter: FilterName) -> bool {
        self.state().filters.contains(&filter)
    }

    fn pools_used_up(&mut self) -> Result<Vec<PoolKey>, FirewallError> {
        let state = self.state();
        let used_up = |pool: &Pool| pool.limit.is_some_and(|limit| pool.used + PACKET > limit);
        Ok(state
            .pools
            .iter()
            .filter(|(_, pool)| used_up(pool))
            .map(|(key, _)| *key)
            .collect())
    }
}
