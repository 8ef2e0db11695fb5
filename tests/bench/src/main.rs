//! `make bench`: what a login costs, a RADIUS round trip, opening a session, and a page. One JSON line for each, with medians;
//! peers are measured beside us in the same run.

mod kernel;
mod login;
mod radius;
mod sample;

use std::io::Write as _;

use serde_json::Value;

fn main() -> anyhow::Result<()> {
    let only = std::env::args().nth(1);
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("kernel") {
        print(&kernel::measure()?)?;
    }
    if wanted("radius") {
        print(&radius::measure()?)?;
    }
    if wanted("login") {
        print(&login::measure()?)?;
    }
    Ok(())
}

fn print(line: &Value) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// A program built beside this one.
fn beside(name: &str) -> anyhow::Result<std::path::PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(path.exists(), "{} is not built: run make bench", path.display());
    Ok(path)
}
