//! EAP, as far as it takes to refuse it (RFC 3579).

use crate::wire::{Packet, attr};

/// The identifier of the EAP packet in a request, which the EAP-Failure repeats (RFC 3748 §4.2): of the fragments in all its EAP-Message
/// attributes together. An EAP-Start (no octets at all, RFC 3579 §2.1) and a torn packet have none: 0. `None` if there is no EAP.
pub(super) fn identifier(packet: &Packet) -> Option<u8> {
    let fragments = packet.all_octets(attr::EAP_MESSAGE);
    let mut octets = fragments.iter().flatten().copied();
    (!fragments.is_empty()).then(|| octets.nth(1).unwrap_or_default())
}
