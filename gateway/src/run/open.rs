//! What is loaded and opened at the start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use kavadam_firewall::{AdoptedSession, FirewallError, Gate};
use tokio::net::TcpListener;

use super::GatewayError;
use crate::config::GatewayConfig;
use crate::http::{self, Doors, TlsDoor};
use crate::spool::Spool;

/// The spool and what it needs after a restart.
const FILE: &str = "gateway.db";

/// Which device had which ports at the last start.
const PORTS_FILE: &str = "public-ports";

pub(super) fn opening(what: impl Into<String>) -> impl FnOnce(io::Error) -> GatewayError {
    let what = what.into();
    move |error| GatewayError::Open { what, error }
}

/// The gate, with the sessions that are in it.
pub(super) async fn load(config: &GatewayConfig) -> Result<(Arc<Gate>, Vec<AdoptedSession>), GatewayError> {
    let (config, layout) = (config.clone(), config.layout());
    let (gate, found) = blocking(move || {
        let gate = Gate::load(&layout)?;
        if is_mapping_new(&config) {
            gate.forget_translations();
        }
        let found = gate.adopt()?;
        Ok((Arc::new(gate), found))
    })
    .await?;
    if !gate.is_owned() {
        tracing::warn!(
            "others may change the packet filter's table: this kernel is older than 6.9, or an older version made the table. \
             Remedy: a newer kernel, or start the machine anew"
        );
    }
    Ok((gate, found))
}

/// Whether devices have other ports than at the last start; kept in a file of the state directory. Without one nobody knows, and then it is.
fn is_mapping_new(config: &GatewayConfig) -> bool {
    let Some(ports) = &config.ports else { return false };
    let (file, text) = (config.state_dir.join(PORTS_FILE), format!("{ports:?}\n"));
    if std::fs::read_to_string(&file).is_ok_and(|known| known == text) {
        return false;
    }
    let written = std::fs::create_dir_all(&config.state_dir).and_then(|()| std::fs::write(&file, text));
    if let Err(error) = written {
        tracing::warn!(%error, "cannot write down which device has which ports");
    }
    true
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FirewallError> + Send + 'static,
) -> Result<T, GatewayError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|_| GatewayError::Ended("loading the packet filter"))??)
}

pub(super) async fn open_spool(state_dir: &PathBuf) -> Result<Spool, GatewayError> {
    tokio::fs::create_dir_all(state_dir)
        .await
        .map_err(opening(format!("the state directory {}", state_dir.display())))?;
    Ok(Spool::open(&state_dir.join(FILE)).await?)
}

pub(super) fn open_doors(
    config: &GatewayConfig,
    doors: &Doors,
    tls: Option<&TlsDoor>,
) -> Result<Vec<(TcpListener, Router, Option<TlsDoor>)>, GatewayError> {
    let listen = |what: &str, address: SocketAddr| {
        http::listen(address).map_err(opening(format!("the port for {what}, {address}")))
    };
    let mut open = Vec::new();
    for ip in config.lan_addresses() {
        let capture = SocketAddr::new(ip, config.capture_port);
        open.push((listen("captured requests", capture)?, doors.capture(), None));
        let uam = SocketAddr::new(ip, config.uam_port);
        open.push((listen("logins", uam)?, doors.uam(), None));
    }
    if let (Some(api), Some(tls)) = (&config.api, tls) {
        open.push((
            listen("the captive portal API", api.listen)?,
            doors.api(),
            Some(tls.clone()),
        ));
        if let Some(lan6) = config.lan6.filter(|_| api.listen.is_ipv4()) {
            let address = SocketAddr::new(lan6.addr().into(), api.listen.port());
            open.push((
                listen("the captive portal API", address)?,
                doors.api(),
                Some(tls.clone()),
            ));
        }
    }
    Ok(open)
}
