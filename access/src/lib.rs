//! The use cases of the centre, one transaction each. Doors call these; nobody else touches the store.
//!
//! A refusal is a value ([`api::Decision`], [`api::Started`], [`api::Verified`]); an [`AccessError`] means that the service is out of
//! order and nothing was changed. Nothing is answered before it is committed.

use std::sync::Arc;

use kavadam_domain::plan::InvalidPlan;
use kavadam_store::{Store, Tx};
use tokio::sync::Notify;

pub mod account;
pub mod admin;
mod admit;
mod again;
mod ahead;
pub mod api;
mod asked_for;
mod authenticator;
mod authorize;
pub mod batch;
mod began;
mod ending;
mod find;
mod form;
mod gate_entry;
mod gates;
pub mod key;
pub mod latency;
pub mod login;
pub mod ms_chap;
mod namesake;
pub mod orders;
pub mod overview;
mod password;
mod patience;
mod proof;
mod reach;
pub mod seal;
mod seen;
pub mod settings;
pub mod sms;
mod standing;
pub mod step;
pub mod sweep;
mod ticket;
mod unknown;
pub mod voucher;
pub mod why;

pub use seal::Sealer;
pub use settings::Settings;

/// The use cases. Cheap to clone; every door has one.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    store: Store,
    sealer: Sealer,
    settings: Settings,
    gates: gates::Remembered,
    seen: seen::Seen,
    unknown: unknown::Unknown,
    patience: patience::Patience,
    queues: Vec<batch::Queue>,
    commits: batch::Commits,
    turns: form::Turns,
    orders: Notify,
    messages: Notify,
}

/// Why a use case could not be carried out. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] kavadam_store::Error),
    /// A plan cannot be enforced.
    #[error(transparent)]
    Plan(#[from] InvalidPlan),
    /// A stored secret does not open with this master key.
    #[error(transparent)]
    Seal(#[from] seal::SealError),
    /// The master key at hand is not the database's.
    #[error(transparent)]
    Key(#[from] key::KeyError),
    /// An administrator named something that is not there.
    #[error("there is no {kind} `{name}`")]
    Missing {
        /// Such as `plan`.
        kind: &'static str,
        /// As given.
        name: String,
    },
    /// An administrator asked for something that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// Two rows that belong together are not both there.
    #[error("the database misses the {0} that a row refers to")]
    Inconsistent(&'static str),
    /// A change is committed, but did not reach everybody online whom it concerns.
    #[error("it is changed, but not everybody online was told: give the command once more ({0})")]
    HalfDone(Box<AccessError>),
    /// Too many pages wait for the database.
    #[error("too many forms wait for the database")]
    Busy,
    /// The work was broken off.
    #[error("the work was broken off before it was done")]
    Lost,
    /// The database was not waited for any longer.
    #[error("the database does not answer in time")]
    Late,
}

impl AccessError {
    /// Whether the database did not answer in time.
    fn is_timeout(&self) -> bool {
        match self {
            Self::Store(error) => error.is_timeout(),
            error => matches!(error, Self::Late),
        }
    }

    /// Whether somebody's row was held by another for too long.
    fn is_held(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_held())
    }
}

impl Access {
    /// The use cases over a database, a master key, and what the operator set.
    #[must_use]
    pub fn new(store: Store, sealer: Sealer, settings: Settings) -> Self {
        let queues = (0..Store::LANES).map(batch::Queue::new).collect();
        Self(Arc::new(Inner {
            store,
            sealer,
            settings,
            gates: gates::Remembered::default(),
            seen: seen::Seen::default(),
            unknown: unknown::Unknown::default(),
            patience: patience::Patience::default(),
            queues,
            commits: batch::Commits::default(),
            turns: form::Turns::default(),
            orders: Notify::new(),
            messages: Notify::new(),
        }))
    }

    /// Waits for the work under way, and lets go of the database: SQLite puts its journal away then.
    pub async fn close(&self) {
        self.0.store.close().await;
    }

    /// What the operator set.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// What batches took so far.
    #[must_use]
    pub fn commits(&self) -> &batch::Commits {
        &self.0.commits
    }

    /// Resolves once somebody has asked a gate for something since the last time this resolved: look at
    /// [`Access::pending_orders`] again.
    pub async fn orders_changed(&self) {
        self.0.orders.notified().await;
    }

    /// Resolves once a message has been queued since the last time this resolved.
    pub async fn messages_changed(&self) {
        self.0.messages.notified().await;
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.0.sealer
    }

    /// Whether one transaction may concern everybody: nobody else has the writer meanwhile, but nobody is held for it either.
    pub(crate) fn is_embedded(&self) -> bool {
        self.0.store.is_embedded()
    }

    pub(crate) async fn read(&self) -> Result<Tx, AccessError> {
        Ok(self.0.store.read().await?)
    }

    /// For what may look at very many rows, and nobody but an administrator waits for.
    pub(crate) async fn read_at_length(&self) -> Result<Tx, AccessError> {
        Ok(self.0.store.read_at_length().await?)
    }

    pub(crate) async fn write(&self) -> Result<Tx, AccessError> {
        Ok(self.0.store.write().await?)
    }

    pub(crate) async fn write_many(&self, lane: usize) -> Result<Tx, AccessError> {
        Ok(self.0.store.write_many(lane).await?)
    }

    pub(crate) fn wake_orders(&self) {
        self.0.orders.notify_one();
    }

    pub(crate) fn wake_messages(&self) {
        self.0.messages.notify_one();
    }
}
