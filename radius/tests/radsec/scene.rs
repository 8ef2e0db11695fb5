//! A server with a centre of paper behind it, and clients by hand.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavadam_access::api::{
    Accounted, AccountingReport, AuthorizeRequest, Candidates, Decision, Grounds, NasEntry, NasProof,
};
use kavadam_domain::gate::Abilities;
use kavadam_domain::{CertificateName, Language, NasId, Reason, SiteId, Timestamp};
use kavadam_radius::NasIdentity;
use kavadam_radius::server::{Centre, Counts, RadiusServer, RadsecConfig, RadsecCounts, RadsecLimits, ServerConfig};
use kavadam_radius::tls::{GateLinks, Link, LinkConfig, LinkTimes, TlsFiles, Versions};
use kavadam_radius::wire::{Code, Draft, RADSEC_SECRET, announced_length, attr};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::certificates::Authority;

/// Long enough for anything on loopback, short enough to fail by.
pub const SOON: Duration = Duration::from_secs(5);

/// Knows gates by certificate, and notes what it is asked.
#[derive(Clone, Default)]
pub struct Paper {
    pub gates: Arc<Mutex<HashMap<CertificateName, i64>>>,
    pub asked: Arc<Mutex<Vec<AuthorizeRequest>>>,
    pub reports: Arc<Mutex<Vec<AccountingReport>>>,
    /// How long a decision takes.
    pub takes: Arc<Mutex<Duration>>,
    /// How long it takes to look up a gate.
    pub finds_in: Arc<Mutex<Duration>>,
}

impl Paper {
    async fn think(&self) {
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
    }

    /// Ties a gate to a certificate's name.
    pub fn tie(&self, name: &str, nas: i64) {
        self.gates.lock().unwrap().insert(name.parse().unwrap(), nas);
    }
}

impl Centre for Paper {
    type Error = Infallible;

    async fn gates_at(&self, _: IpAddr) -> Result<Candidates, Infallible> {
        Ok(Candidates::default())
    }

    async fn nas_by_certificate(&self, names: &[CertificateName]) -> Result<Option<Arc<NasEntry>>, Infallible> {
        let finds_in = *self.finds_in.lock().unwrap();
        if !finds_in.is_zero() {
            tokio::time::sleep(finds_in).await;
        }
        let gates = self.gates.lock().unwrap();
        let id = names.iter().find_map(|name| gates.get(name));
        Ok(id.map(|id| Arc::new(entry(*id))))
    }

    fn nas_seen(&self, _: NasId, _: SocketAddr, _: Timestamp) {}

    async fn authorize(&self, request: AuthorizeRequest, _: Timestamp) -> Result<Decision, Infallible> {
        self.asked.lock().unwrap().push(request);
        self.think().await;
        let reason = Reason::BadCredential;
        let message = reason.message(Language::En);
        let grounds = Grounds::default();
        Ok(Decision::Reject {
            reason,
            message,
            grounds,
        })
    }

    async fn account(&self, report: AccountingReport, _: Timestamp) -> Result<Accounted, Infallible> {
        self.think().await;
        self.reports.lock().unwrap().push(report);
        Ok(Accounted::Charged(0))
    }
}

/// A gate's record. Its secret and what it may leave out are for UDP alone.
pub fn entry(id: i64) -> NasEntry {
    NasEntry {
        id: NasId(id),
        name: format!("gate-{id}"),
        site: SiteId(1),
        source: "192.0.2.1/32".parse().unwrap(),
        secret: b"a secret of UDP alone".to_vec().into(),
        proof: NasProof {
            unsigned_until: Some(Timestamp::from_secs(0)),
            ..NasProof::default()
        },
        uam_secret: b"a secret of redirects".to_vec().into(),
        coa_port: 3799,
        coa_host: None,
        profile: "kavadam".into(),
        abilities: Abilities::ALL,
    }
}

/// A running server, an authority that it trusts, and the gate 7 of that authority.
pub struct Scene {
    pub dir: TempDir,
    pub authority: Authority,
    pub server_files: TlsFiles,
    pub gate_files: TlsFiles,
    pub centre: Paper,
    pub at: SocketAddr,
    pub counts: Arc<Counts>,
    pub radsec: Arc<RadsecCounts>,
    pub links: Arc<GateLinks>,
    pub stop: CancellationToken,
    pub running: tokio::task::JoinHandle<()>,
    process: Option<Runtime>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.shutdown_background();
        }
    }
}

impl Scene {
    pub fn new() -> Self {
        Self::with(Versions::Any, RadsecLimits::default(), |_, _| {})
    }

    pub fn with(versions: Versions, limits: RadsecLimits, change: impl FnOnce(&Authority, &mut TlsFiles)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "trusted");
        let gate_files = authority.issue(&["gate-7.example.org"]);
        let mut server_files = authority.issue(&["centre.example.org", "127.0.0.1"]);
        change(&authority, &mut server_files);
        let centre = Paper::default();
        centre.tie("gate-7.example.org", 7);
        let limits = RadsecLimits {
            look_every: Duration::from_millis(20),
            ..limits
        };
        let started = start("127.0.0.1:0".parse().unwrap(), &server_files, versions, limits, &centre);
        Self {
            dir,
            authority,
            server_files,
            gate_files,
            centre,
            at: started.at,
            counts: started.counts,
            radsec: started.radsec,
            links: started.links,
            stop: started.stop,
            running: started.running,
            process: Some(started.process),
        }
    }

    /// The process dies, and every connection with it.
    pub async fn die(&mut self) {
        let process = self.process.take().unwrap();
        let dying = tokio::task::spawn_blocking(move || process.shutdown_timeout(SOON));
        dying.await.unwrap();
    }

    /// Another process takes its place.
    pub fn rise(&mut self) {
        let limits = RadsecLimits::default();
        let started = start(self.at, &self.server_files, Versions::Any, limits, &self.centre);
        (self.links, self.stop, self.running, self.process) =
            (started.links, started.stop, started.running, Some(started.process));
    }

    /// The configuration of a link of gate 7, with little patience.
    pub fn link(&self, versions: Versions) -> LinkConfig {
        LinkConfig {
            address: self.at.to_string(),
            server_name: "centre.example.org".try_into().unwrap(),
            files: self.gate_files.clone(),
            versions,
            nas: NasIdentity::default(),
            times: LinkTimes {
                connect: SOON,
                first_wait: Duration::from_millis(50),
                longest_wait: Duration::from_millis(200),
                quiet: Duration::from_secs(30),
                answer: SOON,
                look_every: Duration::from_millis(20),
            },
        }
    }

    /// A connection by hand, of gate 7.
    pub async fn call(&self, protocol: Option<&str>) -> Call {
        Call::new(self.at, &self.gate_files, protocol).await.unwrap()
    }

    /// Until the gate has so many connections.
    pub async fn connected(&self, nas: i64, count: usize) {
        until(|| self.links.count(NasId(nas)) == count).await;
    }
}

/// Waits for something that comes soon.
pub async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not come");
}

pub async fn up(config: LinkConfig) -> Link {
    let link = Link::open(config).unwrap();
    until(|| link.is_up()).await;
    link
}

struct Started {
    at: SocketAddr,
    counts: Arc<Counts>,
    radsec: Arc<RadsecCounts>,
    links: Arc<GateLinks>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    process: Runtime,
}

fn start(listen: SocketAddr, files: &TlsFiles, versions: Versions, limits: RadsecLimits, centre: &Paper) -> Started {
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let entered = process.enter();
    let any = "127.0.0.1:0".parse().unwrap();
    let config = RadsecConfig {
        listen,
        files: files.clone(),
        versions,
        limits,
    };
    let server = RadiusServer::bind(ServerConfig { auth: any, acct: any }, centre.clone()).unwrap();
    let server = server.with_radsec(config).unwrap();
    let stop = CancellationToken::new();
    drop(entered);
    Started {
        at: server.radsec_addr().unwrap(),
        counts: server.counts(),
        radsec: server.radsec_counts().unwrap(),
        links: server.links(),
        running: process.spawn(server.run(stop.clone())),
        stop,
        process,
    }
}

/// A client by hand.
pub struct Call(pub TlsStream<TcpStream>);

impl Call {
    /// With TLS 1.3.
    pub async fn new(at: SocketAddr, files: &TlsFiles, protocol: Option<&str>) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(at).await?, files, protocol).await
    }

    /// The same from another address of the loopback's.
    pub async fn from(source: &str, at: SocketAddr, files: &TlsFiles, protocol: Option<&str>) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source.parse().unwrap(), 0))?;
        Self::over(socket.connect(at).await?, files, protocol).await
    }

    async fn over(stream: TcpStream, files: &TlsFiles, protocol: Option<&str>) -> std::io::Result<Self> {
        let own = (
            chain(&files.certificate),
            PrivateKeyDer::from_pem_file(&files.key).unwrap(),
        );
        Self::open(stream, files, Some(own), &rustls::version::TLS13, protocol).await
    }

    pub async fn open(
        stream: TcpStream,
        files: &TlsFiles,
        own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
        version: &'static SupportedProtocolVersion,
        protocol: Option<&str>,
    ) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(chain(&files.authorities));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = protocol.map(|name| name.as_bytes().to_vec()).into_iter().collect();
        let name = "centre.example.org".try_into().unwrap();
        Ok(Self(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }

    pub async fn send(&mut self, octets: &[u8]) {
        self.0.write_all(octets).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The next packet; `None` if the connection ends, or nothing comes.
    pub async fn hear(&mut self) -> Option<Vec<u8>> {
        let read = async {
            let mut packet = vec![0; 4];
            self.0.read_exact(&mut packet).await.ok()?;
            let length = announced_length(&packet).unwrap().unwrap();
            packet.resize(length, 0);
            self.0.read_exact(&mut packet[4..]).await.ok()?;
            Some(packet)
        };
        tokio::time::timeout(SOON, read).await.ok().flatten()
    }

    pub async fn ask(&mut self, octets: &[u8]) -> Option<Vec<u8>> {
        self.send(octets).await;
        self.hear().await
    }

    /// Whether the other end hangs up.
    pub async fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest);
        tokio::time::timeout(SOON, read).await.is_ok() && rest.is_empty()
    }
}

pub fn chain(path: &std::path::Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

pub fn status(identifier: u8) -> Vec<u8> {
    Draft::request(Code::StatusServer, [identifier; 16])
        .seal_request(identifier, RADSEC_SECRET)
        .unwrap()
}

/// A login of RADIUS/1.0 over TLS.
pub fn login(identifier: u8, authenticator: [u8; 16]) -> Vec<u8> {
    let mut draft = Draft::request(Code::AccessRequest, authenticator);
    draft.text(attr::USER_NAME, "9876543210");
    let hidden = kavadam_radius::wire::hide_password(b"123456", &authenticator, RADSEC_SECRET);
    draft.octets(attr::USER_PASSWORD, &hidden);
    draft.text(attr::CALLING_STATION_ID, "02-00-00-00-00-01");
    draft.seal_request(identifier, RADSEC_SECRET).unwrap()
}

/// An Interim-Update likewise.
pub fn interim(identifier: u8, octets: u32) -> Vec<u8> {
    let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
    draft.u32(attr::ACCT_STATUS_TYPE, 3);
    draft.text(attr::ACCT_SESSION_ID, "s1");
    draft.u32(attr::ACCT_INPUT_OCTETS, octets);
    draft.u32(attr::ACCT_SESSION_TIME, 60);
    draft.seal_request(identifier, RADSEC_SECRET).unwrap()
}
