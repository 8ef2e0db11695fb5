//! The allowance as pages show it.

use kavadam_access::api::Status;
use kavadam_domain::Language;
use kavadam_domain::plan::Period;
use serde::Serialize;

use crate::measure;

/// What is left of the period's octets, in words and as the length of a bar.
#[derive(Serialize)]
pub struct Allowance {
    used: String,
    left: Option<String>,
    total: Option<String>,
    left_percent: u64,
    /// There is a new allowance every day.
    is_daily: bool,
    new_data_in: Option<String>,
}

/// Less than one packet of generic receive offload: the kernel's quota may stop there.
const NOTHING_OCTETS: u64 = 65_536;

impl Allowance {
    pub fn new(status: &Status, language: Language) -> Self {
        let left = status
            .quota_octets
            .map(|quota| quota.saturating_sub(status.used_octets));
        let left = left.map(|left| if left < NOTHING_OCTETS { 0 } else { left });
        Self {
            used: measure::octets_used(status.used_octets),
            left: left.map(measure::octets_left),
            total: status.quota_octets.map(measure::octets_left),
            left_percent: match (left, status.quota_octets) {
                (Some(left), Some(quota)) if quota > 0 => percent(left, quota),
                _ => 0,
            },
            is_daily: status.period == Period::Day,
            new_data_in: status.period_left.map(|left| measure::wait(left, language)),
        }
    }
}

/// Rounded down, but a little is shown as a little.
fn percent(part: u64, whole: u64) -> u64 {
    let exact = u128::from(part) * 100 / u128::from(whole);
    u64::try_from(exact).unwrap_or(100).clamp(u64::from(part > 0), 100)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pages::sample_status;

    #[test]
    fn the_bar_is_never_empty_while_something_is_left() {
        assert_eq!(percent(1, 1_000_000_000), 1);
        assert_eq!(percent(0, 5), 0);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
        assert_eq!(percent(7, 5), 100);
    }

    #[test]
    fn the_last_day_of_a_week_is_not_called_today() {
        let weekly = Status {
            period: Period::Week,
            period_left: Some(Duration::from_hours(5)),
            ..sample_status(0)
        };
        assert!(!Allowance::new(&weekly, Language::En).is_daily);
        assert!(Allowance::new(&sample_status(0), Language::En).is_daily);
    }

    #[test]
    fn the_last_packet_of_a_quota_counts_as_used_up() {
        let allowance = Allowance::new(&sample_status(1_000_000_000 - 65_535), Language::En);
        assert_eq!((allowance.left.as_deref(), allowance.left_percent), (Some("0 MB"), 0));
    }
}
