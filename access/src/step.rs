//! Which page a device belongs to: so that a closed mini-browser opens on the step it left.

use kavadam_domain::session::SessionState;
use kavadam_domain::{SubscriberId, Timestamp};
use kavadam_store::{SessionRow, Tx};

use crate::api::{Status, Step, Visit};
use crate::login::pending;
use crate::standing::load_standing;
use crate::{Access, AccessError};

impl Access {
    /// Where a device stands.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn step(&self, visit: &Visit, now: Timestamp) -> Result<Step, AccessError> {
        let mut tx = self.write().await?;
        let step = self.find_step(&mut tx, visit, now).await?;
        tx.commit().await?;
        Ok(step)
    }

    async fn find_step(&self, tx: &mut Tx, visit: &Visit, now: Timestamp) -> Result<Step, AccessError> {
        let session = tx.last_session_of_device(visit.site, visit.mac).await?;
        let is_online = |session: &SessionRow| {
            // The gate knows of a session's end before its accounting comes here; but an old link says nothing of a new session.
            let is_over = visit.offline_at.is_some_and(|at| at > session.granted_at);
            session.state != SessionState::Ended && !is_over
        };
        if let Some(online) = session.filter(is_online) {
            let status = status(tx, visit, online.subscriber_id, Some(&online), now).await?;
            return Ok(Step::Online(status));
        }
        if let Some(row) = tx.last_challenge(visit.site, visit.mac).await? {
            let challenge = row.challenge();
            if challenge.is_open(now) {
                return Ok(Step::Code(pending(&row.number, &challenge, row.resend_at, now)));
            }
        }
        let Some(device) = tx.remembered_device(visit.mac, now).await? else {
            return Ok(Step::Number);
        };
        let subscriber = tx
            .subscriber(device.subscriber_id)
            .await?
            .ok_or(AccessError::Inconsistent("subscriber"))?;
        let standing = load_standing(tx, &subscriber, visit.site, now).await?;
        if standing.allowance.is_used_up() {
            return Ok(Step::UsedUp(status(tx, visit, subscriber.id, None, now).await?));
        }
        Ok(Step::Returning {
            masked_number: subscriber.number.masked(),
        })
    }
}

async fn status(
    tx: &mut Tx,
    visit: &Visit,
    subscriber: SubscriberId,
    session: Option<&SessionRow>,
    now: Timestamp,
) -> Result<Status, AccessError> {
    let subscriber = tx
        .subscriber(subscriber)
        .await?
        .ok_or(AccessError::Inconsistent("subscriber"))?;
    let standing = load_standing(tx, &subscriber, visit.site, now).await?;
    let live = tx.live_sessions_of(subscriber.id).await?;
    let began = session.map(|session| session.started_at.unwrap_or(session.granted_at));
    let whole = standing
        .plan
        .session_secs
        .map(|secs| std::time::Duration::from_secs(u64::from(secs)));
    Ok(Status {
        masked_number: subscriber.number.masked(),
        site: standing.site.name,
        used_octets: standing.allowance.used_octets,
        quota_octets: standing.allowance.total_octets(),
        session_left: began.zip(whole).map(|(began, whole)| (began + whole).since(now)),
        period_left: standing.entitlement.window_end.map(|end| end.since(now)),
        down_bits_per_sec: standing.plan.down_bits_per_sec,
        up_bits_per_sec: standing.plan.up_bits_per_sec,
        is_throttled: session.is_some() && standing.allowance.is_used_up(),
        reported: session
            .and_then(|session| session.meter().last_at)
            .map_or_else(Default::default, |at| now.since(at)),
        devices_online: u32::try_from(live.len()).unwrap_or(u32::MAX),
    })
}
