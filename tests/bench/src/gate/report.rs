//! Tables for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::compare::{Measured, Series};

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Everything measured.
pub fn markdown(measured: &[Measured], tcp: &[Value], rounds: usize, minutes: f64) -> String {
    let mut text = format!("{rounds} rounds, {minutes} minutes.\n\n");
    text.push_str(
        "| 64-octet packets | online | up, ns | to plain | without sending | down, ns | to plain | without sending |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for one in measured {
        let (peer, sessions) = (one.peer.name(), grouped(one.sessions));
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
        let sessions = one.get("sessions").and_then(Value::as_u64).unwrap_or_default();
        let offload = if one.get("offload") == Some(&Value::Bool(true)) {
            "with"
        } else {
            "without"
        };
        let _ = writeln!(
            text,
            "| {peer} | {} | {offload} | {:.2} | **{:.2}** | {:.2} | **{:.2}** |",
            grouped(u32::try_from(sessions).unwrap_or(u32::MAX)),
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

/// 1234567 as 1,234,567.
pub fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(
            [7, 250, 1000, 1_234_567].map(grouped),
            ["7", "250", "1,000", "1,234,567"]
        );
    }
}
