//! Serves the portal with bounds on what any one device can take up: connections, time to send a request, and time idle.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use kavadam_sockets::until_answered;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Connections altogether.
const MOST_CONNECTIONS: usize = 4_096;
/// Connections of one device: a browser opens six.
const MOST_PER_DEVICE: usize = 64;
/// Connections of a gate, behind whose address all its devices are: two of them must not keep the others out.
const MOST_PER_GATE: usize = 1_024;
/// For the request line and headers of each request.
const HEADER_DEADLINE: Duration = Duration::from_secs(15);
/// Between an answer and the next request: a seat is not for whoever reads.
const IDLE: Duration = Duration::from_secs(3);
/// For everything on one connection.
const CONNECTION_LIFETIME: Duration = Duration::from_mins(3);
/// After `shutdown`, answers in progress get this long.
const DRAIN: Duration = Duration::from_secs(5);

/// Whose address a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers {
    /// A device each.
    Devices,
    /// Gates, which translate the addresses of many devices to their own.
    Gates,
}

impl Peers {
    const fn most_connections(self) -> usize {
        match self {
            Self::Devices => MOST_PER_DEVICE,
            Self::Gates => MOST_PER_GATE,
        }
    }
}

/// How long a connection may take.
#[derive(Clone, Copy)]
struct Patience {
    header: Duration,
    idle: Duration,
    lifetime: Duration,
}

/// Serves `router` on `listener` until `shutdown` completes, then lets answers in progress finish. One address gets so many connections at once
/// as suits `peers`: 64 for a device, 1,024 for a gate.
pub async fn serve(listener: TcpListener, router: Router, peers: Peers, shutdown: impl Future<Output = ()>) {
    let patience = Patience {
        header: HEADER_DEADLINE,
        idle: IDLE,
        lifetime: CONNECTION_LIFETIME,
    };
    serve_within(patience, Seats::of(peers), listener, router, shutdown).await;
}

async fn serve_within(
    patience: Patience,
    seats: Seats,
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let (connections, stop) = (TaskTracker::new(), CancellationToken::new());
    tokio::pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: others will close.
                    tracing::warn!(%error, "portal cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        // Whoever finds no seat is closed at once; the others go on.
        if let Some(seat) = seats.take(peer.ip()) {
            connections.spawn(attend(patience, stream, peer, router.clone(), seat, stop.clone()));
        }
    }
    drop(listener);
    stop.cancel();
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!("portal stopped with answers in progress");
    }
}

async fn attend(
    patience: Patience,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    seat: Seat,
    stop: CancellationToken,
) {
    let asked = CancellationToken::new();
    let asks = asked.clone();
    let (answers, answered) = watch::channel(false);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        asks.cancel();
        answers.send_replace(false);
        let answers = answers.clone();
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = router.clone().oneshot(request.map(axum::body::Body::new));
        async move {
            let answer = answer.await;
            answers.send_replace(true);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.header)
        .max_buf_size(16 * 1_024)
        .serve_connection(TokioIo::new(stream), service);
    // An error here is a device that left or spoke something else than HTTP: its own business.
    let over = stop.child_token();
    let served = tokio::time::timeout(patience.lifetime, until_answered(connection, &asked, &over));
    tokio::pin!(served);
    tokio::select! {
        _ = &mut served => {}
        () = fall_idle(answered, patience.idle) => {
            // What is still being sent, or has just been asked, is finished.
            over.cancel();
            let _ = served.await;
        }
    }
    drop(seat);
}

/// Until so long has gone by since an answer without another request.
async fn fall_idle(mut answered: watch::Receiver<bool>, idle: Duration) {
    loop {
        let is_answered = *answered.borrow_and_update();
        let next = answered.changed();
        let next = if is_answered {
            match tokio::time::timeout(idle, next).await {
                Ok(next) => next,
                Err(_) => return,
            }
        } else {
            next.await
        };
        if next.is_err() {
            // The connection is over, which its other end will say.
            return std::future::pending().await;
        }
    }
}

#[derive(Clone)]
struct Seats {
    all: Arc<Semaphore>,
    most_per_address: usize,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

struct Seat {
    _one_of_all: OwnedSemaphorePermit,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Seats {
    fn of(peers: Peers) -> Self {
        Self {
            all: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            most_per_address: peers.most_connections(),
            by_address: Arc::default(),
        }
    }

    fn take(&self, address: IpAddr) -> Option<Seat> {
        let one_of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut taken = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= self.most_per_address {
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    type Started = (
        SocketAddr,
        tokio::sync::oneshot::Sender<()>,
        tokio::task::JoinHandle<()>,
    );

    const LONG: Duration = Duration::from_mins(1);
    const PATIENT: Patience = Patience {
        header: LONG,
        idle: LONG,
        lifetime: LONG,
    };

    async fn started() -> Started {
        started_within(PATIENT).await
    }

    async fn started_within(patience: Patience) -> Started {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let who = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() };
        let router = Router::new().route("/", axum::routing::get(who).post(|body: String| async { body }));
        let server = tokio::spawn(serve_within(
            patience,
            Seats::of(Peers::Devices),
            listener,
            router,
            async { drop(stopped.await) },
        ));
        (address, stop, server)
    }

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Who is closed on while still sending sees a reset rather than an end: both will do.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn tells_the_portal_who_is_there_and_stops_when_told() {
        let (address, stop, server) = started().await;
        let answer = exchange(address, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"),
            "{answer}"
        );
        stop.send(()).unwrap();
        server.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn closes_on_whoever_does_not_speak_http() {
        let (address, _stop, _server) = started().await;
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000));
        for request in ["\u{16}\u{3}\u{1} not http\r\n\r\n", "GET\r\n\r\n", &long] {
            let answer = exchange(address, request).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
    }

    /// Whether the server closes a connection on which so much, and no more, is sent.
    async fn closes_on(patience: Patience, part: &str) -> bool {
        let (address, _stop, _server) = started_within(patience).await;
        tokio::time::timeout(Duration::from_secs(20), exchange(address, part))
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn waits_for_no_slow_header_and_no_slow_body() {
        let short = Duration::from_millis(200);
        let impatient = Patience {
            header: short,
            ..PATIENT
        };
        for part in ["", "GET / HTTP/1.1\r\nhost: x\r\n"] {
            assert!(closes_on(impatient, part).await, "{part:?}");
        }
        let brief = Patience {
            lifetime: short,
            ..PATIENT
        };
        let body = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nv=";
        assert!(closes_on(brief, body).await);
    }

    #[tokio::test]
    async fn whoever_asks_nothing_more_gives_the_seat_up_but_no_answer_is_cut_short() {
        let short = Duration::from_millis(200);
        let brief = Patience { idle: short, ..PATIENT };
        let get = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        assert!(closes_on(brief, get).await);
        assert!(closes_on(brief, &get.repeat(3)).await);
        let (address, _stop, _server) = started_within(brief).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        tokio::time::sleep(3 * short).await;
        let post = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n";
        stream.write_all(post.as_bytes()).await.unwrap();
        tokio::time::sleep(3 * short).await;
        stream.write_all(b"ab").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ab"), "{answer}");
    }

    #[tokio::test]
    async fn the_connection_beyond_an_addresss_share_is_closed_and_a_seat_is_free_again() {
        let (address, _stop, _server) = started().await;
        let mut seated = Vec::new();
        for _ in 0..MOST_PER_DEVICE {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut first = [0; 8];
            stream.read_exact(&mut first).await.unwrap();
            seated.push(stream);
        }
        let request = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        assert_eq!(exchange(address, request).await, "");
        drop(seated);
        let served = async {
            while exchange(address, request).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), served).await.unwrap();
    }

    #[test]
    fn one_address_cannot_take_every_seat() {
        let seats = Seats::of(Peers::Devices);
        let (greedy, other) = (IpAddr::from([10, 80, 1, 2]), IpAddr::from([10, 80, 1, 3]));
        let taken: Vec<Option<Seat>> = (0..=MOST_PER_DEVICE).map(|_| seats.take(greedy)).collect();
        assert_eq!(taken.iter().flatten().count(), MOST_PER_DEVICE);
        assert!(seats.take(other).is_some());
        drop(taken);
        assert!(seats.take(greedy).is_some());
        assert_eq!(seats.all.available_permits(), MOST_CONNECTIONS);
    }

    #[test]
    fn two_devices_cannot_take_every_seat_of_their_gate() {
        let seats = Seats::of(Peers::Gates);
        let gate = IpAddr::from([192, 0, 2, 7]);
        let taken: Vec<Option<Seat>> = (0..2 * MOST_PER_DEVICE).map(|_| seats.take(gate)).collect();
        assert!(taken.iter().all(Option::is_some));
        assert!(seats.take(gate).is_some(), "a third behind the same address");
        let greedy: Vec<Option<Seat>> = (0..MOST_CONNECTIONS).map(|_| seats.take(gate)).collect();
        assert!(greedy.last().is_some_and(Option::is_none));
        assert!(seats.take(IpAddr::from([192, 0, 2, 8])).is_some(), "another gate");
    }
}
