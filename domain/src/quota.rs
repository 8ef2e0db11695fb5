//! Quota arithmetic: what remains, what may be promised to a gate, what is charged.
//!
//! A quota belongs to a subscriber's entitlement for a period, whatever the devices and gates. Gates get **leases** out of it:
//! octets they may let through before they must ask again. The invariants, property-tested below:
//!
//! 1. used + promised ≤ allowance, as long as no gate lets more through than it was promised;
//! 2. what was used never decreases, and every reported octet is charged exactly once;
//! 3. what a gate was promised and did not use comes back when its last session under that lease ends.

/// Less than this left of a quota counts as used up: with segmentation offload one packet may be that large, and a session that
/// cannot pass a packet would hang rather than end.
pub const MINIMUM_GRANT_OCTETS: u64 = 65_536;

/// The smallest lease worth a round trip to the centre.
const LEAST_LEASE_OCTETS: u64 = 32 << 20;
/// A lease lasts about so long at the plan's full speed.
const LEASE_SECS: u64 = 20;
/// Longest time until a gate that only reports is heard again and has been told: two of the longest intervals that a vendor insists on.
const REPORTED_SECS: u64 = 600;

/// One subscriber's allowance for one period, with what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The plan's quota when the period began; `None`: unlimited.
    pub quota_octets: Option<u64>,
    /// Added in this period by vouchers and administrators.
    pub topped_up_octets: u64,
    /// Charged so far. May exceed the allowance where a gate overran its lease: the debt is kept, not forgiven.
    pub used_octets: u64,
    /// Promised to gates and not yet reported as used, over all leases.
    pub promised_octets: u64,
}

impl Allowance {
    /// Quota and top-ups together.
    #[must_use]
    pub fn total_octets(&self) -> Option<u64> {
        self.quota_octets
            .map(|quota| quota.saturating_add(self.topped_up_octets))
    }

    /// Not yet used, promised or not: what the citizen is shown.
    #[must_use]
    pub fn remaining_octets(&self) -> Option<u64> {
        self.total_octets().map(|total| total.saturating_sub(self.used_octets))
    }

    /// Neither used nor promised: what a gate may still get.
    #[must_use]
    pub fn free_octets(&self) -> Option<u64> {
        self.remaining_octets()
            .map(|left| left.saturating_sub(self.promised_octets))
    }

    /// Whether too little remains for a packet.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.remaining_octets().is_some_and(|left| left < MINIMUM_GRANT_OCTETS)
    }
}

/// What a gate was promised out of an allowance. Shared by a person's sessions at a gate that can share (RFC 4372), else of
/// one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lease {
    /// Promised since it was made.
    pub granted_octets: u64,
    /// Reported as used since.
    pub used_octets: u64,
}

impl Lease {
    /// Promised and not yet reported as used.
    #[must_use]
    pub const fn promised_octets(&self) -> u64 {
        self.granted_octets.saturating_sub(self.used_octets)
    }
}

/// How a gate takes its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// It asks again before the lease is used up: small leases, renewed.
    Renewable,
    /// It only takes a limit. With several devices allowed it holds half of what others do not, so that the next device is not locked
    /// out; asked for again before anything flowed, it gets nothing more. What it leaves comes back with its Stop.
    Fixed {
        /// Devices the plan allows.
        max_devices: u32,
    },
    /// It takes a limit at the login and none later: what [`Share::Fixed`] gives at first, and no more until the device comes again.
    Once {
        /// Devices the plan allows.
        max_devices: u32,
    },
    /// It takes no limit at all and only reports. It is promised what it can let through until it is heard again, so that the others get
    /// the rest; what flows beyond is a debt.
    Reported {
        /// It ends a session when told to. Where not, its sessions are short, so that the quota is looked at when the device returns.
        is_cut: bool,
    },
}

/// Octets to add to a lease now, or `None` if too little is free for a packet. `rate_octets_per_sec` is the plan's speed, both
/// directions together.
#[must_use]
pub fn plan_lease(allowance: &Allowance, lease: &Lease, rate_octets_per_sec: Option<u64>, share: Share) -> Option<u64> {
    let free = allowance.free_octets()?;
    let wanted = match share {
        Share::Once { .. } if lease.granted_octets > 0 => 0,
        Share::Renewable | Share::Reported { .. } => {
            let secs = if matches!(share, Share::Reported { .. }) {
                REPORTED_SECS
            } else {
                LEASE_SECS
            };
            let by_speed = rate_octets_per_sec.unwrap_or(u64::MAX).saturating_mul(secs);
            // Small quotas are split finer, so that one device does not take all of one.
            let by_quota = allowance.total_octets().unwrap_or(u64::MAX) / 4;
            let size = by_speed
                .max(LEAST_LEASE_OCTETS)
                .min(by_quota.max(MINIMUM_GRANT_OCTETS * 16));
            size.saturating_sub(lease.promised_octets())
        }
        Share::Fixed { max_devices: 0 | 1 } | Share::Once { max_devices: 0 | 1 } => free,
        Share::Fixed { .. } | Share::Once { .. } => {
            let held = lease.promised_octets();
            let size = (free.saturating_add(held) / 2).max(MINIMUM_GRANT_OCTETS);
            size.saturating_sub(held)
        }
    };
    // A remainder too small for a packet is given along rather than left over.
    let is_told_once = matches!(share, Share::Once { .. }) && lease.granted_octets > 0;
    let granted = if !is_told_once && free.saturating_sub(wanted) < MINIMUM_GRANT_OCTETS {
        free
    } else {
        wanted
    };
    (granted >= MINIMUM_GRANT_OCTETS || lease.promised_octets() >= MINIMUM_GRANT_OCTETS).then_some(granted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allowance(quota: u64, used: u64, promised: u64) -> Allowance {
        Allowance {
            quota_octets: Some(quota),
            topped_up_octets: 0,
            used_octets: used,
            promised_octets: promised,
        }
    }

    #[test]
    fn the_last_octets_are_given_along_rather_than_left_over() {
        let quota = (32 << 20) * 4;
        let left = (32 << 20) + MINIMUM_GRANT_OCTETS - 1;
        let granted = plan_lease(
            &allowance(quota, quota - left, 0),
            &Lease::default(),
            Some(1),
            Share::Renewable,
        );
        assert_eq!(granted, Some(left));
    }

    #[test]
    fn a_gate_that_cannot_ask_again_leaves_room_for_the_next_device() {
        let one = plan_lease(
            &allowance(100 << 20, 0, 0),
            &Lease::default(),
            None,
            Share::Fixed { max_devices: 2 },
        );
        assert_eq!(one, Some(50 << 20));
        let alone = plan_lease(
            &allowance(100 << 20, 0, 0),
            &Lease::default(),
            None,
            Share::Fixed { max_devices: 1 },
        );
        assert_eq!(alone, Some(100 << 20));
    }

    #[test]
    fn a_gate_that_cannot_ask_again_does_not_gather_octets_by_being_told_twice() {
        let held = Lease {
            granted_octets: 60 << 20,
            used_octets: 10 << 20,
        };
        let two = Share::Fixed { max_devices: 2 };
        assert_eq!(
            plan_lease(&allowance(110 << 20, 10 << 20, 50 << 20), &held, None, two),
            Some(0)
        );
        let used = Lease {
            used_octets: 50 << 20,
            ..held
        };
        assert_eq!(
            plan_lease(&allowance(110 << 20, 50 << 20, 10 << 20), &used, None, two),
            Some(20 << 20),
            "half of what is left is 30 MiB"
        );
    }

    #[test]
    fn a_gate_that_takes_a_limit_once_is_promised_nothing_more_until_the_device_comes_again() {
        let once = Share::Once { max_devices: 2 };
        let first = plan_lease(&allowance(100 << 20, 0, 0), &Lease::default(), None, once);
        assert_eq!(first, Some(50 << 20));
        let held = Lease {
            granted_octets: 50 << 20,
            used_octets: 30 << 20,
        };
        let topped_up = allowance(400 << 20, 30 << 20, 20 << 20);
        assert_eq!(plan_lease(&topped_up, &held, None, once), Some(0));
        let spent = Lease {
            used_octets: 50 << 20,
            ..held
        };
        assert_eq!(plan_lease(&allowance(400 << 20, 50 << 20, 0), &spent, None, once), None);
    }

    #[test]
    fn a_gate_that_only_reports_leaves_the_rest_to_others() {
        let quota = 10 << 30;
        let granted = plan_lease(
            &allowance(quota, 0, 0),
            &Lease::default(),
            Some(1 << 20),
            Share::Reported { is_cut: true },
        );
        assert_eq!(granted, Some(600 << 20), "ten minutes at full speed");
        let overrun = Lease {
            granted_octets: 1 << 20,
            used_octets: 2 << 20,
        };
        assert_eq!(
            plan_lease(
                &allowance(1 << 20, 2 << 20, 0),
                &overrun,
                None,
                Share::Reported { is_cut: true }
            ),
            None
        );
    }

    #[test]
    fn a_renewal_with_nothing_free_keeps_what_is_still_promised() {
        let lease = Lease {
            granted_octets: 1 << 20,
            used_octets: 0,
        };
        assert_eq!(
            plan_lease(&allowance(1 << 20, 0, 1 << 20), &lease, None, Share::Renewable),
            Some(0)
        );
        let spent = Lease {
            granted_octets: 1 << 20,
            used_octets: 1 << 20,
        };
        assert_eq!(
            plan_lease(&allowance(1 << 20, 1 << 20, 0), &spent, None, Share::Renewable),
            None
        );
    }

    /// What may happen to one person's leases at several gates.
    #[derive(Debug, Clone)]
    enum Event {
        Ask(usize),
        Use(usize, u64),
        End(usize),
        TopUp(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0usize..4).prop_map(Event::Ask),
            (0usize..4, 0u64..1 << 28).prop_map(|(gate, octets)| Event::Use(gate, octets)),
            (0usize..4).prop_map(Event::End),
            (0u64..1 << 28).prop_map(Event::TopUp),
        ]
    }

    proptest! {
        #[test]
        fn gates_that_keep_to_their_leases_never_exceed_the_quota_together(
            quota in 0u64..1 << 32, rate in prop::option::of(1u64..1 << 30), devices in 1u32..5,
            events in prop::collection::vec(event(), 0..200),
        ) {
            let mut all = allowance(quota, 0, 0);
            let mut leases = [Lease::default(); 4];
            let mut reported = 0;
            for event in events {
                let used_before = all.used_octets;
                match event {
                    Event::Ask(gate) => {
                        let share = match gate {
                            0 => Share::Renewable,
                            1 => Share::Reported { is_cut: true },
                            2 => Share::Once { max_devices: devices },
                            _ => Share::Fixed { max_devices: devices },
                        };
                        if let Some(more) = plan_lease(&all, &leases[gate], rate, share) {
                            leases[gate].granted_octets += more;
                            all.promised_octets += more;
                            prop_assert_eq!(plan_lease(&all, &leases[gate], rate, share), Some(0), "asked twice, given once");
                        }
                    }
                    Event::Use(gate, octets) => {
                        let passed = octets.min(leases[gate].promised_octets());
                        leases[gate].used_octets += passed;
                        all.used_octets += passed;
                        reported += passed;
                    }
                    Event::End(gate) => leases[gate] = Lease::default(),
                    Event::TopUp(octets) => all.topped_up_octets += octets,
                }
                all.promised_octets = leases.iter().map(Lease::promised_octets).sum();
                prop_assert!(all.used_octets + all.promised_octets <= quota + all.topped_up_octets);
                prop_assert!(all.used_octets >= used_before);
            }
            prop_assert_eq!(all.used_octets, reported);
        }
    }
}
