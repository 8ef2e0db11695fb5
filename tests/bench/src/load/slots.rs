//! Requests in flight, by socket, gate and identifier.

use std::collections::VecDeque;

use super::story::Step;

/// Identifiers of one gate on one port.
const IDENTIFIERS: usize = 256;

/// A request that waits for its answer.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Whose.
    pub device: u32,
    /// What.
    pub step: Step,
    /// Its Request Authenticator.
    pub authenticator: [u8; 16],
    /// Event-Timestamp it was first sent with.
    pub at: u32,
    /// When it was due, nanoseconds from the run's start.
    pub due: u64,
    /// When it was last sent, likewise.
    pub sent: u64,
    /// Sendings so far.
    pub tries: u8,
}

/// Where a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which socket.
    pub socket: usize,
    /// Which gate.
    pub gate: usize,
    /// Which identifier.
    pub identifier: u8,
}

/// All of one thread.
#[derive(Debug)]
pub struct Slots {
    gates: usize,
    places: Vec<Option<Slot>>,
    /// Per socket and gate.
    next: Vec<u8>,
    /// Every sending waits equally long, so that the first to time out is the first in here.
    waiting: VecDeque<(u64, Place)>,
    in_flight: usize,
}

impl Slots {
    /// None in flight.
    pub fn new(sockets: usize, gates: usize) -> Self {
        Self {
            gates,
            places: vec![None; sockets * gates * IDENTIFIERS],
            next: vec![0; sockets * gates],
            waiting: VecDeque::new(),
            in_flight: 0,
        }
    }

    /// How many.
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// A place nobody waits in.
    pub fn free(&mut self, socket: usize, gate: usize) -> Option<Place> {
        let row = socket * self.gates + gate;
        for _ in 0..IDENTIFIERS {
            let next = self.next.get_mut(row)?;
            let identifier = *next;
            *next = next.wrapping_add(1);
            let place = Place {
                socket,
                gate,
                identifier,
            };
            if self.get(place).is_none() {
                return Some(place);
            }
        }
        None
    }

    /// Notes a sending.
    pub fn wait(&mut self, place: Place, slot: Slot) {
        self.waiting.push_back((slot.sent, place));
        let at = self.at(place);
        if let Some(waiting) = self.places.get_mut(at)
            && waiting.replace(slot).is_none()
        {
            self.in_flight += 1;
        }
    }

    /// What waits there.
    pub fn get(&self, place: Place) -> Option<&Slot> {
        self.places.get(self.at(place))?.as_ref()
    }

    /// It waits no more.
    pub fn take(&mut self, place: Place) -> Option<Slot> {
        let at = self.at(place);
        let taken = self.places.get_mut(at)?.take()?;
        self.in_flight -= 1;
        Some(taken)
    }

    /// What was last sent at `before` or earlier and is unanswered.
    pub fn overdue(&mut self, before: u64) -> Option<Place> {
        while let Some((sent, place)) = self.waiting.front().copied() {
            let is_over = self.get(place).is_none_or(|slot| slot.sent != sent);
            if !is_over && sent > before {
                return None;
            }
            self.waiting.pop_front();
            if !is_over {
                return Some(place);
            }
        }
        None
    }

    fn at(&self, place: Place) -> usize {
        (place.socket * self.gates + place.gate) * IDENTIFIERS + usize::from(place.identifier)
    }
}
