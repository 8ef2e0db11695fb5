//! What administrators do. Every change is audited in the transaction that makes it.

mod people;
mod record;

use ipnet::IpNet;
use kavadam_domain::{NasId, Plan, PlanId, SiteId, Timestamp};
use kavadam_store::NewNas;

pub use record::{NasView, SessionQuery, SiteView};

use crate::{Access, AccessError};

/// A gate to be known, or changed.
pub struct NasSetting<'a> {
    /// NAS-Identifier.
    pub name: &'a str,
    /// Name of the site where it stands.
    pub site: &'a str,
    /// Where its requests come from.
    pub source: IpNet,
    /// RADIUS secret.
    pub secret: &'a [u8],
    /// UAM secret.
    pub uam_secret: &'a [u8],
    /// UDP port for CoA and Disconnect.
    pub coa_port: u16,
    /// It shares a quota between sessions of one Chargeable-User-Identity, and asks again before a lease is used up: a gateway of ours. A
    /// vendor's gate may send that attribute too, and do neither.
    pub is_renewing: bool,
}

/// Shortest RADIUS secret taken: shorter ones fall to a search of recorded packets.
const LEAST_SECRET_OCTETS: usize = 16;

impl Access {
    /// Makes a plan, or changes the one of that name; those online with it get its limits at once.
    ///
    /// # Errors
    /// The plan cannot be enforced, or the service is out of order; nothing was changed.
    pub async fn set_plan(&self, plan: &Plan, actor: &str, now: Timestamp) -> Result<PlanId, AccessError> {
        plan.validate()?;
        let mut tx = self.write().await?;
        let id = tx.save_plan(plan).await?;
        let online = tx.order_change_on_plan(id, now).await?;
        tx.record_audit(actor, "plan.set", &plan.name, "", now).await?;
        tx.commit().await?;
        if online > 0 {
            self.wake_orders();
        }
        Ok(id)
    }

    /// Makes a site, or changes the one of that name.
    ///
    /// # Errors
    /// There is no such plan, or the service is out of order; nothing was changed.
    pub async fn set_site(
        &self,
        name: &str,
        is_open: bool,
        plan: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<SiteId, AccessError> {
        check_name("site name", name)?;
        let mut tx = self.write().await?;
        let plan = tx.plan_named(plan).await?.ok_or_else(|| missing("plan", plan))?;
        let id = tx.save_site(name, is_open, plan.id).await?;
        tx.record_audit(actor, "site.set", name, &plan.name, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Makes a gate known, or changes the one of that name.
    ///
    /// # Errors
    /// There is no such site, the name is none, a secret is too short, or the service is out of order; nothing was changed.
    pub async fn set_nas(&self, nas: &NasSetting<'_>, actor: &str, now: Timestamp) -> Result<NasId, AccessError> {
        check_name("NAS-Identifier", nas.name)?;
        if nas.secret.len() < LEAST_SECRET_OCTETS || nas.uam_secret.len() < LEAST_SECRET_OCTETS {
            return Err(AccessError::Invalid(format!(
                "secrets of a NAS need at least {LEAST_SECRET_OCTETS} octets"
            )));
        }
        let mut tx = self.write().await?;
        let site = tx
            .site_named(nas.site)
            .await?
            .ok_or_else(|| missing("site", nas.site))?;
        let id = tx
            .save_nas(&NewNas {
                name: nas.name.to_owned(),
                site_id: site.id,
                source: nas.source,
                secret_sealed: self.sealer().seal(nas.secret, rand::random())?,
                uam_secret_sealed: self.sealer().seal(nas.uam_secret, rand::random())?,
                coa_port: nas.coa_port,
                is_renewing: nas.is_renewing,
            })
            .await?;
        tx.record_audit(actor, "nas.set", nas.name, &nas.source.to_string(), now)
            .await?;
        tx.commit().await?;
        self.forget_gates();
        Ok(id)
    }
}

fn check_name(what: &str, name: &str) -> Result<(), AccessError> {
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(AccessError::Invalid(format!(
            "{what}: use 1 to 100 characters on one line"
        )));
    }
    Ok(())
}

pub(crate) fn missing(kind: &'static str, name: &str) -> AccessError {
    AccessError::Missing {
        kind,
        name: name.to_owned(),
    }
}
