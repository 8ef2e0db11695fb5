//! `make bench`: what opening a session costs, a RADIUS round trip, what TLS costs of it, a login, a page, a name, what a flood takes from others, how near TCP comes to a plan's speed, who gets how much of a full uplink, and what crosses beyond a quota. One JSON line for each, with medians of
//! several runs; peers are measured beside us in the same run.

mod crowd;
mod floods;
mod kernel;
mod login;
mod names;
mod overrun;
mod portal;
mod radius;
mod radsec;
mod sample;
mod shares;
mod speeds;

use std::io::Write as _;
use std::path::Path;

use anyhow::bail;
use kavadam_lab::traces;
use serde_json::Value;

/// Runs of each part, whose median is told.
const RUNS: usize = 3;

type Part = (&'static str, fn() -> anyhow::Result<Value>);

const PARTS: [Part; 10] = [
    ("kernel", kernel::measure),
    ("radius", radius::measure),
    ("radsec", radsec::measure),
    ("login", login::measure),
    ("portal", portal::measure),
    ("names", names::measure),
    ("floods", floods::measure),
    ("speeds", speeds::measure),
    ("shares", shares::measure),
    ("quota", overrun::measure),
];

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [radius::INSIDE, dir] => print(&radius::measure_inside(Path::new(dir))?),
        [radsec::INSIDE, dir] => print(&radsec::measure_inside(Path::new(dir))?),
        [names::INSIDE, at, many] => print(&names::measure_inside(at, many)?),
        [overrun::GATE, description] => overrun::be_gate(description),
        [] => measure(&PARTS),
        [name] => match PARTS.iter().find(|(known, _)| known == name) {
            Some(part) => measure(&[*part]),
            None => bail!(
                "there is no part {name}: say kernel, radius, radsec, login, portal, names, floods, speeds, shares or quota"
            ),
        },
        _ => bail!("say one part, or none for all"),
    }
}

fn measure(parts: &[Part]) -> anyhow::Result<()> {
    traces::heed_signals(|| 130)?;
    for (name, measure) in parts {
        let mut line = measure()?;
        if let Some(fields) = line.as_object_mut() {
            fields.insert("part".to_owned(), Value::from(*name));
        }
        print(&line)?;
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
