//! Whether the user that kavadam runs as can read what root can: `check` is run by root, mostly.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Findings;
use super::machine::said;
use crate::config::Config;
use crate::owner::other_owner;

/// Looks at every file that the configuration names, and at itself; those that cannot be read. Nothing is looked at unless this is root, and the
/// state another's: otherwise reading a file shows it.
pub(super) fn look(config: &Config, path: &Path, findings: &mut Findings) -> Vec<PathBuf> {
    let state_dir = &config.file.state_dir;
    let Some(state) = other_owner(state_dir) else {
        return Vec::new();
    };
    let service = Service::new(state.uid(), state.gid());
    // Where it cannot be tried nothing is claimed.
    if !service.does(&["true"]) {
        return Vec::new();
    }
    let mut unreadable = Vec::new();
    let named = config.named_files().into_iter();
    for (key, file) in named.chain([("the configuration".to_owned(), path.to_owned())]) {
        // What is not there is told elsewhere.
        let (Ok(named), Ok(real)) = (std::path::absolute(&file), file.canonicalize()) else {
            continue;
        };
        if service.may("-r", &named) {
            continue;
        }
        let (shown, owner) = (file.display(), state_dir.display());
        // Below a directory that lets nobody through, modes of the file say nothing.
        let above = |path: &Path| path.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>();
        // Those on the way to where a link leads too.
        let dirs = [above(&real), above(&named)].concat();
        let closed = dirs.iter().rev().find(|dir| !service.may("-x", dir));
        let (at, mode) = closed.map_or((real.as_path(), "g+r"), |dir| (dir.as_path(), "g+x"));
        findings.bad(
            &format!(
                "{key}: {shown} cannot be read by the user kavadam runs as, whose {owner} is (uid {})",
                state.uid()
            ),
            &format!("chown :{1} {0} && chmod {mode} {0}", at.display(), service.group),
        );
        unreadable.push(file);
    }
    unreadable
}

/// Whoever has the state.
struct Service {
    uid: u32,
    gid: u32,
    /// By name, if it has one.
    group: String,
    /// All of its groups, by number.
    groups: Option<String>,
}

impl Service {
    fn new(uid: u32, gid: u32) -> Self {
        let group = said("getent", &["group", &gid.to_string()]);
        let group = group.and_then(|line| Some(line.split_once(':')?.0.to_owned()));
        Self {
            uid,
            gid,
            group: group.unwrap_or_else(|| gid.to_string()),
            groups: said("id", &["-G", &uid.to_string()]).map(|groups| groups.trim().replace(' ', ",")),
        }
    }

    fn may(&self, what: &str, path: &Path) -> bool {
        self.does(&[OsStr::new("test"), OsStr::new(what), path.as_os_str()])
    }

    /// Whether a command succeeds when this user runs it.
    fn does(&self, words: &[impl AsRef<OsStr>]) -> bool {
        let mut test = Command::new("setpriv");
        test.arg(format!("--reuid={}", self.uid))
            .arg(format!("--regid={}", self.gid));
        match &self.groups {
            Some(groups) => test.arg(format!("--groups={groups}")),
            None => test.arg("--clear-groups"),
        };
        test.args(words).status().is_ok_and(|status| status.success())
    }
}
