//! RADIUS over TLS, called `RadSec`: RFC 6613 (packets in a stream), RFC 6614 (TLS), RFC 9765 (RADIUS/1.1).
//!
//! One connection carries everything between a gate and a server: logins, accounting, Status-Server, and orders the other way. Both ends
//! show certificates, and TLS 1.3 is the least; RADIUS/1.0 and 1.1 are told apart by ALPN. TLS keys agreed on beforehand (PSK) are not
//! offered: rustls knows them for resumption alone.
//!
//! - [`TlsFiles`]: certificates, read again when they change. [`CertificateName`](kavadam_domain::CertificateName)s out of a peer's.
//! - `pipe`: packets out of a connection and into it, each with its deadline.
//! - `flights`: questions on their way over a connection.
//! - `Link`: the gate's end, which is kept up. `GateLinks`: the centre's, for orders down the gates' connections.

mod files;
pub(crate) mod flights;
#[cfg(feature = "server")]
mod gate_links;
#[cfg(feature = "client")]
mod link;
#[cfg(feature = "server")]
pub(crate) mod names;
#[cfg(feature = "server")]
pub(crate) mod papers;
pub(crate) mod pipe;

use std::str::FromStr;
use std::time::Duration;

pub(crate) use files::Kept;
#[cfg(feature = "server")]
pub(crate) use files::ServerSide;
pub use files::{Expiry, TlsError, TlsFiles};
#[cfg(feature = "server")]
pub(crate) use gate_links::GateLink;
#[cfg(feature = "server")]
pub use gate_links::GateLinks;
#[cfg(feature = "client")]
pub use link::{Link, LinkConfig, LinkTimes};
#[cfg(feature = "client")]
pub(crate) use link::{LinkError, OrderDesk};

/// At either end of a connection the other end's system may say nothing to what was sent for so long. Enough for a way that is broken for a
/// moment; then it is a dead end, down which no more orders are sent.
pub(crate) const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// The packets of UDP, signed with the secret "radsec" (RFC 6614).
    V1_0,
    /// RFC 9765.
    V1_1,
}

/// What may be spoken (RFC 9765 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versions {
    /// RADIUS/1.1 with whoever can, RADIUS/1.0 with the others.
    #[default]
    Any,
    /// RADIUS/1.0 alone.
    Only1_0,
    /// RADIUS/1.1 alone: a peer without ALPN is refused.
    Only1_1,
}

/// No version of RADIUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use any, 1.0 or 1.1")]
pub struct UnknownVersion;

impl FromStr for Versions {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        match text {
            "any" => Ok(Self::Any),
            "1.0" => Ok(Self::Only1_0),
            "1.1" => Ok(Self::Only1_1),
            _ => Err(UnknownVersion),
        }
    }
}

const ALPN_1_0: &[u8] = b"radius/1.0";
const ALPN_1_1: &[u8] = b"radius/1.1";

impl Versions {
    /// For ALPN, the best first.
    fn protocols(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Any => &[ALPN_1_1, ALPN_1_0],
            Self::Only1_0 => &[ALPN_1_0],
            Self::Only1_1 => &[ALPN_1_1],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }

    /// What ALPN came to; without it RADIUS/1.0. `None` if that may not be spoken.
    pub(crate) fn agreed(self, protocol: Option<&[u8]>) -> Option<Version> {
        match (self, protocol) {
            (Self::Any | Self::Only1_1, Some(ALPN_1_1)) => Some(Version::V1_1),
            (Self::Any | Self::Only1_0, None | Some(ALPN_1_0)) => Some(Version::V1_0),
            _ => None,
        }
    }
}
