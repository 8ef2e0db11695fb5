//! States of a session, and how it ends.

use serde::{Deserialize, Serialize};

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// Accepted; the gate has not yet reported a Start.
    Granted,
    /// Online.
    Open,
    /// Over. A later report may still add octets to it; only an end that was presumed from silence is ever taken back.
    Ended,
}

impl SessionState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Granted, Self::Open, Self::Ended];

    /// The word for storage and `--json`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Open => "open",
            Self::Ended => "ended",
        }
    }

    /// The state of a stored word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// After a Start or Interim-Update. An ended session stays ended: the report was late.
    #[must_use]
    pub const fn after_report(self) -> Self {
        match self {
            Self::Granted | Self::Open => Self::Open,
            Self::Ended => Self::Ended,
        }
    }
}

/// Acct-Terminate-Cause values we send or set (RFC 2866 §5.10).
pub mod terminate_cause {
    /// The citizen pressed disconnect.
    pub const USER_REQUEST: u32 = 1;
    /// The gate lost it: no report for too long.
    pub const LOST_SERVICE: u32 = 3;
    /// Idle-Timeout.
    pub const IDLE_TIMEOUT: u32 = 4;
    /// Session-Timeout.
    pub const SESSION_TIMEOUT: u32 = 5;
    /// An administrator, by Disconnect-Request.
    pub const ADMIN_RESET: u32 = 6;
    /// The gate could not do what was granted, or lost the session by somebody's interference.
    pub const NAS_ERROR: u32 = 9;
    /// The gate restarted.
    pub const NAS_REBOOT: u32 = 11;
    /// The gate ended it for want of octets: RFC 2866 has no word for a quota; "NAS Request" is what it offers for a reason not listed.
    pub const NAS_REQUEST: u32 = 10;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_report_does_not_reopen_an_ended_session() {
        assert_eq!(SessionState::Ended.after_report(), SessionState::Ended);
        assert_eq!(SessionState::Granted.after_report(), SessionState::Open);
    }

    #[test]
    fn every_state_is_found_by_its_word() {
        for state in SessionState::ALL {
            assert_eq!(SessionState::from_word(state.word()), Some(state));
        }
    }
}
