//! An administrator's command run by root works as the user whose state it is, so that no file of root's is left in the way.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use anyhow::{Context as _, ensure};
use zeroize::Zeroizing;

use crate::admin::sniff;
use crate::cli::{Command, NasCommand, Probe, RadiusCommand};
use crate::config::read_secret;

/// Set where secrets come on the standard input. They are not in it: the environment of a process can be read.
const HANDED: &str = "KAVADAM_SECRETS_ON_STDIN";
/// Set where the standard input is what packets come from: a socket or file that root has opened.
pub const PACKETS_HANDED: &str = "KAVADAM_PACKETS_ON_STDIN";
/// Named in place of a file: the secret comes on the standard input.
pub const STANDARD_INPUT: &str = "-";
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
        self.0.get(path).map_or_else(|| read(path), |secret| Ok(secret.clone()))
    }

    fn of(command: &Command) -> anyhow::Result<Self> {
        let input = Some(PathBuf::from(STANDARD_INPUT));
        let files = match command {
            Command::Nas(NasCommand::Set(settings)) => [&settings.secret_file, &settings.uam_secret_file],
            Command::Radius(RadiusCommand::Test(test)) => {
                let has_password = matches!(test.probe, Probe::Pap | Probe::Chap);
                let password = if test.password_file.is_some() {
                    &test.password_file
                } else {
                    &input
                };
                [&test.secret_file, if has_password { password } else { &None }]
            }
            _ => [&None, &None],
        };
        let read = |path: &PathBuf| Ok((path.clone(), read(path)?));
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

/// A pipe that holds the secrets.
fn pipe_of(secrets: &Secrets) -> anyhow::Result<OwnedFd> {
    let secrets = secrets.to_json()?;
    ensure!(secrets.len() <= MOST_OCTETS, "the secrets are too long");
    let (reader, mut writer) = std::io::pipe()?;
    writer.write_all(secrets.as_bytes())?;
    Ok(reader.into())
}

/// White space at the end of the standard input is no part of the secret either.
fn read(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    if path != Path::new(STANDARD_INPUT) {
        return read_secret(path);
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .read_to_string(&mut text)
        .context("the standard input")?;
    Ok(Zeroizing::new(text.trim_end().to_owned()))
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
    if std::env::var_os(PACKETS_HANDED).is_some() {
        return Ok(Secrets::default());
    }
    let Some(state) = other_owner(state_dir) else {
        return Ok(Secrets::default());
    };
    let (handed, input): (_, OwnedFd) = match command {
        // What only root may open, it opens; what is read from it is no business of root's.
        Command::Radius(RadiusCommand::Sniff(sniff)) => (PACKETS_HANDED, sniff::open(sniff)?),
        command => (HANDED, pipe_of(&Secrets::of(command)?)?),
    };
    let program = std::env::current_exe().context("cannot find this program")?;
    let failed = Program::new(program)
        .args(std::env::args_os().skip(1))
        .env(handed, "1")
        .stdin(input)
        .uid(state.uid())
        .gid(state.gid())
        .exec();
    Err(failed).with_context(|| format!("cannot work as the owner of {}", state_dir.display()))
}

/// Who has the state, if this is root and it is another's.
pub fn other_owner(state_dir: &Path) -> Option<Metadata> {
    let (own, state) = (
        std::fs::metadata("/proc/self").ok()?,
        std::fs::metadata(state_dir).ok()?,
    );
    (own.uid() == 0 && state.uid() != 0).then_some(state)
}
