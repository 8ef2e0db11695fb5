//! The process that advertises the gateway.

use std::path::Path;

use anyhow::{Context as _, ensure};
use kavadam_gateway::config::Advertiser;
use rustix::io::Errno;

use crate::config::Config;

/// Returns if there is nothing to do, or with why it cannot be done.
pub fn run(config: &Config, state_dir: Option<&Path>) -> anyhow::Result<()> {
    ensure!(
        config.file.role.has_gateway(),
        "this configuration has no gateway: router advertisements are for the devices of one"
    );
    let gateway = config.gateway_outline()?;
    if gateway.lan6.is_none() || gateway.advertiser != Advertiser::Kavadam {
        tracing::info!(
            "nothing to advertise: gateway.lan6 is empty, or gateway.router_advertisements says that others do it"
        );
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let advertised = runtime.block_on(kavadam_gateway::advertise::advertise(&gateway, state_dir));
    let Err(error) = advertised;
    if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) {
        // By `ipv6.disable=1`, say, which lasts until the next boot.
        tracing::warn!("nothing to advertise: this machine's kernel has no IPv6, and gateway.lan6 is set");
        return Ok(());
    }
    Err(error).context("cannot send router advertisements (root, or CAP_NET_RAW)")
}
