//! Orders of the centre: Disconnect and CoA (RFC 5176).

use kavadam_domain::session::terminate_cause;
use kavadam_domain::{ClassName, FilterName, Limits};
use kavadam_firewall::Slot;
use kavadam_radius::{ErrorCause, LimitsPatch, Target};

use super::deeds::Obeyed;
use super::session::Session;
use super::{Command, Core, Deed, Now, Told, WaiterId};
use crate::kernel::Kernel;

impl<K: Kernel> Core<K> {
    pub(super) fn disconnect(&mut self, target: &Target, waiter: WaiterId) {
        match self.find(target) {
            Ok(slot) => {
                self.halt(slot, terminate_cause::ADMIN_RESET);
                self.await_end(slot, Some(waiter), Told::Ordered(Ok(())));
            }
            Err(cause) => self.tell(waiter, Told::Ordered(Err(cause))),
        }
    }

    pub(super) fn change(&mut self, target: &Target, patch: LimitsPatch, waiter: WaiterId, now: Now) {
        let result = self.find(target).and_then(|slot| {
            self.end_if_overdue(slot, now);
            let session = self.sessions.get(&slot).filter(|session| session.is_online());
            let session = session.ok_or(ErrorCause::SESSION_CONTEXT_NOT_FOUND)?;
            let pool = session.pool;
            let limits = patch.applied_to(self.limits_now(session));
            if !self.has_filter(limits.filter) {
                return Err(ErrorCause::INVALID_ATTRIBUTE_VALUE);
            }
            self.apply_limits(slot, limits, now);
            // What the kernel has not taken yet it is to take before the answer.
            if self.unlimited.contains(&slot) {
                self.out.push(Command::Do(Deed::Limit(slot)));
            }
            if self.unfit.contains(&pool) {
                self.out.push(Command::Do(Deed::Fit(pool)));
            }
            self.outdate_questions(slot);
            self.look_at_pool(pool, now);
            Ok(Obeyed { waiter, slot, pool })
        });
        match result {
            Ok(obeyed) => self.obeyed.push(obeyed),
            Err(cause) => self.tell(waiter, Told::Ordered(Err(cause))),
        }
    }

    /// Whether this gate has the filter, if one is asked for; the log says where not.
    pub(super) fn has_filter(&self, filter: Option<FilterName>) -> bool {
        let unknown = filter.filter(|name| !self.kernel.has_filter(*name));
        if let Some(name) = unknown {
            tracing::error!(
                filter = %name,
                "a session is to have a filter that this gate has not, and is refused or ended. Remedy: add [gateway.filters.{name}] to the \
                 configuration, or take it from the plan at the centre (kavadam plan set NAME --filter none)"
            );
        }
        unknown.is_none()
    }

    /// Says so once if this gate has not the class. That is no reason to keep anybody offline: what is lost is a share, and nobody's protection.
    pub(super) fn heed_class(&mut self, class: Option<ClassName>) {
        let Some(name) = class else { return };
        if self.kernel.has_class(name) {
            self.missing_classes.remove(&name);
        } else if self.missing_classes.insert(name) {
            tracing::warn!(
                class = %name,
                "sessions are to be in a shaping class that this gate has not: where the line is full they share it as those without one. \
                 Remedy: add [gateway.uplink.classes.{name}] to the configuration, or take it from the plan at the centre \
                 (kavadam plan set NAME --class none)"
            );
        }
    }

    /// The limits in force, with what the person has left by now.
    fn limits_now(&self, session: &Session) -> Limits {
        let used = self.pool_used(session.pool);
        let left = session.row.left;
        Limits {
            remaining_octets: left.map(|left| left.octets.saturating_sub(used.saturating_sub(left.at_used_octets))),
            ..session.row.limits
        }
    }

    /// The one session that fits everything the target names.
    fn find(&self, target: &Target) -> Result<Slot, ErrorCause> {
        let fits = |session: &&Session| {
            let row = &session.row;
            target.acct_session_id.as_ref().is_none_or(|id| *id == row.id)
                && target.mac.is_none_or(|mac| mac == row.mac)
                && target
                    .user_name
                    .as_ref()
                    .is_none_or(|name| row.user_name.as_ref() == Some(name))
                && target.framed_ipv4.is_none_or(|ip| row.ipv4 == Some(ip))
                && target.framed_ipv6.is_none_or(|ip| row.ipv6 == Some(ip))
                && target.classes.iter().all(|class| row.classes.contains(class))
                && target.cui.as_ref().is_none_or(|cui| row.cui.as_ref() == Some(cui))
        };
        let by_key = match (&target.acct_session_id, target.mac) {
            (Some(id), _) => Some(self.by_id.get(id)),
            (None, Some(mac)) => Some(self.by_mac.get(&mac)),
            (None, None) => None,
        };
        if let Some(slot) = by_key {
            return slot
                .and_then(|slot| self.sessions.get(slot))
                .filter(fits)
                .map(|session| session.slot)
                .ok_or(ErrorCause::SESSION_CONTEXT_NOT_FOUND);
        }
        let mut fitting = self.sessions.values().filter(fits).map(|session| session.slot);
        match (fitting.next(), fitting.next()) {
            (Some(slot), None) => Ok(slot),
            (None, _) => Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND),
            (Some(_), Some(_)) => Err(ErrorCause::MULTIPLE_SESSIONS),
        }
    }
}
