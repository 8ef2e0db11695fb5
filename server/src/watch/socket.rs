//! The socket in the state directory: one question, a line of JSON, and one answer, or a line for each packet from then on. Only the owner of the
//! state can open it.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kavadam_access::api::Grounds;
use kavadam_domain::quota::Allowance;
use kavadam_domain::{Language, Mac, MobileNumber};
use kavadam_radius::server::{Answer, Listening, Outcome, Overheard};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
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
    /// Whatever passes over TLS from now on.
    Packets,
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
    /// To [`Question::Packets`], the next.
    Passed(Overheard),
    /// So many more have passed than could be told in time.
    Missed(u64),
    /// It cannot be told, and why.
    Failed(String),
}

/// What a question leads to.
pub enum Reply {
    /// An answer.
    Whole(Vec<u8>),
    /// A line for each packet.
    Packets(Listening),
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
    /// The devices that were online then, where they were too many: address, if the gate told it, and number of the gate.
    #[serde(default)]
    pub online: Vec<(Option<String>, i64)>,
    /// The period's octets then, where they were used up.
    #[serde(default)]
    pub octets: Option<Octets>,
}

/// Of a period.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Octets {
    /// Charged.
    pub used: u64,
    /// Promised to gates.
    pub promised: u64,
    /// All there were.
    pub total: u64,
}

impl Octets {
    fn of(allowance: &Allowance) -> Option<Self> {
        Some(Self {
            used: allowance.used_octets,
            promised: allowance.promised_octets,
            total: allowance.total_octets()?,
        })
    }
}

impl From<Answer> for Line {
    fn from(answer: Answer) -> Self {
        let (refused, grounds) = match answer.outcome {
            Outcome::Granted(_) => (None, Grounds::default()),
            Outcome::Refused(reason, grounds) => (Some(reason), grounds),
        };
        let online = grounds.online.into_iter();
        Self {
            at: answer.at.as_secs(),
            nas: answer.nas.0,
            asked: answer.asked.to_owned(),
            reason: refused.map(|reason| reason.code().to_owned()),
            message: refused.map(|reason| reason.message(Language::En)),
            online: online
                .map(|(mac, nas)| (mac.map(|mac| mac.to_string()), nas.0))
                .collect(),
            octets: grounds.allowance.as_ref().and_then(Octets::of),
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
    F: Fn(Vec<u8>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = serde_json::Result<Reply>> + Send,
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
                        _ = converse(stream, answer).await;
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
    A: Future<Output = serde_json::Result<Reply>>,
{
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(MOST_OCTETS));
    let exchange = async {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).await?;
        match answer(line).await? {
            Reply::Packets(listening) => return anyhow::Ok(Some(listening)),
            Reply::Whole(told) => writer.write_all(&told).await?,
        }
        writer.shutdown().await?;
        Ok(None)
    };
    match timeout(PATIENCE, exchange).await?? {
        Some(listening) => pass_on(listening, reader, writer).await,
        None => Ok(()),
    }
}

/// Until the process ends, or whoever asked is gone. Who takes nothing misses what comes, and is told how much.
async fn pass_on(
    mut listening: Listening,
    mut reader: impl AsyncRead + Unpin,
    mut writer: OwnedWriteHalf,
) -> anyhow::Result<()> {
    let mut nothing = [0];
    loop {
        let passed = tokio::select! {
            passed = listening.next() => passed,
            // Nothing more is asked: it was closed.
            _ = reader.read(&mut nothing) => return Ok(()),
        };
        let told = match passed {
            Some(Ok(packet)) => Told::Passed(Overheard::clone(&packet)),
            Some(Err(missed)) => Told::Missed(missed),
            None => return Ok(()),
        };
        let mut line = serde_json::to_vec(&told)?;
        line.push(b'\n');
        tokio::select! {
            written = writer.write_all(&line) => written?,
            _ = reader.read(&mut nothing) => return Ok(()),
        }
    }
}

/// The answer of a centre.
///
/// # Errors
/// It has no form in JSON.
pub async fn answer(watch: Watch, line: Vec<u8>) -> serde_json::Result<Reply> {
    let told = match serde_json::from_slice(&line) {
        Ok(Question::Picture) => match watch.picture().await {
            Ok(picture) => Told::Picture(picture),
            Err(error) => Told::Failed(error.to_string()),
        },
        Ok(Question::Answers { names, macs }) => Told::Answers(answers(&watch, &names, &macs)),
        Ok(Question::Packets) => match watch.tap().listen() {
            Some(listening) => return Ok(Reply::Packets(listening)),
            None => Told::Failed("four look on already".to_owned()),
        },
        Err(error) => Told::Failed(error.to_string()),
    };
    serde_json::to_vec(&told).map(Reply::Whole)
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
