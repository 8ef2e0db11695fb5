//! What passes over TLS, for who looks on: on the wire it is sealed, and only its ends can tell it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kavadam_domain::NasId;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Packets that wait for one who looks on; of more the oldest are passed over.
const ROOM: usize = 4096;
/// Who looks on at once: each takes a copy of everything.
const MOST_LISTENERS: usize = 4;

/// A packet as it was on a connection of a gate's. In RADIUS/1.1 passwords are in clear octets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overheard {
    /// Microseconds since 1970.
    pub at_micros: i64,
    /// Number of the gate whose certificate the connection has.
    pub nas: i64,
    /// Sender.
    pub from: SocketAddr,
    /// Receiver.
    pub to: SocketAddr,
    /// RADIUS/1.1 (RFC 9765): a Token in place of identifier and authenticator.
    pub has_token: bool,
    /// The packet.
    pub octets: Vec<u8>,
}

/// Where packets over TLS can be heard. Costs nothing worth a word while nobody listens.
#[derive(Debug)]
pub struct Tap {
    packets: broadcast::Sender<Arc<Overheard>>,
    listeners: Arc<AtomicUsize>,
}

/// One who listens, until dropped.
#[derive(Debug)]
pub struct Listening {
    packets: broadcast::Receiver<Arc<Overheard>>,
    listeners: Arc<AtomicUsize>,
}

impl Default for Tap {
    fn default() -> Self {
        Self {
            packets: broadcast::Sender::new(ROOM),
            listeners: Arc::default(),
        }
    }
}

impl Tap {
    /// Hears what passes from now on; `None` if four do already.
    #[must_use]
    pub fn listen(&self) -> Option<Listening> {
        let more = |listeners| (listeners < MOST_LISTENERS).then_some(listeners + 1);
        self.listeners
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Listening {
            packets: self.packets.subscribe(),
            listeners: Arc::clone(&self.listeners),
        })
    }

    /// A packet passes.
    pub(super) fn hear(&self, packet: impl FnOnce() -> Overheard) {
        if self.listeners.load(Ordering::Relaxed) > 0 {
            // The last of them may have gone this moment.
            _ = self.packets.send(Arc::new(packet()));
        }
    }
}

impl Overheard {
    pub(super) fn new(nas: NasId, [from, to]: [SocketAddr; 2], has_token: bool, octets: &[u8]) -> Self {
        Self {
            at_micros: crate::clock::now().0,
            nas: nas.0,
            from,
            to,
            has_token,
            octets: octets.to_vec(),
        }
    }
}

impl Listening {
    /// The next packet, or how many passed unheard since the last; `None` once nobody can say any more.
    pub async fn next(&mut self) -> Option<Result<Arc<Overheard>, u64>> {
        match self.packets.recv().await {
            Ok(packet) => Some(Ok(packet)),
            Err(RecvError::Lagged(missed)) => Some(Err(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(octet: u8) -> Overheard {
        let end: SocketAddr = "127.0.0.1:1".parse().unwrap();
        Overheard::new(NasId(1), [end, end], true, &[octet])
    }

    #[tokio::test]
    async fn who_listens_hears_what_passes_from_then_on_and_is_told_of_what_was_too_much() {
        let tap = Tap::default();
        tap.hear(|| panic!("nobody listens"));
        let mut listening = tap.listen().unwrap();
        tap.hear(|| packet(1));
        assert_eq!(listening.next().await.unwrap().unwrap().octets, [1]);
        for _ in 0..ROOM + 3 {
            tap.hear(|| packet(2));
        }
        assert_eq!(listening.next().await, Some(Err(3)));
        drop(listening);
        tap.hear(|| panic!("nobody listens any more"));
    }

    #[test]
    fn four_may_listen_at_once() {
        let tap = Tap::default();
        let mut all: Vec<Listening> = (0..MOST_LISTENERS).map(|_| tap.listen().unwrap()).collect();
        assert!(tap.listen().is_none());
        all.pop();
        assert!(tap.listen().is_some());
    }
}
