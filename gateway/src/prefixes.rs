//! Follows the IPv6 prefixes of the LAN where a provider delegates them: the packet filter takes them over within a second, and the record of
//! who had which address too.
//!
//! A look each second suffices: an address that a client of prefix delegation has put on the interface is tentative for about as long (RFC 4862 §5.4),
//! and only then do devices hear of its prefix.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::Ipv6Net;
use kavadam_firewall::{FirewallError, Gate, Layout};

use crate::engine::{EngineHandle, Message};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks between two at the neighbours, who tell which address a device has instead of one that is gone.
const NEIGHBOURS_EVERY: u32 = 5;

/// Looks for ever; a LAN whose prefix is fixed needs no look.
pub(crate) async fn follow(gate: &Arc<Gate>, layout: &Arc<Mutex<Layout>>, engine: &EngineHandle) {
    let current = || layout.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if !current().delegated {
        return std::future::pending().await;
    }
    let mut known = None;
    for number in 0_u32.. {
        let (gate, layout, before) = (Arc::clone(gate), current(), known.clone());
        let looks_around = number % NEIGHBOURS_EVERY == 0;
        let looked = tokio::task::spawn_blocking(move || {
            let prefixes = Gate::lan_prefixes(&layout)?;
            if before.as_ref() != Some(&prefixes) {
                gate.follow_prefixes(&prefixes)?;
            }
            let neighbours = if looks_around {
                Gate::lan_neighbours(&layout)?
            } else {
                Vec::new()
            };
            Ok::<_, FirewallError>((prefixes, neighbours))
        });
        match looked.await {
            Ok(Ok((prefixes, neighbours))) => {
                if known.as_ref() != Some(&prefixes) {
                    tell(&prefixes);
                    engine.send(Message::Prefixes(prefixes.iter().copied().collect())).await;
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

fn tell(prefixes: &BTreeSet<Ipv6Net>) {
    let names: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
    tracing::info!(prefixes = names.join(", "), "the LAN's IPv6 prefixes");
}
