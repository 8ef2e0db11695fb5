//! Where strangers' questions arrive, over UDP and TCP, and go on to dnsmasq.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::{Ipv4Net, Ipv6Net};
use socket2::{Protocol, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::garden::Garden;
use super::question::{Asked, addresses, read, refusal};
use crate::devices::Devices;
use crate::http::source::Source;
use crate::http::throttle::Throttle;
use crate::http::{bound, listen};
use crate::kernel::Gardening;

/// Questions under way at once; more are dropped, and asked again.
const MOST_QUESTIONS: usize = 1024;
/// Connections at once likewise.
const MOST_CONNECTIONS: usize = 128;
const PATIENCE: Duration = Duration::from_secs(5);
/// After the kernel could not give us what came.
const PAUSE: Duration = Duration::from_millis(100);
/// RFC 1035 §2.3.4; with extensions (RFC 6891) answers are longer.
const QUESTION_OCTETS: usize = 512;
const ANSWER_OCTETS: usize = 4096;
/// Addresses of a garden's name stay open for so long at least: connections last longer than most answers hold.
const STAY_AT_LEAST: Duration = Duration::from_hours(1);
const STAY_AT_MOST: Duration = Duration::from_hours(24);

/// What is bound, before it serves.
pub(crate) struct NameDoor<G> {
    shared: Arc<Shared<G>>,
    sockets: Vec<(UdpSocket, TcpListener)>,
}

struct Shared<G> {
    gate: G,
    garden: Garden,
    devices: Devices,
    /// dnsmasq.
    resolver: SocketAddr,
    lan4: Ipv4Net,
    lan6: Option<Ipv6Net>,
    budget: Mutex<Budget>,
    answers: Throttle,
    room: Arc<Semaphore>,
    seats: Arc<Semaphore>,
}

impl<G: Gardening> NameDoor<G> {
    /// Binds the port at each of these addresses; `resolver` answers.
    ///
    /// # Errors
    /// A port is taken.
    pub fn bind(
        gate: G,
        garden: Garden,
        devices: Devices,
        (lan4, lan6): (Ipv4Net, Option<Ipv6Net>),
        port: u16,
        resolver: SocketAddr,
    ) -> io::Result<Self> {
        let addresses = std::iter::once(IpAddr::V4(lan4.addr())).chain(lan6.map(|net| IpAddr::V6(net.addr())));
        let mut sockets = Vec::new();
        for address in addresses {
            let address = SocketAddr::new(address, port);
            let udp = bound(address, Type::DGRAM, Protocol::UDP)?;
            sockets.push((UdpSocket::from_std(udp.into())?, listen(address)?));
        }
        let shared = Shared {
            gate,
            garden,
            devices,
            resolver,
            lan4,
            lan6,
            budget: Mutex::default(),
            answers: Throttle::of_answers(),
            room: Arc::new(Semaphore::new(MOST_QUESTIONS)),
            seats: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
        };
        Ok(Self {
            shared: Arc::new(shared),
            sockets,
        })
    }

    /// Serves until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut parts = tokio::task::JoinSet::new();
        for (udp, tcp) in self.sockets {
            parts.spawn(hear(Arc::clone(&self.shared), Arc::new(udp)));
            parts.spawn(accept(Arc::clone(&self.shared), tcp));
        }
        cancel.cancelled().await;
    }
}

async fn hear<G: Gardening>(shared: Arc<Shared<G>>, socket: Arc<UdpSocket>) {
    let mut buffer = [0; QUESTION_OCTETS];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let question = buffer.get(..length).unwrap_or_default().to_vec();
        let Ok(permit) = Arc::clone(&shared.room).try_acquire_owned() else {
            continue;
        };
        let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
        tokio::spawn(async move {
            let answer = shared.answer(&question, from.ip(), ask(shared.resolver, &question));
            if let Ok(Ok(Some(answer))) = tokio::time::timeout(PATIENCE, answer).await {
                _ = socket.send_to(&answer, from).await;
            }
            drop(permit);
        });
    }
}

async fn accept<G: Gardening>(shared: Arc<Shared<G>>, listener: TcpListener) {
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&shared.seats).try_acquire_owned() else {
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            _ = tokio::time::timeout(PATIENCE, converse(&shared, stream, from.ip())).await;
            drop(permit);
        });
    }
}

/// One question over TCP (RFC 7766): more would be a tunnel's.
async fn converse<G: Gardening>(shared: &Shared<G>, mut stream: TcpStream, from: IpAddr) -> io::Result<()> {
    let question = read_framed(&mut stream, QUESTION_OCTETS).await?;
    let asking = async {
        let mut resolver = TcpStream::connect(shared.resolver).await?;
        write_framed(&mut resolver, &question).await?;
        read_framed(&mut resolver, usize::from(u16::MAX)).await
    };
    match shared.answer(&question, from, asking).await? {
        Some(answer) => write_framed(&mut stream, &answer).await,
        None => Ok(()),
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
    let mut answer = vec![0; ANSWER_OCTETS];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

impl<G: Gardening> Shared<G> {
    /// What the device gets; `asking` brings the resolver's answer, if it is to be asked. `None`: nothing.
    async fn answer(
        &self,
        question: &[u8],
        from: IpAddr,
        asking: impl Future<Output = io::Result<Vec<u8>>>,
    ) -> io::Result<Option<Vec<u8>>> {
        let name = match read(question) {
            Asked::Nothing => return Ok(None),
            Asked::Other => return Ok(refusal(question)),
            Asked::Plain(question) => question.name,
        };
        // Nobody can tunnel through a garden but its owner.
        let is_open = self.garden.has(&name);
        let device = Source::of(from, self.devices.find(from).as_ref());
        if !is_open && !self.lock().admits(device, &name, Instant::now()) {
            return Ok(refusal(question));
        }
        let answer = asking.await?;
        if is_open {
            self.open_for(&name, &answer);
        } else {
            let octets = u32::try_from(answer.len()).unwrap_or(u32::MAX);
            if !self.answers.admits_many(device, octets.into(), Instant::now()) {
                return Ok(refusal(question));
            }
        }
        Ok(Some(answer))
    }

    fn lock(&self) -> MutexGuard<'_, Budget> {
        // No code runs under this lock that could leave it half-changed.
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the device hears of the addresses, so that its first packet there passes.
    fn open_for(&self, name: &str, answer: &[u8]) {
        for (address, holds) in addresses(answer) {
            if !self.is_elsewhere(address) {
                continue;
            }
            let stay = holds.clamp(STAY_AT_LEAST, STAY_AT_MOST);
            if let Err(error) = self.gate.admit_garden(address, stay) {
                tracing::warn!(%error, name, "a name of the walled garden stays closed");
            }
        }
    }

    /// Whoever owns a garden's name could otherwise open the gateway's own network with it.
    fn is_elsewhere(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(ip) => {
                !(ip.is_loopback()
                    || ip.is_unspecified()
                    || ip.is_multicast()
                    || ip.is_broadcast()
                    || ip.is_link_local()
                    || self.lan4.contains(&ip))
            }
            IpAddr::V6(ip) => {
                !(ip.is_loopback()
                    || ip.is_unspecified()
                    || ip.is_multicast()
                    || ip.is_unicast_link_local()
                    || ip.to_ipv4_mapped().is_some()
                    || self.lan6.is_some_and(|net| net.contains(&ip)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
