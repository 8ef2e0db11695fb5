//! The centre's half: send, and learn what became of it.

use std::net::{IpAddr, SocketAddr};

use kavadam_domain::Timestamp;

use crate::exchange::{Exchange, ExchangeError, Peer};
use crate::wire::{Code, Draft, ErrorCause, Packet, Secret, attr};
use crate::{DynamicRequest, Retry};

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

/// Sends Disconnect- and CoA-Requests; many may be in flight at once. Needs a Tokio runtime.
pub struct DynamicClient {
    exchange: Exchange,
    retry: Retry,
}

impl DynamicClient {
    /// A client; sockets are opened when needed. `source` is the address to send from.
    #[must_use]
    pub fn new(source: Option<IpAddr>, retry: Retry) -> Self {
        Self {
            exchange: Exchange::new(source),
            retry,
        }
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
            Ok(packet) => reply_of(&packet),
            Err(ExchangeError::NoAnswer(_)) => DynamicReply::NoAnswer,
            Err(error @ (ExchangeError::Encode(_) | ExchangeError::Socket(_))) => {
                tracing::warn!(%error, peer = %to, "cannot ask the gate");
                DynamicReply::NoAnswer
            }
        }
    }
}

fn reply_of(packet: &Packet) -> DynamicReply {
    match packet.code() {
        Code::DisconnectAck | Code::CoaAck => DynamicReply::Ack,
        _ => DynamicReply::Nak(packet.u32(attr::ERROR_CAUSE).map(ErrorCause)),
    }
}
