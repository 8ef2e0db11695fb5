//! One session's elements: changed in one transaction, removed in two with the last reading between.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use kavadam_domain::Mac;

use super::{Session, State};
use crate::FirewallError;
use crate::netlink::{Batch, Counter, Entry};
use crate::ruleset::set;
use crate::session::{Meter, Slot, remember};

/// A merged packet of 64 KiB must fit into the bucket of the slowest session, or it would never pass.
const LARGEST_PACKET_OCTETS: u64 = 65_536;

/// At elements that vanish while we look at them.
const MOST_LOOKS: u32 = 8;

/// The key of `MAC . IPv4` sets: each part begins at a multiple of four octets.
pub(super) fn key4(mac: Mac, ipv4: Ipv4Addr) -> [u8; 12] {
    let mut key = [0; 12];
    let octets = mac.0.into_iter().chain([0, 0]).chain(ipv4.octets());
    key.iter_mut().zip(octets).for_each(|(place, octet)| *place = octet);
    key
}

/// At least one: zero would mean for ever.
pub(super) fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// What the kernel shows of an element's stay may be nothing at its last moment.
pub(super) fn at_least_one(expires_ms: u64) -> u64 {
    expires_ms.max(1)
}

/// Octets per second and the burst above it. The kernel's bucket holds a second's worth *plus* the burst, so none but the configured one is
/// added unless a second's worth is less than one merged packet.
pub(super) fn limit(octets_per_sec: u64, burst_octets: u32) -> (u64, u32) {
    let least = LARGEST_PACKET_OCTETS.saturating_sub(octets_per_sec);
    (
        octets_per_sec,
        u32::try_from(least).unwrap_or(u32::MAX).max(burst_octets),
    )
}

/// The kernel counts octets, and refuses a limit of none; beyond the top it would overflow, and nobody would notice it.
pub(super) fn octets_per_sec(bits_per_sec: Option<u64>) -> Option<u64> {
    const TOP: u64 = 10_000_000_000;
    bits_per_sec.map(|bits| (bits / 8).clamp(1, TOP))
}

impl Session {
    pub(super) fn add_gate(&self, slot: Slot, timeout_ms: Option<u64>, batch: &mut Batch) {
        let mark = slot.0.to_ne_bytes();
        let entry = Entry {
            data: Some(&mark),
            timeout_ms,
            ..Entry::default()
        };
        if let Some(ipv4) = self.ipv4 {
            batch.add(
                set::AUTH4,
                &Entry {
                    key: &key4(self.mac, ipv4),
                    ..entry
                },
            );
        }
        batch.add(
            set::AUTH6,
            &Entry {
                key: &self.mac.0,
                ..entry
            },
        );
    }

    pub(super) fn add_lim_up(&self, slot: Slot, burst_octets: u32, batch: &mut Batch) {
        let entry = Entry {
            key: &slot.0.to_ne_bytes(),
            limit: self.up.map(|rate| limit(rate, burst_octets)),
            ..Entry::default()
        };
        batch.add(set::LIM_UP, &entry);
    }

    pub(super) fn add_lim_down(&self, slot: Slot, burst_octets: u32, timeout_ms: Option<u64>, batch: &mut Batch) {
        let entry = Entry {
            key: &slot.0.to_ne_bytes(),
            limit: self.down.map(|rate| limit(rate, burst_octets)),
            timeout_ms,
            ..Entry::default()
        };
        batch.add(set::LIM_DOWN, &entry);
    }

    /// Who the session is for, and which quota it draws on.
    pub(super) fn add_total(&self, slot: Slot, batch: &mut Batch) -> Result<(), FirewallError> {
        let userdata = remember(self.mac, self.ipv4, self.filter, &self.label)?;
        let object = self.pool.name();
        let key = slot.0.to_ne_bytes();
        let entry = Entry {
            key: &key,
            object: Some(&object),
            userdata: Some(&userdata),
            ..Entry::default()
        };
        batch.add(set::TOTAL, &entry);
        Ok(())
    }

    /// Every element that a session has.
    pub(super) fn elements(&self, slot: Slot) -> Vec<(&'static str, Vec<u8>)> {
        let mut keys = self.expiring(slot);
        keys.extend(
            [set::LIM_UP, set::TOTAL, set::CNT_UP, set::CNT_DOWN].map(|set| (set, slot.0.to_ne_bytes().to_vec())),
        );
        keys
    }

    /// The elements that vanish when the time runs out.
    pub(super) fn expiring(&self, slot: Slot) -> Vec<(&'static str, Vec<u8>)> {
        let mut keys = vec![
            (set::LIM_DOWN, slot.0.to_ne_bytes().to_vec()),
            (set::AUTH6, self.mac.0.to_vec()),
        ];
        if let Some(ipv4) = self.ipv4 {
            keys.push((set::AUTH4, key4(self.mac, ipv4).to_vec()));
        }
        keys
    }
}

impl State {
    /// Forgets a session that is not there, or is no more.
    pub(super) fn discard(&mut self, slot: Slot) {
        let Some(session) = self.sessions.remove(&slot) else {
            return;
        };
        self.release(session.ipv4);
        self.filtered.set(session.mac, None);
        self.by_mac.remove(&session.mac);
        if let Some(ipv4) = session.ipv4 {
            self.by_ipv4.remove(&ipv4);
        }
        if let Some(pool) = self.pools.get_mut(&session.pool) {
            pool.slots.remove(&slot);
        }
    }

    /// One session per device, one device per address, or the neighbour entry would follow the last comer.
    pub(super) fn require_free(
        &self,
        but: Option<Slot>,
        mac: Option<Mac>,
        ipv4: Option<Ipv4Addr>,
    ) -> Result<(), FirewallError> {
        if let Some(slot) = mac.and_then(|mac| self.by_mac.get(&mac)) {
            return Err(FirewallError::DeviceOnline(*slot));
        }
        match ipv4.and_then(|ipv4| self.by_ipv4.get(&ipv4)) {
            Some(slot) if Some(*slot) != but => Err(FirewallError::AddressTaken(*slot)),
            _ => Ok(()),
        }
    }

    pub(super) fn index(&mut self, slot: Slot, session: &Session) {
        self.by_mac.insert(session.mac, slot);
        if let Some(ipv4) = session.ipv4 {
            self.by_ipv4.insert(ipv4, slot);
        }
    }

    pub(super) fn session(&self, slot: Slot) -> Result<&Session, FirewallError> {
        self.sessions.get(&slot).ok_or(FirewallError::UnknownSlot(slot))
    }

    /// First nothing flows any more, then the meters are read, then everything goes: so no octet escapes the reading.
    pub(super) fn close(&mut self, slot: Slot) -> Result<Meter, FirewallError> {
        let session = self.session(slot)?;
        let (ipv4, mac, pool) = (session.ipv4, session.mac, session.pool);
        let mut gate = session.expiring(slot);
        gate.push((set::LIM_UP, slot.0.to_ne_bytes().to_vec()));
        let filter = session.filter_elements(slot);
        let closing = || FirewallError::kernel("close a session");
        self.delete_if_there(&gate).map_err(closing())?;
        self.delete_if_there(&filter).map_err(closing())?;
        self.release(ipv4);

        let meter = self.read(&[slot])?.first().map(|(_, meter)| *meter).unwrap_or_default();
        let mark = slot.0.to_ne_bytes();
        let mut batch = self.nft.batch();
        for set in [set::TOTAL, set::CNT_UP, set::CNT_DOWN] {
            batch.delete(set, &mark);
        }
        self.leave_pool(pool, meter, &mut batch)
            .map_err(FirewallError::kernel("remove a session"))?;
        self.nft
            .commit(batch)
            .map_err(FirewallError::kernel("remove a session"))?;

        self.left_pool(pool, slot, meter);
        self.sessions.remove(&slot);
        self.by_mac.remove(&mac);
        self.filtered.set(mac, None);
        if let Some(ipv4) = ipv4 {
            self.by_ipv4.remove(&ipv4);
        }
        Ok(meter)
    }

    pub(super) fn read(&mut self, slots: &[Slot]) -> Result<Vec<(Slot, Meter)>, FirewallError> {
        let up = self.counters(set::CNT_UP, slots)?;
        let down = self.counters(set::CNT_DOWN, slots)?;
        let meter = |up: &Counter, down: &Counter| Meter {
            up_octets: up.octets,
            up_packets: up.packets,
            down_octets: down.octets,
            down_packets: down.packets,
        };
        let both = |slot: &Slot| Some((*slot, meter(up.get(slot)?, down.get(slot)?)));
        Ok(slots.iter().filter_map(both).collect())
    }

    fn counters(&mut self, set: &str, slots: &[Slot]) -> Result<HashMap<Slot, Counter>, FirewallError> {
        let elements = self.by_slot(set, slots).map_err(FirewallError::kernel("read meters"))?;
        Ok(elements
            .into_iter()
            .filter_map(|(slot, element)| Some((slot, element.counter?)))
            .collect())
    }

    pub(super) fn set_rate(&mut self, slot: Slot, up: Option<u64>, down: Option<u64>) -> Result<(), FirewallError> {
        let changed = {
            let old = self.session(slot)?;
            Session {
                up: octets_per_sec(up),
                down: octets_per_sec(down),
                ..old.clone()
            }
        };
        self.replace(slot, changed, |end| end)
    }

    pub(super) fn set_timeout(&mut self, slot: Slot, timeout: Option<Duration>) -> Result<(), FirewallError> {
        let same = self.session(slot)?.clone();
        self.replace(slot, same, |_| timeout.map(millis))
    }

    pub(super) fn set_ipv4(&mut self, slot: Slot, ipv4: Option<Ipv4Addr>) -> Result<(), FirewallError> {
        let old = self.session(slot)?.clone();
        if old.ipv4 == ipv4 {
            return Ok(());
        }
        self.require_free(Some(slot), None, ipv4)?;
        let pins: Vec<_> = ipv4.map(|ipv4| (ipv4, old.mac)).into_iter().collect();
        self.neighbours.pin(&pins).map_err(|error| self.untied(error))?;
        if let Err(error) = self.replace(slot, Session { ipv4, ..old.clone() }, |end| end) {
            self.release(ipv4);
            return Err(error);
        }
        self.release(old.ipv4);
        if let Some(address) = old.ipv4 {
            self.by_ipv4.remove(&address);
        }
        if let Some(address) = ipv4 {
            self.by_ipv4.insert(address, slot);
        }
        Ok(())
    }

    /// Puts another version of a session in its place, in one transaction: deleted and added, since elements cannot be
    /// changed. `end` makes the new time to the end, ms, out of the old.
    pub(super) fn replace(
        &mut self,
        slot: Slot,
        new: Session,
        end: impl FnOnce(Option<u64>) -> Option<u64>,
    ) -> Result<(), FirewallError> {
        let old = self.session(slot)?;
        let (mut stale, is_filtered_anew) = (old.expiring(slot), old.filter != new.filter);
        let is_remembered_anew = old.ipv4 != new.ipv4 || is_filtered_anew;
        let filter = old.filter_elements(slot);
        let mark = slot.0.to_ne_bytes();
        stale.push((set::LIM_UP, mark.to_vec()));
        let online = self
            .by_slot(set::LIM_DOWN, &[slot])
            .map_err(FirewallError::kernel("read a session"))?;
        let expires_ms = online.get(&slot).ok_or(FirewallError::Expired(slot))?.expires_ms;
        let timeout_ms = end(expires_ms.map(at_least_one));

        let mut batch = self.nft.batch();
        for (set, key) in &stale {
            batch.delete(set, key);
        }
        if is_filtered_anew {
            for (set, key) in &filter {
                let found = self.nft.elements(set, &[key]);
                if !found.map_err(FirewallError::kernel("read a session"))?.is_empty() {
                    batch.delete(set, key);
                }
            }
            new.add_filter(slot, &mut batch);
        }
        new.add_lim_up(slot, self.burst_octets, &mut batch);
        new.add_lim_down(slot, self.burst_octets, timeout_ms, &mut batch);
        new.add_gate(slot, timeout_ms, &mut batch);
        if is_remembered_anew {
            batch.delete(set::TOTAL, &mark);
            new.add_total(slot, &mut batch)?;
        }
        self.nft.commit(batch).map_err(|error| match error.raw_os_error() {
            // It expired between the look and the change.
            Some(libc::ENOENT) => FirewallError::Expired(slot),
            _ => FirewallError::kernel("change a session")(error),
        })?;
        self.sessions.insert(slot, new);
        Ok(())
    }

    pub(super) fn untied(&self, error: io::Error) -> FirewallError {
        match error.raw_os_error() {
            Some(libc::ENODEV) => FirewallError::NoInterface(self.neighbours.interface().to_owned()),
            _ => FirewallError::kernel("tie an address to a device")(error),
        }
    }

    pub(super) fn release(&mut self, ipv4: Option<Ipv4Addr>) {
        let Some(ipv4) = ipv4 else { return };
        if let Err(error) = self.neighbours.release(ipv4) {
            // Harmless but for that address, and the next session there corrects it.
            tracing::warn!(%error, "a neighbour entry outlives its session");
        }
    }

    /// Deletes those of these elements that are there, together. They are looked for first: what the kernel refuses it takes back only after
    /// every processor has moved on, some 30 ms in which it does nothing else for us.
    pub(super) fn delete_if_there<S: AsRef<str>>(&mut self, keys: &[(S, Vec<u8>)]) -> io::Result<()> {
        for attempt in 0.. {
            let mut batch = self.nft.batch();
            for (set, key) in keys {
                let set = set.as_ref();
                if !self.nft.elements(set, &[key])?.is_empty() {
                    batch.delete(set, key);
                }
            }
            match self.nft.commit(batch) {
                // It expired between the look and the change.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) && attempt < MOST_LOOKS => {}
                result => return result,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_a_second_or_one_merged_packet_whichever_is_more() {
        assert_eq!(limit(1_250_000, 0), (1_250_000, 0));
        assert_eq!(limit(31_250, 0), (31_250, 34_286));
    }

    #[test]
    fn a_burst_is_what_a_bucket_holds_above_that() {
        assert_eq!(limit(1_250_000, 5_000_000), (1_250_000, 5_000_000));
        assert_eq!(limit(31_250, 1), (31_250, 34_286), "never less than one merged packet");
    }

    #[test]
    fn speeds_stay_within_what_the_kernel_takes() {
        assert_eq!(octets_per_sec(Some(10_000_000)), Some(1_250_000));
        assert_eq!(octets_per_sec(Some(3)), Some(1));
        assert_eq!(octets_per_sec(Some(u64::MAX)), Some(10_000_000_000));
        assert_eq!(octets_per_sec(None), None);
    }

    #[test]
    fn keys_are_aligned_as_the_kernel_concatenates() {
        let key = key4(Mac([1, 2, 3, 4, 5, 6]), Ipv4Addr::new(10, 80, 0, 9));
        assert_eq!(key, [1, 2, 3, 4, 5, 6, 0, 0, 10, 80, 0, 9]);
    }
}
