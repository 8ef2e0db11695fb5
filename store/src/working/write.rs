//! Writing what changed, in a few statements for however many rows.

use std::collections::HashMap;
use std::hash::Hash;

use kavadam_domain::SubscriberId;
use kavadam_domain::session::SessionState;

use super::change::Change;
use super::{Fate, Tracked, Working, pick};
use crate::bulk::tables;
use crate::together::Into;
use crate::{EntitlementRow, LeaseRow, Result, SessionRow, VendorRow};

impl Working {
    /// Writes what changed.
    pub(crate) fn write(&mut self, into: &mut Into<'_>) -> Result<()> {
        if self.changed_sessions.is_empty() && self.changed_leases.is_empty() && self.changed_entitlements.is_empty() {
            return self.write_vendors(into);
        }
        self.write_allowances(into)?;
        self.write_sessions(into)?;
        self.write_vendors(into)?;
        for id in self.changed_sessions.drain(..) {
            self.sessions.entry(id).and_modify(|tracked| tracked.fate = Fate::Same);
        }
        for id in self.changed_leases.drain(..) {
            self.leases.entry(id).and_modify(|tracked| tracked.fate = Fate::Same);
        }
        for id in self.changed_entitlements.drain(..) {
            self.entitlements
                .entry(id)
                .and_modify(|tracked| tracked.fate = Fate::Same);
        }
        Ok(())
    }

    /// Entitlements and leases, without what is pending in sessions.
    fn write_allowances(&self, into: &mut Into<'_>) -> Result<()> {
        let pending = |owner: SubscriberId, is_theirs: &dyn Fn(&SessionRow) -> bool| -> u64 {
            let sessions = self
                .held
                .get(&owner)
                .map(|held| held.sessions.as_slice())
                .unwrap_or_default();
            let theirs = pick!(self.sessions, sessions).filter(|row| is_theirs(row));
            theirs.map(|row| row.pending_octets).sum()
        };
        let bare = |row: &&EntitlementRow| {
            let octets = pending(row.subscriber_id, &|session| session.entitlement_id == row.id);
            EntitlementRow {
                used_octets: row.used_octets.saturating_sub(octets),
                ..(*row).clone()
            }
        };
        let (new, changed) = parted(&self.entitlements, &self.changed_entitlements);
        let (new, changed): (Vec<_>, Vec<_>) = (new.iter().map(bare).collect(), changed.iter().map(bare).collect());
        tables::insert_entitlements(into, &new.iter().collect::<Vec<_>>())?;
        tables::update_entitlements(into, &changed.iter().collect::<Vec<_>>())?;
        let bare = |row: &&LeaseRow| {
            let octets = pending(row.subscriber_id, &|session| session.lease_id == Some(row.id));
            LeaseRow {
                used_octets: row.used_octets.saturating_sub(octets),
                ..(*row).clone()
            }
        };
        let (new, changed) = parted(&self.leases, &self.changed_leases);
        let (new, changed): (Vec<_>, Vec<_>) = (new.iter().map(bare).collect(), changed.iter().map(bare).collect());
        tables::insert_leases(into, &new.iter().collect::<Vec<_>>())?;
        tables::update_leases(into, &changed.iter().collect::<Vec<_>>())
    }

    /// An ended session leaves its name to another: ends come first.
    fn write_sessions(&self, into: &mut Into<'_>) -> Result<()> {
        let (new, changed) = parted(&self.sessions, &self.changed_sessions);
        let mut of = Statements::default();
        for row in changed {
            let Some(Fate::Changed(change)) = self.sessions.get(&row.id).map(|it| it.fate) else {
                continue;
            };
            let is_ended = row.state == SessionState::Ended;
            let rows = match change {
                change if change.is_within(Change::COUNTERS) => &mut of.counters,
                change if change.is_within(Change::METERS) => &mut of.meters,
                change if change.is_within(Change::METERS | Change::TERMS) => &mut of.terms,
                change if change.is_within(Change::END) => of.ends.at(is_ended),
                change if change.has(Change::REST) => of.all.at(is_ended),
                _ => of.moved_ends.at(is_ended),
            };
            rows.push(row);
        }
        let (fresh, other): (Vec<&SessionRow>, Vec<&SessionRow>) = new.into_iter().partition(|row| row.is_fresh());
        tables::update_counters(into, &of.counters)?;
        tables::update_meters(into, &of.meters)?;
        tables::settle_sessions(into, &of.terms)?;
        tables::end_sessions(into, &of.ends.over)?;
        tables::end_moved_sessions(into, &of.moved_ends.over)?;
        tables::update_sessions(into, &of.all.over)?;
        tables::end_sessions(into, &of.ends.live)?;
        tables::end_moved_sessions(into, &of.moved_ends.live)?;
        tables::update_sessions(into, &of.all.live)?;
        tables::insert_fresh_sessions(into, &fresh)?;
        tables::insert_sessions(into, &other)
    }

    fn write_vendors(&mut self, into: &mut Into<'_>) -> Result<()> {
        let mut rows: Vec<&VendorRow> = self.vendors.values().collect();
        rows.sort_unstable_by_key(|row| row.session_id);
        tables::upsert_vendors(into, &rows)?;
        self.vendors.clear();
        Ok(())
    }
}

/// The new ones, and the others that changed. In the order of their identifiers, so that everybody writes them in one order.
fn parted<'a, I: Copy + Eq + Hash + Ord, R>(
    rows: &'a HashMap<I, Tracked<R>>,
    changed: &[I],
) -> (Vec<&'a R>, Vec<&'a R>) {
    let mut changed = changed.to_vec();
    changed.sort_unstable();
    changed.dedup();
    let tracked = changed.iter().filter_map(|id| rows.get(id));
    let (new, old): (Vec<_>, Vec<_>) = tracked.partition(|tracked| tracked.fate == Fate::New);
    let rows = |part: Vec<&'a Tracked<R>>| part.into_iter().map(|tracked| &tracked.row).collect();
    (rows(new), rows(old))
}

/// Sessions by the statement that writes what changed of them.
#[derive(Default)]
struct Statements<'a> {
    counters: Vec<&'a SessionRow>,
    meters: Vec<&'a SessionRow>,
    terms: Vec<&'a SessionRow>,
    ends: ByEnd<'a>,
    moved_ends: ByEnd<'a>,
    all: ByEnd<'a>,
}

#[derive(Default)]
struct ByEnd<'a> {
    over: Vec<&'a SessionRow>,
    live: Vec<&'a SessionRow>,
}

impl<'a> ByEnd<'a> {
    const fn at(&mut self, is_ended: bool) -> &mut Vec<&'a SessionRow> {
        if is_ended { &mut self.over } else { &mut self.live }
    }
}
