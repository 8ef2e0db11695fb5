//! Which session a gate speaks of. Class is the surest tie, but some gates keep it while they number a session anew; what they then report
//! is a session that follows on from the one granted, of the same person, out of the same lease.

use std::time::Duration;

use kavadam_domain::session::SessionState;
use kavadam_domain::{Limits, Mac, NasId, SessionId, SubscriberId, Timestamp};
use kavadam_store::{NewSession, OrderKind, SessionRow, Tx};

use crate::AccessError;
use crate::api::{AccountingReport, AuthorizeRequest};
use crate::ending::{end_namesake, presume_ended};
use crate::namesake::{find_given_by_another, is_bare_same, is_of_a_namesake};

/// What a gate's Class and Acct-Session-Id lead to.
pub enum Found {
    /// The session.
    Session(Reference),
    /// The session granted with that Class, which goes by another Acct-Session-Id.
    Renamed(Reference),
    /// None of ours.
    Nothing,
}

/// A session as it was before its subscriber was held: it is to be read again.
pub struct Reference {
    pub id: SessionId,
    pub subscriber: SubscriberId,
    pub state: SessionState,
}

impl From<SessionRow> for Reference {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id,
            subscriber: row.subscriber_id,
            state: row.state,
        }
    }
}

/// By what a gate tells which session it speaks of.
#[derive(Debug, Clone, Copy)]
pub struct Spoken<'a> {
    pub nas: NasId,
    pub class: Option<&'a [u8]>,
    pub acct_session_id: Option<&'a str>,
    /// Whose it is said to be: looked at where neither Class nor a live session's name leads to it.
    pub user_name: Option<&'a str>,
    pub mac: Option<Mac>,
}

impl<'a> From<&'a AccountingReport> for Spoken<'a> {
    fn from(report: &'a AccountingReport) -> Self {
        Self {
            nas: report.nas,
            class: report.class.as_deref(),
            acct_session_id: Some(report.acct_session_id.as_str()).filter(|name| !name.is_empty()),
            user_name: report.user_name.as_deref(),
            mac: report.mac,
        }
    }
}

impl<'a> From<&'a AuthorizeRequest> for Spoken<'a> {
    fn from(request: &'a AuthorizeRequest) -> Self {
        Self {
            nas: request.nas,
            class: request.class.as_deref(),
            acct_session_id: request.acct_session_id.as_deref(),
            user_name: Some(request.user_name.as_str()),
            mac: request.mac,
        }
    }
}

/// Looks by Class first, then by Acct-Session-Id: of what is live, and of what is over and was the person's or the device's that is told.
pub async fn find(tx: &mut Tx, spoken: Spoken<'_>) -> Result<Found, AccessError> {
    let Spoken {
        nas,
        class,
        acct_session_id,
        ..
    } = spoken;
    let found = tx.session_at(nas, class, acct_session_id).await?;
    let found = match found {
        Some(found) if !is_of_a_namesake(tx, &found, &spoken).await? => found,
        // Rare, and large: on the heap it is not part of each report.
        _ => match Box::pin(find_otherwise(tx, spoken)).await? {
            Some(found) => found,
            None => return Ok(Found::Nothing),
        },
    };
    if goes_by(&found, acct_session_id) {
        return Ok(Found::Session(found.into()));
    }
    // A gate may give a name again: only a later session of the same person follows on.
    let is_follower =
        |other: &SessionRow| other.subscriber_id == found.subscriber_id && other.granted_at >= found.granted_at;
    let named = match (tx.session_at(nas, None, acct_session_id).await?, acct_session_id) {
        (None, Some(name)) => Box::pin(tx.ended_session_named(nas, name, found.subscriber_id)).await?,
        (named, _) => named,
    };
    Ok(match named.filter(is_follower) {
        Some(follower) => Found::Session(follower.into()),
        None => Found::Renamed(found.into()),
    })
}

async fn find_otherwise(tx: &mut Tx, spoken: Spoken<'_>) -> Result<Option<SessionRow>, AccessError> {
    match find_given_by_another(tx, &spoken).await? {
        Some(found) => Ok(Some(found)),
        None => find_ended(tx, spoken).await,
    }
}

/// Nobody but the gate knows to whom it gave that name, unless it tells.
async fn find_ended(tx: &mut Tx, spoken: Spoken<'_>) -> Result<Option<SessionRow>, AccessError> {
    let Some(name) = spoken.acct_session_id else {
        return Ok(None);
    };
    if let Some(user_name) = spoken.user_name {
        let called = tx.subscribers_called(user_name).await?;
        if let Some(found) = last_of(tx, spoken.nas, name, called).await? {
            return Ok(Some(found));
        }
    }
    match spoken.mac.or_else(|| spoken.user_name?.parse().ok()) {
        Some(mac) => {
            let owners = tx.owners_of_device(mac).await?;
            last_of(tx, spoken.nas, name, owners).await
        }
        None => Ok(None),
    }
}

async fn last_of(
    tx: &mut Tx,
    nas: NasId,
    name: &str,
    owners: Vec<SubscriberId>,
) -> Result<Option<SessionRow>, AccessError> {
    let mut last: Option<SessionRow> = None;
    for owner in owners {
        let found = tx.ended_session_named(nas, name, owner).await?;
        last = last.into_iter().chain(found).max_by_key(|session| session.id);
    }
    Ok(last)
}

/// A session not yet begun takes whatever name the gate gives it. One whose gate calls itself otherwise than before is the same.
fn goes_by(session: &SessionRow, name: Option<&str>) -> bool {
    session.state == SessionState::Granted
        || session.acct_session_id.is_none()
        || is_bare_same(session.acct_session_id.as_deref(), name)
}

/// Makes the session that a report shows to follow on from `renamed`, unless another report has made it meanwhile. What the gate still
/// holds, and whatever was ordered of it, goes over. The caller holds the subscriber's lock.
pub async fn follow_on(
    tx: &mut Tx,
    renamed: SessionId,
    report: &AccountingReport,
    now: Timestamp,
) -> Result<SessionId, AccessError> {
    let name = report.acct_session_id.as_str();
    let missing = || AccessError::Inconsistent("session");
    let renamed = match find(tx, report.into()).await? {
        Found::Session(session) => return Ok(session.id),
        Found::Renamed(_) | Found::Nothing => tx.session(renamed).await?.ok_or_else(missing)?,
    };
    end_namesake(tx, report.nas, name, None, now).await?;
    let began_at = report.at - Duration::from_secs(report.counters.session_secs.into());
    let new = NewSession {
        nonce: rand::random(),
        subscriber_id: renamed.subscriber_id,
        entitlement_id: renamed.entitlement_id,
        lease_id: renamed.lease_id,
        nas_id: renamed.nas_id,
        site_id: renamed.site_id,
        acct_session_id: Some(name.to_owned()),
        mac: renamed.mac,
        ip: renamed.ip,
        is_renewable: renamed.is_renewable,
        is_throttled: renamed.is_throttled,
        granted_at: began_at.max(renamed.granted_at),
        ends_at: renamed.ends_at,
        granted_octets: renamed.granted_octets.saturating_sub(renamed.meter().total_octets()),
    };
    let mut follower = tx.add_session(&new).await?;
    let id = follower.id;
    follower.state = SessionState::Open;
    follower.heard_at = now;
    take_over(tx, &mut follower, renamed, now).await?;
    Ok(id)
}

/// The lease stays open for the follower.
async fn take_over(
    tx: &mut Tx,
    follower: &mut SessionRow,
    mut renamed: SessionRow,
    now: Timestamp,
) -> Result<(), AccessError> {
    let is_over = renamed.state == SessionState::Ended;
    let order = renamed.order_action.or(is_over.then_some(OrderKind::Change));
    if let Some(kind) = order {
        follower.order(kind, now);
    }
    tx.save_session(follower).await?;
    take_over_words(tx, follower, &renamed).await?;
    if !is_over {
        presume_ended(tx, &mut renamed, now).await?;
    } else if let Some(lease) = renamed.lease_id {
        tx.reopen_lease(lease).await?;
    }
    Ok(())
}

/// A vendor's gate was told limits from the start of the session that it renamed.
async fn take_over_words(tx: &mut Tx, follower: &SessionRow, renamed: &SessionRow) -> Result<(), AccessError> {
    let Some(mut row) = tx.session_vendor(renamed.id).await? else {
        return Ok(());
    };
    row.session_id = follower.id;
    // What was free before stays with the one before.
    row.set_free(None);
    let told = row.told();
    let began_at = renamed.started_at.unwrap_or(renamed.granted_at);
    let elapsed = u32::try_from(follower.granted_at.since(began_at).as_secs()).unwrap_or(u32::MAX);
    let passed = renamed.meter().total_octets();
    row.set_told(&Limits {
        max_total_octets: told.max_total_octets.map(|octets| octets.saturating_sub(passed)),
        session_secs: told.session_secs.map(|secs| secs.saturating_sub(elapsed)),
        ..told
    });
    Ok(tx.save_session_vendor(&row).await?)
}
