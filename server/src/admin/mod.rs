//! The administrator's commands: parse, one use case, print.

pub(crate) mod gate;
mod people;
mod places;
mod plans;
pub(crate) mod probe;
mod record;
pub(crate) mod sniff;
mod top;
mod vendors;
mod vouchers;
mod why;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use kavadam_access::{Access, AccessError};
use kavadam_domain::Timestamp;
use kavadam_radius::profile::Profiles;
use serde_json::Value;

use crate::cli::{Command, RadiusCommand};
use crate::config::Config;
use crate::owner::Secrets;
use crate::{centre, clock};

/// Carries out an administrator's command on the configured database; the server may be running.
///
/// # Errors
/// The message is for the administrator.
pub async fn execute(config: &Config, command: Command, secrets: Secrets) -> anyhow::Result<ExitCode> {
    if let Command::Radius(RadiusCommand::Test(test)) = &command {
        return probe::run(config, test, &secrets).await;
    }
    if let Command::Radius(RadiusCommand::Sniff(sniff)) = &command {
        sniff::run(config, sniff).await?;
        return Ok(ExitCode::SUCCESS);
    }
    carry_out(config, command, secrets).await?;
    Ok(ExitCode::SUCCESS)
}

async fn carry_out(config: &Config, command: Command, secrets: Secrets) -> anyhow::Result<()> {
    if !config.file.role.has_centre() {
        bail!("this configuration has no centre: run the command where the database is");
    }
    if let Command::Radius(RadiusCommand::Top(top)) = &command {
        return top::run(&config.watch_socket(), top).await;
    }
    let access = centre::open(config).await?;
    let desk = Desk {
        access,
        profiles: Arc::clone(&config.profiles),
        actor: actor(),
        now: clock::now(),
        secrets,
    };
    match command {
        Command::Plan(command) => desk.plan(command).await,
        Command::Site(command) => desk.site(command).await,
        Command::Nas(command) => desk.nas(command).await,
        Command::Subscriber(command) => desk.subscriber(command).await,
        Command::Session(command) => desk.session(command).await,
        Command::Voucher(command) => desk.voucher(command).await,
        Command::Audit(command) => desk.audit(command).await,
        Command::Why(question) | Command::Radius(RadiusCommand::Why(question)) => {
            desk.why(question, &config.watch_socket()).await
        }
        _ => Ok(()),
    }
}

/// Who is at the keyboard, for the audit.
fn actor() -> String {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    format!("cli:{}", name.unwrap_or_else(|_| "unknown".to_owned()))
}

struct Desk {
    access: Access,
    profiles: Arc<Profiles>,
    actor: String,
    now: Timestamp,
    secrets: Secrets,
}

fn missing(kind: &'static str, name: &str) -> AccessError {
    AccessError::Missing {
        kind,
        name: name.to_owned(),
    }
}

/// How long ago; of what is older than a day the date and time, where this machine is.
fn ago(now: Timestamp, at: Timestamp) -> String {
    let since = now.since(at);
    if since < DAY {
        return format!("{} ago", span(since));
    }
    let there = at
        .to_jiff()
        .map(|at| at.to_zoned_datetime(jiff::tz::TimeZone::system()));
    there.map_or_else(
        || format!("{} ago", span(since)),
        |at| at.strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

const DAY: Duration = Duration::from_hours(24);

/// In its largest unit and the one below.
fn span(span: Duration) -> String {
    units_of(span, 2)
}

/// In so many units at most, from the largest on that it has.
fn units_of(span: Duration, most: usize) -> String {
    let secs = span.as_secs();
    if secs < 120 {
        return format!("{secs} s");
    }
    let days = secs / 86_400;
    let units = [
        (days, if days == 1 { "day" } else { "days" }),
        (secs / 3600 % 24, "h"),
        (secs / 60 % 60, "min"),
        (secs % 60, "s"),
    ];
    let from_largest = units.iter().skip_while(|(count, _)| *count == 0).take(most);
    let shown = from_largest.filter(|(count, _)| *count > 0);
    shown
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A line of heads, and the rows below them.
fn table<const N: usize>(heads: [&str; N], rows: Vec<[String; N]>) -> Vec<String> {
    let mut lines = vec![heads.map(str::to_owned)];
    lines.extend(rows);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |cells: &[String; N]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect()
}

/// One thing, a line for each of its sides.
fn sheet(sides: &[(&str, String)]) -> Vec<String> {
    let width = sides.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    sides
        .iter()
        .map(|(name, value)| format!("{name:width$}  {value}"))
        .collect()
}

/// A thing that was there until now.
fn ended(mut thing: Value) -> Value {
    if let Some(keys) = thing.as_object_mut() {
        keys.insert("is_ended".to_owned(), true.into());
    }
    thing
}

/// What was set, as it is now: for people whether it was made, which a mistyped name does, or changed.
fn print_set(
    is_json: bool,
    (what, is_new): (&str, bool),
    mut thing: Value,
    lines: impl FnOnce() -> Vec<String>,
) -> anyhow::Result<()> {
    if let Some(keys) = thing.as_object_mut() {
        keys.insert("is_new".to_owned(), is_new.into());
    }
    print(is_json, &thing, || {
        let done = if is_new { "made" } else { "changed" };
        let mut all = vec![format!("{what} is {done}"), String::new()];
        all.extend(lines());
        all
    })
}

/// As JSON, or as lines for people.
fn print(is_json: bool, json: &Value, lines: impl FnOnce() -> Vec<String>) -> anyhow::Result<()> {
    if is_json {
        return say(&serde_json::to_string_pretty(json)?);
    }
    lines().iter().try_for_each(|line| say(line))
}

/// A reader that went away is no failure.
fn say(line: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_two_units_or_in_all_it_has() {
        let told = |secs| span(Duration::from_secs(secs));
        assert_eq!(told(65), "65 s");
        assert_eq!(told(150), "2 min 30 s");
        assert_eq!(told(600), "10 min");
        assert_eq!(told(150 * 60), "2 h 30 min");
        assert_eq!(told(4 * 3600 + 5), "4 h");
        assert_eq!(told(86_400), "1 day");
        assert_eq!(told(3 * 86_400 + 7200), "3 days 2 h");
        assert_eq!(units_of(Duration::from_secs(86_400 + 61), 4), "1 day 1 min 1 s");
    }

    #[test]
    fn of_what_is_older_than_a_day_the_date_is_told() {
        let now = clock::now();
        let before = |secs: u64| Timestamp(now.0 - i64::try_from(secs).unwrap() * 1_000_000);
        assert_eq!(ago(now, before(7_260)), "2 h 1 min ago");
        let told = ago(now, before(3 * 86_400));
        assert!(
            told.starts_with("20") && told.len() == "2026-11-28 14:05".len(),
            "{told}"
        );
    }

    #[test]
    fn columns_stand_below_their_heads_whatever_the_script() {
        let rows = vec![
            ["വിഴിഞ്ഞം".to_owned(), "1".to_owned()],
            ["A".to_owned(), "22".to_owned()],
        ];
        let lines = table(["SITE", "ID"], rows);
        let second = |line: &String| {
            let cells: Vec<char> = line.chars().collect();
            cells.iter().rposition(|c| *c == ' ').map(|at| at + 1)
        };
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| second(line) == second(&lines[0])), "{lines:?}");
    }
}
