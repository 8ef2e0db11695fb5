//! What the centre wants gates to do: read by a reconciler that sends until it is acknowledged.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kavadam_domain::gate::{Abilities, Deed};
use kavadam_domain::session::{SessionState, terminate_cause};
use kavadam_domain::time::CLOCKS_WITHIN;
use kavadam_domain::{Limits, NasId, SessionId, Timestamp};
use kavadam_store::{OrderKind, SessionRow, Tx, VendorRow};

use crate::admit::{Asking, admit};
use crate::api::{Calls, Destination, Order, OrderAction, OrderAnswer, Role};
use crate::ending::{end_session, is_name_taken, presume_gone};
use crate::namesake::bare;
use crate::{Access, AccessError};

/// Orders of one gate looked at in one go.
const MOST_PER_GATE: u32 = 16;
/// Of all gates together; twice as many as a centre has gates, so that each is among them.
const MOST: u32 = 8192;
/// Between sendings of an order, doubled each time up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// Longer than any sending takes until it is given up.
const UNDER_WAY: Duration = Duration::from_secs(30);

impl Access {
    /// The sessions whose orders are due, with the gates to be asked: of each gate the sixteen that are due longest, whatever is due at
    /// others; of all together at most 8,192.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn due_orders(&self, now: Timestamp) -> Result<Vec<(SessionId, NasId)>, AccessError> {
        let beyond = now + LONGEST_WAIT + CLOCKS_WITHIN;
        let due = self.read().await?.due_orders(now, beyond, MOST_PER_GATE, MOST).await?;
        Ok(due.into_iter().map(|order| (order.id, order.nas_id)).collect())
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
        let is_due = |session: &SessionRow| {
            session
                .order_next_at
                .is_some_and(|at| at.wait_at(now, LONGEST_WAIT).is_zero())
        };
        let Some(session) = tx.session(id).await?.filter(is_due) else {
            return Ok(None);
        };
        let todo = self.decide(&mut tx, &session, now).await?;
        // As the decision left it.
        let mut session = tx.session(id).await?.ok_or(AccessError::Inconsistent("session"))?;
        let mut sent = None;
        match todo {
            Todo::Nothing => session.settle_order(),
            Todo::Send(action, role) => match self.order(&mut tx, &session, action).await? {
                Ok(order) => {
                    session.order_next_at = Some(now + UNDER_WAY);
                    sent = Some(Order { role, ..order });
                }
                Err(trouble) => {
                    session.trouble = Some(trouble.to_owned());
                    postpone(&mut session, now);
                }
            },
            // Until something else is asked of it, or it is over by itself.
            Todo::Impossible => {
                session.trouble = Some(CANNOT_BE_CUT.to_owned());
                session.order_next_at = None;
            }
        }
        if session.state == SessionState::Ended {
            // Once: whether there is anybody to ask, only a report tells.
            session.order_next_at = None;
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
        if answer == OrderAnswer::Done
            && let OrderAction::Change(limits) = &order.action
        {
            self.note_obeyed(&mut tx, &session, limits).await?;
        }
        match answer {
            OrderAnswer::SessionGone => self.note_gone(&mut tx, &mut session, now).await?,
            _ if !is_current => {}
            // Taken for ended while it was asked, or ended: there is nobody to ask again, until it is heard of.
            OrderAnswer::Refused(_) | OrderAnswer::Silence if session.state == SessionState::Ended => {}
            OrderAnswer::Done => session.settle_order(),
            OrderAnswer::Refused(cause) => {
                session.trouble = Some(refusal(cause));
                postpone(&mut session, now);
                if let OrderAction::Change(limits) = &order.action
                    && is_final(cause)
                {
                    self.do_without_change(&mut tx, &mut session, limits, now).await?;
                }
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

/// A report came, so that what could not be sent for want of one can be: not only once its wait is over. Whether there is such an order.
pub(crate) fn hasten(session: &mut SessionRow, now: Timestamp) -> bool {
    let waits = matches!(session.trouble.as_deref(), Some(NOT_BEGUN | NEVER_HEARD));
    let waits = waits && session.state != SessionState::Ended && session.order_action.is_some();
    if waits {
        session.trouble = None;
        session.order_next_at = Some(now);
    }
    waits
}

/// Where a session was reported from: its orders go there. One that was asked for in vain elsewhere is asked for there at once. Whether there
/// is such an order.
pub(crate) fn follow(session: &mut SessionRow, from: Option<IpAddr>, now: Timestamp) -> bool {
    if from.is_none() || session.heard_from == from {
        return false;
    }
    session.heard_from = from;
    // What was never sent, or cannot be, waits for something else.
    let was_sent = session.order_attempts > 0 && session.order_next_at.is_some();
    let waits = was_sent && session.state != SessionState::Ended;
    if waits {
        // Not as if it were the first time: a pair of controllers may report in turn.
        session.order_next_at = Some(now);
    }
    waits
}

/// What is left to do about an order.
enum Todo {
    /// Nothing: it is done, or the gate is told at the next login.
    Nothing,
    /// This, and the role that a change is to.
    Send(OrderAction, Option<Role>),
    /// What cannot be done: the gate takes no such order.
    Impossible,
}

impl From<Deed> for Todo {
    /// Of what ends a session.
    fn from(deed: Deed) -> Self {
        match deed {
            Deed::Impossible => Self::Impossible,
            _ => Self::Send(OrderAction::End, None),
        }
    }
}

impl Access {
    async fn decide(&self, tx: &mut Tx, session: &SessionRow, now: Timestamp) -> Result<Todo, AccessError> {
        let may_be_there = session.is_presumed_ended && session.order_action == Some(OrderKind::End);
        // A gate that goes by the name alone would end the other.
        if session.state == SessionState::Ended && (!may_be_there || is_name_taken(tx, session).await?) {
            return Ok(Todo::Nothing);
        }
        let abilities = self.abilities_at(tx, session).await?;
        let is_over = session.ends_at.is_some_and(|at| at <= now);
        match session.order_action {
            None => return Ok(Todo::Nothing),
            Some(OrderKind::End) => return Ok(abilities.end().into()),
            // Over by its last limits: not to be drawn into the next period.
            Some(OrderKind::Change) if is_over => return Ok(abilities.end().into()),
            Some(OrderKind::Change) => {}
        }
        let subscriber = tx.lock_subscriber(session.subscriber_id).await?;
        let asking = Asking::of(session, abilities);
        let granted = admit(tx, &subscriber, &asking, Some(session.clone()), now).await?;
        // Limits that leave nothing end the session.
        let Ok(grant) = granted else {
            return Ok(abilities.end().into());
        };
        let told = self.vendor_at(tx, session).await?.map(|(row, _)| row.told());
        Ok(match abilities.deed(told, &grant.limits) {
            Deed::Nothing => Todo::Nothing,
            Deed::Change => {
                let role = Role {
                    plan: grant.plan,
                    is_throttled: grant.is_throttled,
                };
                Todo::Send(OrderAction::Change(grant.limits), Some(role))
            }
            deed => deed.into(),
        })
    }

    /// A gate says that it has no such session.
    async fn note_gone(&self, tx: &mut Tx, session: &mut SessionRow, now: Timestamp) -> Result<(), AccessError> {
        let nas = tx.nas(session.nas_id).await?.ok_or(AccessError::Inconsistent("nas"))?;
        // Not there yet, perhaps: a Start will tell. Or it is at another access point of a vendor's than the one that was asked, which was
        // the last to be heard of: a report will tell.
        let may_be_there = session.state == SessionState::Granted || nas.is_vendors();
        if !may_be_there || session.state == SessionState::Ended && !session.is_presumed_ended {
            // Its Stop was lost, or is still on its way: the octets known stand, and a late Stop adds to them.
            end_session(tx, session, terminate_cause::LOST_SERVICE, now).await
        } else if session.state == SessionState::Ended {
            Ok(())
        } else {
            presume_gone(tx, session, now).await
        }
    }

    /// What to send; or why it cannot be sent yet, as an administrator is told.
    async fn order(
        &self,
        tx: &mut Tx,
        session: &SessionRow,
        action: OrderAction,
    ) -> Result<Result<Order, &'static str>, AccessError> {
        let nas = tx.nas(session.nas_id).await?.ok_or(AccessError::Inconsistent("nas"))?;
        let subscriber = tx
            .subscriber(session.subscriber_id)
            .await?
            .ok_or(AccessError::Inconsistent("subscriber"))?;
        let given = nas.coa_host.as_ref();
        let given = given.map(|host| Destination::Given(host.clone(), nas.coa_port));
        // Of many gates the one that has the session; else whichever was heard of last.
        let there = session.heard_from.filter(|from| nas.source.contains(from));
        let seen = there.or_else(|| Some(self.last_sight(&nas)?.0));
        let seen = seen.map(|address| Destination::Seen(SocketAddr::new(address, nas.coa_port)));
        let Some(to) = given.or(seen) else {
            return Ok(Err(NEVER_HEARD));
        };
        let Some(acct_session_id) = session.acct_session_id.as_deref().map(|name| bare(name).to_owned()) else {
            return Ok(Err(NOT_BEGUN));
        };
        let vendor = self.vendor_at(tx, session).await?.map(|(row, _)| row);
        let vendor = vendor.unwrap_or(VendorRow::of(session.id));
        Ok(Ok(Order {
            session: session.id,
            subscriber: session.subscriber_id,
            number: session.order_number,
            nas: session.nas_id,
            to,
            acct_session_id,
            user_name: vendor.user_name.unwrap_or(subscriber.alias),
            class: session.class.to_vec(),
            mac: session.mac,
            ip: session.ip,
            handle: vendor.handle,
            calls: Calls {
                nas_identifier: vendor.nas_identifier,
                nas_ip: vendor.nas_ip,
                called_station_id: vendor.called_station_id,
            },
            action,
            role: None,
            attempts: session.order_attempts,
        }))
    }

    async fn abilities_at(&self, tx: &mut Tx, session: &SessionRow) -> Result<Abilities, AccessError> {
        let nas = tx.nas(session.nas_id).await?.ok_or(AccessError::Inconsistent("nas"))?;
        Ok(self.settings().abilities_of(&nas.profile))
    }

    /// What a session is at a vendor's gate, and what that can be held to; `None` at one of ours.
    async fn vendor_at(
        &self,
        tx: &mut Tx,
        session: &SessionRow,
    ) -> Result<Option<(VendorRow, Abilities)>, AccessError> {
        let nas = tx.nas(session.nas_id).await?.ok_or(AccessError::Inconsistent("nas"))?;
        if !nas.is_vendors() {
            return Ok(None);
        }
        let abilities = self.settings().abilities_of(&nas.profile);
        Ok(tx.session_vendor(session.id).await?.map(|row| (row, abilities)))
    }

    /// A vendor's gate holds a session to new limits.
    async fn note_obeyed(&self, tx: &mut Tx, session: &SessionRow, limits: &Limits) -> Result<(), AccessError> {
        let Some((mut row, abilities)) = self.vendor_at(tx, session).await? else {
            return Ok(());
        };
        row.set_told(&abilities.told_after(Some(row.told()), limits));
        Ok(tx.save_session_vendor(&row).await?)
    }

    /// A vendor's gate will not change a session, however often it is asked: what narrows ends it, what widens waits.
    async fn do_without_change(
        &self,
        tx: &mut Tx,
        session: &mut SessionRow,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<(), AccessError> {
        let Some((row, abilities)) = self.vendor_at(tx, session).await? else {
            return Ok(());
        };
        let abilities = abilities.without_changes();
        match abilities.deed(Some(row.told()), limits) {
            Deed::Nothing | Deed::Change => session.settle_order(),
            Deed::End => {
                let trouble = session.trouble.take();
                session.order(OrderKind::End, now);
                session.trouble = trouble;
            }
            Deed::Impossible => {
                session.trouble = Some(CANNOT_BE_CUT.to_owned());
                session.order_next_at = None;
            }
        }
        Ok(())
    }
}

/// What an administrator is told of an order whose gate nobody knows where to find.
const NEVER_HEARD: &str = "its gate was never heard of: asked once it is";
/// Of one that the gate would not know whom it is about.
const NOT_BEGUN: &str = "its Start has not come yet: its gate is asked once it has";
/// Of a session that goes on beyond its limits.
const CANNOT_BE_CUT: &str = "cannot be cut: its gate takes no such order";

/// Error-Causes that asking again does not change (RFC 5176 §3.5); nor does it where a gate gives none (0), by any of the session's names.
const fn is_final(cause: u32) -> bool {
    matches!(cause, 0 | 401 | 402 | 404 | 405 | 406 | 407 | 501 | 505)
}

/// What an administrator can do about a refusal.
fn refusal(cause: u32) -> String {
    let meaning = match cause {
        0 => return "the gate refused and did not say why".to_owned(),
        401 => "it does not know an attribute: choose its vendor's profile",
        402 => "it misses an attribute: choose its vendor's profile",
        403 => "it goes by another name: correct its NAS-Identifier",
        404 => "the request makes no sense to it, or the clocks differ",
        405 => "it does not know the service",
        407 => "it cannot hold a limit, or has no filter of the plan's name (gateway.filters)",
        501 => "it is set not to take orders: allow CoA there",
        504 => "it has the session and cannot end it",
        506 => "it has no room just now",
        508 => "several of its sessions go by that name",
        _ => return format!("the gate refused with Error-Cause {cause}"),
    };
    format!("the gate refused with Error-Cause {cause}: {meaning}")
}
