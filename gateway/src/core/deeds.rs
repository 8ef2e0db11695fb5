//! What is done in the kernel after it was committed, and again at each tick while the kernel refuses.

use std::time::Duration;

use kavadam_domain::session::terminate_cause;
use kavadam_firewall::{FirewallError, Meter, OpenSession, PoolKey, Slot};

use super::session::SessionRow;
use super::{AskId, Command, Core, Deed, HALT_TIMEOUT, Now, Told, WaiterId, warn_kernel};
use crate::kernel::Kernel;
use crate::report::Kind;

/// Sessions held to their limits in one tick after a restart, some 100 ms of work.
const MOST_LIMITED: usize = 1_000;

/// An accepted session between its record and the kernel.
#[derive(Debug)]
pub(super) struct Opening {
    pub row: SessionRow,
    pub waiters: Vec<WaiterId>,
}

impl<K: Kernel> Core<K> {
    /// Does what was committed; gives back what follows from it.
    pub fn carry_out(&mut self, deed: Deed, now: Now) -> Vec<Command> {
        match deed {
            Deed::Open(ask) => return self.open_all(&[ask], now),
            Deed::Limit(slot) => self.limit(slot, now),
            Deed::Fit(pool) => self.fit(pool),
            Deed::Close(slot) => self.close(slot),
        }
        std::mem::take(&mut self.out)
    }

    /// Opens what was committed together, together; gives back what follows from it.
    pub fn open_all(&mut self, asks: &[AskId], now: Now) -> Vec<Command> {
        if asks.is_empty() {
            return Vec::new();
        }
        // One of them may be a device's own.
        self.retry_closes();
        let ready: Vec<_> = asks.iter().filter_map(|ask| self.ready(*ask, now)).collect();
        let sessions: Vec<OpenSession> = ready.iter().map(|(opening, pool)| opening.row.opens(*pool)).collect();
        let opened = self.kernel.open_all(&sessions);
        let mut failed = Vec::new();
        for ((opening, pool), result) in ready.into_iter().zip(opened) {
            match result {
                Ok(slot) => self.opened(opening, slot, pool, now),
                Err(error) => {
                    tracing::error!(%error, session.id = opening.row.id, "cannot open an accepted session");
                    failed.push((opening, pool));
                }
            }
        }
        // At last, as others may have joined their pools.
        for (opening, pool) in failed {
            self.drop_pool_if_empty(pool);
            self.not_opened(opening, now);
        }
        std::mem::take(&mut self.out)
    }

    /// Gives up an opening whose record could not be committed.
    pub fn give_up(&mut self, ask: AskId, now: Now) -> Vec<Command> {
        if let Some(opening) = self.take_opening(ask) {
            self.not_opened(opening, now);
        }
        std::mem::take(&mut self.out)
    }

    /// What the kernel refused before. Adopted sessions are among the unlimited: a former process may have committed a change
    /// that it never carried out.
    pub(super) fn retry_deeds(&mut self, now: Now) {
        self.retry_closes();
        for pool in std::mem::take(&mut self.unfit) {
            self.fit(pool);
        }
        let slots: Vec<Slot> = self.unlimited.iter().copied().take(MOST_LIMITED).collect();
        for slot in slots {
            self.unlimited.remove(&slot);
            self.limit(slot, now);
        }
    }

    fn retry_closes(&mut self) {
        for slot in std::mem::take(&mut self.unclosed) {
            self.close(slot);
        }
    }

    fn take_opening(&mut self, ask: AskId) -> Option<Opening> {
        let opening = self.openings.remove(&ask)?;
        self.opening_of.remove(&opening.row.mac);
        Some(opening)
    }

    /// An opening and its pool. `None`: there is none, or it waits for another record, or it cannot be.
    fn ready(&mut self, ask: AskId, now: Now) -> Option<(Opening, PoolKey)> {
        let mut opening = self.take_opening(ask)?;
        let row = &mut opening.row;
        let pool = row.cui.as_ref().and_then(|cui| self.by_cui.get(cui)).copied();
        if pool.is_none() && row.retired_octets > 0 {
            // The pool it was to join has ended meanwhile: a new one owes nothing to the past, and the record must not say so.
            row.retired_octets = 0;
            self.out.push(Command::Save(Box::new(row.clone())));
            self.await_opening(ask, opening);
            return None;
        }
        if let Some(pool) = pool.or_else(|| self.new_pool(row)) {
            return Some((opening, pool));
        }
        self.not_opened(opening, now);
        None
    }

    fn opened(&mut self, opening: Opening, slot: Slot, pool: PoolKey, now: Now) {
        let Opening { row, waiters } = opening;
        tracing::info!(session.id = row.id, "session opened");
        let timeout = row.timeout();
        let session = self.new_session(row, slot, pool, Duration::ZERO, timeout, Meter::default(), now);
        self.enter(session);
        self.fit_pool(pool);
        for waiter in waiters {
            self.tell(waiter, Told::Online);
        }
    }

    /// Waits for its record to be committed, to be opened then.
    pub(super) fn await_opening(&mut self, ask: AskId, opening: Opening) {
        self.opening_of.insert(opening.row.mac, ask);
        self.openings.insert(ask, opening);
        self.out.push(Command::Do(Deed::Open(ask)));
    }

    /// Its Start is written: so a Stop must be.
    fn not_opened(&mut self, opening: Opening, now: Now) {
        let Opening { row, waiters } = opening;
        let stop = row.report(Kind::Stop(terminate_cause::NAS_ERROR), Meter::default(), 0, now.wall);
        self.out.push(Command::Spool(Box::new(stop)));
        self.out.push(Command::Forget(row.id));
        for waiter in waiters {
            self.tell(waiter, Told::Unavailable);
        }
    }

    fn limit(&mut self, slot: Slot, now: Now) {
        let Some(session) = self.sessions.get(&slot).filter(|session| session.is_online()) else {
            return;
        };
        let limits = session.row.limits;
        let remaining = session
            .ends_at
            .map(|end| end.saturating_duration_since(now.mono).max(HALT_TIMEOUT));
        let kernel = &mut self.kernel;
        let filtered = kernel.set_filter(slot, limits.filter);
        let rate = filtered.and_then(|()| kernel.set_rate(slot, limits.up_bits_per_sec, limits.down_bits_per_sec));
        let done = rate.and_then(|()| kernel.set_timeout(slot, remaining));
        match done {
            // That a session has just expired is no failure: it is about to be ended.
            Ok(()) | Err(FirewallError::Expired(_)) => {}
            Err(error) => {
                warn_kernel(&error);
                self.unlimited.insert(slot);
            }
        }
    }

    fn fit(&mut self, key: PoolKey) {
        let Some(pool) = self.pools.get_mut(&key) else { return };
        if pool.kernel_octets == pool.limit_octets {
            return;
        }
        match self.kernel.set_pool_limit(key, pool.limit_octets) {
            Ok(()) => pool.kernel_octets = pool.limit_octets,
            Err(error) => {
                warn_kernel(&error);
                self.unfit.insert(key);
            }
        }
    }

    /// A session that the kernel does not let go keeps its device from logging in: it is tried again.
    fn close(&mut self, slot: Slot) {
        match self.kernel.close(slot) {
            Ok(_) | Err(FirewallError::UnknownSlot(_)) => {
                if let Some(id) = self.leaving.remove(&slot) {
                    self.out.push(Command::Forget(id));
                }
            }
            Err(error) => {
                warn_kernel(&error);
                self.unclosed.insert(slot);
            }
        }
    }
}
