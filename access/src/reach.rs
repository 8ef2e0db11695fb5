//! Changes that concern everybody online with a plan or at a site, on PostgreSQL: committed first, then brought to people in portions, so that
//! nobody is held for longer than a moment however many they are. (SQLite's one writer does it in the change's own transaction.)

use std::collections::HashSet;
use std::time::Duration;

use kavadam_domain::{PlanId, SessionId, SiteId, SubscriberId, Timestamp};
use kavadam_store::{Heard, OrderKind, SessionRow, SubscriberRow, Tx};

use crate::{Access, AccessError};

/// Sessions brought to in one transaction.
const PORTION: u32 = 500;
/// Once somebody was held for as long as anybody is waited for, others are waited for only so long: many may be held.
const HELD_STILL: Duration = Duration::from_millis(100);

/// Whom a change concerns.
#[derive(Clone, Copy)]
pub enum Concerned {
    /// Everybody online whose plan it is, by their own or by the site's: they need new limits.
    OnPlan(PlanId),
    /// Everybody online at the site; new limits are needed by those who have no plan of their own.
    AtSite(SiteId, OrderKind),
}

/// Who was brought to.
#[derive(Default)]
struct Round {
    reached: HashSet<SessionId>,
    /// Somebody was held for long.
    is_hurried: bool,
}

impl Access {
    /// Asks gates for what a change means that is committed, and has the orders sent.
    ///
    /// # Errors
    /// [`AccessError::HalfDone`].
    pub(crate) async fn bring(&self, whom: Concerned, now: Timestamp) -> Result<(), AccessError> {
        let reached = self.reach(whom, now).await;
        self.wake_orders();
        reached.map_err(|error| AccessError::HalfDone(Box::new(error)))
    }

    /// Asks gates for what a change means that is committed. Those who logged in while it was made are among them.
    ///
    /// # Errors
    /// The service is out of order, or somebody is held for too long. The others were brought to; call again for the rest.
    async fn reach(&self, whom: Concerned, now: Timestamp) -> Result<(), AccessError> {
        let mut round = Round::default();
        let before = self.0.store.under_way().await?;
        self.reach_once(whom, &mut round, now).await?;
        // A login that was decided by what was before the change: it may have been committed since, behind those who were reached.
        if !self.0.store.outwait(before).await? {
            tracing::debug!("something has been under way since before a change for longer than anybody waits");
        }
        match self.reach_once(whom, &mut round, now).await? {
            Some(held) => Err(held),
            None => Ok(()),
        }
    }

    /// Goes round everybody who was not reached. Tells why somebody could not be.
    async fn reach_once(
        &self,
        whom: Concerned,
        round: &mut Round,
        now: Timestamp,
    ) -> Result<Option<AccessError>, AccessError> {
        let mut next = Some(SubscriberId(0));
        let mut failed = None;
        while let Some(from) = next {
            let mut tx = self.read_at_length().await?;
            let portion = find(&mut tx, whom, from).await?;
            drop(tx);
            // The last one may have more of them.
            let last = portion.get(PORTION as usize - 1);
            next = last.map(|last| last.subscriber_id.max(SubscriberId(from.0 + 1)));
            let left = portion.iter().filter(|found| !round.reached.contains(&found.id));
            let mut people: Vec<SubscriberId> = left.map(|found| found.subscriber_id).collect();
            people.dedup();
            if let Some(error) = self.reach_portion(whom, people, round, now).await? {
                failed = Some(error);
            }
        }
        Ok(failed)
    }

    /// Together; one by one if somebody is held, who keeps it from no other.
    async fn reach_portion(
        &self,
        whom: Concerned,
        people: Vec<SubscriberId>,
        round: &mut Round,
        now: Timestamp,
    ) -> Result<Option<AccessError>, AccessError> {
        match self.order_all(whom, &people, round, now).await {
            Ok(ordered) => {
                round.reached.extend(ordered);
                return Ok(None);
            }
            Err(error) if error.is_timeout() => return Err(error),
            Err(error) => tracing::debug!(%error, "somebody is held: one by one"),
        }
        round.is_hurried = true;
        let mut failed = None;
        for person in people {
            match self.order_all(whom, &[person], round, now).await {
                Ok(ordered) => round.reached.extend(ordered),
                Err(error) if error.is_timeout() => return Err(error),
                Err(error) => {
                    tracing::warn!(subscriber.id = %person, %error, "a change does not reach somebody yet");
                    failed = Some(error);
                }
            }
        }
        Ok(failed)
    }

    async fn order_all(
        &self,
        whom: Concerned,
        people: &[SubscriberId],
        round: &Round,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, AccessError> {
        let mut ordered = Vec::new();
        if people.is_empty() {
            return Ok(ordered);
        }
        let mut tx = self.write().await?;
        if round.is_hurried {
            tx.wait_for_held(HELD_STILL).await?;
        }
        tx.hold_all(people.to_vec()).await?;
        for person in people {
            let subscriber = tx.lock_subscriber(*person).await?;
            for mut session in tx.live_sessions_of(*person).await? {
                if let Some(kind) = order_for(&mut tx, whom, &subscriber, &session).await? {
                    session.order(kind, now);
                    tx.save_session(&session).await?;
                    ordered.push(session.id);
                }
            }
        }
        tx.commit().await?;
        Ok(ordered)
    }
}

async fn find(tx: &mut Tx, whom: Concerned, from: SubscriberId) -> Result<Vec<Heard>, AccessError> {
    Ok(match whom {
        Concerned::OnPlan(plan) => tx.live_sessions_on_plan(plan, from, PORTION).await?,
        Concerned::AtSite(site, _) => tx.live_sessions_at_site_from(site, from, PORTION).await?,
    })
}

/// Under the subscriber's lock: what a session's gate is to be asked for, if the change concerns it.
async fn order_for(
    tx: &mut Tx,
    whom: Concerned,
    subscriber: &SubscriberRow,
    session: &SessionRow,
) -> Result<Option<OrderKind>, AccessError> {
    Ok(match (whom, subscriber.plan_id) {
        (Concerned::OnPlan(plan), Some(own)) => (own == plan).then_some(OrderKind::Change),
        (Concerned::OnPlan(plan), None) => {
            let site = tx
                .site(session.site_id)
                .await?
                .ok_or(AccessError::Inconsistent("site"))?;
            (site.plan_id == plan).then_some(OrderKind::Change)
        }
        (Concerned::AtSite(_, OrderKind::Change), Some(_)) => None,
        (Concerned::AtSite(site, kind), _) => (session.site_id == site).then_some(kind),
    })
}
