//! What those of some plans get together of a full line.

use std::collections::BTreeMap;

use anyhow::Context as _;
use kavadam_domain::ClassName;
use kavadam_gateway::{Portion, ShapingClass, Uplink, class_problems};

use super::values::uplink;
use crate::config::file::{File, UplinkClass};
use crate::config::problems::Problems;
use crate::units;

/// Finds what [`classes`] could not use, and what the line cannot give.
pub(super) fn check(file: &File, problems: &mut Problems) {
    let given = &file.gateway.uplink.classes;
    // What is wrong with the line itself is told elsewhere.
    let Ok(line) = uplink(file) else { return };
    let mut classes = BTreeMap::new();
    for (name, class) in given {
        match read(name, class, line) {
            Ok((name, class)) => _ = classes.insert(name, class),
            Err(error) => problems.add(&format!("gateway.uplink.classes.{name}"), &format!("{error:#}")),
        }
    }
    for text in class_problems(&classes, line) {
        problems.add("gateway.uplink.classes", &text);
    }
}

/// By name; what is a part of the line, reckoned.
pub(super) fn classes(file: &File) -> anyhow::Result<BTreeMap<ClassName, ShapingClass>> {
    let line = uplink(file)?;
    let read = |(name, class): (&String, &UplinkClass)| {
        read(name, class, line).with_context(|| format!("gateway.uplink.classes.{name}"))
    };
    file.gateway.uplink.classes.iter().map(read).collect()
}

fn read(name: &str, class: &UplinkClass, line: Option<Uplink>) -> anyhow::Result<(ClassName, ShapingClass)> {
    let name = name.parse()?;
    let portion = |line: u64| {
        anyhow::Ok(Portion {
            at_least_bits_per_sec: speed(&class.at_least, line).context("at_least")?.unwrap_or(0),
            at_most_bits_per_sec: speed(&class.at_most, line).context("at_most")?,
        })
    };
    // Without a line every part of it is nothing, and that there is none is the complaint.
    let (up, down) = line.map_or((0, 0), |line| (line.up_bits_per_sec, line.down_bits_per_sec));
    let class = ShapingClass {
        up: portion(up)?,
        down: portion(down)?,
    };
    Ok((name, class))
}

/// `20%` of the line, or a speed; nothing, if nothing is said.
fn speed(text: &str, line: u64) -> anyhow::Result<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let Some(percent) = text.strip_suffix('%') else {
        let speed = units::rate(text).map_err(anyhow::Error::msg)?;
        return Ok(Some(speed));
    };
    let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
    let percent: u64 = percent.with_context(|| format!("`{text}` is no part of the line: write 1% to 100%"))?;
    Ok(Some(line / 100 * percent))
}
