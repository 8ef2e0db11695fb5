//! Which session is in which shaping class.
//!
//! What a session's class is called is remembered with the session. Which queue that puts it in is in a map of its own: there the kernel keeps it
//! over a restart. When the classes of the configuration get other numbers the sessions of those are moved: a class that comes or goes ends none.

use std::collections::BTreeMap;
use std::io;

use kavadam_domain::ClassName;

use super::{Gate, PAUSE, Session, State};
use crate::netlink::{Batch, Entry, FAMILY_INET};
use crate::ruleset::{set, share};
use crate::session::Slot;
use crate::{FirewallError, Layout, ShapingClass};

impl Gate {
    /// Whether the line is shared by this class among others.
    #[must_use]
    pub fn has_class(&self, class: ClassName) -> bool {
        self.state().classes.0.contains_key(&class)
    }

    /// Puts every session where it belongs, those that are there already stay: so many at a time, so that who logs in meanwhile, into the class that
    /// is his now, waits for no more than these.
    pub(super) fn place_sessions(&self) {
        let misplaced = self.state().misplaced();
        told(misplaced.chunks(TOGETHER).try_for_each(|some| {
            let placed = self.state().place(some);
            std::thread::sleep(PAUSE);
            placed
        }));
    }
}

/// Sessions that are moved while everybody else waits, some milliseconds.
const TOGETHER: usize = 256;

/// The classes that the rules have.
#[derive(Debug, Default)]
pub(super) struct Classes(BTreeMap<ClassName, Class>);

#[derive(Debug, Default)]
struct Class {
    /// From 1 on, in the order of the names.
    number: u32,
    /// Sessions that have been put into it: each gets the share after that of the one before.
    come: u32,
}

impl Classes {
    pub(super) fn of(classes: &BTreeMap<ClassName, ShapingClass>) -> Self {
        let numbered = classes.keys().zip(1..=share::CLASSES);
        let class = |number| Class { number, come: 0 };
        Self(numbered.map(|(name, number)| (*name, class(number))).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn number(&self, class: Option<ClassName>) -> Option<u32> {
        self.0.get(&class?).map(|class| class.number)
    }

    /// Where a session of this class waits for its turn; `None`: among those without a class.
    pub(super) fn next_queue(&mut self, class: Option<ClassName>) -> Option<u32> {
        let class = self.0.get_mut(&class?)?;
        let queue = share::in_class(class.number, class.come);
        class.come = class.come.wrapping_add(1);
        Some(queue)
    }
}

impl Session {
    pub(super) fn class_element(&self, slot: Slot) -> Option<(String, Vec<u8>)> {
        let key = || slot.0.to_ne_bytes().to_vec();
        self.queue.map(|_| (set::CLASSED.to_owned(), key()))
    }

    pub(super) fn add_class(&self, slot: Slot, batch: &mut Batch) {
        let Some(queue) = self.queue else { return };
        let entry = Entry {
            key: &slot.0.to_ne_bytes(),
            data: Some(&queue.to_ne_bytes()),
            ..Entry::default()
        };
        batch.add(set::CLASSED, &entry);
    }
}

impl State {
    /// Whether the sessions are where these classes would have them.
    pub(super) fn has_classes_of(&self, layout: &Layout) -> bool {
        self.classes.0.keys().eq(layout.classes.keys())
    }

    /// Puts every session where it belongs by the classes of this layout, while everybody else waits; what is left of others goes.
    pub(super) fn follow_classes(&mut self, layout: &Layout) {
        self.classes = Classes::of(&layout.classes);
        let misplaced = self.misplaced();
        let placed = misplaced.chunks(TOGETHER).try_for_each(|some| self.place(some));
        told(placed.and_then(|()| self.remove_leftovers()));
    }

    /// Takes over which classes there are; sessions stay where they are until [`Gate::place_sessions`].
    pub(super) fn take_classes(&mut self, layout: &Layout) {
        let are_first = self.classes.is_empty();
        self.classes = Classes::of(&layout.classes);
        if are_first {
            // Nobody is in one: what the set holds was left behind by who ended while there were none.
            told(self.empty_classed());
        }
    }

    fn empty_classed(&mut self) -> io::Result<()> {
        for session in self.sessions.values_mut() {
            session.queue = None;
        }
        let mut batch = self.nft.batch();
        batch.empty(FAMILY_INET, set::CLASSED);
        self.nft.commit(batch)
    }

    /// Sessions that do not wait in their class.
    fn misplaced(&self) -> Vec<Slot> {
        let is_elsewhere = |session: &Session| {
            let class = session.queue.and_then(share::class_of);
            class != self.classes.number(session.class)
        };
        let elsewhere = self.sessions.iter().filter(|(_, session)| is_elsewhere(session));
        elsewhere.map(|(slot, _)| *slot).collect()
    }

    /// Puts these into their classes, in one transaction; who has ended meanwhile is passed over.
    fn place(&mut self, slots: &[Slot]) -> io::Result<()> {
        let (mut placed, mut stale) = (Vec::new(), Vec::new());
        for slot in slots {
            if let Some(session) = self.sessions.get(slot) {
                stale.extend(session.class_element(*slot));
                let queue = self.classes.next_queue(session.class);
                placed.push((
                    *slot,
                    Session {
                        queue,
                        ..session.clone()
                    },
                ));
            }
        }
        let stale = self.those_there(stale)?;
        let mut batch = self.nft.batch();
        batch.gather();
        for (set, key) in &stale {
            batch.delete(set, key);
        }
        for (slot, session) in &placed {
            session.add_class(*slot, &mut batch);
        }
        self.nft.commit(batch)?;
        for (slot, session) in placed {
            self.sessions.insert(slot, session);
        }
        Ok(())
    }

    /// Sessions that ended while there were no classes have left theirs behind.
    fn remove_leftovers(&mut self) -> io::Result<()> {
        if self.classes.is_empty() {
            return Ok(());
        }
        let mut left: Vec<Vec<u8>> = self
            .nft
            .all_elements(set::CLASSED)?
            .into_iter()
            .map(|one| one.key)
            .collect();
        left.retain(|key| {
            let slot = key.as_slice().try_into().map(|mark| Slot(u32::from_ne_bytes(mark)));
            let session = slot.ok().and_then(|slot| self.sessions.get(&slot));
            session.is_none_or(|session| session.queue.is_none())
        });
        for keys in left.chunks(TOGETHER) {
            self.delete_if_there(keys.iter().map(|key| (set::CLASSED, key.clone())))?;
        }
        Ok(())
    }
}

/// That this cannot be done is told, and no more: who is online by whatever share is online.
fn told(followed: io::Result<()>) {
    if let Err(error) = followed.map_err(FirewallError::kernel("put sessions into their classes")) {
        tracing::warn!(%error, "sessions share the uplink otherwise than by their classes");
    }
}
