//! Putting right what somebody else did to the elements of our sets, where the table is not ours alone.
//!
//! **What is true?** What the kernel counts and what it has forgotten; what we know of who is online, how fast, and with which number. So an element
//! that is gone while others of its session are there is put back with their time; one whose meters are gone ends, as nobody knows what it carried;
//! and what belongs to no session is removed. A session of which nothing is left that would let a packet pass looks like one whose time ran out.
//!
//! **Nobody waits long.** Everything is read without holding up the gate, and so is out of date; whoever seems wrong is looked at again, a few at a time
//! and alone with the kernel, before anything is done about it.

mod leases;

use std::collections::{HashMap, HashSet};
use std::io;

use kavadam_domain::Mac;

use super::pools::{keep_spent, kernel_limit, limit_from_kernel};
use super::shown::{Finding, PASSAGE, Shown};
use super::{Gate, PAUSE, Session, State};
use crate::netlink::Quota;
use crate::ruleset::{members, set};
use crate::session::{Meter, PoolKey, Slot};
use crate::{FirewallError, Layout, Restored};

/// Differences that are named; of the others only how many there are.
const MOST_NAMED: usize = 20;
/// Sessions looked at again while everybody else waits.
const TOGETHER: usize = 64;

/// What to look at again.
struct Suspects {
    sessions: Vec<Slot>,
    strays: Vec<(&'static str, Vec<u8>)>,
    pools: Vec<PoolKey>,
}

impl Gate {
    /// Compares everything with what is remembered of it, and makes it so again. `None`: nothing was different. What cannot be mended is told in the
    /// log, keeps nothing else from being mended, and is tried again at the next look.
    pub(super) fn mend(&self, layout: &Layout) -> Option<Restored> {
        let (mut differences, mut lost) = (Vec::new(), Vec::new());
        if let Some(suspects) = self.heeding(|| self.look(layout)) {
            for strays in suspects.strays.chunks(TOGETHER) {
                differences.extend(self.heeding(|| self.state().remove_strays(strays)).unwrap_or_default());
                std::thread::sleep(PAUSE);
            }
            for slots in suspects.sessions.chunks(TOGETHER) {
                self.heeding(|| self.state().mend_sessions(slots, &mut differences, &mut lost));
                std::thread::sleep(PAUSE);
            }
            for pools in suspects.pools.chunks(TOGETHER) {
                let mended = pools
                    .iter()
                    .filter_map(|pool| self.heeding(|| self.state().mend_pool(*pool)));
                differences.extend(mended.flatten());
                std::thread::sleep(PAUSE);
            }
        }
        differences.extend(self.heeding(|| self.state().mend_numbers()).unwrap_or_default());
        differences.extend(self.heeding(|| self.mend_leases(layout)).unwrap_or_default());
        differences.extend(self.heeding(|| self.free_held(layout)).flatten());
        // What is in these sets is known without a look.
        self.heeding(|| self.state().fill_all(layout));
        let more = differences.len().saturating_sub(MOST_NAMED);
        differences.truncate(MOST_NAMED);
        if more > 0 {
            differences.push(format!("and {more} more"));
        }
        lost.sort();
        (!differences.is_empty()).then_some(Restored { differences, lost })
    }

    fn look(&self, layout: &Layout) -> Result<Suspects, FirewallError> {
        let (counters, filters) = {
            let state = self.state();
            let filters = state.filters.iter().map(|name| members(*name)).collect();
            (state.counters_in_use(), filters)
        };
        let (shown, quotas) =
            Shown::whole(layout, counters, filters).map_err(FirewallError::kernel("list sessions"))?;
        Ok(self.state().suspects(&shown, &quotas))
    }

    /// What a step came to; that it failed is told, and has everything looked at again.
    fn heeding<T>(&self, step: impl FnOnce() -> Result<T, FirewallError>) -> Option<T> {
        step()
            .inspect_err(|error| {
                tracing::warn!(%error, "cannot mend all that somebody else has changed");
                self.suspect();
            })
            .ok()
    }
}

impl State {
    /// Who is not as remembered, at a glance: what has changed since it was read is among them.
    fn suspects(&self, shown: &Shown, quotas: &HashMap<String, Quota>) -> Suspects {
        let is_wrong = |(slot, session): &(&Slot, &Session)| {
            shown.judge(**slot, &self.as_configured(session)) != Finding::Intact || shown.lacks_free(**slot, session)
        };
        let sessions = self.sessions.iter().filter(is_wrong).map(|(slot, _)| *slot).collect();
        let theirs = PASSAGE.into_iter().chain([set::TOTAL]);
        let there = theirs.flat_map(|set| shown.keys(set).map(move |key| (set, key)));
        let strays = there.filter(|(set, key)| !self.has_element(set, key));
        let strays = strays.map(|(set, key)| (set, key.clone())).collect();
        let pools = self.pools.iter().filter(|(_, pool)| !pool.slots.is_empty());
        let pools = pools.filter(|(key, pool)| {
            let meters = pool.slots.iter().map(|slot| shown.meter(*slot).total_octets());
            let used_octets = meters.fold(pool.spent_octets, u64::saturating_add);
            let limit_octets = kernel_limit(pool.limit_octets);
            let quota = quotas.get(&key.name());
            !quota.is_some_and(|quota| is_intact(quota, limit_octets, used_octets))
        });
        Suspects {
            sessions,
            strays,
            pools: pools.map(|(key, _)| *key).collect(),
        }
    }

    /// A filter that the configuration no longer has is nowhere; its session is about to end.
    fn as_configured(&self, session: &Session) -> Session {
        Session {
            filter: session.filter.filter(|name| self.filters.contains(name)),
            ..session.clone()
        }
    }

    /// Whether a session has this element.
    fn has_element(&self, set: &'static str, key: &[u8]) -> bool {
        let by_number = || key.try_into().ok().map(|mark| Slot(u32::from_ne_bytes(mark)));
        let by_device = || self.by_mac.get(&Mac(*key.first_chunk()?)).copied();
        let slot = if set == set::AUTH4 || set == set::AUTH6 {
            by_device()
        } else {
            by_number()
        };
        let session = slot.and_then(|slot| Some((slot, self.sessions.get(&slot)?)));
        session.is_some_and(|(slot, one)| {
            one.elements(slot)
                .iter()
                .any(|own| (own.0, own.1.as_slice()) == (set, key))
        })
    }

    fn mend_sessions(
        &mut self,
        slots: &[Slot],
        differences: &mut Vec<String>,
        lost: &mut Vec<Slot>,
    ) -> Result<(), FirewallError> {
        let known = slots
            .iter()
            .filter_map(|slot| Some((*slot, self.as_configured(self.sessions.get(slot)?))));
        let sessions: Vec<(Slot, Session)> = known.collect();
        let shown = Shown::of(&mut self.nft, &sessions).map_err(FirewallError::kernel("read sessions"))?;
        let (mut damaged, mut kept) = (Vec::new(), Ok(()));
        let mut are_uncounted = false;
        for (slot, session) in sessions {
            if shown.lacks_free(slot, &session) {
                differences.push(format!("what {slot} has moved free of charge was gone"));
                are_uncounted |= self.uncount_free(slot);
            }
            match shown.judge(slot, &session) {
                Finding::Intact => {}
                Finding::Damaged(sets, timeout_ms) => {
                    differences.push(format!("{slot} was not as it should be in {}", sets.join(", ")));
                    damaged.push((slot, session, timeout_ms));
                }
                Finding::Lost(set) => {
                    if let Err(error) = self.lose(slot, &session, shown.meter(slot)) {
                        kept = Err(error);
                        continue;
                    }
                    differences.push(format!("{slot} was gone from {set}"));
                    lost.push(slot);
                }
            }
        }
        if are_uncounted {
            self.count_free();
        }
        let put_back = self.put_back(&damaged, &shown);
        put_back.map_err(FirewallError::kernel("put sessions back")).and(kept)
    }

    /// Makes what lets sessions pass anew, in one transaction; their meters stay.
    fn put_back(&mut self, damaged: &[(Slot, Session, Option<u64>)], shown: &Shown) -> io::Result<()> {
        let mut batch = self.nft.batch();
        for (slot, session, timeout_ms) in damaged {
            for (set, key) in session.passage(*slot) {
                if shown.one(&set, &key).is_some() {
                    batch.delete(&set, &key);
                }
            }
            session.add_lim_up(*slot, self.burst_octets, &mut batch);
            session.add_lim_down(*slot, self.burst_octets, *timeout_ms, &mut batch);
            session.add_filter(*slot, &mut batch);
            session.add_class(*slot, &mut batch);
            session.add_gate(*slot, *timeout_ms, &mut batch);
        }
        match (self.nft.commit(batch), damaged) {
            // Its time ran out between the look and the change.
            (Err(error), [_]) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            (Err(_), [_, _, ..]) => damaged
                .iter()
                .try_for_each(|one| self.put_back(std::slice::from_ref(one), shown)),
            (result, _) => result,
        }
    }

    /// Ends a session that cannot be charged any more; what can still be read of it stays its pool's. In one transaction, so that what is tried again
    /// finds the same.
    fn lose(&mut self, slot: Slot, session: &Session, meter: Meter) -> Result<(), FirewallError> {
        let action = || FirewallError::kernel("remove what is left of a session");
        let mut batch = self.nft.batch();
        for (set, key) in self.those_there(session.all_elements(slot)).map_err(action())? {
            batch.delete(&set, &key);
        }
        self.leave_pools(&[(slot, meter)], &mut batch).map_err(action())?;
        self.nft.commit(batch).map_err(action())?;
        self.left_pool(slot, meter);
        self.discard(slot);
        Ok(())
    }

    /// Removes what would let somebody pass who is no session of ours, if it is still there.
    fn remove_strays(&mut self, strays: &[(&'static str, Vec<u8>)]) -> Result<Vec<String>, FirewallError> {
        let mut there = Vec::new();
        for (set, key) in strays {
            if self.has_element(set, key) {
                continue;
            }
            let shown = self
                .nft
                .elements(set, &[key])
                .map_err(FirewallError::kernel("read sessions"))?;
            if !shown.is_empty() {
                there.push((*set, key.clone()));
            }
        }
        self.delete_if_there(there.iter().cloned())
            .map_err(FirewallError::kernel("remove what belongs to no session"))?;
        let told = |(set, _): &(&str, _)| format!("{set} had an element of no session");
        Ok(there.iter().map(told).collect())
    }

    /// A quota that was set back or changed would let more pass than was granted.
    fn mend_pool(&mut self, key: PoolKey) -> Result<Option<String>, FirewallError> {
        let Some(pool) = self.pools.get(&key).filter(|pool| !pool.slots.is_empty()) else {
            return Ok(None);
        };
        let limit_octets = kernel_limit(pool.limit_octets);
        // Read first, so that what passes meanwhile makes no difference.
        let used_octets = self.pool_used(key)?;
        let quota = self
            .nft
            .quota(&key.name())
            .map_err(FirewallError::kernel("read a quota"))?;
        if is_intact(&quota, limit_octets, used_octets) {
            return Ok(None);
        }
        let wanted = limit_from_kernel(limit_octets);
        self.exchange_closed(key, limit_octets).inspect_err(|_| {
            // It is closed now, and that is not what it should be: the next look finds it so.
            self.pools.entry(key).and_modify(|pool| pool.limit_octets = wanted);
        })?;
        Ok(Some(format!("{key} had another limit, or was set back")))
    }

    /// The first number that was never used, and what ended sessions have left in their pools.
    fn mend_numbers(&mut self) -> Result<Vec<String>, FirewallError> {
        let action = || FirewallError::kernel("keep what sessions have left");
        let mut differences = Vec::new();
        let mut batch = self.nft.batch();
        let shown = self.nft.all_elements(set::RESERVED).map_err(action())?;
        if shown.is_empty() && self.numbers.has_reserved() {
            self.numbers.forget_reserved();
            differences.push(format!("{} was empty", set::RESERVED));
        }
        let reserved = self.numbers.reserve(&mut batch);
        let shown = self.nft.all_elements(set::SPENT).map_err(action())?;
        let shown: HashSet<Vec<u8>> = shown.into_iter().map(|one| one.key).collect();
        for (key, pool) in self.pools.iter().filter(|(_, pool)| pool.spent_octets > 0) {
            if !shown.contains(key.0.to_ne_bytes().as_slice()) {
                keep_spent(*key, pool.spent_octets, &mut batch);
                differences.push(format!("{key} was gone from {}", set::SPENT));
            }
        }
        self.nft.commit(batch).map_err(action())?;
        self.numbers.committed(reserved);
        Ok(differences)
    }
}

/// Whether a quota has its limit, and knows of at least what was used.
fn is_intact(quota: &Quota, limit_octets: u64, used_octets: u64) -> bool {
    quota.limit_octets == limit_octets && quota.used_octets >= used_octets.min(limit_octets)
}
