//! What became of orders that were not obeyed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Between lines about what was dropped.
const SUMMARY: Duration = Duration::from_mins(1);

/// What was dropped, since the start.
#[derive(Debug, Default)]
pub struct DynamicCounts {
    /// From an address that may not give orders.
    pub unknown_source: AtomicU64,
    /// Not a request of this kind, or no RADIUS at all, or with more Proxy-State than an answer has room for.
    pub malformed: AtomicU64,
    /// Not signed with the secret.
    pub unverified: AtomicU64,
    /// Event-Timestamp too old, too new, or missing.
    pub stale: AtomicU64,
    /// Copies of requests, answered again or absorbed.
    pub duplicates: AtomicU64,
    /// More at once than are worked on.
    pub busy: AtomicU64,
}

/// What was dropped by some time, in the order of [`DynamicCounts::dropped`].
type Dropped = [(&'static str, u64); 5];

impl DynamicCounts {
    /// A copy is nothing to worry about.
    fn dropped(&self) -> Dropped {
        [
            ("unknown_source", &self.unknown_source),
            ("malformed", &self.malformed),
            ("unverified", &self.unverified),
            ("stale", &self.stale),
            ("busy", &self.busy),
        ]
        .map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
    }

    /// Says every minute what was dropped, so that a wrong clock, secret or address is seen at the gate, too: the centre hears nothing but
    /// silence.
    pub(super) async fn tell(self: Arc<Self>) {
        let mut told = self.dropped();
        loop {
            tokio::time::sleep(SUMMARY).await;
            let now = self.dropped();
            let (dropped, stale) = since(&told, &now);
            if !dropped.is_empty() {
                tracing::warn!(dropped, "orders from the centre dropped since the last such line");
            }
            if stale > 0 {
                tracing::warn!(
                    stale,
                    "orders came more than 5 minutes early or late by this machine's clock: is it right, and the centre's?"
                );
            }
            told = now;
        }
    }
}

/// In words, and how many were stale.
fn since(before: &Dropped, now: &Dropped) -> (String, u64) {
    let more = now
        .iter()
        .zip(before)
        .map(|((reason, now), (_, before))| (*reason, now - before));
    let more: Vec<_> = more.filter(|(_, count)| *count > 0).collect();
    let words: Vec<String> = more.iter().map(|(reason, count)| format!("{reason}={count}")).collect();
    let stale = more.iter().find(|(reason, _)| *reason == "stale");
    (words.join(" "), stale.map_or(0, |(_, count)| *count))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Mutex;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;
    use crate::listener::lock;

    /// Writes down what is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<String>>);

    impl Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut Line(&mut lock(&self.0)));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    struct Line<'a>(&'a mut String);

    impl Visit for Line<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            _ = writeln!(self.0, "{field}={value:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_dropped_is_told_each_minute_by_reason_and_only_once() {
        let log = Log::default();
        let _guard = tracing::subscriber::set_default(log.clone());
        let counts = Arc::<DynamicCounts>::default();
        let minute = async || {
            tokio::time::sleep(SUMMARY).await;
            std::mem::take(&mut *lock(&log.0))
        };
        let look = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(minute().await, "", "nothing was dropped");
            counts.stale.fetch_add(3, Ordering::Relaxed);
            counts.unknown_source.fetch_add(1, Ordering::Relaxed);
            counts.duplicates.fetch_add(9, Ordering::Relaxed);
            let told = minute().await;
            assert!(told.contains("unknown_source=1 stale=3"), "{told}");
            assert!(told.contains("this machine's clock"), "{told}");
            counts.unverified.fetch_add(2, Ordering::Relaxed);
            let told = minute().await;
            assert!(told.contains("unverified=2") && !told.contains("stale"), "{told}");
            assert_eq!(minute().await, "", "nothing more");
        };
        tokio::select! {
            () = Arc::clone(&counts).tell() => unreachable!(),
            () = look => {}
        }
    }
}
