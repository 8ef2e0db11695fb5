//! The other end of the socket: a command that looks on.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use kavadam_radius::server::Overheard;
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
        _ => bail!("the running process told something else"),
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
        _ => bail!("the running process told something else"),
    }
}

/// What passes over TLS, as it passes: packets, or how many were missed. It ends with the running process, and is `None` if there is none.
///
/// # Errors
/// One runs and does not take the question.
pub fn packets(
    socket: &Path,
) -> anyhow::Result<Option<impl Iterator<Item = anyhow::Result<Result<Overheard, u64>>> + use<>>> {
    if !is_answered(socket) {
        return Ok(None);
    }
    let lines = BufReader::new(put(socket, &Question::Packets, CENTRE)?).lines();
    Ok(Some(lines.map(|line| match serde_json::from_str(&line?) {
        Ok(Told::Passed(packet)) => Ok(Ok(packet)),
        Ok(Told::Missed(missed)) => Ok(Err(missed)),
        Ok(Told::Failed(why)) => bail!("the running process cannot tell: {why}"),
        Ok(_) => bail!("the running process told something else"),
        Err(error) => Err(error).context(OTHER_VERSION),
    })))
}

/// Whether anybody might answer there; who may not ask shall be told so.
pub(super) fn is_answered(socket: &Path) -> bool {
    let none = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    !UnixStream::connect(socket).is_err_and(|error| none.contains(&error.kind()))
}

const CENTRE: &str = "kavadam with a RADIUS server";
const OTHER_VERSION: &str = "the running process is of another version";

/// Puts a question to `whom`.
pub(super) fn ask<Q: Serialize, T: DeserializeOwned>(socket: &Path, question: &Q, whom: &str) -> anyhow::Result<T> {
    let mut stream = put(socket, question, whom)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = Vec::new();
    stream
        .read_to_end(&mut text)
        .context("the running process does not answer")?;
    serde_json::from_slice(&text).context(OTHER_VERSION)
}

fn put(socket: &Path, question: &impl Serialize, whom: &str) -> anyhow::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("no {whom} runs on this state ({} is not answered)", socket.display()))?;
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(stream)
}
