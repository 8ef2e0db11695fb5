//! Reports of sessions that are not ours, or that nobody can believe: kept for whoever looks into it, of each gate so many and no more. A gate
//! that has lost its way must neither fill the disk nor keep the others waiting.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kavadam_domain::{NasId, Timestamp};
use kavadam_store::{Tx, UnknownReport};

use crate::api::{AccountingKind, AccountingReport};
use crate::{Access, AccessError};

/// Kept of one gate within a minute: as many as a gate has sessions, each of them told.
const MOST_A_MINUTE: u32 = 500;
/// Of a gate that sent so many more, the oldest are deleted: that looks at all that are kept of it.
const PRUNED_EVERY: u32 = 200;

/// What came of each gate.
#[derive(Default)]
pub struct Unknown(Mutex<HashMap<NasId, Tally>>);

/// What came of each gate within a transaction. It counts once that is committed: one that fails is decided anew, and its reports with it.
#[derive(Default)]
pub struct Unowned(HashMap<NasId, Arrived>);

#[derive(Clone, Copy)]
struct Arrived {
    all: u32,
    kept: u32,
    /// The last.
    at: Timestamp,
}

#[derive(Default)]
struct Tally {
    minute_began: Option<Timestamp>,
    in_minute: u32,
    unpruned: u32,
    /// Since the start, kept or not.
    total: u64,
}

impl Tally {
    fn is_of_the_minute(&self, now: Timestamp) -> bool {
        self.minute_began
            .is_some_and(|began| now >= began && now.since(began) < Duration::from_mins(1))
    }

    fn kept_in_minute(&self, now: Timestamp) -> u32 {
        if self.is_of_the_minute(now) { self.in_minute } else { 0 }
    }
}

impl Unknown {
    fn lock(&self) -> MutexGuard<'_, HashMap<NasId, Tally>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for one more, beside so many that are kept and not counted yet.
    fn has_room(&self, nas: NasId, besides: u32, now: Timestamp) -> bool {
        let kept = self.lock().get(&nas).map_or(0, |tally| tally.kept_in_minute(now));
        kept.saturating_add(besides) < MOST_A_MINUTE
    }

    fn count(&self, unowned: Unowned) {
        let mut tallies = self.lock();
        for (nas, arrived) in unowned.0 {
            let tally = tallies.entry(nas).or_default();
            if !tally.is_of_the_minute(arrived.at) {
                tally.minute_began = Some(arrived.at);
                tally.in_minute = 0;
            }
            tally.total += u64::from(arrived.all);
            tally.in_minute += arrived.kept;
            tally.unpruned += arrived.kept;
        }
    }

    /// The gates of which many came since they were last among these.
    fn take_many(&self) -> Vec<NasId> {
        let mut tallies = self.lock();
        let many = tallies.iter_mut().filter(|(_, tally)| tally.unpruned >= PRUNED_EVERY);
        many.map(|(nas, tally)| {
            tally.unpruned = 0;
            *nas
        })
        .collect()
    }
}

impl Access {
    /// How many reports came from each gate since the start that belong to no session, or that nobody can believe.
    #[must_use]
    pub fn unowned_reports(&self) -> HashMap<NasId, u64> {
        let tallies = self.0.unknown.lock();
        tallies.iter().map(|(nas, tally)| (*nas, tally.total)).collect()
    }

    /// How many of them are kept, by the name of their gate; only gates that are known and sent some.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn unowned_reports_kept(&self) -> Result<Vec<(String, u64)>, AccessError> {
        let mut tx = self.read_at_length().await?;
        let kept = tx.unknown_reports_by_nas().await?;
        let nases = tx.nases().await?.into_iter();
        let of = |id| kept.iter().find(|row| row.nas_id == id).map(|row| row.figure);
        Ok(nases.filter_map(|nas| Some((nas.name, of(nas.id)?))).collect())
    }

    /// Keeps a report, unless its gate sent too many, and notes that it came; `remark` comes before its kind.
    pub(crate) async fn keep_unknown(
        &self,
        tx: &mut Tx,
        report: &AccountingReport,
        remark: &str,
        unowned: &mut Unowned,
        now: Timestamp,
    ) -> Result<(), AccessError> {
        let none = Arrived {
            all: 0,
            kept: 0,
            at: now,
        };
        let arrived = unowned.0.entry(report.nas).or_insert(none);
        arrived.all += 1;
        arrived.at = now;
        if self.0.unknown.has_room(report.nas, arrived.kept, now) {
            arrived.kept += 1;
            tx.keep_unknown_report(&row(report, remark), now).await?;
        }
        Ok(())
    }

    /// Of a transaction that is committed.
    pub(crate) fn count_unowned(&self, unowned: Unowned) {
        self.0.unknown.count(unowned);
    }

    /// Deletes the oldest where there are more than are to be kept.
    pub(crate) async fn prune_unknown(&self, tx: &mut Tx) -> Result<(), AccessError> {
        for nas in self.0.unknown.take_many() {
            tx.prune_unknown_reports(nas).await?;
        }
        Ok(())
    }
}

fn row(report: &AccountingReport, remark: &str) -> UnknownReport {
    let kind = match report.kind {
        AccountingKind::Start => "start".to_owned(),
        AccountingKind::Interim => "interim".to_owned(),
        AccountingKind::Stop(_) => "stop".to_owned(),
        AccountingKind::On => "on".to_owned(),
        AccountingKind::Off => "off".to_owned(),
        AccountingKind::Other(number) => format!("type {number}"),
    };
    UnknownReport {
        nas_id: report.nas,
        acct_session_id: report.acct_session_id.clone(),
        kind: format!("{remark}{kind}"),
        at: report.at,
        class: report.class.clone(),
        user_name: report.user_name.clone(),
        mac: report.mac,
        ip: report.ip,
        up_octets: report.counters.up_octets,
        down_octets: report.counters.down_octets,
        session_secs: report.counters.session_secs,
    }
}
