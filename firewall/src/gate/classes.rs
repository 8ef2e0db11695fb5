//! Which session is in which shaping class.
//!
//! What a session's class is called is remembered with the session. Which queue that puts it in is in a map of its own: there the kernel keeps it
//! over a restart. When the classes of the configuration get other numbers the map is filled anew: a class that comes or goes moves sessions, and
//! ends none.

use std::collections::{BTreeMap, HashMap};
use std::io;

use kavadam_domain::ClassName;

use super::{Gate, Session, State};
use crate::netlink::{Batch, Entry, FAMILY_INET, SetEntry};
use crate::ruleset::{set, share};
use crate::session::Slot;
use crate::{FirewallError, Layout, ShapingClass};

impl Gate {
    /// Whether the line is shared by this class among others.
    #[must_use]
    pub fn has_class(&self, class: ClassName) -> bool {
        self.state().classes.0.contains_key(&class)
    }
}

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

    /// Takes over which classes there are, and puts every session where it belongs by them: those that are there already stay. That this cannot be
    /// done is told, and no more: who is online by whatever share is online.
    pub(super) fn follow_classes(&mut self, layout: &Layout) {
        let moved = self.move_sessions(Classes::of(&layout.classes));
        if let Err(error) = moved.map_err(FirewallError::kernel("put sessions into their classes")) {
            tracing::warn!(%error, "sessions share the uplink otherwise than by their classes");
        }
    }

    fn move_sessions(&mut self, mut classes: Classes) -> io::Result<()> {
        let are_some = self.sessions.values().any(|session| session.queue.is_some());
        if classes.is_empty() && !are_some {
            self.classes = classes;
            return Ok(());
        }
        let mut queues = HashMap::new();
        let mut has_moved = false;
        for (slot, session) in &self.sessions {
            let is_at = session.queue.and_then(share::class_of);
            let stays = is_at == classes.number(session.class);
            has_moved |= !stays;
            let queue = if stays {
                session.queue
            } else {
                classes.next_queue(session.class)
            };
            queues.insert(*slot, queue);
        }
        let entry = |(slot, queue): (&Slot, &Option<u32>)| {
            Some(SetEntry {
                key: slot.0.to_ne_bytes().to_vec(),
                value: Some((*queue)?.to_ne_bytes().to_vec()),
                ends_range: false,
            })
        };
        let entries: Vec<SetEntry> = queues.iter().filter_map(entry).collect();
        // Some may have ended while there were no classes, and left theirs behind.
        if has_moved || self.nft.all_elements(set::CLASSED)?.len() != entries.len() {
            let mut batch = self.nft.batch();
            batch
                .empty(FAMILY_INET, set::CLASSED)
                .entries(FAMILY_INET, set::CLASSED, &entries);
            self.nft.commit(batch)?;
        }
        self.classes = classes;
        for (slot, session) in &mut self.sessions {
            session.queue = queues.get(slot).copied().flatten();
        }
        Ok(())
    }
}
