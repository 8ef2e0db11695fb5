//! Whether a server takes anything at all, where one report that fails has all others wait.

use std::collections::{HashSet, VecDeque};

use kavadam_domain::Mac;
use tokio::time::Instant;

use super::Courier;
use crate::spool::{Waiting, lane_of};

/// A report that failed while no other could be tried: its lane waits for what becomes of the probe.
pub(super) struct Suspect {
    lane: Option<Mac>,
    id: i64,
    /// When it was sent.
    began: Instant,
    /// The place of the report that is sent before its turn.
    pub(super) probe: i64,
}

impl Courier {
    /// Sends one of those that wait behind the report that failed, out of turn: one alone, so that an outage changes the order of no others. Each time
    /// another device's, as it might be refused as well. `false`: there is none.
    pub(super) fn probe(&mut self, failed: &Waiting, began: Instant) -> bool {
        if self.suspect.is_some() {
            return false;
        }
        let Some(probe) = self.next_probe() else { return false };
        self.suspect = Some(Suspect {
            lane: lane_of(&failed.report),
            id: failed.id,
            began,
            probe: probe.id,
        });
        self.probed = probe.id;
        self.lanes.insert(lane_of(&probe.report), VecDeque::new());
        self.fly(probe);
        true
    }

    /// The first report of a device that nothing else is under way of, in turn.
    fn next_probe(&mut self) -> Option<Waiting> {
        let mut seen = HashSet::from([None]);
        let firsts = self.behind.iter().enumerate().filter(|(_, one)| {
            let lane = lane_of(&one.report);
            seen.insert(lane) && !self.lanes.contains_key(&lane)
        });
        let firsts: Vec<(usize, i64)> = firsts.map(|(at, one)| (at, one.id)).collect();
        let next = firsts.iter().find(|(_, id)| *id > self.probed);
        let (at, _) = next.or(firsts.first())?;
        self.behind.remove(*at)
    }

    /// A probe that failed waits for its turn again.
    pub(super) fn put_back(&mut self, probe: Waiting) {
        self.lanes.remove(&lane_of(&probe.report));
        let at = self.behind.partition_point(|other| other.id < probe.id);
        self.behind.insert(at, probe);
    }

    /// What is so of the suspect, now that its probe has landed.
    pub(super) async fn resolve(&mut self, suspect: Suspect) {
        let lane = self.lanes.entry(suspect.lane).or_default();
        // A later report may have replaced it meanwhile.
        let is_there = lane.front().is_some_and(|one| one.id == suspect.id);
        if self.last_taken.is_none_or(|at| at < suspect.began) {
            self.back_off();
        } else if is_there && let Some(one) = lane.pop_front() {
            return self.refused(one).await;
        }
        self.go_on(suspect.lane);
    }
}
