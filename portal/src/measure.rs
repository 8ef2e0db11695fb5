//! Octets, times and speeds as people say them. What is left is rounded down and what is used is rounded up, so that a
//! page never promises more than there is.

use std::time::Duration;

use kavadam_domain::Language;

const KILO: u64 = 1_000;
const MEGA: u64 = 1_000_000;
const GIGA: u64 = 1_000_000_000;

/// Octets still to be used: `1.25 GB`, `640 MB`, `3.5 MB`, `0 MB`.
pub fn octets_left(octets: u64) -> String {
    match octets {
        GIGA.. => format!("{} GB", decimals(octets / (GIGA / 100), 2)),
        10_000_000..GIGA => format!("{} MB", octets / MEGA),
        _ => format!("{} MB", decimals(octets / (MEGA / 10), 1)),
    }
}

/// Octets used so far, in the same manner.
pub fn octets_used(octets: u64) -> String {
    match octets {
        // From here on rounding up would reach the next unit.
        999_000_001.. => format!("{} GB", decimals(octets.div_ceil(GIGA / 100), 2)),
        9_900_001..=999_000_000 => format!("{} MB", octets.div_ceil(MEGA)),
        _ => format!("{} MB", decimals(octets.div_ceil(MEGA / 10), 1)),
    }
}

/// A speed in bit/s: `10 Mbps`, `2.5 Mbps`, `512 kbps`.
pub fn speed(bits_per_sec: u64) -> String {
    match bits_per_sec {
        GIGA.. => format!("{} Gbps", decimals(bits_per_sec / (GIGA / 10), 1)),
        MEGA..GIGA => format!("{} Mbps", decimals(bits_per_sec / (MEGA / 10), 1)),
        _ => format!("{} kbps", bits_per_sec / KILO),
    }
}

/// A time that is left, in its two largest units, rounded down; under a minute it says so.
pub fn time_left(left: Duration, language: Language) -> String {
    let mins = left.as_secs() / 60;
    if mins == 0 {
        return match language {
            Language::Ml => "ഒരു മിനിറ്റിൽ താഴെ".into(),
            Language::En => "less than a minute".into(),
        };
    }
    span(mins, language)
}

/// A time to wait, rounded up so that nobody comes back too early.
pub fn wait(time: Duration, language: Language) -> String {
    let secs = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    span(secs.div_ceil(60).max(1), language)
}

fn span(mins: u64, language: Language) -> String {
    let (days, hours, minutes) = (mins / 1_440, mins / 60 % 24, mins % 60);
    let parts = match (days, hours) {
        (0, 0) => [(minutes, Unit::Minute), (0, Unit::Minute)],
        (0, _) => [(hours, Unit::Hour), (minutes, Unit::Minute)],
        _ => [(days, Unit::Day), (hours, Unit::Hour)],
    };
    let said: Vec<String> = parts
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n} {}", unit.name(n, language)))
        .collect();
    said.join(" ")
}

#[derive(Clone, Copy)]
enum Unit {
    Day,
    Hour,
    Minute,
}

impl Unit {
    const fn name(self, n: u64, language: Language) -> &'static str {
        match (language, self, n) {
            (Language::Ml, Self::Day, _) => "ദിവസം",
            (Language::Ml, Self::Hour, _) => "മണിക്കൂർ",
            (Language::Ml, Self::Minute, _) => "മിനിറ്റ്",
            (Language::En, Self::Day, 1) => "day",
            (Language::En, Self::Day, _) => "days",
            (Language::En, Self::Hour, 1) => "hour",
            (Language::En, Self::Hour, _) => "hours",
            (Language::En, Self::Minute, 1) => "minute",
            (Language::En, Self::Minute, _) => "minutes",
        }
    }
}

/// `scaled` tenths or hundredths, without zeros at the end.
fn decimals(scaled: u64, places: usize) -> String {
    let unit = if places == 1 { 10 } else { 100 };
    let text = format!("{}.{:0places$}", scaled / unit, scaled % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_promises_more_than_is_left() {
        for (octets, said) in [
            (0, "0 MB"),
            (65_535, "0 MB"),
            (100_000, "0.1 MB"),
            (3_579_999, "3.5 MB"),
            (640_999_999, "640 MB"),
            (999_999_999, "999 MB"),
            (1_000_000_000, "1 GB"),
            (1_259_999_999, "1.25 GB"),
            (30_000_000_000, "30 GB"),
        ] {
            assert_eq!(octets_left(octets), said);
        }
    }

    #[test]
    fn never_hides_what_was_used() {
        for (octets, said) in [
            (0, "0 MB"),
            (1, "0.1 MB"),
            (9_900_000, "9.9 MB"),
            (9_900_001, "10 MB"),
            (998_000_001, "999 MB"),
            (999_000_001, "1 GB"),
            (1_250_000_001, "1.26 GB"),
        ] {
            assert_eq!(octets_used(octets), said);
        }
    }

    #[test]
    fn says_speeds_as_providers_do() {
        for (bits, said) in [
            (512_000, "512 kbps"),
            (2_500_000, "2.5 Mbps"),
            (10_000_000, "10 Mbps"),
            (1_000_000_000, "1 Gbps"),
        ] {
            assert_eq!(speed(bits), said);
        }
    }

    #[test]
    fn says_times_in_two_units_of_both_languages() {
        let secs = Duration::from_secs;
        assert_eq!(time_left(secs(59), Language::En), "less than a minute");
        assert_eq!(time_left(secs(60), Language::En), "1 minute");
        assert_eq!(
            time_left(secs(5 * 3_600 + 20 * 60 + 59), Language::En),
            "5 hours 20 minutes"
        );
        assert_eq!(time_left(secs(5 * 3_600), Language::Ml), "5 മണിക്കൂർ");
        assert_eq!(time_left(secs(90_000), Language::En), "1 day 1 hour");
        assert_eq!(wait(secs(61), Language::En), "2 minutes");
        assert_eq!(wait(Duration::ZERO, Language::Ml), "1 മിനിറ്റ്");
    }
}
