//! When a session began that a gate reports. Where names and Class leave open which one is meant, that tells it.

use std::time::Duration;

use kavadam_domain::Timestamp;
use kavadam_domain::time::CLOCKS_WITHIN;
use kavadam_store::{SessionRow, VendorRow};

use crate::api::{AccountingKind, AccountingReport};

/// From an Access-Accept to the session that it lets begin, at the latest.
const BEGINS_WITHIN: Duration = Duration::from_mins(3);
/// What is reported of one session differs by less, however late it comes.
const LATE_WITHIN: Duration = Duration::from_mins(10);

/// By Acct-Session-Time, which needs no clock that is right.
#[derive(Debug, Clone, Copy)]
pub struct Began {
    /// By the time of the report: right, however late it is, if the gate's clock is.
    by_gate: Timestamp,
    /// By our time of its arrival: right, whatever the gate's clock says, if it came at once.
    by_us: Timestamp,
    secs: u32,
    is_start: bool,
}

/// When a gate asked for a session without a name, and no report has shown yet what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub first: Timestamp,
    pub last: Timestamp,
}

impl Asked {
    /// `None` if it did not, or if the gate went on with the session under its old name.
    pub fn of(session: &SessionRow, words: Option<&VendorRow>) -> Option<Self> {
        let first = words?.asked_at?;
        let is_settled = session.reported_at.is_some_and(|at| at > first + CLOCKS_WITHIN);
        // Whenever it asks it is heard of, but for half a minute; reports are heard too, until one settles it.
        let last = session.heard_at;
        (!is_settled).then_some(Self { first, last })
    }
}

impl Began {
    pub fn of(report: &AccountingReport, now: Timestamp) -> Self {
        let secs = report.counters.session_secs;
        let age = Duration::from_secs(secs.into());
        Self {
            by_gate: report.at - age,
            by_us: now - age,
            secs,
            is_start: report.kind == AccountingKind::Start,
        }
    }

    fn any(self, fits: impl Fn(Timestamp) -> bool) -> bool {
        fits(self.by_gate) || fits(self.by_us)
    }

    /// As an Access-Accept of that time lets it, or before: some gates count from when the device came.
    pub fn is_by(self, asked_at: Timestamp) -> bool {
        self.any(|began| began <= asked_at + BEGINS_WITHIN)
    }

    /// As one of several Access-Accepts lets it, and not before.
    pub fn is_upon(self, asked: Asked) -> bool {
        self.any(|began| began + CLOCKS_WITHIN >= asked.first && began <= asked.last + BEGINS_WITHIN)
    }

    /// Before then.
    pub fn is_before(self, at: Timestamp) -> bool {
        !self.any(|began| began + CLOCKS_WITHIN >= at)
    }

    /// No later than that session did.
    pub fn is_with(self, session: &SessionRow) -> bool {
        self.by_gate <= begin_of(session) + BEGINS_WITHIN
    }

    /// With that session rather than with the other.
    pub fn is_rather_with(self, session: &SessionRow, other: &SessionRow) -> bool {
        let apart = |session: &SessionRow| {
            let began_at = begin_of(session);
            self.by_gate.since(began_at).max(began_at.since(self.by_gate))
        };
        apart(session) < apart(other)
    }

    /// Long after that session did: a gate that counted anew gives its name again. A gate that does not say how old a session is tells
    /// nothing.
    pub fn is_long_after(self, session: &SessionRow) -> bool {
        (self.is_start || self.secs > 0) && self.by_gate > begin_of(session) + LATE_WITHIN
    }

    /// Another than that session, which began before: a Start tells when within a minute, a report however late it comes.
    pub fn is_another_than(self, session: &SessionRow) -> bool {
        if self.is_start {
            self.by_gate > begin_of(session) + CLOCKS_WITHIN
        } else {
            self.is_long_after(session)
        }
    }

    /// Before that session was granted, while all that was reported of it until now has begun since.
    pub fn is_too_old_for(self, session: &SessionRow) -> bool {
        let lasted = session
            .reported_at
            .map_or(Duration::ZERO, |at| at.since(session.granted_at));
        let is_as_old = Duration::from_secs(session.session_secs.into()) > lasted + CLOCKS_WITHIN;
        self.by_gate + CLOCKS_WITHIN < session.granted_at && !is_as_old
    }
}

fn begin_of(session: &SessionRow) -> Timestamp {
    session.started_at.unwrap_or(session.granted_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// Of so many seconds ago by the gate's time.
    fn began(secs: u32, ago: u64) -> Began {
        let at = NOW - Duration::from_secs(ago);
        let age = Duration::from_secs(secs.into());
        Began {
            by_gate: at - age,
            by_us: NOW - age,
            secs,
            is_start: secs == 0,
        }
    }

    fn before(secs: u64) -> Timestamp {
        NOW - Duration::from_secs(secs)
    }

    fn once(at: Timestamp) -> Asked {
        Asked { first: at, last: at }
    }

    #[test]
    fn a_session_begins_soon_after_its_answer_and_not_before() {
        assert!(began(0, 0).is_upon(once(before(170))));
        assert!(!began(0, 0).is_upon(once(before(190))));
        assert!(began(300, 0).is_upon(once(before(290))), "clocks differ");
        assert!(!began(300, 0).is_upon(once(before(200))));
        assert!(
            began(300, 0).is_by(before(200)),
            "the gate counts from when the device came"
        );
        let often = Asked {
            first: before(600),
            last: before(60),
        };
        assert!(began(300, 0).is_upon(often), "one of many answers");
    }

    #[test]
    fn a_late_report_and_one_of_a_wrong_clock_are_of_when_they_can_be() {
        assert!(began(60, 600).is_upon(once(before(650))), "ten minutes late");
        assert!(began(60, 7_200).is_upon(once(before(50))), "a clock two hours behind");
        assert!(began(600, 0).is_before(before(300)));
        assert!(!began(60, 7_200).is_before(before(300)), "a clock two hours behind");
    }
}
