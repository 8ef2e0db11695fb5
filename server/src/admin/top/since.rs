//! What happened between two pictures.

use std::collections::BTreeMap;

use kavadam_radius::server::{DropReason, bucket_micros};

use crate::watch::{Commits, Gate, Picture};

/// The rates of all gates.
pub(super) struct Since<'a> {
    pub(super) now: &'a Picture,
    secs: f64,
    pub(super) gates: Vec<Row<'a>>,
    /// By reason, of all gates, a second.
    pub(super) rejects: BTreeMap<String, f64>,
    pub(super) drops: BTreeMap<String, f64>,
    pub(super) batches: Batches,
}

/// One gate; rates a second.
pub(super) struct Row<'a> {
    pub(super) gate: &'a Gate,
    pub(super) auth: f64,
    pub(super) acct: f64,
    pub(super) accepts: f64,
    pub(super) rejects: f64,
    pub(super) copies: f64,
    pub(super) drops: f64,
    /// Microseconds, of both ports.
    pub(super) p50: Option<u64>,
    pub(super) p99: Option<u64>,
    by_reason: BTreeMap<String, u64>,
}

/// Batches of requests.
pub(super) struct Batches {
    /// A second.
    pub(super) rate: f64,
    /// In each.
    pub(super) requests: f64,
    /// Microseconds from the decision until it was on disk.
    pub(super) p50: Option<u64>,
    pub(super) p99: Option<u64>,
}

impl Batches {
    fn new(before: &Commits, now: &Commits, secs: f64) -> Self {
        let buckets = buckets(&[(&now.buckets, Some(&before.buckets))]);
        let rate = per_second(buckets.iter().sum(), secs);
        let requests = per_second(now.requests.saturating_sub(before.requests), secs);
        Self {
            rate,
            requests: if rate > 0.0 { requests / rate } else { 0.0 },
            p50: percentile(&buckets, 50),
            p99: percentile(&buckets, 99),
        }
    }
}

impl<'a> Since<'a> {
    pub(super) fn new(before: &Picture, now: &'a Picture) -> Self {
        let secs = (now.at - before.at).max(0.001);
        let mut since = Self {
            now,
            secs,
            gates: Vec::new(),
            rejects: BTreeMap::new(),
            drops: BTreeMap::new(),
            batches: Batches::new(&before.commits, &now.commits, secs),
        };
        for gate in &now.gates {
            let old = before.gates.iter().find(|old| old.id == gate.id);
            since.add(gate, old);
        }
        for (word, count) in grown(&now.nobody.dropped, Some(&before.nobody.dropped)) {
            if word != DropReason::UnknownSource.word() {
                *since.drops.entry(word).or_default() += per_second(count, since.secs);
            }
        }
        since
            .gates
            .sort_by(|a, b| (b.auth + b.acct).total_cmp(&(a.auth + a.acct)));
        since
    }

    fn add(&mut self, gate: &'a Gate, old: Option<&Gate>) {
        let rate = |count: u64| per_second(count, self.secs);
        let (figures, old) = (&gate.figures, old.map(|old| &old.figures));
        let requests = grown(&figures.requests, old.map(|old| &old.requests));
        let replies = grown(&figures.replies, old.map(|old| &old.replies));
        let by_reason = grown(&figures.rejects, old.map(|old| &old.rejects));
        let dropped = grown(&figures.dropped, old.map(|old| &old.dropped));
        let of = |counts: &BTreeMap<String, u64>, word: &str| rate(counts.get(word).copied().unwrap_or(0));
        let in_progress = dropped.get("in_progress").copied().unwrap_or(0);
        let replayed = figures.replayed.saturating_sub(old.map_or(0, |old| old.replayed));
        let buckets = buckets(&[
            (&figures.access_latency, old.map(|old| &old.access_latency)),
            (&figures.accounting_latency, old.map(|old| &old.accounting_latency)),
        ]);
        let row = Row {
            gate,
            auth: of(&requests, "access"),
            acct: of(&requests, "accounting"),
            accepts: of(&replies, "access-accept"),
            rejects: of(&replies, "access-reject"),
            copies: rate(replayed + in_progress),
            drops: rate(dropped.values().sum::<u64>() - in_progress),
            p50: percentile(&buckets, 50),
            p99: percentile(&buckets, 99),
            by_reason,
        };
        for (word, count) in &row.by_reason {
            *self.rejects.entry(word.clone()).or_default() += per_second(*count, self.secs);
        }
        for (word, count) in &dropped {
            *self.drops.entry(word.clone()).or_default() += per_second(*count, self.secs);
        }
        self.gates.push(row);
    }
}

/// What was added since; a counter that fell began anew.
fn grown(now: &BTreeMap<String, u64>, before: Option<&BTreeMap<String, u64>>) -> BTreeMap<String, u64> {
    let old = |word: &str| before.and_then(|before| before.get(word)).copied().unwrap_or(0);
    let grown = now
        .iter()
        .map(|(word, count)| (word.clone(), count.saturating_sub(old(word))));
    grown.filter(|(_, count)| *count > 0).collect()
}

fn buckets(ports: &[(&Vec<u64>, Option<&Vec<u64>>)]) -> Vec<u64> {
    let mut sum = Vec::new();
    for (now, before) in ports {
        sum.resize(now.len().max(sum.len()), 0);
        for (at, (place, count)) in sum.iter_mut().zip(now.iter()).enumerate() {
            let old = before.and_then(|before| before.get(at)).copied().unwrap_or(0);
            *place += count.saturating_sub(old);
        }
    }
    sum
}

/// The bound of the bucket in which so many of a hundred lie below; none where there are none.
fn percentile(buckets: &[u64], percent: u64) -> Option<u64> {
    let all: u64 = buckets.iter().sum();
    let wanted = (all * percent).div_ceil(100);
    let mut below = 0;
    for (at, count) in buckets.iter().enumerate() {
        below += count;
        if below >= wanted && below > 0 {
            return Some(bucket_micros(at).unwrap_or(u64::MAX));
        }
    }
    None
}

#[expect(clippy::cast_precision_loss, reason = "counts within a second")]
fn per_second(count: u64, secs: f64) -> f64 {
    count as f64 / secs
}
