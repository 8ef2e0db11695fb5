//! The port for RADIUS over TLS: who may connect, and how many.
//!
//! Nobody gets past the handshake without a certificate of a trusted authority, nor past the next moment without one that a gate's
//! record names. All that strangers can take are places for handshakes: few from one source, each for a few seconds, and none that a gate
//! has which is connected.

mod connection;
mod places;
mod turns;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use kavadam_sockets::Lasting;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accounting::AccountingDoor;
use super::authentication::AuthenticationDoor;
use super::{Centre, Counts, Tap};
use crate::clock;
use crate::tls::{GateLinks, Kept, ServerSide, TlsError, TlsFiles, UNACKNOWLEDGED, Versions};
use connection::Connection;
use places::{Place, Places};

pub(in crate::server) use turns::UnderWay;

/// For work under way when told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Where and how to listen.
#[derive(Debug, Clone)]
pub struct RadsecConfig {
    /// Address and port, by convention 2083; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What is shown, and whose certificates are taken.
    pub files: TlsFiles,
    /// What is spoken.
    pub versions: Versions,
    /// What a client may take.
    pub limits: RadsecLimits,
}

/// Bounds on connections.
#[derive(Debug, Clone, Copy)]
pub struct RadsecLimits {
    /// Connections of gates at once. Further ones are closed once it is known whose they are.
    pub connections: usize,
    /// Handshakes at once. Further ones are closed before they begin.
    pub handshakes: usize,
    /// Both together, from one IPv4 address or one IPv6 prefix of 64 bits.
    pub per_source: usize,
    /// Connections of one gate. For a further one the gate's oldest is ended: nobody takes the places of all.
    pub per_gate: usize,
    /// Requests of one connection under way at once. Further ones wait in the connection.
    pub outstanding: usize,
    /// For the handshake.
    pub handshake: Duration,
    /// For a packet, from its first octet to its last; and for answers to be taken.
    pub packet: Duration,
    /// A connection on which nothing is said for so long is closed.
    pub idle: Duration,
    /// Between looks at whether a connection's certificate still is its gate's, where no request or order asks that.
    pub known_every: Duration,
    /// Between looks at the certificate files.
    pub look_every: Duration,
}

impl Default for RadsecLimits {
    fn default() -> Self {
        Self {
            connections: 8192,
            handshakes: 1024,
            per_source: 64,
            per_gate: 64,
            outstanding: 256,
            handshake: Duration::from_secs(10),
            packet: Duration::from_secs(10),
            idle: Duration::from_mins(15),
            known_every: Duration::from_secs(5),
            look_every: Duration::from_secs(10),
        }
    }
}

/// Why the port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RadsecError {
    /// It is taken, or the address is not ours.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct RadsecCounts {
    /// Connections closed because there were too many: of gates, at their handshakes, from one source, or of one gate.
    pub too_many: AtomicU64,
    /// Handshakes that failed or took too long: no certificate, one of another authority, expired, revoked, TLS 1.2.
    pub no_handshake: AtomicU64,
    /// Connections with a trusted certificate that no gate's record names.
    pub no_gate: AtomicU64,
    /// Connections closed because something that is no packet, or was not signed, came over them.
    pub broken: AtomicU64,
    /// Handshakes that were good.
    pub connected: AtomicU64,
}

impl RadsecCounts {
    /// Logs what was refused since `before`, if anything was, and returns what there is now.
    pub(super) fn log_since(&self, before: [u64; 4]) -> [u64; 4] {
        let refused = [&self.too_many, &self.no_handshake, &self.no_gate, &self.broken];
        let now = refused.map(|count| count.load(Ordering::Relaxed));
        let [too_many, no_handshake, no_gate, broken] =
            std::array::from_fn(|at| now.get(at).zip(before.get(at)).map_or(0, |(now, before)| now - before));
        if now != before {
            tracing::warn!(
                too_many,
                no_handshake,
                no_gate,
                broken,
                "RadSec connections refused or ended since the last such line"
            );
        }
        now
    }
}

/// The open port.
pub(super) struct Radsec {
    listener: TcpListener,
    certificates: Arc<Kept<ServerSide>>,
    versions: Versions,
    limits: RadsecLimits,
    counts: Arc<RadsecCounts>,
    places: Arc<Places>,
}

/// What stands behind every connection.
pub(super) struct Hall<C> {
    pub(super) centre: Arc<C>,
    pub(super) auth: Arc<AuthenticationDoor<C>>,
    pub(super) acct: Arc<AccountingDoor<C>>,
    pub(super) counts: Arc<Counts>,
    pub(super) links: Arc<GateLinks>,
    pub(super) tap: Arc<Tap>,
    pub(super) under_way: UnderWay,
}

impl Radsec {
    pub(super) fn bind(config: RadsecConfig) -> Result<Self, RadsecError> {
        let RadsecConfig {
            listen,
            files,
            versions,
            limits,
        } = config;
        let certificates = Kept::open(files, move |files| files.server(versions))?;
        Ok(Self {
            listener: kavadam_sockets::listen(listen)
                .and_then(TcpListener::from_std)
                .map_err(|error| RadsecError::Listen(listen, error))?,
            certificates: Arc::new(certificates),
            versions,
            limits,
            counts: Arc::default(),
            places: Places::new(&limits),
        })
    }

    pub(super) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) fn counts(&self) -> Arc<RadsecCounts> {
        Arc::clone(&self.counts)
    }

    /// Serves until cancelled, then finishes what was begun.
    pub(super) async fn serve<C: Centre>(self, hall: Hall<C>, cancel: CancellationToken) {
        let hall = Arc::new(hall);
        let tasks = TaskTracker::new();
        let certificates = Arc::clone(&self.certificates);
        tokio::select! {
            () = cancel.cancelled() => {}
            () = certificates.watch(self.limits.look_every, &cancel) => {}
            () = self.accept(&hall, &tasks, &cancel) => {}
        }
        tasks.close();
        if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
            tracing::warn!(unfinished = tasks.len(), "stopped with RadSec connections open");
        }
    }

    async fn accept<C: Centre>(&self, hall: &Arc<Hall<C>>, tasks: &TaskTracker, cancel: &CancellationToken) {
        loop {
            let (stream, from) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: what is open goes on.
                    tracing::warn!(%error, "cannot take a RadSec connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Some(place) = self.places.take(from.ip()) else {
                self.counts.too_many.fetch_add(1, Ordering::Relaxed);
                refused(from, &"too many connections");
                continue;
            };
            let guest = Guest {
                certificates: Arc::clone(&self.certificates),
                versions: self.versions,
                limits: self.limits,
                counts: Arc::clone(&self.counts),
                place,
            };
            let (hall, cancel) = (Arc::clone(hall), cancel.clone());
            tasks.spawn(async move {
                guest.welcome(stream, from, hall, cancel).await;
            });
        }
    }
}

/// One who knocked.
struct Guest {
    certificates: Arc<Kept<ServerSide>>,
    versions: Versions,
    limits: RadsecLimits,
    counts: Arc<RadsecCounts>,
    place: Place,
}

impl Guest {
    async fn welcome<C: Centre>(
        self,
        stream: TcpStream,
        from: SocketAddr,
        hall: Arc<Hall<C>>,
        cancel: CancellationToken,
    ) {
        // What the system refuses here is no reason to refuse the gate.
        _ = Lasting {
            unacknowledged: UNACKNOWLEDGED,
        }
        .set(&stream);
        let met_by = self.certificates.current();
        let acceptor = TlsAcceptor::from(Arc::clone(&met_by.config));
        let shaken = tokio::time::timeout(self.limits.handshake, acceptor.accept(stream));
        let stream = tokio::select! {
            () = cancel.cancelled() => return,
            shaken = shaken => match shaken {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return self.no_handshake(from, &error),
                Err(_) => return self.no_handshake(from, &"the handshake took too long"),
            },
        };
        let Some(version) = self.versions.agreed(stream.get_ref().1.alpn_protocol()) else {
            return self.no_handshake(from, &"no common version of RADIUS");
        };
        self.counts.connected.fetch_add(1, Ordering::Relaxed);
        let own = stream.get_ref().0.local_addr();
        let connection = Connection {
            hall,
            from,
            own: own.unwrap_or(SocketAddr::from(([0; 4], 0))),
            version,
            limits: self.limits,
            counts: self.counts,
            certificates: self.certificates,
            met_by,
        };
        connection.run(stream, self.place, cancel).await;
    }

    fn no_handshake(&self, from: SocketAddr, why: &impl std::fmt::Display) {
        self.counts.no_handshake.fetch_add(1, Ordering::Relaxed);
        refused(from, why);
    }
}

/// At most one line a second, since anybody can knock; the rest is counted. The address is a machine's, not a person's.
fn refused(from: SocketAddr, why: &impl std::fmt::Display) {
    static LOGGED_IN_SEC: AtomicI64 = AtomicI64::new(i64::MIN);
    let sec = clock::now().as_secs();
    if LOGGED_IN_SEC.swap(sec, Ordering::Relaxed) != sec {
        tracing::warn!(%from, %why, "refused a RadSec connection");
    }
}
