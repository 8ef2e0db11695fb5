//! Whose turn it is to be worked on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use kavadam_domain::NasId;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::listener::lock;
use crate::wire::Code;

/// Logins of all gates worked on at once, and as many reports. Further ones wait, each counted as its connection's.
const OF_ALL: usize = 1024;
/// Of one gate, however many connections it has: it keeps no other waiting.
const OF_A_GATE: usize = 512;

/// Logins and reports have their own, so that neither keeps the other waiting.
pub(super) struct Turns {
    logins: Semaphore,
    reports: Semaphore,
}

/// The turns of all, and of each gate that is connected.
pub(in crate::server) struct UnderWay {
    all: Turns,
    by_gate: Mutex<HashMap<NasId, Weak<Turns>>>,
}

/// A request's turn, which ends when this is dropped; nothing where none is needed.
pub(super) struct Turn<'a> {
    _all: Option<SemaphorePermit<'a>>,
    _of_the_gate: Option<SemaphorePermit<'a>>,
}

impl Turns {
    const fn new(most: usize) -> Self {
        Self {
            logins: Semaphore::const_new(most),
            reports: Semaphore::const_new(most),
        }
    }

    /// Status-Server needs none: gates would otherwise give up every connection when the database is slow.
    async fn next(&self, code: Code) -> Option<SemaphorePermit<'_>> {
        match code {
            Code::StatusServer => None,
            Code::AccountingRequest => self.reports.acquire().await.ok(),
            _ => self.logins.acquire().await.ok(),
        }
    }
}

impl UnderWay {
    pub(in crate::server) fn new() -> Self {
        Self {
            all: Turns::new(OF_ALL),
            by_gate: Mutex::default(),
        }
    }

    /// Those of a gate, for all its connections.
    pub(super) fn of(&self, nas: NasId) -> Arc<Turns> {
        let mut by_gate = lock(&self.by_gate);
        if let Some(known) = by_gate.get(&nas).and_then(Weak::upgrade) {
            return known;
        }
        by_gate.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Turns::new(OF_A_GATE));
        by_gate.insert(nas, Arc::downgrade(&turns));
        turns
    }

    /// Waits for it.
    pub(super) async fn next<'a>(&'a self, of_the_gate: &'a Turns, code: Code) -> Turn<'a> {
        let of_the_gate = of_the_gate.next(code).await;
        Turn {
            _all: self.all.next(code).await,
            _of_the_gate: of_the_gate,
        }
    }
}
