//! An administrator's command run by root works as the user whose state it is, so that no file of root's is left in the way.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

/// Does nothing unless this is root and the state belongs to somebody else; then starts this program anew as that user, with the same words.
///
/// # Errors
/// It cannot be started; where it can, this does not return.
pub fn become_owner(state_dir: &Path) -> anyhow::Result<()> {
    let (Ok(own), Ok(state)) = (std::fs::metadata("/proc/self"), std::fs::metadata(state_dir)) else {
        return Ok(());
    };
    if own.uid() != 0 || state.uid() == 0 {
        return Ok(());
    }
    let program = std::env::current_exe().context("cannot find this program")?;
    let failed = Command::new(program)
        .args(std::env::args_os().skip(1))
        .uid(state.uid())
        .gid(state.gid())
        .exec();
    Err(failed).with_context(|| format!("cannot work as the owner of {}", state_dir.display()))
}
