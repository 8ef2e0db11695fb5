//! One session's elements, and its meters.

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
        let userdata = remember(self.mac, self.ipv4, (self.filter, self.class), &self.label)?;
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
        let by_slot = [set::LIM_UP, set::TOTAL].into_iter().chain(self.counters());
        keys.extend(by_slot.map(|set| (set, slot.0.to_ne_bytes().to_vec())));
        keys
    }

    /// The same, and those of what its plan names.
    pub(super) fn all_elements(&self, slot: Slot) -> Vec<(String, Vec<u8>)> {
        let own = self.elements(slot).into_iter();
        let mut all: Vec<_> = own.map(|(set, key)| (set.to_owned(), key)).collect();
        all.extend(self.named_elements(slot));
        all
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

    pub(super) fn read(&mut self, slots: &[Slot]) -> Result<Vec<(Slot, Meter)>, FirewallError> {
        let mut meters = self.read_charged(slots)?;
        let free = self.read_free(slots)?;
        for (slot, meter) in &mut meters {
            meter.free = free.get(slot).copied();
        }
        Ok(meters)
    }

    /// Without what is free.
    pub(super) fn read_charged(&mut self, slots: &[Slot]) -> Result<Vec<(Slot, Meter)>, FirewallError> {
        let up = self.counters(set::CNT_UP, slots)?;
        let down = self.counters(set::CNT_DOWN, slots)?;
        let meter = |up: &Counter, down: &Counter| Meter {
            up_octets: up.octets,
            up_packets: up.packets,
            down_octets: down.octets,
            down_packets: down.packets,
            free: None,
        };
        let both = |slot: &Slot| Some((*slot, meter(up.get(slot)?, down.get(slot)?)));
        Ok(slots.iter().filter_map(both).collect())
    }

    pub(super) fn counters(&mut self, set: &str, slots: &[Slot]) -> Result<HashMap<Slot, Counter>, FirewallError> {
        let elements = self.by_slot(set, slots).map_err(FirewallError::kernel("read meters"))?;
        Ok(elements
            .into_iter()
            .filter_map(|(slot, element)| Some((slot, element.counter?)))
            .collect())
    }

    pub(super) fn untied(&self, error: io::Error) -> FirewallError {
        match error.raw_os_error() {
            Some(libc::ENODEV) => FirewallError::NoInterface(self.neighbours.interface().to_owned()),
            _ => FirewallError::kernel("tie an address to a device")(error),
        }
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
