//! Taking over what a former process left: the kernel knows slots, limits and meters, the rows who they are.

use std::collections::HashMap;
use std::time::Duration;

use kavadam_domain::session::terminate_cause;
use kavadam_firewall::{AdoptedSession, Meter, SessionState};

use super::session::{Pool, SessionRow};
use super::{Command, Core, Now};
use crate::kernel::Kernel;
use crate::report::Kind;

impl<K: Kernel> Core<K> {
    /// Takes over. A session in the kernel that no row knows, and a row whose session the kernel has lost, both end; the first
    /// with the octets of its meters, the second with those last reported.
    pub fn adopt(&mut self, found: Vec<AdoptedSession>, rows: Vec<SessionRow>, now: Now) -> Vec<Command> {
        let mut rows: HashMap<String, SessionRow> = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        for one in found {
            let id = String::from_utf8_lossy(&one.label).into_owned();
            match rows.remove(&id) {
                Some(row) => self.take_over(&one, row, now),
                None => self.end_unknown(&one, id, now),
            }
        }
        for row in rows.into_values() {
            // The kernel lost it, as in a reboot: nobody knows more than was reported last.
            let secs = u32::try_from(now.wall.since(row.started).as_secs()).unwrap_or(u32::MAX);
            // Less than was reported before changes nothing; an Interim that still waits gives its meters to this.
            let meter = Meter::default();
            let report = row.report(Kind::Stop(terminate_cause::NAS_REBOOT), meter, secs, now.wall);
            self.out.push(Command::Spool(Box::new(report)));
            self.out.push(Command::Forget(row.id));
        }
        let pools: Vec<_> = self.pools.keys().copied().collect();
        for key in pools {
            self.settle_adopted_pool(key);
            self.judge(key, now);
        }
        std::mem::take(&mut self.out)
    }

    fn take_over(&mut self, one: &AdoptedSession, mut row: SessionRow, now: Now) {
        // The kernel is told of a new address first.
        row.ipv4 = one.ipv4;
        let age = now.wall.since(row.started);
        let remaining = match one.state {
            SessionState::Online { remaining } => remaining,
            SessionState::Expired => Some(Duration::ZERO),
        };
        if let Some(cui) = &row.cui {
            self.by_cui.insert(cui.clone(), one.pool);
        }
        let pool = self.pools.entry(one.pool).or_insert_with(|| Pool {
            cui: row.cui.clone(),
            limit_octets: one.pool_limit_octets,
            // For now all that was used; what its sessions account for is taken off when they are all there.
            spent_octets: one.pool_used_octets,
            ..Pool::default()
        });
        pool.spent_octets = pool.spent_octets.saturating_sub(one.meter.total_octets());
        let mut session = self.new_session(row, one.slot, one.pool, age, remaining, one.meter, now);
        // What was reported of it nobody knows any more: all of it is news.
        session.reported = Meter::default();
        self.enter(session);
    }

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
            limits: kavadam_domain::Limits::default(),
            is_renewable: false,
            started: now.wall,
            left: None,
        };
        let report = row.report(Kind::Stop(terminate_cause::NAS_REBOOT), one.meter, 0, now.wall);
        self.out.push(Command::Spool(Box::new(report)));
        self.out.push(Command::Close(one.slot));
    }

    /// What ended sessions were granted is what is left of the limit.
    fn settle_adopted_pool(&mut self, key: kavadam_firewall::PoolKey) {
        let Some(pool) = self.pools.get_mut(&key) else { return };
        let members = pool.slots.iter().filter_map(|slot| self.sessions.get(slot));
        let granted = members.fold(0_u64, |sum, session| {
            sum.saturating_add(session.row.limits.max_total_octets.unwrap_or(0))
        });
        let limit = pool.limit_octets.unwrap_or(granted);
        pool.retired_octets = limit.saturating_sub(granted);
        let used = self.pool_used(key);
        if let Some(pool) = self.pools.get_mut(&key) {
            pool.granted_free_octets = limit.saturating_sub(used);
        }
    }
}
