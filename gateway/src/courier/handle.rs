//! The way to the courier, and what it lets others know.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kavadam_domain::Mac;
use tokio::sync::{mpsc, watch};

use crate::spool::{Committed, lane_of};

/// What others may know of the courier, and tell it.
#[derive(Clone)]
pub struct CourierHandle {
    pub(super) parcels: mpsc::UnboundedSender<Committed>,
    pub(super) state: Arc<Mutex<Shared>>,
    pub(super) changed: watch::Receiver<u64>,
}

#[derive(Default)]
pub(super) struct Shared {
    /// Reports that wait or are under way.
    pub pending: HashMap<Option<Mac>, usize>,
    pub in_flight: HashSet<i64>,
    /// A report about the gate was refused while others were taken.
    pub is_gate_refused: bool,
}

impl CourierHandle {
    /// Hands over what was committed.
    pub fn take(&self, committed: Committed) {
        let mut state = lock(&self.state);
        for one in &committed.waiting {
            *state.pending.entry(lane_of(&one.report)).or_default() += 1;
        }
        drop(state);
        // A courier that is gone leaves it all in the file for the next start.
        let _ = self.parcels.send(committed);
    }

    /// Places that are being sent.
    pub fn in_flight(&self) -> Vec<i64> {
        lock(&self.state).in_flight.iter().copied().collect()
    }

    /// Reports not yet delivered.
    pub fn backlog(&self) -> usize {
        lock(&self.state).pending.values().sum()
    }

    /// Waits until nothing about these devices, nor the gate, is left to deliver, but for what of the gate was refused; `false` if it takes longer
    /// than `patience`.
    pub async fn settled(&self, devices: &[Mac], patience: Duration) -> bool {
        let is_settled = || {
            let state = lock(&self.state);
            let gate = (!state.is_gate_refused).then_some(None);
            let mut lanes = devices.iter().copied().map(Some).chain(gate);
            !lanes.any(|lane| state.pending.contains_key(&lane))
        };
        self.wait_for(is_settled, patience).await
    }

    /// Waits until nothing is left to deliver.
    pub async fn drained(&self, patience: Duration) -> bool {
        self.wait_for(|| lock(&self.state).pending.is_empty(), patience).await
    }

    async fn wait_for(&self, is_done: impl Fn() -> bool, patience: Duration) -> bool {
        let mut changed = self.changed.clone();
        let wait = async {
            while !is_done() {
                if changed.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(patience, wait).await.unwrap_or(false)
    }
}

pub(super) fn lock(state: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
