//! Gates of every vendor, as FreeRADIUS's client and dictionaries read what they are told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod radclient;
mod running;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavadam_access::admin::NasSetting;
use kavadam_access::api::{
    Accounted, AccountingReport, AuthorizeRequest, Candidates, Decision, Grant, NasEntry, NasProof, Seen,
};
use kavadam_access::{Access, Sealer, Settings};
use kavadam_domain::gate::Abilities;
use kavadam_domain::plan::{AfterQuota, Period};
use kavadam_domain::{Language, Limits, NasId, Plan, PlanId, SessionId, SiteId, Timestamp};
use kavadam_radius::profile::Profiles;
use kavadam_radius::server::{Centre, RadiusServer, ServerConfig};
use kavadam_radius::wire::{Code, Draft, Packet, attr, service, status};
use kavadam_store::Store;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use running::Running;

const SECRET: &str = "a-secret-of-the-gate";

/// Lets everybody in, at a gate of this profile.
#[derive(Clone)]
struct Open {
    profile: String,
    is_throttled: bool,
    seen: Arc<Mutex<Seen>>,
}

impl Centre for Open {
    type Error = Infallible;

    async fn gates_at(&self, source: IpAddr) -> Result<Candidates, Infallible> {
        let gate = NasEntry {
            id: NasId(1),
            name: "gate-1".into(),
            site: SiteId(1),
            source: source.into(),
            secret: SECRET.as_bytes().to_vec().into(),
            proof: NasProof::default(),
            uam_secret: Vec::new().into(),
            coa_port: 3799,
            coa_host: None,
            profile: self.profile.clone(),
            abilities: Abilities::STANDARD,
        };
        Ok(std::iter::once(Arc::new(gate)).collect())
    }

    fn nas_seen(&self, _: NasId, _: SocketAddr, _: Timestamp) {}

    async fn authorize(&self, request: AuthorizeRequest, _: Timestamp) -> Result<Decision, Infallible> {
        *self.seen.lock().unwrap() = request.seen;
        Ok(Decision::Accept(Grant {
            session: SessionId(1),
            user_name: "alias".into(),
            class: b"class".to_vec(),
            cui: b"alias".to_vec(),
            limits: Limits {
                max_total_octets: Some((1 << 32) + 5),
                up_bits_per_sec: Some(2_000_000),
                down_bits_per_sec: Some(10_000_000),
                session_secs: Some(14_400),
                idle_secs: Some(600),
                interim_secs: Some(60),
                remaining_octets: None,
                filter: None,
                class: None,
            },
            is_renewable: false,
            plan: "citizen".into(),
            is_throttled: self.is_throttled,
            ms_chap2_success: None,
        }))
    }

    async fn account(&self, _: AccountingReport, _: Timestamp) -> Result<Accounted, Infallible> {
        Ok(Accounted::Unknown)
    }
}

/// What radclient prints of the answer to a login at such a gate, and what the centre was told of it.
async fn told(profile: &str, is_throttled: bool, more: &str) -> (String, Seen) {
    let seen = Arc::default();
    let centre = Open {
        profile: profile.to_owned(),
        is_throttled,
        seen: Arc::clone(&seen),
    };
    let any = "127.0.0.1:0".parse().unwrap();
    let server = RadiusServer::bind(ServerConfig { auth: any, acct: any }, centre)
        .unwrap()
        .with_profiles(Arc::new(Profiles::built_in().unwrap()));
    let at = server.auth_addr().unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    let request = format!("User-Name = \"t-1\"\nUser-Password = \"x\"\nMessage-Authenticator = 0x00\n{more}");
    let answer = radclient::radclient(at, "auth", SECRET, request).await;
    stop.cancel();
    running.await.unwrap();
    let seen = seen.lock().unwrap().clone();
    (answer, seen)
}

/// What a stranger is to read in the answer of each profile, beside what every gate is told.
fn meant_for(profile: &str) -> &'static [&'static str] {
    const WISPR: [&str; 2] = [
        "WISPr-Bandwidth-Max-Up = 2000000",
        "WISPr-Bandwidth-Max-Down = 10000000",
    ];
    match profile {
        "kavadam" => &[
            "ChilliSpot-Max-Total-Octets = 5",
            "Attr-26.14559.23 = 0x00000001",
            WISPR[0],
            WISPR[1],
        ],
        "standard" | "ruckus" => &WISPR,
        "coovachilli" | "uspot-2025" => &[
            "Attr-26.14559.23 = 0x00000001",
            "ChilliSpot-Max-Total-Octets = 5",
            WISPR[0],
            WISPR[1],
        ],
        "uspot" => &["ChilliSpot-Max-Total-Octets = 4294967295", WISPR[0], WISPR[1]],
        "mikrotik" => &[
            "Mikrotik-Total-Limit-Gigawords = 1",
            "Mikrotik-Total-Limit = 5",
            "Mikrotik-Rate-Limit = \"2000k/10000k\"",
        ],
        "cambium" => &[
            "Cambium-Traffic-Quota-Limit-Total-Gigwords = 1",
            "Cambium-Traffic-Quota-Limit-Total = 5",
            WISPR[0],
            WISPR[1],
        ],
        "cisco" => &[
            "Airespace-Data-Bandwidth-Average-Contract-Upstream = 2000",
            "Airespace-Real-Time-Bandwidth-Average-Contract-Upstream = 2000",
            "Airespace-Data-Bandwidth-Average-Contract = 10000",
            "Airespace-Real-Time-Bandwidth-Average-Contract = 10000",
        ],
        "pfsense" => &["pfSense-Max-Total-Octets = 4294967295", WISPR[0], WISPR[1]],
        "aruba" => &["Aruba-User-Role = \"citizen\""],
        "meraki" => &["Filter-Id = \"citizen\""],
        "omada" => &[],
        unknown => panic!("say here what a gate of the profile {unknown} is to be told"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_reads_in_every_vendors_answer_what_was_meant_and_nothing_else() {
    for profile in Profiles::built_in().unwrap().iter() {
        let name = profile.name.as_str();
        let (answer, _) = told(name, false, "").await;
        let (_, answer) = answer.split_once("Received Access-Accept").expect(&answer);
        let lines = answer.lines().skip(1).map(str::trim);
        let found: BTreeSet<&str> = lines
            .filter(|line| !line.starts_with("Message-Authenticator"))
            .collect();
        let mut wanted: BTreeSet<&str> = meant_for(name).iter().copied().collect();
        wanted.extend([
            "Session-Timeout = 14400",
            "User-Name = \"alias\"",
            "Class = 0x636c617373",
        ]);
        let is_meraki = name == "meraki";
        wanted.extend((!is_meraki).then_some("Idle-Timeout = 600"));
        wanted.insert(if is_meraki {
            "Acct-Interim-Interval = 300"
        } else {
            "Acct-Interim-Interval = 60"
        });
        assert_eq!(found, wanted, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_goes_on_slowly_has_a_role_of_its_own() {
    let (answer, _) = told("aruba", true, "").await;
    assert!(answer.contains("Aruba-User-Role = \"citizen-slow\""), "{answer}");
    assert_eq!(answer.matches("Aruba-User-Role").count(), 1, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_says_in_a_vendors_words_reaches_the_centre() {
    let words = "Cisco-AVPair = \"audit-session-id=0A0700020000001A\"\nCalled-Station-Id = \"02-00-00-00-00-07:Kerala Wi-Fi\"\n";
    let (_, seen) = told("cisco", false, words).await;
    assert_eq!(seen.handle.as_deref(), Some("0A0700020000001A"));
    assert_eq!(seen.ssid.as_deref(), Some("Kerala Wi-Fi"));
}

/// A gate of that vendor in front of the real centre, played by hand.
struct Flow {
    access: Access,
    gate: UdpSocket,
    auth: SocketAddr,
    acct: SocketAddr,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

const MAC: &str = "02:00:00:00:ab:01";
const NUMBER: &str = "9876543210";

fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    Timestamp(i64::try_from(since.as_micros()).unwrap())
}

impl Flow {
    /// With one remembered device.
    async fn new(profile: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite:{}", dir.path().join("a.db").display()))
            .await
            .unwrap();
        let profiles = Arc::new(Profiles::built_in().unwrap());
        let settings = Settings {
            abilities: profiles.abilities(),
            ..Settings::default()
        };
        let access = Access::new(store.clone(), Sealer::new([5; 32]), settings);
        let plan = Plan {
            id: PlanId(0),
            name: "citizen".into(),
            quota_octets: Some(10_000_000_000),
            period: Period::Once,
            time_zone: "Asia/Kolkata".into(),
            down_bits_per_sec: Some(10_000_000),
            up_bits_per_sec: Some(2_000_000),
            session_secs: Some(3_600),
            idle_secs: Some(600),
            max_devices: 1,
            remembered_days: 14,
            after_quota: AfterQuota::Close,
            filter: None,
            class: None,
        };
        access.set_plan(&plan, "test", now()).await.unwrap();
        access.set_site("Stand", true, "citizen", "test", now()).await.unwrap();
        let gate = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let nas = NasSetting {
            name: "gate-1",
            site: "Stand",
            source: "127.0.0.1/32".parse().unwrap(),
            secret: SECRET.as_bytes(),
            uam_secret: SECRET.as_bytes(),
            coa_port: gate.local_addr().unwrap().port(),
            coa_host: None,
            profile,
            is_renewing: false,
        };
        access.set_nas(&nas, "test", now()).await.unwrap();
        let mut tx = store.write().await.unwrap();
        let number = NUMBER.parse().unwrap();
        let person = tx
            .ensure_subscriber(&number, "alias", Language::En, now())
            .await
            .unwrap();
        let until = now() + Duration::from_hours(1);
        tx.remember_device(person.id, MAC.parse().unwrap(), Some(until), now())
            .await
            .unwrap();
        tx.commit().await.unwrap();

        let Running { auth, acct, stop } = running::run(&access, profiles);
        Self {
            access,
            gate,
            auth,
            acct,
            stop,
            _dir: dir,
        }
    }

    async fn hear(&self) -> (Packet, SocketAddr) {
        let mut buffer = [0; 4096];
        let heard = tokio::time::timeout(Duration::from_secs(10), self.gate.recv_from(&mut buffer));
        let (length, from) = heard.await.expect("nothing was heard").unwrap();
        (Packet::parse(&buffer[..length]).unwrap(), from)
    }

    async fn ask(&self, to: SocketAddr, draft: Draft) -> Packet {
        let request = draft.seal_request(7, SECRET.as_bytes()).unwrap();
        self.gate.send_to(&request, to).await.unwrap();
        self.hear().await.0
    }

    /// Logged in by its MAC, and begun.
    async fn online(&self) -> Packet {
        let mut draft = Draft::request(Code::AccessRequest, [7; 16]);
        draft.text(attr::USER_NAME, MAC);
        draft.u32(attr::SERVICE_TYPE, service::CALL_CHECK);
        draft.text(attr::CALLING_STATION_ID, MAC);
        let accept = self.ask(self.auth, draft).await;
        let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
        draft.u32(attr::ACCT_STATUS_TYPE, status::START);
        draft.text(attr::ACCT_SESSION_ID, "81800003");
        draft.text(attr::USER_NAME, MAC);
        draft.octets(attr::CLASS, &accept.octets(attr::CLASS).unwrap());
        self.ask(self.acct, draft).await;
        accept
    }

    async fn obey(&self, code: Code) -> Packet {
        let (order, from) = self.hear().await;
        order.verify_request(SECRET.as_bytes(), true).unwrap();
        let reply = Draft::reply(code, &order).seal_reply(SECRET.as_bytes()).unwrap();
        self.gate.send_to(&reply, from).await.unwrap();
        order
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mikrotik_is_told_its_limits_a_slower_speed_and_the_end() {
    let flow = Flow::new("mikrotik").await;
    let accept = flow.online().await;
    assert_eq!(accept.vendor_texts((14988, 8)), ["2000k/10000k"]);
    let octets = (accept.vendor_u32((14988, 18)), accept.vendor_u32((14988, 17)));
    assert_eq!(octets, (Some(2), Some(1_410_065_408)), "10 GB");

    let mut slower = flow.access.plans().await.unwrap().remove(0);
    slower.down_bits_per_sec = Some(1_000_000);
    flow.access.set_plan(&slower, "test", now()).await.unwrap();
    let change = flow.obey(Code::CoaAck).await;
    assert_eq!(change.code(), Code::CoaRequest);
    assert_eq!(change.vendor_texts((14988, 8)), ["2000k/1000k"]);
    assert_eq!(change.vendor_u32((14988, 17)), None, "octets are for the login");

    flow.access
        .block(&NUMBER.parse().unwrap(), true, "test", now())
        .await
        .unwrap();
    let end = flow.obey(Code::DisconnectAck).await;
    assert_eq!(end.code(), Code::DisconnectRequest);
    assert_eq!(end.text(attr::USER_NAME).as_deref(), Some(MAC));
    assert_eq!(end.text(attr::ACCT_SESSION_ID).as_deref(), Some("81800003"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aruba_is_told_another_role_and_where_it_will_not_take_one_the_end() {
    let flow = Flow::new("aruba").await;
    let accept = flow.online().await;
    assert_eq!(accept.vendor_texts((14823, 1)), ["citizen"]);
    let mut slower = flow.access.plans().await.unwrap().remove(0);
    slower.down_bits_per_sec = Some(1_000_000);
    flow.access.set_plan(&slower, "test", now()).await.unwrap();
    let change = flow.obey(Code::CoaNak).await;
    assert_eq!(change.code(), Code::CoaRequest);
    assert_eq!(change.text(attr::FILTER_ID).as_deref(), Some("citizen"));
    let station = change.text(attr::CALLING_STATION_ID);
    assert_eq!(station.as_deref(), Some(MAC), "as it spells it");
    let otherwise = flow.obey(Code::CoaNak).await;
    let station = otherwise.text(attr::CALLING_STATION_ID);
    assert_eq!(station.as_deref(), Some("02-00-00-00-AB-01"), "as its papers do");
    let by_mac = [flow.obey(Code::CoaNak).await, flow.obey(Code::CoaNak).await];
    assert!(by_mac.iter().all(|order| order.text(attr::ACCT_SESSION_ID).is_none()));
    let end = flow.obey(Code::DisconnectAck).await;
    assert_eq!(end.code(), Code::DisconnectRequest);
    assert_eq!(end.text(attr::FILTER_ID), None);
}
