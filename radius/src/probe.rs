//! Asking a server to find out what is wrong with it, or with us. Unlike [`crate::client`], which drops in silence what proves nothing, this
//! tells everything that came back.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use kavadam_domain::Timestamp;
use tokio::net::UdpSocket;
use tokio::time::timeout_at;

use crate::wire::{Code, Draft, EncodeError, MAX_PACKET_OCTETS, Packet, Secret, random_authenticator};
use crate::{AccessRequest, AccountingRequest, NasIdentity};

/// Whom to ask, and how.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The server's port for what is asked.
    pub to: SocketAddr,
    /// Address to send from; `None` lets the routes decide.
    pub source: Option<IpAddr>,
    /// Shared secret.
    pub secret: Secret,
    /// Who we say we are.
    pub nas: NasIdentity,
    /// Copies sent, at least one.
    pub tries: u32,
    /// Between copies, and after the last.
    pub wait: Duration,
}

/// What to ask.
pub enum Query {
    /// Status-Server (RFC 5997).
    Status,
    /// Access-Request.
    Access(Box<AccessRequest>),
    /// Accounting-Request.
    Accounting(Box<AccountingRequest>),
}

/// What was sent and what came of it.
#[derive(Debug)]
pub struct Probed {
    /// As sent.
    pub request: Packet,
    /// Copies sent.
    pub sent: u32,
    /// From the first copy to what ended the wait.
    pub took: Duration,
    /// What ended the wait.
    pub heard: Heard,
}

/// See [`Probed`].
#[derive(Debug)]
pub enum Heard {
    /// An answer that proves the secret.
    Answer(Packet),
    /// An answer that does not: another secret on one side, or a forger. Nothing better came.
    Unproven(Packet),
    /// Octets that are no answer to this. Nothing better came.
    Nonsense(&'static str),
    /// The machine says that nobody listens on that port.
    Closed,
    /// The network says that there is no way.
    Unreachable(io::Error),
    /// Nothing at all.
    Silence,
}

impl Probe {
    /// Asks, and waits for the first answer that proves the secret.
    ///
    /// # Errors
    /// The request does not fit into a packet, or there is no socket.
    pub async fn ask(&self, query: &Query, now: Timestamp) -> io::Result<Probed> {
        let octets = self.write(query, now).map_err(io::Error::other)?;
        let request = Packet::parse(&octets).map_err(io::Error::other)?;
        let unspecified: IpAddr = if self.to.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((self.source.unwrap_or(unspecified), 0)).await?;
        let began = Instant::now();
        let mut best = Heard::Silence;
        let mut sent = 0;
        // Connected, so that the machine tells us of a closed port.
        if let Err(error) = socket.connect(self.to).await {
            best = Heard::Unreachable(error);
        } else {
            while sent < self.tries.max(1) {
                let failed = socket.send(&octets).await.err();
                sent += 1;
                let heard = match failed {
                    Some(error) => of_error(error),
                    None => self.listen(&socket, &request).await,
                };
                match heard {
                    heard @ (Heard::Answer(_) | Heard::Unproven(_) | Heard::Closed) => {
                        best = heard;
                        break;
                    }
                    Heard::Silence => {}
                    heard => best = heard,
                }
            }
        }
        Ok(Probed {
            request,
            sent,
            took: began.elapsed(),
            heard: best,
        })
    }

    fn write(&self, query: &Query, now: Timestamp) -> Result<Vec<u8>, EncodeError> {
        let draft = match query {
            Query::Status => {
                let mut draft = Draft::request(Code::StatusServer, random_authenticator());
                self.nas.write(&mut draft);
                draft
            }
            Query::Access(request) => request.draft(&self.nas, &self.secret),
            Query::Accounting(request) => request.draft(&self.nas, now),
        };
        draft.seal_request(rand::random(), self.secret.octets())
    }

    /// Until an answer is proven, or the wait is over; then the best of what came.
    async fn listen(&self, socket: &UdpSocket, request: &Packet) -> Heard {
        let mut best = Heard::Silence;
        let mut buffer = [0; MAX_PACKET_OCTETS];
        let until = tokio::time::Instant::now() + self.wait;
        loop {
            match timeout_at(until, socket.recv(&mut buffer)).await {
                Err(_) => return best,
                Ok(Err(error)) => return of_error(error),
                Ok(Ok(length)) => match self.judge(buffer.get(..length).unwrap_or_default(), request) {
                    answer @ Heard::Answer(_) => return answer,
                    Heard::Nonsense(_) if matches!(best, Heard::Unproven(_)) => {}
                    other => best = other,
                },
            }
        }
    }

    /// What came in place of an answer to the request, or as one.
    #[must_use]
    pub fn judge(&self, datagram: &[u8], request: &Packet) -> Heard {
        let Ok(packet) = Packet::parse(datagram) else {
            return Heard::Nonsense("it is no RADIUS packet");
        };
        if packet.identifier() != request.identifier() {
            return Heard::Nonsense("it answers another request: its identifier differs");
        }
        if !packet.code().answers(request.code()) {
            return Heard::Nonsense("its code does not answer such a request");
        }
        match packet.verify_reply(request.authenticator(), self.secret.octets(), false) {
            Ok(()) => Heard::Answer(packet),
            Err(_) => Heard::Unproven(packet),
        }
    }
}

fn of_error(error: io::Error) -> Heard {
    match error.kind() {
        ErrorKind::ConnectionRefused => Heard::Closed,
        _ => Heard::Unreachable(error),
    }
}
