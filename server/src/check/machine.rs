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

/// Where the machine keeps that it forwards.
const SYSCTL_FILE: &str = "/etc/sysctl.d/60-kavadam.conf";

/// Whether the kernel forwards, by what `read` finds at a path of /proc. One remedy for both families, since it writes the whole file: who
/// follows it for the one does not lose the other at the next boot.
pub(super) fn check_forwarding(has_ipv6: bool, read: impl Fn(&str) -> Option<String>, findings: &mut Findings) {
    let mut keys = vec![("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward")];
    if has_ipv6 {
        keys.push(("net.ipv6.conf.all.forwarding", "/proc/sys/net/ipv6/conf/all/forwarding"));
    }
    let lines: Vec<String> = keys.iter().map(|(key, _)| format!("{key} = 1\\n")).collect();
    let remedy = format!("printf '{}' > {SYSCTL_FILE} && sysctl --system", lines.concat());
    for (key, path) in keys {
        if read(path).is_some_and(|value| value.trim() == "1") {
            findings.good(&format!("{key} is on"));
        } else {
            findings.bad(&format!("{key} is off: nothing will be forwarded"), &remedy);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the file holds after every remedy was followed in turn, with `sysctl` itself left out.
    fn after_remedies(has_ipv6: bool, read: impl Fn(&str) -> Option<String>) -> Option<String> {
        let mut findings = Findings::default();
        check_forwarding(has_ipv6, read, &mut findings);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("60-kavadam.conf");
        for line in findings.lines {
            let Some((_, remedy)) = line.split_once("→ ") else {
                continue;
            };
            let here = remedy.replace(SYSCTL_FILE, &file.display().to_string());
            let script = format!("sysctl() {{ :; }}\n{here}");
            assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        }
        std::fs::read_to_string(file).ok()
    }

    #[test]
    fn who_follows_every_remedy_for_forwarding_forwards_both_families_after_the_next_boot() {
        let (four, six) = ("net.ipv4.ip_forward = 1\n", "net.ipv6.conf.all.forwarding = 1\n");
        let both = Some(format!("{four}{six}"));
        assert_eq!(after_remedies(true, |_| Some("0\n".into())), both);
        let is_on =
            |which: &'static str| move |path: &str| Some(if path.contains(which) { "1\n" } else { "0\n" }.into());
        assert_eq!(
            after_remedies(true, is_on("ipv4")),
            both,
            "what is on by hand alone is kept too"
        );
        assert_eq!(after_remedies(true, |_| Some("1\n".into())), None);
        assert_eq!(after_remedies(false, |_| None), Some(four.into()));
    }
}
