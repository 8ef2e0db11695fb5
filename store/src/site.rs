//! Sites, and the gates that stand at them.

use std::net::IpAddr;

use ipnet::IpNet;
use kavadam_domain::{CertificateName, NasId, PlanId, SiteId, Timestamp};

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
        /// It shares a quota between sessions of one Chargeable-User-Identity, and asks again before it is used up.
        pub is_renewing: bool,
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
    /// See [`NasRow::is_renewing`].
    pub is_renewing: bool,
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
    pub async fn site(&mut self, id: SiteId) -> Result<Option<SiteRow>> {
        rows!(self, fetch_optional, "SELECT * FROM site WHERE id = $1", id)
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
        execute!(self, "UPDATE site SET is_retired = TRUE WHERE id = $1", site)?;
        Ok(())
    }

    /// The sessions at a site that are not over, in the order in which their subscribers are to be locked.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_sessions_at_site(&mut self, site: SiteId) -> Result<Vec<SessionRow>> {
        rows!(
            self,
            fetch_all,
            "SELECT * FROM session WHERE site_id = $1 AND state <> 'ended' ORDER BY subscriber_id, id",
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
    pub async fn nas(&mut self, id: NasId) -> Result<Option<NasRow>> {
        rows!(self, fetch_optional, "SELECT * FROM nas WHERE id = $1", id)
    }

    /// Makes the gate, or changes the one of that name, which is then retired no more.
    ///
    /// # Errors
    /// The site is unknown, another gate has that source ([`crate::Error::is_conflict`]), or the database failed.
    pub async fn save_nas(&mut self, nas: &NewNas) -> Result<NasId> {
        let saved: Id = rows!(
            self,
            fetch_one,
            "INSERT INTO nas (site_id, name, source, secret_sealed, uam_secret_sealed, coa_port, is_renewing)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (name) DO UPDATE SET site_id = excluded.site_id, source = excluded.source,
                 secret_sealed = excluded.secret_sealed, uam_secret_sealed = excluded.uam_secret_sealed,
                 coa_port = excluded.coa_port, is_renewing = excluded.is_renewing, is_retired = FALSE
             RETURNING id",
            nas.site_id,
            nas.name,
            nas.source,
            nas.secret_sealed,
            nas.uam_secret_sealed,
            nas.coa_port,
            nas.is_renewing,
        )?;
        Ok(NasId(saved.id))
    }

    /// Ties a gate to a certificate, or to none.
    ///
    /// # Errors
    /// Another gate is tied to it ([`crate::Error::is_conflict`]), or the database failed.
    pub async fn tie_nas(&mut self, nas: NasId, certificate: Option<&CertificateName>) -> Result<()> {
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
        execute!(
            self,
            "UPDATE nas SET is_retired = TRUE, certificate_name = NULL WHERE id = $1",
            nas
        )?;
        Ok(())
    }

    /// Notes where a gate's last request came from: its orders go there.
    ///
    /// # Errors
    /// The database failed.
    pub async fn nas_seen(&mut self, id: NasId, address: IpAddr, now: Timestamp) -> Result<()> {
        execute!(
            self,
            "UPDATE nas SET last_seen_address = $2, last_seen_at = $3 WHERE id = $1",
            id,
            address,
            now
        )?;
        Ok(())
    }
}
