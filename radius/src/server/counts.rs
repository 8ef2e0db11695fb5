//! What became of datagrams.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::Malformed;

/// Why a datagram got no answer, or not one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// No gate of ours is at that address.
    UnknownSource,
    /// Fewer octets than a header, or than the header says.
    Truncated,
    /// The header's length is below 20 or above 4096.
    Length,
    /// A code that is not spoken.
    UnknownCode,
    /// An attribute of length 0 or 1, or one that runs past the packet's end; Message-Authenticator twice or of another length.
    Attributes,
    /// Not a request for this port.
    WrongPort,
    /// Not signed with a secret of the gate.
    Unverified,
    /// An Access-Request or Status-Server without Message-Authenticator.
    Unsigned,
    /// Likewise, of a gate that was allowed to until a date which is past.
    ExceptionOver,
    /// Likewise, of a gate that is allowed to, with Proxy-State.
    UnsignedProxyState,
    /// Too many gates stand at that address, and it names none of them.
    Unnamed,
    /// More Proxy-State than an answer has room for.
    ProxyState,
    /// A copy of a request that is being worked on.
    InProgress,
    /// More requests of one gate at once than are worked on.
    Busy,
    /// Well signed, but without what such a request must carry.
    Unusable,
    /// The use case failed.
    Failed,
}

const REASONS: usize = DropReason::ALL.len();

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Counts {
    answered: AtomicU64,
    replayed: AtomicU64,
    dropped: [AtomicU64; REASONS],
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 16] = [
        Self::UnknownSource,
        Self::Truncated,
        Self::Length,
        Self::UnknownCode,
        Self::Attributes,
        Self::WrongPort,
        Self::Unverified,
        Self::Unsigned,
        Self::ExceptionOver,
        Self::UnsignedProxyState,
        Self::Unnamed,
        Self::ProxyState,
        Self::InProgress,
        Self::Busy,
        Self::Unusable,
        Self::Failed,
    ];

    /// For logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::UnknownSource => "unknown_source",
            Self::Truncated => "truncated",
            Self::Length => "length",
            Self::UnknownCode => "unknown_code",
            Self::Attributes => "attributes",
            Self::WrongPort => "wrong_port",
            Self::Unverified => "unverified",
            Self::Unsigned => "no_message_authenticator",
            Self::ExceptionOver => "message_authenticator_exception_over",
            Self::UnsignedProxyState => "proxy_state_without_message_authenticator",
            Self::Unnamed => "no_nas_identifier",
            Self::ProxyState => "too_much_proxy_state",
            Self::InProgress => "in_progress",
            Self::Busy => "busy",
            Self::Unusable => "unusable",
            Self::Failed => "failed",
        }
    }
}

impl From<Malformed> for DropReason {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Truncated => Self::Truncated,
            Malformed::Length => Self::Length,
            Malformed::Code(_) => Self::UnknownCode,
            Malformed::Attributes | Malformed::MessageAuthenticator => Self::Attributes,
        }
    }
}

/// What was dropped, by reason, at some time.
pub(super) type Dropped = [u64; REASONS];

impl Counts {
    /// Logs what was dropped since `before`, if anything was, and returns what there is now.
    pub(super) fn log_since(&self, before: &Dropped) -> Dropped {
        let now = DropReason::ALL.map(|reason| self.dropped(reason));
        let since = DropReason::ALL.iter().zip(now).zip(before);
        let lines: Vec<String> = since
            .filter(|((_, now), before)| now > before)
            .map(|((reason, now), before)| format!("{}={}", reason.word(), now - before))
            .collect();
        if !lines.is_empty() {
            let dropped = lines.join(" ");
            tracing::warn!(dropped, "RADIUS datagrams dropped since the last such line");
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
        assert_eq!(counts.log_since(&[0; REASONS]), [1; REASONS]);
    }
}
