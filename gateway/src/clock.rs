//! The doors' clocks, read once for each thing that happens and passed on.

use std::time::{Instant, SystemTime};

use kavadam_domain::Timestamp;

use crate::core::Now;

/// Wall-clock time.
pub(crate) fn now() -> Timestamp {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(0) + since_1970
}

/// Both clocks.
pub(crate) fn both() -> Now {
    Now {
        wall: now(),
        mono: Instant::now(),
    }
}
