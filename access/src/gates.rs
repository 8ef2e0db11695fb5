//! The gates, remembered in memory: every datagram asks for one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use kavadam_domain::{CertificateName, NasId};
use kavadam_store::NasRow;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::api::{Candidates, Destination, NasEntry, NasProof, OldSecret, Order};
use crate::{Access, AccessError};

/// A change made by another process (the command line, another centre) is seen after so long at most.
const REMEMBERED_FOR: Duration = Duration::from_secs(5);
/// After so long they are read again while requests go on with what is known.
const FRESH_FOR: Duration = Duration::from_millis(2500);
/// So long whoever asks waits for a reading: a request of a gate waits for a decision besides, and is sent again after some seconds.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// So long what was read last serves while it cannot be read again. A database that is away for a moment silences nobody.
const OUTLASTS: Duration = Duration::from_mins(1);

/// The gates as last read.
#[derive(Default)]
pub struct Remembered {
    last: RwLock<Last>,
    /// Changes made by this process.
    changes: AtomicU64,
    /// Held by whoever reads them anew: one for all that ask meanwhile.
    reading: Arc<Mutex<()>>,
}

/// What was read last.
#[derive(Clone, Default)]
struct Last {
    read_at: Option<Instant>,
    /// When it could not be read again, if that was tried since.
    failed_at: Option<Instant>,
    /// How many changes this process had made before.
    changes: u64,
    table: Arc<Table>,
}

/// What may be done with what was read last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// It is as good as new, or as new as can be had just now.
    Good,
    /// It serves, and it is time to read anew.
    Old,
    /// None, unless nothing newer can be had.
    Doubtful,
}

#[derive(Default)]
struct Table {
    by_name: HashMap<String, Arc<NasEntry>>,
    by_id: HashMap<NasId, (NasRow, Arc<NasEntry>)>,
    by_source: HashMap<IpNet, Candidates>,
    by_certificate: HashMap<CertificateName, Arc<NasEntry>>,
    /// Prefix lengths in use, the longest first.
    lengths: Vec<u8>,
}

impl Table {
    /// A look-up for each prefix length in use, however many gates there are.
    fn at(&self, address: IpAddr) -> Candidates {
        let address = address.to_canonical();
        self.lengths
            .iter()
            .filter_map(|length| IpNet::new(address, *length).ok())
            .find_map(|net| self.by_source.get(&net.trunc()))
            .cloned()
            .unwrap_or_default()
    }

    /// With what was opened before, where the row is still the same: 4,000 gates have 8,000 secrets to open.
    fn new(
        rows: Vec<NasRow>,
        before: &Self,
        open: impl Fn(&NasRow) -> Result<NasEntry, AccessError>,
    ) -> Result<Self, AccessError> {
        let mut table = Self::default();
        let mut ranges: HashMap<IpNet, Vec<Arc<NasEntry>>> = HashMap::new();
        for row in rows {
            let entry = match before.by_id.get(&row.id) {
                Some((known, entry)) if is_same_gate(known, &row) => Arc::clone(entry),
                _ => Arc::new(open(&row)?),
            };
            ranges.entry(entry.source).or_default().push(Arc::clone(&entry));
            table.by_name.insert(entry.name.clone(), Arc::clone(&entry));
            if let Some(name) = &row.certificate_name {
                table.by_certificate.insert(name.clone(), Arc::clone(&entry));
            }
            table.by_id.insert(row.id, (row, entry));
        }
        table.lengths = ranges.keys().map(IpNet::prefix_len).collect();
        table.lengths.sort_unstable_by(|a, b| b.cmp(a));
        table.lengths.dedup();
        table.by_source = ranges
            .into_iter()
            .map(|(range, gates)| (range, gates.into_iter().collect()))
            .collect();
        Ok(table)
    }
}

/// Whether nothing has changed but where it was seen.
fn is_same_gate(a: &NasRow, b: &NasRow) -> bool {
    let unseen = |row: &NasRow| NasRow {
        last_seen_address: None,
        last_seen_at: None,
        ..row.clone()
    };
    unseen(a) == unseen(b)
}

impl Access {
    /// The gate of that NAS-Identifier.
    ///
    /// # Errors
    /// The database failed, or a secret does not open with this master key.
    pub async fn nas_by_name(&self, name: &str) -> Result<Option<NasEntry>, AccessError> {
        Ok(self.gates().await?.by_name.get(name).map(|gate| NasEntry::clone(gate)))
    }

    /// The gate of that number, if it is in service.
    ///
    /// # Errors
    /// The database failed, or a secret does not open with this master key.
    pub async fn nas_by_id(&self, nas: NasId) -> Result<Option<NasEntry>, AccessError> {
        let gates = self.gates().await?;
        Ok(gates.by_id.get(&nas).map(|(_, gate)| NasEntry::clone(gate)))
    }

    /// The gates whose requests may come from there: of the ranges that hold the address, the narrowest one's. From memory, for a source
    /// that is unknown too: the gates are read every few seconds at most, whoever asks and however often.
    ///
    /// # Errors
    /// The database failed, or a secret does not open with this master key.
    pub async fn gates_at(&self, source: IpAddr) -> Result<Candidates, AccessError> {
        Ok(self.gates().await?.at(source))
    }

    /// Whether certainly no gate's requests come from there; `false` too where that is not known at this moment. Never waits.
    #[must_use]
    pub fn is_stranger(&self, source: IpAddr) -> bool {
        let last = self.0.gates.last.read().unwrap_or_else(PoisonError::into_inner);
        self.worth_of(&last) == Worth::Good && last.table.at(source).all().is_empty()
    }

    /// The gate an order is for, if that is the gate to be reached there: another may have its old address by now, and must not hear of
    /// this one's sessions.
    ///
    /// # Errors
    /// The database failed, or a secret does not open with this master key.
    pub async fn nas_of_order(&self, order: &Order) -> Result<Option<NasEntry>, AccessError> {
        let gates = self.gates().await?;
        let found = match &order.to {
            Destination::Seen(address) => {
                let there = gates.at(address.ip());
                there.all().iter().find(|gate| gate.id == order.nas).cloned()
            }
            Destination::Given(..) => gates.by_id.get(&order.nas).map(|(_, gate)| Arc::clone(gate)),
        };
        Ok(found.map(|gate| NasEntry::clone(&gate)))
    }

    /// The gate that is tied to a certificate with these names: the first of them that a gate has.
    ///
    /// # Errors
    /// The database failed, or a secret does not open with this master key.
    pub async fn nas_by_certificate(&self, names: &[CertificateName]) -> Result<Option<Arc<NasEntry>>, AccessError> {
        let table = self.gates().await?;
        Ok(names.iter().find_map(|name| table.by_certificate.get(name)).cloned())
    }

    /// Every gate, with its secrets: for whoever verifies packets that pass.
    ///
    /// # Errors
    /// The database failed, or a secret does not open with this master key.
    pub async fn gate_entries(&self) -> Result<Vec<NasEntry>, AccessError> {
        let gates = self.gates().await?;
        Ok(gates.by_name.values().map(|gate| NasEntry::clone(gate)).collect())
    }

    /// Reads the gates again at the next question.
    pub(crate) fn forget_gates(&self) {
        self.0.gates.changes.fetch_add(1, Ordering::SeqCst);
    }

    async fn gates(&self) -> Result<Arc<Table>, AccessError> {
        let last = self.last_gates();
        match self.worth_of(&last) {
            Worth::Good => Ok(last.table),
            Worth::Old => {
                self.read_gates_beside();
                Ok(last.table)
            }
            Worth::Doubtful => Box::pin(self.read_gates_in_turn(last)).await,
        }
    }

    /// Unless somebody reads them already.
    fn read_gates_beside(&self) {
        let Ok(reading) = Arc::clone(&self.0.gates.reading).try_lock_owned() else {
            return;
        };
        let (access, last) = (self.clone(), self.last_gates());
        tokio::spawn(async move {
            let read = timeout(READ_WITHIN, access.read_gates()).await;
            if let Err(error) = read.unwrap_or(Err(AccessError::Late)) {
                access.note_failure(&last, &error);
            }
            drop(reading);
        });
    }

    /// One reads for all that ask meanwhile. If that fails, those that were known a moment ago are the gates still.
    async fn read_gates_in_turn(&self, before: Last) -> Result<Arc<Table>, AccessError> {
        let read = async {
            let _reading = self.0.gates.reading.lock().await;
            let last = self.last_gates();
            match self.worth_of(&last) {
                Worth::Good | Worth::Old => Ok(last.table),
                Worth::Doubtful => self.read_gates().await,
            }
        };
        // The first reading may take its time: without it nobody is known at all.
        let read = match before.read_at {
            Some(_) => timeout(READ_WITHIN, read).await.unwrap_or(Err(AccessError::Late)),
            None => read.await,
        };
        let Err(error) = read else { return read };
        self.note_failure(&before, &error);
        let last = self.last_gates();
        match self.worth_of(&last) {
            Worth::Good | Worth::Old => Ok(last.table),
            Worth::Doubtful => Err(error),
        }
    }

    /// Unless somebody has read them, or noted a failure, since `before`.
    fn note_failure(&self, before: &Last, error: &AccessError) {
        let mut last = self.0.gates.last.write().unwrap_or_else(PoisonError::into_inner);
        if (last.read_at, last.failed_at) == (before.read_at, before.failed_at) {
            last.failed_at = Some(Instant::now());
            tracing::warn!(%error, "cannot read the gates again");
        }
    }

    /// For whoever holds the right to.
    async fn read_gates(&self) -> Result<Arc<Table>, AccessError> {
        // Taken before the reading: a change meanwhile makes what was read old.
        let changes = self.0.gates.changes.load(Ordering::SeqCst);
        let read_at = Some(Instant::now());
        let before = self.last_gates().table;
        let rows = self.read().await?.nases().await?;
        let table = Arc::new(Table::new(rows, &before, |row| self.open_gate(row))?);
        *self.0.gates.last.write().unwrap_or_else(PoisonError::into_inner) = Last {
            read_at,
            failed_at: None,
            changes,
            table: Arc::clone(&table),
        };
        Ok(table)
    }

    fn last_gates(&self) -> Last {
        self.0.gates.last.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `None` if they were never read, or changed since.
    fn age_of(&self, last: &Last) -> Option<Duration> {
        let is_current = last.changes == self.0.gates.changes.load(Ordering::SeqCst);
        last.read_at.filter(|_| is_current).map(|at| at.elapsed())
    }

    fn worth_of(&self, last: &Last) -> Worth {
        let Some(age) = self.age_of(last) else {
            return Worth::Doubtful;
        };
        let failed = last.failed_at.map(|at| at.elapsed());
        match failed {
            _ if age < FRESH_FOR => Worth::Good,
            Some(since) if age < OUTLASTS && since < FRESH_FOR => Worth::Good,
            Some(_) if age < OUTLASTS => Worth::Old,
            _ if age < REMEMBERED_FOR => Worth::Old,
            _ => Worth::Doubtful,
        }
    }

    fn open_gate(&self, row: &NasRow) -> Result<NasEntry, AccessError> {
        let old = row.old_secret_sealed.as_deref().zip(row.old_secret_until);
        let old_secret = match old {
            Some((sealed, until)) => Some(OldSecret {
                secret: self.sealer().open(sealed)?,
                until,
            }),
            None => None,
        };
        Ok(NasEntry {
            id: row.id,
            name: row.name.clone(),
            site: row.site_id,
            source: row.source.trunc(),
            secret: self.sealer().open(&row.secret_sealed)?,
            proof: NasProof {
                old_secret,
                unsigned_until: row.unsigned_until,
                ..NasProof::default()
            },
            uam_secret: self.sealer().open(&row.uam_secret_sealed)?,
            coa_port: row.coa_port,
            coa_host: row.coa_host.clone(),
            abilities: self.settings().abilities_of(&row.profile),
            profile: row.profile.clone(),
        })
    }
}
