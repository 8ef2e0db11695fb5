//! Leases: asking again before they are used up, and what the answers mean.

use std::time::Duration;

use kavadam_domain::session::terminate_cause;
use kavadam_domain::{ClassName, FilterName, Limits};
use kavadam_firewall::{PoolKey, Slot};
use kavadam_radius::{AccessRequest, Credential, Grant, ServiceType};

use super::session::{Asking, Left, Pool, Session};
use super::{Answer, AskId, Command, Core, Deed, Now, STARVED_AT_MOST, USED_UP_BELOW_OCTETS};
use crate::kernel::Kernel;

/// After silence; the RADIUS client has by then tried for some seconds of its own.
const RETRY: Duration = Duration::from_secs(2);

/// What it means if an answer raises nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unraised {
    /// Whoever has used up all is over.
    End,
    /// What is left may be used up before anybody asks again.
    UseUp,
    /// As much as silence.
    AskAgain,
}

impl<K: Kernel> Core<K> {
    /// Reports what the pool has used, then asks for more in the name of the session that has drawn most on it. A pool that is
    /// used up and cannot ask is over.
    pub(super) fn ask_again(&mut self, key: PoolKey, is_used_up: bool, now: Now) {
        let Some(slot) = self.thirstiest(key) else {
            if is_used_up {
                self.halt_pool(key, terminate_cause::NAS_REQUEST);
            }
            return;
        };
        self.report_pool(key, now);
        let Some(ask) = self.ask_for(slot) else { return };
        if let Some(pool) = self.pools.get_mut(&key) {
            pool.asking = Some(Asking {
                ask,
                was_used_up: is_used_up,
            });
            pool.retry_at = None;
        }
    }

    /// The renewable session that has used most beyond its own grant.
    fn thirstiest(&self, key: PoolKey) -> Option<Slot> {
        let members = self.pools.get(&key)?.slots.iter();
        members
            .filter_map(|slot| self.sessions.get(slot))
            .filter(|session| session.is_online() && session.row.is_renewable)
            .max_by_key(|session| {
                let granted = session.row.limits.max_total_octets.unwrap_or(u64::MAX);
                i128::from(session.meter.total_octets()) - i128::from(granted)
            })
            .map(|session| session.slot)
    }

    fn ask_for(&mut self, slot: Slot) -> Option<AskId> {
        let ask = self.next_ask();
        let session = self.sessions.get(&slot)?;
        let (row, pool) = (&session.row, self.pools.get(&session.pool)?);
        let devices = pool.devices.iter().copied().collect();
        let request = AccessRequest {
            mac: Some(row.mac),
            called_station_id: Some(self.settings.called_station_id.clone()),
            framed_ipv4: row.ipv4,
            framed_ipv6: row.ipv6,
            acct_session_id: Some(row.id.clone()),
            classes: row.classes.clone(),
            wants_cui: true,
            ..AccessRequest::new(
                ServiceType::AuthorizeOnly,
                row.user_name.clone().unwrap_or_default(),
                Credential::Absent,
            )
        };
        self.renewals.insert(ask, slot);
        self.out.push(Command::Ask(ask, Box::new(request), devices));
        Some(ask)
    }

    pub(super) fn renewed(&mut self, ask: AskId, slot: Slot, answer: Answer, now: Now) {
        self.end_if_overdue(slot, now);
        let Some(session) = self.sessions.get(&slot) else {
            return;
        };
        let key = session.pool;
        let was_used_up = self
            .pools
            .get_mut(&key)
            .and_then(|pool| pool.asking.take_if(|asking| asking.ask == ask))
            .is_some_and(|asking| asking.was_used_up);
        let is_settled = !matches!(answer, Answer::Unsettled(_));
        match answer {
            // RFC 2865 §1.1: what cannot be given is a refusal.
            Answer::Accept(grant) | Answer::Unsettled(grant) if !self.has_filter(grant.limits.filter) => {
                self.refused_more(key, now);
            }
            Answer::Accept(mut grant) | Answer::Unsettled(mut grant) => {
                let is_outdated = ask.0 <= session.ordered_after;
                if is_outdated {
                    grant.limits = after_order(session.row.limits, grant.limits);
                }
                let unraised = match (is_settled, was_used_up && !is_outdated) {
                    (false, _) => Unraised::AskAgain,
                    (true, true) => Unraised::End,
                    (true, false) => Unraised::UseUp,
                };
                self.extended(key, slot, *grant, unraised, now);
                if let Some(pool) = self.pools.get_mut(&key).filter(|_| is_outdated) {
                    // That it raised nothing means nothing.
                    pool.is_last = false;
                }
            }
            Answer::Reject(_) => self.refused_more(key, now),
            Answer::Silent => {
                self.retry_later(key, now);
            }
        }
    }

    fn extended(&mut self, key: PoolKey, slot: Slot, grant: Grant, unraised: Unraised, now: Now) {
        let Some(session) = self.sessions.get_mut(&slot) else {
            return;
        };
        let old = session.row.limits;
        session.row.is_renewable = grant.is_renewable;
        if !grant.classes.is_empty() {
            session.row.classes = grant.classes;
        }
        let before = self.pools.get(&key).and_then(|pool| pool.limit_octets);
        let free_before = self.pools.get(&key).map_or(0, |pool| pool.granted_free_octets);
        self.apply_limits(slot, grant.limits, now);
        let after = self.pools.get(&key).and_then(|pool| pool.limit_octets);
        let is_raised = match (before, after) {
            (Some(before), Some(after)) => after > before,
            (_, after) => after.is_none(),
        };
        // The others of this person share a speed, a filter, a class and a fate: let them hear of it at once.
        let is_other_kind = speeds(&old) != speeds(&grant.limits)
            || named(&old) != named(&grant.limits)
            || old.max_total_octets.is_some() != grant.limits.max_total_octets.is_some();
        if is_other_kind {
            self.renew_others(key, slot);
        }
        self.read_pool(key, now);
        let free = after.map(|limit| limit.saturating_sub(self.pool_used(key)));
        let is_used_up = free.is_some_and(|free| free < USED_UP_BELOW_OCTETS);
        if let Some(pool) = self.pools.get_mut(&key) {
            pool.is_last = !is_raised;
            pool.retry_at = None;
            if !is_raised && unraised == Unraised::AskAgain {
                pool.is_last = false;
                // Low water stays where it was.
                pool.granted_free_octets = free_before;
                self.retry_later(key, now);
            }
        }
        if is_used_up && unraised == Unraised::End && !is_raised {
            self.halt_pool(key, terminate_cause::NAS_REQUEST);
        } else {
            self.judge(key, now);
        }
        self.plan_reads(key, now);
    }

    fn retry_later(&mut self, key: PoolKey, now: Now) {
        if let Some(pool) = self.pools.get_mut(&key) {
            pool.retry_at = Some(now.mono + RETRY);
            self.waiting.insert(key);
        }
    }

    fn renew_others(&mut self, key: PoolKey, but: Slot) {
        let slots = self.pools.get(&key).map_or_else(Vec::new, |pool| pool.slots.clone());
        for slot in slots.into_iter().filter(|slot| *slot != but) {
            let is_asking = self.renewals.values().any(|asking| *asking == slot);
            let may_ask = |session: &Session| session.is_online() && session.row.is_renewable;
            if !is_asking && self.sessions.get(&slot).is_some_and(may_ask) {
                self.ask_for(slot);
            }
        }
    }

    /// The server gives no more: what is left may still be used, since it was granted.
    fn refused_more(&mut self, key: PoolKey, now: Now) {
        self.read_pool(key, now);
        let used = self.pool_used(key);
        let Some(pool) = self.pools.get_mut(&key) else { return };
        pool.is_last = true;
        let is_used_up = pool
            .limit_octets
            .is_some_and(|limit| limit.saturating_sub(used) < USED_UP_BELOW_OCTETS);
        if is_used_up {
            self.halt_pool(key, terminate_cause::NAS_REQUEST);
        }
    }

    /// Pools that starve for want of an answer are asked for again, and given up after a while.
    pub(super) fn retry_renewals(&mut self, now: Now) {
        let pools = &self.pools;
        let is_waiting = |pool: &Pool| pool.starved_since.is_some() || pool.retry_at.is_some();
        self.waiting.retain(|key| pools.get(key).is_some_and(is_waiting));
        let is_due = |pool: &Pool| pool.starved_since.is_some() || pool.retry_at.is_some_and(|at| at <= now.mono);
        let waiting = self.waiting.iter();
        let due: Vec<PoolKey> = waiting
            .filter(|key| pools.get(key).is_some_and(is_due))
            .copied()
            .collect();
        for key in due {
            let starved_since = self.pools.get(&key).and_then(|pool| pool.starved_since);
            let starved = starved_since.map(|since| now.mono.saturating_duration_since(since));
            if starved.is_some_and(|starved| starved >= STARVED_AT_MOST) {
                tracing::warn!(
                    "no RADIUS server answered that knew what was used, while a lease was used up: its sessions end"
                );
                self.halt_pool(key, terminate_cause::NAS_REQUEST);
            } else {
                self.look_at_pool(key, now);
            }
        }
    }

    /// Holds a session, and its pool, to these limits from now on.
    pub(super) fn apply_limits(&mut self, slot: Slot, limits: Limits, now: Now) {
        self.heed_class(limits.class);
        let Some(session) = self.sessions.get_mut(&slot) else {
            return;
        };
        let (key, old) = (session.pool, session.row.limits);
        session.row.limits = limits;
        let age = session.age(now);
        if old.session_secs != limits.session_secs {
            let remaining = limits
                .session_secs
                .map(|secs| Duration::from_secs(secs.into()).saturating_sub(age));
            session.ends_at = remaining.map(|remaining| now.mono + remaining);
            match session.ends_at {
                Some(at) => self.ends.set(slot, at),
                None => self.ends.strike(slot),
            }
        }
        let is_otherwise_changed = old.session_secs != limits.session_secs || named(&old) != named(&limits);
        if speeds(&old) != speeds(&limits) || is_otherwise_changed {
            self.out.push(Command::Do(Deed::Limit(slot)));
        }
        self.fit_pool(key);
        let used = self.pool_used(key);
        let Some(session) = self.sessions.get_mut(&slot) else {
            return;
        };
        session.row.left = limits.remaining_octets.map(|octets| Left {
            octets,
            at_used_octets: used,
        });
        self.out.push(Command::Save(Box::new(session.row.clone())));
        self.reads.set(slot, now.mono);
    }

    /// What was asked before now was decided before the order that has just come.
    pub(super) fn outdate_questions(&mut self, slot: Slot) {
        if let Some(session) = self.sessions.get_mut(&slot) {
            session.ordered_after = self.last_number;
        }
    }

    /// The pool's limit is the sum of what was granted.
    pub(super) fn fit_pool(&mut self, key: PoolKey) {
        let used = self.pool_used(key);
        let Some(pool) = self.pools.get_mut(&key) else { return };
        let granted = pool
            .slots
            .iter()
            .filter_map(|slot| self.sessions.get(slot))
            .try_fold(pool.retired_octets, |sum, session| {
                Some(sum.saturating_add(session.row.limits.max_total_octets?))
            });
        pool.limit_octets = granted;
        if granted != pool.kernel_octets {
            self.out.push(Command::Do(Deed::Fit(key)));
        }
        pool.granted_free_octets = granted.map_or(0, |limit| limit.saturating_sub(used));
        pool.is_last = false;
    }
}

/// An order stands against an answer that was decided before it; more octets are given all the same, as both were granted.
fn after_order(ordered: Limits, answered: Limits) -> Limits {
    Limits {
        max_total_octets: ordered
            .max_total_octets
            .zip(answered.max_total_octets)
            .map(|(a, b)| a.max(b)),
        ..ordered
    }
}

/// What its plan gives by name.
const fn named(limits: &Limits) -> (Option<FilterName>, Option<ClassName>) {
    (limits.filter, limits.class)
}

const fn speeds(limits: &Limits) -> (Option<u64>, Option<u64>) {
    (limits.up_bits_per_sec, limits.down_bits_per_sec)
}
