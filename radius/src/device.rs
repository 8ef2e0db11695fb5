//! How a device is named in every message about it: Calling-Station-Id and its addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use kavadam_domain::Mac;

use crate::wire::{Draft, Packet, attr};

/// Writes what tells the device apart.
pub(crate) fn write_device(
    draft: &mut Draft,
    mac: Option<Mac>,
    called_station_id: Option<&str>,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
) {
    if let Some(mac) = mac {
        draft.text(attr::CALLING_STATION_ID, &mac.to_string());
    }
    if let Some(id) = called_station_id {
        draft.text(attr::CALLED_STATION_ID, id);
    }
    if let Some(address) = ipv4 {
        draft.ipv4(attr::FRAMED_IP_ADDRESS, address);
    }
    if let Some(address) = ipv6 {
        draft.ipv6(attr::FRAMED_IPV6_ADDRESS, address);
    }
}

/// Calling-Station-Id, where it is a MAC, in any vendor's spelling.
pub(crate) fn mac_of(packet: &Packet) -> Option<Mac> {
    Mac::of_station(&packet.text(attr::CALLING_STATION_ID)?)
}

/// The device's IPv6 address: Framed-IPv6-Address (RFC 6911); else what Framed-IPv6-Prefix and Framed-Interface-Id (RFC 3162) make
/// together; else the prefix alone, if it is a device's own (64 bits or longer).
pub(crate) fn framed_ipv6_of(packet: &Packet) -> Option<Ipv6Addr> {
    if packet.has(attr::FRAMED_IPV6_ADDRESS) {
        return packet.ipv6(attr::FRAMED_IPV6_ADDRESS);
    }
    let value = packet.octets(attr::FRAMED_IPV6_PREFIX)?;
    let (&[_, length], bits) = value.split_first_chunk::<2>()?;
    let mut octets = [0; 16];
    octets.get_mut(..bits.len())?.copy_from_slice(bits);
    let prefix = Ipv6Net::new(octets.into(), length).ok()?.trunc();
    let interface = packet.octets(attr::FRAMED_INTERFACE_ID);
    let interface = interface.and_then(|id| id.try_into().ok()).map(u64::from_be_bytes);
    match interface {
        Some(id) if length <= 64 => Some((u128::from(prefix.network()) | u128::from(id)).into()),
        _ if length >= 64 => Some(prefix.network()),
        _ => None,
    }
}
