//! Percentiles.

use std::time::Duration;

/// Times taken one after the other.
#[derive(Default, Clone)]
pub struct Sample(Vec<Duration>);

impl Sample {
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

    /// The same, microseconds.
    pub fn percentile_us(&self, of_hundred: usize) -> u128 {
        self.percentile(of_hundred).as_micros()
    }
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
