//! The decision: may this device be online now, and within what limits?

use std::time::Duration;

use crate::plan::{AfterQuota, InvalidPlan, Plan};
use crate::quota::{Allowance, Lease, Share, plan_lease};
use crate::{Limits, Reason, Timestamp};

/// Between accounting reports, unless the gate is told otherwise, seconds.
pub const INTERIM_SECS: u32 = 60;

/// A session whose gate neither stops at a quota nor ends it when told to ends by itself after so long: the device returns, and the quota
/// is looked at.
const UNCUT: Duration = Duration::from_mins(30);

/// Everything the decision depends on, loaded in one transaction.
#[derive(Debug, Clone)]
pub struct Snapshot<'a> {
    /// The subscriber is blocked.
    pub is_blocked: bool,
    /// The site is open.
    pub is_site_open: bool,
    /// The plan in force.
    pub plan: &'a Plan,
    /// The present period's allowance.
    pub allowance: Allowance,
    /// What the gate was promised so far, for this session or the person's sessions there.
    pub lease: Lease,
    /// The session's own part of what was promised, cumulative from its start; 0 for a new one.
    pub session_granted_octets: u64,
    /// When the session began; `None` for a new one.
    pub session_started_at: Option<Timestamp>,
    /// Other devices of the subscriber online now.
    pub other_devices: u32,
    /// How the gate takes its share.
    pub share: Share,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Online within these limits.
    Accept {
        /// What to tell the gate.
        limits: Limits,
        /// Octets to add to the lease and to the session's part of it.
        leased_octets: u64,
    },
    /// Not now.
    Reject(Reason),
}

/// Decides a login, a return or a renewal.
///
/// # Errors
/// [`InvalidPlan`] if the plan names an unknown time zone, which a validated plan never does.
pub fn decide(snapshot: &Snapshot<'_>, now: Timestamp) -> Result<Verdict, InvalidPlan> {
    let plan = snapshot.plan;
    if snapshot.is_blocked {
        return Ok(Verdict::Reject(Reason::Blocked));
    }
    if !snapshot.is_site_open {
        return Ok(Verdict::Reject(Reason::SiteClosed));
    }
    if snapshot.session_started_at.is_none() && snapshot.other_devices >= plan.max_devices {
        return Ok(Verdict::Reject(Reason::TooManyDevices(plan.max_devices)));
    }
    let period_left = plan.window(now)?.end.map(|end| end.since(now));
    let limits = Limits {
        max_total_octets: None,
        up_bits_per_sec: plan.up_bits_per_sec,
        down_bits_per_sec: plan.down_bits_per_sec,
        session_secs: session_secs(snapshot, period_left, now),
        idle_secs: plan.idle_secs,
        interim_secs: Some(INTERIM_SECS),
        remaining_octets: snapshot.allowance.remaining_octets(),
        filter: plan.filter,
        class: plan.class,
    };
    if snapshot.allowance.total_octets().is_none() {
        return Ok(Verdict::Accept {
            limits,
            leased_octets: 0,
        });
    }
    let rate = plan
        .up_bits_per_sec
        .zip(plan.down_bits_per_sec)
        .map(|(up, down)| (up + down) / 8);
    match (
        plan_lease(&snapshot.allowance, &snapshot.lease, rate, snapshot.share),
        plan.after_quota,
    ) {
        (Some(leased_octets), _) => {
            let total = snapshot.session_granted_octets.saturating_add(leased_octets);
            let limits = Limits {
                max_total_octets: Some(total),
                ..limits
            };
            Ok(Verdict::Accept { limits, leased_octets })
        }
        // Used up, or in the hands of other gates: slowly either way.
        (None, AfterQuota::Throttle { bits_per_sec }) => {
            let slowed = |plan: Option<u64>| Some(plan.map_or(bits_per_sec, |rate| rate.min(bits_per_sec)));
            Ok(Verdict::Accept {
                limits: Limits {
                    up_bits_per_sec: slowed(limits.up_bits_per_sec),
                    down_bits_per_sec: slowed(limits.down_bits_per_sec),
                    ..limits
                },
                leased_octets: 0,
            })
        }
        (None, AfterQuota::Close) => Ok(Verdict::Reject(Reason::QuotaUsedUp(period_left))),
    }
}

/// Never past the plan's time, never past the period: octets belong to the period in which they flowed.
fn session_secs(snapshot: &Snapshot<'_>, period_left: Option<Duration>, now: Timestamp) -> Option<u32> {
    let started_at = snapshot.session_started_at.unwrap_or(now);
    // Session-Timeout counts from the session's start, also in a renewal.
    let elapsed = now.since(started_at);
    let by_period = period_left.map(|left| whole_secs_up(left + elapsed));
    let is_metered = snapshot.allowance.total_octets().is_some();
    let is_beyond_reach = is_metered && snapshot.share == Share::Reported { is_cut: false };
    let by_gate = is_beyond_reach.then(|| whole_secs_up(UNCUT + elapsed));
    [snapshot.plan.session_secs, by_period, by_gate]
        .into_iter()
        .flatten()
        .min()
}

fn whole_secs_up(span: Duration) -> u32 {
    u32::try_from(span.as_micros().div_ceil(1_000_000))
        .unwrap_or(u32::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PlanId;
    use crate::plan::Period;
    use crate::quota::MINIMUM_GRANT_OCTETS;

    const GB: u64 = 1_000_000_000;

    fn plan() -> Plan {
        Plan {
            id: PlanId(1),
            name: "citizen".into(),
            quota_octets: Some(GB),
            period: Period::Day,
            time_zone: "Asia/Kolkata".into(),
            down_bits_per_sec: Some(10_000_000),
            up_bits_per_sec: Some(10_000_000),
            session_secs: Some(14_400),
            idle_secs: Some(600),
            max_devices: 2,
            remembered_days: 14,
            after_quota: AfterQuota::Close,
            filter: None,
            class: None,
        }
    }

    fn snapshot(plan: &Plan, used_octets: u64, promised_octets: u64) -> Snapshot<'_> {
        Snapshot {
            is_blocked: false,
            is_site_open: true,
            plan,
            allowance: Allowance {
                quota_octets: plan.quota_octets,
                topped_up_octets: 0,
                used_octets,
                promised_octets,
            },
            lease: Lease::default(),
            session_granted_octets: 0,
            session_started_at: None,
            other_devices: 0,
            share: Share::Renewable,
        }
    }

    fn noon() -> Timestamp {
        Timestamp(
            "2026-11-24T06:30:00Z"
                .parse::<jiff::Timestamp>()
                .unwrap()
                .as_microsecond(),
        )
    }

    fn accepted(verdict: Verdict) -> (Limits, u64) {
        match verdict {
            Verdict::Accept { limits, leased_octets } => (limits, leased_octets),
            Verdict::Reject(reason) => panic!("refused: {reason:?}"),
        }
    }

    #[test]
    fn a_citizen_gets_the_plans_speed_and_a_lease_of_its_octets() {
        let plan = plan();
        let (limits, leased) = accepted(decide(&snapshot(&plan, 0, 0), noon()).unwrap());
        assert_eq!(limits.down_bits_per_sec, Some(10_000_000));
        assert_eq!(limits.max_total_octets, Some(leased));
        assert_eq!(leased, 50_000_000, "20 seconds of 10 Mbit/s each way");
        assert_eq!(limits.remaining_octets, Some(GB));
    }

    #[test]
    fn a_plans_filter_holds_whether_the_quota_is_used_up_or_not() {
        let filter = Some("minors".parse().unwrap());
        let plan = Plan {
            filter,
            after_quota: AfterQuota::Throttle { bits_per_sec: 256_000 },
            ..plan()
        };
        for used in [0, GB] {
            let (limits, _) = accepted(decide(&snapshot(&plan, used, 0), noon()).unwrap());
            assert_eq!(limits.filter, filter);
        }
    }

    #[test]
    fn a_session_ends_with_its_day_if_the_day_ends_first() {
        let plan = plan();
        let late = noon() + Duration::from_hours(11);
        let (limits, _) = accepted(decide(&snapshot(&plan, 0, 0), late).unwrap());
        assert_eq!(limits.session_secs, Some(3_600));
        let mut renewal = snapshot(&plan, 0, 0);
        renewal.session_started_at = Some(late - Duration::from_hours(1));
        let (limits, _) = accepted(decide(&renewal, late).unwrap());
        assert_eq!(limits.session_secs, Some(7_200), "counted from the session's start");
    }

    #[test]
    fn a_session_that_nobody_can_end_is_short_where_there_is_a_quota() {
        let plan = plan();
        let uncut = Share::Reported { is_cut: false };
        let mut first = snapshot(&plan, 0, 0);
        first.share = uncut;
        let (limits, _) = accepted(decide(&first, noon()).unwrap());
        assert_eq!(limits.session_secs, Some(1_800));
        first.share = Share::Reported { is_cut: true };
        let (limits, _) = accepted(decide(&first, noon()).unwrap());
        assert_eq!(limits.session_secs, Some(14_400));
        let unlimited = Plan {
            quota_octets: None,
            ..plan.clone()
        };
        let free = Snapshot {
            share: uncut,
            ..snapshot(&unlimited, 0, 0)
        };
        let (limits, _) = accepted(decide(&free, noon()).unwrap());
        assert_eq!(limits.session_secs, Some(14_400));
    }

    #[test]
    fn a_used_up_quota_closes_and_says_when_to_come_back() {
        let plan = plan();
        let verdict = decide(&snapshot(&plan, GB - MINIMUM_GRANT_OCTETS + 1, 0), noon()).unwrap();
        assert_eq!(
            verdict,
            Verdict::Reject(Reason::QuotaUsedUp(Some(Duration::from_hours(12))))
        );
    }

    #[test]
    fn a_used_up_quota_slows_where_the_plan_says_so() {
        let plan = Plan {
            after_quota: AfterQuota::Throttle { bits_per_sec: 256_000 },
            ..plan()
        };
        let (limits, leased) = accepted(decide(&snapshot(&plan, GB, 0), noon()).unwrap());
        assert_eq!(
            (limits.up_bits_per_sec, limits.down_bits_per_sec),
            (Some(256_000), Some(256_000))
        );
        assert_eq!((limits.max_total_octets, leased), (None, 0));
    }

    #[test]
    fn a_plan_that_slows_never_closes_and_never_speeds_up() {
        let plan = Plan {
            after_quota: AfterQuota::Throttle { bits_per_sec: 256_000 },
            up_bits_per_sec: Some(128_000),
            down_bits_per_sec: None,
            ..plan()
        };
        for (used, promised) in [(GB, 0), (0, GB), (GB / 2, GB / 2), (GB - 1, 0), (2 * GB, GB)] {
            let (limits, leased) = accepted(decide(&snapshot(&plan, used, promised), noon()).unwrap());
            assert_eq!(
                (limits.up_bits_per_sec, limits.down_bits_per_sec),
                (Some(128_000), Some(256_000)),
                "{used} used, {promised} held elsewhere"
            );
            assert_eq!((limits.max_total_octets, leased), (None, 0));
        }
    }

    #[test]
    fn what_other_gates_hold_is_not_handed_out_twice() {
        let plan = plan();
        let verdict = decide(&snapshot(&plan, 0, GB), noon()).unwrap();
        assert!(matches!(verdict, Verdict::Reject(Reason::QuotaUsedUp(_))));
    }

    #[test]
    fn one_device_too_many_is_told_how_many_are_allowed() {
        let plan = plan();
        let mut third = snapshot(&plan, 0, 0);
        third.other_devices = 2;
        assert_eq!(
            decide(&third, noon()).unwrap(),
            Verdict::Reject(Reason::TooManyDevices(2))
        );
    }

    #[test]
    fn the_blocked_and_the_closed_are_refused_before_all_else() {
        let plan = plan();
        let blocked = Snapshot {
            is_blocked: true,
            is_site_open: false,
            ..snapshot(&plan, GB, 0)
        };
        assert_eq!(decide(&blocked, noon()).unwrap(), Verdict::Reject(Reason::Blocked));
        let closed = Snapshot {
            is_site_open: false,
            ..snapshot(&plan, GB, 0)
        };
        assert_eq!(decide(&closed, noon()).unwrap(), Verdict::Reject(Reason::SiteClosed));
    }

    #[test]
    fn a_renewal_is_cumulative_from_the_sessions_start() {
        let plan = plan();
        let mut renewal = snapshot(&plan, 45_000_000, 5_000_000);
        renewal.session_started_at = Some(noon() - Duration::from_mins(1));
        renewal.session_granted_octets = 50_000_000;
        renewal.lease = Lease {
            granted_octets: 50_000_000,
            used_octets: 45_000_000,
        };
        let (limits, leased) = accepted(decide(&renewal, noon()).unwrap());
        assert_eq!(leased, 45_000_000, "topped up to a full lease");
        assert_eq!(limits.max_total_octets, Some(95_000_000));
    }
}
