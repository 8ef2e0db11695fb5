//! A RADIUS server over a true centre, with its orders.

use std::net::SocketAddr;
use std::sync::Arc;

use kavadam_access::Access;
use kavadam_radius::Retry;
use kavadam_radius::dynamic::DynamicClient;
use kavadam_radius::profile::Profiles;
use kavadam_radius::server::{RadiusServer, ServerConfig, run_orders};
use tokio_util::sync::CancellationToken;

/// Where it listens, and what ends it.
pub struct Running {
    pub auth: SocketAddr,
    pub acct: SocketAddr,
    pub stop: CancellationToken,
}

/// Both ports are free ones of the loopback.
pub fn run(access: &Access, profiles: Arc<Profiles>) -> Running {
    let any = "127.0.0.1:0".parse().unwrap();
    let server = RadiusServer::bind(ServerConfig { auth: any, acct: any }, access.clone())
        .unwrap()
        .with_profiles(Arc::clone(&profiles));
    let (auth, acct) = (server.auth_addr().unwrap(), server.acct_addr().unwrap());
    let (stop, counts) = (CancellationToken::new(), server.counts());
    tokio::spawn(server.run(stop.clone()));
    let client = DynamicClient::new(None, Retry::default());
    tokio::spawn(run_orders(access.clone(), client, profiles, counts, stop.clone()));
    Running { auth, acct, stop }
}
