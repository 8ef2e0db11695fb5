//! Percentiles, and medians over runs.

use std::time::Duration;

use serde_json::{Value, json};

/// Times taken one after the other.
#[derive(Default, Clone)]
pub struct Sample(Vec<Duration>);

impl Sample {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// One more.
    pub fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// The time within which so many of a hundred fell.
    pub fn percentile(&self, of_hundred: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len().saturating_sub(1) * of_hundred).div_ceil(100);
        sorted.get(at).copied().unwrap_or_default()
    }
}

/// What several runs of a measurement come to.
pub struct Spread {
    p50: Duration,
    p99: Duration,
}

impl Spread {
    /// The medians of the runs' percentiles.
    pub fn of(runs: &[Sample]) -> Self {
        let middle = |of_hundred| {
            let values = runs.iter().map(|run| run.percentile(of_hundred).as_secs_f64());
            Duration::try_from_secs_f64(median(values.collect())).unwrap_or_default()
        };
        Self {
            p50: middle(50),
            p99: middle(99),
        }
    }

    /// As it is printed.
    pub fn json(&self) -> Value {
        json!({ "p50_us": self.p50.as_micros(), "p99_us": self.p99.as_micros() })
    }
}

/// How many times theirs our median was, run by run; the middle one of these.
pub fn median_ratio(ours: &[Sample], theirs: &[Sample]) -> f64 {
    let seconds = |sample: &Sample| sample.percentile(50).as_secs_f64();
    let runs = ours.iter().zip(theirs);
    median(runs.map(|(our, their)| ratio(seconds(our), seconds(their))).collect())
}

/// With two decimals; more would be noise.
pub fn ratio(one: f64, other: f64) -> f64 {
    (one / other * 100.0).round() / 100.0
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(millis: impl IntoIterator<Item = u64>) -> Sample {
        let mut sample = Sample::default();
        millis
            .into_iter()
            .for_each(|millis| sample.add(Duration::from_millis(millis)));
        sample
    }

    #[test]
    fn one_slow_run_moves_neither_median_nor_ratio() {
        let ours = [sample([2, 2, 2]), sample([90, 90, 90]), sample([4, 4, 4])];
        let theirs = [sample([1, 1, 1]), sample([45, 45, 45]), sample([1, 1, 1])];
        assert_eq!(Spread::of(&ours).json(), json!({ "p50_us": 4_000, "p99_us": 4_000 }));
        assert!((median_ratio(&ours, &theirs) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let hundred = sample(1..=100);
        assert_eq!(hundred.percentile(50), Duration::from_millis(51));
        assert_eq!(hundred.percentile(99), Duration::from_millis(100));
    }
}
