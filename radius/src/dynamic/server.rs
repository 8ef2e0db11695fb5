//! The gate's half: hear, check, obey, say so.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use kavadam_domain::Timestamp;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::counts::DynamicCounts;
use super::{DynamicAction, DynamicRequest, Target};
use crate::duplicates::{Admission, Bounds, Duplicates, Key, Total};
use crate::listener::{self, Door, Job, SharedDuplicates, lock};
#[cfg(feature = "client")]
use crate::tls::OrderDesk;
use crate::wire::{Code, Draft, ErrorCause, Packet, Secret, attr};
use crate::{LimitsPatch, clock};

/// Longest difference of clocks, and longest delay, that a request may show (RFC 5176 §6.3).
const WINDOW: Duration = Duration::from_mins(5);
/// Long enough for every copy that could still pass [`WINDOW`].
const REMEMBERED: Bounds = Bounds {
    lifetime: Duration::from_mins(10),
    octets: 8 << 20,
    under_way: 4096,
};

const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Who may give orders.
#[derive(Debug, Clone)]
pub struct Authority {
    /// From where.
    pub source: IpNet,
    /// Shared secret.
    pub secret: Secret,
}

/// How to listen.
#[derive(Debug, Clone)]
pub struct DynamicConfig {
    /// Address and port, by convention 3799; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Anyone else is ignored.
    pub authorities: Vec<Authority>,
    /// Our name: a request that names another gate is refused with Error-Cause 403.
    pub nas_identifier: String,
    /// Our addresses: likewise for a request that names another NAS-IP-Address or NAS-IPv6-Address.
    pub nas_addresses: Vec<IpAddr>,
    /// Ignore datagrams without Message-Authenticator or Event-Timestamp. `false` for servers that send neither.
    pub is_strict: bool,
}

/// What a gate does with orders. A copy of a request is answered without calling again; different requests may overlap.
pub trait DynamicHandler: Send + Sync + 'static {
    /// Ends a session. `Ok` is ACK and means that it is over.
    fn disconnect(&self, target: Target) -> impl Future<Output = Result<(), ErrorCause>> + Send;

    /// Changes limits of a session from now on; octets and seconds count from its start. A CoA says nothing of whether octets are a
    /// lease: that stays as granted. `Ok` is ACK and means that the limits hold.
    fn change(&self, target: Target, patch: LimitsPatch) -> impl Future<Output = Result<(), ErrorCause>> + Send;
}

/// Listens for orders.
pub struct DynamicServer<H> {
    socket: UdpSocket,
    door: Arc<DynamicDoor<H>>,
}

impl<H: DynamicHandler> DynamicServer<H> {
    /// Opens the port. Needs a Tokio runtime.
    ///
    /// # Errors
    /// The port is taken, or the address is not ours.
    pub fn bind(config: DynamicConfig, handler: H) -> std::io::Result<Self> {
        Ok(Self {
            socket: listener::bind(config.listen)?,
            door: Arc::new(DynamicDoor::new(config, handler)),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What was dropped, to be read at any time.
    #[must_use]
    pub fn counts(&self) -> Arc<DynamicCounts> {
        Arc::clone(&self.door.counts)
    }

    /// For orders that come down a connection to a server, which TLS has proven to be one: an authority without a shared secret. Nothing can be
    /// forged or played back there, so that neither a signature nor a time is asked for, nor is a time that it tells looked at.
    #[cfg(feature = "client")]
    pub(crate) fn desk(&self) -> OrderDesk {
        let door = Arc::clone(&self.door);
        Arc::new(move |order| {
            let door = Arc::clone(&door);
            Box::pin(async move {
                let secret = Secret::new(crate::wire::RADSEC_SECRET);
                door.answer_with(&order, &secret, Road::Tls, clock::now()).await
            })
        })
    }

    /// Serves until cancelled, then finishes what was begun. Says every minute what was dropped.
    pub async fn run(self, cancel: CancellationToken) {
        let tell = self.counts().tell();
        tokio::join!(
            cancel.run_until_cancelled(tell),
            listener::serve(self.socket, self.door, cancel.clone()),
        );
    }
}

/// How an order came.
#[derive(Clone, Copy)]
enum Road {
    /// Anybody may have sent or recorded it. Strictly: without Message-Authenticator or Event-Timestamp it is ignored.
    Datagram { is_strict: bool },
    /// From a proven server, and never before: whatever time it tells, by whichever clock, it is of now.
    Tls,
}

pub(crate) struct DynamicDoor<H> {
    config: DynamicConfig,
    handler: H,
    seen: SharedDuplicates,
    counts: Arc<DynamicCounts>,
}

impl<H: DynamicHandler> Door for DynamicDoor<H> {
    async fn answer(&self, datagram: Vec<u8>, from: SocketAddr) -> Option<Arc<[u8]>> {
        self.answer_at(&datagram, from, clock::now()).await
    }
}

impl<H: DynamicHandler> DynamicDoor<H> {
    pub(crate) fn new(config: DynamicConfig, handler: H) -> Self {
        Self {
            config,
            handler,
            seen: Arc::new(Mutex::new(Duplicates::new(REMEMBERED, &Total::new(usize::MAX)))),
            counts: Arc::default(),
        }
    }

    pub(crate) async fn answer_at(&self, datagram: &[u8], from: SocketAddr, now: Timestamp) -> Option<Arc<[u8]>> {
        let source = from.ip().to_canonical();
        let Some(authority) = self.config.authorities.iter().find(|a| a.source.contains(&source)) else {
            return self.drop(&self.counts.unknown_source);
        };
        let road = Road::Datagram {
            is_strict: self.config.is_strict,
        };
        self.answer_with(datagram, &authority.secret, road, now).await
    }

    async fn answer_with(&self, datagram: &[u8], secret: &Secret, road: Road, now: Timestamp) -> Option<Arc<[u8]>> {
        let packet = self.check(datagram, secret, road, now)?;
        let key = Key {
            // Not where it came from: a recorded order played back from elsewhere is still a copy, as its authenticator tells.
            source: ANYWHERE,
            identifier: packet.identifier(),
            authenticator: *packet.authenticator(),
        };
        let admission = lock(&self.seen).admit(&key, Instant::now());
        let job = match admission {
            Admission::New => Job::new(&self.seen, key),
            Admission::InProgress => return self.drop(&self.counts.duplicates),
            Admission::Full => return self.drop(&self.counts.busy),
            Admission::Replay(reply) => {
                self.counts.duplicates.fetch_add(1, Ordering::Relaxed);
                return Some(reply);
            }
        };
        let result = self.obey(&packet).await;
        let reply = encode(&packet, result, secret)?;
        Some(job.answered(reply))
    }

    /// The packet, if it is a request, signed with the secret, fresh where that matters, and can be answered.
    fn check(&self, datagram: &[u8], secret: &Secret, road: Road, now: Timestamp) -> Option<Packet> {
        let packet = match Packet::parse(datagram) {
            Ok(packet) if matches!(packet.code(), Code::DisconnectRequest | Code::CoaRequest) => packet,
            _ => return self.drop(&self.counts.malformed),
        };
        let is_strict = matches!(road, Road::Datagram { is_strict: true });
        if packet.verify_request(secret.octets(), is_strict).is_err() {
            return self.drop(&self.counts.unverified);
        }
        if matches!(road, Road::Datagram { .. }) && !is_fresh(&packet, now, is_strict) {
            return self.drop(&self.counts.stale);
        }
        // Obeyed but not answered, it would be obeyed again with every copy.
        if !packet.fits_an_answer() {
            return self.drop(&self.counts.malformed);
        }
        Some(packet)
    }

    #[expect(clippy::unused_self, reason = "reads as what happens to the packet at this door")]
    fn drop<T>(&self, counter: &AtomicU64) -> Option<T> {
        counter.fetch_add(1, Ordering::Relaxed);
        None
    }

    async fn obey(&self, packet: &Packet) -> Result<(), ErrorCause> {
        if !self.is_meant(packet) {
            return Err(ErrorCause::NAS_IDENTIFICATION_MISMATCH);
        }
        let request = DynamicRequest::read(packet)?;
        match request.action {
            DynamicAction::Disconnect => self.handler.disconnect(request.target).await,
            DynamicAction::Change(patch) => self.handler.change(request.target, patch).await,
        }
    }

    /// Whether every name of a gate in it is ours; one that cannot be read is not.
    fn is_meant(&self, packet: &Packet) -> bool {
        let is_ours = |address: Option<IpAddr>| address.is_some_and(|ip| self.config.nas_addresses.contains(&ip));
        packet
            .text(attr::NAS_IDENTIFIER)
            .is_none_or(|name| name == self.config.nas_identifier)
            && (!packet.has(attr::NAS_IP_ADDRESS) || is_ours(packet.ipv4(attr::NAS_IP_ADDRESS).map(IpAddr::V4)))
            && (!packet.has(attr::NAS_IPV6_ADDRESS) || is_ours(packet.ipv6(attr::NAS_IPV6_ADDRESS).map(IpAddr::V6)))
    }
}

/// Within [`WINDOW`] of now, either way.
fn is_fresh(packet: &Packet, now: Timestamp, is_strict: bool) -> bool {
    match packet.try_u32(attr::EVENT_TIMESTAMP) {
        Ok(Some(secs)) => i64::from(secs).abs_diff(now.as_secs()) <= WINDOW.as_secs(),
        Ok(None) => !is_strict,
        Err(_) => false,
    }
}

fn encode(request: &Packet, result: Result<(), ErrorCause>, secret: &Secret) -> Option<Vec<u8>> {
    let code = match (request.code(), result) {
        (Code::DisconnectRequest, Ok(())) => Code::DisconnectAck,
        (Code::DisconnectRequest, Err(_)) => Code::DisconnectNak,
        (_, Ok(())) => Code::CoaAck,
        (_, Err(_)) => Code::CoaNak,
    };
    let mut draft = Draft::reply(code, request);
    if let Err(cause) = result {
        draft.u32(attr::ERROR_CAUSE, cause.0);
    }
    // Unmodified, in an ACK or a NAK (RFC 5176 §3.3); a Disconnect-Request has none (§3.6).
    if let (Code::CoaRequest, Some(state)) = (request.code(), request.octets(attr::STATE)) {
        draft.octets(attr::STATE, &state);
    }
    draft.proxy_state_of(request);
    draft.seal_reply(secret.octets()).ok()
}
