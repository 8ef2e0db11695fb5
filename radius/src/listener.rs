//! A UDP door: receives, works on a bounded number of datagrams at once, answers, and drains when told to stop.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::duplicates::{Duplicates, Key};
use crate::wire::MAX_PACKET_OCTETS;

/// Datagrams worked on at once. Further ones wait in the socket's buffer, and are lost when that is full: clients ask again.
const CONCURRENCY: usize = 1024;
/// Room for about 20,000 requests, if the system grants it.
const RECEIVE_BUFFER_OCTETS: usize = 8 << 20;
/// For work under way when told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// What stands behind a port.
pub(crate) trait Door: Send + Sync + 'static {
    /// The answer; `None` is silence.
    fn answer(&self, datagram: Vec<u8>, from: SocketAddr) -> impl Future<Output = Option<Arc<[u8]>>> + Send;
}

/// Opens a port; port 0 takes a free one.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // A smaller buffer works too; the system's own limit decides.
    _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_OCTETS);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Serves until cancelled, then finishes what was begun.
pub(crate) async fn serve(socket: UdpSocket, door: Arc<impl Door>, cancel: CancellationToken) {
    let socket = Arc::new(socket);
    let places = Arc::new(Semaphore::new(CONCURRENCY));
    let tasks = TaskTracker::new();
    let receive = async {
        let mut buffer = [0; MAX_PACKET_OCTETS];
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::warn!(%error, "cannot receive");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let datagram = buffer.get(..length).unwrap_or_default().to_vec();
            let (door, socket) = (Arc::clone(&door), Arc::clone(&socket));
            tasks.spawn(async move {
                let _place = place;
                if let Some(reply) = door.answer(datagram, from).await
                    && let Err(error) = socket.send_to(&reply, from).await
                {
                    tracing::debug!(%error, "cannot answer");
                }
            });
        }
    };
    cancel.run_until_cancelled(receive).await;
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!(unfinished = tasks.len(), "stopped with work under way");
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
            lock(&self.seen).answered(key, Arc::clone(&reply), Instant::now());
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
