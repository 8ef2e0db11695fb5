//! Sessions made, those of the same moment in one transaction.

use std::collections::BTreeMap;
use std::io;

use super::sessions::{millis, octets_per_sec};
use super::{Session, State, pools};
use crate::FirewallError;
use crate::netlink::{Batch, Entry, Quota, Refused};
use crate::session::{OpenSession, Slot, remember};

/// What the kernel refuses it takes back only after some 30 ms, so that a few must do.
const MOST_ATTEMPTS: u32 = 8;

/// A session in a batch that is not committed.
struct Draft {
    /// Of its first message.
    number: u32,
    /// Its place among the questions.
    at: usize,
    slot: Slot,
}

/// Why a batch of sessions was not opened.
enum Unopened {
    Untied(io::Error),
    Refused(Refused),
}

impl Unopened {
    /// Those drafts that it is about: whose element is there already, or for which and those after there is no room; all, if it is about no draft.
    /// `end` is the number after the last message of theirs.
    fn concerned<'a>(&self, drafts: &'a [Draft], end: u32) -> &'a [Draft] {
        let Self::Refused(Refused {
            error,
            number: Some(number),
        }) = self
        else {
            return drafts;
        };
        if *number >= end {
            return drafts;
        }
        let after = drafts.partition_point(|one| one.number <= *number);
        let first = after.saturating_sub(1);
        let concerned = match error.raw_os_error() {
            Some(libc::EEXIST) => drafts.get(first..after),
            Some(libc::ENFILE) => drafts.get(first..),
            _ => None,
        };
        concerned.filter(|some| !some.is_empty()).unwrap_or(drafts)
    }
}

/// An error again, for another who met it.
pub(super) fn same(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

impl State {
    /// Opens these in one transaction. Those that the kernel does not take are left out of the next one, a few times. The answers are in the order of
    /// the questions.
    pub(super) fn open_together(&mut self, opens: &[OpenSession]) -> Vec<Result<Slot, FirewallError>> {
        let mut answers = BTreeMap::new();
        for attempt in 0..MOST_ATTEMPTS {
            let mut batch = self.nft.batch();
            // It says no more than that some session cannot be opened: then once more, session by session.
            let is_gathered = attempt == 0 && opens.len() > 1;
            if is_gathered {
                batch.gather();
            }
            // Whom we refuse ourselves, perhaps for the sake of a draft that comes to nothing.
            let (mut drafts, mut refused) = (Vec::new(), Vec::new());
            for (at, open) in opens.iter().enumerate() {
                if answers.contains_key(&at) {
                    continue;
                }
                let number = batch.next_number();
                match self.draft(open, &mut batch) {
                    Ok(slot) => drafts.push(Draft { number, at, slot }),
                    Err(error) => refused.push((at, Err(error))),
                }
            }
            let end = batch.next_number();
            match self.carry_out(&drafts, batch) {
                Ok(()) => {
                    answers.extend(drafts.iter().map(|one| (one.at, Ok(one.slot))));
                    answers.extend(refused);
                    break;
                }
                Err(unopened) => {
                    for one in &drafts {
                        self.discard(one.slot);
                    }
                    let left_out = unopened.concerned(&drafts, end).iter().filter(|_| !is_gathered);
                    answers.extend(left_out.map(|one| (one.at, Err(self.refusal(&unopened)))));
                }
            }
        }
        let mut each = Vec::new();
        for (at, open) in opens.iter().enumerate() {
            let answer = match answers.remove(&at) {
                Some(answer) => answer,
                // Left over, as too many others were refused: by itself.
                None if opens.len() > 1 => self.open_one(open),
                None => Err(FirewallError::kernel("open a session")(
                    io::ErrorKind::ResourceBusy.into(),
                )),
            };
            each.push(answer);
        }
        each
    }

    fn open_one(&mut self, open: &OpenSession) -> Result<Slot, FirewallError> {
        let opened = self.open_together(std::slice::from_ref(open)).pop();
        opened.unwrap_or(Err(FirewallError::UnknownPool(open.pool)))
    }

    /// Ties the drafts' addresses to their devices, then opens them.
    fn carry_out(&mut self, drafts: &[Draft], mut batch: Batch) -> Result<(), Unopened> {
        let sessions = drafts.iter().filter_map(|one| self.sessions.get(&one.slot));
        let pins: Vec<_> = sessions.filter_map(|one| Some((one.ipv4?, one.mac))).collect();
        self.neighbours.pin(&pins).map_err(Unopened::Untied)?;
        let reserved = self.numbers.reserve(&mut batch);
        self.nft.commit_or_tell(batch).map_err(Unopened::Refused)?;
        self.numbers.committed(reserved);
        Ok(())
    }

    fn refusal(&self, unopened: &Unopened) -> FirewallError {
        match unopened {
            Unopened::Untied(error) => self.untied(same(error)),
            Unopened::Refused(refused) => match refused.error.raw_os_error() {
                Some(libc::ENFILE) => FirewallError::Full(self.max_sessions),
                _ => FirewallError::kernel("open a session")(same(&refused.error)),
            },
        }
    }

    /// Adds a session's elements to the batch, and remembers it as if they were there already: so those in one batch know of each other.
    fn draft(&mut self, open: &OpenSession, batch: &mut Batch) -> Result<Slot, FirewallError> {
        self.require_free(None, Some(open.mac), open.ipv4)?;
        // The kernel would say so too, but takes its time to refuse.
        if u32::try_from(self.sessions.len()).is_ok_and(|present| present >= self.max_sessions) {
            return Err(FirewallError::Full(self.max_sessions));
        }
        self.require_filter(open.filter)?;
        let pool = self
            .pools
            .get(&open.pool)
            .ok_or(FirewallError::UnknownPool(open.pool))?;
        let pool_limit = pool.slots.is_empty().then_some(pool.limit_octets);
        // Before anything of it is in the batch.
        remember(open.mac, open.ipv4, (open.filter, open.class), &open.label)?;
        let slot = Slot(self.numbers.take()?);
        let session = Session {
            mac: open.mac,
            ipv4: open.ipv4,
            pool: open.pool,
            up: octets_per_sec(open.up_bits_per_sec),
            down: octets_per_sec(open.down_bits_per_sec),
            filter: open.filter,
            class: open.class,
            queue: self.classes.next_queue(open.class),
            label: open.label.clone(),
            counts_free: self.counts_free,
        };
        if let Some(limit) = pool_limit {
            let limit_octets = pools::kernel_limit(limit);
            batch.quota(&Quota {
                name: open.pool.name(),
                limit_octets,
                used_octets: 0,
            });
        }
        session.add_total(slot, batch)?;
        for counters in session.counters() {
            // With a counter at nought, which the set gives it: to read one from the message takes the kernel longer.
            let entry = Entry {
                key: &slot.0.to_ne_bytes(),
                ..Entry::default()
            };
            batch.add(counters, &entry);
        }
        let timeout_ms = open.timeout.map(millis);
        session.add_lim_up(slot, self.burst_octets, batch);
        session.add_lim_down(slot, self.burst_octets, timeout_ms, batch);
        session.add_filter(slot, batch);
        session.add_class(slot, batch);
        session.add_gate(slot, timeout_ms, batch);

        self.pools.entry(open.pool).or_default().slots.insert(slot);
        self.index(slot, &session);
        self.filtered.set(session.mac, session.filter);
        self.sessions.insert(slot, session);
        Ok(slot)
    }
}
