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

mod addresses;
mod before_login;
mod classes;
mod compiled;
mod crowds;
mod endings;
mod filters;
mod floods;
mod frames;
mod free;
mod holders;
mod impostors;
mod lab;
mod looks;
mod meddling;
mod nft;
mod quotas;
mod resolver;
mod restarts;
mod sessions;
mod shares;
mod shut;
mod tools;

use std::process::{ExitCode, Output};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lab::{Inside, Lab};

/// A sentence, and what shows that it holds.
type Case = (&'static str, fn(&Inside));

/// Cases that take what processor there is, or measure a speed that others would disturb: nothing else runs beside them.
const ALONE: &[&str] = &[
    "never_lets_more_than_the_quota_through_at_line_rate",
    "raises_the_limit_under_full_load_without_a_slip",
    "holds_tcp_to_the_plans_speed",
];

/// How many of the others run at the same time: they wait more than they work.
const BESIDE: usize = 3;

fn cases() -> Vec<Case> {
    [
        before_login::CASES,
        resolver::CASES,
        floods::CASES,
        addresses::CASES,
        sessions::CASES,
        crowds::CASES,
        filters::CASES,
        free::CASES,
        quotas::CASES,
        endings::CASES,
        restarts::CASES,
        meddling::CASES,
        looks::CASES,
        shares::CASES,
        classes::CASES,
        compiled::CASES,
        shut::CASES,
        impostors::CASES,
        holders::CASES,
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
    for name in ALONE {
        assert!(
            cases().iter().any(|(known, _)| known == name),
            "no case is named {name}"
        );
    }
    if let Some(reason) = lab::why_impossible() {
        eprintln!("the tests of the gate cannot run: they need {reason}");
        return ExitCode::FAILURE;
    }
    println!("\nrunning {} tests in network namespaces", selected.len());
    let names = |alone: bool| {
        let of_these = selected.iter().filter(move |(name, _)| ALONE.contains(name) == alone);
        of_these.map(|(name, _)| *name).rev().collect::<Vec<_>>()
    };
    let mut failed = run_beside(names(false), BESIDE);
    failed.extend(run_beside(names(true), 1));
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

/// Runs them from the last to the first, so many at a time; returns those that failed.
fn run_beside(names: Vec<&'static str>, workers: usize) -> Vec<&'static str> {
    let (waiting, failed) = (Mutex::new(names), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap().pop();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(name) = next() {
                    let start = Instant::now();
                    let output = Lab::build().run_inside(name);
                    if !output.status.success() {
                        failed.lock().unwrap().push(name);
                    }
                    tell(name, start.elapsed(), &output);
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

/// One case's result, in one piece.
fn tell(name: &str, took: Duration, output: &Output) {
    let succeeded = output.status.success();
    let word = if succeeded { "ok" } else { "FAILED" };
    let mut text = format!("test {name} ... {word} ({:.1} s)", took.as_secs_f32());
    for stream in [&output.stdout, &output.stderr] {
        if !stream.is_empty() {
            text = format!("{text}\n{}", String::from_utf8_lossy(stream).trim_end());
        }
    }
    println!("{text}");
}
