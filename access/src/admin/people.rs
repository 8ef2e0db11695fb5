//! What administrators do about a person: look, block, give another plan, give octets.

use std::sync::Arc;
use std::time::Duration;

use kavadam_domain::{Language, MobileNumber, Plan, Timestamp};
use kavadam_store::{OrderKind, SessionRow, SubscriberRow, Tx};

use super::missing;
use crate::api::SubscriberView;
use crate::standing::load_period;
use crate::{Access, AccessError};

/// Most octets given in one go.
const MOST_OCTETS: u64 = 1 << 60;

/// A subscriber in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberLine {
    /// Number.
    pub number: MobileNumber,
    /// Name of a plan of their own.
    pub own_plan: Option<String>,
    /// Blocked by an administrator.
    pub is_blocked: bool,
    /// May enter the code of an authenticator app.
    pub has_authenticator: bool,
    /// First seen.
    pub created_at: Timestamp,
}

impl Access {
    /// A subscriber; `None` if the number is not known. The plan is their own, else that of the site where they are or were last online; a
    /// number that has neither has no plan yet.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn subscriber(
        &self,
        number: &MobileNumber,
        now: Timestamp,
    ) -> Result<Option<SubscriberView>, AccessError> {
        // Writes only where the present period is looked at for the first time.
        let mut tx = self.write().await?;
        let Some(row) = tx.subscriber_numbered(number).await? else {
            return Ok(None);
        };
        let plan = plan_of(&mut tx, &row).await?;
        let mut view = SubscriberView {
            number: row.number.clone(),
            plan: None,
            is_blocked: row.is_blocked,
            has_authenticator: row.totp_sealed.is_some(),
            used_octets: 0,
            leased_octets: 0,
            topped_up_octets: 0,
            devices: Vec::new(),
        };
        if let Some(plan) = plan {
            let (entitlement, allowance) = load_period(&mut tx, &row, &plan, now).await?;
            view.used_octets = entitlement.used_octets;
            view.leased_octets = allowance.promised_octets;
            view.topped_up_octets = entitlement.topped_up_octets;
            view.plan = Some(Plan::clone(&plan));
        }
        let devices = tx.devices(row.id).await?;
        view.devices = devices
            .into_iter()
            .map(|device| (device.mac, device.remembered_until))
            .collect();
        tx.commit().await?;
        Ok(Some(view))
    }

    /// The newest subscribers, at most `most`.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn subscribers(&self, most: u32) -> Result<Vec<SubscriberLine>, AccessError> {
        let mut tx = self.read_at_length().await?;
        let mut lines = Vec::new();
        for row in tx.subscribers(most).await? {
            let plan = match row.plan_id {
                Some(id) => Some(
                    tx.plan(id)
                        .await?
                        .ok_or(AccessError::Inconsistent("plan"))?
                        .name
                        .clone(),
                ),
                None => None,
            };
            lines.push(SubscriberLine {
                number: row.number,
                own_plan: plan,
                is_blocked: row.is_blocked,
                has_authenticator: row.totp_sealed.is_some(),
                created_at: row.created_at,
            });
        }
        Ok(lines)
    }

    /// Has every session of a number ended by its gate. Tells how many were not over.
    ///
    /// # Errors
    /// There is no such subscriber, or the service is out of order; nothing was changed.
    pub async fn end_sessions_of(
        &self,
        number: &MobileNumber,
        actor: &str,
        now: Timestamp,
    ) -> Result<usize, AccessError> {
        let mut tx = self.write().await?;
        let row = lock(&mut tx, number).await?;
        let ending = order_all(&mut tx, &row, OrderKind::End, now).await?;
        tx.record_audit(
            actor,
            "subscriber.end",
            number.digits(),
            &format!("{ending} sessions"),
            now,
        )
        .await?;
        tx.commit().await?;
        self.wake_orders();
        Ok(ending)
    }

    /// Blocks a number, at once where it is online, or lets it in again. A number that never logged in can be blocked, too.
    ///
    /// # Errors
    /// The service is out of order; nothing was changed.
    pub async fn block(
        &self,
        number: &MobileNumber,
        is_blocked: bool,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), AccessError> {
        let mut tx = self.write().await?;
        let alias = crate::login::fresh_alias();
        let found = tx.ensure_subscriber(number, &alias, Language::default(), now).await?;
        let mut row = tx.lock_subscriber(found.id).await?;
        row.is_blocked = is_blocked;
        tx.save_subscriber(&row).await?;
        if is_blocked {
            order_all(&mut tx, &row, OrderKind::End, now).await?;
        }
        let action = if is_blocked {
            "subscriber.block"
        } else {
            "subscriber.unblock"
        };
        tx.record_audit(actor, action, number.digits(), "", now).await?;
        tx.commit().await?;
        self.wake_orders();
        Ok(())
    }

    /// Gives a subscriber a plan of their own, or (`None`) the site's again; at once where they are online.
    ///
    /// # Errors
    /// There is no such subscriber or plan, or the service is out of order; nothing was changed.
    pub async fn set_subscriber_plan(
        &self,
        number: &MobileNumber,
        plan: Option<&str>,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), AccessError> {
        let mut tx = self.write().await?;
        let mut row = lock(&mut tx, number).await?;
        row.plan_id = match plan {
            Some(name) => Some(tx.plan_named(name).await?.ok_or_else(|| missing("plan", name))?.id),
            None => None,
        };
        tx.save_subscriber(&row).await?;
        order_all(&mut tx, &row, OrderKind::Change, now).await?;
        let detail = plan.unwrap_or("the site's");
        tx.record_audit(actor, "subscriber.plan", number.digits(), detail, now)
            .await?;
        tx.commit().await?;
        self.wake_orders();
        Ok(())
    }

    /// Adds octets to a subscriber's present period, at once where they are online.
    ///
    /// # Errors
    /// There is no such subscriber, the figure makes no sense, or the service is out of order; nothing was changed.
    pub async fn top_up(
        &self,
        number: &MobileNumber,
        octets: u64,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), AccessError> {
        if !(1..MOST_OCTETS).contains(&octets) {
            return Err(AccessError::Invalid(
                "top-up: give 1 octet or more, and less than 1 EiB".to_owned(),
            ));
        }
        let mut tx = self.write().await?;
        let row = lock(&mut tx, number).await?;
        let plan = plan_of(&mut tx, &row).await?.ok_or_else(|| {
            AccessError::Invalid(format!(
                "{} was never online and has no plan of its own: whose period is to be topped up? Give it a plan first",
                number.masked()
            ))
        })?;
        let (entitlement, _) = load_period(&mut tx, &row, &plan, now).await?;
        tx.top_up(entitlement.id, octets).await?;
        order_all(&mut tx, &row, OrderKind::Change, now).await?;
        tx.record_audit(actor, "subscriber.top-up", number.digits(), &octets.to_string(), now)
            .await?;
        tx.commit().await?;
        self.wake_orders();
        Ok(())
    }
}

async fn lock(tx: &mut Tx, number: &MobileNumber) -> Result<SubscriberRow, AccessError> {
    let found = tx
        .subscriber_numbered(number)
        .await?
        .ok_or_else(|| missing("subscriber", &number.masked()))?;
    Ok(tx.lock_subscriber(found.id).await?)
}

/// The plan in force: their own, else that of the site where they are online, else of the one where they were last.
async fn plan_of(tx: &mut Tx, row: &SubscriberRow) -> Result<Option<Arc<Plan>>, AccessError> {
    let mut id = row.plan_id;
    if id.is_none() {
        let last = match tx.live_sessions_of(row.id).await?.pop() {
            Some(live) => Some(live),
            None => tx.last_session_of(row.id).await?,
        };
        let Some(last) = last else { return Ok(None) };
        id = tx.site(last.site_id).await?.map(|site| site.plan_id);
    }
    let plan = match id {
        Some(id) => tx.plan(id).await?,
        None => None,
    };
    Ok(Some(plan.ok_or(AccessError::Inconsistent("plan"))?))
}

async fn order_all(tx: &mut Tx, row: &SubscriberRow, kind: OrderKind, now: Timestamp) -> Result<usize, AccessError> {
    let live = tx.live_sessions_of(row.id).await?;
    if kind == OrderKind::End {
        order_end_of_presumed(tx, row, &live, now).await?;
    }
    let count = live.len();
    for mut session in live {
        session.order(kind, now);
        tx.save_session(&session).await?;
    }
    Ok(count)
}

/// A vendor's gate may not report for long what goes on there: it is told once, but of what another has taken the place of. A gateway of ours
/// is told when it is heard again.
async fn order_end_of_presumed(
    tx: &mut Tx,
    row: &SubscriberRow,
    live: &[SessionRow],
    now: Timestamp,
) -> Result<(), AccessError> {
    let since = now - Duration::from_hours(24);
    let is_replaced = |session: &SessionRow| {
        let mut others = live.iter();
        others.any(|other| session.mac.is_some() && other.nas_id == session.nas_id && other.mac == session.mac)
    };
    for mut session in tx.presumed_ended_of(row.id, since, now).await? {
        if session.started_at.is_some() && !session.is_renewable && !is_replaced(&session) {
            session.order_end_if_there(now);
            tx.save_session(&session).await?;
        }
    }
    Ok(())
}
