//! The other end of the socket: a command that looks on.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Picture;
use super::socket::{Line, Question, Told};

/// For an answer: the process may be busy, but it should not be dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// The gates and their counters.
///
/// # Errors
/// No process runs on that state, or it cannot tell.
pub fn picture(socket: &Path) -> anyhow::Result<Picture> {
    match ask(socket, &Question::Picture, CENTRE)? {
        Told::Picture(picture) => Ok(picture),
        Told::Failed(why) => bail!("the running process cannot tell: {why}"),
        Told::Answers(_) => bail!("the running process told something else"),
    }
}

/// The last answers about somebody; `None` if no process runs on that state.
///
/// # Errors
/// One runs and cannot tell.
pub fn answers(socket: &Path, names: Vec<String>, macs: Vec<String>) -> anyhow::Result<Option<Vec<Line>>> {
    if !is_answered(socket) {
        return Ok(None);
    }
    match ask(socket, &Question::Answers { names, macs }, CENTRE)? {
        Told::Answers(lines) => Ok(Some(lines)),
        Told::Failed(why) => bail!("the running process cannot tell: {why}"),
        Told::Picture(_) => bail!("the running process told something else"),
    }
}

/// Whether anybody might answer there; who may not ask shall be told so.
pub(super) fn is_answered(socket: &Path) -> bool {
    let none = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    !UnixStream::connect(socket).is_err_and(|error| none.contains(&error.kind()))
}

const CENTRE: &str = "kavadam with a RADIUS server";

/// Puts a question to `whom`.
pub(super) fn ask<Q: Serialize, T: DeserializeOwned>(socket: &Path, question: &Q, whom: &str) -> anyhow::Result<T> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("no {whom} runs on this state ({} is not answered)", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut text = Vec::new();
    stream
        .read_to_end(&mut text)
        .context("the running process does not answer")?;
    serde_json::from_slice(&text).context("the running process is of another version")
}
