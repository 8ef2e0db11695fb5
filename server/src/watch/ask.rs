//! The other end of the socket: a command that looks on.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::Picture;
use super::socket::{Line, Question, Told};

/// For an answer: the process may be busy, but it should not be dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// The gates and their counters.
///
/// # Errors
/// No process runs on that state, or it cannot tell.
pub fn picture(socket: &Path) -> anyhow::Result<Picture> {
    match ask(socket, &Question::Picture)? {
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
    if let Err(error) = UnixStream::connect(socket)
        && [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&error.kind())
    {
        return Ok(None);
    }
    match ask(socket, &Question::Answers { names, macs })? {
        Told::Answers(lines) => Ok(Some(lines)),
        Told::Failed(why) => bail!("the running process cannot tell: {why}"),
        Told::Picture(_) => bail!("the running process told something else"),
    }
}

fn ask(socket: &Path, question: &Question) -> anyhow::Result<Told> {
    let mut stream = UnixStream::connect(socket).with_context(|| {
        format!(
            "no kavadam with a RADIUS server runs on this state ({} is not answered)",
            socket.display()
        )
    })?;
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
