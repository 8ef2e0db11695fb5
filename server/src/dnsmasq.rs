//! Writes what dnsmasq needs, and becomes it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use kavadam_gateway::dnsmasq::{config_text, lease_script};

use crate::config::Config;

/// Never returns but with why not.
pub fn become_dnsmasq(config: &Config) -> anyhow::Error {
    match prepare(config) {
        Ok(mut command) => anyhow::Error::new(command.exec()).context("cannot run dnsmasq (Debian: dnsmasq-base)"),
        Err(error) => error,
    }
}

fn prepare(config: &Config) -> anyhow::Result<Command> {
    let gateway = config.gateway()?;
    fs::create_dir_all(&gateway.state_dir)?;
    let script = gateway.state_dir.join("lease-event");
    let own = std::env::current_exe().context("cannot find this program")?;
    write(&script, &lease_script(&own, &gateway.lease_socket), 0o755)?;
    let file = gateway.state_dir.join("dnsmasq.conf");
    write(&file, &config_text(&gateway, &script), 0o644)?;
    let mut command = Command::new("dnsmasq");
    command.arg(format!("--conf-file={}", file.display()));
    // The lease script talks to a socket in our state directory, which is closed to dnsmasq's own user.
    command.args(["--user=root", "--group=root"]);
    Ok(command)
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}
