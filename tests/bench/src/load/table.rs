//! Tables for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::figures::{grouped, median};

/// A number somewhere in a value, 0 where there is none.
pub fn figure(of: &Value, at: &str) -> f64 {
    of.pointer(at).and_then(Value::as_f64).unwrap_or(0.0)
}

/// Everything measured.
pub fn markdown(all: &Value) -> String {
    let measured = all
        .get("measured")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let runs = figure(all, "/runs");
    let mut text = format!(
        "{} measurement, {} minutes, {runs} runs of each; {} requests in flight from {} gates where the highest rate is sought.\n",
        if all.get("quick") == Some(&Value::Bool(true)) {
            "Quick"
        } else {
            "Full"
        },
        figure(all, "/minutes"),
        figure(all, "/in_flight"),
        figure(all, "/gates"),
    );
    // Writing to a String cannot fail.
    rates(&mut text, &measured);
    memories(&mut text, &measured);
    storms(&mut text, &measured);
    floods(&mut text, &measured);
    text
}

fn rates(text: &mut String, measured: &[Value]) {
    text.push_str(
        "\n| | database | devices | Kavadam /s | FreeRADIUS as packaged /s | ratio | trimmed /s | ratio | p50 / p99 at half, ms | the \
         trimmed peer's | CPU µs a request: server + database | the trimmed peer's | generator |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for (key, shown) in [
        ("reauth", "logins again"),
        ("auth", "logins, new visits"),
        ("acct", "accounting"),
        ("mix", "mix"),
    ] {
        for one in measured {
            let (ours, theirs) = (at(one, &[key, "kavadam"]), at(one, &[key, "freeradius"]));
            let packaged = at(one, &[key, "packaged"]);
            let _ = writeln!(
                text,
                "| {shown} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                word(one, "database"),
                grouped(figure(one, "/devices")),
                rate(ours),
                rate(packaged),
                ratio(ours, packaged),
                rate(theirs),
                ratio(ours, theirs),
                latency(ours),
                latency(theirs),
                cost(ours),
                cost(theirs),
                generator(ours),
            );
        }
    }
}

fn memories(text: &mut String, measured: &[Value]) {
    text.push_str("\n| memory of the server | database | devices | at start | sessions heard of | then | a further session |\n|---|---|--:|--:|--:|--:|--:|\n");
    for who in ["kavadam", "freeradius"] {
        for one in measured {
            let Some(memory) = one.get(format!("{who}_memory")) else {
                continue;
            };
            let first = measured
                .iter()
                .find(|other| other.get("database") == one.get("database"));
            let further = first.map_or(0.0, |first| further(who, first, one));
            let _ = writeln!(
                text,
                "| {who} | {} | {} | {} | {} | {} | {} |",
                word(one, "database"),
                grouped(figure(one, "/devices")),
                mib(figure(memory, "/at_start")),
                grouped(figure(memory, "/reported")),
                mib(figure(memory, "/resident")),
                if further == 0.0 {
                    "–".into()
                } else {
                    format!("{further:.0} octets")
                },
            );
        }
    }
}

/// Octets for each session more than in the first measurement.
fn further(who: &str, first: &Value, one: &Value) -> f64 {
    let resident = |of: &Value| figure(of, &format!("/{who}_memory/resident"));
    let reported = |of: &Value| figure(of, &format!("/{who}_memory/reported"));
    let more = reported(one) - reported(first);
    if more > 0.0 {
        (resident(one) - resident(first)) / more
    } else {
        0.0
    }
}

fn storms(text: &mut String, measured: &[Value]) {
    text.push_str("\n| storm | database | devices | seconds | lost | refused | asked again | login p99 | generator's gates out of identifiers |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for_each(measured, "storm", |who, one, storm| {
        let _ = writeln!(
            text,
            "| {who} | {} | {} | {:.0} | {} | {} | {} | {} | {} |",
            word(one, "database"),
            grouped(figure(one, "/devices")),
            figure(storm, "/seconds"),
            grouped(figure(storm, "/lost")),
            grouped(figure(storm, "/rejected")),
            grouped(figure(storm, "/asked_again")),
            millis(figure(storm, "/latency_by_step/login/p99_us")),
            grouped(figure(storm, "/no_identifier_left")),
        );
    });
}

fn floods(text: &mut String, measured: &[Value]) {
    text.push_str("\n| flood of bad datagrams | database | sent /s | others lost | asked again | their p99 | without flood | CPU of one from an unknown source |\n|---|---|--:|--:|--:|--:|--:|--:|\n");
    for_each(measured, "flood", |who, one, flood| {
        let _ = writeln!(
            text,
            "| {who} | {} | {} | {} of {} | {} | {} | {} | {} µs |",
            word(one, "database"),
            grouped(figure(flood, "/flooded/flood_sent") / figure(flood, "/flooded/seconds").max(1.0)),
            grouped(figure(flood, "/flooded/lost")),
            grouped(figure(flood, "/flooded/due")),
            grouped(figure(flood, "/flooded/asked_again")),
            millis(figure(flood, "/flooded/latency/p99_us")),
            millis(figure(flood, "/calm/latency/p99_us")),
            figure(flood, "/unknown_source_cpu_us"),
        );
    });
}

fn for_each(measured: &[Value], what: &str, mut write: impl FnMut(&str, &Value, &Value)) {
    for who in ["kavadam", "freeradius"] {
        for one in measured {
            if let Some(found) = one.get(format!("{who}_{what}")) {
                write(who, one, found);
            }
        }
    }
}

fn at<'a>(of: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(of, |value, key| value.get(key))
}

fn word<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn or_dash(of: Option<&Value>, show: impl FnOnce(&Value) -> String) -> String {
    of.map_or_else(|| "–".into(), show)
}

/// A server that says no to people who may come in has no rate.
fn rate(of: Option<&Value>) -> String {
    if is_refusing(of) {
        return "refuses".into();
    }
    or_dash(of, |of| grouped(figure(of, "/rate")))
}

/// More than one in a hundred.
fn is_refusing(of: Option<&Value>) -> bool {
    let runs = of.and_then(|of| of.get("runs")).and_then(Value::as_array);
    runs.is_some_and(|runs| {
        runs.iter()
            .any(|run| figure(run, "/rejected") * 100.0 > figure(run, "/due"))
    })
}

/// The median of the runs' ratios, since the two took turns.
fn ratio(ours: Option<&Value>, theirs: Option<&Value>) -> String {
    let runs = |of: Option<&Value>| {
        of.and_then(|of| of.get("runs"))
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    if is_refusing(ours) || is_refusing(theirs) {
        return "–".into();
    }
    let each = runs(ours);
    let ratios: Vec<f64> = each
        .iter()
        .zip(&runs(theirs))
        .map(|(our, their)| figure(our, "/rate") / figure(their, "/rate").max(1.0))
        .collect();
    if ratios.is_empty() {
        "–".into()
    } else {
        format!("**{:.1}**", median(ratios))
    }
}

fn latency(of: Option<&Value>) -> String {
    or_dash(of, |of| {
        let of = |name: &str| figure(of, &format!("/at_half/latency/{name}")) / 1000.0;
        format!("{:.1} / {:.1}", of("p50_us"), of("p99_us"))
    })
}

/// Where it was loaded most, the median of the runs.
fn cpu(of: &Value, process: &str) -> f64 {
    let runs = of.get("runs").and_then(Value::as_array).cloned().unwrap_or_default();
    let path = format!("/processes/{process}/cpu_us_per_request");
    median(runs.iter().map(|run| figure(run, &path)).collect())
}

fn cost(of: Option<&Value>) -> String {
    or_dash(of, |of| {
        format!("{:.0} + {:.0}", cpu(of, "server"), cpu(of, "database"))
    })
}

fn generator(of: Option<&Value>) -> String {
    or_dash(of, |of| format!("{:.0}", cpu(of, "generator")))
}

fn mib(octets: f64) -> String {
    format!("{:.0} MiB", octets / f64::from(1 << 20))
}

fn millis(micros: f64) -> String {
    format!("{:.1} ms", micros / 1000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn runs(rates: [u32; 3]) -> Value {
        json!({ "rate": rates[1], "runs": rates.map(|rate| json!({ "rate": rate })) })
    }

    #[test]
    fn one_slow_run_does_not_move_the_ratio() {
        let (ours, theirs) = (runs([40_000, 40_000, 9]), runs([4_000, 4_000, 1_000]));
        assert_eq!(ratio(Some(&ours), Some(&theirs)), "**10.0**");
        assert_eq!(ratio(Some(&ours), None), "–");
    }

    #[test]
    fn whoever_refuses_has_no_rate() {
        let ours = runs([40_000, 40_000, 40_000]);
        let theirs = json!({ "rate": 500, "runs": [{ "rate": 500, "rejected": 90, "due": 500 }] });
        assert_eq!(
            (rate(Some(&theirs)).as_str(), ratio(Some(&ours), Some(&theirs)).as_str()),
            ("refuses", "–")
        );
        assert_eq!(rate(Some(&ours)), "40,000");
    }

    #[test]
    fn memory_of_a_session_is_what_more_of_them_take() {
        let with =
            |reported: u32, resident: u32| json!({ "kavadam_memory": { "resident": resident, "reported": reported } });
        assert!((further("kavadam", &with(10, 1_000), &with(20, 6_000)) - 500.0).abs() < 1e-9);
    }

    #[test]
    fn large_figures_are_read_in_groups() {
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!(grouped(12.0), "12");
    }
}
