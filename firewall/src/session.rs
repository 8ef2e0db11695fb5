//! What a session is to the kernel: numbers, limits, meters, and the few octets by which a new process knows it again.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use kavadam_domain::accounting::FreeOctets;
use kavadam_domain::{ClassName, FilterName, Mac};

use crate::FirewallError;

/// The number of a session in the kernel, its packets' mark. Never used twice, as old connections keep their mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}", self.0)
    }
}

/// A quota that sessions share; the kernel's object is called `p` and this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey(pub u32);

impl PoolKey {
    /// The object's name in the kernel.
    #[must_use]
    pub fn name(self) -> String {
        format!("p{}", self.0)
    }

    /// The pool of an object's name; `None` if it is not one of ours.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let key = Self(name.strip_prefix('p')?.parse().ok()?);
        (key.name() == name).then_some(key)
    }
}

impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {}", self.0)
    }
}

/// A session to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// The device.
    pub mac: Mac,
    /// Its IPv4 address; `None` for a device with IPv6 only.
    pub ipv4: Option<Ipv4Addr>,
    /// The quota it draws on, from [`crate::Gate::create_pool`] or another session of the same person.
    pub pool: PoolKey,
    /// Towards the internet, bit/s, at least 8. `None`: no limit.
    pub up_bits_per_sec: Option<u64>,
    /// Towards the device, bit/s, at least 8. `None`: no limit.
    pub down_bits_per_sec: Option<u64>,
    /// From now to the forced end, which the kernel carries out even if we are dead. `None`: no end.
    pub timeout: Option<Duration>,
    /// Where it may not go besides: one of [`crate::Layout::filters`].
    pub filter: Option<FilterName>,
    /// With whom it shares a full line: one of [`crate::Layout::classes`]. One that is not there is as none.
    pub class: Option<ClassName>,
    /// Given back by [`crate::Gate::adopt`], at most 160 octets. `nft list` shows it as the comment of a `total` element.
    pub label: Vec<u8>,
}

/// What a session is held to from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionLimits {
    /// As [`OpenSession::up_bits_per_sec`].
    pub up_bits_per_sec: Option<u64>,
    /// As [`OpenSession::down_bits_per_sec`].
    pub down_bits_per_sec: Option<u64>,
    /// As [`OpenSession::timeout`].
    pub timeout: Option<Duration>,
    /// As [`OpenSession::filter`].
    pub filter: Option<FilterName>,
    /// As [`OpenSession::class`].
    pub class: Option<ClassName>,
}

/// What a session has carried, from its start. Refused packets are not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meter {
    /// Octets of IP packets towards the internet.
    pub up_octets: u64,
    /// IP packets towards the internet.
    pub up_packets: u64,
    /// Octets of IP packets towards the device.
    pub down_octets: u64,
    /// IP packets towards the device.
    pub down_packets: u64,
    /// What it has moved besides, free of charge. `None`: it is not counted, since nothing is free at this gate.
    pub free: Option<FreeOctets>,
}

impl Meter {
    /// Both directions together: what counts against the quota.
    #[must_use]
    pub const fn total_octets(&self) -> u64 {
        self.up_octets.saturating_add(self.down_octets)
    }
}

/// A session found in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedSession {
    /// Its number, as before.
    pub slot: Slot,
    /// The device.
    pub mac: Mac,
    /// Its IPv4 address, if it has one.
    pub ipv4: Option<Ipv4Addr>,
    /// As given to [`crate::Gate::open`].
    pub label: Vec<u8>,
    /// Where it may not go besides, whether the gate still knows that filter or not.
    pub filter: Option<FilterName>,
    /// With whom it shares a full line, whether the gate still knows that class or not.
    pub class: Option<ClassName>,
    /// Whether it still flows, and until when.
    pub state: SessionState,
    /// What it has carried since it was opened.
    pub meter: Meter,
    /// The quota it draws on.
    pub pool: PoolKey,
    /// That quota's limit, octets since the pool was made.
    pub pool_limit_octets: Option<u64>,
    /// Octets that the pool's sessions, past ones too, have carried.
    pub pool_used_octets: u64,
}

/// Whether a session's packets pass, quota aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// They do.
    Online {
        /// Time to the forced end; `None` if there is none.
        remaining: Option<Duration>,
    },
    /// Its time ran out while nobody looked; it waits to be closed, its meters intact.
    Expired,
}

/// Most octets of a session label.
pub(crate) const LABEL_MAX_OCTETS: usize = 160;

/// What we keep in an element's user data: type, length, value, as nft does. Type 0 is the comment that nft shows, the
/// others are ours and nft passes over them.
const LABEL: u8 = 0;
const HARDWARE: u8 = 100;
const ADDRESS: u8 = 101;
const FILTER: u8 = 102;
const CLASS: u8 = 103;

/// What of a session is kept beside its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub mac: Mac,
    pub ipv4: Option<Ipv4Addr>,
    pub filter: Option<FilterName>,
    pub class: Option<ClassName>,
    pub label: Vec<u8>,
}

/// The device, its address, filter, class and label in the form kept in the kernel.
pub(crate) fn remember(
    mac: Mac,
    ipv4: Option<Ipv4Addr>,
    (filter, class): (Option<FilterName>, Option<ClassName>),
    label: &[u8],
) -> Result<Vec<u8>, FirewallError> {
    if label.len() > LABEL_MAX_OCTETS {
        return Err(FirewallError::LabelTooLong(label.len()));
    }
    let mut out = Vec::with_capacity(label.len() + 18);
    let mut part = |kind, value: &[u8], end: &[u8]| {
        out.push(kind);
        out.push(u8::try_from(value.len() + end.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(value);
        out.extend_from_slice(end);
    };
    part(LABEL, label, &[0]);
    part(HARDWARE, &mac.0, &[]);
    if let Some(ipv4) = ipv4 {
        part(ADDRESS, &ipv4.octets(), &[]);
    }
    if let Some(filter) = filter {
        part(FILTER, filter.as_str().as_bytes(), &[]);
    }
    if let Some(class) = class {
        part(CLASS, class.as_str().as_bytes(), &[]);
    }
    Ok(out)
}

/// Reads back what [`remember`] wrote; `None` if it is not that.
pub(crate) fn recall(mut bytes: &[u8]) -> Option<Remembered> {
    let (mut mac, mut ipv4, mut label) = (None, None, None);
    let (mut filter, mut class) = (None, None);
    while let [kind, len, rest @ ..] = bytes {
        let (value, after) = rest.split_at_checked(usize::from(*len))?;
        match *kind {
            LABEL => label = Some(value.strip_suffix(&[0])?.to_vec()),
            HARDWARE => mac = Some(Mac(value.try_into().ok()?)),
            ADDRESS => ipv4 = Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?)),
            FILTER => filter = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
            CLASS => class = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
            _ => {}
        }
        bytes = after;
    }
    Some(Remembered {
        mac: mac?,
        ipv4,
        filter,
        class,
        label: label?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn recalls_what_it_remembered(
            mac: [u8; 6],
            ip: Option<u32>,
            filter in proptest::option::of("[a-z0-9-]{1,32}"),
            class in proptest::option::of("[a-z0-9-]{1,32}"),
            label in proptest::collection::vec(any::<u8>(), 0..=160),
        ) {
            let (ipv4, mac) = (ip.map(Ipv4Addr::from), Mac(mac));
            let filter = filter.and_then(|name| name.parse().ok());
            let class = class.and_then(|name| name.parse().ok());
            let bytes = remember(mac, ipv4, (filter, class), &label).unwrap();
            // The kernel's NFT_USERDATA_MAXLEN.
            prop_assert!(bytes.len() <= 256);
            prop_assert_eq!(recall(&bytes), Some(Remembered { mac, ipv4, filter, class, label }));
        }

        #[test]
        fn recalling_hostile_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = recall(&bytes);
        }

        #[test]
        fn pool_names_lead_back_to_the_pool(number: u32) {
            prop_assert_eq!(PoolKey::from_name(&PoolKey(number).name()), Some(PoolKey(number)));
        }
    }

    #[test]
    fn refuses_a_label_the_kernel_could_not_keep() {
        assert!(matches!(
            remember(Mac([0; 6]), None, (None, None), &[1; 161]),
            Err(FirewallError::LabelTooLong(161))
        ));
    }

    #[test]
    fn knows_foreign_object_names() {
        for name in ["", "p", "q1", "p-1", "p01", "p+1", "p4294967296"] {
            assert_eq!(PoolKey::from_name(name), None, "{name}");
        }
    }
}
