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

impl DropReason {
    const ALL: [Self; 7] = [
        Self::UnknownSource,
        Self::Malformed,
        Self::WrongPort,
        Self::Unverified,
        Self::InProgress,
        Self::Unusable,
        Self::Failed,
    ];
}

impl Counts {
    /// Logs what was dropped since `before`, if anything was, and returns what there is now.
    pub(super) fn log_since(&self, before: [u64; 7]) -> [u64; 7] {
        let now = DropReason::ALL.map(|reason| self.dropped(reason));
        let [
            unknown_source,
            malformed,
            wrong_port,
            unverified,
            in_progress,
            unusable,
            failed,
        ] = std::array::from_fn(|at| now.get(at).zip(before.get(at)).map_or(0, |(now, before)| now - before));
        if now != before {
            tracing::warn!(
                unknown_source,
                malformed,
                wrong_port,
                unverified,
                in_progress,
                unusable,
                failed,
                "RADIUS datagrams dropped since the last such line"
            );
        }
        now
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_in_its_own_place() {
        let counts = Counts::default();
        for (at, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            counts.add_dropped(reason);
        }
        assert_eq!(counts.log_since([0; 7]), [1; 7]);
    }
}
