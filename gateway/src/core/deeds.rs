//! What is done in the kernel after it was committed, and again at each tick while the kernel refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kavadam_domain::session::terminate_cause;
use kavadam_firewall::{FirewallError, Meter, OpenSession, PoolKey, SessionLimits, Slot};
use kavadam_radius::ErrorCause;

use super::session::{Session, SessionRow};
use super::{AskId, Command, Core, Deed, HALT_TIMEOUT, Now, SILENCE_REMEMBERED, Told, WaiterId, warn_kernel};
use crate::kernel::Kernel;
use crate::report::Kind;

/// Sessions held to their limits in one tick after a restart, some tens of milliseconds of work.
const MOST_LIMITED: usize = 1_000;

/// An accepted session between its record and the kernel.
#[derive(Debug)]
pub(super) struct Opening {
    pub row: SessionRow,
    pub waiters: Vec<WaiterId>,
}

/// An order that holds when the kernel has been told.
#[derive(Debug)]
pub(super) struct Obeyed {
    pub waiter: WaiterId,
    pub slot: Slot,
    pub pool: PoolKey,
}

/// What is done in the kernel at one go, each kind of it together.
#[derive(Debug, Default)]
pub struct Deeds {
    closes: BTreeSet<Slot>,
    limits: BTreeSet<Slot>,
    fits: BTreeSet<PoolKey>,
    opens: Vec<AskId>,
}

impl Deeds {
    /// One more.
    pub fn add(&mut self, deed: Deed) {
        match deed {
            Deed::Close(slot) => _ = self.closes.insert(slot),
            Deed::Limit(slot) => _ = self.limits.insert(slot),
            Deed::Fit(pool) => _ = self.fits.insert(pool),
            Deed::Open(ask) => self.opens.push(ask),
        }
    }
}

impl<K: Kernel> Core<K> {
    /// Does what was committed; gives back what follows from it. Who leaves makes room for who comes.
    pub fn carry_out(&mut self, mut deeds: Deeds, now: Now) -> Vec<Command> {
        if !deeds.opens.is_empty() {
            // One of them may be a device's own.
            deeds.closes.extend(std::mem::take(&mut self.unclosed));
        }
        self.close_all(&deeds.closes);
        let gone = self.limit_all(&deeds.limits, now);
        self.fit_all(&deeds.fits);
        self.tell_obeyed(&gone);
        self.open_all(&deeds.opens, now);
        std::mem::take(&mut self.out)
    }

    fn open_all(&mut self, asks: &[AskId], now: Now) {
        if asks.is_empty() {
            return;
        }
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
        let unclosed = std::mem::take(&mut self.unclosed);
        self.close_all(&unclosed);
        let unfit = std::mem::take(&mut self.unfit);
        self.fit_all(&unfit);
        for (slot, ipv4) in std::mem::take(&mut self.unmoved) {
            self.move_to(slot, ipv4, now);
        }
        let later = self.unlimited.iter().nth(MOST_LIMITED).copied();
        let later = later.map(|first| self.unlimited.split_off(&first)).unwrap_or_default();
        let unlimited = std::mem::replace(&mut self.unlimited, later);
        _ = self.limit_all(&unlimited, now);
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
        // What the kernel does not take now it will hardly take at the next request, a moment from now.
        self.remember_refusal(row.mac, true, SILENCE_REMEMBERED, now);
        let stop = row.report(Kind::Stop(terminate_cause::NAS_ERROR), Meter::default(), 0, now.wall);
        self.out.push(Command::Spool(Box::new(stop)));
        self.out.push(Command::Forget(row.id));
        for waiter in waiters {
            self.tell(waiter, Told::Unavailable);
        }
    }

    /// Gives back those whose time had run out before.
    fn limit_all(&mut self, slots: &BTreeSet<Slot>, now: Now) -> BTreeSet<Slot> {
        let mut gone = BTreeSet::new();
        let wanted = |session: &Session| SessionLimits {
            up_bits_per_sec: session.row.limits.up_bits_per_sec,
            down_bits_per_sec: session.row.limits.down_bits_per_sec,
            timeout: session
                .ends_at
                .map(|end| end.saturating_duration_since(now.mono).max(HALT_TIMEOUT)),
            filter: session.row.limits.filter,
            class: session.row.limits.class,
        };
        let sessions = slots.iter().filter_map(|slot| self.sessions.get(slot));
        let online = sessions.filter(|session| session.is_online());
        let wanted = online.map(|session| (session.slot, wanted(session))).collect();
        self.unlimited.retain(|slot| !slots.contains(slot));
        for (slot, error) in self.kernel.limit_all(&wanted) {
            match error {
                // Its time ran out before the kernel heard that it has more: we would take it for online, and its device would be offline.
                FirewallError::Expired(_) => {
                    self.halt(slot, terminate_cause::SESSION_TIMEOUT);
                    gone.insert(slot);
                }
                error => {
                    warn_kernel(&error);
                    self.unlimited.insert(slot);
                }
            }
        }
        gone
    }

    fn fit_all(&mut self, keys: &BTreeSet<PoolKey>) {
        let pools = keys.iter().filter_map(|key| Some((*key, self.pools.get(key)?)));
        let unfit = pools.filter(|(_, pool)| pool.kernel_octets != pool.limit_octets);
        let wanted: BTreeMap<PoolKey, Option<u64>> = unfit.map(|(key, pool)| (key, pool.limit_octets)).collect();
        let mut done = wanted.clone();
        self.unfit.retain(|key| !keys.contains(key));
        for (key, error) in self.kernel.set_pool_limits(&wanted) {
            warn_kernel(&error);
            done.remove(&key);
            self.unfit.insert(key);
        }
        for (key, limit_octets) in done {
            if let Some(pool) = self.pools.get_mut(&key) {
                pool.kernel_octets = limit_octets;
            }
        }
    }

    /// Tells those who ordered something, now that the kernel has been told.
    fn tell_obeyed(&mut self, gone: &BTreeSet<Slot>) {
        for Obeyed { waiter, slot, pool } in std::mem::take(&mut self.obeyed) {
            let result = if gone.contains(&slot) {
                Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND)
            } else if self.unlimited.contains(&slot) || self.unfit.contains(&pool) {
                Err(ErrorCause::RESOURCES_UNAVAILABLE)
            } else {
                Ok(())
            };
            self.tell(waiter, Told::Ordered(result));
        }
    }

    /// A session that the kernel does not let go keeps its device from logging in: it is tried again.
    fn close_all(&mut self, slots: &BTreeSet<Slot>) {
        for (slot, closed) in self.kernel.close_all(slots) {
            match closed {
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
}
