//! A machine whose configuration nobody can use: which of its interfaces the devices are at is not known, so nothing at all is forwarded.
//!
//! By `nft`, and not as gates are loaded: there is neither a layout to compile rules of, nor anything to keep.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Apart from the tables of gates, so that those are none the wiser.
const TABLE: &str = "kavadam-shut";
/// A set that every gate's table has.
const OF_A_GATE: &str = "set lease_macs {";

/// Forwards nothing any more, unless a gate stands: its rules hold, and judge the LANs whose gates are not there too.
///
/// # Errors
/// `nft` is not there, or not allowed to.
pub fn shut() -> anyhow::Result<()> {
    if does_a_gate_stand()? {
        return Ok(());
    }
    load(&format!(
        "add table inet {TABLE}\nflush table inet {TABLE}\n\
         add chain inet {TABLE} forward {{ type filter hook forward priority raw; policy drop; }}\n"
    ))?;
    // One that was closed meanwhile looked for our table before it was there.
    if does_a_gate_stand()? {
        return lift();
    }
    eprintln!(
        "kavadam: nothing is forwarded, to anybody, until the gate is closed with a configuration that can be used"
    );
    Ok(())
}

/// A gate stands.
///
/// # Errors
/// `nft` is not there, or not allowed to.
pub fn lift() -> anyhow::Result<()> {
    if said(&["list", "tables", "inet"])?
        .lines()
        .any(|line| line.ends_with(TABLE))
    {
        load(&format!("delete table inet {TABLE}\n"))?;
    }
    Ok(())
}

/// Those online, and the sets' contents with them, need not be read for that.
fn does_a_gate_stand() -> anyhow::Result<bool> {
    Ok(said(&["--terse", "list", "sets", "inet"])?.contains(OF_A_GATE))
}

fn said(words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("nft").args(words).output().context("nft does not run")?;
    if !output.status.success() {
        bail!("nft: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn load(rules: &str) -> anyhow::Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("nft does not run")?;
    let written = nft.stdin.take().map(|mut stdin| stdin.write_all(rules.as_bytes()));
    let output = nft.wait_with_output()?;
    if !output.status.success() {
        bail!("nft: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    written.context("nft takes nothing")??;
    Ok(())
}
