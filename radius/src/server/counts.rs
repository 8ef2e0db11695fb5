//! What became of datagrams.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a datagram got no answer, or not one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// No gate of ours is at that address.
    UnknownSource,
    /// No RADIUS packet.
    Malformed,
    /// Not a request for this port.
    WrongPort,
    /// Not signed with the gate's secret, or Message-Authenticator is missing.
    Unverified,
    /// A copy of a request that is being worked on.
    InProgress,
    /// Well signed, but without what such a request must carry.
    Unusable,
    /// The use case failed.
    Failed,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Counts {
    answered: AtomicU64,
    replayed: AtomicU64,
    dropped: [AtomicU64; 7],
}

impl Counts {
    /// Requests answered for the first time.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Copies answered again, octet for octet.
    #[must_use]
    pub fn replayed(&self) -> u64 {
        self.replayed.load(Ordering::Relaxed)
    }

    /// Datagrams dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped
            .get(reason as usize)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(super) fn add_answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_replayed(&self) {
        self.replayed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_dropped(&self, reason: DropReason) {
        if let Some(count) = self.dropped.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
