//! Delivers the spool: in order for each device, many devices at once, again and again until a server has taken it.
//!
//! A report about the gate itself goes alone: after everything before it, before everything after it. When no server answers,
//! one report at a time is tried, with growing waits; the first success lets all the others go.
//!
//! **A report that nobody takes must not hold up the others.** One that fails while others are taken rests, and its device's
//! reports with it; after [`TRIES`](rest::TRIES) such failures over [`TRIED_FOR`](rest::TRIED_FOR) at least it is parked, at once if it fits into no packet.
//! Where everything waits for it, because it comes before a report about the gate or is one, another is sent as a probe of whether
//! the server takes any; what is refused then holds up nobody but its device.

mod handle;
mod probe;
mod rest;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavadam_domain::Mac;
use kavadam_radius::client::{Client, ClientError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::spool::{Committed, Spool, Waiting, lane_of};
use handle::{Shared, lock};
use probe::Suspect;
use rest::Refusals;

pub use handle::CourierHandle;

/// Reports under way at once.
const MOST_IN_FLIGHT: usize = 256;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Acknowledged reports are forgotten together.
const FORGET_AFTER: Duration = Duration::from_millis(50);

/// The task's own state.
pub struct Courier {
    spool: Spool,
    client: Arc<Client>,
    called_station_id: String,
    parcels: mpsc::UnboundedReceiver<Committed>,
    shared: Arc<Mutex<Shared>>,
    changed: watch::Sender<u64>,
    lanes: HashMap<Option<Mac>, VecDeque<Waiting>>,
    /// Lanes with something to send and nothing under way.
    ready: VecDeque<Option<Mac>>,
    /// Everything from a report about the gate on.
    behind: VecDeque<Waiting>,
    flights: JoinSet<(Waiting, Landing)>,
    delivered: Vec<i64>,
    /// `Some`: no server answers; the wait, and until when.
    away: Option<(Duration, Instant)>,
    /// Lanes whose first report failed while others were taken, until when.
    resting: Vec<(Instant, Option<Mac>)>,
    /// Those reports' failures.
    refusals: HashMap<i64, Refusals>,
    /// Lanes whose first report was refused: no other waits for them.
    aside: HashSet<Option<Mac>>,
    suspect: Option<Suspect>,
    /// The last probe.
    probed: i64,
    last_taken: Option<Instant>,
}

/// How a delivery went.
enum Landing {
    Taken,
    /// Nobody answered a question put at this instant.
    Failed(Instant),
    /// No packet can carry it.
    Impossible(String),
}

impl Courier {
    /// A courier with what a former process left to deliver.
    pub fn new(
        spool: Spool,
        client: Arc<Client>,
        called_station_id: String,
        left: Vec<Waiting>,
    ) -> (Self, CourierHandle) {
        let (sender, parcels) = mpsc::unbounded_channel();
        let (changed, watching) = watch::channel(0);
        let shared = Arc::new(Mutex::new(Shared::default()));
        let handle = CourierHandle {
            parcels: sender,
            state: Arc::clone(&shared),
            changed: watching,
        };
        handle.take(Committed {
            waiting: left,
            replaced: Vec::new(),
        });
        let courier = Self {
            spool,
            client,
            called_station_id,
            parcels,
            shared,
            changed,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            behind: VecDeque::new(),
            flights: JoinSet::new(),
            delivered: Vec::new(),
            away: None,
            resting: Vec::new(),
            refusals: HashMap::new(),
            aside: HashSet::new(),
            suspect: None,
            probed: 0,
            last_taken: None,
        };
        (courier, handle)
    }

    /// Delivers until cancelled. What is then undelivered waits in the file.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut forget_at = Instant::now() + FORGET_AFTER;
        loop {
            self.wake_rested();
            self.start_flights();
            let away_until = self
                .away
                .map(|(_, until)| until)
                .filter(|until| *until > Instant::now());
            let rested_at = self.resting.iter().map(|(until, _)| *until).min();
            let retry_at = away_until.into_iter().chain(rested_at).min();
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(committed) = self.parcels.recv() => self.sort(committed),
                Some(Ok((one, landing))) = self.flights.join_next() => {
                    if self.delivered.is_empty() {
                        forget_at = Instant::now() + FORGET_AFTER;
                    }
                    self.landed(one, landing).await;
                }
                () = sleep_until(forget_at), if !self.delivered.is_empty() => self.forget().await,
                () = sleep_until(retry_at.unwrap_or(forget_at)), if retry_at.is_some() => {}
            }
        }
        self.forget().await;
    }

    fn sort(&mut self, committed: Committed) {
        if !committed.replaced.is_empty() {
            self.withdraw(&committed.replaced);
        }
        for one in committed.waiting {
            let is_gate_tried = self.lanes.contains_key(&None) && !self.aside.contains(&None);
            let is_held = !self.behind.is_empty() || is_gate_tried;
            if lane_of(&one.report).is_none() || is_held {
                self.behind.push_back(one);
            } else {
                self.queue(one);
            }
        }
        self.pass_the_gate();
    }

    fn queue(&mut self, one: Waiting) {
        let mac = lane_of(&one.report);
        if let Some(lane) = self.lanes.get_mut(&mac) {
            lane.push_back(one);
        } else {
            self.lanes.insert(mac, VecDeque::from([one]));
            self.ready.push_back(mac);
        }
    }

    /// When all before a report about the gate is delivered, it goes; when it is, so does what is behind it.
    fn pass_the_gate(&mut self) {
        if self.is_any_due() {
            return;
        }
        while let Some(one) = self.behind.pop_front() {
            let is_gate = lane_of(&one.report).is_none();
            if is_gate && self.is_any_due() {
                self.behind.push_front(one);
                return;
            }
            self.queue(one);
            if is_gate && self.is_any_due() {
                return;
            }
        }
    }

    /// Whether there is a lane that others wait for.
    fn is_any_due(&self) -> bool {
        self.lanes.len() > self.aside.len()
    }

    fn set_aside(&mut self, mac: Option<Mac>, is_aside: bool) {
        let is_new = if is_aside {
            self.aside.insert(mac)
        } else {
            self.aside.remove(&mac)
        };
        if is_new && mac.is_none() {
            lock(&self.shared).is_gate_refused = is_aside;
            self.changed.send_modify(|version| *version += 1);
        }
    }

    /// Takes out Interims that a later report has replaced; those under way are never among them.
    fn withdraw(&mut self, replaced: &[i64]) {
        let mut gone = Vec::new();
        for lane in self.lanes.values_mut().chain(std::iter::once(&mut self.behind)) {
            lane.retain(|one| {
                let stays = !replaced.contains(&one.id);
                if !stays {
                    gone.push(lane_of(&one.report));
                }
                stays
            });
        }
        for mac in gone {
            self.settle(mac);
        }
    }

    fn start_flights(&mut self) {
        let most = match self.away {
            None => MOST_IN_FLIGHT,
            Some((_, until)) if until <= Instant::now() => 1,
            Some(_) => 0,
        };
        while self.flights.len() < most {
            let Some(mac) = self.ready.pop_front() else { break };
            let Some(one) = self.lanes.get_mut(&mac).and_then(VecDeque::pop_front) else {
                // All of it was withdrawn.
                self.drop_lane(mac);
                continue;
            };
            self.fly(one);
        }
    }

    fn fly(&mut self, one: Waiting) {
        lock(&self.shared).in_flight.insert(one.id);
        let client = Arc::clone(&self.client);
        let request = one.report.request(&self.called_station_id);
        self.flights.spawn(async move {
            let began = Instant::now();
            let landing = match client.account(&request, clock::now()).await {
                Ok(()) => Landing::Taken,
                Err(ClientError::Encode(error)) => Landing::Impossible(error.to_string()),
                Err(error) => {
                    tracing::debug!(%error, "a report was not taken");
                    Landing::Failed(began)
                }
            };
            (one, landing)
        });
    }

    async fn landed(&mut self, one: Waiting, landing: Landing) {
        lock(&self.shared).in_flight.remove(&one.id);
        let suspect = self.suspect.take_if(|suspect| suspect.probe == one.id);
        match landing {
            Landing::Failed(began) if suspect.is_some() && !self.is_refusal(&one, began) => self.put_back(one),
            landing => self.conclude(one, landing).await,
        }
        if let Some(suspect) = suspect {
            self.resolve(suspect).await;
        }
    }

    async fn conclude(&mut self, one: Waiting, landing: Landing) {
        let mac = lane_of(&one.report);
        match landing {
            Landing::Taken => {
                if self.away.take().is_some() {
                    tracing::warn!(waiting = self.backlog(), "RADIUS accounting is answered again");
                }
                self.last_taken = Some(Instant::now());
                self.refusals.remove(&one.id);
                self.delivered.push(one.id);
                self.set_aside(mac, false);
                self.settle(mac);
            }
            Landing::Impossible(reason) => self.park(one, &reason).await,
            Landing::Failed(began) if self.is_refusal(&one, began) => {
                return self.refused(one).await;
            }
            // It fails as before; whether a server is there at all the others will tell.
            Landing::Failed(_) if self.refusals.contains_key(&one.id) => return self.rest(one),
            Landing::Failed(began) => {
                let is_probing = self.probe(&one, began);
                self.lanes.entry(mac).or_default().push_front(one);
                if is_probing {
                    return;
                }
                self.back_off();
            }
        }
        self.go_on(mac);
    }

    fn go_on(&mut self, mac: Option<Mac>) {
        if self.lanes.get(&mac).is_some_and(VecDeque::is_empty) {
            self.drop_lane(mac);
        } else {
            self.ready.push_back(mac);
        }
    }

    fn drop_lane(&mut self, mac: Option<Mac>) {
        self.lanes.remove(&mac);
        self.set_aside(mac, false);
        self.pass_the_gate();
    }

    fn back_off(&mut self) {
        let wait = match self.away {
            // Others that were under way when the first failed say nothing new.
            Some((_, until)) if until > Instant::now() => return,
            Some((wait, _)) => (wait * 2).min(LONGEST_WAIT),
            None => FIRST_WAIT,
        };
        if self.away.is_none() {
            tracing::warn!(
                waiting = self.backlog(),
                "no RADIUS server takes accounting: it is kept on disk and delivered later"
            );
        }
        self.away = Some((wait, Instant::now() + wait));
    }

    fn backlog(&self) -> usize {
        lock(&self.shared).pending.values().sum()
    }

    fn settle(&self, mac: Option<Mac>) {
        let mut state = lock(&self.shared);
        if let Some(count) = state.pending.get_mut(&mac) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.pending.remove(&mac);
            }
        }
        drop(state);
        self.changed.send_modify(|version| *version += 1);
    }

    async fn forget(&mut self) {
        let delivered = std::mem::take(&mut self.delivered);
        if let Err(error) = self.spool.delivered(&delivered).await {
            tracing::error!(%error, "cannot forget delivered accounting: it will be sent again");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
