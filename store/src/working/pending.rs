//! Octets charged that wait in a session's row.
//!
//! A report moves on three figures: the session's meters, and what is used of its lease and its entitlement. Only the first is written: the
//! octets stay *pending* in the session's row until it ends or changes otherwise. In memory all figures are whole; in the database, a
//! lease's or entitlement's `used_octets` lacks what is pending in its live sessions. Octets are pending only in a live session, under
//! the entitlement and lease that its row names, and under an open lease.

use kavadam_domain::session::SessionState;
use kavadam_domain::{EntitlementId, LeaseId, SessionId, SubscriberId};

use super::change::Change;
use super::{LARGEST, Whole, Working, plus};

impl Whole {
    /// As the database has it, made whole.
    pub(crate) fn with_pending(mut self) -> Self {
        for session in self.sessions.iter().filter(|row| row.pending_octets > 0) {
            let octets = session.pending_octets;
            for row in &mut self.entitlements {
                if row.id == session.entitlement_id {
                    row.used_octets = plus(row.used_octets, octets);
                }
            }
            for row in &mut self.leases {
                if Some(row.id) == session.lease_id {
                    row.used_octets = plus(row.used_octets, octets);
                }
            }
        }
        self
    }
}

impl Working {
    /// Charges octets of a live session to its own entitlement and lease, where they stay pending. `false` if they must be charged
    /// otherwise.
    pub(crate) fn charge_pending(&mut self, id: SessionId, octets: u64) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else {
            return false;
        };
        let Some(entitlement) = self.entitlements.get_mut(&session.row.entitlement_id) else {
            return false;
        };
        let lease = session.row.lease_id.and_then(|lease| self.leases.get_mut(&lease));
        let lease = lease.map(|lease| &mut lease.row);
        let is_lease_open = lease
            .as_ref()
            .map_or(session.row.lease_id.is_none(), |row| !row.is_closed);
        let lease_used = lease.as_ref().map_or(0, |row| row.used_octets);
        let most = lease_used.max(entitlement.row.used_octets).saturating_add(octets);
        if session.row.state == SessionState::Ended || !is_lease_open || most > LARGEST / 2 {
            return false;
        }
        entitlement.row.used_octets += octets;
        if let Some(lease) = lease {
            lease.used_octets += octets;
        }
        session.row.pending_octets += octets;
        if session.change(Change::COUNTERS) {
            self.changed_sessions.push(id);
        }
        true
    }

    /// These are to be written.
    pub(super) fn touch(&mut self, (entitlement, lease): (EntitlementId, Option<LeaseId>)) {
        self.change_entitlement(entitlement, |_| {});
        if let Some(lease) = lease {
            self.change_lease(lease, |_| {});
        }
    }

    /// Nothing is pending under a lease that is over.
    pub(super) fn settle_pending_under(&mut self, lease: LeaseId, owner: SubscriberId) {
        let mut touched = Vec::new();
        for id in self
            .held
            .get(&owner)
            .map(|held| held.sessions.as_slice())
            .unwrap_or_default()
        {
            let under = self.sessions.get_mut(id).filter(|it| it.row.lease_id == Some(lease));
            let Some(session) = under.filter(|it| it.row.pending_octets > 0) else {
                continue;
            };
            session.row.pending_octets = 0;
            touched.push(session.row.entitlement_id);
            if session.change(Change::COUNTERS) {
                self.changed_sessions.push(*id);
            }
        }
        for entitlement in touched {
            self.change_entitlement(entitlement, |_| {});
        }
    }
}
