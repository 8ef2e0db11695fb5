//! The last answers to Access-Requests, for whoever asks why.
//!
//! Kept in memory alone and for a short while, since they tell who was where: refusals and grants apart, so that a busy hour of
//! the one does not push out the other.

use std::collections::VecDeque;
use std::sync::Mutex;

use kavadam_access::api::Grounds;
use kavadam_domain::{Mac, NasId, Reason, Timestamp};

use crate::listener::lock;

/// Of each kind at most: about a megabyte.
const MOST: usize = 4096;
/// A name longer than this is cut: an ordinary one is a number, a MAC or a ticket.
const MOST_NAME_OCTETS: usize = 64;

/// An answer to an Access-Request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// When.
    pub at: Timestamp,
    /// To which gate.
    pub nas: NasId,
    /// User-Name of the request.
    pub user_name: String,
    /// The device, if the gate named one.
    pub mac: Option<Mac>,
    /// What was asked: `login`, `return` or `renewal`.
    pub asked: &'static str,
    /// What was said.
    pub outcome: Outcome,
}

/// See [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Access-Accept; the alias of the person.
    Granted(String),
    /// Access-Reject, and what it rested on.
    Refused(Reason, Grounds),
}

/// The last answers, the newest last.
#[derive(Default)]
pub struct Recent {
    granted: Mutex<VecDeque<Answer>>,
    refused: Mutex<VecDeque<Answer>>,
}

impl Recent {
    pub(crate) fn add(&self, mut answer: Answer) {
        answer
            .user_name
            .truncate(answer.user_name.floor_char_boundary(MOST_NAME_OCTETS));
        let mut ring = lock(match answer.outcome {
            Outcome::Granted(_) => &self.granted,
            Outcome::Refused(..) => &self.refused,
        });
        if ring.len() >= MOST {
            ring.pop_front();
        }
        ring.push_back(answer);
    }

    /// Those that are meant, at most `most`, the newest first.
    pub fn find(&self, is_meant: impl Fn(&Answer) -> bool, most: usize) -> Vec<Answer> {
        let mut found = Vec::new();
        for ring in [&self.granted, &self.refused] {
            let ring = lock(ring);
            found.extend(ring.iter().rev().filter(|answer| is_meant(answer)).take(most).cloned());
        }
        found.sort_by_key(|answer| std::cmp::Reverse(answer.at));
        found.truncate(most);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(sec: i64, name: &str, outcome: Outcome) -> Answer {
        Answer {
            at: Timestamp::from_secs(sec),
            nas: NasId(1),
            user_name: name.to_owned(),
            mac: None,
            asked: "login",
            outcome,
        }
    }

    #[test]
    fn a_storm_of_grants_does_not_push_out_the_refusal_that_is_asked_for() {
        let recent = Recent::default();
        recent.add(answer(1, "a", Outcome::Refused(Reason::Blocked, Grounds::default())));
        for sec in 2..10_000 {
            recent.add(answer(sec, "b", Outcome::Granted("alias".into())));
        }
        let found = recent.find(|answer| answer.user_name == "a", 10);
        assert_eq!(found.len(), 1);
        let newest = recent.find(|_| true, 3);
        let secs: Vec<i64> = newest.iter().map(|answer| answer.at.as_secs()).collect();
        assert_eq!(secs, [9_999, 9_998, 9_997]);
        assert_eq!(recent.find(|_| true, usize::MAX).len(), MOST + 1, "bounded");
    }

    #[test]
    fn a_name_made_to_fill_the_memory_is_cut() {
        let recent = Recent::default();
        recent.add(answer(
            1,
            &"ക".repeat(100),
            Outcome::Refused(Reason::Blocked, Grounds::default()),
        ));
        let found = recent.find(|_| true, 1);
        assert_eq!(found[0].user_name, "ക".repeat(21));
    }
}
