//! What came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::pump::nanos;
use super::slots::Slot;
use super::story::Step;

/// Three digits of every latency are kept.
const DIGITS: u8 = 3;

/// Counts of one thread, or of all.
pub struct Tally {
    /// What is due in here is measured, nanoseconds from the run's start.
    from: u64,
    until: u64,
    counts: Counts,
    all: Option<Histogram<u64>>,
    steps: BTreeMap<&'static str, Histogram<u64>>,
    lost_by_step: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// Due within the window.
    due: u64,
    /// Answered within the window, whenever they were due: the rate.
    in_window: u64,
    /// Answered yes, of those due.
    answered: u64,
    rejected: u64,
    lost: u64,
    asked_again: u64,
    choked: u64,
    unsent: u64,
    stray: u64,
    forged: u64,
    /// Nanoseconds from the run's start.
    last_answer: u64,
}

impl Tally {
    /// Nothing yet.
    pub fn new(from: Duration, until: Duration) -> Self {
        Self {
            from: nanos(from),
            until: nanos(until),
            counts: Counts::default(),
            all: Histogram::new(DIGITS).ok(),
            steps: BTreeMap::new(),
            lost_by_step: BTreeMap::new(),
        }
    }

    /// When the window ends.
    pub const fn end(&self) -> u64 {
        self.until
    }

    const fn is_inside(&self, at: u64) -> bool {
        at >= self.from && at < self.until
    }

    /// A request was due.
    pub const fn begun(&mut self, due: u64) {
        self.counts.due += self.is_inside(due) as u64;
    }

    /// Yes.
    pub fn answered(&mut self, slot: &Slot, now: u64) {
        self.note(now);
        if !self.is_inside(slot.due) {
            return;
        }
        self.counts.answered += 1;
        let took = (now - slot.due.min(now)) / 1000;
        if let Some(all) = &mut self.all {
            let _ = all.record(took);
        }
        if let Ok(empty) = Histogram::new(DIGITS) {
            let step = self.steps.entry(name(slot.step)).or_insert(empty);
            let _ = step.record(took);
        }
    }

    /// No.
    pub fn rejected(&mut self, due: u64, now: u64) {
        self.note(now);
        self.counts.rejected += u64::from(self.is_inside(due));
    }

    fn note(&mut self, now: u64) {
        self.counts.in_window += u64::from(self.is_inside(now));
        self.counts.last_answer = now;
    }

    /// Never, however often it was asked.
    pub fn lost(&mut self, due: u64, step: Step) {
        if self.is_inside(due) {
            self.counts.lost += 1;
            *self.lost_by_step.entry(name(step)).or_default() += 1;
        }
    }

    /// Once more.
    pub const fn asked_again(&mut self, due: u64) {
        self.counts.asked_again += self.is_inside(due) as u64;
    }

    /// The gate had no identifier left.
    pub const fn choked(&mut self, due: u64) {
        self.counts.choked += self.is_inside(due) as u64;
    }

    /// Due, but the server was so slow that they were not even sent.
    pub const fn unsent(&mut self, count: u64) {
        self.counts.unsent += count;
    }

    /// An answer to nothing that waits.
    pub const fn stray(&mut self, now: u64) {
        self.counts.stray += self.is_inside(now) as u64;
    }

    /// An answer that its secret does not bear out, or of the wrong kind.
    pub const fn forged(&mut self, due: u64) {
        self.counts.forged += self.is_inside(due) as u64;
    }

    /// Takes another thread's in.
    pub fn add(&mut self, other: &Self) {
        let (sum, one) = (&mut self.counts, &other.counts);
        sum.due += one.due;
        sum.in_window += one.in_window;
        sum.answered += one.answered;
        sum.rejected += one.rejected;
        sum.lost += one.lost;
        sum.asked_again += one.asked_again;
        sum.choked += one.choked;
        sum.unsent += one.unsent;
        sum.stray += one.stray;
        sum.forged += one.forged;
        sum.last_answer = sum.last_answer.max(one.last_answer);
        if let (Some(all), Some(other)) = (&mut self.all, &other.all) {
            // Of the same shape, so that it cannot fail.
            let _ = all.add(other);
        }
        for (step, histogram) in &other.steps {
            let Ok(empty) = Histogram::new(DIGITS) else { continue };
            let _ = self.steps.entry(step).or_insert(empty).add(histogram);
        }
        for (step, lost) in &other.lost_by_step {
            *self.lost_by_step.entry(step).or_default() += lost;
        }
    }

    /// Answers within the window, yes or no.
    pub const fn in_window(&self) -> u64 {
        self.counts.in_window
    }

    /// When the last answer came.
    pub const fn last_answer(&self) -> Duration {
        Duration::from_nanos(self.counts.last_answer)
    }

    /// As it is printed; `length` is the window's.
    pub fn json(&self, length: Duration) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
        let rate = self.counts.in_window as f64 / length.as_secs_f64();
        let steps: BTreeMap<_, _> = self.steps.iter().map(|(step, one)| (step, latencies(one))).collect();
        let counts = &self.counts;
        json!({
            "rate": rate.round(),
            "due": counts.due,
            "answered": counts.answered,
            "rejected": counts.rejected,
            "lost": counts.lost,
            "lost_by_step": self.lost_by_step,
            "asked_again": counts.asked_again,
            "no_identifier_left": counts.choked,
            "unsent": counts.unsent,
            "stray_answers": counts.stray,
            "bad_answers": counts.forged,
            "latency": self.all.as_ref().map(latencies),
            "latency_by_step": steps,
        })
    }
}

fn latencies(of: &Histogram<u64>) -> Value {
    json!({
        "count": of.len(),
        "p50_us": of.value_at_quantile(0.5),
        "p90_us": of.value_at_quantile(0.9),
        "p99_us": of.value_at_quantile(0.99),
        "p999_us": of.value_at_quantile(0.999),
        "max_us": of.max(),
    })
}

const fn name(step: Step) -> &'static str {
    match step {
        Step::Login => "login",
        Step::Start => "start",
        Step::Interim => "interim",
        Step::Stop => "stop",
    }
}
