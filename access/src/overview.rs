//! What is there just now, in figures: for those who look on.

use std::collections::HashMap;

use kavadam_domain::NasId;

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

impl Access {
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
