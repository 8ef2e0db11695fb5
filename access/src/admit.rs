//! The one decision behind logins, returns, renewals and changed limits: loads the snapshot, asks the domain, writes down what was
//! promised. The caller holds the subscriber's lock and commits.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use kavadam_domain::authorize::{Snapshot, Verdict, decide};
use kavadam_domain::gate::Abilities;
use kavadam_domain::quota::{Lease, Share};
use kavadam_domain::session::{SessionState, terminate_cause};
use kavadam_domain::{LeaseId, Limits, Mac, NasId, Reason, SessionId, SiteId, Timestamp};
use kavadam_store::{LeaseRow, NewSession, OrderKind, SessionRow, SubscriberRow, Tx};

use crate::AccessError;
use crate::api::Grant;
use crate::ending::{end_namesake, end_session, presume_ended};
use crate::namesake::is_bare_same;
use crate::standing::{Standing, load_standing};

/// A grant that is given again is noted anew after so long; it is taken for unused after two minutes.
pub const BEHIND: Duration = Duration::from_secs(30);

/// A device that wants to be online, or to stay so.
pub struct Asking {
    /// At which gate.
    pub nas: NasId,
    /// Where that stands.
    pub site: SiteId,
    /// The device.
    pub mac: Option<Mac>,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// The gate's name for the session.
    pub acct_session_id: Option<String>,
    /// The gate shares a quota between a person's sessions and asks again before it is used up.
    pub is_renewable: bool,
    /// What the gate can be held to.
    pub abilities: Abilities,
}

impl Asking {
    /// A session that is there, at a gate of these abilities.
    pub fn of(session: &SessionRow, abilities: Abilities) -> Self {
        Self {
            nas: session.nas_id,
            site: session.site_id,
            mac: session.mac,
            ip: session.ip,
            acct_session_id: session.acct_session_id.clone(),
            is_renewable: session.is_renewable,
            abilities,
        }
    }
}

/// Lets a device in, or renews its session (`existing`), or says why not.
pub async fn admit(
    tx: &mut Tx,
    subscriber: &SubscriberRow,
    asking: &Asking,
    existing: Option<SessionRow>,
    now: Timestamp,
) -> Result<Result<Grant, Reason>, AccessError> {
    let live = tx.live_sessions_of(subscriber.id).await?;
    let existing = existing
        .or_else(|| live.iter().find(|session| is_same_session(session, asking)).cloned())
        .or_else(|| asked_for_again(&live, asking, now));
    let unused = live.iter().find(|session| is_unused_grant(session, asking));
    let is_again = existing.is_none() && unused.is_some();
    let existing = existing.or_else(|| unused.cloned());
    let others = end_superseded(tx, live, asking, existing.as_ref(), now).await?;

    let lease = find_lease(tx, subscriber, asking, existing.as_ref(), now).await?;
    let mut standing = load_standing(tx, subscriber, asking.site, now).await?;
    if let Some(lease) = lease
        .as_ref()
        .filter(|lease| lease.entitlement_id != standing.entitlement.id)
    {
        tx.move_lease(lease.id, standing.entitlement.id, now).await?;
        standing.allowance.promised_octets = tx.promised_octets(standing.entitlement.id).await?;
    }
    let account = Account::of(lease.as_ref(), existing.as_ref());
    let snapshot = Snapshot {
        is_blocked: subscriber.is_blocked,
        is_site_open: standing.site.is_open,
        plan: &standing.plan,
        allowance: standing.allowance,
        lease: account.lease,
        session_granted_octets: account.session_granted_octets,
        // A grant that is given again begins now.
        session_started_at: existing
            .as_ref()
            .filter(|_| !is_again)
            .map(|session| session.started_at.unwrap_or(session.granted_at)),
        other_devices: others,
        share: if asking.is_renewable {
            Share::Renewable
        } else {
            asking.abilities.share(standing.plan.max_devices)
        },
    };
    match decide(&snapshot, now)? {
        Verdict::Reject(reason) => Ok(Err(reason)),
        Verdict::Accept { limits, leased_octets } => {
            let (lease_id, granted_octets) = match limits.max_total_octets {
                Some(total) => {
                    let lease = promise(tx, &standing, asking, lease.as_ref(), &account, leased_octets).await?;
                    (Some(lease), total)
                }
                // Not metered (any more): it keeps the lease it had, under which it may be metered again.
                None => existing
                    .as_ref()
                    .map_or((None, 0), |session| (session.lease_id, session.granted_octets)),
            };
            let terms = Terms {
                standing: &standing,
                limits,
                lease_id,
                granted_octets,
            };
            let is_throttled = terms.is_throttled();
            let (session, class) = match existing {
                Some(session) if is_again => grant_again(tx, session, asking, &terms, now).await?,
                Some(session) => renew(tx, session, &terms).await?,
                None => open(tx, subscriber, asking, &terms, now).await?,
            };
            Ok(Ok(Grant {
                session,
                user_name: subscriber.alias.clone(),
                class: class.to_vec(),
                cui: subscriber.alias.clone().into_bytes(),
                limits,
                // Also without a limit to renew: one may come by an order, which cannot say so.
                is_renewable: asking.is_renewable,
                plan: standing.plan.name.clone(),
                is_throttled,
                ms_chap2_success: None,
            }))
        }
    }
}

/// The octets behind a session, brought to one footing: whatever a gate let through beyond its promise (or unmetered, or before there was
/// a lease) counts as promised and used, so that new octets come on top of it and not out of it.
struct Account {
    /// With the overrun added to what was granted.
    lease: Lease,
    /// With the same added to the session's part.
    session_granted_octets: u64,
    /// To add to the lease's `granted`, apart from new octets.
    overrun_octets: u64,
    /// Counted by the session before it had a lease: to add to both of the lease's figures.
    carried_octets: u64,
}

impl Account {
    fn of(lease: Option<&LeaseRow>, existing: Option<&SessionRow>) -> Self {
        let lease = lease.map(LeaseRow::lease).unwrap_or_default();
        let overrun_octets = lease.used_octets.saturating_sub(lease.granted_octets);
        let lease = Lease {
            granted_octets: lease.granted_octets + overrun_octets,
            ..lease
        };
        let (granted_octets, carried_octets) = match existing {
            Some(session) if session.lease_id.is_none() => (0, session.meter().total_octets()),
            Some(session) => (session.granted_octets, 0),
            None => (0, 0),
        };
        let session_granted_octets = match existing {
            // Alone under its lease, perhaps after others that it follows on from: what they used is not its to use again.
            Some(session) if !session.is_renewable && session.lease_id.is_some() => {
                session.meter().total_octets() + lease.promised_octets()
            }
            _ => granted_octets + overrun_octets + carried_octets,
        };
        Self {
            lease,
            session_granted_octets,
            overrun_octets,
            carried_octets,
        }
    }
}

/// What was decided, to be written down.
struct Terms<'a> {
    standing: &'a Standing,
    limits: Limits,
    lease_id: Option<LeaseId>,
    granted_octets: u64,
}

impl Terms<'_> {
    fn is_throttled(&self) -> bool {
        self.limits.max_total_octets.is_none() && self.standing.plan.quota_octets.is_some()
    }

    fn ends_at(&self, started_at: Timestamp) -> Option<Timestamp> {
        self.limits
            .session_secs
            .map(|secs| started_at + Duration::from_secs(secs.into()))
    }
}

/// The same question asked again, or a renewal that names no Class.
fn is_same_session(session: &SessionRow, asking: &Asking) -> bool {
    session.nas_id == asking.nas
        && session.mac == asking.mac
        && session.acct_session_id.is_some()
        && is_bare_same(session.acct_session_id.as_deref(), asking.acct_session_id.as_deref())
}

/// The session that a device has at a gate which asks for it without a name: some prove it again every minute, and go on with it. Should another
/// begin instead, it [follows on](crate::find::follow_on). The gate answers for the device: it was heard of.
fn asked_for_again(live: &[SessionRow], asking: &Asking, now: Timestamp) -> Option<SessionRow> {
    let is_it = |session: &&SessionRow| {
        session.state == SessionState::Open
            && asking.acct_session_id.is_none()
            && session.nas_id == asking.nas
            && session.mac.is_some()
            && session.mac == asking.mac
            && session.is_renewable == asking.is_renewable
            && session.order_action != Some(OrderKind::End)
    };
    let mut session = live.iter().filter(is_it).max_by_key(|session| session.id).cloned()?;
    if now.since(session.heard_at) >= BEHIND {
        session.heard_at = now;
    }
    Some(session)
}

/// What the same device was granted at the same gate and never began, where the gate names no visits: it lost our answer, or the visit came
/// to nothing. The grant is given again rather than another beside it. A gate that names another visit has begun the one before, even if
/// its Start is not here yet.
fn is_unused_grant(session: &SessionRow, asking: &Asking) -> bool {
    session.state == SessionState::Granted
        && session.nas_id == asking.nas
        && session.mac.is_some()
        && session.mac == asking.mac
        && session.acct_session_id.is_none()
        && asking.acct_session_id.is_none()
        && session.is_renewable == asking.is_renewable
        && session.order_action.is_none()
}

/// Ends the sessions that this one shows to be over: a gate has one session per device, and one per Acct-Session-Id. Returns how many
/// other devices are online.
async fn end_superseded(
    tx: &mut Tx,
    live: Vec<SessionRow>,
    asking: &Asking,
    existing: Option<&SessionRow>,
    now: Timestamp,
) -> Result<u32, AccessError> {
    let mut others = HashSet::new();
    for mut session in live {
        if existing.is_some_and(|existing| existing.id == session.id) {
            continue;
        }
        let is_same_device = asking.mac.is_some() && session.mac == asking.mac;
        if is_same_device && session.nas_id == asking.nas {
            supersede(tx, &mut session, now).await?;
        } else if !is_same_device {
            others.insert(session.mac.map_or(Device::Unknown(session.id), Device::Known));
        }
    }
    if let (None, Some(name)) = (existing, asking.acct_session_id.as_deref()) {
        end_namesake(tx, asking.nas, name, None, now).await?;
    }
    Ok(u32::try_from(others.len()).unwrap_or(u32::MAX))
}

/// A gateway of ours has ended what it asks for anew. At a vendor's it goes on if nothing comes of that.
async fn supersede(tx: &mut Tx, session: &mut SessionRow, now: Timestamp) -> Result<(), AccessError> {
    if session.is_renewable {
        end_session(tx, session, terminate_cause::LOST_SERVICE, now).await
    } else {
        presume_ended(tx, session, now).await
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Device {
    Known(Mac),
    Unknown(SessionId),
}

async fn find_lease(
    tx: &mut Tx,
    subscriber: &SubscriberRow,
    asking: &Asking,
    existing: Option<&SessionRow>,
    now: Timestamp,
) -> Result<Option<LeaseRow>, AccessError> {
    if let Some(lease) = existing.and_then(|session| session.lease_id) {
        return Ok(tx.lease(lease).await?);
    }
    if asking.is_renewable {
        return Ok(tx.shared_lease(subscriber.id, asking.nas, now).await?);
    }
    Ok(None)
}

/// Writes down what the gate was promised, and under which lease.
async fn promise(
    tx: &mut Tx,
    standing: &Standing,
    asking: &Asking,
    lease: Option<&LeaseRow>,
    account: &Account,
    leased_octets: u64,
) -> Result<LeaseId, AccessError> {
    let carried_octets = account.carried_octets;
    let granted_octets = account.overrun_octets + carried_octets + leased_octets;
    if let Some(lease) = lease {
        if granted_octets > 0 {
            tx.extend_lease(lease.id, granted_octets, carried_octets).await?;
        }
        return Ok(lease.id);
    }
    let octets = Lease {
        granted_octets,
        used_octets: carried_octets,
    };
    Ok(tx
        .add_lease(standing.entitlement.id, asking.nas, asking.is_renewable, octets)
        .await?
        .id)
}

async fn renew(tx: &mut Tx, mut session: SessionRow, terms: &Terms<'_>) -> Result<(SessionId, [u8; 16]), AccessError> {
    session.entitlement_id = terms.standing.entitlement.id;
    session.lease_id = terms.lease_id;
    session.granted_octets = terms.granted_octets;
    session.is_throttled = terms.is_throttled();
    session.ends_at = terms.ends_at(session.started_at.unwrap_or(session.granted_at));
    tx.save_session(&session).await?;
    Ok((session.id, session.class))
}

/// Times move on only once they are well behind: whoever asks again and again leaves nothing to write.
async fn grant_again(
    tx: &mut Tx,
    mut session: SessionRow,
    asking: &Asking,
    terms: &Terms<'_>,
    now: Timestamp,
) -> Result<(SessionId, [u8; 16]), AccessError> {
    session.entitlement_id = terms.standing.entitlement.id;
    session.lease_id = terms.lease_id;
    session.granted_octets = terms.granted_octets;
    session.is_throttled = terms.is_throttled();
    session.ip = asking.ip.or(session.ip);
    let ends_at = terms.ends_at(now);
    if now.since(session.heard_at) >= BEHIND
        || ends_at.is_some() != session.ends_at.is_some()
        || ends_at < session.ends_at
    {
        session.granted_at = now;
        session.heard_at = now;
        session.ends_at = ends_at;
    }
    tx.save_session(&session).await?;
    Ok((session.id, session.class))
}

async fn open(
    tx: &mut Tx,
    subscriber: &SubscriberRow,
    asking: &Asking,
    terms: &Terms<'_>,
    now: Timestamp,
) -> Result<(SessionId, [u8; 16]), AccessError> {
    let new = NewSession {
        nonce: rand::random(),
        subscriber_id: subscriber.id,
        entitlement_id: terms.standing.entitlement.id,
        lease_id: terms.lease_id,
        nas_id: asking.nas,
        site_id: asking.site,
        acct_session_id: asking.acct_session_id.clone(),
        mac: asking.mac,
        ip: asking.ip,
        is_renewable: asking.is_renewable,
        is_throttled: terms.is_throttled(),
        granted_at: now,
        ends_at: terms.ends_at(now),
        granted_octets: terms.granted_octets,
    };
    let session = tx.add_session(&new).await?;
    Ok((session.id, session.class))
}
