//! Quotas, exact to the octet while everything flows.
//!
//! A pool's object holds the limit and the use since the pool was made; both only ever mean that. The kernel adds a packet
//! to the use *before* it compares, so the packet that is refused, and all after it, spoil the figure: it is exact only
//! until the first refusal. The meters behind the quota count only what passed, hence:
//!
//! - **used** is always Σ meters of the pool's slots + what ended sessions left in `spent`, never the object's figure;
//! - **a new limit** is set on the object in place (one message, no packet lost). If even after that the use is below the
//!   old limit and the new, no packet can have been refused and the figure is good. If it is not, it may be spoilt: the
//!   pool is closed for some 50 µs by a limit of 0 (nothing passes, so the meters stand still), the meters are read, and
//!   one transaction exchanges the object for one with the new limit and the true use.
//!
//! Kernels differ on the packet that fills a quota exactly (6.18 lets it pass, older ones do not); none passes beyond.

use std::collections::BTreeMap;
use std::io;

use super::{MOST_TOGETHER, Pool, State};
use crate::FirewallError;
use crate::netlink::{Batch, Counter, Entry, Quota};
use crate::ruleset::set;
use crate::session::{Meter, PoolKey, Slot};

/// The kernel's largest quota, which stands for none.
const UNLIMITED: u64 = i64::MAX.unsigned_abs();

/// A limit as the kernel has it.
pub(super) fn kernel_limit(limit_octets: Option<u64>) -> u64 {
    limit_octets.map_or(UNLIMITED, |octets| octets.min(UNLIMITED))
}

/// A limit as the kernel has it, back.
pub(super) fn limit_from_kernel(limit_octets: u64) -> Option<u64> {
    (limit_octets < UNLIMITED).then_some(limit_octets)
}

impl State {
    pub(super) fn create_pool(&mut self, limit_octets: Option<u64>) -> Result<PoolKey, FirewallError> {
        let key = PoolKey(self.numbers.take()?);
        self.pools.insert(
            key,
            Pool {
                limit_octets,
                ..Pool::default()
            },
        );
        Ok(key)
    }

    fn pool(&mut self, key: PoolKey) -> Result<&mut Pool, FirewallError> {
        self.pools.get_mut(&key).ok_or(FirewallError::UnknownPool(key))
    }

    pub(super) fn set_pool_limit(&mut self, key: PoolKey, limit_octets: Option<u64>) -> Result<(), FirewallError> {
        let pool = self.pool(key)?;
        let old = kernel_limit(pool.limit_octets);
        if !pool.slots.is_empty() {
            self.set_object_limit(key, old, kernel_limit(limit_octets))?;
        }
        self.pool(key)?.limit_octets = limit_octets;
        Ok(())
    }

    /// Limits written in one transaction, then each looked at. If they cannot be, each by itself.
    pub(super) fn set_pool_limits(&mut self, limits: &BTreeMap<PoolKey, Option<u64>>) -> Vec<(PoolKey, FirewallError)> {
        let mut failed = Vec::new();
        let limits: Vec<(PoolKey, Option<u64>)> = limits.iter().map(|(key, limit)| (*key, *limit)).collect();
        for some in limits.chunks(MOST_TOGETHER) {
            let spoilt = self.write_limits(some).unwrap_or_else(|_| some.to_vec());
            for (key, limit_octets) in spoilt {
                if let Err(error) = self.set_pool_limit(key, limit_octets) {
                    failed.push((key, error));
                }
            }
        }
        failed
    }

    /// Gives back those that it did not bring to an end.
    fn write_limits(&mut self, limits: &[(PoolKey, Option<u64>)]) -> io::Result<Vec<(PoolKey, Option<u64>)>> {
        let mut batch = self.nft.batch();
        let (mut written, mut names, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for (key, limit_octets) in limits {
            match self.pools.get(key) {
                Some(pool) if !pool.slots.is_empty() => {
                    names.push(key.name());
                    batch.quota(&Quota {
                        name: key.name(),
                        limit_octets: kernel_limit(*limit_octets),
                        used_octets: 0,
                    });
                    written.push((*key, *limit_octets));
                }
                _ => left.push((*key, *limit_octets)),
            }
        }
        self.nft.commit(batch)?;
        let shown = self.nft.quotas(&names)?;
        for ((key, limit_octets), shown) in written.into_iter().zip(shown) {
            match self.pools.get_mut(&key) {
                Some(pool) if shown.used_octets < kernel_limit(pool.limit_octets).min(kernel_limit(limit_octets)) => {
                    pool.limit_octets = limit_octets;
                }
                _ => left.push((key, limit_octets)),
            }
        }
        Ok(left)
    }

    fn set_object_limit(&mut self, key: PoolKey, old: u64, new: u64) -> Result<(), FirewallError> {
        self.write_limit(key, new)?;
        let shown = self
            .nft
            .quota(&key.name())
            .map_err(FirewallError::kernel("read a quota"))?;
        if shown.used_octets >= old.min(new) {
            self.exchange_closed(key, new)?;
        }
        Ok(())
    }

    /// Nothing passes meanwhile, so that the meters stand still.
    pub(super) fn exchange_closed(&mut self, key: PoolKey, new: u64) -> Result<(), FirewallError> {
        self.write_limit(key, 0)?;
        // Should the rest fail, the pool stays closed, and the next attempt knows that its figure is spoilt.
        self.pool(key)?.limit_octets = Some(0);
        let used_octets = self.pool_used(key)?;
        self.exchange(key, new, used_octets)?;
        self.pool(key)?.limit_octets = limit_from_kernel(new);
        Ok(())
    }

    fn write_limit(&mut self, key: PoolKey, limit_octets: u64) -> Result<(), FirewallError> {
        let mut batch = self.nft.batch();
        // What the message says of the use is ignored for an object that exists.
        batch.quota(&Quota {
            name: key.name(),
            limit_octets,
            used_octets: 0,
        });
        self.nft.commit(batch).map_err(FirewallError::kernel("set a quota"))
    }

    fn exchange(&mut self, key: PoolKey, limit_octets: u64, used_octets: u64) -> Result<(), FirewallError> {
        // The kernel takes no object that is more than used up.
        let used_octets = used_octets.min(limit_octets);
        let slots = self.pool(key)?.slots.clone();
        let name = key.name();
        let mut batch = self.nft.batch();
        for slot in &slots {
            batch.delete(set::TOTAL, &slot.0.to_ne_bytes());
        }
        batch.delete_quota(&name).quota(&Quota {
            name: name.clone(),
            limit_octets,
            used_octets,
        });
        for slot in &slots {
            if let Some(session) = self.sessions.get(slot) {
                session.add_total(*slot, &mut batch)?;
            }
        }
        self.nft
            .commit(batch)
            .map_err(FirewallError::kernel("exchange a quota"))
    }

    pub(super) fn pool_used(&mut self, key: PoolKey) -> Result<u64, FirewallError> {
        let pool = self.pool(key)?;
        let spent = pool.spent_octets;
        let slots: Vec<Slot> = pool.slots.iter().copied().collect();
        let meters = self.read_charged(&slots)?;
        Ok(meters
            .iter()
            .fold(spent, |sum, (_, meter)| sum.saturating_add(meter.total_octets())))
    }

    pub(super) fn pools_used_up(&mut self) -> Result<Vec<PoolKey>, FirewallError> {
        let quotas = self.nft.all_quotas().map_err(FirewallError::kernel("list quotas"))?;
        let used_up = quotas
            .into_iter()
            .filter(|quota| quota.used_octets >= quota.limit_octets);
        Ok(used_up.filter_map(|quota| PoolKey::from_name(&quota.name)).collect())
    }

    /// Adds to the batch that removes sessions what keeps their octets charged to their pools, or removes the pools with them.
    pub(super) fn leave_pools(&mut self, leaving: &[(Slot, Meter)], batch: &mut Batch) -> io::Result<()> {
        let mut parting: BTreeMap<PoolKey, (usize, u64)> = BTreeMap::new();
        for (slot, meter) in leaving {
            if let Some(session) = self.sessions.get(slot) {
                let (sessions, octets) = parting.entry(session.pool).or_default();
                *sessions += 1;
                *octets = octets.saturating_add(meter.total_octets());
            }
        }
        for (key, (sessions, octets)) in parting {
            let Some(pool) = self.pools.get(&key) else { continue };
            let number = key.0.to_ne_bytes();
            // Somebody else may have emptied the set, and what is not there cannot be removed.
            if pool.spent_octets > 0 && !self.nft.elements(set::SPENT, &[&number])?.is_empty() {
                batch.delete(set::SPENT, &number);
            }
            let spent_octets = pool.spent_octets.saturating_add(octets);
            if pool.slots.len() <= sessions {
                if self.nft.has_quota(&key.name())? {
                    batch.delete_quota(&key.name());
                }
            } else if spent_octets > 0 {
                keep_spent(key, spent_octets, batch);
            }
        }
        Ok(())
    }

    /// What [`State::leave_pools`] did, in memory.
    pub(super) fn left_pool(&mut self, slot: Slot, meter: Meter) {
        let Some(key) = self.sessions.get(&slot).map(|session| session.pool) else {
            return;
        };
        let Some(pool) = self.pools.get_mut(&key) else { return };
        pool.slots.remove(&slot);
        pool.spent_octets = pool.spent_octets.saturating_add(meter.total_octets());
        self.drop_pool_if_empty(key);
    }

    /// In memory; the kernel has none of it.
    pub(super) fn drop_pool_if_empty(&mut self, key: PoolKey) {
        if self.pools.get(&key).is_some_and(|pool| pool.slots.is_empty()) {
            self.pools.remove(&key);
        }
    }
}

/// Writes down what ended sessions have carried on a pool's account.
pub(super) fn keep_spent(key: PoolKey, octets: u64, batch: &mut Batch) {
    let entry = Entry {
        key: &key.0.to_ne_bytes(),
        counter: Some(Counter { octets, packets: 0 }),
        ..Entry::default()
    };
    batch.add(set::SPENT, &entry);
}
