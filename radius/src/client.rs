//! The client of a gate: asks one of several servers, and never takes a forgery for the answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use kavadam_domain::Timestamp;

use crate::exchange::{Exchange, ExchangeError, Peer};
use crate::wire::{Code, Draft, EncodeError, Packet, Secret};
use crate::{AccessReply, AccessRequest, AccountingRequest, NasIdentity, Retry};

/// A server.
#[derive(Debug, Clone)]
pub struct ServerAddress {
    /// Authentication, by convention port 1812.
    pub auth: SocketAddr,
    /// Accounting, by convention port 1813.
    pub acct: SocketAddr,
    /// Shared secret.
    pub secret: Secret,
}

/// How to ask.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// In order of preference. The one that answered last is asked first, the next when it stays silent.
    pub servers: Vec<ServerAddress>,
    /// Who we are.
    pub nas: NasIdentity,
    /// Patience with each server.
    pub retry: Retry,
    /// Send from this address; `None` lets the routes decide.
    pub source: Option<IpAddr>,
    /// Refuse answers to Access-Requests without Message-Authenticator. `false` only for an old server on a trusted path: it
    /// opens the door to BlastRADIUS (CVE-2024-3596).
    pub requires_message_authenticator: bool,
}

/// Why there is no answer. A refusal is no error: it is [`AccessReply::Reject`].
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No server answered in time: unreachable, overloaded, or it does not know us or our secret.
    #[error("no RADIUS server answered")]
    NoAnswer,
    /// The request does not fit into a packet; asking again will not help.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The system gave no socket.
    #[error("cannot open a UDP socket: {0}")]
    Socket(#[from] std::io::Error),
}

/// Asks servers; many questions may be in flight at once. Needs a Tokio runtime; share it in an `Arc`.
pub struct Client {
    config: ClientConfig,
    exchange: Exchange,
    /// Index of the server that answered last.
    preferred: AtomicUsize,
}

impl Client {
    /// A client; sockets are opened when needed.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        let exchange = Exchange::new(config.source);
        Self {
            config,
            exchange,
            preferred: AtomicUsize::new(0),
        }
    }

    /// Asks whether and how a device may be online.
    ///
    /// # Errors
    /// [`ClientError`]: nobody decided.
    pub async fn authenticate(&self, request: &AccessRequest) -> Result<AccessReply, ClientError> {
        let packet = self
            .ask(Code::AccessRequest, |server| {
                (server.auth, request.draft(&self.config.nas, &server.secret))
            })
            .await?;
        AccessReply::read(&packet).ok_or(ClientError::NoAnswer)
    }

    /// Reports; `Ok` means that a server has taken responsibility for the report. Otherwise keep it and try again: Acct-Delay-Time
    /// is computed from `now`.
    ///
    /// # Errors
    /// [`ClientError`]: nobody took it.
    pub async fn account(&self, request: &AccountingRequest, now: Timestamp) -> Result<(), ClientError> {
        self.ask(Code::AccountingRequest, |server| {
            (server.acct, request.draft(&self.config.nas, now))
        })
        .await
        .map(drop)
    }

    /// Asks whether a server is alive (Status-Server, RFC 5997), on its authentication port.
    ///
    /// # Errors
    /// [`ClientError`]: none is.
    pub async fn status(&self) -> Result<(), ClientError> {
        self.ask(Code::StatusServer, |server| {
            let mut draft = Draft::request(Code::StatusServer, crate::wire::random_authenticator());
            self.config.nas.write(&mut draft);
            (server.auth, draft)
        })
        .await
        .map(drop)
    }

    async fn ask(
        &self,
        code: Code,
        draft: impl Fn(&ServerAddress) -> (SocketAddr, Draft),
    ) -> Result<Packet, ClientError> {
        let servers = &self.config.servers;
        let first = self.preferred.load(Ordering::Relaxed);
        for index in (0..servers.len()).map(|step| (first + step) % servers.len()) {
            let Some(server) = servers.get(index) else { continue };
            let (address, draft) = draft(server);
            let peer = Peer {
                address,
                secret: &server.secret,
                is_strict: self.config.requires_message_authenticator,
            };
            match self.exchange.ask(peer, code, draft, self.config.retry).await {
                Ok(packet) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(packet);
                }
                Err(ExchangeError::NoAnswer(server)) => tracing::warn!(%server, "RADIUS server does not answer"),
                Err(ExchangeError::Encode(error)) => return Err(error.into()),
                Err(ExchangeError::Socket(error)) => return Err(error.into()),
            }
        }
        Err(ClientError::NoAnswer)
    }
}
