//! What every page and every decision starts from: a subscriber's plan, and what is left of it.

use std::sync::Arc;

use kavadam_domain::plan::Plan;
use kavadam_domain::quota::Allowance;
use kavadam_domain::{SiteId, Timestamp};
use kavadam_store::{EntitlementRow, SiteRow, SubscriberRow, Tx};

use crate::AccessError;

/// A subscriber's plan at a site, and what is left of it.
pub struct Standing {
    /// Where.
    pub site: Arc<SiteRow>,
    /// The plan in force there.
    pub plan: Arc<Plan>,
    /// The present period.
    pub entitlement: EntitlementRow,
    /// What is left of it.
    pub allowance: Allowance,
}

/// Loads a subscriber's standing at a site; the period is made if this is its first use.
pub async fn load_standing(
    tx: &mut Tx,
    subscriber: &SubscriberRow,
    site: SiteId,
    now: Timestamp,
) -> Result<Standing, AccessError> {
    let site = tx.site(site).await?.ok_or(AccessError::Inconsistent("site"))?;
    let plan = tx
        .plan(subscriber.plan_id.unwrap_or(site.plan_id))
        .await?
        .ok_or(AccessError::Inconsistent("plan"))?;
    let (entitlement, allowance) = load_period(tx, subscriber, &plan, now).await?;
    Ok(Standing {
        site,
        plan,
        entitlement,
        allowance,
    })
}

/// Loads the present period of a plan, made if this is its first use. The plan's quota counts as it is now, so that a plan made larger
/// helps at once.
pub async fn load_period(
    tx: &mut Tx,
    subscriber: &SubscriberRow,
    plan: &Plan,
    now: Timestamp,
) -> Result<(EntitlementRow, Allowance), AccessError> {
    let entitlement = tx.ensure_entitlement(subscriber.id, plan.id, plan.window(now)?).await?;
    let allowance = Allowance {
        quota_octets: plan.quota_octets,
        topped_up_octets: entitlement.topped_up_octets,
        used_octets: entitlement.used_octets,
        promised_octets: tx.promised_octets(entitlement.id).await?,
    };
    Ok((entitlement, allowance))
}
