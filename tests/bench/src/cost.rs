//! What a process costs, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::bail;

/// Time on processors and memory at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Seconds, of the process and all its descendants, those that ended included.
    pub cpu_secs: f64,
    /// Octets resident, of the process alone: descendants share memory.
    pub resident: u64,
}

/// What it has cost so far.
pub fn cost(pid: u32) -> anyhow::Result<Cost> {
    let all = processes();
    if !all.contains_key(&pid) {
        bail!("there is no process {pid}");
    }
    let is_of = |mut one: u32| {
        while one != pid {
            match all.get(&one) {
                Some(process) => one = process.parent,
                None => return false,
            }
        }
        true
    };
    let ticks: u64 = all
        .iter()
        .filter(|(one, _)| is_of(**one))
        .map(|(_, process)| process.ticks)
        .sum();
    let ended = all.get(&pid).map_or(0, |process| process.ticks_of_ended);
    #[expect(clippy::cast_precision_loss, reason = "ticks of a few days")]
    let cpu_secs = (ticks + ended) as f64 / TICKS_PER_SEC;
    Ok(Cost {
        cpu_secs,
        resident: resident(pid).unwrap_or(0),
    })
}

/// `USER_HZ`, the same on every Linux that Rust's targets of ours run on.
const TICKS_PER_SEC: f64 = 100.0;

struct Process {
    parent: u32,
    ticks: u64,
    ticks_of_ended: u64,
}

fn processes() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, process(&stat)?))
        })
        .collect()
}

/// A line as proc(5) describes it. The name, in brackets, may hold anything.
fn process(stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
        ticks_of_ended: number(13)? + number(14)?,
    })
}

fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_be_called_anything() {
        let process = process("7 (a) b) S 3 0 0 0 0 0 0 0 0 0 10 20 1 2 0").unwrap();
        assert_eq!((process.parent, process.ticks, process.ticks_of_ended), (3, 30, 3));
    }

    #[test]
    fn our_own_cost_is_known() {
        let cost = cost(std::process::id()).unwrap();
        assert!(cost.resident > 0 && cost.cpu_secs >= 0.0);
        assert!(super::cost(u32::MAX).is_err());
    }
}
