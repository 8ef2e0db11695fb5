//! The gates' connections, as ways for orders: the centre asks down the connection that the gate keeps (RFC 8559 §4, the reverse path).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavadam_domain::NasId;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Version;
use super::flights::{Flights, Heard};
use crate::listener::lock;
use crate::wire::{Code, Draft, Packet};

/// Connections of a gate that are asked one after the other. What one of them swallowed ends it soon, and the order comes again.
const MOST_ASKED: usize = 2;

/// Connections of gates that are open here.
#[derive(Default)]
pub struct GateLinks {
    /// Of each gate the one to be asked first comes last: the newest, unless it was silent.
    by_gate: Mutex<HashMap<NasId, Vec<Arc<GateLink>>>>,
}

/// One of them.
pub(crate) struct GateLink {
    version: Version,
    outbox: mpsc::Sender<Vec<u8>>,
    flights: Mutex<Flights>,
}

impl GateLinks {
    /// How many connections a gate has here.
    #[must_use]
    pub fn count(&self, nas: NasId) -> usize {
        lock(&self.by_gate).get(&nas).map_or(0, Vec::len)
    }

    /// Asks a gate over its newest connection, and if that stays silent for half of so long over another; `None` if it has none, or does not
    /// answer.
    pub(crate) async fn ask(&self, nas: NasId, code: Code, draft: Draft, patience: Duration) -> Option<Packet> {
        let mut silent: Option<Arc<GateLink>> = None;
        let patience = if self.count(nas) > 1 { patience / 2 } else { patience };
        for _ in 0..MOST_ASKED {
            let link = lock(&self.by_gate).get(&nas)?.last().map(Arc::clone)?;
            if silent.is_some_and(|silent| Arc::ptr_eq(&silent, &link)) {
                return None;
            }
            let answer = link.ask(code, draft.clone(), patience).await;
            if answer.is_some() {
                return answer;
            }
            self.put_behind(nas, &link);
            silent = Some(link);
        }
        None
    }

    /// It may be one whose other end is gone without a word: the others are asked first from now on.
    fn put_behind(&self, nas: NasId, link: &Arc<GateLink>) {
        let mut by_gate = lock(&self.by_gate);
        let Some(links) = by_gate.get_mut(&nas) else { return };
        if let Some(at) = links.iter().position(|other| Arc::ptr_eq(other, link))
            && let Some(of_those_before) = links.get_mut(..=at)
        {
            of_those_before.rotate_right(1);
        }
    }

    pub(crate) fn add(&self, nas: NasId, link: Arc<GateLink>) {
        lock(&self.by_gate).entry(nas).or_default().push(link);
    }

    pub(crate) fn remove(&self, nas: NasId, link: &Arc<GateLink>) {
        let mut by_gate = lock(&self.by_gate);
        if let Some(links) = by_gate.get_mut(&nas) {
            links.retain(|other| !Arc::ptr_eq(other, link));
            if links.is_empty() {
                by_gate.remove(&nas);
            }
        }
    }
}

impl GateLink {
    pub(crate) fn new(version: Version, outbox: mpsc::Sender<Vec<u8>>) -> Self {
        Self {
            version,
            outbox,
            flights: Mutex::new(Flights::new()),
        }
    }

    /// An answer has come.
    pub(crate) fn answered(&self, octets: &[u8]) -> Heard {
        lock(&self.flights).answered(self.version, octets)
    }

    async fn ask(&self, code: Code, draft: Draft, patience: Duration) -> Option<Packet> {
        let asked = lock(&self.flights).begin(code, draft)?.ok()?;
        let question = lock(&self.flights).on_wire(asked.token, self.version);
        let work = async {
            self.outbox.send(question?).await.ok()?;
            asked.answer.await.ok()
        };
        let answer = timeout(patience, work).await.ok().flatten();
        lock(&self.flights).end(asked.token);
        answer
    }
}
