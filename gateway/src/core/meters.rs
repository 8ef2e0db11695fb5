//! Reading meters: reports, idleness, and how much of a pool is left.

use std::time::Duration;

use kavadam_domain::session::terminate_cause;
use kavadam_firewall::{PoolKey, Slot};

use super::session::{Pool, Session};
use super::{Command, Core, Now, USED_UP_BELOW_OCTETS, warn_kernel};
use crate::kernel::Kernel;
use crate::report::Kind;

/// Sessions read in one tick, 10 ms of work; the others wait for the next.
pub(super) const MOST_READ: usize = 4_096;
const POLL_AT_LEAST: Duration = Duration::from_secs(30);
const POLL_AT_MOST: Duration = Duration::from_secs(1);
/// RFC 2869 §5.16: not below 60 s by the book; a lab may go lower.
const INTERIM_AT_LEAST: Duration = Duration::from_secs(10);

impl<K: Kernel> Core<K> {
    /// Reads the meters that are due, with those of their pools.
    pub(super) fn poll(&mut self, now: Now) {
        let due_at = |session: &Session| session.next_poll.min(session.next_interim);
        let online = self.sessions.values().filter(|session| session.is_online());
        let mut due: Vec<&Session> = online.filter(|session| due_at(session) <= now.mono).collect();
        if due.len() > MOST_READ {
            // Those that have waited longest, or some would wait for ever.
            due.select_nth_unstable_by_key(MOST_READ, |session| due_at(session));
            due.truncate(MOST_READ);
        }
        let reporting: Vec<Slot> = due
            .iter()
            .filter(|session| session.next_interim <= now.mono)
            .map(|session| session.slot)
            .collect();
        let mut pools: Vec<PoolKey> = due.iter().map(|session| session.pool).collect();
        pools.sort_unstable();
        pools.dedup();
        let slots: Vec<Slot> = pools
            .iter()
            .filter_map(|pool| self.pools.get(pool))
            .flat_map(|pool| pool.slots.iter().copied())
            .collect();
        if !self.read(&slots, now) {
            return;
        }
        for slot in reporting {
            self.report_interim(slot, now);
        }
        for pool in pools {
            self.end_idle(pool, now);
            self.judge(pool, now);
            self.plan_poll(pool, now);
        }
    }

    /// The kernel said that this pool refused a packet, which is a hint.
    pub(super) fn look_at_pool(&mut self, pool: PoolKey, now: Now) {
        if self.pools.contains_key(&pool) && self.read_pool(pool, now) {
            self.judge(pool, now);
        }
    }

    /// Whether it could be read.
    pub(super) fn read_pool(&mut self, pool: PoolKey, now: Now) -> bool {
        let slots = self.pools.get(&pool).map_or_else(Vec::new, |pool| pool.slots.clone());
        self.read(&slots, now)
    }

    fn read(&mut self, slots: &[Slot], now: Now) -> bool {
        if slots.is_empty() {
            return true;
        }
        let readings = match self.kernel.read(slots) {
            Ok(readings) => readings,
            Err(error) => {
                warn_kernel(&error);
                return false;
            }
        };
        for (slot, meter) in readings {
            if let Some(session) = self.sessions.get_mut(&slot) {
                // Who is where it is free is not idle.
                if meter.total_octets() > session.meter.total_octets() || meter.free != session.meter.free {
                    session.active_at = now.mono;
                }
                session.meter = meter;
            }
        }
        true
    }

    /// Octets carried on account of a pool, as last read.
    pub(super) fn pool_used(&self, key: PoolKey) -> u64 {
        let Some(pool) = self.pools.get(&key) else { return 0 };
        let sessions = pool.slots.iter().filter_map(|slot| self.sessions.get(slot));
        sessions.fold(pool.spent_octets, |sum, session| {
            sum.saturating_add(session.meter.total_octets())
        })
    }

    pub(super) fn interim_of(&self, session: &Session) -> Duration {
        let asked = session
            .row
            .limits
            .interim_secs
            .map(|secs| Duration::from_secs(secs.into()));
        asked
            .filter(|interim| !interim.is_zero())
            .unwrap_or(self.settings.interim)
            .max(INTERIM_AT_LEAST)
    }

    fn report_interim(&mut self, slot: Slot, now: Now) {
        let Some(session) = self.sessions.get(&slot) else {
            return;
        };
        let interim = self.interim_of(session);
        let Some(session) = self.sessions.get_mut(&slot) else {
            return;
        };
        session.reported = session.meter;
        session.next_interim = now.mono + interim;
        self.out
            .push(Command::Spool(Box::new(session.report(Kind::Interim, now))));
    }

    /// Reports what the sessions of a pool have carried since their last report.
    pub(super) fn report_pool(&mut self, pool: PoolKey, now: Now) {
        let slots = self.pools.get(&pool).map_or_else(Vec::new, |pool| pool.slots.clone());
        for slot in slots {
            let has_news = |session: &Session| session.is_online() && session.meter != session.reported;
            if self.sessions.get(&slot).is_some_and(has_news) {
                self.report_interim(slot, now);
            }
        }
    }

    fn end_idle(&mut self, pool: PoolKey, now: Now) {
        let slots = self.pools.get(&pool).map_or_else(Vec::new, |pool| pool.slots.clone());
        for slot in slots {
            let is_idle = self.sessions.get(&slot).is_some_and(|session| {
                let limit = session.row.limits.idle_secs.filter(|secs| *secs > 0);
                let idle = now.mono.saturating_duration_since(session.active_at);
                limit.is_some_and(|secs| idle >= Duration::from_secs(secs.into()))
            });
            if is_idle {
                self.halt(slot, terminate_cause::IDLE_TIMEOUT);
            }
        }
    }

    /// Asks for more, or ends the pool's sessions, if its octets as last read call for it.
    pub(super) fn judge(&mut self, key: PoolKey, now: Now) {
        let used = self.pool_used(key);
        let Some(pool) = self.pools.get_mut(&key) else { return };
        let Some(limit) = pool.limit_octets else {
            pool.starved_since = None;
            return;
        };
        let free = limit.saturating_sub(used);
        let is_used_up = free < USED_UP_BELOW_OCTETS;
        if is_used_up {
            pool.starved_since.get_or_insert(now.mono);
        } else {
            pool.starved_since = None;
        }
        let is_low = free <= pool.granted_free_octets / 4 && !pool.is_last;
        let may_ask = pool.asking.is_none() && pool.retry_at.is_none_or(|at| at <= now.mono);
        if (is_used_up || is_low) && may_ask {
            self.ask_again(key, is_used_up, now);
        }
    }

    /// Reads a session again no later than its pool can reach low water, or it become idle.
    fn plan_poll(&mut self, key: PoolKey, now: Now) {
        let used = self.pool_used(key);
        let Some(pool) = self.pools.get(&key) else { return };
        let to_low_water = octets_to_low_water(pool, used);
        let members: Vec<&Session> = pool.slots.iter().filter_map(|slot| self.sessions.get(slot)).collect();
        let rate = members.iter().try_fold(0_u64, |sum, session| {
            Some(sum.saturating_add(session.top_octets_per_sec()?))
        });
        let wait = match (to_low_water, rate) {
            (None, _) => POLL_AT_LEAST,
            (Some(octets), Some(rate)) => Duration::from_secs(octets / rate.max(1)),
            (Some(_), None) => POLL_AT_MOST,
        };
        for slot in pool.slots.clone() {
            if let Some(session) = self.sessions.get_mut(&slot) {
                let idle = session.row.limits.idle_secs.filter(|secs| *secs > 0);
                let by_idle = idle.map_or(POLL_AT_LEAST, |secs| Duration::from_secs(secs.into()) / 10);
                session.next_poll = now.mono + wait.min(by_idle).clamp(POLL_AT_MOST, POLL_AT_LEAST);
            }
        }
    }
}

/// Octets that may flow before the pool must ask again; `None`: it has no limit.
fn octets_to_low_water(pool: &Pool, used: u64) -> Option<u64> {
    let low_water = if pool.is_last { 0 } else { pool.granted_free_octets / 4 };
    Some(pool.limit_octets?.saturating_sub(used).saturating_sub(low_water))
}
