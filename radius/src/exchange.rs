//! One question, one answer, over UDP: identifiers, retransmission, and telling the answer from a forgery.
//!
//! An identifier is one octet, so a socket has room for 256 questions; a [`Lane`] is one socket with its 256 places, and more
//! are opened as they are needed. The sockets are not connected: a gate that starts before its uplink, or whose route
//! changes, must not be left with a dead one. What connecting would check, the lane checks itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::listener::lock;
use crate::wire::{Code, Draft, EncodeError, MAX_PACKET_OCTETS, Packet, Secret, Unverified};

/// Questions in flight at once; further ones wait for a place.
const MAX_IN_FLIGHT: usize = 8 * IDENTIFIERS;
const IDENTIFIERS: usize = 256;

/// How often and how long to try.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Until the first retransmission; each wait is twice the one before, give or take a tenth so that gates which lost the
    /// same server do not return in step (RFC 5080 §2.2.1).
    pub first_wait: Duration,
    /// Copies sent in all, at least one; every copy is the same, octet for octet.
    pub tries: u32,
}

impl Default for Retry {
    /// Given up after about 7 seconds.
    fn default() -> Self {
        Self {
            first_wait: Duration::from_secs(1),
            tries: 3,
        }
    }
}

impl Retry {
    /// Until it gives up, without chance.
    #[cfg(feature = "client")]
    pub(crate) fn in_all(self) -> Duration {
        let waits = (0..self.tries.max(1)).map(|n| self.first_wait * (1_u32 << n.min(10)));
        waits.sum()
    }

    fn waits(self) -> impl Iterator<Item = Duration> {
        let jitter = 0.9 + 0.2 * rand::random::<f64>();
        (0..self.tries.max(1)).map(move |n| self.first_wait.mul_f64(jitter * f64::from(1_u32 << n.min(10))))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("no answer from {0}")]
    NoAnswer(SocketAddr),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("cannot open a UDP socket: {0}")]
    Socket(#[from] std::io::Error),
}

/// To whom, and what proves the answer.
pub(crate) struct Peer<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) secret: &'a Secret,
    /// Refuse answers without Message-Authenticator where their code calls for one.
    pub(crate) is_strict: bool,
}

/// Sockets and the questions in flight on them. Needs a Tokio runtime.
pub(crate) struct Exchange {
    sources: Vec<IpAddr>,
    places: Semaphore,
    lanes: Mutex<Lanes>,
}

#[derive(Default)]
struct Lanes {
    open: Vec<Arc<Lane>>,
    /// Aborted when the exchange is dropped.
    readers: JoinSet<()>,
}

impl Exchange {
    /// `sources`: the addresses to send from, the first of the peer's family that reaches it, which is how a server knows a gate.
    pub(crate) fn new(sources: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            sources: sources.into_iter().collect(),
            places: Semaphore::new(MAX_IN_FLIGHT),
            lanes: Mutex::default(),
        }
    }

    /// Sends a request until it is answered by one who knows the secret. Anything else that arrives is dropped in silence and
    /// the wait goes on, so a forger gains nothing by being first.
    pub(crate) async fn ask(
        &self,
        peer: Peer<'_>,
        code: Code,
        draft: Draft,
        retry: Retry,
    ) -> Result<Packet, ExchangeError> {
        let _place = self.places.acquire().await;
        let claim = self.claim(peer.address)?;
        let packet = draft.seal_request(claim.identifier, peer.secret.octets())?;
        let mut answer = claim.expect(&peer, code, &packet);
        for wait in retry.waits() {
            if let Err(error) = claim.lane.socket.send_to(&packet, peer.address).await {
                // No route yet, or a full queue: the next copy may fare better.
                tracing::debug!(%error, peer = %peer.address, "cannot send");
            }
            if let Ok(Ok(packet)) = timeout(wait, &mut answer).await {
                return Ok(packet);
            }
        }
        if let Some(why) = claim.dropped() {
            tracing::warn!(server = %peer.address, why, "what came in place of an answer was dropped");
        }
        Err(ExchangeError::NoAnswer(peer.address))
    }

    /// A free identifier on a socket that reaches the peer.
    fn claim(&self, peer: SocketAddr) -> std::io::Result<Claim> {
        let source = self.source_for(peer);
        let mut lanes = lock(&self.lanes);
        let mut reaching = lanes.open.iter().filter(|lane| lane.source == source);
        if let Some(claim) = reaching.find_map(Lane::claim) {
            return Ok(claim);
        }
        let lane = Arc::new(Lane::open(source)?);
        lanes.readers.spawn(Arc::clone(&lane).read());
        lanes.open.push(Arc::clone(&lane));
        Lane::claim(&lane).ok_or_else(|| std::io::Error::other("no free identifier"))
    }

    /// Nothing goes from the loopback to another machine.
    fn source_for(&self, peer: SocketAddr) -> IpAddr {
        let reaches =
            |source: &IpAddr| source.is_ipv4() == peer.is_ipv4() && (peer.ip().is_loopback() || !source.is_loopback());
        match (self.sources.iter().copied().find(reaches), peer) {
            (Some(source), _) => source,
            (None, SocketAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
            (None, SocketAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// A socket and its 256 identifiers.
struct Lane {
    socket: UdpSocket,
    source: IpAddr,
    slots: Mutex<Slots>,
}

struct Slots {
    slots: Vec<Slot>,
    /// Where to look first: the identifier used longest ago, so that late answers find nobody.
    next: usize,
}

enum Slot {
    Free,
    Claimed,
    Waiting(Arc<Question>),
}

/// A question in flight.
pub(crate) struct Question {
    peer: SocketAddr,
    code: Code,
    authenticator: [u8; 16],
    secret: Secret,
    is_strict: bool,
    answer: Mutex<Option<oneshot::Sender<Packet>>>,
    /// Why the last one that came was no answer.
    dropped: Mutex<Option<&'static str>>,
}

impl Lane {
    fn open(source: IpAddr) -> std::io::Result<Self> {
        let socket = std::net::UdpSocket::bind((source, 0))?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            source,
            slots: Mutex::new(Slots {
                slots: std::iter::repeat_with(|| Slot::Free).take(IDENTIFIERS).collect(),
                next: 0,
            }),
        })
    }

    fn claim(self: &Arc<Self>) -> Option<Claim> {
        let mut slots = lock(&self.slots);
        let first = slots.next;
        let order = (0..IDENTIFIERS).map(|step| (first + step) % IDENTIFIERS);
        let index = order
            .into_iter()
            .find(|index| matches!(slots.slots.get(*index), Some(Slot::Free)))?;
        *slots.slots.get_mut(index)? = Slot::Claimed;
        slots.next = index + 1;
        Some(Claim {
            lane: Arc::clone(self),
            identifier: u8::try_from(index).ok()?,
        })
    }

    fn set(&self, identifier: u8, slot: Slot) {
        if let Some(place) = lock(&self.slots).slots.get_mut(usize::from(identifier)) {
            *place = slot;
        }
    }

    fn question(&self, identifier: u8) -> Option<Arc<Question>> {
        match lock(&self.slots).slots.get(usize::from(identifier)) {
            Some(Slot::Waiting(question)) => Some(Arc::clone(question)),
            _ => None,
        }
    }

    async fn read(self: Arc<Self>) {
        let mut buffer = [0; MAX_PACKET_OCTETS];
        loop {
            match self.socket.recv_from(&mut buffer).await {
                Ok((length, from)) => self.received(buffer.get(..length).unwrap_or_default(), from),
                Err(error) => {
                    tracing::debug!(%error, "cannot receive");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn received(&self, datagram: &[u8], from: SocketAddr) {
        let Some(question) = datagram.get(1).and_then(|identifier| self.question(*identifier)) else {
            return;
        };
        match question.judge(datagram, from) {
            Ok(packet) => {
                if let Some(answer) = lock(&question.answer).take() {
                    // The one who asked may have given up at this very moment.
                    _ = answer.send(packet);
                }
            }
            Err(why) => *lock(&question.dropped) = Some(why),
        }
    }
}

impl Question {
    pub(crate) fn new(
        peer: &Peer<'_>,
        code: Code,
        authenticator: [u8; 16],
        answer: Option<oneshot::Sender<Packet>>,
    ) -> Self {
        Self {
            peer: peer.address,
            code,
            authenticator,
            secret: peer.secret.clone(),
            is_strict: peer.is_strict,
            answer: Mutex::new(answer),
            dropped: Mutex::default(),
        }
    }

    pub(crate) fn judge(&self, datagram: &[u8], from: SocketAddr) -> Result<Packet, &'static str> {
        if from.ip() != self.peer.ip() || from.port() != self.peer.port() {
            return Err("from another address");
        }
        let packet = Packet::parse(datagram).map_err(|_| "malformed")?;
        if !packet.code().answers(self.code) {
            return Err("no answer to this kind of request");
        }
        packet
            .verify_reply(&self.authenticator, self.secret.octets(), self.is_strict)
            .map_err(|error| match error {
                Unverified::NoMessageAuthenticator => "no Message-Authenticator",
                Unverified::Authenticator | Unverified::MessageAuthenticator => "not signed with the secret",
            })?;
        Ok(packet)
    }
}

/// An identifier in use; free again when dropped.
struct Claim {
    lane: Arc<Lane>,
    identifier: u8,
}

impl Claim {
    fn expect(&self, peer: &Peer<'_>, code: Code, packet: &[u8]) -> oneshot::Receiver<Packet> {
        let (sender, answer) = oneshot::channel();
        let authenticator = packet.get(4..).and_then(<[u8]>::first_chunk).copied();
        let question = Question::new(peer, code, authenticator.unwrap_or_default(), Some(sender));
        self.lane.set(self.identifier, Slot::Waiting(Arc::new(question)));
        answer
    }

    fn dropped(&self) -> Option<&'static str> {
        *lock(&self.lane.question(self.identifier)?.dropped)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.lane.set(self.identifier, Slot::Free);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_to_another_machine_from_the_loopback() {
        let exchange = Exchange::new(["127.0.0.1", "192.0.2.5", "192.0.2.6"].map(|source| source.parse().unwrap()));
        let source = |peer: &str| exchange.source_for(peer.parse().unwrap()).to_string();
        assert_eq!(source("192.0.2.1:3799"), "192.0.2.5");
        assert_eq!(source("127.0.0.1:3799"), "127.0.0.1");
        assert_eq!(source("[2001:db8::1]:3799"), "::", "as the routes have it");
    }
}
