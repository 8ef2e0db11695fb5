//! Network namespaces and the processes in them, gone when dropped.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, bail};

use crate::traces;

/// Runs a command and fails with what it said.
///
/// # Errors
/// It could not run, or exited other than 0.
pub fn sh(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    said(&format!("{program} {}", arguments.join(" ")), &output)
}

fn said(what: &str, output: &Output) -> anyhow::Result<String> {
    if !output.status.success() {
        bail!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A namespace of ours.
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes it, with its loopback up.
    ///
    /// # Errors
    /// No root, or the kernel does not let us.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        traces::note(|traces| {
            traces.namespaces.insert(name.to_owned());
        });
        sh("ip", &["netns", "add", name]).context("cannot make a network namespace: root is needed")?;
        let made = Self { name: name.to_owned() };
        made.ip("link set lo up")?;
        Ok(made)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip …` inside; words are separated by spaces.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn ip(&self, words: &str) -> anyhow::Result<String> {
        let mut arguments = vec!["-n", self.name.as_str()];
        arguments.extend(words.split(' '));
        sh("ip", &arguments)
    }

    /// A command to run inside.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a command inside and returns what it printed, whatever its exit code.
    ///
    /// # Errors
    /// It could not run.
    pub fn output(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Output> {
        self.command(program)
            .args(arguments)
            .output()
            .with_context(|| format!("cannot run {program}"))
    }

    /// Runs a command inside and fails unless it succeeds.
    ///
    /// # Errors
    /// What it said.
    pub fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        said(program, &self.output(program, arguments)?)
    }

    /// Starts a process inside; what it says goes to the end of a file.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(&self, log: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<Process> {
        let log = File::options().create(true).append(true).open(log)?;
        let child = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        Ok(Process { child })
    }

    /// Numbers of the processes inside.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn processes(&self) -> anyhow::Result<Vec<u32>> {
        let told = sh("ip", &["netns", "pids", &self.name])?;
        Ok(told.lines().filter_map(|line| line.trim().parse().ok()).collect())
    }

    /// An interface's counter, such as `rx_bytes`.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn counter(&self, interface: &str, counter: &str) -> anyhow::Result<u64> {
        let path = format!("/sys/class/net/{interface}/statistics/{counter}");
        Ok(self.run("cat", &[&path])?.trim().parse()?)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        traces::remove_namespace(&self.name);
        traces::note(|traces| {
            traces.namespaces.remove(&self.name);
        });
    }
}

/// A process of ours, ended when dropped. `ip netns exec` replaces itself with the program, so the number is the program's own.
pub struct Process {
    child: Child,
}

impl Process {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        sh("kill", &["-TERM", &self.child.id().to_string()])?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end; whether it succeeded.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn is_success(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.wait()?.success())
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
