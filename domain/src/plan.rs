//! Plans: what a subscriber may use in a period.

use jiff::tz::TimeZone;
use jiff::{ToSpan, civil};
use serde::{Deserialize, Serialize};

use crate::{ClassName, FilterName, PlanId, Timestamp};

/// What a subscriber may use. Absent limits are absent: `None` is "as much as you like".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Set by the store.
    pub id: PlanId,
    /// Unique, shown to administrators: lower case letters, digits and dashes, at most 40.
    pub name: String,
    /// Octets in both directions together per period.
    pub quota_octets: Option<u64>,
    /// How long one allowance lasts before the next begins.
    pub period: Period,
    /// IANA name of the zone whose midnight begins a day, such as `Asia/Kolkata`.
    pub time_zone: String,
    /// Towards the device, bit/s.
    pub down_bits_per_sec: Option<u64>,
    /// Towards the internet, bit/s.
    pub up_bits_per_sec: Option<u64>,
    /// Longest session, seconds; afterwards a known device may simply begin another.
    pub session_secs: Option<u32>,
    /// A session without a packet for so long ends, seconds.
    pub idle_secs: Option<u32>,
    /// Devices of one subscriber online at once, at least 1.
    pub max_devices: u32,
    /// Days for which a device returns without a new code; 0 asks for a code each time.
    pub remembered_days: u32,
    /// What happens at the quota's end.
    pub after_quota: AfterQuota,
    /// Where its people may not go besides, as each gateway says of this name.
    #[serde(default)]
    pub filter: Option<FilterName>,
    /// With whom its people share a full line, as each gateway says of this name.
    #[serde(default)]
    pub class: Option<ClassName>,
}

/// How long one allowance lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// From midnight to midnight in the plan's time zone.
    Day,
    /// From Monday midnight.
    Week,
    /// From the first of the month.
    Month,
    /// Never renewed.
    Once,
}

/// What happens at the quota's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "action")]
pub enum AfterQuota {
    /// The session ends.
    Close,
    /// The session goes on, unmetered, at this speed each way.
    Throttle {
        /// bit/s, each way.
        bits_per_sec: u64,
    },
}

/// One allowance's life: from `start`, until just before `end` (`None`: for ever).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First instant of the period.
    pub start: Timestamp,
    /// First instant of the next one.
    pub end: Option<Timestamp>,
}

/// Why a plan cannot be kept as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    /// See [`Plan::name`].
    #[error("plan name: use 1 to 40 lower case letters, digits and dashes")]
    Name,
    /// See [`Plan::time_zone`].
    #[error("plan time zone `{0}` is unknown; use an IANA name such as Asia/Kolkata")]
    TimeZone(String),
    /// A limit that would let nobody in, or past what the kernel or the wire can hold.
    #[error("plan {field} must be from {least} to {most}")]
    Limit {
        /// Its name in [`Plan`].
        field: &'static str,
        /// Least that is kept.
        least: u64,
        /// Most that is kept.
        most: u64,
    },
}

impl Plan {
    /// Checks every field, so that what is stored can always be enforced.
    ///
    /// # Errors
    /// The first field that cannot be kept, with what to do.
    pub fn validate(&self) -> Result<(), InvalidPlan> {
        let name_fits = (1..=40).contains(&self.name.len())
            && self
                .name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !name_fits {
            return Err(InvalidPlan::Name);
        }
        if TimeZone::get(&self.time_zone).is_err() {
            return Err(InvalidPlan::TimeZone(self.time_zone.clone()));
        }
        let throttle = match self.after_quota {
            AfterQuota::Close => None,
            AfterQuota::Throttle { bits_per_sec } => Some(bits_per_sec),
        };
        // The wire carries bandwidth as 32 bits; the database keeps octets in signed 64.
        let rate = (8_000, u64::from(u32::MAX));
        let fields = [
            ("quota_octets", self.quota_octets, (1 << 20, 1 << 60)),
            ("down_bits_per_sec", self.down_bits_per_sec, rate),
            ("up_bits_per_sec", self.up_bits_per_sec, rate),
            ("throttle_bits_per_sec", throttle, rate),
            ("session_secs", self.session_secs.map(u64::from), (60, 31_536_000)),
            ("idle_secs", self.idle_secs.map(u64::from), (30, 86_400)),
            ("max_devices", Some(u64::from(self.max_devices)), (1, 100)),
            ("remembered_days", Some(u64::from(self.remembered_days)), (0, 366)),
        ];
        for (field, value, (least, most)) in fields {
            if value.is_some_and(|value| !(least..=most).contains(&value)) {
                return Err(InvalidPlan::Limit { field, least, most });
            }
        }
        Ok(())
    }

    /// The allowance that `now` falls into. For [`Period::Once`] it began with the epoch and never ends.
    ///
    /// # Errors
    /// [`InvalidPlan::TimeZone`] if the zone is unknown (a plan that passed [`Plan::validate`] never is).
    pub fn window(&self, now: Timestamp) -> Result<Window, InvalidPlan> {
        let unknown = || InvalidPlan::TimeZone(self.time_zone.clone());
        let zone = TimeZone::get(&self.time_zone).map_err(|_| unknown())?;
        let today = now
            .to_jiff()
            .ok_or_else(unknown)?
            .to_zoned_datetime(zone.clone())
            .date();
        let (first, next) = match self.period {
            Period::Once => {
                return Ok(Window {
                    start: Timestamp(0),
                    end: None,
                });
            }
            Period::Day => (today, today.checked_add(1.day())),
            Period::Week => {
                let back = i64::from(today.weekday().to_monday_zero_offset());
                let first = today.checked_sub(back.days()).map_err(|_| unknown())?;
                (first, first.checked_add(7.days()))
            }
            Period::Month => (today.first_of_month(), today.first_of_month().checked_add(1.month())),
        };
        // A day without midnight (some zones' clock change) begins at its first instant.
        let begin = |date: civil::Date| {
            let zoned = date.to_zoned_datetime(zone.clone()).map_err(|_| unknown())?;
            Ok::<_, InvalidPlan>(Timestamp(zoned.timestamp().as_microsecond()))
        };
        Ok(Window {
            start: begin(first)?,
            end: Some(begin(next.map_err(|_| unknown())?)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(period: Period) -> Plan {
        Plan {
            id: PlanId(1),
            name: "citizen".into(),
            quota_octets: Some(1 << 30),
            period,
            time_zone: "Asia/Kolkata".into(),
            down_bits_per_sec: Some(10_000_000),
            up_bits_per_sec: Some(10_000_000),
            session_secs: Some(3600),
            idle_secs: Some(600),
            max_devices: 2,
            remembered_days: 14,
            after_quota: AfterQuota::Close,
            filter: None,
            class: None,
        }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn a_day_begins_at_midnight_in_kerala() {
        let window = plan(Period::Day).window(at("2026-11-23T18:30:00Z")).unwrap();
        assert_eq!(window.start, at("2026-11-23T18:30:00Z"));
        assert_eq!(window.end, Some(at("2026-11-24T18:30:00Z")));
        let before = plan(Period::Day).window(at("2026-11-23T18:29:59.999999Z")).unwrap();
        assert_eq!(
            before.end,
            Some(window.start),
            "periods touch: no instant belongs to none or to two"
        );
    }

    #[test]
    fn a_week_begins_on_monday_and_a_month_on_the_first() {
        let week = plan(Period::Week).window(at("2026-11-29T12:00:00Z")).unwrap();
        assert_eq!(week.start, at("2026-11-22T18:30:00Z"));
        let month = plan(Period::Month).window(at("2026-12-31T20:00:00Z")).unwrap();
        assert_eq!(month.start, at("2026-12-31T18:30:00Z"), "already January in Kerala");
    }

    #[test]
    fn refuses_a_plan_that_could_not_be_enforced() {
        let broken = Plan {
            time_zone: "Asia/Kochi".into(),
            ..plan(Period::Day)
        };
        assert_eq!(broken.validate(), Err(InvalidPlan::TimeZone("Asia/Kochi".into())));
        let broken = Plan {
            max_devices: 0,
            ..plan(Period::Day)
        };
        assert!(matches!(
            broken.validate(),
            Err(InvalidPlan::Limit {
                field: "max_devices",
                least: 1,
                ..
            })
        ));
        let broken = Plan {
            down_bits_per_sec: Some(1 << 40),
            ..plan(Period::Day)
        };
        assert!(matches!(
            broken.validate(),
            Err(InvalidPlan::Limit {
                field: "down_bits_per_sec",
                ..
            })
        ));
        assert_eq!(plan(Period::Once).validate(), Ok(()));
    }
}
