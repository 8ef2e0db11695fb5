//! What a clock of the centre's that was ahead has noted of sessions. Once it is set right, nobody was heard of, granted or reported in what is
//! yet to come: left alone, a session would be silent, and what is told of it news, only when that time is there.

use std::time::Duration;

use kavadam_domain::Timestamp;
use kavadam_domain::time::CLOCKS_WITHIN;
use kavadam_store::SessionRow;

/// Whether that time was noted by such a clock, and not by another machine's.
pub fn is_ahead(at: Timestamp, now: Timestamp) -> bool {
    at > now + CLOCKS_WITHIN
}

/// As [`set_right`], for a report of that time: it is news, as the last was noted by such a clock.
pub fn set_right_for(session: &mut SessionRow, reported: Timestamp, now: Timestamp) {
    let was_ahead = session.reported_at.is_some_and(|at| is_ahead(at, now));
    set_right(session, now);
    if was_ahead {
        session.reported_at = Some(reported.min(now) - Duration::from_micros(1));
    }
}

/// Takes what such a clock has noted for what is now. Under the subscriber's lock; the caller saves the session.
pub fn set_right(session: &mut SessionRow, now: Timestamp) {
    let right = |at: Timestamp| if is_ahead(at, now) { now } else { at };
    session.granted_at = right(session.granted_at);
    session.started_at = session.started_at.map(right);
    session.reported_at = session.reported_at.map(right);
    session.heard_at = right(session.heard_at);
    session.ended_at = session.ended_at.map(right);
}
