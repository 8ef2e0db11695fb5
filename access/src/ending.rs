//! How sessions end, and how one comes back whose end was only presumed.
//!
//! A Stop, the restart of a gate of ours, its word that it has no such session, and a newer session of its in the same place are final.
//! Silence is not: the gate may be cut off, or the centre have been. Nor is a vendor's restart or word, or that it gives an Acct-Session-Id
//! again: one record may stand for many access points, and one of them knows nothing of the sessions of another. Nor is what a vendor's gate
//! asks for in the same place: until that has begun, the one before may go on. What ends so is *presumed* over, and the next sign of life
//! takes that back.

use std::time::Duration;

use kavadam_domain::quota::Lease;
use kavadam_domain::session::{SessionState, terminate_cause};
use kavadam_domain::time::CLOCKS_WITHIN;
use kavadam_domain::{LeaseId, NasId, SessionId, Timestamp};
use kavadam_store::{OrderKind, SessionRow, Tx};

use crate::AccessError;
use crate::namesake::is_vendors;

/// Between orders to end a session that its gate reports and does not know, doubled each time up to the longest. The first is sent at once: the
/// report may come from another access point than the one that was asked.
const FIRST_WAIT: Duration = Duration::from_secs(8);
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// What an administrator is told of such a session.
const REPORTED_AND_UNKNOWN: &str = "the gate reports it, and says to orders that it has no such session (Error-Cause 503): choose its vendor's \
                                    profile, or let orders go to what holds the session (--coa-host)";

/// Ends a session and gives back what its lease no longer needs. The first word on an end stands, except that any word is better than a
/// presumption.
pub async fn end_session(tx: &mut Tx, session: &mut SessionRow, cause: u32, at: Timestamp) -> Result<(), AccessError> {
    let is_live = session.state != SessionState::Ended;
    if is_live || session.is_presumed_ended {
        session.state = SessionState::Ended;
        session.is_presumed_ended = false;
        session.ended_at = Some(at.max(session.granted_at));
        session.terminate_cause = Some(cause);
    }
    session.settle_order();
    tx.save_session(session).await?;
    if is_live {
        give_back(tx, session).await?;
    }
    Ok(())
}

/// Takes a silent session for ended. An end that was ordered of its gate is kept, and ordered again should the session be alive.
pub async fn presume_ended(tx: &mut Tx, session: &mut SessionRow, now: Timestamp) -> Result<(), AccessError> {
    presume_ended_by(tx, session, terminate_cause::LOST_SERVICE, now).await
}

/// Takes a session for ended that its gate says it does not have. How often it said so is kept with an end that was ordered.
pub async fn presume_gone(tx: &mut Tx, session: &mut SessionRow, now: Timestamp) -> Result<(), AccessError> {
    let times = session.order_attempts.saturating_add(1);
    presume_ended(tx, session, now).await?;
    if session.order_action.is_some() {
        session.order_attempts = times;
        tx.save_session(session).await?;
    }
    Ok(())
}

/// Before it is asked again, of which the gate said so often that it does not have it.
fn wait_after(times: u32) -> Duration {
    match times.checked_sub(2) {
        None => Duration::ZERO,
        Some(more) => FIRST_WAIT.saturating_mul(1 << more.min(10)).min(LONGEST_WAIT),
    }
}

/// Takes a live session for ended, for that cause.
pub async fn presume_ended_by(
    tx: &mut Tx,
    session: &mut SessionRow,
    cause: u32,
    at: Timestamp,
) -> Result<(), AccessError> {
    let is_to_end = session.order_action == Some(OrderKind::End);
    session.state = SessionState::Ended;
    session.is_presumed_ended = true;
    session.ended_at = Some(at.max(session.granted_at));
    session.terminate_cause = Some(cause);
    session.settle_order();
    if is_to_end {
        session.order_action = Some(OrderKind::End);
    }
    tx.save_session(session).await?;
    give_back(tx, session).await
}

/// Takes a presumed end back on a sign of life, given at `at`: the gate holds what it was promised, so that is promised again, even if nothing
/// is left to promise. `false` if the session is not of that kind, or another has taken its place. The caller saves the session.
pub async fn reopen(tx: &mut Tx, session: &mut SessionRow, at: Timestamp, now: Timestamp) -> Result<bool, AccessError> {
    if session.state != SessionState::Ended || !session.is_presumed_ended {
        return Ok(false);
    }
    // Rare, and large.
    if Box::pin(is_replaced(tx, session, at, now)).await? {
        return Ok(false);
    }
    session.state = SessionState::Open;
    session.is_presumed_ended = false;
    session.ended_at = None;
    session.terminate_cause = None;
    session.heard_at = now;
    if session.order_action.is_some() {
        session.order_next_at = Some(now + wait_after(session.order_attempts));
        session.trouble = (session.order_attempts > 0).then(|| REPORTED_AND_UNKNOWN.to_owned());
    }
    if let Some(lease) = session.lease_id {
        tx.reopen_lease(lease).await?;
    }
    Ok(true)
}

/// Whether another live session goes by the name of this one.
pub async fn is_name_taken(tx: &mut Tx, session: &SessionRow) -> Result<bool, AccessError> {
    let Some(name) = session.acct_session_id.as_deref() else {
        return Ok(false);
    };
    let namesake = tx.live_session_named(session.nas_id, name).await?;
    Ok(namesake.is_some_and(|other| other.id != session.id))
}

/// A gate has one session per device, and one per Acct-Session-Id. Of a device's, the last that has begun is the one. What a vendor's gate
/// asked for and did not begin, while it goes on with the one before, has come to nothing: its answer was lost, or it was to let that go on.
async fn is_replaced(tx: &mut Tx, session: &SessionRow, at: Timestamp, now: Timestamp) -> Result<bool, AccessError> {
    if is_name_taken(tx, session).await? {
        return Ok(true);
    }
    let mut rivals = tx.live_sessions_of(session.subscriber_id).await?;
    rivals.retain(|other| session.mac.is_some() && other.mac == session.mac && other.nas_id == session.nas_id);
    let order = |one: &SessionRow| (one.granted_at, one.id);
    let stands = |other: &SessionRow| {
        session.is_renewable
            || order(other) > order(session) && (other.state == SessionState::Open || other.granted_at >= at)
    };
    if rivals.iter().any(stands) {
        return Ok(true);
    }
    for mut rival in rivals {
        presume_ended(tx, &mut rival, now).await?;
    }
    Ok(false)
}

/// A gate that lost its memory may give an Acct-Session-Id again that we still think live. Ends that session, unless it is `but`. At a vendor's
/// it may be another gate that did, one that does not say who it is: there it is taken for ended.
pub async fn end_namesake(
    tx: &mut Tx,
    nas: NasId,
    acct_session_id: &str,
    but: Option<SessionId>,
    now: Timestamp,
) -> Result<(), AccessError> {
    let is_other_and_live = |session: &SessionRow| Some(session.id) != but && session.state != SessionState::Ended;
    let found = tx.live_session_named(nas, acct_session_id).await?;
    let Some(found) = found.filter(is_other_and_live) else {
        return Ok(());
    };
    // Rare, and large: on the heap it is not part of each login and report, which are moved with all they may come to.
    Box::pin(async move {
        tx.lock_subscriber(found.subscriber_id).await?;
        let is_vendors = is_vendors(tx, nas).await?;
        if let Some(mut session) = tx.session(found.id).await?.filter(is_other_and_live) {
            if is_vendors {
                presume_ended(tx, &mut session, now).await?;
            } else {
                end_session(tx, &mut session, terminate_cause::LOST_SERVICE, now).await?;
            }
        }
        Ok(())
    })
    .await
}

/// Closes the lease of an ended session unless others are open under it.
///
/// Those granted and not heard of yet may have begun at the gate before this one ended, so that the shared quota lived on with them: their
/// Start is under way, and a gate reports in order for each device only. What is left of the lease stays promised then, until they end.
async fn give_back(tx: &mut Tx, session: &SessionRow) -> Result<(), AccessError> {
    let Some(lease) = session.lease_id else { return Ok(()) };
    let left = tx.live_sessions_under(lease).await?;
    if left.iter().any(|session| session.state == SessionState::Open) {
        return Ok(());
    }
    let ended_at = session.ended_at.unwrap_or(session.granted_at);
    if left.iter().any(|other| other.granted_at <= ended_at + CLOCKS_WITHIN) {
        let following = tx.follow_lease(lease, sum_of(&left)).await?;
        return move_under(tx, left, following.id).await;
    }
    tx.close_lease(lease).await?;
    if !left.is_empty() {
        // The gate's shared quota died with its last session; those let in since then begin one of their own.
        let own = tx
            .add_lease(session.entitlement_id, session.nas_id, true, sum_of(&left))
            .await?;
        move_under(tx, left, own.id).await?;
    }
    quicken(tx, session).await
}

fn sum_of(sessions: &[SessionRow]) -> Lease {
    Lease {
        granted_octets: sessions.iter().map(|session| session.granted_octets).sum(),
        used_octets: sessions.iter().map(|session| session.meter().total_octets()).sum(),
    }
}

async fn move_under(tx: &mut Tx, sessions: Vec<SessionRow>, lease: LeaseId) -> Result<(), AccessError> {
    for mut session in sessions {
        session.lease_id = Some(lease);
        tx.save_session(&session).await?;
    }
    Ok(())
}

/// Those of the person who were slowed because this gate held the rest may get it now.
async fn quicken(tx: &mut Tx, ended: &SessionRow) -> Result<(), AccessError> {
    let now = ended.ended_at.unwrap_or(ended.granted_at);
    for mut session in tx.live_sessions_of(ended.subscriber_id).await? {
        if session.is_throttled {
            session.order(OrderKind::Change, now);
            tx.save_session(&session).await?;
        }
    }
    Ok(())
}
