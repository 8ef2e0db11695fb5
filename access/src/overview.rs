//! What is there just now, in figures: for those who look on.

use std::collections::HashMap;
use std::time::Duration;

use kavadam_domain::{NasId, Timestamp};

use crate::{Access, AccessError};

/// A gate with what it has online.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateLine {
    /// Its number.
    pub id: NasId,
    /// NAS-Identifier.
    pub name: String,
    /// Name of the site where it stands.
    pub site: String,
    /// Sessions not ended.
    pub online: u64,
}

/// Figures that only the database has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// Every gate that is known.
    pub gates: Vec<GateLine>,
    /// Messages waiting to be sent.
    pub waiting_messages: u64,
    /// Orders that gates have not obeyed yet.
    pub waiting_orders: u64,
}

/// A gate of whose sessions little is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietGate {
    /// NAS-Identifier.
    pub name: String,
    /// Sessions older than ten minutes of which nothing was heard for so long.
    pub unheard: u64,
    /// Sessions older than ten minutes.
    pub online: u64,
}

/// An Interim-Update was due since then, by whatever interval anybody recommends.
const INTERIM_WITHIN: Duration = Duration::from_mins(10);

impl Access {
    /// The gates that do not report most of their sessions for ten minutes: they are cut off, or send no Interim-Updates, or rarely.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn quiet_gates(&self, now: Timestamp) -> Result<Vec<QuietGate>, AccessError> {
        let mut tx = self.read_at_length().await?;
        let mut counts = tx.unheard_by_nas(now - INTERIM_WITHIN).await?;
        counts.retain(|count| count.unheard * 2 > count.online);
        let names = tx.nases().await?;
        let name_of = |id| names.iter().find(|nas| nas.id == id).map(|nas| nas.name.clone());
        let quiet = counts.into_iter().filter_map(|count| {
            Some(QuietGate {
                name: name_of(count.nas_id)?,
                unheard: count.unheard,
                online: count.online,
            })
        });
        Ok(quiet.collect())
    }

    /// Counts what is there. It takes longer the more sessions there are, so do not ask for it with every request.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn overview(&self) -> Result<Overview, AccessError> {
        let mut tx = self.read_at_length().await?;
        let sites = tx.sites().await?;
        let online = tx.online_by_nas().await?;
        let online: HashMap<NasId, u64> = online.into_iter().map(|row| (row.nas_id, row.figure)).collect();
        let name_of = |id| sites.iter().find(|site| site.id == id).map(|site| site.name.clone());
        let gates = tx.nases().await?.into_iter().map(|nas| GateLine {
            id: nas.id,
            name: nas.name,
            site: name_of(nas.site_id).unwrap_or_default(),
            online: online.get(&nas.id).copied().unwrap_or(0),
        });
        Ok(Overview {
            gates: gates.collect(),
            waiting_messages: tx.waiting_sms().await?,
            waiting_orders: tx.waiting_orders().await?,
        })
    }
}
