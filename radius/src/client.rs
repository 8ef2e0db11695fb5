//! The client of a gate: asks one of several servers, and never takes a forgery for the answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use kavadam_domain::Timestamp;

use crate::dynamic::{DynamicHandler, DynamicServer};
use crate::exchange::{Exchange, ExchangeError, Peer};
use crate::tls::{Link, LinkError};
use crate::wire::{Code, Draft, EncodeError, Packet, RADSEC_SECRET, Secret};
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
    servers: Vec<Server>,
    nas: NasIdentity,
    retry: Retry,
    requires_message_authenticator: bool,
    exchange: Exchange,
    /// Index of the server that answered last.
    preferred: AtomicUsize,
}

/// A way to a server.
enum Server {
    Udp(ServerAddress),
    Tls(Link),
}

impl Client {
    /// A client over UDP; sockets are opened when needed.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self {
            servers: config.servers.into_iter().map(Server::Udp).collect(),
            nas: config.nas,
            retry: config.retry,
            requires_message_authenticator: config.requires_message_authenticator,
            exchange: Exchange::new(config.source),
            preferred: AtomicUsize::new(0),
        }
    }

    /// A client over TLS alone, with links in order of preference; one that stands is asked before one that does not. Each is given as
    /// long for an answer as `retry` would take over UDP.
    #[must_use]
    pub fn over_tls(links: Vec<Link>, nas: NasIdentity, retry: Retry) -> Self {
        Self {
            servers: links.into_iter().map(Server::Tls).collect(),
            nas,
            retry,
            // The secret is known to all, and TLS proves the server.
            requires_message_authenticator: false,
            exchange: Exchange::new(None),
            preferred: AtomicUsize::new(0),
        }
    }

    /// Orders that a server sends down its link are for this desk, as if they had come to the port; see [`DynamicServer`].
    ///
    /// [`DynamicServer`]: crate::dynamic::DynamicServer
    pub fn take_orders<H: DynamicHandler>(&self, server: &DynamicServer<H>) {
        for known in &self.servers {
            if let Server::Tls(link) = known {
                link.take_orders(server.desk());
            }
        }
    }

    /// Asks whether and how a device may be online.
    ///
    /// # Errors
    /// [`ClientError`]: nobody decided.
    pub async fn authenticate(&self, request: &AccessRequest) -> Result<AccessReply, ClientError> {
        let packet = self
            .ask(Code::AccessRequest, |secret| request.draft(&self.nas, secret))
            .await?;
        AccessReply::read(&packet).ok_or(ClientError::NoAnswer)
    }

    /// Reports; `Ok` means that a server has taken responsibility for the report. Otherwise keep it and try again: Acct-Delay-Time
    /// is computed from `now`.
    ///
    /// # Errors
    /// [`ClientError`]: nobody took it.
    pub async fn account(&self, request: &AccountingRequest, now: Timestamp) -> Result<(), ClientError> {
        self.ask(Code::AccountingRequest, |_| request.draft(&self.nas, now))
            .await
            .map(drop)
    }

    /// Asks whether a server is alive (Status-Server, RFC 5997), on its authentication port.
    ///
    /// # Errors
    /// [`ClientError`]: none is.
    pub async fn status(&self) -> Result<(), ClientError> {
        self.ask(Code::StatusServer, |_| {
            let mut draft = Draft::request(Code::StatusServer, crate::wire::random_authenticator());
            self.nas.write(&mut draft);
            draft
        })
        .await
        .map(drop)
    }

    async fn ask(&self, code: Code, draft: impl Fn(&Secret) -> Draft) -> Result<Packet, ClientError> {
        for index in self.order() {
            let Some(server) = self.servers.get(index) else {
                continue;
            };
            match self.ask_one(server, code, &draft).await {
                Ok(packet) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(packet);
                }
                Err(ClientError::NoAnswer) => {
                    tracing::warn!(server = server.name(), "RADIUS server does not answer");
                }
                Err(error) => return Err(error),
            }
        }
        Err(ClientError::NoAnswer)
    }

    /// The one that answered last first, then round; but those known to be away last.
    fn order(&self) -> Vec<usize> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut order: Vec<usize> = (0..self.servers.len())
            .map(|step| (first + step) % self.servers.len())
            .collect();
        order.sort_by_key(|index| self.servers.get(*index).is_some_and(Server::is_away));
        order
    }

    async fn ask_one(
        &self,
        server: &Server,
        code: Code,
        draft: &impl Fn(&Secret) -> Draft,
    ) -> Result<Packet, ClientError> {
        match server {
            Server::Udp(server) => {
                let peer = Peer {
                    address: if code == Code::AccountingRequest {
                        server.acct
                    } else {
                        server.auth
                    },
                    secret: &server.secret,
                    is_strict: self.requires_message_authenticator,
                };
                Ok(self.exchange.ask(peer, code, draft(&server.secret), self.retry).await?)
            }
            Server::Tls(link) => {
                let draft = draft(&Secret::new(RADSEC_SECRET));
                Ok(link.ask(code, draft, self.retry.in_all()).await?)
            }
        }
    }
}

impl Server {
    fn name(&self) -> String {
        match self {
            Self::Udp(server) => server.auth.to_string(),
            Self::Tls(link) => link.address().to_owned(),
        }
    }

    fn is_away(&self) -> bool {
        matches!(self, Self::Tls(link) if !link.is_up())
    }
}

impl From<ExchangeError> for ClientError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::NoAnswer(_) => Self::NoAnswer,
            ExchangeError::Encode(error) => Self::Encode(error),
            ExchangeError::Socket(error) => Self::Socket(error),
        }
    }
}

impl From<LinkError> for ClientError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::NoAnswer => Self::NoAnswer,
            LinkError::Encode(error) => Self::Encode(error),
        }
    }
}
