//! SIGHUP: what has changed in the configuration, as far as it can be taken over while everybody stays online.

use std::path::PathBuf;

use kavadam_gateway::Reloader;
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, File};

/// Takes over a changed file at each signal, until cancelled; without a gateway there is nothing to take over, and it tells what has changed.
/// `file` is what runs, as it was read at the start. Whoever keeps certificates hears the signal besides, and reads them again.
pub async fn heed(
    mut hangup: Signal,
    path: PathBuf,
    file: File,
    reloader: Option<Reloader>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            heard = hangup.recv() => if heard.is_none() {
                stop.cancelled().await;
                return Ok(());
            },
        }
        if let Err(error) = take_over(&path, &file, reloader.as_ref()).await {
            tracing::error!("the changed configuration was not taken, and the one before holds: {error:#}");
        }
    }
}

async fn take_over(path: &std::path::Path, file: &File, reloader: Option<&Reloader>) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    let others = if let Some(reloader) = reloader {
        let others = is_other_but_for_the_gate(file, &config.file);
        reloader.reload(config.gateway_outline()?).await?;
        tracing::info!(
            "what is open, free or blocked, who is heard and kept apart, and the uplink are as the configuration says now"
        );
        others
    } else {
        tracing::info!("the configuration can be used; without a gateway a reload takes over certificates alone");
        config.file != *file
    };
    if others {
        tracing::warn!(
            "other parts of the configuration have changed since the start: they take a restart, which nobody online notices"
        );
    }
    Ok(())
}

/// Whether anything has changed that a reload does not take over.
fn is_other_but_for_the_gate(before: &File, now: &File) -> bool {
    let mut now = now.clone();
    let gate = &before.gateway;
    now.gateway.walled_garden.clone_from(&gate.walled_garden);
    now.gateway.free.clone_from(&gate.free);
    now.gateway.blocked.clone_from(&gate.blocked);
    now.gateway.filters.clone_from(&gate.filters);
    now.gateway.uplink.clone_from(&gate.uplink);
    now.gateway.strict = gate.strict;
    now.gateway.admit_ipv6_only = gate.admit_ipv6_only;
    now.gateway.isolate_clients = gate.isolate_clients;
    now != *before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_taken_over_is_told() {
        let before = File::default();
        let mut now = before.clone();
        now.gateway.walled_garden.push("203.0.113.30".into());
        now.gateway.free.push("example.org".into());
        now.gateway.blocked.ports.push("tcp/25".into());
        now.gateway.filters.entry("minors".into()).or_default();
        now.gateway.isolate_clients = false;
        now.gateway.uplink.up = "20Mbit".into();
        now.gateway.uplink.classes.entry("free".into()).or_default();
        now.gateway.strict = false;
        now.gateway.admit_ipv6_only = true;
        assert!(!is_other_but_for_the_gate(&before, &now));
        now.gateway.interim_secs += 1;
        assert!(is_other_but_for_the_gate(&before, &now));
    }
}
