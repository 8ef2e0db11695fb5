//! The rows a writing transaction works on.
//!
//! Of a subscriber who is held, *all* live sessions and open leases are here, so that lists and sums are complete, and the entitlements
//! they are charged to. Other rows are in the database only. No IO but in [`write`].

use std::collections::HashMap;

use kavadam_domain::session::SessionState;
use kavadam_domain::{EntitlementId, LeaseId, NasId, SessionId, SubscriberId, Timestamp};

use change::Change;

use crate::{EntitlementRow, LeaseRow, SessionRow, SubscriberRow, VendorRow};

mod change;
mod pending;
mod write;

/// The largest figure a column keeps; more stands still there.
const LARGEST: u64 = i64::MAX as u64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Working {
    held: HashMap<SubscriberId, Held>,
    /// Of live sessions; may be out of date: a look at the session tells.
    names: HashMap<(NasId, Box<str>), SessionId>,
    sessions: HashMap<SessionId, Tracked<SessionRow>>,
    leases: HashMap<LeaseId, Tracked<LeaseRow>>,
    entitlements: HashMap<EntitlementId, Tracked<EntitlementRow>>,
    /// What was written down of sessions at vendors' gates, and is yet to be written.
    pub(crate) vendors: HashMap<SessionId, VendorRow>,
    changed_sessions: Vec<SessionId>,
    changed_leases: Vec<LeaseId>,
    changed_entitlements: Vec<EntitlementId>,
}

/// A subscriber with everything that is going on.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub(crate) sessions: Vec<SessionRow>,
    pub(crate) leases: Vec<LeaseRow>,
    pub(crate) entitlements: Vec<EntitlementRow>,
}

#[derive(Debug)]
struct Held {
    row: SubscriberRow,
    sessions: Vec<SessionId>,
    leases: Vec<LeaseId>,
    entitlements: Vec<EntitlementId>,
    /// How sessions could be found before this transaction.
    known_by: Vec<Keys>,
    /// Held as remembered, not as read.
    is_carried: bool,
}

/// A subscriber who was held, as they are now.
pub(crate) struct Left {
    pub(crate) row: SubscriberRow,
    /// Only what is going on; where nothing is, what was last charged.
    pub(crate) whole: Whole,
    /// See [`Held`].
    pub(crate) known_by: Vec<Keys>,
    /// See [`Held`].
    pub(crate) is_carried: bool,
}

/// How a session can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) id: SessionId,
    pub(crate) nas: NasId,
    pub(crate) name: Option<Box<str>>,
}

impl From<&SessionRow> for Keys {
    fn from(row: &SessionRow) -> Self {
        Self {
            id: row.id,
            nas: row.nas_id,
            name: row.acct_session_id.as_deref().map(Into::into),
        }
    }
}

#[derive(Debug)]
struct Tracked<R> {
    row: R,
    fate: Fate,
}

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Same,
    /// Of leases and entitlements, whatever.
    Changed(Change),
    New,
}

impl<R> Tracked<R> {
    const fn same(row: R) -> Self {
        Self { row, fate: Fate::Same }
    }

    /// `true` if this is its first change since it was last written.
    fn change(&mut self, more: Change) -> bool {
        let is_first = self.fate == Fate::Same;
        self.fate = match self.fate {
            Fate::Same => Fate::Changed(more),
            Fate::Changed(change) => Fate::Changed(change | more),
            Fate::New => Fate::New,
        };
        is_first
    }
}

/// Those rows that are there, without copying.
macro_rules! pick {
    ($map:expr, $ids:expr) => {
        $ids.iter().filter_map(|id| $map.get(id)).map(|tracked| &tracked.row)
    };
}

use pick;

impl Working {
    pub(crate) fn holds(&self, id: SubscriberId) -> bool {
        self.held.contains_key(&id)
    }

    pub(crate) fn subscriber(&self, id: SubscriberId) -> Option<&SubscriberRow> {
        self.held.get(&id).map(|held| &held.row)
    }

    pub(crate) fn subscriber_mut(&mut self, id: SubscriberId) -> Option<&mut SubscriberRow> {
        self.held.get_mut(&id).map(|held| &mut held.row)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Who is held.
    pub(crate) fn everybody(&self) -> Vec<SubscriberId> {
        self.held.keys().copied().collect()
    }

    /// Something is to be written.
    pub(crate) fn is_changed(&self) -> bool {
        let changed = self.changed_sessions.len() + self.changed_leases.len() + self.changed_entitlements.len();
        changed + self.vendors.len() > 0
    }

    /// Holds a subscriber; `is_carried` as remembered, else as read.
    pub(crate) fn hold(&mut self, row: SubscriberRow, whole: Whole, is_carried: bool) {
        let held = Held {
            sessions: whole.sessions.iter().map(|row| row.id).collect(),
            leases: whole.leases.iter().map(|row| row.id).collect(),
            entitlements: whole.entitlements.iter().map(|row| row.id).collect(),
            known_by: whole.sessions.iter().map(Keys::from).collect(),
            is_carried,
            row,
        };
        self.held.insert(held.row.id, held);
        for row in whole.sessions {
            self.note_keys(&row);
            self.sessions.insert(row.id, Tracked::same(row));
        }
        let leases = whole.leases.into_iter();
        self.leases.extend(leases.map(|row| (row.id, Tracked::same(row))));
        let entitlements = whole.entitlements.into_iter();
        self.entitlements
            .extend(entitlements.map(|row| (row.id, Tracked::same(row))));
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<&SessionRow> {
        self.sessions.get(&id).map(|tracked| &tracked.row)
    }

    /// The live session of that name at a gate, if its owner is held.
    pub(crate) fn live_session_named(&self, nas: NasId, name: &str) -> Option<&SessionRow> {
        self.session_named(nas, name)
            .filter(|row| row.state != SessionState::Ended)
    }

    /// The session that went by that name at a gate last, over or not, of those in hand: it may not be in the database yet.
    pub(crate) fn session_named(&self, nas: NasId, name: &str) -> Option<&SessionRow> {
        let found = self.names.get(&(nas, Box::from(name))).and_then(|id| self.session(*id));
        found.filter(|row| row.acct_session_id.as_deref() == Some(name))
    }

    /// Whether the live session of that name at a gate, as the database has it, is one of somebody held.
    pub(crate) fn had_name(&self, owner: SubscriberId, nas: NasId, name: &str) -> bool {
        let known_by = self.held.get(&owner).map(|held| held.known_by.as_slice());
        let mut known_by = known_by.unwrap_or_default().iter();
        known_by.any(|keys| keys.nas == nas && keys.name.as_deref() == Some(name))
    }

    /// Sessions at a gate, of those in hand.
    pub(crate) fn sessions_at(&self, nas: NasId) -> impl Iterator<Item = SessionId> {
        let rows = self.sessions.values().map(|tracked| &tracked.row);
        rows.filter(move |row| row.nas_id == nas).map(|row| row.id)
    }

    /// Sessions of somebody, over or not, of those in hand.
    pub(crate) fn sessions_of(&self, id: SubscriberId) -> impl Iterator<Item = &SessionRow> {
        let held = self.held.get(&id).map(|held| held.sessions.as_slice());
        pick!(self.sessions, held.unwrap_or_default())
    }

    /// `None` if the subscriber is not held.
    pub(crate) fn live_sessions_of(&self, id: SubscriberId) -> Option<impl Iterator<Item = &SessionRow>> {
        let held = self.held.get(&id)?;
        Some(pick!(self.sessions, held.sessions).filter(|row| row.state != SessionState::Ended))
    }

    /// Saves a session of somebody who is held, but for what is pending, which is ours alone.
    pub(crate) fn save_session(&mut self, row: &SessionRow) {
        let Some(known) = self.sessions.get_mut(&row.id) else {
            self.save_ended_session(row);
            return;
        };
        let row = &SessionRow {
            pending_octets: known.row.pending_octets,
            ..row.clone()
        };
        if known.row == *row {
            return;
        }
        let was = (known.row.entitlement_id, known.row.lease_id);
        let change = known.row.change_to(row);
        let is_first = known.change(change);
        known.row.clone_from(row);
        if !change.is_within(Change::METERS) && std::mem::take(&mut known.row.pending_octets) > 0 {
            self.touch(was);
        }
        if is_first {
            self.changed_sessions.push(row.id);
        }
        self.note_keys(row);
    }

    /// One that had ended when its owner was held.
    fn save_ended_session(&mut self, row: &SessionRow) {
        if let Some(held) = self.held.get_mut(&row.subscriber_id) {
            held.sessions.push(row.id);
        }
        let row = SessionRow {
            pending_octets: 0,
            ..row.clone()
        };
        self.note_keys(&row);
        self.changed_sessions.push(row.id);
        let fate = Fate::Changed(Change::REST);
        self.sessions.insert(row.id, Tracked { row, fate });
    }

    /// Adds a session of somebody who is held.
    pub(crate) fn add_session(&mut self, row: SessionRow) {
        if let Some(held) = self.held.get_mut(&row.subscriber_id) {
            held.sessions.push(row.id);
        }
        self.changed_sessions.push(row.id);
        self.note_keys(&row);
        self.sessions.insert(row.id, Tracked { row, fate: Fate::New });
    }

    fn note_keys(&mut self, row: &SessionRow) {
        if let (Some(name), true) = (&row.acct_session_id, row.state != SessionState::Ended) {
            self.names.insert((row.nas_id, name.as_str().into()), row.id);
        }
    }

    pub(crate) fn lease(&self, id: LeaseId) -> Option<&LeaseRow> {
        self.leases.get(&id).map(|tracked| &tracked.row)
    }

    /// Changes a lease. `false` if it is not here.
    pub(crate) fn change_lease(&mut self, id: LeaseId, change: impl FnOnce(&mut LeaseRow)) -> bool {
        let Some(known) = self.leases.get_mut(&id) else {
            return false;
        };
        change(&mut known.row);
        if known.change(Change::REST) {
            self.changed_leases.push(id);
        }
        if known.row.is_closed {
            let owner = known.row.subscriber_id;
            self.settle_pending_under(id, owner);
        }
        true
    }

    /// Adds a lease made just now, or (not `is_new`) opened again.
    pub(crate) fn add_lease(&mut self, row: LeaseRow, is_new: bool) {
        if let Some(held) = self.held.get_mut(&row.subscriber_id) {
            held.leases.push(row.id);
        }
        if is_new {
            self.changed_leases.push(row.id);
        }
        let fate = if is_new { Fate::New } else { Fate::Same };
        self.leases.insert(row.id, Tracked { row, fate });
    }

    /// The shared lease at a gate of somebody held, under which a session is to go on.
    pub(crate) fn shared_lease(&self, owner: SubscriberId, nas: NasId, now: Timestamp) -> Option<&LeaseRow> {
        let held = self.held.get(&owner)?;
        let goes_on = |lease: LeaseId| {
            pick!(self.sessions, held.sessions).any(|session| {
                session.lease_id == Some(lease)
                    && session.state != SessionState::Ended
                    && session.ends_at.is_none_or(|end| end > now)
            })
        };
        let fitting = pick!(self.leases, held.leases)
            .filter(|lease| !lease.is_closed && lease.is_shared && lease.nas_id == nas && goes_on(lease.id));
        fitting.max_by_key(|lease| lease.id)
    }

    pub(crate) fn entitlement(&self, id: EntitlementId) -> Option<&EntitlementRow> {
        self.entitlements.get(&id).map(|tracked| &tracked.row)
    }

    pub(crate) fn entitlements_of(&self, id: SubscriberId) -> Option<impl Iterator<Item = &EntitlementRow>> {
        let held = self.held.get(&id)?;
        Some(pick!(self.entitlements, held.entitlements))
    }

    /// Adds an entitlement read or (`is_new`) made just now, if its owner is held.
    pub(crate) fn add_entitlement(&mut self, row: EntitlementRow, is_new: bool) {
        let Some(held) = self.held.get_mut(&row.subscriber_id) else {
            return;
        };
        held.entitlements.push(row.id);
        if is_new {
            self.changed_entitlements.push(row.id);
        }
        let fate = if is_new { Fate::New } else { Fate::Same };
        self.entitlements.insert(row.id, Tracked { row, fate });
    }

    /// Changes an entitlement. `false` if it is not here.
    pub(crate) fn change_entitlement(&mut self, id: EntitlementId, change: impl FnOnce(&mut EntitlementRow)) -> bool {
        let Some(known) = self.entitlements.get_mut(&id) else {
            return false;
        };
        change(&mut known.row);
        if known.change(Change::REST) {
            self.changed_entitlements.push(id);
        }
        true
    }

    /// Octets promised out of an entitlement over all open leases; `None` if it is not here.
    pub(crate) fn promised_octets(&self, id: EntitlementId) -> Option<u64> {
        let owner = self.entitlement(id)?.subscriber_id;
        let held = self.held.get(&owner)?;
        let open = pick!(self.leases, held.leases).filter(|lease| !lease.is_closed && lease.entitlement_id == id);
        Some(open.fold(0, |sum, lease| lease.lease().promised_octets().saturating_add(sum)))
    }

    /// The live sessions under a lease; `None` if it is not here.
    pub(crate) fn live_sessions_under(&self, id: LeaseId) -> Option<Vec<SessionRow>> {
        let owner = self.lease(id)?.subscriber_id;
        let under = self.live_sessions_of(owner)?.filter(|row| row.lease_id == Some(id));
        let mut under: Vec<SessionRow> = under.cloned().collect();
        under.sort_unstable_by_key(|row| row.id);
        Some(under)
    }

    /// Forgets everything. What changed must have been written.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Everybody who was held.
    pub(crate) fn into_left(mut self) -> impl Iterator<Item = Left> {
        let held = std::mem::take(&mut self.held);
        held.into_values().map(move |held| {
            let take = |id| self.sessions.remove(id).map(|tracked| tracked.row);
            let mut sessions: Vec<_> = held.sessions.iter().filter_map(take).collect();
            sessions.retain(|row| row.state != SessionState::Ended);
            let take = |id| self.leases.remove(id).map(|tracked| tracked.row);
            let mut leases: Vec<_> = held.leases.iter().filter_map(take).collect();
            leases.retain(|row| !row.is_closed);
            let take = |id| self.entitlements.remove(id).map(|tracked| tracked.row);
            let mut entitlements: Vec<_> = held.entitlements.iter().filter_map(take).collect();
            let last = entitlements.iter().map(|row| row.id).max();
            entitlements.retain(|row| {
                sessions.iter().any(|session| session.entitlement_id == row.id)
                    || leases.iter().any(|lease| lease.entitlement_id == row.id)
                    || (sessions.is_empty() && leases.is_empty() && Some(row.id) == last)
            });
            let whole = Whole {
                sessions,
                leases,
                entitlements,
            };
            Left {
                row: held.row,
                whole,
                known_by: held.known_by,
                is_carried: held.is_carried,
            }
        })
    }
}

/// A figure plus more, as a column keeps it.
pub(crate) fn plus(figure: u64, more: u64) -> u64 {
    figure.saturating_add(more).min(LARGEST)
}
