//! What the centre wants gates to do: read by a reconciler that sends until it is acknowledged.

use std::net::SocketAddr;
use std::time::Duration;

use kavadam_domain::session::{SessionState, terminate_cause};
use kavadam_domain::{NasId, SessionId, Timestamp};
use kavadam_store::{OrderKind, SessionRow, Tx};

use crate::admit::{Asking, admit};
use crate::api::{Order, OrderAction, OrderAnswer};
use crate::ending::{end_session, presume_ended};
use crate::{Access, AccessError};

/// Orders looked at in one go.
const MOST: u32 = 1000;
/// Between sendings of an order, doubled each time up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// Longer than any sending takes until it is given up.
const UNDER_WAY: Duration = Duration::from_secs(30);

impl Access {
    /// The sessions whose orders are due, with the gates to be asked; at most a thousand.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn due_orders(&self, now: Timestamp) -> Result<Vec<(SessionId, NasId)>, AccessError> {
        let due = self.read().await?.ordered_sessions(now, MOST).await?;
        Ok(due.into_iter().map(|session| (session.id, session.nas_id)).collect())
    }

    /// What to send to a session's gate now, decided on the session as it is under its subscriber's lock. The order is then not due again
    /// until it is answered or replaced, or the sender must have died: so it is decided once for each sending.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn decide_order(&self, id: SessionId, now: Timestamp) -> Result<Option<Order>, AccessError> {
        let mut tx = self.write().await?;
        let Some(found) = tx.session(id).await? else {
            return Ok(None);
        };
        tx.lock_subscriber(found.subscriber_id).await?;
        let is_due = |session: &SessionRow| session.order_next_at.is_some_and(|at| at <= now);
        let Some(session) = tx.session(id).await?.filter(is_due) else {
            return Ok(None);
        };
        let action = action(&mut tx, &session, now).await?;
        // As the decision left it.
        let mut session = tx.session(id).await?.ok_or(AccessError::Inconsistent("session"))?;
        let mut sent = None;
        if let Some(action) = action {
            sent = order(&mut tx, &session, action).await?;
            if sent.is_some() {
                session.order_next_at = Some(now + UNDER_WAY);
            } else {
                session.trouble = Some("the gate was never heard of".to_owned());
                postpone(&mut session, now);
            }
        } else {
            session.settle_order();
        }
        tx.save_session(&session).await?;
        tx.commit().await?;
        Ok(sent)
    }

    /// What a gate said to an order, or that it was silent. `true` if nothing more is asked of the gate. An answer settles what was sent:
    /// if something else was ordered meanwhile, that stays due.
    ///
    /// # Errors
    /// The service is out of order; the order will be sent again.
    pub async fn order_answered(
        &self,
        order: &Order,
        answer: OrderAnswer,
        now: Timestamp,
    ) -> Result<bool, AccessError> {
        let mut tx = self.write().await?;
        tx.lock_subscriber(order.subscriber).await?;
        let Some(mut session) = tx.session(order.session).await? else {
            return Ok(true);
        };
        let is_current = session.order_action.is_some() && session.order_number == order.number;
        match answer {
            // Not there yet, perhaps: a Start will tell.
            OrderAnswer::SessionGone if session.state == SessionState::Granted => {
                presume_ended(&mut tx, &mut session, now).await?;
            }
            // Its Stop was lost, or is still on its way: the octets known stand, and a late Stop adds to them.
            OrderAnswer::SessionGone => end_session(&mut tx, &mut session, terminate_cause::LOST_SERVICE, now).await?,
            _ if !is_current => {}
            OrderAnswer::Done => session.settle_order(),
            OrderAnswer::Refused(cause) => {
                session.trouble = Some(format!("the gate refused with Error-Cause {cause}"));
                postpone(&mut session, now);
            }
            OrderAnswer::Silence => {
                session.trouble = Some("the gate does not answer".to_owned());
                postpone(&mut session, now);
            }
        }
        tx.save_session(&session).await?;
        tx.commit().await?;
        Ok(session.order_action.is_none())
    }
}

fn postpone(session: &mut SessionRow, now: Timestamp) {
    let wait = FIRST_WAIT
        .saturating_mul(1 << session.order_attempts.min(10))
        .min(LONGEST_WAIT);
    session.order_attempts = session.order_attempts.saturating_add(1);
    session.order_next_at = Some(now + wait);
}

/// What to send; `None` if nothing is left to be done.
async fn action(tx: &mut Tx, session: &SessionRow, now: Timestamp) -> Result<Option<OrderAction>, AccessError> {
    if session.state == SessionState::Ended {
        return Ok(None);
    }
    match session.order_action {
        None => Ok(None),
        Some(OrderKind::End) => Ok(Some(OrderAction::End)),
        // Over by its last limits: not to be drawn into the next period.
        Some(OrderKind::Change) if session.ends_at.is_some_and(|at| at <= now) => Ok(Some(OrderAction::End)),
        Some(OrderKind::Change) => {
            let subscriber = tx.lock_subscriber(session.subscriber_id).await?;
            let granted = admit(tx, &subscriber, &Asking::from(session), Some(session.clone()), now).await?;
            // Limits that leave nothing end the session.
            Ok(Some(
                granted.map_or(OrderAction::End, |grant| OrderAction::Change(grant.limits)),
            ))
        }
    }
}

async fn order(tx: &mut Tx, session: &SessionRow, action: OrderAction) -> Result<Option<Order>, AccessError> {
    let nas = tx.nas(session.nas_id).await?.ok_or(AccessError::Inconsistent("nas"))?;
    let subscriber = tx
        .subscriber(session.subscriber_id)
        .await?
        .ok_or(AccessError::Inconsistent("subscriber"))?;
    let (Some(address), Some(acct_session_id)) = (nas.last_seen_address, session.acct_session_id.clone()) else {
        return Ok(None);
    };
    Ok(Some(Order {
        session: session.id,
        subscriber: session.subscriber_id,
        number: session.order_number,
        nas: session.nas_id,
        to: SocketAddr::new(address, nas.coa_port),
        acct_session_id,
        user_name: subscriber.alias,
        class: session.class.to_vec(),
        mac: session.mac,
        action,
        attempts: session.order_attempts,
    }))
}
