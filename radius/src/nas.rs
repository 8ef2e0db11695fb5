//! How a gate names itself in every request.

use std::net::IpAddr;

use crate::wire::{Draft, attr, vendor};

/// NAS-Port-Type Wireless-802.11 (RFC 2865 §5.41).
const WIRELESS_802_11: u32 = 19;

/// Who is asking.
#[derive(Debug, Clone, Default)]
pub struct NasIdentity {
    /// NAS-Identifier.
    pub identifier: String,
    /// NAS-IP-Address or NAS-IPv6-Address.
    pub address: Option<IpAddr>,
    /// WISPr-Location-ID.
    pub location_id: Option<String>,
    /// WISPr-Location-Name.
    pub location_name: Option<String>,
}

impl NasIdentity {
    pub(crate) fn write(&self, draft: &mut Draft) {
        draft.text(attr::NAS_IDENTIFIER, &self.identifier);
        match self.address {
            Some(IpAddr::V4(address)) => _ = draft.ipv4(attr::NAS_IP_ADDRESS, address),
            Some(IpAddr::V6(address)) => _ = draft.ipv6(attr::NAS_IPV6_ADDRESS, address),
            None => {}
        }
        draft.u32(attr::NAS_PORT_TYPE, WIRELESS_802_11);
        if let Some(id) = &self.location_id {
            draft.vendor(vendor::WISPR_LOCATION_ID, id.as_bytes());
        }
        if let Some(name) = &self.location_name {
            draft.vendor(vendor::WISPR_LOCATION_NAME, name.as_bytes());
        }
    }
}
