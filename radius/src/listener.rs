//! A UDP door: receives, works on a bounded number of datagrams at once, answers, and drains when told to stop.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::duplicates::{Duplicates, Key};
use crate::wire::MAX_PACKET_OCTETS;

/// Datagrams worked on at once. Further ones wait in the socket's buffer, and are lost when that is full: clients ask again.
const CONCURRENCY: usize = 4096;
/// Datagrams taken from the socket in one go, if so many have come.
const AT_ONCE: u32 = 64;
/// Room for about 20,000 requests, if the system grants it.
const RECEIVE_BUFFER_OCTETS: usize = 8 << 20;
/// For work under way when told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// What stands behind a port.
pub(crate) trait Door: Send + Sync + 'static {
    /// Whether whoever is there gets silence, whatever it sends. Asked before a datagram is looked at, so it takes next to no time.
    fn turns_away(&self, from: SocketAddr) -> bool {
        _ = from;
        false
    }

    /// The answer; `None` is silence.
    fn answer(&self, datagram: Vec<u8>, from: SocketAddr) -> impl Future<Output = Option<Arc<[u8]>>> + Send;
}

/// Opens a port; port 0 takes a free one.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = kavadam_sockets::kept(address, Type::DGRAM, || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        // A smaller buffer works too; the system's own limit decides.
        _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_OCTETS);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    })?;
    UdpSocket::from_std(socket.into())
}

/// Serves until cancelled, then finishes what was begun.
pub(crate) async fn serve(socket: UdpSocket, door: Arc<impl Door>, cancel: CancellationToken) {
    let socket = Arc::new(socket);
    let places = Arc::new(Semaphore::new(CONCURRENCY));
    let tasks = TaskTracker::new();
    let receive = async {
        let mut buffer = [0; MAX_PACKET_OCTETS];
        while let Ok(place) = Arc::clone(&places).acquire_many_owned(AT_ONCE).await {
            let came = match socket.readable().await {
                Ok(()) => receive_many(&socket, door.as_ref(), &mut buffer),
                Err(error) => Err(error),
            };
            let datagrams = match came {
                Ok(datagrams) => datagrams,
                Err(error) => {
                    tracing::warn!(%error, "cannot receive");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if datagrams.is_empty() {
                // A flood of strangers must not keep others from this thread.
                tokio::task::consume_budget().await;
                continue;
            }
            tasks.spawn(work(Arc::clone(&door), Arc::clone(&socket), datagrams, place));
        }
    };
    cancel.run_until_cancelled(receive).await;
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!(unfinished = tasks.len(), "stopped with work under way");
    }
}

/// What has come, without those that are turned away.
fn receive_many(
    socket: &UdpSocket,
    door: &impl Door,
    buffer: &mut [u8],
) -> std::io::Result<Vec<(Vec<u8>, SocketAddr)>> {
    let mut datagrams = Vec::new();
    for _ in 0..AT_ONCE {
        match socket.try_recv_from(buffer) {
            Ok((_, from)) if door.turns_away(from) => {}
            Ok((length, from)) => datagrams.push((buffer.get(..length).unwrap_or_default().to_vec(), from)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock || !datagrams.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(datagrams)
}

/// Works on what came at once. Each answer is sent as soon as it is there; a panic over one leaves the others alone.
async fn work(
    door: Arc<impl Door>,
    socket: Arc<UdpSocket>,
    datagrams: Vec<(Vec<u8>, SocketAddr)>,
    mut place: OwnedSemaphorePermit,
) {
    // What did not come leaves its place to others.
    drop(place.split(AT_ONCE as usize - datagrams.len().min(AT_ONCE as usize)));
    let answer = |(datagram, from)| {
        let answer = AssertUnwindSafe(door.answer(datagram, from)).catch_unwind();
        answer.map(move |answer| (answer.ok().flatten(), from))
    };
    let mut answers: FuturesUnordered<_> = datagrams.into_iter().map(answer).collect();
    while let Some((reply, from)) = answers.next().await {
        if let Some(reply) = reply
            && let Err(error) = send(&socket, &reply, from).await
        {
            tracing::debug!(%error, "cannot answer");
        }
        drop(place.split(1));
    }
}

/// Mostly there is room to send at once.
async fn send(socket: &UdpSocket, reply: &[u8], to: SocketAddr) -> std::io::Result<usize> {
    match socket.try_send_to(reply, to) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => socket.send_to(reply, to).await,
        done => done,
    }
}

/// Duplicates as the tasks of a door share them.
pub(crate) type SharedDuplicates = Arc<Mutex<Duplicates>>;

/// A request being worked on. Dropped without an answer (silence, or a panic), it leaves room for the client's next copy.
pub(crate) struct Job {
    seen: SharedDuplicates,
    key: Option<Key>,
}

impl Job {
    pub(crate) fn new(seen: &SharedDuplicates, key: Key) -> Self {
        Self {
            seen: Arc::clone(seen),
            key: Some(key),
        }
    }

    /// Keeps the answer for further copies and hands it back to be sent.
    pub(crate) fn answered(mut self, reply: Vec<u8>) -> Arc<[u8]> {
        let reply: Arc<[u8]> = reply.into();
        if let Some(key) = self.key.take() {
            lock(&self.seen).answered(&key, Arc::clone(&reply), Instant::now());
        }
        reply
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            lock(&self.seen).forget(key);
        }
    }
}

/// No code runs under these locks that could leave the data half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
