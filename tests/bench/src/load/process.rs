//! Which processes are watched, and what the kernel threw away before they could read it.

use std::fs;
use std::str::FromStr;

use anyhow::Context as _;

/// A name and the process behind it: `server=1234`.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What it is called in the report.
    pub name: String,
    /// Its number; its descendants are counted with it.
    pub pid: u32,
}

impl FromStr for Watched {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, pid) = text.split_once('=').context("say NAME=PID, such as server=1234")?;
        let name = name.to_owned();
        Ok(Self {
            name,
            pid: pid.parse()?,
        })
    }
}

/// Datagrams that found the buffer of a UDP port full, of all sockets of this port in our network namespace.
pub fn dropped(port: u16) -> u64 {
    let local = format!(":{port:04X}");
    let dropped_by = |line: &str| {
        let mut fields = line.split_whitespace();
        let is_it = fields.nth(1)?.ends_with(&local);
        is_it.then(|| fields.next_back()?.parse::<u64>().ok()).flatten()
    };
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables
        .iter()
        .flat_map(|table| table.lines())
        .filter_map(dropped_by)
        .sum()
}
