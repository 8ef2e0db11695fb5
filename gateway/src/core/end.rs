//! Ends: halt, read, report, remove. See the module's head for why in this order.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kavadam_domain::Mac;
use kavadam_domain::session::terminate_cause;
use kavadam_firewall::{FirewallError, PoolKey, Slot};

use super::session::{Phase, Session};
use super::{Command, Core, Deed, HALT, HALT_TIMEOUT, Now, Told, WaiterId, warn_kernel};
use crate::kernel::Kernel;
use crate::report::Kind;

/// After a reading that failed.
const READ_AGAIN: Duration = Duration::from_secs(1);

impl Session {
    pub(super) const fn final_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Online => None,
            Phase::Halting { final_at, .. } => final_at,
        }
    }
}

impl<K: Kernel> Core<K> {
    pub(super) fn log_off(&mut self, mac: Mac, waiter: Option<WaiterId>) {
        match self.by_mac.get(&mac).copied() {
            Some(slot) => {
                self.halt(slot, terminate_cause::USER_REQUEST);
                self.await_end(slot, waiter, Told::Over);
            }
            None => {
                if let Some(waiter) = waiter {
                    self.tell(waiter, Told::Over);
                }
            }
        }
    }

    pub(super) fn await_end(&mut self, slot: Slot, waiter: Option<WaiterId>, told: Told) {
        let waiters = self.mourners.entry(slot).or_default();
        waiters.extend(waiter.map(|waiter| (waiter, told)));
    }

    /// Nothing shall pass any more; the first cause stands.
    pub(super) fn halt(&mut self, slot: Slot, cause: u32) {
        let Some(session) = self.sessions.get_mut(&slot) else {
            return;
        };
        if !session.is_online() {
            return;
        }
        session.phase = Phase::Halting { cause, final_at: None };
        self.reads.strike(slot);
        self.ends.strike(slot);
        self.mourners.entry(slot).or_default();
        self.out.push(Command::Halt(slot));
    }

    /// Nothing passes any more a few milliseconds from now, and the meters are final soon after, counted from when the kernel has been told: it may
    /// have been busy.
    pub fn halt_all(&mut self, slots: &BTreeSet<Slot>, clock: impl Fn() -> Now) {
        let timeouts = slots.iter().map(|slot| (*slot, Some(HALT_TIMEOUT))).collect();
        let mut halted = slots.clone();
        for (slot, error) in self.kernel.set_timeouts(&timeouts) {
            if !matches!(error, FirewallError::Expired(_) | FirewallError::UnknownSlot(_)) {
                // The next tick tries again.
                warn_kernel(&error);
                halted.remove(&slot);
            }
        }
        let is_final = clock().mono + HALT;
        for slot in halted {
            if let Some(session) = self.sessions.get_mut(&slot)
                && let Phase::Halting { final_at, .. } = &mut session.phase
            {
                *final_at = Some(is_final);
            }
        }
    }

    /// Those that the kernel did not halt.
    pub(super) fn retry_halts(&mut self) {
        let ending = self.mourners.keys().filter_map(|slot| self.sessions.get(slot));
        let unhalted = ending.filter(|session| !session.is_online() && session.final_at().is_none());
        self.out.extend(unhalted.map(|session| Command::Halt(session.slot)));
    }

    pub(super) fn halt_pool(&mut self, key: PoolKey, cause: u32) {
        let slots = self.pools.get(&key).map_or_else(Vec::new, |pool| pool.slots.clone());
        for slot in slots {
            self.halt(slot, cause);
        }
    }

    /// Sessions whose time is over: the kernel has stopped them already.
    pub(super) fn end_overdue(&mut self, now: Now) {
        for slot in self.ends.take(now.mono, usize::MAX) {
            self.halt(slot, terminate_cause::SESSION_TIMEOUT);
        }
    }

    /// Ends a session that the kernel stops this very moment, so that nobody takes it for one that can be given more.
    pub(super) fn end_if_overdue(&mut self, slot: Slot, now: Now) {
        let is_over = |session: &Session| session.is_overdue(now.mono + HALT_TIMEOUT);
        if self.sessions.get(&slot).is_some_and(is_over) {
            self.halt(slot, terminate_cause::SESSION_TIMEOUT);
        }
    }

    /// Reports the halted sessions whose meters are final.
    pub(super) fn finish_halted(&mut self, now: Now) {
        let finals = self.mourners.keys().filter_map(|slot| self.sessions.get(slot));
        let slots: Vec<Slot> = finals
            .filter(|session| session.final_at().is_some_and(|at| at <= now.mono))
            .map(|session| session.slot)
            .collect();
        if slots.is_empty() {
            return;
        }
        match self.kernel.read(&slots) {
            Ok(readings) => {
                for (slot, meter) in readings {
                    if let Some(session) = self.sessions.get_mut(&slot) {
                        session.meter = meter;
                    }
                }
            }
            Err(error) => {
                // The meters stay in the kernel, to be read a little later.
                warn_kernel(&error);
                for slot in slots {
                    if let Some(Session { phase, .. }) = self.sessions.get_mut(&slot)
                        && let Phase::Halting { final_at, .. } = phase
                    {
                        *final_at = Some(now.mono + READ_AGAIN);
                    }
                }
                return;
            }
        }
        for slot in slots {
            self.stop(slot, now);
        }
    }

    fn stop(&mut self, slot: Slot, now: Now) {
        let Some(mut session) = self.sessions.remove(&slot) else {
            return;
        };
        let Phase::Halting { cause, .. } = session.phase else {
            return;
        };
        self.out
            .push(Command::Spool(Box::new(session.report(Kind::Stop(cause), now))));
        session.row.is_stopped = true;
        self.out.push(Command::Save(Box::new(session.row.clone())));
        self.leaving.insert(slot, session.row.id.clone());
        self.out.push(Command::Do(Deed::Close(slot)));
        tracing::info!(
            session.id = session.row.id,
            cause,
            octets = session.meter.total_octets(),
            "session ended"
        );
        self.by_id.remove(&session.row.id);
        self.release_address(slot, session.row.ipv4);
        if self.by_mac.get(&session.row.mac) == Some(&slot) {
            self.by_mac.remove(&session.row.mac);
        }
        if let Some(pool) = self.pools.get_mut(&session.pool) {
            pool.slots.retain(|one| *one != slot);
            pool.spent_octets = pool.spent_octets.saturating_add(session.meter.total_octets());
            let granted = session
                .row
                .limits
                .max_total_octets
                .unwrap_or(session.meter.total_octets());
            pool.retired_octets = pool.retired_octets.saturating_add(granted);
            let asker_is_gone = pool
                .asking
                .is_some_and(|asking| self.renewals.get(&asking.ask) == Some(&slot));
            if asker_is_gone {
                pool.asking = None;
            }
        }
        self.renewals.retain(|_, one| *one != slot);
        self.save_retired(session.pool);
        self.drop_pool_if_empty(session.pool);
        for (waiter, told) in self.mourners.remove(&slot).unwrap_or_default() {
            self.tell(waiter, told);
        }
    }

    /// The sessions that go on remember what ended ones were granted.
    fn save_retired(&mut self, key: PoolKey) {
        let Some(pool) = self.pools.get(&key) else { return };
        for slot in &pool.slots {
            if let Some(session) = self.sessions.get_mut(slot) {
                session.row.retired_octets = pool.retired_octets;
                self.out.push(Command::Save(Box::new(session.row.clone())));
            }
        }
    }

    pub(super) fn drop_pool_if_empty(&mut self, key: PoolKey) {
        if self.pools.get(&key).is_some_and(|pool| pool.slots.is_empty())
            && let Some(pool) = self.pools.remove(&key)
            && let Some(cui) = pool.cui
        {
            self.by_cui.remove(&cui);
        }
    }
}
