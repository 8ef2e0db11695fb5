//! Where questions arrive, over UDP and TCP, and go on to dnsmasq: strangers' at one port, those of people online at another.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

use super::answer::{Answerer, Audience};
use super::watch::watch_files;
use crate::config::GatewayConfig;
use crate::devices::Devices;
use crate::http::source::Source;
use crate::http::{Seats, listen, listen_udp};
use crate::kernel::Naming;

const PATIENCE: Duration = Duration::from_secs(5);
/// A connection of somebody online may ask again for so long (RFC 7766 §6.2.3).
const CONVERSATION: Duration = Duration::from_secs(30);
/// After the kernel could not give us what came.
const PAUSE: Duration = Duration::from_millis(100);
/// RFC 1035 §2.3.4; with extensions (RFC 6891) questions and answers are longer.
const QUESTION_OCTETS: usize = 512;
const EXTENDED_OCTETS: usize = 4096;
/// Those online ask us as long as we say so again and again: if we die, they ask the resolver itself from then on.
const KEPT_FOR: Duration = Duration::from_secs(3);
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Questions of one device where many are under way: phones ask for A, AAAA and HTTPS of a name together, and wait for seconds for what was dropped.
const QUESTIONS_IN_A_CROWD: usize = 4;

/// What may be under way at once; more is dropped, and asked again.
struct Bounds {
    questions: usize,
    /// Of one device, which may ask what nobody answers.
    questions_of_one: usize,
    connections: usize,
    connections_of_one: usize,
}

/// Of those online there are many more. What strangers may have under way is a small part of what dnsmasq takes (`dns-forward-max`; of connections 20 in
/// Debian 12's): the rest is for those online.
const fn bounds(audience: Audience) -> Bounds {
    match audience {
        Audience::Strangers => Bounds {
            questions: 512,
            questions_of_one: 16,
            connections: 8,
            connections_of_one: 2,
        },
        Audience::Citizens => Bounds {
            questions: 8_192,
            questions_of_one: 128,
            connections: 1_024,
            connections_of_one: 16,
        },
    }
}

/// What is bound, before it serves.
pub(crate) struct NameDoor<G> {
    answerer: Arc<Answerer<G>>,
    devices: Devices,
    doors: Vec<Door>,
    resolver: SocketAddr,
}

/// One port at one address.
struct Door {
    audience: Audience,
    udp: UdpSocket,
    tcp: TcpListener,
    room: Seats,
    seats: Seats,
}

impl<G: Naming> NameDoor<G> {
    /// Binds the ports at each address of the gateway; `resolver` answers.
    ///
    /// # Errors
    /// A port is taken.
    pub fn bind(gate: G, config: &GatewayConfig, devices: Devices, resolver: SocketAddr) -> io::Result<Self> {
        let mut ports = vec![(Audience::Strangers, config.names_port)];
        ports.extend(
            config
                .reads_all_names()
                .then_some((Audience::Citizens, config.citizen_names_port)),
        );
        let mut doors = Vec::new();
        for (audience, port) in ports {
            let bounds = bounds(audience);
            let room = Seats::new(bounds.questions, bounds.questions_of_one, QUESTIONS_IN_A_CROWD);
            let seats = Seats::new(bounds.connections, bounds.connections_of_one, 1);
            for address in config.lan_addresses() {
                let address = SocketAddr::new(address, port);
                doors.push(Door {
                    audience,
                    udp: listen_udp(address)?,
                    tcp: listen(address)?,
                    room: room.clone(),
                    seats: seats.clone(),
                });
            }
        }
        Ok(Self {
            answerer: Arc::new(Answerer::new(gate, config, devices.clone())),
            devices,
            doors,
            resolver,
        })
    }

    /// Who answers.
    pub fn answerer(&self) -> Arc<Answerer<G>> {
        Arc::clone(&self.answerer)
    }

    /// Serves until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut parts = tokio::task::JoinSet::new();
        let mut are_citizens_heard = false;
        for door in self.doors {
            are_citizens_heard |= door.audience == Audience::Citizens;
            let way = Way {
                answerer: Arc::clone(&self.answerer),
                devices: self.devices.clone(),
                audience: door.audience,
                resolver: self.resolver,
            };
            parts.spawn(hear(way.clone(), Arc::new(door.udp), door.room));
            parts.spawn(accept(way, door.tcp, door.seats));
        }
        parts.spawn(watch_files(Arc::clone(&self.answerer)));
        if are_citizens_heard {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = keep(&self.answerer) => {}
            }
            self.answerer.keep_names(None);
        } else {
            cancel.cancelled().await;
        }
    }
}

async fn keep<G: Naming>(answerer: &Answerer<G>) {
    loop {
        answerer.keep_names(Some(KEPT_FOR));
        tokio::time::sleep(KEEP_EVERY).await;
    }
}

/// From a question to its answer.
struct Way<G> {
    answerer: Arc<Answerer<G>>,
    devices: Devices,
    audience: Audience,
    resolver: SocketAddr,
}

impl<G> Clone for Way<G> {
    fn clone(&self) -> Self {
        Self {
            answerer: Arc::clone(&self.answerer),
            devices: self.devices.clone(),
            ..*self
        }
    }
}

impl<G> Way<G> {
    fn source(&self, from: IpAddr) -> Source {
        Source::of(from, self.devices.find(from).as_ref())
    }
}

async fn hear<G: Naming>(way: Way<G>, socket: Arc<UdpSocket>, room: Seats) {
    let mut buffer = vec![
        0;
        match way.audience {
            Audience::Strangers => QUESTION_OCTETS,
            Audience::Citizens => EXTENDED_OCTETS,
        }
    ];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let question = buffer.get(..length).unwrap_or_default().to_vec();
        let Some(seat) = room.take(way.source(from.ip())) else {
            continue;
        };
        let (way, socket) = (way.clone(), Arc::clone(&socket));
        tokio::spawn(async move {
            let asking = ask(way.resolver, &question);
            let answer = way.answerer.answer(way.audience, &question, from.ip(), asking);
            if let Ok(Ok(Some(answer))) = tokio::time::timeout(PATIENCE, answer).await {
                _ = socket.send_to(&answer, from).await;
            }
            drop(seat);
        });
    }
}

async fn accept<G: Naming>(way: Way<G>, listener: TcpListener, seats: Seats) {
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Some(seat) = seats.take(way.source(from.ip())) else {
            continue;
        };
        let way = way.clone();
        tokio::spawn(async move {
            let patience = match way.audience {
                Audience::Strangers => PATIENCE,
                Audience::Citizens => CONVERSATION,
            };
            _ = tokio::time::timeout(patience, converse(&way, stream, from.ip())).await;
            drop(seat);
        });
    }
}

/// Questions over TCP (RFC 7766). From a stranger one: more would be a tunnel's.
async fn converse<G: Naming>(way: &Way<G>, mut stream: TcpStream, from: IpAddr) -> io::Result<()> {
    loop {
        let question = read_framed(&mut stream, EXTENDED_OCTETS).await?;
        let asking = async {
            let mut resolver = TcpStream::connect(way.resolver).await?;
            write_framed(&mut resolver, &question).await?;
            read_framed(&mut resolver, usize::from(u16::MAX)).await
        };
        let answer = way.answerer.answer(way.audience, &question, from, asking).await?;
        let Some(answer) = answer else { return Ok(()) };
        write_framed(&mut stream, &answer).await?;
        if way.audience == Audience::Strangers {
            return Ok(());
        }
    }
}

async fn read_framed(stream: &mut TcpStream, most: usize) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await
}

/// On a socket of its own, so that nobody's answer is taken for another's.
async fn ask(resolver: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if resolver.is_ipv4() {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut answer = vec![0; EXTENDED_OCTETS];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

#[cfg(test)]
mod tests;
