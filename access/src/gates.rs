//! The gates, remembered in memory: every datagram asks for one.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use kavadam_domain::{NasId, Timestamp};

use crate::api::NasEntry;
use crate::{Access, AccessError};

/// A change made by another process (the command line, another centre) is seen after so long at most.
const REMEMBERED_FOR: Duration = Duration::from_secs(5);
/// Where a gate stands is written down again only after so long, unless its address changes.
const SEEN_EVERY: Duration = Duration::from_mins(1);

/// The gates as last read.
#[derive(Default)]
pub struct Remembered {
    table: RwLock<Option<(Instant, Arc<Table>)>>,
    seen: RwLock<HashMap<NasId, (IpAddr, Timestamp)>>,
}

#[derive(Default)]
struct Table {
    by_name: HashMap<String, NasEntry>,
    by_source: HashMap<IpNet, NasEntry>,
    /// Prefix lengths in use, the longest first.
    lengths: Vec<u8>,
}

impl Table {
    fn at(&self, address: IpAddr) -> Option<&NasEntry> {
        let address = address.to_canonical();
        self.lengths
            .iter()
            .filter_map(|length| IpNet::new(address, *length).ok())
            .find_map(|net| self.by_source.get(&net.trunc()))
    }
}

impl Access {
    /// The gate of that NAS-Identifier.
    ///
    /// # Errors
    /// The database failed, or a secret does not open with this master key.
    pub async fn nas_by_name(&self, name: &str) -> Result<Option<NasEntry>, AccessError> {
        Ok(self.gates().await?.by_name.get(name).cloned())
    }

    /// The gate whose requests come from there; of several, the one with the narrowest network.
    ///
    /// # Errors
    /// The database failed, or a secret does not open with this master key.
    pub async fn nas_by_source(&self, address: IpAddr) -> Result<Option<NasEntry>, AccessError> {
        Ok(self.gates().await?.at(address).cloned())
    }

    /// Every gate, with its secrets: for whoever verifies packets that pass.
    ///
    /// # Errors
    /// The database failed, or a secret does not open with this master key.
    pub async fn gate_entries(&self) -> Result<Vec<NasEntry>, AccessError> {
        Ok(self.gates().await?.by_name.values().cloned().collect())
    }

    /// Notes that an authentic request of a gate came from there: its orders go to that address.
    ///
    /// # Errors
    /// The database failed.
    pub async fn nas_seen(&self, nas: NasId, from: SocketAddr, now: Timestamp) -> Result<(), AccessError> {
        let address = from.ip().to_canonical();
        let known = self
            .0
            .gates
            .seen
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&nas)
            .copied();
        if known.is_some_and(|(last, at)| last == address && now.since(at) < SEEN_EVERY) {
            return Ok(());
        }
        let mut tx = self.write().await?;
        tx.nas_seen(nas, address, now).await?;
        tx.commit().await?;
        self.0
            .gates
            .seen
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(nas, (address, now));
        Ok(())
    }

    /// Reads the gates again at the next question.
    pub(crate) fn forget_gates(&self) {
        *self.0.gates.table.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn gates(&self) -> Result<Arc<Table>, AccessError> {
        if let Some((read_at, table)) = &*self.0.gates.table.read().unwrap_or_else(PoisonError::into_inner)
            && read_at.elapsed() < REMEMBERED_FOR
        {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(self.read_gates().await?);
        let fresh = (Instant::now(), Arc::clone(&table));
        *self.0.gates.table.write().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        Ok(table)
    }

    async fn read_gates(&self) -> Result<Table, AccessError> {
        let mut table = Table::default();
        for row in self.read().await?.nases().await? {
            let entry = NasEntry {
                id: row.id,
                name: row.name,
                site: row.site_id,
                source: row.source.trunc(),
                secret: self.sealer().open(&row.secret_sealed)?,
                uam_secret: self.sealer().open(&row.uam_secret_sealed)?,
                coa_port: row.coa_port,
            };
            table.lengths.push(entry.source.prefix_len());
            table.by_source.insert(entry.source, entry.clone());
            table.by_name.insert(entry.name.clone(), entry);
        }
        table.lengths.sort_unstable_by(|a, b| b.cmp(a));
        table.lengths.dedup();
        Ok(table)
    }
}
