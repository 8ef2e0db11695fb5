//! The socket in the state directory: one question, a line of JSON, and one answer. Only the owner of the state can open it.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kavadam_domain::{Language, Mac, MobileNumber};
use kavadam_radius::server::{Answer, Outcome};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Picture, Watch};

/// Questions answered at once.
const CONCURRENCY: usize = 16;
/// Longest question.
const MOST_OCTETS: u64 = 16 << 10;
/// For a question and its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Answers told at most.
const MOST_ANSWERS: usize = 50;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Question {
    /// The gates and their counters.
    Picture,
    /// The last answers about somebody: under any of these names, or to any of these devices.
    Answers {
        /// User-Names and aliases.
        names: Vec<String>,
        /// Devices.
        macs: Vec<String>,
    },
}

/// What is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "one for each question, and never kept")]
pub enum Told {
    /// To [`Question::Picture`].
    Picture(Picture),
    /// To [`Question::Answers`], the newest first.
    Answers(Vec<Line>),
    /// It cannot be told, and why.
    Failed(String),
}

/// An answer that a gate was given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// Seconds since 1970.
    pub at: i64,
    /// Number of the gate.
    pub nas: i64,
    /// `login`, `return` or `renewal`.
    pub asked: String,
    /// Word of the reason, if it was refused.
    pub reason: Option<String>,
    /// The sentence for the citizen in English, if it was refused.
    pub message: Option<String>,
}

impl From<Answer> for Line {
    fn from(answer: Answer) -> Self {
        let (reason, message) = match answer.outcome {
            Outcome::Granted(_) => (None, None),
            Outcome::Refused(reason) => (Some(reason.code().to_owned()), Some(reason.message(Language::En))),
        };
        Self {
            at: answer.at.as_secs(),
            nas: answer.nas.0,
            asked: answer.asked.to_owned(),
            reason,
            message,
        }
    }
}

/// Opens the socket; one that a process left behind is replaced, one that is answered is not.
///
/// # Errors
/// It cannot be made, or another process has it.
pub fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    let shown = path.display();
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!("another kavadam runs on the same state: {shown} is answered");
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {shown}"));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot make {shown}"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until told to stop: `answer` makes an answer of a question's line.
pub async fn serve<F, A>(listener: UnixListener, answer: F, stop: CancellationToken)
where
    F: Fn(Vec<u8>) -> A + Clone + Send + 'static,
    A: Future<Output = serde_json::Result<Vec<u8>>> + Send,
{
    let places = Arc::new(Semaphore::new(CONCURRENCY));
    let work = async {
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let answer = answer.clone();
                    tokio::spawn(async move {
                        let _place = place;
                        // Whoever asks and goes away learns nothing.
                        _ = tokio::time::timeout(PATIENCE, converse(stream, answer)).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the watch socket");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    };
    stop.run_until_cancelled(work).await;
}

async fn converse<A>(stream: UnixStream, answer: impl Fn(Vec<u8>) -> A) -> anyhow::Result<()>
where
    A: Future<Output = serde_json::Result<Vec<u8>>>,
{
    let (reader, mut writer) = stream.into_split();
    let mut line = Vec::new();
    BufReader::new(reader.take(MOST_OCTETS))
        .read_until(b'\n', &mut line)
        .await?;
    writer.write_all(&answer(line).await?).await?;
    Ok(writer.shutdown().await?)
}

/// The answer of a centre.
///
/// # Errors
/// It has no form in JSON.
pub async fn answer(watch: Watch, line: Vec<u8>) -> serde_json::Result<Vec<u8>> {
    let told = match serde_json::from_slice(&line) {
        Ok(Question::Picture) => match watch.picture().await {
            Ok(picture) => Told::Picture(picture),
            Err(error) => Told::Failed(error.to_string()),
        },
        Ok(Question::Answers { names, macs }) => Told::Answers(answers(&watch, &names, &macs)),
        Err(error) => Told::Failed(error.to_string()),
    };
    serde_json::to_vec(&told)
}

fn answers(watch: &Watch, names: &[String], macs: &[String]) -> Vec<Line> {
    let macs: Vec<Mac> = macs.iter().filter_map(|mac| mac.parse().ok()).collect();
    let is_named = |name: &str| names.iter().any(|known| known == name);
    let is_meant = |answer: &Answer| {
        let by_alias = matches!(&answer.outcome, Outcome::Granted(alias) if is_named(alias));
        let name = &answer.user_name;
        // However the gate spelled it.
        let by_number = || {
            name.parse::<MobileNumber>()
                .is_ok_and(|number| is_named(number.digits()))
        };
        let mac = answer.mac.or_else(|| name.parse().ok());
        by_alias || is_named(name) || by_number() || mac.is_some_and(|mac| macs.contains(&mac))
    };
    let found = watch.counts().recent().find(is_meant, MOST_ANSWERS);
    found.into_iter().map(Line::from).collect()
}
