//! The state directory, the clock, and whether anything is forwarded at all.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use kavadam_firewall::shut;

use super::Findings;

/// Accounting of weeks without a centre, and the database beside it.
const LEAST_FREE_MIB: u64 = 512;

/// Whether kavadam can write its state, and for how long.
pub(super) fn check_state(dir: &Path, findings: &mut Findings) {
    let shown = dir.display();
    let Ok(state) = std::fs::metadata(dir) else {
        return findings.good(&format!("{shown} is not there yet: the first start makes it"));
    };
    let mut test = Command::new("test");
    test.arg("-w").arg(dir);
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if is_root {
        test.uid(state.uid()).gid(state.gid());
    }
    if test.status().is_ok_and(|status| status.success()) {
        findings.good(&format!("{shown} can be written"));
    } else {
        let remedy = "mount it writable, and give it to the user kavadam runs as";
        findings.bad(&format!("{shown} cannot be written"), remedy);
    }
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for file in files.filter(|file| file.metadata().is_ok_and(|found| found.uid() != state.uid())) {
        let path = file.path();
        findings.bad(
            &format!("{} belongs to another user than its directory", path.display()),
            &format!("chown --reference={shown} {}", path.display()),
        );
    }
    match free_mib(dir) {
        Some(free) if free < LEAST_FREE_MIB => findings.bad(
            &format!("{shown} has {free} MiB left"),
            "make room: with a full disk nobody new comes online",
        ),
        Some(free) => findings.good(&format!("{shown} has {free} MiB left")),
        None => findings.unsure(&format!("how much room {shown} has is unknown: df does not answer")),
    }
}

fn free_mib(dir: &Path) -> Option<u64> {
    let output = Command::new("df")
        .args(["--output=avail", "-BM"])
        .arg(dir)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().nth(1)?.trim().strip_suffix('M')?.parse().ok()
}

/// As long as the machine is shut, whatever else is right helps nobody. Whoever may not look is told so elsewhere.
pub(super) fn check_shut(findings: &mut Findings) {
    if matches!(shut::is_shut(), Ok(true)) {
        findings.bad(
            &format!("the gate could not be closed: nothing is forwarded, to anybody (table inet {})", shut::TABLE),
            &format!(
                "correct what is told here and by `systemctl status kavadam-closed`, then systemctl restart kavadam-closed kavadam; where no gateway \
                 is wanted: nft delete table inet {}",
                shut::TABLE
            ),
        );
    }
}

/// Quotas and records need a clock that is right.
pub(super) fn check_time(findings: &mut Findings) {
    match by_systemd().or_else(by_chrony) {
        Some(true) => findings.good("the clock is synchronised"),
        Some(false) => findings.bad("the clock is not synchronised", "apt-get install chrony"),
        None => findings.unsure(
            "whether the clock is synchronised is unknown, for neither timedatectl nor chronyc answers; periods and expiries go by it: \
             apt-get install chrony",
        ),
    }
}

fn by_systemd() -> Option<bool> {
    let said = said("timedatectl", &["show", "-p", "NTPSynchronized", "--value"])?;
    Some(said.trim() == "yes")
}

fn by_chrony() -> Option<bool> {
    let said = said("chronyc", &["-n", "tracking"])?;
    let leap = said.lines().find(|line| line.starts_with("Leap status"))?;
    Some(!leap.contains("Not synchronised"))
}

pub(super) fn said(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
