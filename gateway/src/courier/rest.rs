//! Reports that nobody takes while others are taken: they rest, and are parked at last.

use std::time::Duration;

use kavadam_domain::Mac;
use tokio::time::Instant;

use super::{Courier, FIRST_WAIT};
use crate::spool::{Waiting, lane_of};

/// Failures of one report while others were taken, and for how long, before it is parked.
pub(super) const TRIES: u32 = 20;
pub(super) const TRIED_FOR: Duration = Duration::from_mins(10);
/// The longest rest of such a report.
const LONGEST_REST: Duration = Duration::from_mins(1);

/// Failures of one report while others were taken.
pub(super) struct Refusals {
    pub tries: u32,
    pub since: Instant,
    /// The last of them.
    pub at: Instant,
}

impl Courier {
    /// Whether others were taken since it was sent, or since it was last refused.
    pub(super) fn is_refusal(&self, one: &Waiting, began: Instant) -> bool {
        let since = self.refusals.get(&one.id).map_or(began, |refusals| refusals.at);
        self.last_taken.is_some_and(|at| at >= since)
    }

    /// It failed while others were taken: the server is there, and will have none of it.
    pub(super) async fn refused(&mut self, one: Waiting) {
        let mac = lane_of(&one.report);
        let now = Instant::now();
        let refusals = self.refusals.entry(one.id).or_insert(Refusals {
            tries: 0,
            since: now,
            at: now,
        });
        refusals.tries += 1;
        refusals.at = now;
        if refusals.tries >= TRIES && now.duration_since(refusals.since) >= TRIED_FOR {
            self.refusals.remove(&one.id);
            self.park(one, "no server takes it").await;
            return self.go_on(mac);
        }
        self.rest(one);
        self.set_aside(mac, true);
        self.pass_the_gate();
    }

    pub(super) fn rest(&mut self, one: Waiting) {
        let mac = lane_of(&one.report);
        let tries = self.refusals.get(&one.id).map_or(1, |refusals| refusals.tries);
        let rest = FIRST_WAIT * 2_u32.saturating_pow(tries.clamp(1, 16) - 1);
        self.lanes.entry(mac).or_default().push_front(one);
        self.resting.push((Instant::now() + rest.min(LONGEST_REST), mac));
    }

    pub(super) fn wake_rested(&mut self) {
        let now = Instant::now();
        let (rested, resting) = self.resting.drain(..).partition(|(until, _)| *until <= now);
        self.resting = resting;
        let rested: Vec<(Instant, Option<Mac>)> = rested;
        self.ready.extend(rested.into_iter().map(|(_, mac)| mac));
    }

    /// Out of the way, in the file. If that fails it is tried like any other.
    pub(super) async fn park(&mut self, one: Waiting, reason: &str) {
        let mac = lane_of(&one.report);
        match self.spool.park(one.id, reason).await {
            Ok(()) => {
                self.set_aside(mac, false);
                self.settle(mac);
            }
            Err(error) => {
                tracing::error!(%error, "cannot park a report");
                self.lanes.entry(mac).or_default().push_front(one);
                self.back_off();
            }
        }
    }
}
