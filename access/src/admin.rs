//! What administrators do. Every change is audited in the transaction that makes it.

mod difference;
mod people;
mod places;
mod proof;
mod record;

use ipnet::IpNet;
use kavadam_domain::{CertificateName, Plan, PlanId, Timestamp};

pub use people::SubscriberLine;
pub use record::{NasView, SessionQuery, SiteView};

use crate::reach::Concerned;
use crate::{Access, AccessError};
use difference::{difference, of_plan};

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
    /// Where it takes orders, by address or name, if not where its requests come from.
    pub coa_host: Option<&'a str>,
    /// Name of its vendor's profile, by which it is spoken to.
    pub profile: &'a str,
    /// It shares a quota between sessions of one Chargeable-User-Identity, and asks again before a lease is used up: a gateway of ours. A
    /// vendor's gate may send that attribute too, and do neither.
    pub is_renewing: bool,
}

/// What to change of a gate that is known; `None` leaves it as it is.
#[derive(Default)]
pub struct NasChange<'a> {
    /// Name of the site where it stands.
    pub site: Option<&'a str>,
    /// Where its requests come from.
    pub source: Option<IpNet>,
    /// RADIUS secret. The one before proves nothing any more, unless [`Self::old_secret_until`] is given.
    pub secret: Option<&'a [u8]>,
    /// Until when the secret before is valid besides; a time that is past ends it at once.
    pub old_secret_until: Option<Timestamp>,
    /// Until when its Access-Requests may lack Message-Authenticator; a time that is past ends that at once.
    pub unsigned_until: Option<Timestamp>,
    /// Whether MS-CHAPv2 is taken there as a proof of a code or ticket. For a gate that is new: not.
    pub is_ms_chap_allowed: Option<bool>,
    /// UAM secret.
    pub uam_secret: Option<&'a [u8]>,
    /// UDP port for CoA and Disconnect.
    pub coa_port: Option<u16>,
    /// See [`NasSetting::coa_host`]; empty: where its requests come from.
    pub coa_host: Option<&'a str>,
    /// See [`NasSetting::profile`].
    pub profile: Option<&'a str>,
    /// See [`NasSetting::is_renewing`].
    pub is_renewing: Option<bool>,
    /// Ties it to a TLS certificate.
    pub certificate: Option<Tie<'a>>,
}

/// To which TLS certificate a gate is tied.
#[derive(Debug, Clone, Copy)]
pub enum Tie<'a> {
    /// Over `RadSec` it is whoever shows a trusted one that bears this name.
    To(&'a CertificateName),
    /// None: its connections are refused.
    Nothing,
}

impl<'a> Tie<'a> {
    const fn name(self) -> Option<&'a CertificateName> {
        match self {
            Self::To(name) => Some(name),
            Self::Nothing => None,
        }
    }
}

/// Shortest RADIUS secret taken: shorter ones fall to a search of recorded packets.
const LEAST_SECRET_OCTETS: usize = 16;

impl Access {
    /// Makes a plan, or changes the one of that name; those online with it get its limits at once.
    ///
    /// # Errors
    /// The plan cannot be enforced, or the service is out of order; nothing was changed. [`AccessError::HalfDone`]: the plan is changed.
    pub async fn set_plan(&self, plan: &Plan, actor: &str, now: Timestamp) -> Result<PlanId, AccessError> {
        plan.validate()?;
        let mut tx = self.write().await?;
        let before = tx.plan_named(&plan.name).await?;
        let detail = difference(before.as_ref().map(of_plan).as_deref(), &of_plan(plan));
        let id = tx.save_plan(plan).await?;
        if self.is_embedded() {
            tx.order_change_on_plan(id, now).await?;
        }
        tx.record_audit(actor, "plan.set", &plan.name, &detail, now).await?;
        tx.commit().await?;
        if !self.is_embedded() {
            self.bring(Concerned::OnPlan(id), now).await?;
        }
        self.wake_orders();
        Ok(id)
    }

    /// Retires a plan: it is offered no more. What was charged under it stays on record.
    ///
    /// # Errors
    /// There is no such plan, a site, a subscriber or a voucher still needs it, or the service is out of order; nothing was changed.
    pub async fn end_plan(&self, name: &str, actor: &str, now: Timestamp) -> Result<(), AccessError> {
        let mut tx = self.write().await?;
        let plan = tx.plan_named(name).await?.ok_or_else(|| missing("plan", name))?;
        let sites = tx.sites().await?;
        if let Some(site) = sites.iter().find(|site| site.plan_id == plan.id) {
            return Err(AccessError::Invalid(format!(
                "plan `{name}` is that of the site `{}`: give the site another plan first",
                site.name
            )));
        }
        let people = tx.count_subscribers_on_plan(plan.id).await?;
        if people > 0 {
            return Err(AccessError::Invalid(format!(
                "plan `{name}` is the own plan of {people} subscribers: give them another plan first"
            )));
        }
        if tx.good_vouchers_for(plan.id, now).await? > 0 {
            return Err(AccessError::Invalid(format!(
                "plan `{name}` is what unused vouchers are worth: end those first"
            )));
        }
        tx.retire_plan(plan.id).await?;
        tx.record_audit(actor, "plan.end", name, "", now).await?;
        Ok(tx.commit().await?)
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
