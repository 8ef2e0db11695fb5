//! What systemd wants to hear (`sd_notify(3)`); without systemd, nothing.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(200);

fn tell(message: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let sent = UnixDatagram::unbound().and_then(|socket| {
        // A manager that does not read must not hold us up.
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.send_to(message.as_bytes(), path)
    });
    if let Err(error) = sent {
        tracing::debug!(%error, "systemd does not hear us");
    }
}

/// Every listener is bound.
pub fn ready() {
    tell("READY=1");
}

/// Still alive.
pub fn alive() {
    tell("WATCHDOG=1");
}

/// On the way out.
pub fn stopping() {
    tell("STOPPING=1");
}
