//! A server with a centre of paper behind it, and octets by hand.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavadam_access::api::{
    Accounted, AccountingReport, AuthorizeRequest, Candidates, Decision, Grounds, NasEntry, NasProof,
};
use kavadam_domain::{Language, Mac, NasId, Reason, SiteId, Timestamp};
use kavadam_radius::server::{Centre, Counts, RadiusServer, ServerConfig};
use kavadam_radius::wire::{Code, Draft, attr};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

pub const SECRET: &[u8] = b"a-secret-of-the-gate";

/// What happens to the next requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Fails,
    Panics,
    /// Takes so long.
    Slow(Duration),
}

/// Knows one gate, on loopback, or those it is given, and notes what it is asked.
#[derive(Clone, Default)]
pub struct Paper {
    pub moods: Arc<Mutex<VecDeque<Mood>>>,
    pub asked: Arc<Mutex<Vec<AuthorizeRequest>>>,
    pub reports: Arc<Mutex<Vec<AccountingReport>>>,
    pub calls: Arc<AtomicU32>,
    pub gates: Arc<Mutex<Option<Candidates>>>,
}

#[derive(Debug)]
pub struct OutOfOrder;

impl fmt::Display for OutOfOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of order")
    }
}

impl std::error::Error for OutOfOrder {}

impl Paper {
    async fn be_moody(&self) -> Result<(), OutOfOrder> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mood = self.moods.lock().unwrap().pop_front();
        match mood {
            Some(Mood::Fails) => return Err(OutOfOrder),
            Some(Mood::Panics) => panic!("as asked to"),
            Some(Mood::Slow(time)) => tokio::time::sleep(time).await,
            None => {}
        }
        Ok(())
    }
}

impl Centre for Paper {
    type Error = OutOfOrder;

    async fn gates_at(&self, source: IpAddr) -> Result<Candidates, OutOfOrder> {
        if let Some(gates) = self.gates.lock().unwrap().clone() {
            return Ok(gates);
        }
        let entry = NasEntry {
            source: "127.0.0.1/32".parse().unwrap(),
            ..gate(1, "gate-1", SECRET)
        };
        let there = Some(entry).filter(|entry| entry.source.contains(&source.to_canonical()));
        Ok(there.into_iter().map(Arc::new).collect())
    }

    fn nas_seen(&self, _: NasId, _: SocketAddr, _: Timestamp) {}

    async fn authorize(&self, request: AuthorizeRequest, _: Timestamp) -> Result<Decision, OutOfOrder> {
        self.be_moody().await?;
        self.asked.lock().unwrap().push(request);
        let reason = Reason::BadCredential;
        let message = reason.message(Language::En);
        let grounds = Grounds::default();
        Ok(Decision::Reject {
            reason,
            message,
            grounds,
        })
    }

    /// Some of the numbers are of people who read English.
    async fn language_of(&self, _: SiteId, _: Option<Mac>, user_name: &str) -> Result<Language, OutOfOrder> {
        self.be_moody().await?;
        Ok(if user_name == "9876543210" {
            Language::En
        } else {
            Language::Ml
        })
    }

    async fn account(&self, report: AccountingReport, _: Timestamp) -> Result<Accounted, OutOfOrder> {
        self.be_moody().await?;
        self.reports.lock().unwrap().push(report);
        Ok(Accounted::Charged(0))
    }
}

/// A running server, and a socket of a gate.
pub struct Lab {
    pub centre: Paper,
    pub counts: Arc<Counts>,
    pub auth: SocketAddr,
    pub acct: SocketAddr,
    pub gate: UdpSocket,
    pub stop: CancellationToken,
    pub running: tokio::task::JoinHandle<()>,
}

impl Lab {
    pub async fn new() -> Self {
        let centre = Paper::default();
        let any = "127.0.0.1:0".parse().unwrap();
        let server = RadiusServer::bind(ServerConfig { auth: any, acct: any }, centre.clone()).unwrap();
        let (auth, acct, counts) = (
            server.auth_addr().unwrap(),
            server.acct_addr().unwrap(),
            server.counts(),
        );
        let stop = CancellationToken::new();
        Self {
            centre,
            counts,
            auth,
            acct,
            gate: UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            running: tokio::spawn(server.run(stop.clone())),
            stop,
        }
    }

    /// Sends octets; `None` is silence.
    pub async fn ask(&self, to: SocketAddr, octets: &[u8]) -> Option<Vec<u8>> {
        self.gate.send_to(octets, to).await.unwrap();
        self.hear(Duration::from_millis(400)).await
    }

    pub async fn hear(&self, patience: Duration) -> Option<Vec<u8>> {
        let mut buffer = [0; 4096];
        let heard = tokio::time::timeout(patience, self.gate.recv(&mut buffer)).await;
        heard.ok().map(|length| buffer[..length.unwrap()].to_vec())
    }

    /// Whether the server still answers, whatever it was sent before. Asked again as a gate would: a full buffer loses a question.
    pub async fn is_alive(&self) -> bool {
        let alive = Draft::request(Code::StatusServer, [9; 16])
            .seal_request(99, SECRET)
            .unwrap();
        for _ in 0..5 {
            self.gate.send_to(&alive, self.auth).await.unwrap();
            let answer = self.hear(Duration::from_secs(1)).await;
            if answer.is_some_and(|answer| answer[..2] == [2, 99]) {
                return true;
            }
        }
        false
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A gate's record.
pub fn gate(id: i64, name: &str, secret: &[u8]) -> NasEntry {
    NasEntry {
        id: NasId(id),
        name: name.into(),
        site: SiteId(1),
        source: "127.0.0.0/8".parse().unwrap(),
        secret: secret.to_vec().into(),
        proof: NasProof::default(),
        uam_secret: Vec::new().into(),
        coa_port: 3799,
        coa_host: None,
        profile: "kavadam".into(),
        abilities: kavadam_domain::gate::Abilities::ALL,
    }
}

/// These gates stand at every address.
pub fn stand(lab: &Lab, gates: impl IntoIterator<Item = NasEntry>) {
    let gates: Candidates = gates.into_iter().map(Arc::new).collect();
    *lab.centre.gates.lock().unwrap() = Some(gates);
}

/// A login that the centre will hear of, well made.
pub fn login(identifier: u8, authenticator: [u8; 16]) -> Vec<u8> {
    let mut draft = Draft::request(Code::AccessRequest, authenticator);
    draft.text(attr::USER_NAME, "9876543210");
    let hidden = kavadam_radius::wire::hide_password(b"123456", &authenticator, SECRET);
    draft.octets(attr::USER_PASSWORD, &hidden);
    draft.text(attr::CALLING_STATION_ID, "02-00-00-00-00-01");
    draft.seal_request(identifier, SECRET).unwrap()
}

/// An Interim-Update.
pub fn interim(identifier: u8, octets: u32) -> Vec<u8> {
    let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
    draft.u32(attr::ACCT_STATUS_TYPE, 3);
    draft.text(attr::ACCT_SESSION_ID, "s1");
    draft.u32(attr::ACCT_INPUT_OCTETS, octets);
    draft.u32(attr::ACCT_SESSION_TIME, 60);
    draft.seal_request(identifier, SECRET).unwrap()
}
