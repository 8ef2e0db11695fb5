//! A gate's connection to a server: kept up from the start, so that orders can come down it, and brought back when it is lost.
//!
//! Questions belong to the link, not to one connection: those not answered are sent again, octet for octet, when a new connection
//! stands. Over one connection nothing is sent twice, since TCP loses nothing (RFC 6613 §2.6.1). Whether the other end lives is asked by
//! Status-Server, when nothing was heard for a while or a question waits (the watchdog of RFC 3539 §3.4); if that finds no answer the
//! connection is given up.

mod dial;
mod talk;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::flights::{Asked, Flights, MOST};
use super::pipe::{Inbox, write_all};
use super::{Kept, TlsError, TlsFiles, Version, Versions};
use crate::NasIdentity;
use crate::listener::lock;
use crate::wire::{Code, Draft, EncodeError, Packet};
use dial::Dialled;

/// Orders worked on at once.
const MOST_ORDERS: usize = 64;
/// Places that accounting does not take: a backlog of reports keeps no login waiting.
const RESERVED: usize = 64;
/// Packets on their way to the connection; every question and every answer to an order has room.
const OUTBOX: usize = MOST + MOST_ORDERS + 16;

/// Which server, and how.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// `HOST:PORT`, by convention port 2083; a name is looked up for every connection, and each of its addresses is tried.
    pub address: String,
    /// The name in the server's certificate: a DNS name or an address.
    pub server_name: ServerName<'static>,
    /// What is shown, and whose certificates are taken.
    pub files: TlsFiles,
    /// What may be spoken.
    pub versions: Versions,
    /// Who we are, for Status-Server.
    pub nas: NasIdentity,
    /// Patience.
    pub times: LinkTimes,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct LinkTimes {
    /// For a connection to one of the server's addresses, handshake included.
    pub connect: Duration,
    /// After a connection that failed; doubled each time, give or take a quarter, so that gates which lost the same server do not
    /// return in step.
    pub first_wait: Duration,
    /// The longest such wait.
    pub longest_wait: Duration,
    /// Without a word from the server before it is asked whether it lives.
    pub quiet: Duration,
    /// For an answer, before the same; and for the answer to that.
    pub answer: Duration,
    /// Between looks at the certificate files.
    pub look_every: Duration,
}

impl Default for LinkTimes {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
            quiet: Duration::from_secs(30),
            answer: Duration::from_secs(5),
            look_every: Duration::from_secs(10),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("no answer")]
    NoAnswer,
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// What a gate makes of an order that came over a link, in the form of RADIUS/1.0; `None` is silence.
pub(crate) type OrderDesk =
    Arc<dyn Fn(Vec<u8>) -> Pin<Box<dyn Future<Output = Option<Arc<[u8]>>> + Send>> + Send + Sync>;

/// A link to one server. Closed when dropped.
pub struct Link {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    config: LinkConfig,
    certificates: Kept<ClientConfig>,
    state: Mutex<State>,
    /// For questions, as many as a connection tells apart.
    places: Semaphore,
    /// Of these, for reports.
    report_places: Semaphore,
    desk: OnceLock<OrderDesk>,
    order_places: Arc<Semaphore>,
}

struct State {
    flights: Flights,
    up: Option<Up>,
    /// The last attempt to connect failed.
    is_down: bool,
}

impl State {
    /// Under one lock with the coming and going of connections: every question goes over each of them once.
    fn put(&mut self, code: Code, draft: Draft) -> Result<Asked, LinkError> {
        let asked = self.flights.begin(code, draft).ok_or(LinkError::NoAnswer)??;
        if let Some(up) = &self.up
            && let Some(packet) = self.flights.on_wire(asked.token, up.version)
            && up.outbox.try_send(packet).is_err()
        {
            // The other end does not read: the question goes over the next connection.
            up.is_full.cancel();
        }
        Ok(asked)
    }
}

/// A connection that stands.
struct Up {
    version: Version,
    outbox: mpsc::Sender<Vec<u8>>,
    /// A question found no room in the outbox.
    is_full: CancellationToken,
    heard_at: Instant,
    has_answered: bool,
}

impl Link {
    /// Begins to connect, and keeps connecting. Needs a Tokio runtime.
    ///
    /// # Errors
    /// The certificates cannot be used.
    pub fn open(config: LinkConfig) -> Result<Self, TlsError> {
        let versions = config.versions;
        let certificates = Kept::open(config.files.clone(), move |files| files.client(versions))?;
        let shared = Arc::new(Shared {
            config,
            certificates,
            state: Mutex::new(State {
                flights: Flights::new(),
                up: None,
                is_down: false,
            }),
            places: Semaphore::new(MOST),
            report_places: Semaphore::new(MOST - RESERVED),
            desk: OnceLock::new(),
            order_places: Arc::new(Semaphore::new(MOST_ORDERS)),
        });
        let task = tokio::spawn(Arc::clone(&shared).keep()).abort_handle();
        Ok(Self { shared, task })
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.shared.config.address
    }

    /// Whether a connection stands.
    #[must_use]
    pub fn is_up(&self) -> bool {
        lock(&self.shared.state).up.is_some()
    }

    /// Whom orders that come down the link are for. Until then they are not answered.
    pub(crate) fn take_orders(&self, desk: OrderDesk) {
        _ = self.shared.desk.set(desk);
    }

    /// Asks the server, over as many connections as it takes.
    pub(crate) async fn ask(&self, code: Code, draft: Draft, patience: Duration) -> Result<Packet, LinkError> {
        self.shared.ask(code, draft, patience).await
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn ask(&self, code: Code, draft: Draft, patience: Duration) -> Result<Packet, LinkError> {
        let work = async {
            let _report = if code == Code::AccountingRequest {
                Some(self.report_places.acquire().await)
            } else {
                None
            };
            let _place = self.places.acquire().await;
            let Asked { token, answer } = self.put(code, draft)?;
            let _waiting = Waiting { shared: self, token };
            answer.await.map_err(|_| LinkError::NoAnswer)
        };
        timeout(patience, work).await.map_err(|_| LinkError::NoAnswer)?
    }

    fn put(&self, code: Code, draft: Draft) -> Result<Asked, LinkError> {
        lock(&self.state).put(code, draft)
    }

    async fn keep(self: Arc<Self>) {
        let never = CancellationToken::new();
        let watch = self.certificates.watch(self.config.times.look_every, &never);
        tokio::join!(watch, self.reconnect());
    }

    async fn reconnect(self: &Arc<Self>) {
        let times = self.config.times;
        let mut wait = times.first_wait;
        let mut last_of_all: Option<SocketAddr> = None;
        loop {
            let (had_answers, why) = match self.dial(last_of_all).await {
                Ok(Dialled { stream, version, to }) => {
                    let (had_answers, why) = self.talk(stream, version).await;
                    last_of_all = (!had_answers).then_some(to);
                    (had_answers, why)
                }
                Err(error) => (false, error.to_string()),
            };
            if had_answers {
                wait = times.first_wait;
            }
            let server = self.config.address.as_str();
            let was_down = std::mem::replace(&mut lock(&self.state).is_down, !had_answers);
            if was_down && !had_answers {
                tracing::debug!(server, why, "still no RadSec connection");
            } else {
                tracing::warn!(server, why, "no RadSec connection: it is tried again");
            }
            sleep(wait.mul_f64(0.75 + 0.5 * rand::random::<f64>())).await;
            wait = (wait * 2).min(times.longest_wait);
        }
    }

    /// Until the connection ends: whether anything was answered, and why it ended.
    async fn talk(self: &Arc<Self>, stream: TlsStream<TcpStream>, version: Version) -> (bool, String) {
        let times = self.config.times;
        let (reading, writing) = tokio::io::split(stream);
        let (outbox, packets) = mpsc::channel(OUTBOX);
        let is_full = CancellationToken::new();
        {
            let mut state = lock(&self.state);
            for packet in state.flights.all_on_wire(version) {
                _ = outbox.try_send(packet);
            }
            state.up = Some(Up {
                version,
                outbox: outbox.clone(),
                is_full: is_full.clone(),
                heard_at: Instant::now(),
                has_answered: false,
            });
        }
        tracing::info!(server = self.config.address, ?version, "RadSec connection stands");
        // The watchdog is what tells an idle server from a dead one.
        let inbox = Inbox::new(reading, times.quiet + times.answer * 4, times.answer * 2);
        let why = tokio::select! {
            why = self.hear(inbox, version, &outbox) => why,
            result = write_all(packets, writing, times.answer * 2) => match result {
                Ok(()) => "it was closed".to_owned(),
                Err(error) => error.to_string(),
            },
            () = self.watch_over() => "Status-Server is not answered".to_owned(),
            () = is_full.cancelled() => "questions are not taken".to_owned(),
        };
        let up = lock(&self.state).up.take();
        (up.is_some_and(|up| up.has_answered), why)
    }
}

/// A question somebody waits for; forgotten when dropped.
struct Waiting<'a> {
    shared: &'a Shared,
    token: u32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.shared.state).flights.end(self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::random_authenticator;

    #[tokio::test]
    async fn a_question_that_finds_no_room_ends_the_connection_and_is_kept_for_the_next() {
        let (outbox, mut packets) = mpsc::channel(1);
        let is_full = CancellationToken::new();
        let mut state = State {
            flights: Flights::new(),
            up: Some(Up {
                version: Version::V1_0,
                outbox,
                is_full: is_full.clone(),
                heard_at: Instant::now(),
                has_answered: true,
            }),
            is_down: false,
        };
        let status = || Draft::request(Code::StatusServer, random_authenticator());
        let _first = state.put(Code::StatusServer, status()).unwrap();
        assert!(packets.try_recv().is_ok() && !is_full.is_cancelled());
        let _second = state.put(Code::StatusServer, status()).unwrap();
        let third = state.put(Code::StatusServer, status()).unwrap();
        assert!(is_full.is_cancelled());
        let over_the_next = state.flights.all_on_wire(Version::V1_0);
        let third = state.flights.on_wire(third.token, Version::V1_0).unwrap();
        assert!(over_the_next.contains(&third));
    }
}
