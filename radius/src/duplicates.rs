//! Requests already seen, and what was answered to them.
//!
//! A client that hears nothing sends the same packet again. Doing the work twice would burn a one-time code or charge octets
//! twice, so a copy gets the first answer, octet for octet, or nothing while that is still being worked out (RFC 5080 §2.2.2).

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What makes two packets copies of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) source: SocketAddr,
    pub(crate) identifier: u8,
    pub(crate) authenticator: [u8; 16],
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Not seen before: work on it, then call [`Duplicates::answered`] or [`Duplicates::forget`].
    New,
    /// A copy of one that is being worked on.
    InProgress,
    /// A copy of one that was answered so.
    Replay(Arc<[u8]>),
}

/// Remembers requests for a time, up to a number.
pub(crate) struct Duplicates {
    lifetime: Duration,
    capacity: usize,
    seen: HashMap<Key, Entry>,
    /// Oldest first, with the entry's serial: a key may have been forgotten and seen again since.
    order: VecDeque<(Key, u64)>,
    serial: u64,
}

struct Entry {
    serial: u64,
    seen_at: Instant,
    reply: Option<Arc<[u8]>>,
}

impl Duplicates {
    /// `lifetime` should outlast the clients' retransmissions. Beyond `capacity` the oldest are forgotten first.
    pub(crate) fn new(lifetime: Duration, capacity: usize) -> Self {
        Self {
            lifetime,
            capacity,
            seen: HashMap::new(),
            order: VecDeque::new(),
            serial: 0,
        }
    }

    pub(crate) fn admit(&mut self, key: Key, now: Instant) -> Admission {
        self.expire(now);
        if let Some(entry) = self.seen.get(&key) {
            return entry.reply.clone().map_or(Admission::InProgress, Admission::Replay);
        }
        self.serial += 1;
        let entry = Entry {
            serial: self.serial,
            seen_at: now,
            reply: None,
        };
        self.seen.insert(key, entry);
        self.order.push_back((key, self.serial));
        Admission::New
    }

    /// Keeps the answer for copies to come.
    pub(crate) fn answered(&mut self, key: &Key, reply: Arc<[u8]>) {
        if let Some(entry) = self.seen.get_mut(key) {
            entry.reply = Some(reply);
        }
    }

    /// There was no answer: a copy deserves another attempt.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.seen.remove(key);
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&(key, serial)) = self.order.front() {
            let entry = self.seen.get(&key).filter(|entry| entry.serial == serial);
            let is_due = entry.is_none_or(|entry| now.duration_since(entry.seen_at) >= self.lifetime);
            if !is_due && self.order.len() < self.capacity {
                break;
            }
            if entry.is_some() {
                self.seen.remove(&key);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(30);

    fn key(identifier: u8) -> Key {
        Key {
            source: (Ipv4Addr::LOCALHOST, 5).into(),
            identifier,
            authenticator: [9; 16],
        }
    }

    #[test]
    fn a_copy_waits_while_the_first_is_worked_on_and_then_gets_its_answer() {
        let mut seen = Duplicates::new(LIFETIME, 10);
        let now = Instant::now();
        assert_eq!(seen.admit(key(1), now), Admission::New);
        assert_eq!(seen.admit(key(1), now), Admission::InProgress);
        let reply: Arc<[u8]> = Arc::from(&b"answer"[..]);
        seen.answered(&key(1), Arc::clone(&reply));
        assert_eq!(seen.admit(key(1), now), Admission::Replay(reply));
    }

    #[test]
    fn another_port_or_authenticator_is_another_request() {
        let mut seen = Duplicates::new(LIFETIME, 10);
        let now = Instant::now();
        assert_eq!(seen.admit(key(1), now), Admission::New);
        let other_port = Key {
            source: (Ipv4Addr::LOCALHOST, 6).into(),
            ..key(1)
        };
        let other_authenticator = Key {
            authenticator: [8; 16],
            ..key(1)
        };
        assert_eq!(seen.admit(other_port, now), Admission::New);
        assert_eq!(seen.admit(other_authenticator, now), Admission::New);
    }

    #[test]
    fn what_was_not_answered_may_be_tried_again() {
        let mut seen = Duplicates::new(LIFETIME, 10);
        let now = Instant::now();
        seen.admit(key(1), now);
        seen.forget(&key(1));
        assert_eq!(seen.admit(key(1), now), Admission::New);
        assert_eq!(seen.admit(key(1), now), Admission::InProgress);
    }

    #[test]
    fn an_old_answer_is_forgotten() {
        let mut seen = Duplicates::new(LIFETIME, 10);
        let now = Instant::now();
        seen.admit(key(1), now);
        assert_eq!(seen.admit(key(1), now + LIFETIME), Admission::New);
    }

    #[test]
    fn never_remembers_more_than_its_capacity() {
        let mut seen = Duplicates::new(LIFETIME, 4);
        let now = Instant::now();
        for identifier in 0..=255 {
            assert_eq!(seen.admit(key(identifier), now), Admission::New);
            seen.forget(&key(identifier.wrapping_sub(1)));
            assert!(seen.seen.len() <= 4 && seen.order.len() <= 4);
        }
    }
}
