//! The server of the centre: answers gates on two UDP ports, and sends them orders.
//!
//! A datagram goes through [`intake`] (who, what, seen before?), then to one use case, and its answer is sent only after that
//! has committed. Where there is no answer to give (an unknown source, a wrong secret, a database that is down) the server
//! is silent, so that the gate tries again or asks another.

mod accounting;
mod authentication;
mod centre;
mod counts;
mod intake;
mod orders;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::listener;
use accounting::AccountingDoor;
use authentication::AuthenticationDoor;

pub use centre::Centre;
pub use counts::{
    Answer, Counts, DropReason, GateCounts, GateFigures, LATENCY_BUCKETS, Outcome, Recent, bucket_micros,
};
pub use orders::{OrderBook, run_orders};

/// Between lines about what was dropped.
const SUMMARY: Duration = Duration::from_mins(1);

/// Where to listen. Bind an address rather than a wildcard on a machine with several: answers leave from the address the
/// routes choose, and a gate drops those that come from another than it asked.
#[derive(Debug, Clone, Copy)]
pub struct ServerConfig {
    /// Authentication, by convention port 1812; port 0 takes a free one.
    pub auth: SocketAddr,
    /// Accounting, by convention port 1813; port 0 takes a free one.
    pub acct: SocketAddr,
}

/// A server with its ports open.
pub struct RadiusServer<C> {
    auth: UdpSocket,
    acct: UdpSocket,
    centre: Arc<C>,
    counts: Arc<Counts>,
}

impl<C: Centre> RadiusServer<C> {
    /// Opens both ports. Needs a Tokio runtime.
    ///
    /// # Errors
    /// A port is taken, or an address is not ours.
    pub fn bind(config: ServerConfig, centre: C) -> std::io::Result<Self> {
        Ok(Self {
            auth: listener::bind(config.auth)?,
            acct: listener::bind(config.acct)?,
            centre: Arc::new(centre),
            counts: Arc::default(),
        })
    }

    /// Where it listens for authentication.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn auth_addr(&self) -> std::io::Result<SocketAddr> {
        self.auth.local_addr()
    }

    /// Where it listens for accounting.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn acct_addr(&self) -> std::io::Result<SocketAddr> {
        self.acct.local_addr()
    }

    /// What was answered and dropped, to be read at any time.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Serves until cancelled, then finishes what was begun.
    pub async fn run(self, cancel: CancellationToken) {
        let auth = AuthenticationDoor::new(Arc::clone(&self.centre), Arc::clone(&self.counts));
        let acct = AccountingDoor::new(self.centre, Arc::clone(&self.counts));
        tokio::join!(
            cancel.run_until_cancelled(tell(self.counts)),
            listener::serve(self.auth, Arc::new(auth), cancel.clone()),
            listener::serve(self.acct, Arc::new(acct), cancel.clone()),
        );
    }
}

/// Says every minute what was dropped, so that a wrong secret or a forgotten gate can be seen.
async fn tell(counts: Arc<Counts>) {
    let mut told = [0; 7];
    loop {
        tokio::time::sleep(SUMMARY).await;
        told = counts.log_since(told);
    }
}
