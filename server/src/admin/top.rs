//! The live table of gates.

mod since;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use since::{Row, Since};

use super::{print, say};
use crate::cli::RadiusTop;
use crate::watch::ask;

/// Between pictures.
const EVERY: Duration = Duration::from_secs(1);
/// Upper left corner, and nothing on the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Shows it until interrupted, or once.
pub(super) async fn run(socket: &Path, wanted: &RadiusTop) -> anyhow::Result<()> {
    let mut before = ask::picture(socket)?;
    loop {
        tokio::time::sleep(EVERY).await;
        let now = ask::picture(socket)?;
        let since = Since::new(&before, &now);
        if wanted.output.json {
            print(true, &since.json(wanted.most), Vec::new)?;
        } else {
            let lines = since.lines(wanted.most).join("\n");
            let clear = if wanted.once { "" } else { CLEAR };
            say(&format!("{clear}{lines}"))?;
        }
        if wanted.once {
            return Ok(());
        }
        before = now;
    }
}

impl Since<'_> {
    fn lines(&self, most: usize) -> Vec<String> {
        let total = |of: fn(&Row<'_>) -> f64| self.gates.iter().map(of).sum::<f64>();
        let online: u64 = self.gates.iter().map(|row| row.gate.online).sum();
        let mut lines = vec![
            format!(
                "{} gates, {online} sessions online; auth {}/s, acct {}/s, refused {}/s",
                self.gates.len(),
                figure(total(|row| row.auth)),
                figure(total(|row| row.acct)),
                figure(total(|row| row.rejects)),
            ),
            format!(
                "orders waiting {}, messages waiting {}, database read {}",
                self.now.waiting_orders,
                self.now.waiting_messages,
                micros(Some(self.now.database_micros)),
            ),
            format!(
                "commits {}/s, of {} requests, on disk after {} (p99 {})",
                figure(self.batches.rate),
                figure(self.batches.requests),
                micros(self.batches.p50),
                micros(self.batches.p99),
            ),
            String::new(),
            "GATE        SITE      AUTH/s ACCT/s  NO/s    P50    P99  COPY  DROP ONLINE  SEEN".to_owned(),
        ];
        lines.extend(self.gates.iter().take(most).map(|row| row.line(self.now.at)));
        if self.gates.len() > most {
            lines.push(format!("and {} more gates, less busy", self.gates.len() - most));
        }
        lines.extend(section("Refused, by reason (a second)", &self.rejects));
        lines.extend(section("Without an answer of their own (a second)", &self.drops));
        if !self.now.strangers.is_empty() {
            lines.extend([
                String::new(),
                "Addresses of no gate (datagrams since the start)".to_owned(),
            ]);
            let strangers = self.now.strangers.iter().take(5);
            lines.extend(strangers.map(|(from, count)| format!("  {from:<40} {count:>10}")));
        }
        lines
    }

    fn json(&self, most: usize) -> Value {
        let gates = self.gates.iter().take(most).map(|row| {
            json!({
                "nas": row.gate.name, "site": row.gate.site, "sessions_online": row.gate.online,
                "auth_per_sec": row.auth, "acct_per_sec": row.acct, "accepts_per_sec": row.accepts,
                "rejects_per_sec": row.rejects, "copies_per_sec": row.copies, "drops_per_sec": row.drops,
                "p50_micros": row.p50, "p99_micros": row.p99, "heard_at": row.gate.figures.heard_at,
                "rejects": row.gate.figures.rejects, "dropped": row.gate.figures.dropped,
                "requests": row.gate.figures.requests, "replies": row.gate.figures.replies,
                "replayed": row.gate.figures.replayed, "orders": row.gate.figures.orders,
            })
        });
        json!({
            "at": self.now.at, "began_at": self.now.began_at, "gates": gates.collect::<Vec<_>>(),
            "gate_count": self.gates.len(),
            "rejects_per_sec": self.rejects, "drops_per_sec": self.drops,
            "unknown_sources": self.now.strangers, "unknown_source_datagrams": self.now.stranger_datagrams,
            "waiting_orders": self.now.waiting_orders, "waiting_messages": self.now.waiting_messages,
            "database_read_micros": self.now.database_micros,
            "commits_per_sec": self.batches.rate, "requests_per_commit": self.batches.requests,
            "commit_p50_micros": self.batches.p50, "commit_p99_micros": self.batches.p99,
        })
    }
}

impl Row<'_> {
    /// 80 columns.
    fn line(&self, now: f64) -> String {
        format!(
            "{:<11} {:<9} {:>6} {:>6} {:>5} {:>6} {:>6} {:>5} {:>5} {:>6} {:>5}",
            cut(&self.gate.name, 11),
            cut(&self.gate.site, 9),
            figure(self.auth),
            figure(self.acct),
            figure(self.rejects),
            micros(self.p50),
            micros(self.p99),
            figure(self.copies),
            figure(self.drops),
            count(self.gate.online),
            seen(self.gate.figures.heard_at, now),
        )
    }
}

fn section(head: &str, rates: &BTreeMap<String, f64>) -> Vec<String> {
    if rates.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), head.to_owned()];
    lines.extend(
        rates
            .iter()
            .map(|(word, rate)| format!("  {word:<24} {:>8}", figure(*rate))),
    );
    lines
}

fn figure(rate: f64) -> String {
    match rate {
        0.0 => "-".to_owned(),
        small if small < 9.95 => format!("{small:.1}"),
        middle if middle < 9_999.5 => format!("{middle:.0}"),
        large if large < 999_500.0 => format!("{:.0}k", large / 1e3),
        vast => format!("{:.0}M", vast / 1e6),
    }
}

fn count(count: u64) -> String {
    match count {
        0 => "-".to_owned(),
        small @ ..100_000 => small.to_string(),
        large @ ..10_000_000 => format!("{}k", large / 1000),
        vast => format!("{}M", vast / 1_000_000),
    }
}

fn micros(span: Option<u64>) -> String {
    match span {
        None => "-".to_owned(),
        Some(u64::MAX) => ">17s".to_owned(),
        Some(micros @ ..1_000) => format!("{micros}us"),
        Some(micros @ ..1_000_000) => format!("{}ms", micros / 1_000),
        Some(micros) => format!("{}s", micros / 1_000_000),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seconds since 1970")]
fn seen(heard_at: Option<i64>, now: f64) -> String {
    match heard_at.map(|at| (now as i64 - at).max(0)) {
        None => "never".to_owned(),
        Some(secs @ ..100) => format!("{secs}s"),
        Some(secs @ ..6_000) => format!("{}m", secs / 60),
        Some(secs @ ..172_800) => format!("{}h", secs / 3600),
        Some(secs) => format!("{}d", secs / 86_400),
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use kavadam_radius::server::GateFigures;

    use super::*;
    use crate::watch::{Commits, Gate, Picture};

    fn picture(at: f64, requests: u64, heard_at: i64) -> Picture {
        let mut figures = GateFigures {
            access_latency: vec![0, 0, requests * 98 / 100, 0, requests * 2 / 100],
            heard_at: Some(heard_at),
            ..GateFigures::default()
        };
        figures.requests.insert("access".into(), requests);
        figures.replies.insert("access-reject".into(), requests);
        figures.rejects.insert("too-many-attempts".into(), requests);
        figures.dropped.insert("unverified".into(), requests);
        Picture {
            at,
            began_at: 0,
            gates: vec![Gate {
                id: 1,
                name: "a-gate-with-a-very-long-name".into(),
                site: "വിഴിഞ്ഞം ബസ് സ്റ്റാൻഡ്".into(),
                online: 123_456_789,
                unowned_reports: 0,
                figures,
            }],
            strangers: vec![("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff".into(), u64::from(u32::MAX))],
            stranger_datagrams: 9,
            nobody: GateFigures::default(),
            waiting_messages: u64::MAX,
            waiting_orders: u64::MAX,
            database_micros: u64::MAX - 1,
            commits: Commits {
                buckets: vec![requests / 3, 0, 0, requests / 50],
                micros: requests,
                requests,
            },
        }
    }

    #[test]
    fn every_line_fits_a_screen_of_eighty_columns_however_large_the_figures() {
        let (before, now) = (picture(1e6, 0, 0), picture(1e6 + 1.0, 123_456_789, 999_000));
        for line in Since::new(&before, &now).lines(20) {
            let wide = line.chars().count();
            // The line of sums alone may be longer when its figures are absurd.
            assert!(wide <= 80 || line.starts_with("orders waiting"), "{wide}: {line}");
        }
    }

    #[test]
    fn both_forms_show_so_many_gates_and_say_how_many_there_are() {
        let mut now = picture(1e6, 0, 0);
        let gate = now.gates[0].clone();
        now.gates = (1..=5).map(|id| Gate { id, ..gate.clone() }).collect();
        let since = Since::new(&now, &now);
        let json = since.json(2);
        assert_eq!(json["gates"].as_array().unwrap().len(), 2);
        assert_eq!(json["gate_count"], 5);
        assert_eq!(since.json(20)["gates"].as_array().unwrap().len(), 5);
        assert!(since.lines(2).iter().any(|line| line.starts_with("and 3 more gates")));
    }

    #[test]
    fn rates_and_latencies_are_of_what_happened_between() {
        let (before, now) = (picture(100.0, 1000, 90), picture(102.0, 1200, 102));
        let since = Since::new(&before, &now);
        let row = &since.gates[0];
        assert!((row.auth - 100.0).abs() < 0.1, "{}", row.auth);
        assert_eq!((row.p50, row.p99), (Some(64), Some(256)));
        // 70 more, of which 4 took longer.
        let batches = &since.batches;
        assert!((batches.rate - 35.0).abs() < 1.0 && (batches.requests - 2.9).abs() < 0.1);
        assert_eq!((batches.p50, batches.p99), (Some(16), Some(128)));
        assert!((since.rejects["too-many-attempts"] - 100.0).abs() < 0.1);
        let idle = Since::new(&now, &now);
        assert_eq!((idle.gates[0].p50, idle.rejects.len()), (None, 0));
    }
}
