//! An administrator's command run by root works as the user whose state it is, so that no file of root's is left in the way.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use anyhow::{Context as _, ensure};
use zeroize::Zeroizing;

use crate::cli::{Command, NasCommand};
use crate::config::read_secret;

/// Set where secrets come on the standard input. They are not in it: the environment of a process can be read.
const HANDED: &str = "KAVADAM_SECRETS_ON_STDIN";
/// What fits into a pipe that nobody reads yet.
const MOST_OCTETS: usize = 60_000;

/// The secrets that a command names files for, by path.
#[derive(Default)]
pub struct Secrets(HashMap<PathBuf, Zeroizing<String>>);

impl Secrets {
    /// The secret in that file, read before the user changed if it did.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, path: &Path) -> anyhow::Result<Zeroizing<String>> {
        self.0
            .get(path)
            .map_or_else(|| read_secret(path), |secret| Ok(secret.clone()))
    }

    fn of(command: &Command) -> anyhow::Result<Self> {
        let files = match command {
            Command::Nas(NasCommand::Set(settings)) => [&settings.secret_file, &settings.uam_secret_file],
            _ => [&None, &None],
        };
        let read = |path: &PathBuf| Ok((path.clone(), read_secret(path)?));
        files
            .into_iter()
            .flatten()
            .map(read)
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    fn handed_over() -> anyhow::Result<Self> {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().read_to_string(&mut text)?;
        let secrets: HashMap<PathBuf, String> = serde_json::from_str(&text).context("the standard input")?;
        let own = |(path, secret)| (path, Zeroizing::new(secret));
        Ok(Self(secrets.into_iter().map(own).collect()))
    }

    fn to_json(&self) -> anyhow::Result<Zeroizing<String>> {
        let secrets: HashMap<&PathBuf, &str> = self.0.iter().map(|(path, secret)| (path, secret.as_str())).collect();
        Ok(Zeroizing::new(serde_json::to_string(&secrets)?))
    }
}

/// The secrets a command names. If this is root and the state belongs to somebody else, they are read, and this program is started
/// anew as that user with the same words: root's files can be named, and no file becomes root's.
///
/// # Errors
/// A secret cannot be read, or the program cannot be started; where it can, this does not return.
pub fn become_owner(state_dir: &Path, command: &Command) -> anyhow::Result<Secrets> {
    if std::env::var_os(HANDED).is_some() {
        return Secrets::handed_over();
    }
    let (Ok(own), Ok(state)) = (std::fs::metadata("/proc/self"), std::fs::metadata(state_dir)) else {
        return Ok(Secrets::default());
    };
    if own.uid() != 0 || state.uid() == 0 {
        return Ok(Secrets::default());
    }
    let secrets = Secrets::of(command)?.to_json()?;
    ensure!(secrets.len() <= MOST_OCTETS, "the secrets are too long");
    let (reader, mut writer) = std::io::pipe()?;
    writer.write_all(secrets.as_bytes())?;
    drop(writer);
    let program = std::env::current_exe().context("cannot find this program")?;
    let failed = Program::new(program)
        .args(std::env::args_os().skip(1))
        .env(HANDED, "1")
        .stdin(reader)
        .uid(state.uid())
        .gid(state.gid())
        .exec();
    Err(failed).with_context(|| format!("cannot work as the owner of {}", state_dir.display()))
}
