//! A session and a pool as the core knows them.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use kavadam_domain::accounting::FreeOctets;
use kavadam_domain::{Limits, Mac, Timestamp};
use kavadam_firewall::{Meter, OpenSession, PoolKey, Slot};
use kavadam_radius::{AccountingKind, Counters};
use serde::{Deserialize, Serialize};

use super::{AskId, Now};
use crate::report::{Kind, Report};

/// A device as it stands before us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its hardware address.
    pub mac: Mac,
    /// Its IPv4 address, if known.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address, if that is how it came.
    pub ipv6: Option<Ipv6Addr>,
}

/// What must survive a restart: everything about a session that the kernel does not keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Acct-Session-Id; the kernel's label.
    pub id: String,
    /// The device.
    pub mac: Mac,
    /// Its address when it logged in, or since.
    pub ipv4: Option<Ipv4Addr>,
    /// Likewise.
    pub ipv6: Option<Ipv6Addr>,
    /// User-Name for accounting.
    pub user_name: Option<String>,
    /// Every Class of the grant.
    pub classes: Vec<Vec<u8>>,
    /// Chargeable-User-Identity: whose pool it is in.
    pub cui: Option<Vec<u8>>,
    /// The limits in force.
    pub limits: Limits,
    /// Octets, where they are limited, are a lease. Stays as the grant said: a CoA changes limits alone.
    pub is_renewable: bool,
    /// When it began.
    pub started: Timestamp,
    /// What the person had left when the limits were granted, and what the pool had used by then.
    pub left: Option<Left>,
    /// When it began, since the machine booted: tells its age after a restart, whatever the wall clock did.
    pub started_boot: Option<Duration>,
    /// What ended sessions of its pool were granted; the largest among the pool's sessions is true.
    pub retired_octets: u64,
    /// Its Stop is committed: it only has to be removed.
    pub is_stopped: bool,
}

/// See [`SessionRow::left`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Octets the person had left.
    pub octets: u64,
    /// Octets the pool had carried.
    pub at_used_octets: u64,
}

/// No device's radio is faster, in each direction.
const UNLIMITED_BITS_PER_SEC: u64 = 1_000_000_000;

/// How far an end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Online,
    /// To be stopped in the kernel, or stopped; at this instant its meters are final.
    Halting {
        cause: u32,
        final_at: Option<Instant>,
    },
}

#[derive(Debug)]
pub(super) struct Session {
    pub row: SessionRow,
    pub slot: Slot,
    pub pool: PoolKey,
    pub phase: Phase,
    /// Age at `base`; together they survive steps of the wall clock.
    pub age_at_base: Duration,
    pub base: Instant,
    pub ends_at: Option<Instant>,
    pub meter: Meter,
    pub reported: Meter,
    pub active_at: Instant,
    pub next_interim: Instant,
    /// Questions up to this one were put before the last order about its limits.
    pub ordered_after: u64,
}

impl Session {
    pub fn age(&self, now: Now) -> Duration {
        self.age_at_base + now.mono.saturating_duration_since(self.base)
    }

    pub const fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online)
    }

    /// Whether its time is over at this instant.
    pub fn is_overdue(&self, at: Instant) -> bool {
        self.ends_at.is_some_and(|end| end <= at)
    }

    /// Octets per second at most, both directions.
    pub fn top_octets_per_sec(&self) -> u64 {
        let limits = &self.row.limits;
        let of = |bits_per_sec: Option<u64>| bits_per_sec.unwrap_or(UNLIMITED_BITS_PER_SEC);
        of(limits.up_bits_per_sec).saturating_add(of(limits.down_bits_per_sec)) / 8
    }

    pub fn report(&self, kind: Kind, now: Now) -> Report {
        let secs = u32::try_from(self.age(now).as_secs()).unwrap_or(u32::MAX);
        self.row.report(kind, self.meter, secs, now.wall)
    }
}

impl SessionRow {
    /// Until its forced end.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let secs = self.limits.session_secs?;
        Some(Duration::from_secs(secs.max(1).into()))
    }

    /// As the kernel is to open it.
    pub(super) fn opens(&self, pool: PoolKey) -> OpenSession {
        OpenSession {
            mac: self.mac,
            ipv4: self.ipv4,
            pool,
            up_bits_per_sec: self.limits.up_bits_per_sec,
            down_bits_per_sec: self.limits.down_bits_per_sec,
            timeout: self.timeout(),
            filter: self.limits.filter,
            class: self.limits.class,
            label: self.id.as_bytes().to_vec(),
        }
    }

    /// A report with these meters.
    pub(crate) fn report(&self, kind: Kind, meter: Meter, session_secs: u32, at: Timestamp) -> Report {
        Report {
            kind,
            id: self.id.clone(),
            user_name: self.user_name.clone(),
            classes: self.classes.clone(),
            cui: self.cui.clone(),
            mac: Some(self.mac),
            ipv4: self.ipv4,
            ipv6: self.ipv6,
            ports: None,
            up_octets: meter.up_octets,
            down_octets: meter.down_octets,
            up_packets: meter.up_packets,
            down_packets: meter.down_packets,
            // Most sessions move nothing so, and need not say it.
            free: meter.free.filter(|free| *free != FreeOctets::default()),
            session_secs,
            at,
        }
    }
}

impl From<&Report> for Counters {
    fn from(report: &Report) -> Self {
        Self {
            up_octets: report.up_octets,
            down_octets: report.down_octets,
            up_packets: report.up_packets,
            down_packets: report.down_packets,
            session_secs: report.session_secs,
            has_gigawords: true,
        }
    }
}

impl From<Kind> for AccountingKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Start => Self::Start,
            Kind::Interim => Self::Interim,
            Kind::Stop(cause) => Self::Stop(cause),
            Kind::On => Self::On,
        }
    }
}

/// Sessions of one person here, and the kernel's quota that they share.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub cui: Option<Vec<u8>>,
    pub slots: Vec<Slot>,
    /// Of all its sessions, ended ones too: a renewal must not be decided before what any of them used is known.
    pub devices: BTreeSet<Mac>,
    /// Grants of sessions that have ended: they stay until the pool does.
    pub retired_octets: u64,
    /// Octets carried by sessions that have ended.
    pub spent_octets: u64,
    pub limit_octets: Option<u64>,
    /// The limit that the kernel holds it to; another while a deed is due.
    pub kernel_octets: Option<u64>,
    /// Octets that were free after the last grant: low water is a quarter of it.
    pub granted_free_octets: u64,
    pub asking: Option<Asking>,
    /// The server had nothing to add: ask again only when all is used up.
    pub is_last: bool,
    /// Not before this instant.
    pub retry_at: Option<Instant>,
    /// Used up and without an answer since.
    pub starved_since: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub ask: AskId,
    /// The pool was used up when the question was put.
    pub was_used_up: bool,
}
