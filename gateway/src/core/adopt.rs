//! Taking over what a former process left: the kernel knows slots and meters, the rows who they are and what they may.

use std::collections::HashMap;
use std::time::Duration;

use kavadam_domain::Limits;
use kavadam_domain::session::terminate_cause;
use kavadam_firewall::{AdoptedSession, Meter, PoolKey, SessionState, Slot};

use super::session::{Pool, SessionRow};
use super::{Command, Core, Deed, HALT_TIMEOUT, Now};
use crate::kernel::Kernel;
use crate::report::Kind;

impl<K: Kernel> Core<K> {
    /// Takes over. A session in the kernel that no row knows, and a row whose session the kernel has lost or never had, both
    /// end; the first with the octets of its meters, the second with those last reported.
    pub fn adopt(&mut self, found: Vec<AdoptedSession>, rows: Vec<SessionRow>, now: Now) -> Vec<Command> {
        let mut rows: HashMap<String, SessionRow> = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        for one in found {
            let id = String::from_utf8_lossy(&one.label).into_owned();
            match rows.remove(&id) {
                Some(row) if row.is_stopped => self.remove_stopped(one.slot, id),
                Some(row) => self.take_over(&one, row, now),
                None => self.end_unknown(&one, id, now),
            }
        }
        for row in rows.into_values() {
            if !row.is_stopped {
                self.report_lost(&row, now);
            }
            self.out.push(Command::Forget(row.id));
        }
        let pools: Vec<_> = self.pools.keys().copied().collect();
        for key in pools {
            self.fit_pool(key);
            self.recall_grant(key);
            self.judge(key, now);
            self.spread_reads(key, now);
        }
        std::mem::take(&mut self.out)
    }

    /// What was free after the last grant, which low water goes by, follows from what had been used by then.
    fn recall_grant(&mut self, key: PoolKey) {
        let Some(pool) = self.pools.get_mut(&key) else { return };
        let sessions = pool.slots.iter().filter_map(|slot| self.sessions.get(slot));
        let used_by_then = sessions
            .filter_map(|session| session.row.left)
            .map(|left| left.at_used_octets);
        if let (Some(used), Some(limit)) = (used_by_then.max(), pool.limit_octets) {
            pool.granted_free_octets = limit.saturating_sub(used);
        }
    }

    /// Its Stop is on its way: only the removal was left to do.
    fn remove_stopped(&mut self, slot: Slot, id: String) {
        self.leaving.insert(slot, id);
        self.out.push(Command::Do(Deed::Close(slot)));
    }

    /// The kernel lost it, as in a reboot: nobody knows more than was reported last.
    fn report_lost(&mut self, row: &SessionRow, now: Now) {
        let secs = u32::try_from(now.wall.since(row.started).as_secs()).unwrap_or(u32::MAX);
        let secs = secs.min(row.limits.session_secs.unwrap_or(u32::MAX));
        // Less than was reported before changes nothing; an Interim that still waits gives its meters to this.
        let stop = Kind::Stop(terminate_cause::NAS_REBOOT);
        let report = row.report(stop, Meter::default(), secs, now.wall);
        self.out.push(Command::Spool(Box::new(report)));
    }

    fn take_over(&mut self, one: &AdoptedSession, mut row: SessionRow, now: Now) {
        // The kernel is told of a new address first.
        row.ipv4 = one.ipv4;
        let remaining = match one.state {
            SessionState::Online { remaining } => remaining,
            SessionState::Expired => Some(Duration::ZERO),
        };
        let age = age(&row, remaining, now);
        // Halted ones stay so; else the row is right, should the kernel not have heard of its last change.
        let is_over = remaining.is_some_and(|remaining| remaining <= HALT_TIMEOUT);
        let by_row = row
            .limits
            .session_secs
            .map(|secs| Duration::from_secs(secs.into()).saturating_sub(age));
        let remaining = if is_over { Some(Duration::ZERO) } else { by_row };
        self.unlimited.insert(one.slot);
        let filter = row.limits.filter;
        self.heed_class(row.limits.class);
        self.enter_adopted(one, row, age, remaining, now);
        if !self.has_filter(filter) {
            // It would go on without.
            self.halt(one.slot, terminate_cause::NAS_ERROR);
        }
    }

    /// Nobody knows whose it was. Its octets are all that can be told, when they are final.
    fn end_unknown(&mut self, one: &AdoptedSession, id: String, now: Now) {
        tracing::warn!(
            session.id = id,
            "the kernel holds a session that we have no record of: it ends"
        );
        let row = SessionRow {
            id,
            mac: one.mac,
            ipv4: one.ipv4,
            ipv6: None,
            user_name: None,
            classes: Vec::new(),
            cui: None,
            // What it has carried was granted by somebody; no more.
            limits: Limits {
                max_total_octets: Some(one.meter.total_octets()),
                ..Limits::default()
            },
            is_renewable: false,
            started: now.wall,
            left: None,
            started_boot: now.boot,
            retired_octets: 0,
            is_stopped: false,
        };
        self.enter_adopted(one, row, Duration::ZERO, None, now);
        self.halt(one.slot, terminate_cause::NAS_REBOOT);
    }

    fn enter_adopted(
        &mut self,
        one: &AdoptedSession,
        row: SessionRow,
        age: Duration,
        remaining: Option<Duration>,
        now: Now,
    ) {
        let pool = self.pools.entry(one.pool).or_insert_with(|| Pool {
            kernel_octets: one.pool_limit_octets,
            // For now all that was used; what its sessions account for is taken off when they are all there.
            spent_octets: one.pool_used_octets,
            ..Pool::default()
        });
        pool.spent_octets = pool.spent_octets.saturating_sub(one.meter.total_octets());
        pool.retired_octets = pool.retired_octets.max(row.retired_octets);
        if let Some(cui) = &row.cui {
            pool.cui = Some(cui.clone());
            self.by_cui.insert(cui.clone(), one.pool);
        }
        let mut session = self.new_session(row, one.slot, one.pool, age, remaining, one.meter, now);
        // What was reported of it nobody knows any more: all of it is news.
        session.reported = Meter::default();
        if session.row.ipv4.is_none() && session.row.ipv6.is_none() {
            // Its prefix went before the restart, and it has not been seen since.
            self.unnumbered.insert(one.slot);
        }
        self.enter(session);
    }
}

/// How old a session is: by the clock that runs since the boot, else by what the kernel has left of its time. The wall clock may
/// have been set meanwhile, and is asked last.
fn age(row: &SessionRow, remaining: Option<Duration>, now: Now) -> Duration {
    let by_boot = now
        .boot
        .zip(row.started_boot)
        .and_then(|(now, began)| now.checked_sub(began));
    let by_kernel = || {
        let whole = Duration::from_secs(row.limits.session_secs?.into());
        Some(whole.saturating_sub(remaining?))
    };
    by_boot
        .or_else(by_kernel)
        .unwrap_or_else(|| now.wall.since(row.started))
}
