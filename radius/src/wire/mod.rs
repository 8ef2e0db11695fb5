//! RADIUS packets on the wire (RFC 2865 §3, §5), and the only place that knows the codec crate.
//!
//! The codec names the attributes and judges in tests. Packets are read where they lie and written in one piece: the codec makes a buffer of
//! its own for each attribute. It lacks, or gets wrong, authenticators, Message-Authenticator,
//! hidden passwords, vendor attributes, packets of up to 4096 octets with padding behind them.

mod attribute;
mod crypto;
mod draft;
mod long;
mod packet;
mod stream;
mod tagged;
pub mod token;

pub use attribute::{Code, ErrorCause, attr, service, status, vendor};
pub use crypto::{Secret, chap_matches, chap_response, hide_password, random_authenticator, reveal_password};
pub use draft::{Draft, EncodeError};
pub use long::{ExtendedAttr, ExtendedSpace};
pub use packet::{Malformed, Packet, Unverified, WrongLength};
pub use stream::{PacketStream, announced_length};
pub use tagged::{MAX_TUNNEL_PASSWORD_OCTETS, Tag};

/// The shared secret of RADIUS/1.0 over TLS (RFC 6614 §2.3): known to all, since TLS protects the packets.
pub const RADSEC_SECRET: &[u8] = b"radsec";
/// Largest packet, octets (RFC 2865 §3).
pub const MAX_PACKET_OCTETS: usize = 4096;
/// Code, identifier, length and authenticator, octets.
pub(crate) const HEADER_OCTETS: usize = 20;
/// Largest attribute value, octets: the length octet counts itself and the type too.
pub const MAX_VALUE_OCTETS: usize = 253;
/// Largest User-Password, octets (RFC 2865 §5.2).
pub const MAX_PASSWORD_OCTETS: usize = 128;
