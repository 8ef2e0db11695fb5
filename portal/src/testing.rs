//! A centre in memory, so that whole visits can be played without a database.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use data_encoding::HEXUPPER;
use http_body_util::BodyExt;
use kavadam_access::api::{Message, NasEntry, NasProof, PendingCode, Started, Status, Step, Ticket, Verified, Visit};
use kavadam_domain::plan::Period;
use kavadam_domain::{NasId, Reason, SiteId, Timestamp};
use md5::{Digest, Md5};
use tower::ServiceExt;

use crate::citizen::Citizen;
use crate::config::{PortalConfig, TokenKey};
use crate::router::router_at;

pub const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
pub const SECRET: &[u8] = b"uam secret";
pub const ORIGIN: &str = "http://10.80.0.1:8081";
pub const DEVICE: &str = "10.80.1.2";

/// Answers as told; remembers what it was asked.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    step: Option<Step>,
    refusal: Option<Reason>,
    is_down: bool,
    is_stalled: bool,
    asked: Vec<String>,
}

/// The database is down.
#[derive(Debug, thiserror::Error)]
#[error("no database")]
pub struct Down;

impl Fake {
    pub fn stand_at(&self, step: Step) {
        self.0.lock().unwrap().step = Some(step);
    }

    pub fn refuse(&self, reason: Reason) {
        self.0.lock().unwrap().refusal = Some(reason);
    }

    pub fn go_down(&self) {
        self.0.lock().unwrap().is_down = true;
    }

    /// Answers nothing any more.
    pub fn stall(&self) {
        self.0.lock().unwrap().is_stalled = true;
    }

    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    fn note(&self, what: String) -> Result<Option<Reason>, Down> {
        let mut inner = self.0.lock().unwrap();
        inner.asked.push(what);
        if inner.is_down { Err(Down) } else { Ok(inner.refusal) }
    }

    fn verified(&self, what: String) -> Result<Verified, Down> {
        Ok(match self.note(what)? {
            Some(reason) => Verified::Refused(reason),
            None => Verified::Ticket(ticket()),
        })
    }

    fn started(&self, what: String) -> Result<Started, Down> {
        Ok(match self.note(what)? {
            Some(reason) => Started::Refused(reason),
            None => Started::Sent(pending()),
        })
    }
}

impl Citizen for Fake {
    type Error = Down;

    async fn nas_by_name(&self, name: &str) -> Result<Option<NasEntry>, Down> {
        Ok((name == "gate-1").then(|| NasEntry {
            id: NasId(1),
            name: name.to_owned(),
            site: SiteId(1),
            source: "127.0.0.1/32".parse().unwrap(),
            secret: b"radius".to_vec().into(),
            proof: NasProof::default(),
            uam_secret: SECRET.to_vec().into(),
            coa_port: 3799,
            coa_host: None,
            profile: "kavadam".to_owned(),
            abilities: kavadam_domain::gate::Abilities::ALL,
        }))
    }

    async fn step(&self, _: &Visit, _: Timestamp) -> Result<Step, Down> {
        if self.0.lock().unwrap().is_stalled {
            std::future::pending::<()>().await;
        }
        let inner = self.0.lock().unwrap();
        if inner.is_down {
            Err(Down)
        } else {
            Ok(inner.step.clone().unwrap_or(Step::Number))
        }
    }

    async fn start_login(&self, _: &Visit, number: &str, has_consent: bool, _: Timestamp) -> Result<Started, Down> {
        self.started(format!("start {number} {has_consent}"))
    }

    async fn resend_code(&self, _: &Visit, _: Timestamp) -> Result<Started, Down> {
        self.started("resend".into())
    }

    async fn verify_code(&self, visit: &Visit, code: &str, _: Timestamp) -> Result<Verified, Down> {
        self.verified(format!("verify {code} {}", visit.mac))
    }

    async fn change_number(&self, _: &Visit, _: Timestamp) -> Result<(), Down> {
        self.note("change".into()).map(drop)
    }

    async fn reconnect(&self, _: &Visit, _: Timestamp) -> Result<Verified, Down> {
        self.verified("reconnect".into())
    }

    async fn disconnect(&self, _: &Visit, _: Timestamp) -> Result<bool, Down> {
        self.note("disconnect".into()).map(|_| true)
    }

    async fn redeem_voucher(&self, _: &Visit, code: &str, _: Timestamp) -> Result<Verified, Down> {
        self.verified(format!("redeem {code}"))
    }

    async fn redeem_voucher_for(
        &self,
        _: &Visit,
        number: &str,
        has_consent: bool,
        code: &str,
        _: Timestamp,
    ) -> Result<Verified, Down> {
        self.verified(format!("redeem {code} for {number} {has_consent}"))
    }
}

pub fn ticket() -> Ticket {
    Ticket {
        user_name: "t-1".into(),
        password: "derived".to_owned().into(),
    }
}

pub fn pending() -> PendingCode {
    PendingCode {
        masked_number: "xxxxxx3210".into(),
        resend_in: Duration::from_secs(27),
        expires_in: Duration::from_mins(10),
        tries_left: 5,
        message: Message::Sent,
    }
}

pub fn status() -> Status {
    Status {
        masked_number: "xxxxxx3210".into(),
        site: "Thampanoor".into(),
        used_octets: 360_000_000,
        quota_octets: Some(1_000_000_000),
        session_left: Some(Duration::from_hours(2)),
        period: Period::Day,
        period_left: Some(Duration::from_hours(5)),
        down_bits_per_sec: Some(10_000_000),
        up_bits_per_sec: None,
        is_throttled: false,
        reported: Duration::from_secs(5),
        devices_online: 1,
    }
}

/// A portal, its fake centre, and a browser on one device.
pub struct Scene {
    pub fake: Fake,
    router: Router,
    pub peer: IpAddr,
}

/// What the browser got.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The first visit token in the page.
    pub fn v(&self) -> String {
        let after = self
            .text()
            .split("name=\"v\" value=\"")
            .nth(1)
            .expect("a form with a token");
        after.split('"').next().unwrap().to_owned()
    }
}

impl Scene {
    pub fn new() -> Self {
        Self::at(|| NOW)
    }

    /// At a time of the test's choosing.
    pub fn at(clock: fn() -> Timestamp) -> Self {
        Self::configured(clock, |_| {})
    }

    pub fn configured(clock: fn() -> Timestamp, change: impl FnOnce(&mut PortalConfig)) -> Self {
        let fake = Fake::default();
        let mut config = PortalConfig::new(ORIGIN.parse().unwrap(), TokenKey::new([7; 32]));
        change(&mut config);
        Self {
            router: router_at(config, fake.clone(), clock),
            fake,
            peer: DEVICE.parse().unwrap(),
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let mut request = request;
        request
            .extensions_mut()
            .insert(ConnectInfo(SocketAddr::new(self.peer, 40_000)));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    pub async fn get(&self, uri: &str) -> Answer {
        let request = Request::get(uri).header("accept-language", "en").body(Body::empty());
        self.send(request.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Arrives by a gate's redirect and returns the token of the page.
    pub async fn arrive(&self) -> String {
        self.get(&redirect("notyet", "")).await.v()
    }
}

/// A gate's signed redirect.
pub fn redirect(res: &str, more: &str) -> String {
    signed(&format!(
        "res={res}&uamip=10.80.0.1&uamport=3990&challenge=000102030405060708090a0b0c0d0e0f&called=AA-BB-CC-00-00-01\
         &mac=02-00-00-00-00-01&ip={DEVICE}&nasid=gate-1&sessionid=s1&userurl=http%3A%2F%2Fexample.org%2F{more}"
    ))
}

/// Any query, signed as the gate would.
pub fn signed(query: &str) -> String {
    signed_for(ORIGIN, query)
}

/// The same for a portal elsewhere.
pub fn signed_for(origin: &str, query: &str) -> String {
    let md = Md5::digest([format!("{origin}/?{query}").as_bytes(), SECRET].concat());
    format!("/?{query}&md={}", HEXUPPER.encode(&md))
}
