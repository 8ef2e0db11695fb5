//! Writes what dnsmasq needs, and becomes it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
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
    ensure!(
        config.file.role.has_gateway(),
        "this configuration has no gateway: dnsmasq serves the devices of one"
    );
    let gateway = config.gateway_outline()?;
    let dir = &config.file.gateway.dnsmasq.state_dir;
    own_directory(dir)?;
    let script = dir.join("lease-event");
    let own = std::env::current_exe().context("cannot find this program")?;
    write(&script, &lease_script(&own, &gateway.lease_socket), 0o755)?;
    let file = dir.join("dnsmasq.conf");
    write(&file, &config_text(&gateway, &script), 0o644)?;
    let mut command = Command::new("dnsmasq");
    command.arg(format!("--conf-file={}", file.display()));
    // The lease script keeps our group, which is what opens kavadam's socket to it.
    command.args(["--user=root".to_owned(), format!("--group={}", own_group()?)]);
    Ok(command)
}

/// The directory, made if need be, which nobody else may write to: what lies in it is run as root.
fn own_directory(dir: &Path) -> anyhow::Result<()> {
    let shown = dir.display();
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(dir)
        .with_context(|| format!("cannot make {shown}"))?;
    let (found, own) = (fs::metadata(dir)?, fs::metadata("/proc/self")?);
    ensure!(
        found.uid() == own.uid() && found.mode() & 0o022 == 0,
        "{shown} belongs to somebody else, who could have a script run as root: \
         chown root {shown} && chmod 750 {shown}, or name another gateway.dnsmasq.state_dir"
    );
    Ok(())
}

/// The name of the group this process runs as, for dnsmasq takes no number.
fn own_group() -> anyhow::Result<String> {
    let gid = fs::metadata("/proc/self")?.gid().to_string();
    let groups = fs::read_to_string("/etc/group").context("cannot read /etc/group")?;
    let named = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == gid).then(|| name.to_owned())
    });
    Ok(named.unwrap_or_else(|| "root".to_owned()))
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}
