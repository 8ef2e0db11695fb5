//! Sessions changed, those of the same moment in one transaction: deleted and added, since elements cannot be changed.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::open::same;
use super::sessions::{millis, octets_per_sec};
use super::{Gate, MOST_TOGETHER, Session, State};
use crate::FirewallError;
use crate::netlink::{Batch, Refused};
use crate::ruleset::set;
use crate::session::{SessionLimits, Slot, remember};

/// Who has less than this to live is as good as gone: it might be, before the kernel is told.
const ALMOST_EXPIRED_MS: u64 = 5;

/// A session as it is to be.
pub(super) struct Change {
    slot: Slot,
    new: Session,
    end: End,
}

/// When the kernel ends a session.
#[derive(Clone, Copy)]
enum End {
    AsBefore,
    In(Option<Duration>),
}

impl Gate {
    /// Holds sessions to these speeds, ends and filters, those that can be together in one transaction; their connections go on. Tells which could not be, and why.
    ///
    /// # Errors
    /// For each: [`FirewallError::UnknownSlot`], [`FirewallError::UnknownFilter`], [`FirewallError::Expired`], [`FirewallError::Kernel`]; then
    /// nothing has changed of it.
    pub fn limit_all(&self, wanted: &BTreeMap<Slot, SessionLimits>) -> Vec<(Slot, FirewallError)> {
        self.change_all(wanted, State::limited)
    }

    /// Sets the times from now to the forced ends of sessions, those that can be together in one transaction; `None` takes the end away. Tells which could not
    /// be, and why.
    ///
    /// # Errors
    /// For each: [`FirewallError::UnknownSlot`], [`FirewallError::Expired`], [`FirewallError::Kernel`].
    pub fn set_timeouts(&self, wanted: &BTreeMap<Slot, Option<Duration>>) -> Vec<(Slot, FirewallError)> {
        self.change_all(wanted, |state, slot, timeout| {
            Ok(Change {
                slot,
                new: state.session(slot)?.clone(),
                end: End::In(*timeout),
            })
        })
    }

    fn change_all<T>(
        &self,
        wanted: &BTreeMap<Slot, T>,
        change: impl Fn(&mut State, Slot, &T) -> Result<Change, FirewallError>,
    ) -> Vec<(Slot, FirewallError)> {
        let mut failed = Vec::new();
        let mut wanted = wanted.iter().peekable();
        while wanted.peek().is_some() {
            let mut state = self.state();
            let mut changes = Vec::new();
            for (slot, wanted) in wanted.by_ref().take(MOST_TOGETHER) {
                match change(&mut state, *slot, wanted) {
                    Ok(change) => changes.push(change),
                    Err(error) => failed.push((*slot, error)),
                }
            }
            failed.extend(state.change_together(changes));
        }
        self.heed_missing(failed.iter().map(|(_, error)| error));
        failed
    }

    /// Sets the time from now to the forced end; `None` takes the end away.
    ///
    /// # Errors
    /// [`FirewallError::UnknownSlot`], [`FirewallError::Expired`], [`FirewallError::Kernel`].
    pub fn set_timeout(&self, slot: Slot, timeout: Option<Duration>) -> Result<(), FirewallError> {
        let failed = self.set_timeouts(&BTreeMap::from([(slot, timeout)])).pop();
        failed.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Gives a session another IPv4 address, as when DHCP gave its device one, or none.
    ///
    /// # Errors
    /// [`FirewallError::UnknownSlot`], [`FirewallError::Expired`], [`FirewallError::AddressTaken`],
    /// [`FirewallError::Kernel`].
    pub fn set_ipv4(&self, slot: Slot, ipv4: Option<Ipv4Addr>) -> Result<(), FirewallError> {
        let moved = self.state().set_ipv4(slot, ipv4);
        self.heed_missing(moved.as_ref().err());
        moved
    }
}

/// Whether the kernel objects to an element, and would not to another session's.
fn is_about_one(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EEXIST))
}

fn unchanged(error: &io::Error) -> FirewallError {
    FirewallError::kernel("change a session")(same(error))
}

impl Session {
    /// Whether what its plan names is not the same.
    fn is_named_otherwise(&self, new: &Self) -> bool {
        (self.filter, self.class, self.queue) != (new.filter, new.class, new.queue)
    }
}

impl State {
    fn limited(&mut self, slot: Slot, limits: &SessionLimits) -> Result<Change, FirewallError> {
        self.require_filter(limits.filter)?;
        let old = self.session(slot)?.clone();
        let queue = if old.class == limits.class {
            old.queue
        } else {
            self.classes.next_queue(limits.class)
        };
        let new = Session {
            up: octets_per_sec(limits.up_bits_per_sec),
            down: octets_per_sec(limits.down_bits_per_sec),
            filter: limits.filter,
            class: limits.class,
            queue,
            ..old
        };
        Ok(Change {
            slot,
            new,
            end: End::In(limits.timeout),
        })
    }

    fn set_ipv4(&mut self, slot: Slot, ipv4: Option<Ipv4Addr>) -> Result<(), FirewallError> {
        let old = self.session(slot)?.clone();
        if old.ipv4 == ipv4 {
            return Ok(());
        }
        self.require_free(Some(slot), None, ipv4)?;
        let pins: Vec<_> = ipv4.map(|ipv4| (ipv4, old.mac)).into_iter().collect();
        self.neighbours.pin(&pins).map_err(|error| self.untied(error))?;
        if let Err(error) = self.replace(slot, Session { ipv4, ..old.clone() }) {
            self.release(ipv4.as_slice());
            return Err(error);
        }
        self.release(old.ipv4.as_slice());
        if let Some(address) = old.ipv4 {
            self.by_ipv4.remove(&address);
        }
        if let Some(address) = ipv4 {
            self.by_ipv4.insert(address, slot);
        }
        Ok(())
    }

    /// Puts another version of a session in its place, its end as before.
    pub(super) fn replace(&mut self, slot: Slot, new: Session) -> Result<(), FirewallError> {
        let end = End::AsBefore;
        let failed = self.change_together(vec![Change { slot, new, end }]).pop();
        failed.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Puts other versions of sessions in their places, each slot at most once. Tells which could not be, and why.
    fn change_together(&mut self, changes: Vec<Change>) -> Vec<(Slot, FirewallError)> {
        let (mut left, mut failed) = (changes, Vec::new());
        let mut is_gathered = left.len() > 1;
        while !left.is_empty() {
            match self.try_changes(is_gathered, &mut left, &mut failed) {
                Ok(()) => {
                    for Change { slot, new, .. } in left.drain(..) {
                        self.filtered.set(new.mac, new.filter);
                        self.sessions.insert(slot, new);
                    }
                }
                // It says no more than that some session cannot be changed: then once more, session by session.
                Err(_) if is_gathered => is_gathered = false,
                Err((refused, Some(at))) if is_about_one(&refused.error) => {
                    let slot = left.remove(at).slot;
                    failed.push((slot, self.unchanged(slot, &refused.error)));
                }
                Err((refused, _)) => {
                    failed.extend(left.drain(..).map(|change| (change.slot, unchanged(&refused.error))));
                }
            }
        }
        failed
    }

    /// Why a session was not changed: it may have expired between the look and the change, or somebody else has changed its elements.
    fn unchanged(&mut self, slot: Slot, error: &io::Error) -> FirewallError {
        match self.by_slot(set::LIM_DOWN, &[slot]) {
            Ok(online) if online.is_empty() => FirewallError::Expired(slot),
            _ => unchanged(error),
        }
    }

    /// Moves those that are gone from `left` to `failed`, and carries out the rest. What was refused comes with the place of the change that it is about.
    fn try_changes(
        &mut self,
        is_gathered: bool,
        left: &mut Vec<Change>,
        failed: &mut Vec<(Slot, FirewallError)>,
    ) -> Result<(), (Refused, Option<usize>)> {
        let unread = |error: io::Error| (Refused::from(error), None);
        let slots: Vec<Slot> = left.iter().map(|change| change.slot).collect();
        let online = self.by_slot(set::LIM_DOWN, &slots).map_err(unread)?;
        let is_there = |slot: Slot| {
            let left = online.get(&slot).map(|element| element.expires_ms);
            left.is_some_and(|ms| ms.is_none_or(|ms| ms >= ALMOST_EXPIRED_MS))
        };
        for change in left.extract_if(.., |change| !is_there(change.slot)) {
            failed.push((change.slot, FirewallError::Expired(change.slot)));
        }
        let named = self.named_anew(left).map_err(unread)?;
        let mut batch = self.nft.batch();
        if is_gathered {
            batch.gather();
        }
        let mut numbers = Vec::new();
        for change in &*left {
            numbers.push(batch.next_number());
            let expires_ms = online.get(&change.slot).and_then(|element| element.expires_ms);
            let written = self.write_change(change, expires_ms, &named, &mut batch);
            written.map_err(|error| unread(io::Error::other(error)))?;
        }
        let end = batch.next_number();
        self.nft.commit_or_tell(batch).map_err(|refused| {
            let about = refused.number.filter(|number| *number < end);
            let at = about.and_then(|number| numbers.partition_point(|first| *first <= number).checked_sub(1));
            (refused, at)
        })
    }

    /// Which elements there are of the filters and classes that change. Of one that the configuration no longer has the sets may be there, or not.
    fn named_anew(&mut self, changes: &[Change]) -> io::Result<HashSet<(String, Vec<u8>)>> {
        let mut keys = Vec::new();
        for Change { slot, new, .. } in changes {
            if let Some(old) = self.sessions.get(slot).filter(|old| old.is_named_otherwise(new)) {
                keys.extend(old.named_elements(*slot));
            }
        }
        self.those_there(keys)
    }

    fn write_change(
        &self,
        change: &Change,
        expires_ms: Option<u64>,
        named: &HashSet<(String, Vec<u8>)>,
        batch: &mut Batch,
    ) -> Result<(), FirewallError> {
        let Change { slot, new, end } = change;
        let old = self.session(*slot)?;
        // Before anything of it is in the batch.
        remember(new.mac, new.ipv4, (new.filter, new.class), &new.label)?;
        let is_named_anew = old.is_named_otherwise(new);
        let timeout_ms = match end {
            End::AsBefore => expires_ms,
            End::In(timeout) => timeout.map(millis),
        };
        let mark = slot.0.to_ne_bytes();
        for (set, key) in old.expiring(*slot) {
            batch.delete(set, &key);
        }
        new.add_lim_down(*slot, self.burst_octets, timeout_ms, batch);
        new.add_gate(*slot, timeout_ms, batch);
        // One that stays keeps its bucket as it is.
        if old.up != new.up {
            batch.delete(set::LIM_UP, &mark);
            new.add_lim_up(*slot, self.burst_octets, batch);
        }
        if is_named_anew {
            let stale = old.named_elements(*slot).into_iter();
            for (set, key) in stale.filter(|one| named.contains(one)) {
                batch.delete(&set, &key);
            }
            new.add_filter(*slot, batch);
            new.add_class(*slot, batch);
        }
        if old.ipv4 != new.ipv4 || is_named_anew {
            batch.delete(set::TOTAL, &mark);
            new.add_total(*slot, batch)?;
        }
        Ok(())
    }
}
