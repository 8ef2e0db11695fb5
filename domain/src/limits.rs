//! What a gate is told to hold a session to.

use serde::{Deserialize, Serialize};

use crate::{ClassName, FilterName};

/// Limits of one session, as a RADIUS server grants them and a gate enforces them. `None` means "no limit".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Octets in both directions together, counted from the session's start (CoovaChilli-Max-Total-Octets plus
    /// gigawords). A later grant for the same session replaces it with a new, again cumulative, figure.
    pub max_total_octets: Option<u64>,
    /// Towards the internet, bit/s (WISPr-Bandwidth-Max-Up).
    pub up_bits_per_sec: Option<u64>,
    /// Towards the device, bit/s (WISPr-Bandwidth-Max-Down).
    pub down_bits_per_sec: Option<u64>,
    /// From the session's start to its forced end, seconds (Session-Timeout, RFC 2865 §5.27).
    pub session_secs: Option<u32>,
    /// Without a packet either way, seconds (Idle-Timeout, RFC 2865 §5.28).
    pub idle_secs: Option<u32>,
    /// Between accounting reports, seconds (Acct-Interim-Interval, RFC 2869 §5.16).
    pub interim_secs: Option<u32>,
    /// Octets the person still has in the whole period, leased or not, when this was granted; for showing only
    /// (RFC 8908 `bytes-remaining`). Travels as CoovaChilli-Config `kavadam.remaining=N`.
    pub remaining_octets: Option<u64>,
    /// Where it may not go besides, as the gate says of this name (Filter-Id, RFC 2865 §5.11).
    #[serde(default)]
    pub filter: Option<FilterName>,
    /// With whom it shares a full line, as the gate says of this name. Travels as CoovaChilli-Config `kavadam.class=NAME`.
    #[serde(default)]
    pub class: Option<ClassName>,
}
