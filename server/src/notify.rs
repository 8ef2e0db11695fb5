//! What systemd wants to hear; without systemd, nothing.

use kavadam_sockets::notify;

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
