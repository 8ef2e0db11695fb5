//! The gate in real network namespaces: phones, a gateway and an internet, each its own.
//!
//! A netlink socket belongs to the namespace of its process, so each case runs in a process of its own inside the
//! gateway's: this program starts itself again through `ip netns exec`, as a case (`inside`) or as somebody at either end
//! of the wire (`tool`). Words on the command line select cases by name.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test without the standard harness is still a test"
)]

mod before_login;
mod classes;
mod compiled;
mod crowds;
mod endings;
mod filters;
mod lab;
mod meddling;
mod quotas;
mod restarts;
mod sessions;
mod shares;
mod shut;
mod tools;

use std::process::ExitCode;
use std::time::Instant;

use lab::{Inside, Lab};

/// A sentence, and what shows that it holds.
type Case = (&'static str, fn(&Inside));

fn cases() -> Vec<Case> {
    [
        before_login::CASES,
        sessions::CASES,
        crowds::CASES,
        filters::CASES,
        quotas::CASES,
        endings::CASES,
        restarts::CASES,
        meddling::CASES,
        shares::CASES,
        classes::CASES,
        compiled::CASES,
        shut::CASES,
    ]
    .concat()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["tool", rest @ ..] => {
            tools::run(rest);
            ExitCode::SUCCESS
        }
        ["inside", name, prefix] => {
            let (_, case) = cases()
                .into_iter()
                .find(|(known, _)| known == name)
                .expect("a case of that name");
            case(&Inside::new(prefix));
            ExitCode::SUCCESS
        }
        words => run_all(words),
    }
}

fn run_all(words: &[&str]) -> ExitCode {
    let filters: Vec<&&str> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let selected: Vec<Case> = cases()
        .into_iter()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|f| name.contains(**f)))
        .collect();
    if words.contains(&"--list") {
        for (name, _) in &selected {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if let Some(reason) = lab::why_impossible() {
        eprintln!("the tests of the gate cannot run: they need {reason}");
        return ExitCode::FAILURE;
    }
    println!("\nrunning {} tests in network namespaces", selected.len());
    let failed: Vec<&str> = selected
        .iter()
        .filter(|case| !run_one(case.0))
        .map(|(name, _)| *name)
        .collect();
    println!(
        "\n{} passed, {} failed {failed:?}\n",
        selected.len() - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run_one(name: &str) -> bool {
    let start = Instant::now();
    let output = Lab::build().run_inside(name);
    let word = if output.status.success() { "ok" } else { "FAILED" };
    println!("test {name} ... {word} ({:.1} s)", start.elapsed().as_secs_f32());
    for stream in [&output.stdout, &output.stderr] {
        if !output.status.success() || !stream.is_empty() {
            print!("{}", String::from_utf8_lossy(stream));
        }
    }
    output.status.success()
}
