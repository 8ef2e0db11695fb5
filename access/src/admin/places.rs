//! What administrators do about sites and gates.

use kavadam_domain::gate::OWN_PROFILE;
use kavadam_domain::session::{SessionState, terminate_cause};
use kavadam_domain::{CertificateName, NasId, PlanId, SiteId, Timestamp};
use kavadam_store::{NasProof, NasRow, NewNas, OrderKind, SiteRow, Tx};

use super::difference::{difference, of_certificate, of_nas, of_site};
use super::proof::{check_range, proof_after};
use super::{LEAST_SECRET_OCTETS, NasChange, NasSetting, Tie, check_name, missing};
use crate::ahead::set_right;
use crate::ending::end_session;
use crate::reach::Concerned;
use crate::{Access, AccessError};

impl Access {
    /// Makes a site, or changes the one of that name, at once for those who are online there: a closed site ends their sessions, another
    /// plan reaches whoever has none of their own.
    ///
    /// # Errors
    /// There is no such plan, or the service is out of order; nothing was changed. [`AccessError::HalfDone`]: the site is changed.
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
        let before = tx.site_named(name).await?;
        let was = match &before {
            Some(site) => {
                let plans = tx.plans().await?;
                let plan = plans.into_iter().find(|plan| plan.id == site.plan_id);
                Some(of_site(site.is_open, &plan.map(|plan| plan.name).unwrap_or_default()))
            }
            None => None,
        };
        let detail = difference(was.as_deref(), &of_site(is_open, &plan.name));
        let id = tx.save_site(name, is_open, plan.id).await?;
        if self.is_embedded()
            && let Some(kind) = before.as_ref().and_then(|before| order_for(before, is_open, plan.id))
        {
            order_at_site(&mut tx, id, kind, now).await?;
        }
        tx.record_audit(actor, "site.set", name, &detail, now).await?;
        tx.commit().await?;
        if !self.is_embedded() && before.is_some() {
            // Also if it was so before: the command may be given once more, for those whom it did not reach.
            let kind = if is_open { OrderKind::Change } else { OrderKind::End };
            self.bring(Concerned::AtSite(id, kind), now).await?;
        }
        self.wake_orders();
        Ok(id)
    }

    /// Retires a site. What happened there stays on record.
    ///
    /// # Errors
    /// There is no such site, gates stand there, or the service is out of order; nothing was changed.
    pub async fn end_site(&self, name: &str, actor: &str, now: Timestamp) -> Result<(), AccessError> {
        let mut tx = self.write().await?;
        let site = tx.site_named(name).await?.ok_or_else(|| missing("site", name))?;
        let nases = tx.nases().await?;
        if let Some(nas) = nases.iter().find(|nas| nas.site_id == site.id) {
            return Err(AccessError::Invalid(format!(
                "the gate `{}` stands at the site `{name}`: end it or move it first",
                nas.name
            )));
        }
        tx.retire_site(site.id).await?;
        tx.record_audit(actor, "site.end", name, "", now).await?;
        Ok(tx.commit().await?)
    }

    /// Makes a gate known, or changes the one of that name: its requests are proven by its secret alone.
    ///
    /// # Errors
    /// There is no such site, the name is none, a secret is too short, another gate of that source could not be told from it, or the
    /// service is out of order; nothing was changed.
    pub async fn set_nas(&self, nas: &NasSetting<'_>, actor: &str, now: Timestamp) -> Result<NasId, AccessError> {
        self.make_nas(nas, &NasChange::default(), actor, now).await
    }

    /// Likewise, with exceptions of the new gate and its certificate. Of `besides` nothing else is looked at.
    ///
    /// # Errors
    /// As of [`Access::set_nas`] and [`Access::change_nas`]; nothing was changed.
    pub async fn make_nas(
        &self,
        nas: &NasSetting<'_>,
        besides: &NasChange<'_>,
        actor: &str,
        now: Timestamp,
    ) -> Result<NasId, AccessError> {
        check_name("NAS-Identifier", nas.name)?;
        let mut tx = self.write().await?;
        let site = find_site(&mut tx, nas.site).await?;
        let row = NewNas {
            name: nas.name.to_owned(),
            site_id: site.id,
            source: nas.source.trunc(),
            secret_sealed: self.seal_secret(nas.secret)?,
            uam_secret_sealed: self.seal_secret(nas.uam_secret)?,
            coa_port: nas.coa_port,
            coa_host: nas.coa_host.map(str::to_owned),
            profile: nas.profile.to_owned(),
            is_renewing: nas.is_renewing,
        };
        let exceptions = NasChange {
            unsigned_until: besides.unsigned_until,
            is_ms_chap_allowed: besides.is_ms_chap_allowed,
            certificate: besides.certificate,
            ..NasChange::default()
        };
        let proof = proof_after(None, &exceptions, now)?;
        self.save_nas(tx, &row, &proof, exceptions.certificate, actor, now)
            .await
    }

    /// Changes what is given of a gate: all of it, or nothing.
    ///
    /// # Errors
    /// As of [`Access::set_nas`]; or there is no such gate, a date is more than a year ahead, or another gate is tied to that certificate.
    pub async fn change_nas(
        &self,
        name: &str,
        change: &NasChange<'_>,
        actor: &str,
        now: Timestamp,
    ) -> Result<NasId, AccessError> {
        let mut tx = self.write().await?;
        let nases = tx.nases().await?;
        let known = nases.into_iter().find(|nas| nas.name == name);
        let known = known.ok_or_else(|| missing("gate", name))?;
        let site_id = match change.site {
            Some(site) => find_site(&mut tx, site).await?.id,
            None => known.site_id,
        };
        let proof = proof_after(Some(&known), change, now)?;
        let seal = |new: Option<&[u8]>, old| new.map_or(Ok(old), |secret| self.seal_secret(secret));
        let row = NewNas {
            name: known.name,
            site_id,
            source: change.source.unwrap_or(known.source).trunc(),
            secret_sealed: seal(change.secret, known.secret_sealed)?,
            uam_secret_sealed: seal(change.uam_secret, known.uam_secret_sealed)?,
            coa_port: change.coa_port.unwrap_or(known.coa_port),
            coa_host: match change.coa_host {
                Some("") => None,
                Some(host) => Some(host.to_owned()),
                None => known.coa_host,
            },
            profile: change.profile.map_or(known.profile, str::to_owned),
            is_renewing: change.is_renewing.unwrap_or(known.is_renewing),
        };
        self.save_nas(tx, &row, &proof, change.certificate, actor, now).await
    }

    async fn save_nas(
        &self,
        mut tx: Tx,
        row: &NewNas,
        proof: &NasProof,
        tie: Option<Tie<'_>>,
        actor: &str,
        now: Timestamp,
    ) -> Result<NasId, AccessError> {
        let nases = tx.nases().await?;
        check_range(&nases, row, proof, self.sealer())?;
        self.check_profile(row)?;
        let known = nases.iter().find(|nas| nas.name == row.name);
        let detail = of_nas(known, row, proof, &tx.sites().await?, self.sealer())?;
        let id = tx.save_nas(row).await?;
        tx.save_nas_proof(id, proof).await?;
        tx.record_audit(actor, "nas.set", &row.name, &detail, now).await?;
        if let Some(certificate) = tie.map(Tie::name) {
            check_certificate(&nases, row, certificate)?;
            tx.tie_nas(id, certificate).await?;
            let was = of_certificate(known.and_then(|known| known.certificate_name.as_ref()));
            let detail = difference(Some(&was), &of_certificate(certificate));
            tx.record_audit(actor, "nas.certificate", &row.name, &detail, now)
                .await?;
        }
        tx.commit().await?;
        self.forget_gates();
        Ok(id)
    }

    /// Retires a gate: its requests are answered no more (by other processes of the centre within seconds), and its sessions are over, as
    /// after Accounting-Off, with the octets last reported. Tells how many.
    ///
    /// # Errors
    /// There is no such gate, or the service is out of order; nothing was changed.
    pub async fn end_nas(&self, name: &str, actor: &str, now: Timestamp) -> Result<u64, AccessError> {
        let mut tx = self.write().await?;
        let nases = tx.nases().await?;
        let nas = nases.iter().find(|nas| nas.name == name);
        let nas = nas.ok_or_else(|| missing("gate", name))?;
        tx.retire_nas(nas.id).await?;
        let mut live = tx.live_sessions_at(nas.id).await?;
        live.sort_unstable_by_key(|session| (session.subscriber_id, session.id));
        tx.hold_all(live.iter().map(|session| session.subscriber_id).collect())
            .await?;
        let mut ended = 0;
        for found in live {
            let session = tx.session(found.id).await?;
            if let Some(mut session) = session.filter(|session| session.state != SessionState::Ended) {
                set_right(&mut session, now);
                end_session(&mut tx, &mut session, terminate_cause::NAS_REBOOT, now).await?;
                ended += 1;
            }
        }
        tx.record_audit(actor, "nas.end", name, &format!("{ended} sessions"), now)
            .await?;
        tx.commit().await?;
        self.forget_gates();
        Ok(ended)
    }

    /// A gate is spoken to by a profile that is known, and only our own gateway renews.
    fn check_profile(&self, nas: &NewNas) -> Result<(), AccessError> {
        let known = &self.settings().abilities;
        if !known.contains_key(&nas.profile) {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            return Err(AccessError::Invalid(format!(
                "no profile is called `{}`: use one of {}",
                nas.profile,
                names.join(", ")
            )));
        }
        if nas.is_renewing && nas.profile != OWN_PROFILE {
            return Err(AccessError::Invalid(format!(
                "a gate of the profile `{}` renews no leases: that is for gateways of ours (`--renews=false` takes it back)",
                nas.profile
            )));
        }
        let is_host = |host: &String| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
            (1..=253).contains(&host.len()) && host.chars().all(allowed)
        };
        if !nas.coa_host.as_ref().is_none_or(is_host) {
            return Err(AccessError::Invalid(
                "the CoA host: use an address or a host name".to_owned(),
            ));
        }
        Ok(())
    }

    fn seal_secret(&self, secret: &[u8]) -> Result<Vec<u8>, AccessError> {
        if secret.len() < LEAST_SECRET_OCTETS {
            return Err(AccessError::Invalid(format!(
                "secrets of a NAS need at least {LEAST_SECRET_OCTETS} octets"
            )));
        }
        Ok(self.sealer().seal(secret, rand::random())?)
    }
}

/// Over TLS a gate is told by its certificate alone: each has its own.
fn check_certificate(nases: &[NasRow], row: &NewNas, certificate: Option<&CertificateName>) -> Result<(), AccessError> {
    let Some(certificate) = certificate else { return Ok(()) };
    let has_it = |other: &&NasRow| other.name != row.name && other.certificate_name.as_ref() == Some(certificate);
    match nases.iter().find(has_it) {
        Some(twin) => Err(AccessError::Invalid(format!(
            "that certificate is the gate `{}`'s: each gate needs a name of its own",
            twin.name
        ))),
        None => Ok(()),
    }
}

async fn find_site(tx: &mut Tx, name: &str) -> Result<SiteRow, AccessError> {
    tx.site_named(name).await?.ok_or_else(|| missing("site", name))
}

/// What a site's change means for those online, where it reaches all of them or nobody.
fn order_for(before: &SiteRow, is_open: bool, plan: PlanId) -> Option<OrderKind> {
    match (before.is_open && !is_open, before.plan_id != plan) {
        (true, _) => Some(OrderKind::End),
        (false, true) => Some(OrderKind::Change),
        (false, false) => None,
    }
}

/// Asks the gates of a site for that: each session under its subscriber's lock, so that no report or renewal of this instant undoes it.
async fn order_at_site(tx: &mut Tx, site: SiteId, kind: OrderKind, now: Timestamp) -> Result<(), AccessError> {
    for found in tx.live_sessions_at_site(site).await? {
        let subscriber = tx.lock_subscriber(found.subscriber_id).await?;
        if kind == OrderKind::Change && subscriber.plan_id.is_some() {
            continue;
        }
        if let Some(mut session) = tx.session(found.id).await? {
            session.order(kind, now);
            tx.save_session(&session).await?;
        }
    }
    Ok(())
}
