//! Limits as attributes.
//!
//! To CoovaChilli a limit of 0 means none, so a rate or quota of 0 travels as 1 and an arriving 0 counts as no limit. In an
//! Access-Accept, Session-Timeout and Idle-Timeout mean what they say. In a CoA-Request what is not mentioned stays as it is
//! (RFC 5176 §3.6, note 3), so there 0 lifts a limit of any kind, and a time of 0 travels as 1; a Filter-Id of `none` lifts a filter, a class of
//! that name the class.

mod class;
mod filter;

use kavadam_domain::{ClassName, FilterName, Limits};

use crate::wire::{Draft, Packet, WrongLength, attr, vendor};

const REMAINING: &str = "kavadam.remaining=";
const RENEW: &str = "kavadam.renew=1";

/// What becomes of one limit of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It holds no more.
    Lift,
    /// It is this from now on.
    Set(T),
}

/// What a CoA-Request changes. Fields mean what those of [`Limits`] do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitsPatch {
    /// Octets both ways from the session's start.
    pub max_total_octets: Change<u64>,
    /// Towards the internet, bit/s.
    pub up_bits_per_sec: Change<u64>,
    /// Towards the device, bit/s.
    pub down_bits_per_sec: Change<u64>,
    /// From the session's start to its end.
    pub session_secs: Change<u32>,
    /// Without a packet.
    pub idle_secs: Change<u32>,
    /// Between reports; lifted, the gate chooses.
    pub interim_secs: Change<u32>,
    /// Octets the person has left. Lifted whenever the octets change and nothing is said of this.
    pub remaining_octets: Change<u64>,
    /// Where it may not go besides.
    pub filter: Change<FilterName>,
    /// With whom it shares a full line.
    pub class: Change<ClassName>,
}

/// Why limits cannot be held. They are never taken for "no limit".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A value that cannot be read.
    #[error(transparent)]
    Malformed(#[from] WrongLength),
    /// Gigawords without the octets below them.
    #[error("ChilliSpot-Max-Total-Gigawords without ChilliSpot-Max-Total-Octets")]
    GigawordsAlone,
    /// A limit of one direction alone: the kernel's quota is one for both.
    #[error("ChilliSpot-Max-Input-Octets and -Max-Output-Octets cannot be held; send ChilliSpot-Max-Total-Octets")]
    OneWay,
    /// A name that no filter can have here.
    #[error(
        "Filter-Id is no name of a filter: send 1 to 32 lower case letters, digits and dashes, as in [gateway.filters]"
    )]
    Filter,
    /// A session has one filter.
    #[error("more than one Filter-Id: a session has one filter; send that alone, and put into it what the others hold")]
    SeveralFilters,
    /// A name that no class can have here, or more than one.
    #[error(
        "kavadam.class is no name of a class, or more than one: send 1 to 32 lower case letters, digits and dashes, as in [gateway.uplink.classes]"
    )]
    Class,
}

impl<T> Change<T> {
    fn to(limit: Option<T>) -> Self {
        limit.map_or(Self::Lift, Self::Set)
    }

    fn applied_to(self, old: Option<T>) -> Option<T> {
        match self {
            Self::Keep => old,
            Self::Lift => None,
            Self::Set(new) => Some(new),
        }
    }
}

/// Every limit anew, set or lifted. Where none is given for it, the interval of reports is left alone: it is no limit.
impl From<Limits> for LimitsPatch {
    fn from(limits: Limits) -> Self {
        Self {
            max_total_octets: Change::to(limits.max_total_octets),
            up_bits_per_sec: Change::to(limits.up_bits_per_sec),
            down_bits_per_sec: Change::to(limits.down_bits_per_sec),
            session_secs: Change::to(limits.session_secs),
            idle_secs: Change::to(limits.idle_secs),
            interim_secs: limits.interim_secs.map_or(Change::Keep, Change::Set),
            remaining_octets: Change::to(limits.remaining_octets),
            filter: Change::to(limits.filter),
            class: Change::to(limits.class),
        }
    }
}

impl LimitsPatch {
    /// The limits in force afterwards.
    #[must_use]
    pub fn applied_to(self, old: Limits) -> Limits {
        Limits {
            max_total_octets: self.max_total_octets.applied_to(old.max_total_octets),
            up_bits_per_sec: self.up_bits_per_sec.applied_to(old.up_bits_per_sec),
            down_bits_per_sec: self.down_bits_per_sec.applied_to(old.down_bits_per_sec),
            session_secs: self.session_secs.applied_to(old.session_secs),
            idle_secs: self.idle_secs.applied_to(old.idle_secs),
            interim_secs: self.interim_secs.applied_to(old.interim_secs),
            remaining_octets: self.remaining_octets.applied_to(old.remaining_octets),
            filter: self.filter.applied_to(old.filter),
            class: self.class.applied_to(old.class),
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn write(&self, draft: &mut Draft) {
        for (attribute, change) in [
            (attr::SESSION_TIMEOUT, self.session_secs),
            (attr::IDLE_TIMEOUT, self.idle_secs),
            (attr::ACCT_INTERIM_INTERVAL, self.interim_secs),
        ] {
            match change {
                Change::Keep => {}
                Change::Lift => _ = draft.u32(attribute, 0),
                Change::Set(secs) => _ = draft.u32(attribute, secs.max(1)),
            }
        }
        for (attribute, change) in [
            (vendor::WISPR_BANDWIDTH_MAX_UP, self.up_bits_per_sec),
            (vendor::WISPR_BANDWIDTH_MAX_DOWN, self.down_bits_per_sec),
        ] {
            match change {
                Change::Keep => {}
                Change::Lift => _ = draft.vendor_u32(attribute, 0),
                Change::Set(rate) => write_rate(draft, attribute, rate),
            }
        }
        match self.max_total_octets {
            Change::Keep => {}
            Change::Lift => write_octets(draft, 0),
            Change::Set(octets) => write_octets(draft, octets.max(1)),
        }
        if let Change::Set(octets) = self.remaining_octets {
            write_remaining(draft, octets);
        }
        class::write(draft, self.class);
        filter::write(draft, self.filter);
    }

    pub(crate) fn read(packet: &Packet) -> Result<Self, LimitsError> {
        refuse_one_way(packet)?;
        let secs = |attribute| Ok::<_, WrongLength>(changed(packet.try_u32(attribute)?));
        let rate = |attribute| Ok::<_, WrongLength>(changed(packet.try_vendor_u32(attribute)?.map(u64::from)));
        let low = packet.try_vendor_u32(vendor::CHILLISPOT_MAX_TOTAL_OCTETS)?;
        let high = packet.try_vendor_u32(vendor::CHILLISPOT_MAX_TOTAL_GIGAWORDS)?;
        let octets = match (low, high) {
            (None, None) => None,
            (Some(low), high) => Some(join(high.unwrap_or(0), low)),
            (None, Some(_)) => return Err(LimitsError::GigawordsAlone),
        };
        Ok(Self {
            max_total_octets: changed(octets),
            up_bits_per_sec: rate(vendor::WISPR_BANDWIDTH_MAX_UP)?,
            down_bits_per_sec: rate(vendor::WISPR_BANDWIDTH_MAX_DOWN)?,
            session_secs: secs(attr::SESSION_TIMEOUT)?,
            idle_secs: secs(attr::IDLE_TIMEOUT)?,
            interim_secs: secs(attr::ACCT_INTERIM_INTERVAL)?,
            remaining_octets: match (remaining(packet), octets) {
                (Some(left), _) => Change::Set(left),
                (None, Some(_)) => Change::Lift,
                (None, None) => Change::Keep,
            },
            filter: filter::read(packet)?,
            class: class::read(packet)?,
        })
    }
}

/// What a CoA-Request says of one limit.
fn changed<T: Default + PartialEq>(told: Option<T>) -> Change<T> {
    match told {
        None => Change::Keep,
        Some(value) if value == T::default() => Change::Lift,
        Some(value) => Change::Set(value),
    }
}

/// Writes limits into an Access-Accept. `is_renewable` tells a gate of ours that octets, where they are limited, are a lease.
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
            write_rate(draft, attribute, rate);
        }
    }
    if let Some(octets) = limits.max_total_octets {
        write_octets(draft, octets.max(1));
    }
    if let Some(octets) = limits.remaining_octets {
        write_remaining(draft, octets);
    }
    class::write(draft, limits.class.map_or(Change::Keep, Change::Set));
    filter::write(draft, limits.filter.map_or(Change::Keep, Change::Set));
    if is_renewable {
        draft.vendor(vendor::CHILLISPOT_CONFIG, RENEW.as_bytes());
    }
}

/// Beyond 4.29 Gbit/s the attribute has no number; the largest is as good as no limit.
fn write_rate(draft: &mut Draft, attribute: vendor::VendorAttr, rate: u64) {
    draft.vendor_u32(attribute, u32::try_from(rate.max(1)).unwrap_or(u32::MAX));
}

/// Both halves, always: a gate may keep a half that it is not told.
fn write_octets(draft: &mut Draft, octets: u64) {
    let (high, low) = split(octets);
    draft.vendor_u32(vendor::CHILLISPOT_MAX_TOTAL_OCTETS, low);
    draft.vendor_u32(vendor::CHILLISPOT_MAX_TOTAL_GIGAWORDS, high);
}

fn write_remaining(draft: &mut Draft, octets: u64) {
    draft.vendor(vendor::CHILLISPOT_CONFIG, format!("{REMAINING}{octets}").as_bytes());
}

/// Reads the limits of an Access-Accept, and whether the octets are a lease.
pub(crate) fn read(packet: &Packet) -> Result<(Limits, bool), LimitsError> {
    refuse_one_way(packet)?;
    let rate = |attribute| {
        let rate = packet.try_vendor_u32(attribute)?;
        Ok::<_, WrongLength>(rate.filter(|rate| *rate > 0).map(u64::from))
    };
    let low = packet.try_vendor_u32(vendor::CHILLISPOT_MAX_TOTAL_OCTETS)?;
    let high = packet.try_vendor_u32(vendor::CHILLISPOT_MAX_TOTAL_GIGAWORDS)?;
    let limits = Limits {
        max_total_octets: Some(join(high.unwrap_or(0), low.unwrap_or(0))).filter(|octets| *octets > 0),
        up_bits_per_sec: rate(vendor::WISPR_BANDWIDTH_MAX_UP)?,
        down_bits_per_sec: rate(vendor::WISPR_BANDWIDTH_MAX_DOWN)?,
        session_secs: packet.try_u32(attr::SESSION_TIMEOUT)?,
        idle_secs: packet.try_u32(attr::IDLE_TIMEOUT)?,
        interim_secs: packet.try_u32(attr::ACCT_INTERIM_INTERVAL)?,
        remaining_octets: remaining(packet),
        filter: filter::read(packet)?.applied_to(None),
        class: class::read_mildly(packet),
    };
    let config = packet.vendor_texts(vendor::CHILLISPOT_CONFIG);
    Ok((limits, config.iter().any(|text| text == RENEW)))
}

fn remaining(packet: &Packet) -> Option<u64> {
    let config = packet.vendor_texts(vendor::CHILLISPOT_CONFIG);
    config.iter().find_map(|text| remaining_in(text))
}

fn remaining_in(text: &str) -> Option<u64> {
    text.strip_prefix(REMAINING)?.parse().ok()
}

/// Whether a CoA-Request may carry this vendor's attribute: it says something about a limit.
pub(crate) fn is_change((attribute, value): (vendor::VendorAttr, &[u8])) -> bool {
    match attribute {
        vendor::WISPR_BANDWIDTH_MAX_UP
        | vendor::WISPR_BANDWIDTH_MAX_DOWN
        | vendor::CHILLISPOT_MAX_TOTAL_OCTETS
        | vendor::CHILLISPOT_MAX_TOTAL_GIGAWORDS => true,
        vendor::CHILLISPOT_CONFIG => {
            std::str::from_utf8(value).is_ok_and(|text| remaining_in(text).is_some() || class::is_told(text))
        }
        _ => false,
    }
}

fn refuse_one_way(packet: &Packet) -> Result<(), LimitsError> {
    for attribute in [
        vendor::CHILLISPOT_MAX_INPUT_OCTETS,
        vendor::CHILLISPOT_MAX_OUTPUT_OCTETS,
        vendor::CHILLISPOT_MAX_INPUT_GIGAWORDS,
        vendor::CHILLISPOT_MAX_OUTPUT_GIGAWORDS,
    ] {
        if packet.try_vendor_u32(attribute)?.is_some_and(|octets| octets > 0) {
            return Err(LimitsError::OneWay);
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests;
