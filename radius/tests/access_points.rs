//! Two access points of a vendor's that one record stands for, in front of the real centre, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod running;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kavadam_access::admin::{NasSetting, SessionQuery};
use kavadam_access::{Access, Sealer, Settings};
use kavadam_domain::plan::{AfterQuota, Period};
use kavadam_domain::{Language, Mac, Plan, PlanId, Timestamp};
use kavadam_radius::profile::Profiles;
use kavadam_radius::wire::{Code, Draft, Packet, attr, service, status};
use kavadam_store::Store;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use running::Running;

const SECRET: &[u8] = b"a-secret-of-the-gate";
/// Each counts its sessions from its own start.
const NAME: &str = "81800003";

fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    Timestamp(i64::try_from(since.as_micros()).unwrap())
}

struct Lab {
    access: Access,
    points: Vec<AccessPoint>,
    auth: SocketAddr,
    acct: SocketAddr,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

struct AccessPoint {
    socket: UdpSocket,
    ip: Ipv4Addr,
    /// Whoever is online there.
    mac: Mac,
    number: &'static str,
}

impl Lab {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("a.db").display());
        let store = Store::open(&url).await.unwrap();
        let profiles = Arc::new(Profiles::built_in().unwrap());
        let settings = Settings {
            abilities: profiles.abilities(),
            ..Settings::default()
        };
        let access = Access::new(store.clone(), Sealer::new([5; 32]), settings);
        access.set_plan(&plan(), "test", now()).await.unwrap();
        access.set_site("Stand", true, "citizen", "test", now()).await.unwrap();
        let points = access_points().await;
        let nas = NasSetting {
            name: "stand",
            site: "Stand",
            source: "127.0.0.0/24".parse().unwrap(),
            secret: SECRET,
            uam_secret: SECRET,
            coa_port: points[0].socket.local_addr().unwrap().port(),
            coa_host: None,
            profile: "mikrotik",
            is_renewing: false,
        };
        access.set_nas(&nas, "test", now()).await.unwrap();
        let until = now() + Duration::from_hours(1);
        for point in &points {
            let mut tx = store.write().await.unwrap();
            let number = point.number.parse().unwrap();
            let person = tx.ensure_subscriber(&number, point.number, Language::En, now()).await;
            let person = person.unwrap().id;
            tx.remember_device(person, point.mac, Some(until), now()).await.unwrap();
            tx.commit().await.unwrap();
        }
        let Running { auth, acct, stop } = running::run(&access, profiles);
        Self {
            access,
            points,
            auth,
            acct,
            stop,
            _dir: dir,
        }
    }

    async fn log_in(&self, at: usize) {
        let point = &self.points[at];
        let mut draft = point.draft(Code::AccessRequest);
        draft.text(attr::USER_NAME, &point.mac.to_string());
        draft.u32(attr::SERVICE_TYPE, service::CALL_CHECK);
        let accept = point.ask(self.auth, draft).await;
        assert_eq!(accept.code(), Code::AccessAccept);
    }

    /// Without a Class: what it is about, the name alone tells.
    async fn report(&self, at: usize, octets: u32) {
        let mut draft = self.points[at].draft(Code::AccountingRequest);
        draft.u32(attr::ACCT_STATUS_TYPE, status::INTERIM);
        draft.u32(attr::ACCT_OUTPUT_OCTETS, octets);
        self.points[at].ask(self.acct, draft).await;
    }

    /// The octets of whoever is online at each.
    async fn online(&self) -> Vec<u64> {
        let all = self.access.sessions(&SessionQuery::default()).await.unwrap();
        let of = |mac: Mac| {
            let mut open = all.iter().filter(|session| session.state == "open");
            open.find(|session| session.mac == Some(mac))
        };
        let open = self.points.iter().filter_map(|point| of(point.mac));
        open.map(|session| session.counters.down_octets).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl AccessPoint {
    fn draft(&self, code: Code) -> Draft {
        let mut draft = Draft::request(code, [7; 16]);
        draft.text(attr::NAS_IDENTIFIER, "MikroTik");
        draft.ipv4(attr::NAS_IP_ADDRESS, self.ip);
        draft.text(attr::CALLING_STATION_ID, &self.mac.to_string());
        draft.text(attr::ACCT_SESSION_ID, NAME);
        draft
    }

    async fn hear(&self) -> (Packet, SocketAddr) {
        let mut buffer = [0; 4096];
        let heard = tokio::time::timeout(Duration::from_secs(10), self.socket.recv_from(&mut buffer));
        let (length, from) = heard.await.expect("nothing was heard").unwrap();
        (Packet::parse(&buffer[..length]).unwrap(), from)
    }

    async fn ask(&self, to: SocketAddr, draft: Draft) -> Packet {
        let request = draft.seal_request(7, SECRET).unwrap();
        self.socket.send_to(&request, to).await.unwrap();
        self.hear().await.0
    }
}

/// Two, that take orders at one port.
async fn access_points() -> Vec<AccessPoint> {
    let (first, second) = loop {
        let first = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        if let Ok(second) = UdpSocket::bind(("127.0.0.2", port)).await {
            break (first, second);
        }
    };
    let point = |socket: UdpSocket, last: u8, number| AccessPoint {
        socket,
        ip: Ipv4Addr::new(10, 9, 0, last),
        mac: Mac([2, 0, 0, 0, 0, last]),
        number,
    };
    vec![point(first, 1, "9876543210"), point(second, 2, "9876543211")]
}

fn plan() -> Plan {
    Plan {
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
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_one_name_are_kept_apart_and_ended_where_they_are() {
    let lab = Lab::new().await;
    for at in [0, 1] {
        lab.log_in(at).await;
    }
    for (at, octets) in [(0, 1_000), (1, 70), (0, 2_000), (1, 80)] {
        lab.report(at, octets).await;
    }
    assert_eq!(lab.online().await, [2_000, 80]);
    let number = lab.points[0].number.parse().unwrap();
    lab.access.block(&number, true, "test", now()).await.unwrap();
    let (order, _) = lab.points[0].hear().await;
    assert_eq!(order.code(), Code::DisconnectRequest);
    assert_eq!(order.text(attr::ACCT_SESSION_ID).as_deref(), Some(NAME));
}
