//! A machine that boots with systemd, in a network namespace: Debian as it is installed here, on a disk of its own in memory.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::netns::Netns;
use crate::world::until;

/// What boots it, and leaves nothing behind.
const POWER: &str = include_str!("machine.sh");

/// From its installation until systemd says that it runs, on a machine that is busy with other things.
const BOOT: Duration = Duration::from_secs(90);

/// Without power, and gone, when it is dropped.
pub struct Machine {
    power: Child,
    cord: Option<ChildStdin>,
    log: PathBuf,
    process: u32,
}

impl Machine {
    /// Boots it in this network, after `before`, a shell's script, was run in it: there the source is at `/usr/src/kavadam` and the program
    /// at `/root/kavadam`. Its directory is for it alone, and has a name that no other has.
    ///
    /// # Errors
    /// No root, the kernel does not let us, or it does not come up; what it said is in the message.
    pub fn boot(netns: &Netns, dir: &Path, source: &Path, program: &Path, before: &str) -> anyhow::Result<Self> {
        fs::create_dir(dir)?;
        let log = dir.join("console");
        let console = File::create(&log)?;
        let mut power = netns
            .command("bash")
            .args(["-c", POWER, "machine"])
            .args([dir, source, program])
            .arg(before)
            .stdin(Stdio::piped())
            .stdout(console.try_clone()?)
            .stderr(console)
            // Whoever ends the test, by a key or its group, ends this by its standard input.
            .process_group(0)
            .spawn()
            .context("cannot start bash")?;
        let mut machine = Self {
            cord: power.stdin.take(),
            power,
            log,
            process: 0,
        };
        let (pid, off) = (dir.join("pid"), dir.join("off"));
        let is_over = |machine: &mut Self| off.exists() || !matches!(machine.power.try_wait(), Ok(None));
        let has_come_up = until(BOOT, || {
            if let Ok(text) = fs::read_to_string(&pid) {
                machine.process = text.trim().parse().unwrap_or_default();
            }
            // Degraded: something failed, which a test may have wanted.
            let is_up = machine.process != 0
                && machine
                    .state()
                    .is_ok_and(|state| ["running\n", "degraded\n"].contains(&state.as_str()));
            is_up || is_over(&mut machine)
        });
        if !has_come_up || is_over(&mut machine) {
            bail!("no machine boots here: {}", machine.said());
        }
        Ok(machine)
    }

    fn state(&self) -> anyhow::Result<String> {
        let output = self.output("systemctl is-system-running")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a shell's script in it as its root, and returns what it printed, whatever its exit code.
    ///
    /// # Errors
    /// It could not run.
    pub fn output(&self, script: &str) -> anyhow::Result<Output> {
        let process = self.process.to_string();
        Command::new("nsenter")
            .args(["-t", &process, "-m", "-u", "-i", "-n", "-p", "-C", "--"])
            .args(["bash", "-euc", script])
            .stdin(Stdio::null())
            .output()
            .context("cannot run nsenter")
    }

    /// Runs a shell's script in it as its root, and fails unless it succeeds.
    ///
    /// # Errors
    /// What it said.
    pub fn run(&self, script: &str) -> anyhow::Result<String> {
        let output = self.output(script)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("{script}: {said}{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(said)
    }

    /// What it said when it was installed and booted, and the end of its journal.
    #[must_use]
    pub fn said(&self) -> String {
        let mut said = fs::read_to_string(&self.log).unwrap_or_default();
        if self.process != 0
            && let Ok(journal) = self.output("journalctl --no-pager -q -n 120")
        {
            said.push_str(&String::from_utf8_lossy(&journal.stdout));
        }
        said
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.cord = None;
        let _ = self.power.wait();
    }
}
