//! Keeps the gate standing: whoever else removes or changes its rules, they are back at once.
//!
//! The kernel tells of every change to the table; a look every few seconds finds what went unheard. Where the LAN is a bridge, its ports are
//! looked for each second, and so are the queues of a shared uplink.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kavadam_firewall::{FirewallError, Gate, Layout, Restored, Shares};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::engine::{EngineHandle, Message};
use crate::sightings::{Sightings, ports_of};
use crate::{prefixes, requests, rogues};

const LOOK_EVERY: Duration = Duration::from_secs(5);
const PORTS_EVERY: Duration = Duration::from_secs(1);
const LANS_EVERY: Duration = Duration::from_secs(1);
const PINS_EVERY: Duration = Duration::from_secs(1);
const SHARES_EVERY: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(1);

/// The ports of the LAN's bridge as they were tied last, and why they could not be, if so.
#[derive(Debug, Default)]
struct Ports {
    tied: BTreeMap<String, u16>,
    failed: Option<String>,
}

impl Ports {
    /// Ties them if they are others than before, or could not be tied. What there is to say: how many there are, or why they are not kept apart.
    fn keep(
        &mut self,
        ports: BTreeMap<String, u16>,
        tie: impl FnOnce(&BTreeMap<String, u16>) -> Result<(), FirewallError>,
    ) -> Option<Result<usize, String>> {
        if ports == self.tied && self.failed.is_none() {
            return None;
        }
        match tie(&ports) {
            Ok(()) => {
                (self.tied, self.failed) = (ports, None);
                Some(Ok(self.tied.len()))
            }
            Err(error) => {
                let error = error.to_string();
                let is_news = self.failed.as_ref() != Some(&error);
                self.failed = Some(error.clone());
                is_news.then_some(Err(error))
            }
        }
    }
}

/// The task's own state.
pub(crate) struct Guard {
    pub gate: Arc<Gate>,
    /// Where the devices are.
    pub lan_if: String,
    /// Who is seen where on the LAN's bridge.
    pub sightings: Sightings,
    /// What the rules are made of; changes with the configuration.
    pub layout: Arc<Mutex<Layout>>,
    pub engine: EngineHandle,
    /// Wakes us before the next look is due.
    pub changed: Arc<Notify>,
}

impl Guard {
    /// Looks until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        tokio::select! {
            () = self.watch_ports() => {}
            () = self.watch_shares() => {}
            () = self.watch_lans() => {}
            () = self.watch_pins() => {}
            () = requests::watch(&self.gate, &self.layout) => {}
            () = rogues::watch(&self.layout) => {}
            () = prefixes::follow(&self.gate, &self.layout, &self.engine) => {}
            () = self.watch_rules(cancel) => {}
        }
    }

    async fn watch_ports(&self) {
        let mut tied = Ports::default();
        loop {
            let (lan_if, sightings, gate) = (self.lan_if.clone(), self.sightings.clone(), Arc::clone(&self.gate));
            let looked = tokio::task::spawn_blocking(move || {
                let ports = ports_of(&lan_if);
                if !ports.is_empty() {
                    sightings.look(&lan_if, &ports, Instant::now());
                }
                // Waits while rules are loaded or mended.
                match tied.keep(ports, |ports| gate.tie_ports(ports)) {
                    Some(Ok(ports)) => tracing::info!(ports, "the ports of the LAN's bridge are kept apart"),
                    Some(Err(error)) => tracing::warn!(error, "nothing keeps the ports of the LAN's bridge apart"),
                    None => {}
                }
                tied
            });
            tied = looked.await.unwrap_or_default();
            tokio::time::sleep(PORTS_EVERY).await;
        }
    }

    /// Other gates of this machine come and go; their LANs are closed while they are not there.
    async fn watch_lans(&self) {
        let mut known = None;
        loop {
            let (layout, gate) = (Arc::clone(&self.layout), Arc::clone(&self.gate));
            let before = known.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let layout = layout.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if layout.other_lans.is_empty() {
                    return Ok(None);
                }
                let guarded = Gate::guarded_lans(&layout)?;
                if before.as_ref() != Some(&guarded) {
                    gate.leave_lans(&guarded)?;
                }
                Ok::<_, FirewallError>(Some(guarded))
            });
            match looked.await {
                Ok(Ok(None)) => return std::future::pending().await,
                Ok(Ok(guarded)) => {
                    if guarded != known {
                        let names = guarded.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
                        tracing::info!(lans = names, "other gates guard these LANs; any other is closed");
                    }
                    known = guarded;
                }
                Ok(Err(error)) => tracing::warn!(%error, "cannot look for other gates"),
                Err(panic) => tracing::error!(%panic, "the look for other gates ended unexpectedly"),
            }
            tokio::time::sleep(LANS_EVERY).await;
        }
    }

    /// Addresses of those online are tied to their devices; a LAN interface that went down has forgotten which.
    async fn watch_pins(&self) {
        let mut said = None;
        loop {
            let gate = Arc::clone(&self.gate);
            match tokio::task::spawn_blocking(move || gate.keep_pins()).await {
                Ok(Ok(0)) => said = None,
                Ok(Ok(addresses)) => {
                    tracing::info!(
                        addresses,
                        "the LAN's interface was down or is another: addresses are tied to their devices again"
                    );
                }
                Ok(Err(error)) => {
                    let error = error.to_string();
                    if said.as_ref() != Some(&error) {
                        tracing::warn!(error, "addresses of those online may not be tied to their devices");
                    }
                    said = Some(error);
                }
                Err(panic) => tracing::error!(%panic, "the look at whose addresses are whose ended unexpectedly"),
            }
            tokio::time::sleep(PINS_EVERY).await;
        }
    }

    /// Interfaces come and go, and an uplink's speed changes with the configuration.
    async fn watch_shares(&self) {
        let mut shares = None;
        let mut said = None;
        loop {
            let layout = Arc::clone(&self.layout);
            let kept = tokio::task::spawn_blocking(move || {
                let layout = layout.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let mut shares = shares.map_or_else(Shares::new, Ok)?;
                let kept = shares.keep(&layout);
                let kept = kept.map(|has_changed| (has_changed, layout.uplink, layout.classes.len()));
                Ok::<_, FirewallError>((shares, kept))
            });
            let kept = match kept.await {
                Ok(Ok((same, kept))) => {
                    shares = Some(same);
                    kept.map_err(|error| error.to_string())
                }
                Ok(Err(error)) => {
                    shares = None;
                    Err(error.to_string())
                }
                Err(panic) => {
                    shares = None;
                    Err(panic.to_string())
                }
            };
            match kept {
                Ok((true, Some(uplink), classes)) => tracing::info!(
                    up.mbit = uplink.up_bits_per_sec / 1_000_000,
                    down.mbit = uplink.down_bits_per_sec / 1_000_000,
                    classes,
                    "the uplink is shared fairly"
                ),
                Ok((true, None, _)) => tracing::info!("the uplink is no longer shared"),
                Err(error) if said.as_ref() != Some(&error) => {
                    tracing::error!(%error, "the uplink is not shared");
                    said = Some(error);
                }
                Err(_) => {}
                Ok((false, ..)) => said = None,
            }
            tokio::time::sleep(SHARES_EVERY).await;
        }
    }

    async fn watch_rules(&self, cancel: CancellationToken) {
        let mut wait = LOOK_EVERY;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            wait = match self.restore().await {
                Ok(None) => LOOK_EVERY,
                Ok(Some(restored)) => {
                    self.tell(restored).await;
                    LOOK_EVERY
                }
                Err(error) => {
                    tracing::error!(%error, "the gate may be open");
                    RETRY
                }
            };
        }
    }

    async fn restore(&self) -> Result<Option<Restored>, FirewallError> {
        let (gate, layout) = (Arc::clone(&self.gate), Arc::clone(&self.layout));
        // Held meanwhile, as a reload holds it: neither is to undo what the other has just done.
        let done = tokio::task::spawn_blocking(move || {
            let layout = layout.lock().unwrap_or_else(PoisonError::into_inner);
            gate.restore(&layout)
        });
        let done = done.await;
        // A defect in there must not end the watch over the gate.
        done.unwrap_or_else(|panic| {
            tracing::error!(%panic, "the look at the packet filter ended unexpectedly");
            Ok(None)
        })
    }

    async fn tell(&self, Restored { differences, lost }: Restored) {
        tracing::error!(
            differences = differences.join("; "),
            sessions.lost = lost.len(),
            "somebody else changed the packet filter; it was loaded again. Remedy: keep other firewall services off this machine"
        );
        if !lost.is_empty() {
            self.engine.send(Message::Lost(lost)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_could_not_be_tied_are_tried_again_and_that_is_said_once() {
        let mut tied = Ports::default();
        let fails = |_: &BTreeMap<String, u16>| Err(FirewallError::NotPermitted);
        let nowhere = BTreeMap::new;
        let ports = || BTreeMap::from([("ap1".to_owned(), 1)]);
        assert_eq!(tied.keep(nowhere(), |_| panic!("no bridge")), None);
        assert!(matches!(tied.keep(ports(), fails), Some(Err(_))));
        assert_eq!(tied.keep(ports(), fails), None);
        assert_eq!(tied.keep(ports(), |_| Ok(())), Some(Ok(1)));
        assert_eq!(tied.keep(ports(), |_| panic!("they are tied")), None);
        assert!(matches!(tied.keep(nowhere(), fails), Some(Err(_))));
        assert_eq!(
            tied.keep(ports(), |_| Ok(())),
            Some(Ok(1)),
            "though they are as they were"
        );
    }
}
