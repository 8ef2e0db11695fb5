//! Which columns of a session are to be written.

use std::net::IpAddr;

use kavadam_domain::Timestamp;
use kavadam_domain::accounting::Meter;
use kavadam_domain::session::SessionState;

use crate::SessionRow;

/// Which columns of a session changed: groups that have statements of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Change(u8);

impl Change {
    /// What every report moves on.
    pub(super) const COUNTERS: Self = Self(1);
    /// What the counters stand on, and whom they count: a first report has it, and one after the gate's counters began at zero.
    pub(super) const FOOTING: Self = Self(16);
    /// What a report may move on.
    pub(super) const METERS: Self = Self(Self::COUNTERS.0 | Self::FOOTING.0);
    /// What it was granted, and how it stands; nothing that an index has.
    pub(super) const TERMS: Self = Self(2);
    /// That it ended, or did not after all.
    pub(super) const END: Self = Self(4);
    /// Anything else.
    pub(super) const REST: Self = Self(8);

    pub(super) const fn has(self, part: Self) -> bool {
        self.0 & part.0 == part.0
    }

    /// Nothing but these.
    pub(super) const fn is_within(self, whole: Self) -> bool {
        self.0 & !whole.0 == 0
    }
}

impl std::ops::BitOr for Change {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl SessionRow {
    /// What is to be written of this session, now that it is `other`.
    pub(super) fn change_to(&self, other: &Self) -> Change {
        let part = |is_changed: bool, part: Change| if is_changed { part } else { Change::default() };
        let change = part(self.counters() != other.counters(), Change::COUNTERS)
            | part(self.footing() != other.footing(), Change::FOOTING)
            | part(self.terms() != other.terms(), Change::TERMS)
            | part(self.end() != other.end(), Change::END)
            | part(self.rest() != other.rest(), Change::REST);
        // An end has the state in it; else it goes with the terms.
        if self.state != other.state && !change.has(Change::END) {
            return change | Change::TERMS;
        }
        change
    }

    fn counters(&self) -> impl PartialEq + use<> {
        (
            (self.up_octets, self.down_octets, self.pending_octets),
            (self.up_packets, self.down_packets, self.session_secs),
            (self.reported_at, self.heard_at),
        )
    }

    const fn footing(&self) -> (u64, u64, bool, Option<IpAddr>) {
        (self.base_up_octets, self.base_down_octets, self.is_wide, self.ip)
    }

    fn terms(&self) -> impl PartialEq + use<'_> {
        (
            (self.entitlement_id, self.lease_id, self.granted_octets),
            (self.is_throttled, self.started_at, self.ends_at),
            (self.order_number, self.order_attempts, self.trouble.as_deref()),
        )
    }

    fn end(&self) -> (Option<Timestamp>, Option<u32>, bool) {
        (self.ended_at, self.terminate_cause, self.is_presumed_ended)
    }

    fn rest(&self) -> impl PartialEq + use<'_> {
        (
            (self.class, self.subscriber_id, self.nas_id, self.site_id),
            (
                self.acct_session_id.as_deref(),
                self.mac,
                self.is_renewable,
                self.granted_at,
            ),
            (self.order_action, self.order_next_at, self.heard_from),
        )
    }

    /// Whether nothing has been heard of it since it was granted, nor asked of its gate.
    pub(super) fn is_fresh(&self) -> bool {
        let is_untold = self.meter() == Meter::default() && self.pending_octets == 0 && self.started_at.is_none();
        let is_unordered = self.order_action.is_none() && (self.order_number, self.order_attempts) == (0, 0);
        self.state == SessionState::Granted
            && is_untold
            && is_unordered
            && self.heard_at == self.granted_at
            && self.heard_from.is_none()
            && (self.up_packets, self.down_packets) == (0, 0)
            && self.end() == (None, None, false)
            && self.order_next_at.is_none()
            && self.trouble.is_none()
    }
}
