//! Follows the IPv6 prefixes of the LAN where a provider delegates them: the packet filter takes them over within a second, and the record of
//! who had which address too.
//!
//! A look each second suffices: an address that a client of prefix delegation has put on the interface is tentative for about as long (RFC 4862 §5.4),
//! and only then do devices hear of its prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::Ipv6Net;
use kavadam_firewall::{FirewallError, Gate, Layout};

use crate::engine::{EngineHandle, Message};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks between two at the neighbours, who tell which address a device has instead of one that is gone.
const NEIGHBOURS_EVERY: u32 = 5;
/// Looks in a row at which a prefix must be missing to be gone from the record.
const LOOKS_MISSED: u32 = 5;

/// Looks for ever; a LAN whose prefix is fixed needs no look.
pub(crate) async fn follow(gate: &Arc<Gate>, layout: &Arc<Mutex<Layout>>, engine: &EngineHandle) {
    let mut known = None;
    let mut record = Record::default();
    for number in 0_u32.. {
        let (gate, layout, before) = (Arc::clone(gate), Arc::clone(layout), known.clone());
        let looks_around = number % NEIGHBOURS_EVERY == 0;
        let looked = tokio::task::spawn_blocking(move || {
            // Held for long while rules are loaded or mended.
            let layout = layout.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if !layout.delegated {
                return Ok(None);
            }
            let prefixes = Gate::lan_prefixes(&layout)?;
            if before.as_ref() != Some(&prefixes) {
                gate.follow_prefixes(&prefixes)?;
            }
            let neighbours = if looks_around {
                Gate::lan_neighbours(&layout)?
            } else {
                Vec::new()
            };
            Ok::<_, FirewallError>(Some((prefixes, neighbours)))
        });
        match looked.await {
            Ok(Ok(None)) => return std::future::pending().await,
            Ok(Ok(Some((prefixes, neighbours)))) => {
                if let Some(recorded) = record.look(&prefixes) {
                    engine.send(Message::Prefixes(recorded)).await;
                }
                if known.as_ref() != Some(&prefixes) {
                    tell(&prefixes);
                    known = Some(prefixes);
                }
                if !neighbours.is_empty() {
                    engine.send(Message::Neighbours(neighbours)).await;
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "cannot follow the LAN's prefixes"),
            Err(panic) => tracing::error!(%panic, "the look at the LAN's prefixes ended unexpectedly"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The prefixes as sessions are recorded by them: one that is gone is believed to be so only after a while, since an interface that goes down for a
/// moment loses all of them, and every session would be reported as without an address, and with one again.
#[derive(Debug, Default)]
struct Record {
    /// Each, and for how many looks it has not been there.
    missed: BTreeMap<Ipv6Net, u32>,
    told: Option<BTreeSet<Ipv6Net>>,
}

impl Record {
    /// What to tell, if it has changed.
    fn look(&mut self, prefixes: &BTreeSet<Ipv6Net>) -> Option<Vec<Ipv6Net>> {
        self.missed.retain(|_, looks| {
            *looks += 1;
            *looks < LOOKS_MISSED
        });
        self.missed.extend(prefixes.iter().map(|net| (*net, 0)));
        let now: BTreeSet<Ipv6Net> = self.missed.keys().copied().collect();
        if self.told.as_ref() == Some(&now) {
            return None;
        }
        self.told = Some(now.clone());
        Some(now.into_iter().collect())
    }
}

fn tell(prefixes: &BTreeSet<Ipv6Net>) {
    let names: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
    tracing::info!(prefixes = names.join(", "), "the LAN's IPv6 prefixes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_down_for_a_moment_changes_nothing_in_the_record() {
        let [own, delegated, next] =
            ["fd00:80::/64", "2001:db8:1::/64", "2001:db8:2::/64"].map(|net| net.parse::<Ipv6Net>().unwrap());
        let mut record = Record::default();
        let mut look = |nets: &[Ipv6Net]| record.look(&nets.iter().copied().collect());
        assert_eq!(look(&[own, delegated]), Some(vec![delegated, own]));
        for _ in 1..LOOKS_MISSED {
            assert_eq!(look(&[]), None);
        }
        assert_eq!(look(&[own, delegated]), None);
        assert_eq!(
            look(&[own, next]),
            Some(vec![delegated, next, own]),
            "a new one at once"
        );
        for _ in 2..LOOKS_MISSED {
            assert_eq!(look(&[own, next]), None);
        }
        assert_eq!(look(&[own, next]), Some(vec![next, own]));
    }
}
