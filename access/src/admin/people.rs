//! What administrators do about a person: look, block, give another plan, give octets.

use kavadam_domain::{Language, MobileNumber, Plan, Timestamp};
use kavadam_store::{OrderKind, SubscriberRow, Tx};

use super::missing;
use crate::api::SubscriberView;
use crate::standing::load_period;
use crate::{Access, AccessError};

/// Most octets given in one go.
const MOST_OCTETS: u64 = 1 << 60;

impl Access {
    /// A subscriber; `None` if the number never logged in. Without a plan of their own and without a session, what is shown is the plan of
    /// the first site.
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
        let (entitlement, allowance) = load_period(&mut tx, &row, &plan, now).await?;
        let devices = tx.devices(row.id).await?;
        tx.commit().await?;
        Ok(Some(SubscriberView {
            number: row.number,
            plan,
            is_blocked: row.is_blocked,
            has_authenticator: row.totp_sealed.is_some(),
            used_octets: entitlement.used_octets,
            leased_octets: allowance.promised_octets,
            topped_up_octets: entitlement.topped_up_octets,
            devices: devices
                .into_iter()
                .map(|device| (device.mac, device.remembered_until))
                .collect(),
        }))
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
        let plan = plan_of(&mut tx, &row).await?;
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

/// The plan in force: their own, else that of the site where they are online, else of the first site.
async fn plan_of(tx: &mut Tx, row: &SubscriberRow) -> Result<Plan, AccessError> {
    let id = match row.plan_id {
        Some(id) => id,
        None => match tx.live_sessions_of(row.id).await?.last() {
            Some(session) => {
                tx.site(session.site_id)
                    .await?
                    .ok_or(AccessError::Inconsistent("site"))?
                    .plan_id
            }
            None => tx.sites().await?.first().ok_or_else(|| missing("site", "any"))?.plan_id,
        },
    };
    tx.plan(id).await?.ok_or(AccessError::Inconsistent("plan"))
}

async fn order_all(tx: &mut Tx, row: &SubscriberRow, kind: OrderKind, now: Timestamp) -> Result<(), AccessError> {
    for mut session in tx.live_sessions_of(row.id).await? {
        session.order(kind, now);
        tx.save_session(&session).await?;
    }
    Ok(())
}
