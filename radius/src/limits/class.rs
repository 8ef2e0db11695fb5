//! The shaping class, as text for the gate (CoovaChilli-Config): no standard has an attribute for it, and no vendor's number is ours. Class (RFC 2865
//! §5.25) is something else, which a gate gives back unread.

use kavadam_domain::ClassName;
use kavadam_domain::name::NO_NAME;

use super::{Change, LimitsError};
use crate::wire::{Draft, Packet, vendor};

const CLASS: &str = "kavadam.class=";

pub(super) fn write(draft: &mut Draft, class: Change<ClassName>) {
    let name = match &class {
        Change::Keep => return,
        Change::Lift => NO_NAME,
        Change::Set(name) => name.as_str(),
    };
    draft.vendor(vendor::CHILLISPOT_CONFIG, format!("{CLASS}{name}").as_bytes());
}

pub(super) fn read(packet: &Packet) -> Result<Change<ClassName>, LimitsError> {
    let config = packet.vendor_texts(vendor::CHILLISPOT_CONFIG);
    let told: Vec<&str> = config.iter().filter_map(|text| text.strip_prefix(CLASS)).collect();
    match told.as_slice() {
        [] => Ok(Change::Keep),
        [NO_NAME] => Ok(Change::Lift),
        [only] => only.parse().map(Change::Set).map_err(|_| LimitsError::Class),
        _ => Err(LimitsError::Class),
    }
}

/// Of an Access-Accept. Nobody is kept offline for want of a class: without one a session shares the line as most do.
pub(super) fn read_mildly(packet: &Packet) -> Option<ClassName> {
    match read(packet) {
        Ok(change) => change.applied_to(None),
        Err(error) => {
            tracing::warn!(%error, "an Access-Accept has a class that cannot be one, and the session is in none");
            None
        }
    }
}

/// Whether a text for the gate is about the class.
pub(super) fn is_told(text: &str) -> bool {
    text.starts_with(CLASS)
}
