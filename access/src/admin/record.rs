//! What administrators look at: plans, sites, gates, sessions, vouchers, and who changed what.

use std::net::IpAddr;

use ipnet::IpNet;
use kavadam_domain::session::SessionState;
use kavadam_domain::{CertificateName, MobileNumber, Plan, SessionId, Timestamp};
use kavadam_store::{AuditRow, OrderKind, SessionListing, VoucherRow};

use super::missing;
use crate::api::{Counters, SessionView};
use crate::{Access, AccessError};

/// Sessions listed unless told otherwise.
const MOST_SESSIONS: u32 = 1_000;

/// A site, as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteView {
    /// Unique name.
    pub name: String,
    /// Whether anybody is let in.
    pub is_open: bool,
    /// Name of the plan of those who have none of their own.
    pub plan: String,
}

/// A gate, as an administrator sees it: without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NasView {
    /// NAS-Identifier.
    pub name: String,
    /// Name of the site where it stands.
    pub site: String,
    /// Where its requests come from.
    pub source: IpNet,
    /// UDP port for CoA and Disconnect.
    pub coa_port: u16,
    /// See [`super::NasSetting::coa_host`].
    pub coa_host: Option<String>,
    /// Name of its vendor's profile.
    pub profile: String,
    /// It renews its leases; see [`super::NasSetting::is_renewing`].
    pub is_renewing: bool,
    /// Until when the secret before its present one is valid too, or was.
    pub old_secret_until: Option<Timestamp>,
    /// Until when its Access-Requests may lack Message-Authenticator, or might.
    pub unsigned_until: Option<Timestamp>,
    /// Whether MS-CHAPv2 is taken there as a proof of a code or ticket.
    pub is_ms_chap_allowed: bool,
    /// By what in its TLS certificate it is known.
    pub certificate_name: Option<CertificateName>,
    /// Where its last authentic request came from, and when that was noted (within a minute).
    pub last_seen: Option<(IpAddr, Timestamp)>,
}

/// Which sessions to list; `None` is "any".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionQuery {
    /// Only those not ended.
    pub is_live: bool,
    /// Only of this number.
    pub number: Option<MobileNumber>,
    /// Only at the site of this name.
    pub site: Option<String>,
    /// At most so many, the newest first; `None`: 1000.
    pub most: Option<u32>,
}

impl Access {
    /// Every plan, by name.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn plans(&self) -> Result<Vec<Plan>, AccessError> {
        Ok(self.read().await?.plans().await?)
    }

    /// Every site, by name.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn sites(&self) -> Result<Vec<SiteView>, AccessError> {
        let mut tx = self.read().await?;
        let plans = tx.plans().await?;
        let name_of = |id| plans.iter().find(|plan| plan.id == id).map(|plan| plan.name.clone());
        let rows = tx.sites().await?.into_iter();
        rows.map(|row| {
            let plan = name_of(row.plan_id).ok_or(AccessError::Inconsistent("plan"))?;
            Ok(SiteView {
                name: row.name,
                is_open: row.is_open,
                plan,
            })
        })
        .collect()
    }

    /// Every gate, by name.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn nases(&self) -> Result<Vec<NasView>, AccessError> {
        let mut tx = self.read().await?;
        let sites = tx.sites().await?;
        let name_of = |id| sites.iter().find(|site| site.id == id).map(|site| site.name.clone());
        let rows = tx.nases().await?.into_iter();
        rows.map(|row| {
            let last_seen = self.last_sight(&row);
            Ok(NasView {
                name: row.name,
                site: name_of(row.site_id).ok_or(AccessError::Inconsistent("site"))?,
                source: row.source,
                coa_port: row.coa_port,
                coa_host: row.coa_host,
                profile: row.profile,
                is_renewing: row.is_renewing,
                old_secret_until: row.old_secret_until,
                unsigned_until: row.unsigned_until,
                is_ms_chap_allowed: row.is_ms_chap_allowed,
                certificate_name: row.certificate_name,
                last_seen,
            })
        })
        .collect()
    }

    /// Sessions, the newest first.
    ///
    /// # Errors
    /// There is no such subscriber or site, or the service is out of order.
    pub async fn sessions(&self, query: &SessionQuery) -> Result<Vec<SessionView>, AccessError> {
        let mut tx = self.read_at_length().await?;
        let site = match &query.site {
            Some(name) => Some(tx.site_named(name).await?.ok_or_else(|| missing("site", name))?.id),
            None => None,
        };
        let most = query.most.unwrap_or(MOST_SESSIONS);
        let found = match &query.number {
            Some(number) => {
                let found = tx.subscriber_numbered(number).await?;
                let subscriber = found.ok_or_else(|| missing("subscriber", &number.masked()))?;
                tx.sessions_of(subscriber.id, site, query.is_live, most).await?
            }
            None if query.is_live => tx.live_sessions(site, most).await?,
            None => tx.last_sessions(site, most).await?,
        };
        Ok(found.into_iter().map(view).collect())
    }

    /// One session.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn session(&self, id: SessionId) -> Result<Option<SessionView>, AccessError> {
        Ok(self.read().await?.session_listing(id).await?.map(view))
    }

    /// How many live sessions have a gate that does not do what is asked of it.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn troubled_sessions(&self) -> Result<u64, AccessError> {
        Ok(self.read().await?.troubled_sessions().await?)
    }

    /// Has a session ended by its gate. `false` if it is over already.
    ///
    /// # Errors
    /// There is no such session, or the service is out of order; nothing was changed.
    pub async fn end_session(&self, id: SessionId, actor: &str, now: Timestamp) -> Result<bool, AccessError> {
        let mut tx = self.write().await?;
        let unknown = || missing("session", &id.to_string());
        let found = tx.session(id).await?.ok_or_else(unknown)?;
        tx.lock_subscriber(found.subscriber_id).await?;
        let mut session = tx.session(id).await?.ok_or_else(unknown)?;
        if session.state == SessionState::Ended {
            return Ok(false);
        }
        session.order(OrderKind::End, now);
        tx.save_session(&session).await?;
        tx.record_audit(actor, "session.end", &id.to_string(), "", now).await?;
        tx.commit().await?;
        self.wake_orders();
        Ok(true)
    }

    /// Vouchers, all or of one lot, the newest first, at most `most`. Their codes cannot be read again.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn vouchers(&self, label: Option<&str>, most: u32) -> Result<Vec<VoucherRow>, AccessError> {
        Ok(self.read_at_length().await?.vouchers(label, most).await?)
    }

    /// One voucher, without its code.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn voucher(&self, id: i64) -> Result<Option<VoucherRow>, AccessError> {
        Ok(self.read().await?.voucher(id).await?)
    }

    /// Has a voucher expire now. `false` if it was used, or had expired.
    ///
    /// # Errors
    /// There is no such voucher, or the service is out of order; nothing was changed.
    pub async fn end_voucher(&self, id: i64, actor: &str, now: Timestamp) -> Result<bool, AccessError> {
        let mut tx = self.write().await?;
        let known = tx.voucher(id).await?;
        known.ok_or_else(|| missing("voucher", &id.to_string()))?;
        if !tx.expire_voucher(id, now).await? {
            return Ok(false);
        }
        tx.record_audit(actor, "voucher.end", &id.to_string(), "", now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Has all vouchers of a lot expire now that are still good. Tells how many.
    ///
    /// # Errors
    /// There is no such lot, or the service is out of order; nothing was changed.
    pub async fn end_vouchers(&self, label: &str, actor: &str, now: Timestamp) -> Result<u64, AccessError> {
        let mut tx = self.write().await?;
        let ended = tx.expire_vouchers(label, now).await?;
        if ended > 0 {
            let detail = format!("all {ended} of the lot");
            tx.record_audit(actor, "voucher.end", label, &detail, now).await?;
            tx.commit().await?;
        } else if tx.vouchers(Some(label), 1).await?.is_empty() {
            return Err(missing("lot of vouchers", label));
        }
        Ok(ended)
    }

    /// The sessions that the internet saw by this address and port at that time, the newest first: one, unless gates share the address.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn sessions_behind(
        &self,
        address: IpAddr,
        port: u16,
        at: Timestamp,
    ) -> Result<Vec<SessionView>, AccessError> {
        let found = self.read_at_length().await?.sessions_behind(address, port, at).await?;
        Ok(found.into_iter().map(view).collect())
    }

    /// Who changed what, the newest first, at most `most`.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn audits(&self, most: u32) -> Result<Vec<AuditRow>, AccessError> {
        Ok(self.read_at_length().await?.audits(most).await?)
    }
}

fn view(row: SessionListing) -> SessionView {
    let SessionListing {
        session,
        number,
        nas,
        site,
        ssid,
        access_point,
        ports,
        free,
    } = row;
    let meter = session.meter();
    let state = match (session.state, session.order_action) {
        (SessionState::Granted | SessionState::Open, Some(OrderKind::End)) => "ending",
        (state, _) => state.word(),
    };
    SessionView {
        id: session.id,
        number,
        mac: session.mac,
        ip: session.ip,
        nas,
        site,
        state,
        started_at: session.granted_at,
        ended_at: session.ended_at,
        terminate_cause: session.terminate_cause,
        counters: Counters {
            up_octets: meter.up_octets(),
            down_octets: meter.down_octets(),
            up_packets: session.up_packets,
            down_packets: session.down_packets,
            session_secs: session.session_secs,
            has_gigawords: session.is_wide,
        },
        trouble: session.trouble,
        ssid,
        access_point,
        ports,
        free,
    }
}
