//! What systemd wants to hear; without systemd, nothing.

use std::time::Duration;

use kavadam_sockets::notify;

/// How long it waits for a sign of life (`WatchdogSec=`, `sd_watchdog_enabled(3)`); `None`: it does not.
pub fn watchdog() -> Option<Duration> {
    let micros = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    Some(Duration::from_micros(micros))
}

/// Every listener is bound.
pub fn ready() {
    notify("READY=1");
}

/// Still alive.
pub fn alive() {
    notify("WATCHDOG=1");
}

/// On the way out.
pub fn stopping() {
    notify("STOPPING=1");
}
