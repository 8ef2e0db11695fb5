//! Places for connections: those of strangers who begin a handshake, and those of gates.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use kavadam_domain::NasId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::RadsecLimits;
use crate::listener::lock;

/// The places of a port. Strangers can take those for handshakes, and no gate that is connected notices.
pub(super) struct Places {
    handshakes: Arc<Semaphore>,
    gates: Arc<Semaphore>,
    per_source: usize,
    by_source: Mutex<HashMap<IpAddr, usize>>,
    per_gate: usize,
    by_gate: Mutex<HashMap<NasId, Taken>>,
}

/// What a gate has.
#[derive(Default)]
struct Taken {
    places: usize,
    /// To end its connections, the oldest first; those that were ended are not among them, even if they still finish what was begun.
    open: Vec<CancellationToken>,
}

/// One of them, free again when dropped.
pub(super) struct Place {
    places: Arc<Places>,
    source: IpAddr,
    /// For a handshake, then of a gate.
    one: OwnedSemaphorePermit,
    /// Whose it is then, and what ends its connection.
    of: Option<(NasId, CancellationToken)>,
}

/// A gate's place.
pub(super) struct Seat {
    pub(super) place: Place,
    /// The gate had as many as it may: its oldest connection was ended for this one.
    pub(super) is_others: bool,
}

impl Places {
    pub(super) fn new(limits: &RadsecLimits) -> Arc<Self> {
        Arc::new(Self {
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            gates: Arc::new(Semaphore::new(limits.connections)),
            per_source: limits.per_source,
            by_source: Mutex::default(),
            per_gate: limits.per_gate,
            by_gate: Mutex::default(),
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
            of: None,
        })
    }
}

impl Place {
    /// One of this gate's instead, whose connection `hang_up` ends. If it has as many as it may, its oldest connection is ended: that may be one
    /// that it lost, which nobody knows yet. `None` if all are taken, or as many again of that gate still finish what was begun.
    pub(super) fn of_a_gate(mut self, nas: NasId, hang_up: &CancellationToken) -> Option<Seat> {
        let mut by_gate = lock(&self.places.by_gate);
        let taken = by_gate.entry(nas).or_default();
        let has_room = taken.places < self.places.per_gate.saturating_mul(2);
        let one = Arc::clone(&self.places.gates).try_acquire_owned();
        let (true, Ok(one)) = (has_room, one) else {
            if taken.places == 0 {
                by_gate.remove(&nas);
            }
            return None;
        };
        let is_others = taken.open.len() >= self.places.per_gate;
        if is_others {
            taken.open.remove(0).cancel();
        }
        taken.places += 1;
        taken.open.push(hang_up.clone());
        drop(by_gate);
        self.one = one;
        self.of = Some((nas, hang_up.clone()));
        Some(Seat { place: self, is_others })
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
        if let Some((nas, hang_up)) = &self.of {
            let mut by_gate = lock(&self.places.by_gate);
            if let Some(taken) = by_gate.get_mut(nas) {
                taken.places -= 1;
                taken.open.retain(|open| open != hang_up);
                if taken.places == 0 {
                    by_gate.remove(nas);
                }
            }
        }
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
        let sit = |place: Place, nas| place.of_a_gate(NasId(nas), &CancellationToken::new());
        let _first = sit(first, 1).unwrap();
        let _second = sit(places.take(here).unwrap(), 2).unwrap();
        assert!(sit(places.take(here).unwrap(), 3).is_none(), "two gates");
        assert!(places.take(here).is_some(), "and the place of the refused one is free");
        assert_eq!(lock(&places.by_source)[&here], 2);
        assert_eq!(lock(&places.by_gate).len(), 2);
    }

    #[test]
    fn a_gate_with_as_many_connections_as_it_may_have_loses_its_oldest_for_a_newer() {
        let places = Places::new(&RadsecLimits {
            connections: 99,
            per_gate: 2,
            ..RadsecLimits::default()
        });
        let tokens = [(); 6].map(|()| CancellationToken::new());
        let sit = |nas, at: usize| {
            let place = places.take(ip("192.0.2.1")).unwrap();
            place.of_a_gate(NasId(nas), &tokens[at])
        };
        let ended = || tokens.iter().map(CancellationToken::is_cancelled).collect::<Vec<_>>();
        let mut seats: Vec<_> = (0..2).map(|at| sit(1, at).unwrap()).collect();
        assert!(seats.iter().all(|seat| !seat.is_others));
        seats.push(sit(1, 2).unwrap());
        assert!(seats[2].is_others);
        assert_eq!(ended(), [true, false, false, false, false, false]);
        seats.push(sit(1, 3).unwrap());
        assert!(sit(1, 4).is_none(), "those that were ended are not gone yet");
        assert!(!sit(2, 5).unwrap().is_others, "another gate notices nothing");
        assert_eq!(ended(), [true, true, false, false, false, false]);
        seats.clear();
        assert!(lock(&places.by_gate).is_empty());
    }
}
