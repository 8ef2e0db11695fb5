//! Requests already seen, and what was answered to them.
//!
//! A client that hears nothing sends the same packet again. Doing the work twice would burn a one-time code or charge octets
//! twice, so a copy gets the first answer, octet for octet, or nothing while that is still being worked out (RFC 5080 §2.2.2).

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// Not seen before, and there is no room: the client will ask again.
    Full,
}

/// How much may be remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// How long an answer is; it should outlast the clients' retransmissions.
    pub(crate) lifetime: Duration,
    /// Answers of this one, octets, with what it takes to keep them. Beyond, the oldest are forgotten first.
    pub(crate) octets: usize,
    /// Requests being worked on at once.
    pub(crate) under_way: usize,
}

/// What several remember together.
#[derive(Debug)]
pub(crate) struct Total {
    used: AtomicUsize,
    /// Once this much is used, whoever adds an answer forgets as much of their own, down to [`KEPT_OCTETS`].
    octets: usize,
}

impl Total {
    pub(crate) fn new(octets: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            octets,
        })
    }

    fn is_used_up(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.octets
    }
}

/// What an answer takes besides its own octets: its key twice, when it was given, what counts its owners, and the tables' spare room.
const OVERHEAD_OCTETS: usize = 120;
/// What is left to each even if all the others remember more than their share: about the 256 requests that one port can have open.
const KEPT_OCTETS: usize = 256 * (OVERHEAD_OCTETS + 200);

/// A key as it is kept, of which there are a hundred thousand: its hash, by a secret of this process. Should two ever share one, the
/// second is taken for a copy, and its gate drops the answer it cannot verify and asks anew.
type Digest = u64;

/// A time in milliseconds, which begins anew every 49 days: far longer than anything is remembered.
type Millis = u32;

/// Remembers answers for a time, up to an amount; and what is being worked on for as long as that takes.
pub(crate) struct Duplicates {
    bounds: Bounds,
    total: Arc<Total>,
    /// `None` while it is being worked on.
    seen: HashMap<Digest, Option<Arc<[u8]>>>,
    digests: RandomState,
    /// The answered ones and when, the oldest first.
    answered: VecDeque<(Digest, Millis)>,
    octets: usize,
    /// From when on times are counted, and the latest one seen.
    times: Option<(Instant, Instant)>,
}

impl Duplicates {
    /// `total` is what all that share it remember together.
    pub(crate) fn new(bounds: Bounds, total: &Arc<Total>) -> Self {
        Self {
            bounds,
            total: Arc::clone(total),
            seen: HashMap::new(),
            digests: RandomState::new(),
            answered: VecDeque::new(),
            octets: 0,
            times: None,
        }
    }

    pub(crate) fn admit(&mut self, key: &Key, now: Instant) -> Admission {
        self.expire(now);
        let key = self.digests.hash_one(key);
        match self.seen.get(&key) {
            Some(Some(reply)) => Admission::Replay(Arc::clone(reply)),
            Some(None) => Admission::InProgress,
            None if self.seen.len() - self.answered.len() >= self.bounds.under_way => Admission::Full,
            None => {
                self.seen.insert(key, None);
                Admission::New
            }
        }
    }

    /// Keeps the answer for copies to come.
    pub(crate) fn answered(&mut self, key: &Key, reply: Arc<[u8]>, now: Instant) {
        self.expire(now);
        let key = self.digests.hash_one(key);
        let octets = OVERHEAD_OCTETS + reply.len();
        while self.octets + octets > self.bounds.octets || (self.total.is_used_up() && self.octets > KEPT_OCTETS) {
            let Some((oldest, _)) = self.answered.pop_front() else {
                break;
            };
            self.drop_answer(oldest);
        }
        self.seen.insert(key, Some(reply));
        let now = self.millis(now);
        self.answered.push_back((key, now));
        self.octets += octets;
        self.total.used.fetch_add(octets, Ordering::Relaxed);
    }

    /// There was no answer: a copy deserves another attempt.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.seen.remove(&self.digests.hash_one(key));
    }

    #[cfg(feature = "server")]
    pub(crate) fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.answered.is_empty()
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Instant) {
        let (now, lifetime) = (self.millis(now), self.bounds.lifetime.as_millis());
        let is_old = |(_, at): &mut (Digest, Millis)| u128::from(now.wrapping_sub(*at)) >= lifetime;
        while let Some((key, _)) = self.answered.pop_front_if(is_old) {
            self.drop_answer(key);
        }
    }

    /// Never goes back: who comes with a time read a moment before another's would otherwise find that one's answer weeks old.
    fn millis(&mut self, now: Instant) -> Millis {
        let (since, latest) = self.times.get_or_insert((now, now));
        *latest = now.max(*latest);
        let millis = latest.duration_since(*since).as_millis() & u128::from(Millis::MAX);
        Millis::try_from(millis).unwrap_or_default()
    }

    fn drop_answer(&mut self, key: Digest) {
        if let Some(Some(reply)) = self.seen.remove(&key) {
            let octets = OVERHEAD_OCTETS + reply.len();
            self.octets -= octets;
            self.total.used.fetch_sub(octets, Ordering::Relaxed);
        }
    }
}

impl Drop for Duplicates {
    fn drop(&mut self) {
        self.total.used.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(30);

    fn duplicates(octets: usize) -> Duplicates {
        let bounds = Bounds {
            lifetime: LIFETIME,
            octets,
            under_way: 10,
        };
        Duplicates::new(bounds, &Total::new(usize::MAX))
    }

    /// Of so many of the answers used here.
    const fn room_for(answers: usize) -> usize {
        answers * (OVERHEAD_OCTETS + "answer".len())
    }

    fn key(identifier: u8) -> Key {
        Key {
            source: (Ipv4Addr::LOCALHOST, 5).into(),
            identifier,
            authenticator: [9; 16],
        }
    }

    #[test]
    fn a_copy_waits_while_the_first_is_worked_on_and_then_gets_its_answer() {
        let mut seen = duplicates(room_for(10));
        let now = Instant::now();
        assert_eq!(seen.admit(&key(1), now), Admission::New);
        assert_eq!(seen.admit(&key(1), now), Admission::InProgress);
        let reply: Arc<[u8]> = Arc::from(&b"answer"[..]);
        seen.answered(&key(1), Arc::clone(&reply), now);
        assert_eq!(seen.admit(&key(1), now), Admission::Replay(reply));
    }

    #[test]
    fn another_port_or_authenticator_is_another_request() {
        let mut seen = duplicates(room_for(10));
        let now = Instant::now();
        assert_eq!(seen.admit(&key(1), now), Admission::New);
        let other_port = Key {
            source: (Ipv4Addr::LOCALHOST, 6).into(),
            ..key(1)
        };
        let other_authenticator = Key {
            authenticator: [8; 16],
            ..key(1)
        };
        assert_eq!(seen.admit(&other_port, now), Admission::New);
        assert_eq!(seen.admit(&other_authenticator, now), Admission::New);
    }

    #[test]
    fn what_was_not_answered_may_be_tried_again() {
        let mut seen = duplicates(room_for(10));
        let now = Instant::now();
        seen.admit(&key(1), now);
        seen.forget(&key(1));
        assert_eq!(seen.admit(&key(1), now), Admission::New);
        assert_eq!(seen.admit(&key(1), now), Admission::InProgress);
    }

    #[test]
    fn an_answer_is_remembered_from_when_it_was_given() {
        let mut seen = duplicates(room_for(10));
        let now = Instant::now();
        seen.admit(&key(1), now);
        let later = now + 3 * LIFETIME;
        assert_eq!(
            seen.admit(&key(1), later),
            Admission::InProgress,
            "however long it takes"
        );
        seen.answered(&key(1), Arc::from(&b"answer"[..]), later);
        let almost = later + Duration::from_secs(29);
        assert!(matches!(seen.admit(&key(1), almost), Admission::Replay(_)));
        assert_eq!(seen.admit(&key(1), later + LIFETIME), Admission::New);
    }

    #[test]
    fn what_is_forgotten_is_also_after_weeks_told_by_its_age() {
        let mut seen = duplicates(room_for(10));
        let now = Instant::now();
        assert_eq!(seen.admit(&key(1), now), Admission::New);
        // A second before the count of milliseconds begins anew.
        let before = now + Duration::from_millis((1 << 32) - 1000);
        seen.answered(&key(1), Arc::from(&b"answer"[..]), before);
        assert!(matches!(
            seen.admit(&key(1), before + Duration::from_secs(2)),
            Admission::Replay(_)
        ));
        assert_eq!(seen.admit(&key(1), before + LIFETIME), Admission::New);
    }

    #[test]
    fn who_read_the_clock_before_another_was_answered_forgets_nothing() {
        let mut seen = duplicates(room_for(10));
        let now = Instant::now();
        assert_eq!(seen.admit(&key(1), now), Admission::New);
        seen.answered(&key(1), Arc::from(&b"answer"[..]), now + Duration::from_millis(5));
        assert!(matches!(seen.admit(&key(1), now), Admission::Replay(_)));
    }

    #[test]
    fn an_address_of_either_family_is_told_apart_by_all_of_it() {
        let mut seen = duplicates(room_for(10));
        let now = Instant::now();
        for source in [
            "192.0.2.1:5",
            "192.0.2.2:5",
            "192.0.2.2:6",
            "[2001:db8::1]:5",
            "[2001:db8:1::1]:5",
        ] {
            let key = Key {
                source: source.parse().unwrap(),
                ..key(1)
            };
            assert_eq!(seen.admit(&key, now), Admission::New, "{source}");
            assert_eq!(seen.admit(&key, now), Admission::InProgress, "{source}");
        }
    }

    #[test]
    fn never_remembers_more_answers_than_it_has_room_for() {
        let mut seen = duplicates(room_for(4));
        let now = Instant::now();
        assert_eq!(seen.admit(&key(0), now), Admission::New);
        for identifier in 1..=255 {
            assert_eq!(seen.admit(&key(identifier), now), Admission::New);
            seen.answered(&key(identifier), Arc::from(&b"answer"[..]), now);
            assert!(seen.seen.len() <= 5 && seen.answered.len() <= 4);
        }
        assert_eq!(
            seen.admit(&key(0), now),
            Admission::InProgress,
            "work is never forgotten"
        );
        assert!(matches!(seen.admit(&key(255), now), Admission::Replay(_)));
        seen.answered(&key(0), vec![0; 2 * room_for(4)].into(), now);
        assert!(
            matches!(seen.admit(&key(0), now), Admission::Replay(_)) && seen.answered.len() == 1,
            "a single answer is kept whatever its size"
        );
    }

    #[test]
    fn work_under_way_has_a_bound_and_what_was_answered_makes_room() {
        let mut seen = duplicates(room_for(10));
        let now = Instant::now();
        for identifier in 0..10 {
            assert_eq!(seen.admit(&key(identifier), now), Admission::New);
        }
        assert_eq!(seen.admit(&key(10), now), Admission::Full);
        assert_eq!(seen.admit(&key(9), now), Admission::InProgress);
        seen.answered(&key(0), Arc::from(&b"answer"[..]), now);
        assert_eq!(seen.admit(&key(10), now), Admission::New);
    }

    #[test]
    fn who_remembers_much_makes_room_when_all_is_used_up_and_the_others_keep_theirs() {
        let total = Total::new(4 * KEPT_OCTETS);
        let bounds = Bounds {
            lifetime: LIFETIME,
            octets: usize::MAX,
            under_way: 10,
        };
        let now = Instant::now();
        let fill = |seen: &mut Duplicates, answers: u32| {
            for number in 0..answers {
                let key = Key {
                    authenticator: u128::from(number).to_be_bytes(),
                    ..key(1)
                };
                assert_eq!(seen.admit(&key, now), Admission::New);
                seen.answered(&key, vec![0; 200].into(), now);
            }
        };
        let mut quiet = Duplicates::new(bounds, &total);
        fill(&mut quiet, 100);
        let mut hostile = Duplicates::new(bounds, &total);
        fill(&mut hostile, 100_000);
        assert_eq!(quiet.answered.len(), 100);
        assert!(total.used.load(Ordering::Relaxed) <= 5 * KEPT_OCTETS);
        let mut late = Duplicates::new(bounds, &total);
        fill(&mut late, 200);
        assert_eq!(late.answered.len(), 200, "there is room for whoever remembers little");
        drop((quiet, hostile, late));
        assert_eq!(total.used.load(Ordering::Relaxed), 0);
    }
}
