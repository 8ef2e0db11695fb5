//! What the centre wants gates to do: read by a reconciler that sends until it is acknowledged.

use std::net::SocketAddr;
use std::time::Duration;

use kavadam_domain::session::{SessionState, terminate_cause};
use kavadam_domain::{SessionId, Timestamp};
use kavadam_store::{OrderKind, SessionRow, Tx};

use crate::admit::{Asking, admit};
use crate::api::{Order, OrderAction, OrderAnswer};
use crate::ending::end_session;
use crate::{Access, AccessError};

/// Orders looked at in one go.
const MOST: u32 = 1000;
/// Between sendings of an order, doubled each time up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_mins(5);

impl Access {
    /// Orders that are due. Each is decided in a transaction of its own, on the session as it is under its subscriber's lock.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn pending_orders(&self, now: Timestamp) -> Result<Vec<Order>, AccessError> {
        let due = self.read().await?.ordered_sessions(now, MOST).await?;
        let mut orders = Vec::new();
        for found in due {
            let mut tx = self.write().await?;
            tx.lock_subscriber(found.subscriber_id).await?;
            let Some(session) = tx.session(found.id).await? else {
                continue;
            };
            if let Some(action) = action(&mut tx, &session, now).await? {
                orders.extend(order(&mut tx, &session, action).await?);
            }
            tx.commit().await?;
        }
        Ok(orders)
    }

    /// What a gate said to an order, or that it was silent. `true` if the matter is settled.
    ///
    /// # Errors
    /// The service is out of order; the order will be sent again.
    pub async fn order_answered(
        &self,
        id: SessionId,
        answer: OrderAnswer,
        now: Timestamp,
    ) -> Result<bool, AccessError> {
        let mut tx = self.write().await?;
        let Some(found) = tx.session(id).await? else {
            return Ok(true);
        };
        tx.lock_subscriber(found.subscriber_id).await?;
        let Some(mut session) = tx.session(id).await? else {
            return Ok(true);
        };
        let is_settled = match answer {
            OrderAnswer::Done => {
                session.settle_order();
                session.trouble = None;
                true
            }
            // Its Stop was lost, or is still on its way: the octets known stand, and a late Stop adds to them.
            OrderAnswer::SessionGone => {
                session.settle_order();
                end_session(&mut tx, &mut session, terminate_cause::LOST_SERVICE, now).await?;
                true
            }
            OrderAnswer::Refused(cause) => {
                session.trouble = Some(format!("the gate refused with Error-Cause {cause}"));
                postpone(&mut session, now);
                false
            }
            OrderAnswer::Silence => {
                session.trouble = Some("the gate does not answer".to_owned());
                postpone(&mut session, now);
                false
            }
        };
        tx.save_session(&session).await?;
        tx.commit().await?;
        Ok(is_settled)
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
