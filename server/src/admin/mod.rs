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

fn ago(now: Timestamp, at: Timestamp) -> String {
    format!("{} ago", span(now.since(at)))
}

/// In its largest whole unit.
fn span(span: Duration) -> String {
    match span.as_secs() {
        secs @ 0..120 => format!("{secs} s"),
        secs @ 120..7200 => format!("{} min", secs / 60),
        secs @ 7200..172_800 => format!("{} h", secs / 3600),
        secs => format!("{} days", secs / 86_400),
    }
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
