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

/// Remembers answers for a time, up to a number; and what is being worked on for as long as that takes.
pub(crate) struct Duplicates {
    lifetime: Duration,
    capacity: usize,
    /// `None` while it is being worked on.
    seen: HashMap<Key, Option<Arc<[u8]>>>,
    /// The answered ones and when, the oldest first.
    answered: VecDeque<(Key, Instant)>,
}

impl Duplicates {
    /// `lifetime` counts from the answer and should outlast the clients' retransmissions. Beyond `capacity` the oldest answers are
    /// forgotten first.
    pub(crate) fn new(lifetime: Duration, capacity: usize) -> Self {
        Self {
            lifetime,
            capacity,
            seen: HashMap::new(),
            answered: VecDeque::new(),
        }
    }

    pub(crate) fn admit(&mut self, key: Key, now: Instant) -> Admission {
        self.expire(now);
        match self.seen.get(&key) {
            Some(Some(reply)) => Admission::Replay(Arc::clone(reply)),
            Some(None) => Admission::InProgress,
            None => {
                self.seen.insert(key, None);
                Admission::New
            }
        }
    }

    /// Keeps the answer for copies to come.
    pub(crate) fn answered(&mut self, key: Key, reply: Arc<[u8]>, now: Instant) {
        self.expire(now);
        if self.answered.len() >= self.capacity
            && let Some((oldest, _)) = self.answered.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.seen.insert(key, Some(reply));
        self.answered.push_back((key, now));
    }

    /// There was no answer: a copy deserves another attempt.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.seen.remove(key);
    }

    #[cfg(all(test, feature = "server"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.answered.is_empty()
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Instant) {
        let is_old = |(_, at): &mut (Key, Instant)| now.duration_since(*at) >= self.lifetime;
        while let Some((key, _)) = self.answered.pop_front_if(is_old) {
            self.seen.remove(&key);
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
        seen.answered(key(1), Arc::clone(&reply), now);
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
    fn an_answer_is_remembered_from_when_it_was_given() {
        let mut seen = Duplicates::new(LIFETIME, 10);
        let now = Instant::now();
        seen.admit(key(1), now);
        let later = now + 3 * LIFETIME;
        assert_eq!(
            seen.admit(key(1), later),
            Admission::InProgress,
            "however long it takes"
        );
        seen.answered(key(1), Arc::from(&b"answer"[..]), later);
        let almost = later + Duration::from_secs(29);
        assert!(matches!(seen.admit(key(1), almost), Admission::Replay(_)));
        assert_eq!(seen.admit(key(1), later + LIFETIME), Admission::New);
    }

    #[test]
    fn never_remembers_more_answers_than_its_capacity() {
        let mut seen = Duplicates::new(LIFETIME, 4);
        let now = Instant::now();
        assert_eq!(seen.admit(key(0), now), Admission::New);
        for identifier in 1..=255 {
            assert_eq!(seen.admit(key(identifier), now), Admission::New);
            seen.answered(key(identifier), Arc::from(&b"answer"[..]), now);
            assert!(seen.seen.len() <= 5 && seen.answered.len() <= 4);
        }
        assert_eq!(
            seen.admit(key(0), now),
            Admission::InProgress,
            "work is never forgotten"
        );
        assert!(matches!(seen.admit(key(255), now), Admission::Replay(_)));
    }
}
