//! Filter-Id (RFC 2865 §5.11): by which name the gate knows where a session may not go besides.

use kavadam_domain::FilterName;
use kavadam_domain::name::NO_NAME;

use super::{Change, LimitsError};
use crate::wire::{Draft, Packet, attr};

pub(super) fn write(draft: &mut Draft, filter: Change<FilterName>) {
    match filter {
        Change::Keep => {}
        Change::Lift => _ = draft.text(attr::FILTER_ID, NO_NAME),
        Change::Set(name) => _ = draft.text(attr::FILTER_ID, name.as_str()),
    }
}

/// What is not understood must not be passed over: it keeps somebody from somewhere.
pub(super) fn read(packet: &Packet) -> Result<Change<FilterName>, LimitsError> {
    match packet.all_octets(attr::FILTER_ID).as_slice() {
        [] => Ok(Change::Keep),
        [only] if only == NO_NAME.as_bytes() => Ok(Change::Lift),
        [only] => {
            let name = std::str::from_utf8(only).ok().and_then(|text| text.parse().ok());
            name.map(Change::Set).ok_or(LimitsError::Filter)
        }
        _ => Err(LimitsError::SeveralFilters),
    }
}
