//! Limits as attributes.
//!
//! To CoovaChilli a limit of 0 means none, so a rate or quota of 0 travels as 1 and an arriving 0 counts as no limit.
//! Session-Timeout and Idle-Timeout mean what they say.

use kavadam_domain::Limits;

use crate::wire::{Draft, Packet, attr, vendor};

const REMAINING: &str = "kavadam.remaining=";
const RENEW: &str = "kavadam.renew=1";

/// Writes limits. `is_renewable` tells a gate of ours that octets, where they are limited, are a lease.
pub(crate) fn write(draft: &mut Draft, limits: &Limits, is_renewable: bool) {
    for (attribute, secs) in [
        (attr::SESSION_TIMEOUT, limits.session_secs),
        (attr::IDLE_TIMEOUT, limits.idle_secs),
        (attr::ACCT_INTERIM_INTERVAL, limits.interim_secs),
    ] {
        if let Some(secs) = secs {
            draft.u32(attribute, secs);
        }
    }
    for (attribute, rate) in [
        (vendor::WISPR_BANDWIDTH_MAX_UP, limits.up_bits_per_sec),
        (vendor::WISPR_BANDWIDTH_MAX_DOWN, limits.down_bits_per_sec),
    ] {
        if let Some(rate) = rate {
            // Beyond 4.29 Gbit/s the attribute has no number; the largest is as good as no limit.
            draft.vendor_u32(attribute, u32::try_from(rate.max(1)).unwrap_or(u32::MAX));
        }
    }
    if let Some(octets) = limits.max_total_octets {
        let (high, low) = split(octets.max(1));
        draft.vendor_u32(vendor::CHILLISPOT_MAX_TOTAL_OCTETS, low);
        if high > 0 {
            draft.vendor_u32(vendor::CHILLISPOT_MAX_TOTAL_GIGAWORDS, high);
        }
    }
    if let Some(octets) = limits.remaining_octets {
        draft.vendor(vendor::CHILLISPOT_CONFIG, format!("{REMAINING}{octets}").as_bytes());
    }
    if is_renewable {
        draft.vendor(vendor::CHILLISPOT_CONFIG, RENEW.as_bytes());
    }
}

/// Reads limits, and whether octets, where they are limited, are a lease.
pub(crate) fn read(packet: &Packet) -> (Limits, bool) {
    let config = packet.vendor_texts(vendor::CHILLISPOT_CONFIG);
    let rate = |attribute| packet.vendor_u32(attribute).filter(|rate| *rate > 0).map(u64::from);
    let low = packet.vendor_u32(vendor::CHILLISPOT_MAX_TOTAL_OCTETS);
    let high = packet.vendor_u32(vendor::CHILLISPOT_MAX_TOTAL_GIGAWORDS);
    let limits = Limits {
        max_total_octets: Some(join(high.unwrap_or(0), low.unwrap_or(0))).filter(|octets| *octets > 0),
        up_bits_per_sec: rate(vendor::WISPR_BANDWIDTH_MAX_UP),
        down_bits_per_sec: rate(vendor::WISPR_BANDWIDTH_MAX_DOWN),
        session_secs: packet.u32(attr::SESSION_TIMEOUT),
        idle_secs: packet.u32(attr::IDLE_TIMEOUT),
        interim_secs: packet.u32(attr::ACCT_INTERIM_INTERVAL),
        remaining_octets: config
            .iter()
            .find_map(|text| text.strip_prefix(REMAINING)?.parse().ok()),
    };
    (limits, config.iter().any(|text| text == RENEW))
}

/// Gigawords and the octets below them.
pub(crate) const fn split(octets: u64) -> (u32, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "the halves of 64 bits are 32 bits each")]
    ((octets >> 32) as u32, octets as u32)
}

/// The reverse of [`split`].
pub(crate) const fn join(gigawords: u32, octets: u32) -> u64 {
    (gigawords as u64) << 32 | octets as u64
}
