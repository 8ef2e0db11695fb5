//! Sites, and the gates that stand at them.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use kavadam_domain::gate::OWN_PROFILE;
use kavadam_domain::{CertificateName, NasId, PlanId, SiteId, Timestamp};

use crate::carry::Places;
use crate::sql::{Id, execute, row, rows};
use crate::{Result, SessionRow, Tx};

row! {
    /// A place with one or more gates.
    pub struct SiteRow {
        /// Identifier.
        pub id: SiteId,
        /// Unique name.
        pub name: String,
        /// Whether anybody is let in.
        pub is_open: bool,
        /// The plan of those who have none of their own.
        pub plan_id: PlanId,
    }
}

row! {
    /// A gate: a RADIUS client.
    pub struct NasRow {
        /// Identifier.
        pub id: NasId,
        /// Where it stands.
        pub site_id: SiteId,
        /// NAS-Identifier, unique.
        pub name: String,
        /// Where its requests come from.
        pub source: IpNet,
        /// RADIUS secret, sealed.
        pub secret_sealed: Vec<u8>,
        /// UAM secret, sealed.
        pub uam_secret_sealed: Vec<u8>,
        /// UDP port for CoA.
        pub coa_port: u16,
        /// Where it takes orders, by address or name, if not where its requests come from.
        pub coa_host: Option<String>,
        /// Its vendor's profile, by which it is spoken to.
        pub profile: String,
        /// It shares a quota between sessions of one Chargeable-User-Identity, and asks again before it is used up.
        pub is_renewing: bool,
        /// See [`NasProof::old_secret_sealed`].
        pub old_secret_sealed: Option<Vec<u8>>,
        /// See [`NasProof::old_secret_until`].
        pub old_secret_until: Option<Timestamp>,
        /// See [`NasProof::unsigned_until`].
        pub unsigned_until: Option<Timestamp>,
        /// See [`NasProof::is_ms_chap_allowed`].
        pub is_ms_chap_allowed: bool,
        /// By what in its TLS certificate it is known; `None`: by its source alone.
        pub certificate_name: Option<CertificateName>,
        /// Where its last request came from.
        pub last_seen_address: Option<IpAddr>,
        /// When that was.
        pub last_seen_at: Option<Timestamp>,
    }
}

/// A gate to be saved; see [`NasRow`].
#[derive(Debug, Clone)]
pub struct NewNas {
    /// NAS-Identifier, unique: a gate of that name is changed.
    pub name: String,
    /// Where it stands.
    pub site_id: SiteId,
    /// Where its requests come from.
    pub source: IpNet,
    /// RADIUS secret, sealed.
    pub secret_sealed: Vec<u8>,
    /// UAM secret, sealed.
    pub uam_secret_sealed: Vec<u8>,
    /// UDP port for CoA.
    pub coa_port: u16,
    /// See [`NasRow::coa_host`].
    pub coa_host: Option<String>,
    /// See [`NasRow::profile`].
    pub profile: String,
    /// See [`NasRow::is_renewing`].
    pub is_renewing: bool,
}

/// How requests are proven to be a gate's, besides by its secret, and by what weak proof those behind it may log in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NasProof {
    /// The secret it had before, sealed, while that is being changed.
    pub old_secret_sealed: Option<Vec<u8>>,
    /// Until when that one is valid too.
    pub old_secret_until: Option<Timestamp>,
    /// Until when its Access-Requests may lack Message-Authenticator.
    pub unsigned_until: Option<Timestamp>,
    /// Whether MS-CHAPv2 is taken there as a proof of a code or ticket.
    pub is_ms_chap_allowed: bool,
}

impl NasRow {
    /// Whether it is a vendor's: such a record may stand for many gates.
    #[must_use]
    pub fn is_vendors(&self) -> bool {
        self.profile != OWN_PROFILE
    }

    /// How its requests are proven, besides by its secret.
    #[must_use]
    pub fn proof(&self) -> NasProof {
        NasProof {
            old_secret_sealed: self.old_secret_sealed.clone(),
            old_secret_until: self.old_secret_until,
            unsigned_until: self.unsigned_until,
            is_ms_chap_allowed: self.is_ms_chap_allowed,
        }
    }
}

impl Tx {
    /// Every site that was not retired, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sites(&mut self) -> Result<Vec<SiteRow>> {
        rows!(
            self,
            fetch_all,
            "SELECT * FROM site WHERE is_retired = FALSE ORDER BY name"
        )
    }

    /// One site, retired or not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn site(&mut self, id: SiteId) -> Result<Option<Arc<SiteRow>>> {
        if let Some(known) = self.places().sites.get(&id) {
            return Ok(Some(Arc::clone(known)));
        }
        let found: Option<SiteRow> = rows!(self, fetch_optional, "SELECT * FROM site WHERE id = $1", id)?;
        let found = found.map(Arc::new);
        if let Some(row) = &found {
            self.places().sites.insert(id, Arc::clone(row));
        }
        Ok(found)
    }

    /// The site of that name, if it was not retired.
    ///
    /// # Errors
    /// The database failed.
    pub async fn site_named(&mut self, name: &str) -> Result<Option<SiteRow>> {
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM site WHERE name = $1 AND is_retired = FALSE",
            name
        )
    }

    /// Makes the site, or changes the one of that name, which is then retired no more.
    ///
    /// # Errors
    /// The plan is unknown, or the database failed.
    pub async fn save_site(&mut self, name: &str, is_open: bool, plan: PlanId) -> Result<SiteId> {
        self.change_places().await?;
        let saved: Id = rows!(
            self,
            fetch_one,
            "INSERT INTO site (name, is_open, plan_id) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET is_open = excluded.is_open, plan_id = excluded.plan_id,
                 is_retired = FALSE
             RETURNING id",
            name,
            is_open,
            plan,
        )?;
        Ok(SiteId(saved.id))
    }

    /// Retires a site: it stays on record alone.
    ///
    /// # Errors
    /// The database failed.
    pub async fn retire_site(&mut self, site: SiteId) -> Result<()> {
        self.change_places().await?;
        execute!(self, "UPDATE site SET is_retired = TRUE WHERE id = $1", site)?;
        Ok(())
    }

    /// The sessions at a site that are not over, in the order in which their subscribers are to be locked.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_sessions_at_site(&mut self, site: SiteId) -> Result<Vec<SessionRow>> {
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            "SELECT * FROM session WHERE site_id = $1 AND ended_at IS NULL ORDER BY subscriber_id, id",
            site
        )
    }

    /// Every gate that was not retired, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn nases(&mut self) -> Result<Vec<NasRow>> {
        rows!(
            self,
            fetch_all,
            "SELECT * FROM nas WHERE is_retired = FALSE ORDER BY name"
        )
    }

    /// One gate, retired or not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn nas(&mut self, id: NasId) -> Result<Option<Arc<NasRow>>> {
        if let Some(known) = self.places().nases.get(&id) {
            return Ok(Some(Arc::clone(known)));
        }
        let found: Option<NasRow> = rows!(self, fetch_optional, "SELECT * FROM nas WHERE id = $1", id)?;
        let found = found.map(Arc::new);
        if let Some(row) = &found {
            self.places().nases.insert(id, Arc::clone(row));
        }
        Ok(found)
    }

    /// Makes the gate, or changes the one of that name, which is then retired no more.
    ///
    /// # Errors
    /// The site is unknown, or the database failed.
    pub async fn save_nas(&mut self, nas: &NewNas) -> Result<NasId> {
        self.change_places().await?;
        let saved: Id = rows!(
            self,
            fetch_one,
            "INSERT INTO nas (site_id, name, source, secret_sealed, uam_secret_sealed, coa_port, is_renewing, coa_host,
                 profile)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (name) DO UPDATE SET site_id = excluded.site_id, source = excluded.source,
                 secret_sealed = excluded.secret_sealed, uam_secret_sealed = excluded.uam_secret_sealed,
                 coa_port = excluded.coa_port, is_renewing = excluded.is_renewing, coa_host = excluded.coa_host,
                 profile = excluded.profile, is_retired = FALSE
             RETURNING id",
            nas.site_id,
            nas.name,
            nas.source,
            nas.secret_sealed,
            nas.uam_secret_sealed,
            nas.coa_port,
            nas.is_renewing,
            nas.coa_host,
            nas.profile,
        )?;
        Ok(NasId(saved.id))
    }

    /// Sets how a gate's requests are proven, besides by its secret.
    ///
    /// # Errors
    /// The database failed.
    pub async fn save_nas_proof(&mut self, nas: NasId, proof: &NasProof) -> Result<()> {
        self.change_places().await?;
        execute!(
            self,
            "UPDATE nas SET old_secret_sealed = $2, old_secret_until = $3, unsigned_until = $4, is_ms_chap_allowed = $5
             WHERE id = $1",
            nas,
            proof.old_secret_sealed,
            proof.old_secret_until,
            proof.unsigned_until,
            proof.is_ms_chap_allowed,
        )?;
        Ok(())
    }

    /// Ties a gate to a certificate, or to none.
    ///
    /// # Errors
    /// Another gate is tied to it ([`crate::Error::is_conflict`]), or the database failed.
    pub async fn tie_nas(&mut self, nas: NasId, certificate: Option<&CertificateName>) -> Result<()> {
        self.change_places().await?;
        execute!(
            self,
            "UPDATE nas SET certificate_name = $2 WHERE id = $1",
            nas,
            certificate
        )?;
        Ok(())
    }

    /// Retires a gate: it is known no more, and its sessions stay on record.
    ///
    /// # Errors
    /// The database failed.
    pub async fn retire_nas(&mut self, nas: NasId) -> Result<()> {
        self.change_places().await?;
        execute!(
            self,
            "UPDATE nas SET is_retired = TRUE, old_secret_sealed = NULL, old_secret_until = NULL, unsigned_until = NULL,
                 is_ms_chap_allowed = FALSE, certificate_name = NULL
             WHERE id = $1",
            nas
        )?;
        Ok(())
    }

    /// Notes where a gate's last request came from: its orders go there.
    ///
    /// # Errors
    /// The database failed.
    pub async fn nas_seen(&mut self, id: NasId, address: IpAddr, now: Timestamp) -> Result<()> {
        self.carried.get().places.nases.remove(&id);
        self.carried.get().is_uncertain = true;
        execute!(
            self,
            "UPDATE nas SET last_seen_address = $2, last_seen_at = $3 WHERE id = $1",
            id,
            address,
            now
        )?;
        Ok(())
    }

    /// Plans, sites or gates are about to change: everybody reads them again.
    pub(crate) async fn change_places(&mut self) -> Result<()> {
        self.begin().await?;
        let carry = self.carried.get();
        carry.places = Places::default();
        carry.is_uncertain = true;
        execute!(self, "UPDATE revision SET places = places + 1 WHERE id = 1")?;
        Ok(())
    }
}
