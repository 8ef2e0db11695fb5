//! The gateway's socket in the state directory: what only the running gateway knows, for `kavadam gate`.

use std::path::Path;

use anyhow::bail;
use kavadam_domain::Mac;
use kavadam_gateway::{Known, Onlooker, Standing};
use serde::{Deserialize, Serialize};

use super::ask::{ask, is_answered};
use super::socket::Reply;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
enum Question {
    Sessions,
    Device { mac: Mac },
}

/// What is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Told {
    Sessions(Vec<Known>),
    Device(Standing),
    Failed(String),
}

/// The answer of a gateway to a question's line.
///
/// # Errors
/// It has no form in JSON.
pub async fn answer(onlooker: Onlooker, line: Vec<u8>) -> serde_json::Result<Reply> {
    let told = match serde_json::from_slice(&line) {
        Ok(Question::Sessions) => onlooker.sessions().await.map(Told::Sessions),
        Ok(Question::Device { mac }) => onlooker.device(mac).await.map(Told::Device),
        Err(error) => Some(Told::Failed(error.to_string())),
    };
    let told = told.unwrap_or_else(|| Told::Failed("the gateway is stopping".to_owned()));
    serde_json::to_vec(&told).map(Reply::Whole)
}

/// Its sessions; `None` if no gateway runs on that state.
///
/// # Errors
/// One runs and cannot tell.
pub fn sessions(socket: &Path) -> anyhow::Result<Option<Vec<Known>>> {
    match put(socket, &Question::Sessions)? {
        None => Ok(None),
        Some(Told::Sessions(sessions)) => Ok(Some(sessions)),
        Some(other) => bail!("the running gateway cannot tell: {other:?}"),
    }
}

/// What it knows of a device; `None` if no gateway runs on that state.
///
/// # Errors
/// One runs and cannot tell.
pub fn device(socket: &Path, mac: Mac) -> anyhow::Result<Option<Standing>> {
    match put(socket, &Question::Device { mac })? {
        None => Ok(None),
        Some(Told::Device(standing)) => Ok(Some(standing)),
        Some(other) => bail!("the running gateway cannot tell: {other:?}"),
    }
}

fn put(socket: &Path, question: &Question) -> anyhow::Result<Option<Told>> {
    if is_answered(socket) {
        ask(socket, question, "kavadam with a gateway").map(Some)
    } else {
        Ok(None)
    }
}
