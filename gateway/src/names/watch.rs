//! Blocklists in files, read again when they have changed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::answer::Answerer;
use crate::kernel::Naming;

const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Reads the files, and then each time that one of them has changed. Never ends.
pub(super) async fn watch_files<G: Naming>(answerer: Arc<Answerer<G>>) {
    let (mut read, mut failed) = (None, None);
    loop {
        let times = Some(times(answerer.files()).await);
        if times.as_ref().is_some_and(|times| !times.is_empty()) && read != times {
            let reader = Arc::clone(&answerer);
            let done = tokio::task::spawn_blocking(move || reader.read_files()).await;
            match done {
                Ok(Ok(())) => read.clone_from(&times),
                // Tried again all the same: a right to read that is given changes no time. Told once.
                Ok(Err(_)) if failed == times => {}
                Ok(Err(error)) => tracing::error!(
                    %error,
                    "cannot read a blocklist: what was blocked by name before stays so. Remedy: correct gateway.blocked.files or that of a filter, or the file"
                ),
                Err(panic) => tracing::error!(%panic, "reading the blocklists ended unexpectedly"),
            }
            failed = times;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// When each was last changed.
async fn times(files: Vec<PathBuf>) -> Vec<(PathBuf, Option<SystemTime>)> {
    let mut times = Vec::with_capacity(files.len());
    for file in files {
        let about = tokio::fs::metadata(&file).await;
        times.push((file, about.ok().and_then(|about| about.modified().ok())));
    }
    times
}
