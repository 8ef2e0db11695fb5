//! Sessions ended, those of the same moment together: removed in two transactions, with the last reading between.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::net::Ipv4Addr;

use super::{Gate, MOST_TOGETHER, State};
use crate::FirewallError;
use crate::ruleset::set;
use crate::session::{Meter, Slot};

/// At elements that vanish while we look at them.
const MOST_LOOKS: u32 = 8;

impl Gate {
    /// Ends sessions and says what they carried. Established connections die: the next packet of either side is answered with a TCP reset. Works on
    /// expired sessions too. One that cannot be ended keeps no other from it.
    ///
    /// # Errors
    /// For each: [`FirewallError::UnknownSlot`], [`FirewallError::Kernel`].
    pub fn close_all(&self, slots: &BTreeSet<Slot>) -> Vec<(Slot, Result<Meter, FirewallError>)> {
        let slots: Vec<Slot> = slots.iter().copied().collect();
        let some = slots.chunks(MOST_TOGETHER);
        let closed: Vec<_> = some.flat_map(|some| self.state().close_together(some)).collect();
        self.heed_missing(closed.iter().filter_map(|(_, result)| result.as_ref().err()));
        closed
    }

    /// Ends one session.
    ///
    /// # Errors
    /// As [`Gate::close_all`].
    pub fn close(&self, slot: Slot) -> Result<Meter, FirewallError> {
        let closed = self.close_all(&BTreeSet::from([slot])).pop();
        closed.map_or(Err(FirewallError::UnknownSlot(slot)), |(_, result)| result)
    }
}

impl State {
    fn close_together(&mut self, slots: &[Slot]) -> Vec<(Slot, Result<Meter, FirewallError>)> {
        let (known, unknown): (Vec<Slot>, Vec<Slot>) = slots.iter().partition(|slot| self.sessions.contains_key(slot));
        let unknown = unknown
            .into_iter()
            .map(|slot| (slot, Err(FirewallError::UnknownSlot(slot))));
        let mut closed: Vec<_> = unknown.collect();
        match self.try_close(&known) {
            Ok(meters) => closed.extend(meters.into_iter().map(|(slot, meter)| (slot, Ok(meter)))),
            Err(error) if known.len() == 1 => closed.extend(known.first().map(|slot| (*slot, Err(error)))),
            // Somebody has changed elements of one of them: the others shall not wait for it.
            Err(_) => {
                for slot in known {
                    let one = self.try_close(&[slot]);
                    let meter = one.map(|meters| meters.first().map(|(_, meter)| *meter).unwrap_or_default());
                    closed.push((slot, meter));
                }
            }
        }
        closed
    }

    /// First nothing flows any more, then the meters are read, then everything goes: so no octet escapes the reading.
    fn try_close(&mut self, slots: &[Slot]) -> Result<Vec<(Slot, Meter)>, FirewallError> {
        let (mut gate, mut addresses) = (Vec::new(), Vec::new());
        for slot in slots {
            let session = self.session(*slot)?;
            let expiring = session.expiring(*slot).into_iter();
            gate.extend(expiring.map(|(set, key)| (set.to_owned(), key)));
            gate.push((set::LIM_UP.to_owned(), slot.0.to_ne_bytes().to_vec()));
            gate.extend(session.named_elements(*slot));
            addresses.extend(session.ipv4);
        }
        self.delete_if_there(gate)
            .map_err(FirewallError::kernel("close a session"))?;
        self.release(&addresses);

        let mut meters: HashMap<Slot, Meter> = self.read(slots)?.into_iter().collect();
        let meters: Vec<(Slot, Meter)> = slots
            .iter()
            .map(|slot| (*slot, meters.remove(slot).unwrap_or_default()))
            .collect();
        let mut batch = self.nft.batch();
        batch.gather();
        for slot in slots {
            batch.delete(set::TOTAL, &slot.0.to_ne_bytes());
            for set in self.session(*slot)?.counters() {
                batch.delete(set, &slot.0.to_ne_bytes());
            }
        }
        let removing = || FirewallError::kernel("remove a session");
        self.leave_pools(&meters, &mut batch).map_err(removing())?;
        self.nft.commit(batch).map_err(removing())?;
        for (slot, meter) in &meters {
            self.left_pool(*slot, *meter);
            self.forget(*slot);
        }
        Ok(meters)
    }

    /// Forgets a session that is not there, or is no more.
    pub(super) fn discard(&mut self, slot: Slot) {
        if let Some(session) = self.sessions.get(&slot) {
            let (ipv4, pool) = (session.ipv4, session.pool);
            self.release(ipv4.as_slice());
            if let Some(pool) = self.pools.get_mut(&pool) {
                pool.slots.remove(&slot);
            }
        }
        self.forget(slot);
    }

    fn forget(&mut self, slot: Slot) {
        let Some(session) = self.sessions.remove(&slot) else {
            return;
        };
        self.filtered.set(session.mac, None);
        self.by_mac.remove(&session.mac);
        if let Some(ipv4) = session.ipv4 {
            self.by_ipv4.remove(&ipv4);
        }
    }

    /// Unties addresses from their devices.
    pub(super) fn release(&mut self, addresses: &[Ipv4Addr]) {
        if let Err(error) = self.neighbours.release(addresses) {
            // Harmless but for such an address, and the next session there corrects it.
            tracing::warn!(%error, "a neighbour entry outlives its session");
        }
    }

    /// Deletes those of these elements that are there, together. They are looked for first: what the kernel refuses it takes back only after
    /// every processor has moved on, some 30 ms in which it does nothing else for us.
    pub(super) fn delete_if_there<S: Into<String>>(
        &mut self,
        keys: impl IntoIterator<Item = (S, Vec<u8>)>,
    ) -> io::Result<()> {
        let keys: Vec<(String, Vec<u8>)> = keys.into_iter().map(|(set, key)| (set.into(), key)).collect();
        for attempt in 0.. {
            let mut batch = self.nft.batch();
            batch.gather();
            for (set, key) in self.those_there(keys.iter().cloned())? {
                batch.delete(&set, &key);
            }
            match self.nft.commit(batch) {
                // It expired between the look and the change.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) && attempt < MOST_LOOKS => {}
                result => return result,
            }
        }
        Ok(())
    }

    /// Those of these elements that are there.
    pub(super) fn those_there(
        &mut self,
        keys: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> io::Result<HashSet<(String, Vec<u8>)>> {
        let mut by_set: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for (set, key) in keys {
            by_set.entry(set).or_default().push(key);
        }
        let mut there = HashSet::new();
        for (set, keys) in by_set {
            let is_there = self.nft.has_elements(&set, &keys)?;
            let found = keys.into_iter().zip(is_there).filter(|(_, is_there)| *is_there);
            there.extend(found.map(|(key, _)| (set.clone(), key)));
        }
        Ok(there)
    }
}
