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

#[derive(Default)]
struct Tally {
    minute_began: Option<Timestamp>,
    in_minute: u32,
    unpruned: u32,
    /// Since the start, kept or not.
    total: u64,
}

impl Unknown {
    fn lock(&self) -> MutexGuard<'_, HashMap<NasId, Tally>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one; whether there is room for it.
    fn take(&self, nas: NasId, now: Timestamp) -> bool {
        let mut tallies = self.lock();
        let tally = tallies.entry(nas).or_default();
        let is_of_the_minute = |began: Timestamp| now >= began && now.since(began) < Duration::from_mins(1);
        if !tally.minute_began.is_some_and(is_of_the_minute) {
            tally.minute_began = Some(now);
            tally.in_minute = 0;
        }
        tally.total += 1;
        let has_room = tally.in_minute < MOST_A_MINUTE;
        if has_room {
            tally.in_minute += 1;
            tally.unpruned += 1;
        }
        has_room
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

    /// Keeps a report, unless its gate sent too many; `remark` comes before its kind.
    pub(crate) async fn keep_unknown(
        &self,
        tx: &mut Tx,
        report: &AccountingReport,
        remark: &str,
        now: Timestamp,
    ) -> Result<(), AccessError> {
        if self.0.unknown.take(report.nas, now) {
            tx.keep_unknown_report(&row(report, remark), now).await?;
        }
        Ok(())
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
        AccountingKind::Start => "start",
        AccountingKind::Interim => "interim",
        AccountingKind::Stop(_) => "stop",
        AccountingKind::On => "on",
        AccountingKind::Off => "off",
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
