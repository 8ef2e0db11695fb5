//! Looking on at a running process: what `kavadam radius top`, `kavadam why` and a metrics collector are told.

pub mod ask;
pub mod gate;
pub mod metrics;
pub mod socket;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kavadam_access::overview::Overview;
use kavadam_access::{Access, AccessError};
use kavadam_radius::server::{Counts, DropReason, GateFigures, Tap};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::clock;

/// Counting sessions takes the database a while: it is asked no more often.
const COUNTED_EVERY: Duration = Duration::from_secs(10);

/// What there is to look at. Cheap to clone.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    access: Access,
    counts: Arc<Counts>,
    tap: Arc<Tap>,
    began_at: i64,
    overview: Mutex<Option<(Instant, Arc<Overview>)>>,
}

/// Everything at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Picture {
    /// Seconds since 1970.
    pub at: f64,
    /// When the counting began, seconds since 1970.
    pub began_at: i64,
    /// Every gate that is known, by name.
    pub gates: Vec<Gate>,
    /// Addresses of no gate that sent most, and about how many datagrams.
    pub strangers: Vec<(String, u64)>,
    /// Datagrams from addresses of no gate.
    pub stranger_datagrams: u64,
    /// What is no single gate's: those, and what proved none of the gates that share its address.
    pub nobody: GateFigures,
    /// Messages waiting to be sent.
    pub waiting_messages: u64,
    /// Orders that gates have not obeyed yet.
    pub waiting_orders: u64,
    /// What a small read of the database took just now, microseconds.
    pub database_micros: u64,
    /// Batches of decisions, since the start.
    pub commits: Commits,
}

/// How long batches took from the decision until they were on disk.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Commits {
    /// By bucket, as in [`kavadam_access::latency`].
    pub buckets: Vec<u64>,
    /// Of all together.
    pub micros: u64,
    /// Requests answered by them.
    pub requests: u64,
}

/// One gate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Gate {
    /// Its number.
    pub id: i64,
    /// NAS-Identifier.
    pub name: String,
    /// Name of its site.
    pub site: String,
    /// Sessions not ended, counted within the last ten seconds.
    pub online: u64,
    /// Accounting reports since the start that belong to no session, or that nobody can believe.
    pub unowned_reports: u64,
    /// Counters since the start.
    #[serde(flatten)]
    pub figures: GateFigures,
}

impl Watch {
    /// Looks on at these counters and at what passes over TLS, and asks that centre for names.
    pub fn new(access: Access, counts: Arc<Counts>, tap: Arc<Tap>) -> Self {
        Self(Arc::new(Inner {
            access,
            counts,
            tap,
            began_at: clock::now().as_secs(),
            overview: Mutex::default(),
        }))
    }

    /// The last answers among the counters.
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// What passes over TLS.
    pub fn tap(&self) -> &Tap {
        &self.0.tap
    }

    /// Everything as it is now.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn picture(&self) -> Result<Picture, AccessError> {
        let asked = Instant::now();
        self.0.access.sites().await?;
        let database_micros = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
        let overview = self.overview(asked).await?;
        let counts = self.counts();
        let mut figures = counts.by_gate();
        let unowned = self.0.access.unowned_reports();
        let gates = overview.gates.iter().map(|line| {
            let at = figures.iter().position(|(nas, _)| *nas == line.id);
            Gate {
                id: line.id.0,
                name: line.name.clone(),
                site: line.site.clone(),
                online: line.online,
                unowned_reports: unowned.get(&line.id).copied().unwrap_or(0),
                figures: at.map(|at| figures.swap_remove(at).1).unwrap_or_default(),
            }
        });
        let gates = gates.collect();
        let strangers = counts.strangers().into_iter();
        Ok(Picture {
            at: seconds(),
            began_at: self.0.began_at,
            gates,
            strangers: strangers.map(|(from, count)| (from.to_string(), count)).collect(),
            stranger_datagrams: counts.dropped(DropReason::UnknownSource),
            nobody: counts.nobody(),
            waiting_messages: overview.waiting_messages,
            waiting_orders: overview.waiting_orders,
            database_micros,
            commits: self.commits(),
        })
    }

    fn commits(&self) -> Commits {
        let commits = self.0.access.commits();
        Commits {
            buckets: commits.took().buckets(),
            micros: commits.took().total_micros(),
            requests: commits.questions(),
        }
    }

    async fn overview(&self, now: Instant) -> Result<Arc<Overview>, AccessError> {
        let mut kept = self.0.overview.lock().await;
        if let Some((at, overview)) = &*kept
            && now.duration_since(*at) < COUNTED_EVERY
        {
            return Ok(Arc::clone(overview));
        }
        let overview = Arc::new(self.0.access.overview().await?);
        let known: HashSet<_> = overview.gates.iter().map(|gate| gate.id).collect();
        self.0.counts.keep_only(|nas| known.contains(&nas));
        *kept = Some((now, Arc::clone(&overview)));
        Ok(overview)
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit until 2255")]
fn seconds() -> f64 {
    clock::now().0 as f64 / 1e6
}
