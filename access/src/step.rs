//! Which page a device belongs to: so that a closed mini-browser opens on the step it left.

use std::sync::Arc;

use std::time::Duration;

use kavadam_domain::challenge::ChallengeState;
use kavadam_domain::plan::AfterQuota;
use kavadam_domain::quota::Allowance;
use kavadam_domain::session::SessionState;
use kavadam_domain::{Plan, SubscriberId, Timestamp};
use kavadam_store::{ChallengeRow, SessionRow, SiteRow, SubscriberRow, Tx};

use crate::api::{Message, Status, Step, Visit};
use crate::login::pending;
use crate::{Access, AccessError};

/// A device that is not remembered is still taken for its last holder's, at that site, for so long after its session.
const LAST_HOLDER: Duration = Duration::from_hours(24);
/// Who comes back to a code that is no good any more can ask for another to the same number for so long.
const LAST_CODE: Duration = Duration::from_hours(1);

impl Access {
    /// Where a device stands. Only reads: a page view must not wait for the one writer of SQLite.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn step(&self, visit: &Visit, now: Timestamp) -> Result<Step, AccessError> {
        let tx = &mut self.read().await?;
        let session = tx.last_session_of_device(visit.site, visit.mac).await?;
        let is_online = |session: &SessionRow| {
            // The gate knows of a session's end before its accounting comes here; but an old link says nothing of a new session.
            let is_over = visit.offline_at.is_some_and(|at| at > session.granted_at);
            session.state != SessionState::Ended && !is_over
        };
        if let Some(online) = session.filter(is_online) {
            let view = look(tx, online.subscriber_id, visit, now).await?;
            return Ok(Step::Online(view.status(tx, Some(&online), now).await?));
        }
        if let Some(row) = tx.last_challenge(visit.site, visit.mac).await?
            && is_asked_for(&row, now)
        {
            let mut code = pending(&row.number, &row.challenge(), self.resend_in(&row, now), now);
            code.message = message(tx, &row).await?;
            return Ok(Step::Code(code));
        }
        let Some((holder, is_remembered)) = holder(tx, visit, now).await? else {
            return Ok(Step::Number);
        };
        let view = look(tx, holder, visit, now).await?;
        // Where the plan goes on slowly, nobody is kept waiting for the next period.
        let is_closed = view.plan.after_quota == AfterQuota::Close;
        if is_closed && view.allowance.is_used_up() {
            return Ok(Step::UsedUp(view.status(tx, None, now).await?));
        }
        if !is_remembered {
            return Ok(Step::Number);
        }
        Ok(Step::Returning {
            masked_number: view.subscriber.number.masked(),
        })
    }
}

/// Whether the device's last code is its next step: to enter it, or to ask for another in its place.
fn is_asked_for(row: &ChallengeRow, now: Timestamp) -> bool {
    matches!(row.state, ChallengeState::Pending | ChallengeState::Spent) && now.since(row.created_at) < LAST_CODE
}

/// How far the message with a code has come.
async fn message(tx: &mut Tx, row: &ChallengeRow) -> Result<Message, AccessError> {
    Ok(match tx.sms_of(row.id).await? {
        Some(sms) if sms.sent_at.is_some() => Message::Sent,
        Some(sms) if sms.attempts > 0 && sms.result.is_some() => Message::Failed,
        _ => Message::Queued,
    })
}

/// Whose the device is, and whether it is remembered: else by its last session here, where plans remember no devices. Not after its holder
/// asked to be forgotten.
pub(crate) async fn holder(
    tx: &mut Tx,
    visit: &Visit,
    now: Timestamp,
) -> Result<Option<(SubscriberId, bool)>, AccessError> {
    if let Some(device) = tx.remembered_device(visit.mac, now).await? {
        return Ok(Some((device.subscriber_id, true)));
    }
    let last = tx.last_session_of_device(visit.site, visit.mac).await?;
    let Some(last) = last.filter(|session| now.since(session.heard_at) < LAST_HOLDER) else {
        return Ok(None);
    };
    let device = tx.device(last.subscriber_id, visit.mac).await?;
    Ok(device.map(|device| (device.subscriber_id, false)))
}

/// A subscriber's standing as a page shows it. A period that is not begun yet is not begun by looking.
struct View {
    subscriber: SubscriberRow,
    site: Arc<SiteRow>,
    plan: Arc<Plan>,
    allowance: Allowance,
    period_end: Option<Timestamp>,
}

async fn look(tx: &mut Tx, subscriber: SubscriberId, visit: &Visit, now: Timestamp) -> Result<View, AccessError> {
    let found = tx.subscriber(subscriber).await?;
    let subscriber = found.ok_or(AccessError::Inconsistent("subscriber"))?;
    let site = tx.site(visit.site).await?.ok_or(AccessError::Inconsistent("site"))?;
    let plan = tx.plan(subscriber.plan_id.unwrap_or(site.plan_id)).await?;
    let plan = plan.ok_or(AccessError::Inconsistent("plan"))?;
    let window = plan.window(now)?;
    let mut allowance = Allowance {
        quota_octets: plan.quota_octets,
        topped_up_octets: 0,
        used_octets: 0,
        promised_octets: 0,
    };
    if let Some(entitlement) = tx.entitlement_of(subscriber.id, plan.id, window).await? {
        allowance.topped_up_octets = entitlement.topped_up_octets;
        allowance.used_octets = entitlement.used_octets;
        allowance.promised_octets = tx.promised_octets(entitlement.id).await?;
    }
    Ok(View {
        subscriber,
        site,
        plan,
        allowance,
        period_end: window.end,
    })
}

impl View {
    async fn status(self, tx: &mut Tx, session: Option<&SessionRow>, now: Timestamp) -> Result<Status, AccessError> {
        let live = tx.live_sessions_of(self.subscriber.id).await?;
        let is_throttled = session.is_some_and(|session| session.is_throttled);
        let slow = match self.plan.after_quota {
            AfterQuota::Throttle { bits_per_sec } if is_throttled => Some(bits_per_sec),
            _ => None,
        };
        Ok(Status {
            masked_number: self.subscriber.number.masked(),
            site: self.site.name.clone(),
            used_octets: self.allowance.used_octets,
            quota_octets: self.allowance.total_octets(),
            session_left: session.and_then(|session| session.ends_at).map(|at| at.since(now)),
            period: self.plan.period,
            period_left: self.period_end.map(|end| end.since(now)),
            down_bits_per_sec: slow.or(self.plan.down_bits_per_sec),
            up_bits_per_sec: slow.or(self.plan.up_bits_per_sec),
            is_throttled,
            reported: session
                .and_then(|session| session.meter().last_at)
                .map_or_else(Default::default, |at| now.since(at)),
            devices_online: u32::try_from(live.len()).unwrap_or(u32::MAX),
        })
    }
}
