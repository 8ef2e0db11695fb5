//! The server of the centre: answers gates on two UDP ports and over TLS, and sends them orders.
//!
//! A datagram goes through [`intake`] (who, what, seen before?), then to one use case, and its answer is sent only after that
//! has committed. Where there is no answer to give (an unknown source, a wrong secret, a database that is down) the server
//! is silent, so that the gate tries again or asks another.

mod accounting;
mod authentication;
mod centre;
mod counts;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod habits;
mod intake;
mod orders;
mod radsec;
mod reporter;
mod sender;
mod tap;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::listener::{self, Door};
use crate::profile::Profiles;
use crate::tls::GateLinks;
use accounting::AccountingDoor;
use authentication::AuthenticationDoor;
use radsec::{Hall, Radsec, UnderWay};

pub use centre::Centre;
pub use counts::{
    Answer, Counts, DropReason, GateCounts, GateFigures, LATENCY_BUCKETS, Outcome, Recent, bucket_micros,
};
pub use orders::{OrderBook, run_orders};
pub use radsec::{RadsecConfig, RadsecCounts, RadsecError, RadsecLimits};
pub use tap::{Listening, Overheard, Tap};

/// Between lines about what was dropped.
const SUMMARY: Duration = Duration::from_mins(1);

/// Where to listen. Bind addresses rather than a wildcard on a machine with several ([`RadiusServer::also_at`]): answers of a wildcard leave from
/// the address the routes choose, and a gate drops those that come from another than it asked.
#[derive(Debug, Clone, Copy)]
pub struct ServerConfig {
    /// Authentication, by convention port 1812; port 0 takes a free one.
    pub auth: SocketAddr,
    /// Accounting, by convention port 1813; port 0 takes a free one.
    pub acct: SocketAddr,
}

/// Further ports, where it listens at several addresses.
#[derive(Default)]
struct Others {
    auth: Vec<UdpSocket>,
    acct: Vec<UdpSocket>,
}

/// A server with its ports open.
pub struct RadiusServer<C> {
    auth: UdpSocket,
    acct: UdpSocket,
    others: Others,
    radsec: Option<Radsec>,
    links: Arc<GateLinks>,
    tap: Arc<Tap>,
    centre: Arc<C>,
    counts: Arc<Counts>,
    profiles: Arc<Profiles>,
}

impl<C: Centre> RadiusServer<C> {
    /// Opens both ports, to speak to gates as to ours. Needs a Tokio runtime.
    ///
    /// # Errors
    /// A port is taken, or an address is not ours.
    pub fn bind(config: ServerConfig, centre: C) -> std::io::Result<Self> {
        Ok(Self {
            auth: listener::bind(config.auth)?,
            acct: listener::bind(config.acct)?,
            others: Others::default(),
            radsec: None,
            links: Arc::default(),
            tap: Arc::default(),
            centre: Arc::new(centre),
            counts: Arc::default(),
            profiles: Arc::default(),
        })
    }

    /// Opens these besides, for authentication and for accounting. A gate is answered from the address that it asked, and a copy of its
    /// request is known for one at whichever it comes.
    ///
    /// # Errors
    /// A port is taken, or an address is not ours.
    pub fn also_at(mut self, auth: &[SocketAddr], acct: &[SocketAddr]) -> std::io::Result<Self> {
        for address in auth {
            self.others.auth.push(listener::bind(*address)?);
        }
        for address in acct {
            self.others.acct.push(listener::bind(*address)?);
        }
        Ok(self)
    }

    /// Speaks to each gate by its vendor's profile.
    #[must_use]
    pub fn with_profiles(self, profiles: Arc<Profiles>) -> Self {
        Self { profiles, ..self }
    }

    /// Opens a port for RADIUS over TLS besides.
    ///
    /// # Errors
    /// The port is taken, an address is not ours, or the certificates cannot be used.
    pub fn with_radsec(mut self, config: RadsecConfig) -> Result<Self, RadsecError> {
        self.radsec = Some(Radsec::bind(config)?);
        Ok(self)
    }

    /// Where it listens for RADIUS over TLS, if it does.
    #[must_use]
    pub fn radsec_addr(&self) -> Option<SocketAddr> {
        self.radsec.as_ref()?.local_addr().ok()
    }

    /// What became of connections, if it listens for them.
    #[must_use]
    pub fn radsec_counts(&self) -> Option<Arc<RadsecCounts>> {
        self.radsec.as_ref().map(Radsec::counts)
    }

    /// The connections of gates, for orders.
    #[must_use]
    pub fn links(&self) -> Arc<GateLinks> {
        Arc::clone(&self.links)
    }

    /// What passes over TLS, for who looks on.
    #[must_use]
    pub fn tap(&self) -> Arc<Tap> {
        Arc::clone(&self.tap)
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
        let auth = Arc::new(AuthenticationDoor::new(
            Arc::clone(&self.centre),
            Arc::clone(&self.counts),
            self.profiles,
        ));
        let acct = Arc::new(AccountingDoor::new(Arc::clone(&self.centre), Arc::clone(&self.counts)));
        let hall = Hall {
            centre: self.centre,
            auth: Arc::clone(&auth),
            acct: Arc::clone(&acct),
            counts: Arc::clone(&self.counts),
            links: self.links,
            tap: self.tap,
            under_way: UnderWay::new(),
        };
        let radsec_counts = self.radsec.as_ref().map(Radsec::counts);
        let radsec = async {
            if let Some(radsec) = self.radsec {
                radsec.serve(hall, cancel.clone()).await;
            }
        };
        tokio::join!(
            cancel.run_until_cancelled(tell(self.counts, radsec_counts)),
            serve_all(self.auth, self.others.auth, auth, &cancel),
            serve_all(self.acct, self.others.acct, acct, &cancel),
            radsec,
        );
    }
}

/// The same door at every address.
async fn serve_all(first: UdpSocket, others: Vec<UdpSocket>, door: Arc<impl Door>, cancel: &CancellationToken) {
    let all = std::iter::once(first).chain(others);
    join_all(all.map(|socket| listener::serve(socket, Arc::clone(&door), cancel.clone()))).await;
}

/// Says every minute what was dropped, so that a wrong secret or a forgotten gate can be seen.
async fn tell(counts: Arc<Counts>, radsec: Option<Arc<RadsecCounts>>) {
    let mut told = counts::Dropped::default();
    let mut refused = [0; 4];
    loop {
        tokio::time::sleep(SUMMARY).await;
        told = counts.log_since(&told);
        if let Some(radsec) = &radsec {
            refused = radsec.log_since(refused);
        }
    }
}
