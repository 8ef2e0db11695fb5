//! Tables for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::compare::{Measured, Series};
use super::figures::{grouped, median};

/// Everything measured.
pub fn markdown(measured: &[Measured], tcp: &[Value], rounds: usize, minutes: f64) -> String {
    let mut text = format!("{rounds} rounds, {minutes} minutes.\n\n");
    text.push_str(
        "| 64-octet packets | online | up, ns | to plain | without sending | down, ns | to plain | without sending |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for one in measured {
        let (peer, sessions) = (one.peer.name(), grouped(one.sessions.into()));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {peer} | {sessions} | {} | {} |",
            cells(&one.up),
            cells(&one.down)
        );
    }
    if tcp.is_empty() {
        return text;
    }
    text.push_str(
        "\n| TCP, one flow | online | offload | up, Gbit/s | to the router | down, Gbit/s | to the router |\n\
         |---|--:|---|--:|--:|--:|--:|\n",
    );
    for one in tcp {
        let figure = |name: &str| one.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let peer = one.get("peer").and_then(Value::as_str).unwrap_or_default();
        let offload = if one.get("offload") == Some(&Value::Bool(true)) {
            "with"
        } else {
            "without"
        };
        let _ = writeln!(
            text,
            "| {peer} | {} | {offload} | {:.2} | **{:.2}** | {:.2} | **{:.2}** |",
            grouped(figure("sessions")),
            figure("up_gbit"),
            figure("up_to_router"),
            figure("down_gbit"),
            figure("down_to_router"),
        );
    }
    text
}

fn cells(series: &Series) -> String {
    let (nanos, ratio, net) = (&series.nanos, &series.ratios, &series.net_ratios);
    format!(
        "{:.0} | **{:.2}** | {:.2}",
        median(nanos.clone()),
        median(ratio.clone()),
        median(net.clone())
    )
}
