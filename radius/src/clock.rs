//! The doors' clock.

use std::time::SystemTime;

use kavadam_domain::Timestamp;

/// Wall-clock time, read once for each datagram and passed on.
pub(crate) fn now() -> Timestamp {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(0) + since_1970
}
