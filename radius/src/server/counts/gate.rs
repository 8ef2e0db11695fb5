//! The counters of one gate.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use kavadam_access::api::NasEntry;
use kavadam_access::latency::Latency;
use kavadam_domain::Timestamp;
use kavadam_domain::gate::OWN_PROFILE;
use serde::{Deserialize, Serialize};

use super::{DropReason, REASONS};
use crate::listener::lock;
use crate::server::habits::Habits;
use crate::wire::{Code, Packet};

/// What a gate asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// Access-Request.
    Access,
    /// Accounting-Request.
    Accounting,
    /// Status-Server.
    Status,
}

impl RequestKind {
    const ALL: [Self; 3] = [Self::Access, Self::Accounting, Self::Status];

    const fn word(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Accounting => "accounting",
            Self::Status => "status",
        }
    }
}

/// Answers that are counted apart.
const REPLIES: [(Code, &str); 5] = [
    (Code::AccessAccept, "access-accept"),
    (Code::AccessReject, "access-reject"),
    (Code::AccessChallenge, "access-challenge"),
    (Code::AccountingResponse, "accounting-response"),
    // To a Status-Server, whatever its code.
    (Code::StatusServer, "status"),
];

/// Counters of one gate.
#[derive(Default)]
pub struct GateCounts {
    requests: [AtomicU64; 3],
    replies: [AtomicU64; 5],
    replayed: AtomicU64,
    dropped: [AtomicU64; REASONS],
    access_latency: Latency,
    accounting_latency: Latency,
    /// Microseconds since 1970; 0: not yet.
    heard_at: AtomicI64,
    /// By the word of the reason: as many as there are reasons.
    rejects: Mutex<BTreeMap<&'static str, u64>>,
    /// By the word of the answer, with the Error-Cause of a refusal.
    orders: Mutex<BTreeMap<String, u64>>,
    /// Of no number, and kept beside them: what is learnt of a gate where it is heard is needed where orders leave.
    habits: Habits,
}

/// What [`GateCounts`] stood at. Words are those of [`DropReason::word`], `Reason::code` and the names of replies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateFigures {
    /// Well signed requests that were new, by kind: `access`, `accounting`, `status`.
    pub requests: BTreeMap<String, u64>,
    /// First answers, by code.
    pub replies: BTreeMap<String, u64>,
    /// Access-Rejects by reason.
    pub rejects: BTreeMap<String, u64>,
    /// Datagrams without an answer of their own, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Copies answered again, octet for octet.
    pub replayed: u64,
    /// From an Access-Request's arrival to its answer: how many within each bucket of [`super::bucket_micros`].
    pub access_latency: Vec<u64>,
    /// Microseconds spent on all of them.
    pub access_latency_micros: u64,
    /// Likewise of Accounting-Requests.
    pub accounting_latency: Vec<u64>,
    /// Microseconds spent on all of them.
    pub accounting_latency_micros: u64,
    /// Orders to the gate by what it answered: `sent`, `ack`, `nak-CAUSE`, `silence`.
    pub orders: BTreeMap<String, u64>,
    /// Last well signed request, seconds since 1970.
    pub heard_at: Option<i64>,
}

impl GateCounts {
    /// A new and well signed request.
    pub(crate) fn add_request(&self, kind: RequestKind, now: Timestamp) {
        add(&self.requests, kind as usize);
        self.heard_at.store(now.0, Ordering::Relaxed);
    }

    /// The first answer to a request, and how long that took; [`Code::StatusServer`] stands for an answer to one.
    pub(crate) fn add_reply(&self, code: Code, took: Duration) {
        if let Some(at) = REPLIES.iter().position(|(known, _)| *known == code) {
            add(&self.replies, at);
        }
        match code {
            Code::AccountingResponse => self.accounting_latency.add(took),
            Code::StatusServer => {}
            _ => self.access_latency.add(took),
        }
    }

    /// An Access-Reject, for this reason.
    pub(crate) fn add_reject(&self, reason: &'static str) {
        *lock(&self.rejects).entry(reason).or_default() += 1;
    }

    pub(crate) fn add_replayed(&self) {
        self.replayed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_dropped(&self, reason: DropReason) {
        add(&self.dropped, reason as usize);
    }

    /// What became of an order: the word counts, and a gate can say only so many.
    pub(crate) fn add_order(&self, outcome: &str) {
        const MOST: usize = 64;
        let mut orders = lock(&self.orders);
        if let Some(count) = orders.get_mut(outcome) {
            *count += 1;
        } else if orders.len() < MOST {
            orders.insert(outcome.to_owned(), 1);
        }
    }

    /// A well signed request, for orders to whoever sent it: one of ours takes them as we say them.
    pub(in crate::server) fn hear(&self, packet: &Packet, nas: &NasEntry) {
        if nas.profile != OWN_PROFILE {
            self.habits.hear(packet);
        }
    }

    pub(in crate::server) const fn habits(&self) -> &Habits {
        &self.habits
    }

    pub(super) fn answered(&self) -> u64 {
        self.replies.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn replayed(&self) -> u64 {
        self.replayed.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        load(&self.dropped, reason as usize)
    }

    /// What they stand at.
    #[must_use]
    pub fn figures(&self) -> GateFigures {
        let heard_at = self.heard_at.load(Ordering::Relaxed);
        let requests = RequestKind::ALL.map(|kind| (kind.word(), load(&self.requests, kind as usize)));
        let replies = REPLIES.iter().enumerate();
        let replies = replies.map(|(at, (_, word))| (*word, load(&self.replies, at)));
        let dropped = DropReason::ALL.map(|reason| (reason.word(), self.dropped(reason)));
        GateFigures {
            requests: seen(requests),
            replies: seen(replies),
            rejects: seen(lock(&self.rejects).iter().map(|(word, count)| (*word, *count))),
            dropped: seen(dropped),
            replayed: self.replayed(),
            access_latency: self.access_latency.buckets(),
            access_latency_micros: self.access_latency.total_micros(),
            accounting_latency: self.accounting_latency.buckets(),
            accounting_latency_micros: self.accounting_latency.total_micros(),
            orders: lock(&self.orders).clone(),
            heard_at: (heard_at != 0).then(|| Timestamp(heard_at).as_secs()),
        }
    }
}

/// Without those that never happened.
fn seen<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> BTreeMap<String, u64> {
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    counts.map(|(word, count)| (word.to_owned(), count)).collect()
}

fn add(counts: &[AtomicU64], at: usize) {
    if let Some(count) = counts.get(at) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn load(counts: &[AtomicU64], at: usize) -> u64 {
    counts.get(at).map_or(0, |count| count.load(Ordering::Relaxed))
}
