//! The centre's half: send, and learn what became of it.

use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "server")]
use std::{sync::Arc, time::Duration};

#[cfg(feature = "server")]
use kavadam_domain::NasId;
use kavadam_domain::Timestamp;

use crate::exchange::{Exchange, ExchangeError, Peer};
#[cfg(feature = "server")]
use crate::tls::GateLinks;
use crate::wire::{Code, Draft, ErrorCause, Packet, Secret, attr};
use crate::{DynamicRequest, Retry};

/// For an answer over a gate's connection, before it is asked at its port.
#[cfg(feature = "server")]
const DOWN_A_LINK: Duration = Duration::from_secs(5);

/// What a gate made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynamicReply {
    /// Done.
    Ack,
    /// Refused, with Error-Cause where it gave one.
    Nak(Option<ErrorCause>),
    /// Silence, however often asked: unreachable, or it does not know us or our secret.
    NoAnswer,
}

impl DynamicReply {
    /// What an answer says that was verified and is one to such a request.
    #[must_use]
    pub fn of(packet: &Packet) -> Self {
        match packet.code() {
            Code::DisconnectAck | Code::CoaAck => Self::Ack,
            _ => Self::Nak(packet.u32(attr::ERROR_CAUSE).map(ErrorCause)),
        }
    }
}

/// Sends Disconnect- and CoA-Requests; many may be in flight at once. Needs a Tokio runtime.
pub struct DynamicClient {
    exchange: Exchange,
    retry: Retry,
    #[cfg(feature = "server")]
    links: Arc<GateLinks>,
}

impl DynamicClient {
    /// A client; sockets are opened when needed. `sources` are the addresses to send from: the first of the gate's family, if there is one.
    #[must_use]
    pub fn new(sources: impl IntoIterator<Item = IpAddr>, retry: Retry) -> Self {
        Self {
            exchange: Exchange::new(sources),
            retry,
            #[cfg(feature = "server")]
            links: Arc::default(),
        }
    }

    /// Likewise, with the connections of gates: a gate that has one is asked over it first.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn over(mut self, links: Arc<GateLinks>) -> Self {
        self.links = links;
        self
    }

    /// Whether a gate keeps a connection here.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn has_link(&self, nas: NasId) -> bool {
        self.links.count(nas) > 0
    }

    /// Sends a request, in its vendor's words, down the connection that a gate keeps; [`DynamicReply::NoAnswer`] if it has none here, or
    /// does not answer there in time.
    #[cfg(feature = "server")]
    pub async fn send_down_a_link(&self, nas: NasId, code: Code, draft: Draft) -> DynamicReply {
        let answer = self.links.ask(nas, code, draft, DOWN_A_LINK).await;
        answer.map_or(DynamicReply::NoAnswer, |packet| DynamicReply::of(&packet))
    }

    /// Sends a request and waits for what became of it.
    pub async fn send(
        &self,
        to: SocketAddr,
        secret: &Secret,
        request: &DynamicRequest,
        now: Timestamp,
    ) -> DynamicReply {
        self.send_draft(to, secret, request.code(), request.draft(now)).await
    }

    /// The same for a request in a vendor's words.
    pub(crate) async fn send_draft(&self, to: SocketAddr, secret: &Secret, code: Code, draft: Draft) -> DynamicReply {
        let peer = Peer {
            address: to,
            secret,
            // Many gates answer without: RFC 5176 leaves it to them, and the Response Authenticator covers ACK and NAK.
            is_strict: false,
        };
        match self.exchange.ask(peer, code, draft, self.retry).await {
            Ok(packet) => DynamicReply::of(&packet),
            Err(ExchangeError::NoAnswer(_)) => DynamicReply::NoAnswer,
            Err(error @ (ExchangeError::Encode(_) | ExchangeError::Socket(_))) => {
                tracing::warn!(%error, peer = %to, "cannot ask the gate");
                DynamicReply::NoAnswer
            }
        }
    }
}
