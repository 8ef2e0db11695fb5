//! A changed configuration while everybody stays online.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use kavadam_firewall::{FirewallError, Gate, Layout};

use crate::config::GatewayConfig;
use crate::names::{Answerer, Rules};

/// Why a changed configuration was not taken. Then nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The ports for names are bound at the start.
    #[error(
        "something is open, free or blocked by name for the first time, or no longer: that takes a restart, which nobody online notices"
    )]
    NeedsRestart,
    /// A file with names cannot be read.
    #[error("cannot read a file of gateway.blocked.files or of a filter: {0}")]
    Blocklist(#[from] io::Error),
    /// The packet filter.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    /// A defect.
    #[error("the reload ended unexpectedly: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

/// Gives a running gateway another configuration; cheap to clone.
#[derive(Clone)]
pub struct Reloader {
    pub(crate) gate: Arc<Gate>,
    pub(crate) answerer: Arc<Answerer<Arc<Gate>>>,
    /// Shared with the guard, which repairs by it.
    pub(crate) layout: Arc<Mutex<Layout>>,
    pub(crate) reads_all_names: bool,
}

impl Reloader {
    /// Takes over what is open, free and blocked, who is kept apart, and what the uplink carries; sessions and their connections go on. Everything else in the
    /// configuration takes a restart, and is not looked at.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub async fn reload(&self, config: GatewayConfig) -> Result<(), ReloadError> {
        if config.reads_all_names() != self.reads_all_names {
            return Err(ReloadError::NeedsRestart);
        }
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.take_over(&config)).await?
    }

    fn take_over(&self, config: &GatewayConfig) -> Result<(), ReloadError> {
        let rules = Rules::read(config)?;
        // The guard must not repair by the old layout what was just made by the new one.
        let mut layout = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        let given = config.layout();
        let changed = Layout {
            garden4: given.garden4,
            garden6: given.garden6,
            free4: given.free4,
            free6: given.free6,
            blocked4: given.blocked4,
            blocked6: given.blocked6,
            blocked_ports: given.blocked_ports,
            filters: given.filters,
            all_names: given.all_names,
            strict: given.strict,
            admit_ipv6_only: given.admit_ipv6_only,
            isolate: given.isolate,
            uplink: given.uplink,
            classes: given.classes,
            ..layout.clone()
        };
        self.gate.take_rules(&changed)?;
        *layout = changed;
        drop(layout);
        self.answerer.set_rules(rules);
        self.gate.settle();
        Ok(())
    }
}
