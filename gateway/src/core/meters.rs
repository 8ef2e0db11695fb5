//! Reading meters: reports, idleness, and how much of a pool is left.

use std::time::Duration;

use kavadam_domain::session::terminate_cause;
use kavadam_firewall::{PoolKey, Slot};

use super::login::spread;
use super::session::{Pool, Session};
use super::{Command, Core, Now, USED_UP_BELOW_OCTETS, warn_kernel};
use crate::kernel::Kernel;
use crate::report::Kind;

/// Sessions read at a time, 10 ms of work; of more the rest is read as soon as what came meanwhile is done.
pub(super) const MOST_READ: usize = 4_096;
/// As often as this they are read in any case: so much is unknown when somebody else empties the kernel's table.
const SELDOM: Duration = Duration::from_mins(1);
/// No oftener: a little less than from one tick to the next, which would be missed for a moment's difference.
const OFTEN: Duration = Duration::from_millis(900);
/// Likewise where nobody is to ask for more: the kernel says when all is used up, and this is for the word that is lost.
const OFTEN_AT_THE_LAST: Duration = Duration::from_secs(5);
/// How much sooner than its lease can be used up a session is read: a tick may be late, the kernel lets a second's worth of its speed pass at once, and
/// a server has to answer.
const AHEAD: Duration = Duration::from_secs(4);
/// A pool stands still if at its speed so many more readings were to come before low water: to ask at once costs less.
const STANDING_READS: u64 = 256;
/// RFC 2869 §5.16: not below 60 s by the book; a lab may go lower.
const INTERIM_AT_LEAST: Duration = Duration::from_secs(10);

impl<K: Kernel> Core<K> {
    /// Reads the meters that are due, with those of their pools.
    pub(super) fn poll(&mut self, now: Now) {
        let due = self.reads.take(now.mono, MOST_READ);
        self.is_behind = self.reads.next().is_some_and(|at| at <= now.mono);
        let online = due
            .iter()
            .filter_map(|slot| self.sessions.get(slot))
            .filter(|one| one.is_online());
        let mut pools: Vec<PoolKey> = online.clone().map(|session| session.pool).collect();
        pools.sort_unstable();
        pools.dedup();
        let reporting: Vec<Slot> = online
            .filter(|session| session.next_interim <= now.mono)
            .map(|session| session.slot)
            .collect();
        let slots: Vec<Slot> = pools
            .iter()
            .filter_map(|pool| self.pools.get(pool))
            .flat_map(|pool| pool.slots.iter().copied())
            .collect();
        let pools: Vec<_> = pools.into_iter().map(|pool| (pool, self.pool_used(pool))).collect();
        if !self.read(&slots, now) {
            for slot in due {
                self.reads.set(slot, now.mono + OFTEN);
            }
            return;
        }
        for slot in reporting {
            self.report_interim(slot, now);
        }
        for (pool, used_before) in pools {
            self.end_idle(pool, now);
            self.judge(pool, now);
            self.ask_at_leisure(pool, used_before, now);
            self.plan_reads(pool, now);
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
            self.waiting.insert(key);
        } else {
            pool.starved_since = None;
        }
        let is_low = free <= pool.granted_free_octets / 4 && !pool.is_last;
        let may_ask = pool.asking.is_none() && pool.retry_at.is_none_or(|at| at <= now.mono);
        if !(is_used_up || is_low) {
            // What was to be asked again is no longer wanted.
            pool.retry_at = pool.retry_at.filter(|at| *at > now.mono);
        } else if may_ask {
            self.ask_again(key, is_used_up, now);
        }
    }

    /// Half of a lease is left, and it stands still: it would be read again and again. Whoever has a whole one is read seldom.
    fn ask_at_leisure(&mut self, key: PoolKey, used_before: u64, now: Now) {
        let used = self.pool_used(key);
        let Some(pool) = self.pools.get(&key).filter(|pool| !pool.is_last) else {
            return;
        };
        let Some(free) = pool.limit_octets.map(|limit| limit.saturating_sub(used)) else {
            return;
        };
        let to_low_water = free.saturating_sub(pool.granted_free_octets / 4);
        let stands_still = used.saturating_sub(used_before) < to_low_water / STANDING_READS;
        let may_ask = pool.asking.is_none() && pool.retry_at.is_none();
        if free <= pool.granted_free_octets / 2 && stands_still && may_ask {
            self.ask_again(key, false, now);
        }
    }

    /// Reads the sessions of a pool again before it can be used up, and each before it can be idle for much longer than it may, or is to be reported.
    pub(super) fn plan_reads(&mut self, key: PoolKey, now: Now) {
        for (slot, wait) in self.waits(key, now) {
            self.reads.set(slot, now.mono + wait);
        }
    }

    /// Likewise of those that were all read this moment.
    pub(super) fn spread_reads(&mut self, key: PoolKey, now: Now) {
        for (slot, wait) in self.waits(key, now) {
            self.reads.set(slot, now.mono + spread(wait, slot));
        }
    }

    /// How long each online session of a pool may go unread.
    fn waits(&self, key: PoolKey, now: Now) -> Vec<(Slot, Duration)> {
        let Some(pool) = self.pools.get(&key) else {
            return Vec::new();
        };
        let sessions = pool.slots.iter().filter_map(|slot| self.sessions.get(slot));
        let online: Vec<&Session> = sessions.filter(|session| session.is_online()).collect();
        let of_pool = unread_for(pool, self.pool_used(key), &online);
        let wait = |session: &&Session| {
            let idle = session.row.limits.idle_secs.filter(|secs| *secs > 0);
            let by_idle = idle.map_or(SELDOM, |secs| Duration::from_secs(secs.into()) / 10);
            let to_report = session.next_interim.saturating_duration_since(now.mono);
            (session.slot, of_pool.min(by_idle).max(OFTEN).min(to_report))
        };
        online.iter().map(wait).collect()
    }
}

/// How long a pool may go unread, whatever its sessions begin to do meanwhile: at the fastest that all of them together can be.
fn unread_for(pool: &Pool, used: u64, sessions: &[&Session]) -> Duration {
    let Some(limit) = pool.limit_octets else { return SELDOM };
    let fastest = sessions
        .iter()
        .fold(0_u64, |sum, session| sum.saturating_add(session.top_octets_per_sec()));
    let free = u128::from(limit.saturating_sub(used));
    let millis = free * 1_000 / u128::from(fastest.max(1));
    let lasts = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
    let can_ask = !pool.is_last && sessions.iter().any(|session| session.row.is_renewable);
    if can_ask {
        lasts.saturating_sub(AHEAD).clamp(OFTEN, SELDOM)
    } else {
        lasts.clamp(OFTEN_AT_THE_LAST, SELDOM)
    }
}
