//! A quota of one person at three gates at once, each a process.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::process::Command;

use serde_json::Value;

/// A CPU that others use too may hold a report up for so long.
const DELAY_SECS: u64 = 2;

#[test]
fn gates_that_hold_their_limits_overrun_nothing_and_those_that_only_report_by_a_report_each() {
    let output = Command::new(env!("CARGO_BIN_EXE_kavadam-bench"))
        .arg("quota")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let quota = number(&told["quota_octets"]);
    let rate = number(&told["octets_per_sec_of_each_device"]);
    let by_a_report = rate * (number(&told["interim_ms"]) / 1000 + DELAY_SECS);
    let runs = told["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 4);
    for (run, careless) in runs.iter().zip([0, 0, 3, 1]) {
        let arrived = number(&run["arrived_octets_in_all"]);
        assert_eq!(number(&run["charged_octets"]), arrived, "charged as it arrived: {run}");
        assert_eq!(number(&run["promised_octets_at_the_end"]), 0, "{run}");
        assert!(arrived <= quota + careless * by_a_report, "{run}");
        assert!(arrived > quota / 2, "{run}");
    }
    let renewed = &runs[0];
    assert!(
        number(&renewed["left_octets"]) < quota / 50,
        "all of it can be used: {renewed}"
    );
}
