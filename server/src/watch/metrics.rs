//! Figures as Prometheus reads them (text format 0.0.4), on a port of their own.
//!
//! Written here rather than by a client library: the figures are counted elsewhere already, without locks that a label set would
//! need on the way of every request, and only labels must be escaped. Labels name gates, sites and reasons; never a person.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kavadam_radius::server::{DropReason, GateFigures, bucket_micros};

use super::{Gate, Picture, Watch};

/// Every second bucket is told: a collector keeps each of them for each gate.
const BUCKETS_TOLD_EVERY: usize = 2;

/// The page `/metrics`.
pub fn router(watch: Watch) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(watch)
}

async fn metrics(State(watch): State<Watch>) -> Response {
    match watch.picture().await {
        Ok(picture) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text(&picture)).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot tell the metrics");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// The whole page.
fn text(picture: &Picture) -> String {
    let mut page = Page::default();
    counters(&mut page, picture);
    page.head(
        "kavadam_radius_request_seconds",
        "histogram",
        "From a request's arrival to its answer",
    );
    for gate in &picture.gates {
        let figures = &gate.figures;
        for (port, buckets, micros) in [
            ("authentication", &figures.access_latency, figures.access_latency_micros),
            (
                "accounting",
                &figures.accounting_latency,
                figures.accounting_latency_micros,
            ),
        ] {
            let of = labels_of(gate, &[("port", port)]);
            page.histogram("kavadam_radius_request_seconds", &of, buckets, micros);
        }
    }
    page.head(
        "kavadam_commit_seconds",
        "histogram",
        "From when a batch of requests was decided until it was on disk",
    );
    let commits = &picture.commits;
    page.histogram("kavadam_commit_seconds", "", &commits.buckets, commits.micros);
    page.single(
        "kavadam_committed_requests_total",
        "counter",
        "Requests answered by those batches",
        commits.requests,
    );
    page.head("kavadam_sessions_online", "gauge", "Sessions not ended, by gate");
    for gate in &picture.gates {
        page.sample("kavadam_sessions_online", gate, &[], gate.online);
    }
    page.single(
        "kavadam_radius_unknown_source_total",
        "counter",
        "Datagrams from addresses of no gate",
        picture.stranger_datagrams,
    );
    page.single(
        "kavadam_messages_waiting",
        "gauge",
        "Messages with codes that wait to be sent",
        picture.waiting_messages,
    );
    page.single(
        "kavadam_orders_waiting",
        "gauge",
        "Orders that gates have not obeyed yet",
        picture.waiting_orders,
    );
    page.head(
        "kavadam_database_read_seconds",
        "gauge",
        "What a small read of the database took just now",
    );
    let read = as_seconds(picture.database_micros);
    _ = writeln!(page.0, "kavadam_database_read_seconds {read}");
    page.0
}

fn counters(page: &mut Page, picture: &Picture) {
    type Counts = fn(&GateFigures) -> &std::collections::BTreeMap<String, u64>;
    let families: [(&str, &str, &str, Counts); 5] = [
        (
            "kavadam_radius_requests_total",
            "kind",
            "New and well signed requests",
            |of| &of.requests,
        ),
        ("kavadam_radius_replies_total", "code", "First answers", |of| {
            &of.replies
        }),
        ("kavadam_radius_rejects_total", "reason", "Access-Rejects", |of| {
            &of.rejects
        }),
        (
            "kavadam_radius_dropped_total",
            "reason",
            "Datagrams without an answer of their own",
            |of| &of.dropped,
        ),
        (
            "kavadam_radius_orders_total",
            "answer",
            "Orders to gates, sent and by what came of them",
            |of| &of.orders,
        ),
    ];
    // At addresses that several gates share. Strangers have a counter of their own.
    let mut nobody = Gate {
        id: 0,
        name: String::new(),
        site: String::new(),
        online: 0,
        unowned_reports: 0,
        figures: picture.nobody.clone(),
    };
    nobody.figures.dropped.remove(DropReason::UnknownSource.word());
    for (name, label, help, counts) in families {
        page.head(name, "counter", help);
        for gate in picture.gates.iter().chain([&nobody]) {
            for (word, count) in counts(&gate.figures) {
                page.sample(name, gate, &[(label, word)], *count);
            }
        }
    }
    page.head(
        "kavadam_radius_replayed_total",
        "counter",
        "Copies answered again, octet for octet",
    );
    for gate in &picture.gates {
        page.sample("kavadam_radius_replayed_total", gate, &[], gate.figures.replayed);
    }
    page.head(
        "kavadam_radius_unowned_reports_total",
        "counter",
        "Accounting reports that belong to no session, or that nobody can believe",
    );
    for gate in &picture.gates {
        page.sample("kavadam_radius_unowned_reports_total", gate, &[], gate.unowned_reports);
    }
}

/// Writing to a `String` cannot fail, so the results of `writeln!` are dropped.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        _ = writeln!(self.0, "{name} {value}");
    }

    fn sample(&mut self, name: &str, gate: &Gate, labels: &[(&str, &str)], value: u64) {
        _ = writeln!(self.0, "{name}{{{}}} {value}", labels_of(gate, labels));
    }

    /// `labels`: whose it is.
    fn histogram(&mut self, name: &str, labels: &str, buckets: &[u64], micros: u64) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (at, count) in buckets.iter().enumerate() {
            below += count;
            let bound = bucket_micros(at).filter(|_| at % BUCKETS_TOLD_EVERY == 0);
            if let Some(bound) = bound.map(as_seconds) {
                _ = writeln!(self.0, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}");
            }
        }
        _ = writeln!(self.0, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {below}");
        let whose = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{labels}}}")
        };
        _ = writeln!(self.0, "{name}_sum{whose} {}", as_seconds(micros));
        _ = writeln!(self.0, "{name}_count{whose} {below}");
    }
}

fn as_seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn labels_of(gate: &Gate, more: &[(&str, &str)]) -> String {
    let own = [("nas", gate.name.as_str()), ("site", gate.site.as_str())];
    let all = own.iter().chain(more);
    let all: Vec<String> = all
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    all.join(",")
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::Commits;
    use super::*;

    fn picture(name: &str) -> Picture {
        let mut figures = GateFigures::default();
        figures.rejects.insert("quota-used-up".into(), 3);
        figures.access_latency = vec![1, 2, 0, 4];
        figures.access_latency_micros = 1_500_000;
        Picture {
            at: 0.0,
            began_at: 0,
            gates: vec![Gate {
                id: 1,
                name: name.into(),
                site: "Stand".into(),
                online: 9,
                unowned_reports: 4,
                figures,
            }],
            strangers: vec![("192.0.2.1".into(), 5)],
            stranger_datagrams: 5,
            nobody: GateFigures::default(),
            waiting_messages: 0,
            waiting_orders: 0,
            database_micros: 120,
            commits: Commits {
                buckets: vec![0, 0, 5, 1],
                micros: 400,
                requests: 90,
            },
        }
    }

    #[test]
    fn each_figure_stands_with_its_gate_and_reason() {
        let page = text(&picture("gate-1"));
        for line in [
            "kavadam_radius_rejects_total{nas=\"gate-1\",site=\"Stand\",reason=\"quota-used-up\"} 3",
            "kavadam_radius_unowned_reports_total{nas=\"gate-1\",site=\"Stand\"} 4",
            "kavadam_sessions_online{nas=\"gate-1\",site=\"Stand\"} 9",
            "kavadam_radius_request_seconds_bucket{nas=\"gate-1\",site=\"Stand\",port=\"authentication\",le=\"0.000064\"} 3",
            "kavadam_radius_request_seconds_bucket{nas=\"gate-1\",site=\"Stand\",port=\"authentication\",le=\"+Inf\"} 7",
            "kavadam_radius_request_seconds_sum{nas=\"gate-1\",site=\"Stand\",port=\"authentication\"} 1.500000",
            "kavadam_radius_unknown_source_total 5",
            "kavadam_commit_seconds_bucket{le=\"0.000064\"} 5",
            "kavadam_commit_seconds_bucket{le=\"+Inf\"} 6",
            "kavadam_commit_seconds_sum 0.000400",
            "kavadam_commit_seconds_count 6",
            "kavadam_committed_requests_total 90",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains("192.0.2.1"), "no address in a label");
    }

    #[test]
    fn a_gate_with_a_hostile_name_cannot_forge_a_line() {
        let page = text(&picture("x\"} 1\nforged 1\\"));
        assert!(page.lines().all(|line| !line.starts_with("forged")), "{page}");
        assert!(page.contains("nas=\"x\\\"} 1\\nforged 1\\\\\""), "{page}");
    }
}
