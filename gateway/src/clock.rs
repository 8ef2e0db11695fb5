//! The doors' clocks, read once for each thing that happens and passed on.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use kavadam_domain::Timestamp;

use crate::core::Now;

/// Wall-clock time.
pub(crate) fn now() -> Timestamp {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(0) + since_1970
}

/// All clocks.
pub(crate) fn both() -> Now {
    let mono = Instant::now();
    Now {
        wall: now(),
        mono,
        boot: since_boot(mono),
    }
}

/// Asked of the kernel once, then counted on: a gateway does not sleep.
fn since_boot(mono: Instant) -> Option<Duration> {
    static FIRST: OnceLock<Option<(Duration, Instant)>> = OnceLock::new();
    let read = || {
        let text = std::fs::read_to_string("/proc/uptime").ok()?;
        let secs: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
        Some((Duration::try_from_secs_f64(secs).ok()?, Instant::now()))
    };
    let (uptime, at) = (*FIRST.get_or_init(read))?;
    Some(uptime + mono.saturating_duration_since(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_since_the_boot_runs_with_the_others() {
        let first = both();
        std::thread::sleep(Duration::from_millis(20));
        let second = both();
        assert!(first.boot.unwrap() > Duration::ZERO);
        assert!(second.boot.unwrap() >= first.boot.unwrap() + Duration::from_millis(20));
    }
}
