//! Serves a router with bounds on what any one device can take up: connections, and time to send a request.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::tls::TlsDoor;

/// Connections at one door.
const MOST_CONNECTIONS: usize = 8_192;
/// Connections of one address: a browser opens six, a phone full of apps some more.
const MOST_PER_ADDRESS: usize = 24;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// For the request line and headers of each request, and between requests.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// A login may wait this long for a server.
const CONNECTION_LIFETIME: Duration = Duration::from_mins(1);
const DRAIN: Duration = Duration::from_secs(3);
const MOST_HEADER_OCTETS: usize = 16 * 1_024;

/// Opens a port on an address that the interface need not have yet.
///
/// # Errors
/// The port is taken.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Serves until cancelled, then lets answers in progress finish.
pub(crate) async fn serve(listener: TcpListener, router: Router, tls: Option<TlsDoor>, cancel: CancellationToken) {
    let seats = Seats::default();
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: others will close.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Whoever finds no seat is closed at once; the others go on.
        let Some(seat) = seats.take(peer.ip().to_canonical()) else {
            continue;
        };
        let (router, watcher) = (router.clone(), graceful.watcher());
        match tls.as_ref().map(TlsDoor::acceptor) {
            None => _ = tokio::spawn(attend(stream, peer, router, seat, watcher)),
            Some(acceptor) => {
                tokio::spawn(async move {
                    let handshake = tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await;
                    if let Ok(Ok(stream)) = handshake {
                        attend(stream, peer, router, seat, watcher).await;
                    }
                });
            }
        }
    }
    drop(listener);
    // Whoever takes longer is cut off.
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

async fn attend<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    seat: Seat,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(MOST_HEADER_OCTETS)
        .serve_connection(TokioIo::new(stream), service);
    // An error here is a device that left or spoke something else than HTTP: its own business.
    let _ = tokio::time::timeout(CONNECTION_LIFETIME, watcher.watch(connection)).await;
    drop(seat);
}

#[derive(Clone)]
struct Seats {
    all: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Default for Seats {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            by_address: Arc::default(),
        }
    }
}

struct Seat {
    _one_of_all: OwnedSemaphorePermit,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Seats {
    fn take(&self, address: IpAddr) -> Option<Seat> {
        let one_of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut taken = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= MOST_PER_ADDRESS {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Seat {
            _one_of_all: one_of_all,
            by_address: Arc::clone(&self.by_address),
            address,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}
