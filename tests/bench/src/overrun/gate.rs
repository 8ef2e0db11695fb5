//! A gate in the small: lets octets through to one device, holds them to what RADIUS says, as its kind can, and reports.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use kavadam_domain::session::terminate_cause;
use kavadam_domain::{Limits, Mac};
use kavadam_radius::client::{Client, ClientConfig, ServerAddress};
use kavadam_radius::dynamic::{Authority, DynamicConfig, DynamicHandler, DynamicServer};
use kavadam_radius::{
    AccessReply, AccessRequest, AccountingKind, AccountingRequest, Counters, Credential, ErrorCause, LimitsPatch,
    NasIdentity, Retry, Secret, ServiceType, Target,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::crowd::now;

/// What a gate can do about octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Asks again before its lease is used up, as our gateway does.
    Renews,
    /// Holds a session to a limit, and to a new one by CoA.
    Limits,
    /// Holds it to nothing: reports, and obeys Disconnect.
    Reports,
}

/// Everything a gate's process is told.
#[derive(Serialize, Deserialize)]
pub struct Gate {
    pub kind: Kind,
    pub name: String,
    pub secret: String,
    pub source: IpAddr,
    pub coa_port: u16,
    pub auth: SocketAddr,
    pub acct: SocketAddr,
    pub mac: Mac,
    pub internet: SocketAddr,
    pub device: SocketAddr,
    pub octets_per_sec: u64,
    pub interim_ms: u64,
}

const SESSION: &str = "the only one";
/// Let through at once.
const PIECE_OCTETS: u64 = 10_000;
/// Less is not worth a packet: the centre takes it for used up, too.
const USED_UP_BELOW_OCTETS: u64 = 65_536;

struct Session {
    limits: Limits,
    passed: u64,
    is_asking: bool,
    is_refused_more: bool,
    is_disconnected: bool,
}

type Shared = Arc<Mutex<Session>>;

fn lock(session: &Shared) -> std::sync::MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Radius {
    client: Client,
    mac: Mac,
    classes: Vec<Vec<u8>>,
    began: Instant,
}

impl Radius {
    async fn report(&self, kind: AccountingKind, passed: u64) -> anyhow::Result<()> {
        let report = AccountingRequest {
            classes: self.classes.clone(),
            mac: Some(self.mac),
            counters: Counters {
                down_octets: passed,
                session_secs: u32::try_from(self.began.elapsed().as_secs())?,
                ..Counters::default()
            },
            ..AccountingRequest::new(kind, SESSION, now())
        };
        Ok(self.client.account(&report, now()).await?)
    }

    fn request(&self, service: ServiceType) -> AccessRequest {
        AccessRequest {
            mac: Some(self.mac),
            acct_session_id: Some(SESSION.to_owned()),
            classes: self.classes.clone(),
            wants_cui: true,
            ..AccessRequest::new(service, self.mac.to_string(), Credential::Absent)
        }
    }

    /// Reports, then asks for more.
    async fn renew(&self, session: &Shared) -> anyhow::Result<()> {
        let passed = lock(session).passed;
        self.report(AccountingKind::Interim, passed).await?;
        let reply = self
            .client
            .authenticate(&self.request(ServiceType::AuthorizeOnly))
            .await?;
        let mut session = lock(session);
        match reply {
            AccessReply::Accept(grant) => {
                session.is_refused_more = grant.limits.max_total_octets <= session.limits.max_total_octets;
                session.limits = grant.limits;
            }
            AccessReply::Reject { .. } | AccessReply::Challenge { .. } => session.is_refused_more = true,
        }
        session.is_asking = false;
        Ok(())
    }
}

/// Orders of the centre.
struct Obedient {
    kind: Kind,
    session: Shared,
}

impl DynamicHandler for Obedient {
    async fn disconnect(&self, _: Target) -> Result<(), ErrorCause> {
        lock(&self.session).is_disconnected = true;
        Ok(())
    }

    async fn change(&self, _: Target, patch: LimitsPatch) -> Result<(), ErrorCause> {
        if self.kind != Kind::Reports {
            let mut session = lock(&self.session);
            session.limits = patch.applied_to(session.limits);
        }
        Ok(())
    }
}

pub async fn run(gate: Gate) -> anyhow::Result<()> {
    let mut radius = Radius {
        client: client(&gate),
        mac: gate.mac,
        classes: Vec::new(),
        began: Instant::now(),
    };
    let reply = radius
        .client
        .authenticate(&radius.request(ServiceType::CallCheck))
        .await?;
    let AccessReply::Accept(grant) = reply else {
        bail!("{} was refused", gate.name);
    };
    radius.classes = grant.classes;
    let session = Arc::new(Mutex::new(Session {
        limits: grant.limits,
        passed: 0,
        is_asking: false,
        is_refused_more: false,
        is_disconnected: false,
    }));
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    tokio::spawn(listen(&gate, &session)?.run(stop));
    radius.report(AccountingKind::Start, 0).await?;
    let radius = Arc::new(radius);
    let cause = let_through(&gate, &radius, &session).await?;
    // A renewal on its way is not to overtake the end.
    while lock(&session).is_asking {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let passed = lock(&session).passed;
    radius.report(AccountingKind::Stop(cause), passed).await
}

fn client(gate: &Gate) -> Client {
    Client::new(ClientConfig {
        servers: vec![ServerAddress {
            auth: gate.auth,
            acct: gate.acct,
            secret: Secret::new(gate.secret.as_bytes()),
        }],
        nas: NasIdentity {
            identifier: gate.name.clone(),
            ..NasIdentity::default()
        },
        retry: Retry::default(),
        source: Some(gate.source),
        requires_message_authenticator: true,
    })
}

fn listen(gate: &Gate, session: &Shared) -> anyhow::Result<DynamicServer<Obedient>> {
    let config = DynamicConfig {
        listen: SocketAddr::new(gate.source, gate.coa_port),
        authorities: vec![Authority {
            source: "127.0.0.0/8".parse()?,
            secret: Secret::new(gate.secret.as_bytes()),
        }],
        nas_identifier: gate.name.clone(),
        nas_addresses: vec![gate.source],
        is_strict: true,
    };
    let handler = Obedient {
        kind: gate.kind,
        session: Arc::clone(session),
    };
    DynamicServer::bind(config, handler).context("cannot hear orders")
}

/// Until the session is over, and why it is.
async fn let_through(gate: &Gate, radius: &Arc<Radius>, session: &Shared) -> anyhow::Result<u32> {
    let mut from = TcpStream::connect(gate.internet).await?;
    let mut to = TcpStream::connect(gate.device).await?;
    let mut pace = interval(Duration::from_micros(PIECE_OCTETS * 1_000_000 / gate.octets_per_sec));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut reports = interval(Duration::from_millis(gate.interim_ms));
    let mut piece = vec![0; usize::try_from(PIECE_OCTETS)?];
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            _ = reports.tick() => {
                let passed = lock(session).passed;
                radius.report(AccountingKind::Interim, passed).await?;
                continue;
            }
        }
        let free = match look(gate.kind, radius, session) {
            Outlook::Over(cause) => return Ok(cause),
            Outlook::Free(octets) => octets.min(PIECE_OCTETS),
        };
        let part = piece.get_mut(..usize::try_from(free)?).unwrap_or_default();
        from.read_exact(part).await?;
        to.write_all(part).await?;
        lock(session).passed += free;
    }
}

enum Outlook {
    /// For this Acct-Terminate-Cause.
    Over(u32),
    /// Octets that may go through; none while an answer is awaited.
    Free(u64),
}

fn look(kind: Kind, radius: &Arc<Radius>, shared: &Shared) -> Outlook {
    let mut session = lock(shared);
    if session.is_disconnected {
        return Outlook::Over(terminate_cause::ADMIN_RESET);
    }
    let limit = session.limits.max_total_octets.unwrap_or(u64::MAX);
    let left = limit.saturating_sub(session.passed);
    match kind {
        Kind::Reports => return Outlook::Free(u64::MAX),
        Kind::Limits if left < USED_UP_BELOW_OCTETS => return Outlook::Over(terminate_cause::NAS_REQUEST),
        Kind::Renews if left < USED_UP_BELOW_OCTETS && session.is_refused_more => {
            return Outlook::Over(terminate_cause::NAS_REQUEST);
        }
        Kind::Renews if left < limit / 4 && !session.is_asking && !session.is_refused_more => {
            session.is_asking = true;
            let (radius, shared) = (Arc::clone(radius), Arc::clone(shared));
            tokio::spawn(async move {
                if radius.renew(&shared).await.is_err() {
                    lock(&shared).is_asking = false;
                }
            });
        }
        Kind::Limits | Kind::Renews => {}
    }
    Outlook::Free(left)
}
