//! Places for connections: those of strangers who begin a handshake, and those of gates.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::RadsecLimits;
use crate::listener::lock;

/// The places of a port. Strangers can take those for handshakes, and no gate that is connected notices.
pub(super) struct Places {
    handshakes: Arc<Semaphore>,
    gates: Arc<Semaphore>,
    per_source: usize,
    by_source: Mutex<HashMap<IpAddr, usize>>,
}

/// One of them, free again when dropped.
pub(super) struct Place {
    places: Arc<Places>,
    source: IpAddr,
    /// For a handshake, then of a gate.
    one: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(limits: &RadsecLimits) -> Arc<Self> {
        Arc::new(Self {
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            gates: Arc::new(Semaphore::new(limits.connections)),
            per_source: limits.per_source,
            by_source: Mutex::default(),
        })
    }

    /// One for a handshake with whoever is there; `None` if that source, or all together, have as many as they may.
    pub(super) fn take(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let one = Arc::clone(&self.handshakes).try_acquire_owned().ok()?;
        let source = source_of(from);
        let mut by_source = lock(&self.by_source);
        let taken = by_source.entry(source).or_default();
        if *taken >= self.per_source {
            return None;
        }
        *taken += 1;
        Some(Place {
            places: Arc::clone(self),
            source,
            one,
        })
    }
}

impl Place {
    /// One of a gate's instead; `None` if all are taken.
    pub(super) fn of_a_gate(mut self) -> Option<Self> {
        self.one = Arc::clone(&self.places.gates).try_acquire_owned().ok()?;
        Some(self)
    }
}

/// Whoever has an IPv6 address has all of its /64.
fn source_of(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_source = lock(&self.places.by_source);
        if let Some(taken) = by_source.get_mut(&self.source) {
            *taken -= 1;
            if *taken == 0 {
                by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(handshakes: usize, connections: usize, per_source: usize) -> Arc<Places> {
        Places::new(&RadsecLimits {
            connections,
            handshakes,
            per_source,
            ..RadsecLimits::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_few_for_one_source_and_come_back() {
        let places = places(3, 8, 2);
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert!(places.take(one).is_none(), "two of one source");
        let _third = places.take(other).unwrap();
        assert!(places.take(other).is_none(), "three in all");
        drop(first);
        let again = places.take(one);
        assert!(again.is_some());
        assert_eq!(lock(&places.by_source).len(), 2);
    }

    #[test]
    fn an_ipv6_prefix_is_one_source_and_an_ipv4_address_behind_ipv6_is_its_own() {
        let places = places(9, 9, 1);
        let _one = places.take(ip("2001:db8:0:1::1")).unwrap();
        assert!(places.take(ip("2001:db8:0:1:ffff::2")).is_none());
        let _next = places.take(ip("2001:db8:0:2::1")).unwrap();
        let _four = places.take(ip("::ffff:192.0.2.1")).unwrap();
        assert!(places.take(ip("192.0.2.1")).is_none());
        assert!(places.take(ip("::ffff:192.0.2.2")).is_some());
    }

    #[test]
    fn handshakes_and_gates_take_no_place_of_each_other() {
        let places = places(1, 2, 9);
        let here = ip("192.0.2.1");
        let first = places.take(here).unwrap();
        assert!(places.take(here).is_none(), "one handshake at a time");
        let _first = first.of_a_gate().unwrap();
        let _second = places.take(here).unwrap().of_a_gate().unwrap();
        assert!(places.take(here).unwrap().of_a_gate().is_none(), "two gates");
        assert!(places.take(here).is_some(), "and the place of the refused one is free");
        assert_eq!(lock(&places.by_source)[&here], 2);
    }
}
