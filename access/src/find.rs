//! Which session a gate speaks of. Class is the surest tie, but some gates keep it while they number a session anew; what they then report
//! is a session that follows on from the one granted, of the same person, out of the same lease. What neither Class nor name ties may be
//! what the gate [asked for](crate::asked_for) without a name.

use std::time::Duration;

use kavadam_domain::gate::{Abilities, Hold};
use kavadam_domain::session::SessionState;
use kavadam_domain::{Limits, Mac, NasId, SessionId, SubscriberId, Timestamp};
use kavadam_store::{NewSession, OrderKind, SessionRow, Tx, VendorRow};

use crate::AccessError;
use crate::api::{AccountingReport, AuthorizeRequest};
use crate::asked_for::{Whose, find_asked_for};
use crate::began::{Asked, Began};
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
    /// Something was reported of it.
    pub is_begun: bool,
    /// It goes by an Acct-Session-Id.
    pub is_named: bool,
}

impl From<SessionRow> for Reference {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id,
            subscriber: row.subscriber_id,
            is_begun: row.started_at.is_some(),
            is_named: row.acct_session_id.is_some(),
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
    /// When it began, where that is reported.
    pub began: Option<Began>,
}

impl<'a> Spoken<'a> {
    /// By a report that arrived at `now`.
    pub fn by(report: &'a AccountingReport, now: Timestamp) -> Self {
        Self {
            nas: report.nas,
            class: report.class.as_deref(),
            acct_session_id: Some(report.acct_session_id.as_str()).filter(|name| !name.is_empty()),
            user_name: report.user_name.as_deref(),
            mac: report.mac,
            began: Some(Began::of(report, now)),
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
            began: None,
        }
    }
}

/// Looks by Class first, then by Acct-Session-Id: of what is live, and of what is over and was the person's or the device's that is told.
pub async fn find(tx: &mut Tx, spoken: Spoken<'_>) -> Result<Found, AccessError> {
    let Spoken {
        nas,
        class,
        acct_session_id,
        began,
        ..
    } = spoken;
    let found = tx.session_at(nas, class, acct_session_id).await?;
    let found = match found {
        Some(found) if !is_of_a_namesake(tx, &found, &spoken).await? => found,
        // Rare, and large: on the heap it is not part of each report.
        _ => return Box::pin(find_untied(tx, spoken)).await,
    };
    if goes_by(&found, acct_session_id) {
        let other = match began {
            Some(began) if is_unused(&found) || began.is_too_old_for(&found) => {
                Box::pin(find_another(tx, spoken, began, &found)).await?
            }
            _ => None,
        };
        return Ok(Found::Session(other.unwrap_or(found).into()));
    }
    // A gate may give a name again: only a later session of the same person follows on; or it is the one before, under the newer's Class.
    let is_meant = |other: &SessionRow| {
        let is_its = || other.mac == found.mac && began.is_some_and(|began| began.is_rather_with(other, &found));
        other.subscriber_id == found.subscriber_id && (other.granted_at >= found.granted_at || is_its())
    };
    let named = match (tx.session_at(nas, None, acct_session_id).await?, acct_session_id) {
        (None, Some(name)) => Box::pin(tx.ended_session_named(nas, name, found.subscriber_id)).await?,
        (named, _) => named,
    };
    Ok(match named.filter(is_meant) {
        Some(named) => Found::Session(named.into()),
        None => Found::Renamed(found.into()),
    })
}

/// Taken for ended before anything was heard of it.
fn is_unused(session: &SessionRow) -> bool {
    session.state == SessionState::Ended && session.acct_session_id.is_none()
}

/// The session of that name which is meant, where the one of the Class, or that took the name last, cannot be: of one taken for unused, what its
/// gate reported first may have had a newer Class; and what began before a grant is of the one before, which its gate let go on.
async fn find_another(
    tx: &mut Tx,
    spoken: Spoken<'_>,
    began: Began,
    found: &SessionRow,
) -> Result<Option<SessionRow>, AccessError> {
    let Some(name) = spoken.acct_session_id else {
        return Ok(None);
    };
    let is_too_old = began.is_too_old_for(found);
    let is_it = |other: &SessionRow| {
        let is_newer = is_unused(found) && other.granted_at >= found.granted_at;
        let is_older = is_too_old && other.granted_at <= found.granted_at && began.is_with(other);
        let is_same_device = found.mac.is_none() || other.mac == found.mac;
        let is_their_own = other.subscriber_id == found.subscriber_id;
        other.id != found.id && is_their_own && is_same_device && (is_newer || is_older)
    };
    let live = tx.live_session_named(spoken.nas, name).await?;
    if let Some(live) = live.filter(is_it) {
        return Ok(Some(live));
    }
    let ended = tx.ended_session_named(spoken.nas, name, found.subscriber_id).await?;
    Ok(ended.filter(is_it))
}

/// What has no Class and no live session's name. What is over goes by its whole name alone: a late word of it is not of what lives at another gate
/// that numbers alike.
async fn find_untied(tx: &mut Tx, spoken: Spoken<'_>) -> Result<Found, AccessError> {
    let Some(name) = spoken.acct_session_id else {
        return Ok(Found::Nothing);
    };
    let whose = Whose::of(tx, spoken).await?;
    let ended = find_ended(tx, spoken.nas, name, &whose).await?;
    let is_its = |ended: &SessionRow| spoken.began.is_some_and(|began| !began.is_long_after(ended));
    if let Some(ended) = ended.as_ref().filter(|ended| is_its(ended)) {
        return Ok(Found::Session(ended.clone().into()));
    }
    let given = find_given_by_another(tx, &spoken, &whose).await?;
    let is_other = |live: &SessionRow| spoken.began.is_some_and(|began| began.is_another_than(live));
    if let Some(live) = given.filter(|live| !is_other(live)) {
        return Ok(Found::Session(live.into()));
    }
    let asked_for = match spoken.began {
        Some(began) => find_asked_for(tx, spoken, began, &whose).await?,
        None => None,
    };
    Ok(match (ended, asked_for) {
        (None, Some(asked_for)) => asked_for,
        // A grant that nothing has begun yet, or it is late.
        (Some(_), Some(Found::Session(granted))) => Found::Session(granted),
        (Some(ended), _) => Found::Session(ended.into()),
        (None, None) => Found::Nothing,
    })
}

/// Nobody but the gate knows to whom it gave that name, unless it tells.
async fn find_ended(tx: &mut Tx, nas: NasId, name: &str, whose: &Whose) -> Result<Option<SessionRow>, AccessError> {
    match last_of(tx, nas, name, &whose.called).await? {
        Some(found) => Ok(Some(found)),
        None => last_of(tx, nas, name, &whose.owners).await,
    }
}

async fn last_of(
    tx: &mut Tx,
    nas: NasId,
    name: &str,
    owners: &[SubscriberId],
) -> Result<Option<SessionRow>, AccessError> {
    let mut last: Option<SessionRow> = None;
    for owner in owners {
        let found = tx.ended_session_named(nas, name, *owner).await?;
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
    abilities: Abilities,
    now: Timestamp,
) -> Result<SessionId, AccessError> {
    let name = report.acct_session_id.as_str();
    let missing = || AccessError::Inconsistent("session");
    let renamed = match find(tx, Spoken::by(report, now)).await? {
        Found::Session(session) => return Ok(session.id),
        Found::Renamed(_) | Found::Nothing => tx.session(renamed).await?.ok_or_else(missing)?,
    };
    end_namesake(tx, report.nas, name, None, now).await?;
    let began_at = report.at - Duration::from_secs(report.counters.session_secs.into());
    let granted_at = began_at.max(renamed.granted_at);
    let words = Words::of(tx, &renamed, Began::of(report, now), abilities).await?;
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
        granted_at,
        ends_at: words.ends_at(&renamed, granted_at),
        granted_octets: renamed.granted_octets.saturating_sub(renamed.meter().total_octets()),
    };
    let mut follower = tx.add_session(&new).await?;
    let id = follower.id;
    follower.state = SessionState::Open;
    follower.heard_at = now;
    take_over(tx, &mut follower, renamed, words, now).await?;
    Ok(id)
}

/// The lease stays open for the follower.
async fn take_over(
    tx: &mut Tx,
    follower: &mut SessionRow,
    mut renamed: SessionRow,
    words: Words,
    now: Timestamp,
) -> Result<(), AccessError> {
    let is_over = renamed.state == SessionState::Ended;
    // One that was asked for was told limits as the one before has them, from that one's start.
    let is_told_anew = is_over || words.is_asked_for;
    let order = renamed.order_action.or(is_told_anew.then_some(OrderKind::Change));
    if let Some(kind) = order {
        follower.order(kind, now);
    }
    tx.save_session(follower).await?;
    words.take_over(tx, follower, &renamed).await?;
    if !is_over {
        presume_ended(tx, &mut renamed, now).await?;
    } else if let Some(lease) = renamed.lease_id {
        tx.reopen_lease(lease).await?;
    }
    Ok(())
}

/// What a vendor's gate was told of the session that goes by another name, and tells of it.
struct Words {
    row: Option<VendorRow>,
    /// It asked anew, without a name, and the other began upon the answer: so it counts from nothing what it was told then.
    is_asked_for: bool,
    /// It can be told other octets at any time.
    is_told_octets: bool,
}

impl Words {
    async fn of(tx: &mut Tx, renamed: &SessionRow, began: Began, abilities: Abilities) -> Result<Self, AccessError> {
        let row = tx.session_vendor(renamed.id).await?;
        let asked = Asked::of(renamed, row.as_ref());
        Ok(Self {
            is_asked_for: asked.is_some_and(|asked| began.is_upon(asked)),
            is_told_octets: abilities.octets == Hold::Always,
            row,
        })
    }

    /// When a follower that began at that time ends by itself.
    fn ends_at(&self, renamed: &SessionRow, began_at: Timestamp) -> Option<Timestamp> {
        let row = self.row.as_ref().filter(|_| self.is_asked_for);
        match row.and_then(|row| row.told().session_secs) {
            Some(secs) => Some(began_at + Duration::from_secs(secs.into())),
            None => renamed.ends_at,
        }
    }

    /// A gate that numbers a session anew was told limits from its start.
    async fn take_over(self, tx: &mut Tx, follower: &SessionRow, renamed: &SessionRow) -> Result<(), AccessError> {
        let Some(mut row) = self.row else {
            return Ok(());
        };
        if row.asked_at.take().is_some() {
            tx.save_session_vendor(&row).await?;
        }
        row.session_id = follower.id;
        // What was free before stays with the one before.
        row.set_free(None);
        let told = row.told();
        let began_at = renamed.started_at.unwrap_or(renamed.granted_at);
        let elapsed = u32::try_from(follower.granted_at.since(began_at).as_secs()).unwrap_or(u32::MAX);
        let elapsed = if self.is_asked_for { 0 } else { elapsed };
        // One that can be told no others is taken to keep to what is left: it is cut once that is used, not now.
        let is_octets_anew = self.is_asked_for && self.is_told_octets;
        let passed = if is_octets_anew {
            0
        } else {
            renamed.meter().total_octets()
        };
        row.set_told(&Limits {
            max_total_octets: told.max_total_octets.map(|octets| octets.saturating_sub(passed)),
            session_secs: told.session_secs.map(|secs| secs.saturating_sub(elapsed)),
            ..told
        });
        Ok(tx.save_session_vendor(&row).await?)
    }
}
