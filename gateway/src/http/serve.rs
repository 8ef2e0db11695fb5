//! Serves a router with bounds on what any one device can take up: connections, and time to send a request.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use kavadam_sockets::until_answered;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::source::Source;
use super::tls::TlsDoor;
use crate::devices::Devices;

/// Connections at one door.
const MOST_CONNECTIONS: usize = 8_192;
/// Connections of one device: a browser opens six, a phone full of apps some more.
const MOST_PER_SOURCE: usize = 24;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// For the request line and headers of each request, and between requests.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// A login may wait this long for a server.
const CONNECTION_LIFETIME: Duration = Duration::from_mins(1);
const DRAIN: Duration = Duration::from_secs(3);
const MOST_HEADER_OCTETS: usize = 16 * 1_024;

/// Opens a TCP port on an address that the interface need not have yet.
///
/// # Errors
/// The port is taken.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = kavadam_sockets::kept(address, Type::STREAM, || {
        let socket = open(address, Type::STREAM, Protocol::TCP)?;
        socket.listen(1_024)?;
        Ok(socket)
    })?;
    TcpListener::from_std(socket.into())
}

/// A UDP port at an address that the interface need not have yet.
///
/// # Errors
/// It is taken.
pub(crate) fn listen_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = kavadam_sockets::kept(address, Type::DGRAM, || open(address, Type::DGRAM, Protocol::UDP))?;
    UdpSocket::from_std(socket.into())
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    // Of datagrams a second socket would take some away.
    socket.set_reuse_address(kind == Type::STREAM)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Serves until cancelled, then lets answers in progress finish.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsDoor>,
    devices: Devices,
    cancel: CancellationToken,
) {
    let seats = Seats::new(MOST_CONNECTIONS, MOST_PER_SOURCE, 1);
    let connections = TaskTracker::new();
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
        let source = Source::of(peer.ip(), devices.find(peer.ip()).as_ref());
        let Some(seat) = seats.take(source) else {
            continue;
        };
        let (router, stop) = (router.clone(), cancel.clone());
        match tls.as_ref().map(TlsDoor::acceptor) {
            None => _ = connections.spawn(attend(stream, peer, router, seat, stop)),
            Some(acceptor) => {
                connections.spawn(async move {
                    let handshake = tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await;
                    if let Ok(Ok(stream)) = handshake {
                        attend(stream, peer, router, seat, stop).await;
                    }
                });
            }
        }
    }
    drop(listener);
    // Whoever takes longer is cut off.
    connections.close();
    let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
}

async fn attend<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    seat: Seat,
    stop: CancellationToken,
) {
    let source = seat.source;
    let asked = CancellationToken::new();
    let asks = asked.clone();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        asks.cancel();
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(source);
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(MOST_HEADER_OCTETS)
        .serve_connection(TokioIo::new(stream), service);
    // An error here is a device that left or spoke something else than HTTP: its own business.
    let served = until_answered(connection, &asked, &stop);
    let _ = tokio::time::timeout(CONNECTION_LIFETIME, served).await;
    drop(seat);
}

/// Room for so many, of each source for no more than its share; cheap to clone. Half of the room is for those who have none or few: whoever has many names
/// would have all of it otherwise, with a share for each.
#[derive(Clone)]
pub(crate) struct Seats {
    all: Arc<Semaphore>,
    most: usize,
    most_per_source: usize,
    /// Where half of the room is taken.
    few_per_source: usize,
    by_source: Arc<Mutex<HashMap<Source, usize>>>,
}

/// Taken until it is dropped.
pub(crate) struct Seat {
    _one_of_all: OwnedSemaphorePermit,
    by_source: Arc<Mutex<HashMap<Source, usize>>>,
    source: Source,
}

impl Seats {
    /// `few_per_source`: what a source needs at once to get on at all.
    pub fn new(most: usize, most_per_source: usize, few_per_source: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(most)),
            most,
            most_per_source,
            few_per_source,
            by_source: Arc::default(),
        }
    }

    /// `None`: there is no room, or its share is taken, or half of the room is and it has a few, or three quarters are and it has one.
    pub fn take(&self, source: Source) -> Option<Seat> {
        let one_of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let free = self.all.available_permits();
        let most = if free >= self.most / 2 {
            self.most_per_source
        } else if free >= self.most / 4 {
            self.few_per_source
        } else {
            1
        };
        let mut taken = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(source).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Seat {
            _one_of_all: one_of_all,
            by_source: Arc::clone(&self.by_source),
            source,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kavadam_domain::Mac;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpSocket, TcpStream};
    use tokio::time::{Instant, sleep, timeout};

    const PATIENCE: Duration = Duration::from_secs(5);

    fn door() -> SocketAddr {
        door_until(CancellationToken::new()).0
    }

    /// A door on loopback, where 127.0.0.2 and 127.0.0.3 are one device and 127.0.0.4 is another.
    fn door_until(stop: CancellationToken) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let devices = Devices::default();
        for (number, ip) in [(1, [127, 0, 0, 2]), (1, [127, 0, 0, 3]), (2, [127, 0, 0, 4])] {
            devices.lease(Mac([2, 0, 0, 0, 0, number]), ip.into());
        }
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(async || "here");
        (address, tokio::spawn(serve(listener, router, None, devices, stop)))
    }

    async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    /// Whether a request on this connection is answered.
    async fn is_seated(stream: &mut TcpStream) -> bool {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut answer = [0; 12];
        let answered = stream.write_all(request).await.is_ok() && stream.read_exact(&mut answer).await.is_ok();
        answered && &answer == b"HTTP/1.1 200"
    }

    #[tokio::test]
    async fn a_device_has_its_seats_whatever_its_addresses() {
        let door = door();
        let mut held = Vec::new();
        for number in 0..MOST_PER_SOURCE {
            let from = if number % 2 == 0 {
                [127, 0, 0, 2]
            } else {
                [127, 0, 0, 3]
            };
            let mut stream = connect(from, door).await;
            assert!(is_seated(&mut stream).await, "{number}");
            held.push(stream);
        }
        for from in [[127, 0, 0, 2], [127, 0, 0, 3]] {
            let mut stream = connect(from, door).await;
            assert!(!is_seated(&mut stream).await, "one too many");
        }
        assert!(
            is_seated(&mut connect([127, 0, 0, 4], door).await).await,
            "another device"
        );
        held.pop();
        let seated = async {
            while !is_seated(&mut connect([127, 0, 0, 2], door).await).await {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, seated).await.expect("a seat that was left is free");
    }

    fn device(number: u32) -> Source {
        let [_, _, high, low] = number.to_be_bytes();
        Source::Device(Mac([2, 0, 0, 0, high, low]))
    }

    #[test]
    fn where_half_of_the_room_is_taken_each_finds_a_few_seats_and_at_last_one() {
        let seats = Seats::new(512, 16, 4);
        let mut held = Vec::new();
        let mut take = |number| {
            let before = held.len();
            held.extend(std::iter::from_fn(|| seats.take(device(number))));
            held.len() - before
        };
        let whole = (0..16).map(&mut take).collect::<Vec<_>>();
        assert_eq!(whole, [16; 16]);
        assert_eq!(take(16), 4, "half is taken");
        let few = (100..131).map(&mut take).collect::<Vec<_>>();
        assert_eq!(few, [4; 31]);
        let last = (200..328).map(&mut take).collect::<Vec<_>>();
        assert_eq!(last, [1; 128], "as many as ever find one");
        assert_eq!(take(400), 0);
    }

    #[test]
    fn whoever_has_many_names_has_half_of_the_room_and_others_find_theirs() {
        let seats = Seats::new(512, 16, 1);
        let mut held = Vec::new();
        for number in 0..32 {
            held.extend((0..16).filter_map(|_| seats.take(device(number))));
        }
        assert_eq!(held.len(), 256 + 16, "one each of those who came when half was taken");
        held.extend((100..300).filter_map(|number| seats.take(device(number))));
        assert_eq!(held.len(), 256 + 16 + 200, "whoever has none finds one");
        assert!(seats.take(device(100)).is_none(), "and no second");
        held.drain(..256);
        assert!(seats.take(device(100)).is_some(), "until there is room again");
    }

    #[tokio::test]
    async fn who_connected_just_before_the_end_is_answered_and_who_says_nothing_holds_nobody_up() {
        let stop = CancellationToken::new();
        let (door, ended) = door_until(stop.clone());
        let mut late = connect([127, 0, 0, 2], door).await;
        let mut mute = connect([127, 0, 0, 4], door).await;
        // Taken before the end comes.
        sleep(Duration::from_millis(100)).await;
        stop.cancel();
        sleep(Duration::from_millis(100)).await;
        assert!(is_seated(&mut late).await, "answered though the end has come");
        timeout(DRAIN, ended)
            .await
            .expect("before whoever is mute is cut off")
            .unwrap();
        assert_eq!(mute.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn closes_on_whoever_sends_headers_without_end() {
        let door = door();
        let mut slow = connect([127, 0, 0, 2], door).await;
        slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
        let start = Instant::now();
        let mut rest = Vec::new();
        let drip = async {
            let (mut reader, mut writer) = slow.split();
            tokio::select! {
                read = reader.read_to_end(&mut rest) => drop(read),
                () = async { while writer.write_all(b"X: y\r\n").await.is_ok() { sleep(Duration::from_millis(500)).await; } } => {}
            }
        };
        timeout(HEADER_DEADLINE + PATIENCE, drip).await.expect("closed");
        assert!(start.elapsed() >= HEADER_DEADLINE.mul_f64(0.9), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn closes_on_headers_too_large() {
        let door = door();
        let mut stream = connect([127, 0, 0, 2], door).await;
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "y".repeat(2 * MOST_HEADER_OCTETS)
        );
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("closed");
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
    }
}
