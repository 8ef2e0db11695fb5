//! What devices do that none may: said in the log, once a minute at most for each kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kavadam_firewall::{FirewallError, Layout, View};

const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Frames of each kind that were dropped so far.
type Counts = BTreeMap<&'static str, u64>;

/// Looks for ever.
pub(crate) async fn watch(layout: &Arc<Mutex<Layout>>) {
    let mut before = None;
    loop {
        let layout = Arc::clone(layout);
        match tokio::task::spawn_blocking(move || counts(&layout)).await {
            Ok(Ok(now)) => {
                for (kind, frames) in before.iter().flat_map(|before| news(before, &now)) {
                    tracing::warn!(kind, frames, "{}", meaning(kind));
                }
                before = Some(now);
            }
            Ok(Err(error)) => tracing::debug!(%error, "cannot look at the frames that were dropped"),
            Err(panic) => tracing::error!(%panic, "the look at the frames that were dropped ended unexpectedly"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn counts(layout: &Mutex<Layout>) -> Result<Counts, FirewallError> {
    let layout = layout.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(View::open(&layout)?.rogues()?.into_iter().collect())
}

/// What has grown, and by how much. Rules that were loaded anew count from zero.
fn news(before: &Counts, now: &Counts) -> Vec<(&'static str, u64)> {
    let grown = now.iter().map(|(kind, frames)| {
        let known = before.get(kind).copied().unwrap_or(0);
        (*kind, if *frames < known { *frames } else { frames - known })
    });
    grown.filter(|(kind, frames)| *frames >= many(kind)).collect()
}

/// Fewer in a minute are an accident: a device that has a new hardware address and an old IPv6 one, or that slept until its
/// address was leased to another.
fn many(kind: &str) -> u64 {
    match kind {
        "unheard_arp" => 1_000,
        "impostors" => 10,
        _ => 1,
    }
}

fn meaning(kind: &str) -> &'static str {
    match kind {
        "router_advertisements" | "redirects" => {
            "a device of the LAN says that it is a router; what came by the gateway was dropped. Remedy: find it at the access points, and have them isolate clients"
        }
        "dhcp_servers" => {
            "a device of the LAN answers DHCP; what came by the gateway was dropped. Remedy: find it at the access points, and have them isolate clients"
        }
        "unheard_arp" => {
            "more ARP came of unknown devices, or of addresses that are others', than is heard: devices are being invented or imitated"
        }
        "dhcp_relays" => {
            "a relay asked DHCP for others (from port 67), and was not heard: devices ask for themselves here. Remedy: have the controller or switch pass DHCP on as it is (bridged, option 82 if wanted)"
        }
        _ => {
            "a device spoke in another's name (DHCP, neighbour discovery or IPv6 address), and was not heard; one with a new hardware address and its old IPv6 address means no harm"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_grown_is_told_and_what_began_anew_whole() {
        let before = Counts::from([("redirects", 7), ("impostors", 5), ("dhcp_servers", 1)]);
        let now = Counts::from([
            ("redirects", 8),
            ("impostors", 15),
            ("dhcp_servers", 0),
            ("unheard_arp", 3),
        ]);
        assert_eq!(news(&before, &now), [("impostors", 10), ("redirects", 1)]);
        assert_eq!(news(&now, &Counts::from([("impostors", 12)])), [("impostors", 12)]);
        assert_eq!(news(&now, &Counts::from([("impostors", 24)])), [], "an accident");
        let relayed = Counts::from([("dhcp_relays", 1)]);
        assert_eq!(news(&now, &relayed), [("dhcp_relays", 1)], "none is an accident");
        assert!(meaning("dhcp_relays").starts_with("a relay asked DHCP for others"));
    }
}
