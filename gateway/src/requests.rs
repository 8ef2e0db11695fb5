//! When strangers ask for more addresses than they may have: said with the ports at which they do, and when it is over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kavadam_firewall::{FirewallError, Gate, Layout, SeenAddresses, View};
use tokio::task::spawn_blocking;

use crate::sightings::ports_of;

const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Between two lines in the log.
const TOLD_EVERY: Duration = Duration::from_mins(10);
/// Fewer refusals between two looks are a client that asks too often.
const MANY: u64 = 100;

/// What was refused, and when that was said.
#[derive(Debug, Default)]
struct Refusals {
    count: u64,
    told: Option<Instant>,
    is_told: bool,
}

/// What there is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// So many were refused since the last look.
    Refused(u64),
    Over,
}

impl Refusals {
    /// Of as many as there are by now.
    fn news(&mut self, count: u64, now: Instant) -> Option<News> {
        // The counter begins anew with a table that is made anew.
        let new = count.checked_sub(self.count).unwrap_or(count);
        self.count = count;
        if self.is_told && new == 0 {
            self.is_told = false;
            return Some(News::Over);
        }
        let was_told = self
            .told
            .is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY);
        if new < MANY || was_told {
            return None;
        }
        (self.is_told, self.told) = (true, Some(now));
        Some(News::Refused(new))
    }
}

/// Looks for ever. What waits for a mend of the rules, which takes seconds, is done where it holds nobody else up.
pub(crate) async fn watch(gate: &Arc<Gate>, layout: &Arc<Mutex<Layout>>) {
    // What was refused before this process was there is no news.
    let mut refusals = Refusals {
        count: count(gate).await.unwrap_or_default(),
        ..Refusals::default()
    };
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(count) = count(gate).await else {
            continue;
        };
        match refusals.news(count, Instant::now()) {
            Some(News::Refused(count)) => {
                // By a way of its own: a look at tens of thousands of leases holds up nobody who logs in.
                let look = |layout: &Layout| View::open(layout)?.addresses(layout.dhcp);
                tell(count, &full_now(Arc::clone(layout), look).await);
            }
            Some(News::Over) => tracing::info!("no more requests for an address are refused"),
            None => {}
        }
    }
}

async fn count(gate: &Arc<Gate>) -> Option<u64> {
    let gate = Arc::clone(gate);
    let counted = spawn_blocking(move || gate.refused_requests()).await.ok()?;
    let told =
        |error: &FirewallError| tracing::warn!(%error, "cannot tell how many requests for an address were refused");
    counted.inspect_err(told).ok()
}

async fn full_now(
    layout: Arc<Mutex<Layout>>,
    addresses: impl FnOnce(&Layout) -> Result<SeenAddresses, FirewallError> + Send + 'static,
) -> Vec<String> {
    let look = move || {
        let layout = layout.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(full_ports(&layout.lan_if, &addresses(&layout)?))
    };
    let looked = spawn_blocking(look).await.unwrap_or_else(|_| Ok(Vec::new()));
    looked.unwrap_or_else(|error: FirewallError| {
        tracing::warn!(%error, "cannot tell at which ports requests for an address are refused");
        Vec::new()
    })
}

fn tell(requests: u64, ports: &[String]) {
    tracing::warn!(
        requests,
        ports.full = ports.join(", "),
        "requests for an address are refused: more devices ask than may, as when one invents others. Those with an address keep it, and other ports \
         of the LAN's bridge have theirs. Remedy: look for the device there; if they are people, gateway.dnsmasq.range4 or port_share_percent"
    );
}

/// The ports of the LAN's bridge at which as many strangers hold an address as may, by name.
#[must_use]
pub fn full_ports(lan_if: &str, seen: &SeenAddresses) -> Vec<String> {
    let ports = ports_of(lan_if).into_iter();
    ports
        .filter(|(_, number)| seen.is_full_at(*number))
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_said_once_in_ten_minutes_and_when_it_is_over() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let mut look = |count, secs| refusals.news(count, start + Duration::from_secs(secs));
        assert_eq!(look(99, 0), None, "a client that asks too often");
        assert_eq!(look(1099, 10), Some(News::Refused(1000)));
        assert_eq!(look(2099, 20), None);
        assert_eq!(look(2099, 30), Some(News::Over));
        assert_eq!(look(3099, 40), None, "it was said a moment ago");
        assert_eq!(look(4099, 620), Some(News::Refused(1000)));
    }

    #[test]
    fn a_counter_that_begins_anew_is_counted_from_nothing() {
        let mut refusals = Refusals {
            count: 5000,
            ..Refusals::default()
        };
        assert_eq!(refusals.news(150, Instant::now()), Some(News::Refused(150)));
    }

    #[test]
    fn a_mend_that_holds_the_layout_holds_up_the_look_and_nothing_else() {
        let layout = Arc::new(Mutex::new(crate::testing::sample_config().layout()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let look = || full_now(Arc::clone(&layout), |_| Ok(SeenAddresses::default()));
        let mend = layout.lock().unwrap();
        let moment = Duration::from_millis(50);
        let looked = runtime.block_on(async { tokio::time::timeout(moment, look()).await });
        assert!(looked.is_err(), "the only thread goes on, and the look waits");
        drop(mend);
        assert_eq!(runtime.block_on(look()), [""; 0]);
    }
}
