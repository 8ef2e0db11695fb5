//! Against a server made of a socket: it acknowledges what it is told to.

use std::collections::HashSet;
use std::net::SocketAddr;

use kavadam_radius::client::{ClientConfig, ServerAddress};
use kavadam_radius::{NasIdentity, Retry, Secret};
use md5::{Digest, Md5};
use tokio::net::UdpSocket;

use super::rest::{TRIED_FOR, TRIES};
use super::*;
use crate::core::tests::{mac, row, wall};
use crate::report::{Kind, Report};
use crate::spool::Changes;

const ACCOUNTING_REQUEST: u8 = 4;
const SECRET: &[u8] = b"radius secret";

/// Reports that arrived, Acct-Session-Ids in order of arrival; copies of one packet count once.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    pub(crate) fn ids(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn reach(&self, count: usize) -> Vec<String> {
        let wait = async {
            while self.ids().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .expect("reports arrive");
        self.ids()
    }
}

/// A server that acknowledges accounting of sessions that `takes` likes.
pub(crate) async fn server(takes: impl Fn(&str) -> bool + Send + 'static) -> (SocketAddr, Heard) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let heard = Heard::default();
    let log = heard.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        let mut seen = HashSet::new();
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let packet = &buffer[..length];
            let id = session_of(packet);
            if packet[0] == ACCOUNTING_REQUEST && seen.insert(packet.to_vec()) {
                log.0.lock().unwrap().push(id.clone());
            }
            if takes(&id) {
                let mut answer = vec![5, packet[1], 0, 20];
                let digest = Md5::new().chain_update(&answer).chain_update(&packet[4..20]);
                answer.extend(digest.chain_update(SECRET).finalize());
                socket.send_to(&answer, peer).await.unwrap();
            }
        }
    });
    (address, heard)
}

/// Acct-Session-Id (44).
fn session_of(packet: &[u8]) -> String {
    let mut rest = &packet[20..];
    while let [kind, length, ..] = *rest {
        let (attribute, after) = rest.split_at(usize::from(length));
        if kind == 44 {
            return String::from_utf8(attribute[2..].to_vec()).unwrap();
        }
        rest = after;
    }
    String::new()
}

pub(crate) fn client(server: SocketAddr) -> Arc<Client> {
    Arc::new(Client::new(ClientConfig {
        servers: vec![ServerAddress {
            auth: server,
            acct: server,
            secret: Secret::new(SECRET.to_vec()),
        }],
        nas: NasIdentity {
            identifier: "gate".into(),
            ..NasIdentity::default()
        },
        retry: Retry {
            first_wait: Duration::from_millis(100),
            tries: 1,
        },
        source: None,
        requires_message_authenticator: true,
    }))
}

struct Scene {
    spool: Spool,
    handle: CourierHandle,
    heard: Heard,
    cancel: CancellationToken,
    _dir: tempfile::TempDir,
}

async fn scene(takes: impl Fn(&str) -> bool + Send + 'static) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(&dir.path().join("gateway.db")).await.unwrap();
    let (address, heard) = server(takes).await;
    let (courier, handle) = Courier::new(spool.clone(), client(address), "gate".into(), Vec::new());
    let cancel = CancellationToken::new();
    tokio::spawn(courier.run(cancel.clone()));
    Scene {
        spool,
        handle,
        heard,
        cancel,
        _dir: dir,
    }
}

impl Scene {
    async fn commit(&self, reports: Vec<Report>) {
        let changes = Changes {
            reports,
            ..Changes::default()
        };
        let committed = self.spool.commit(&changes, &self.handle.in_flight()).await.unwrap();
        self.handle.take(committed);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn start(device: u8, id: &str) -> Report {
    let mut row = row(id);
    row.mac = mac(device);
    row.report(Kind::Start, kavadam_firewall::Meter::default(), 0, wall())
}

#[tokio::test]
async fn delivers_in_order_for_each_device_and_forgets_what_was_taken() {
    let scene = scene(|_| true).await;
    let mut reports = Vec::new();
    for n in 0..30 {
        reports.extend((1..=3).map(|device| start(device, &format!("{device}-{n:02}"))));
    }
    scene.commit(reports).await;
    assert!(scene.handle.drained(Duration::from_secs(10)).await);
    let ids = scene.heard.ids();
    for device in ["1-", "2-", "3-"] {
        let of_one: Vec<&String> = ids.iter().filter(|id| id.starts_with(device)).collect();
        assert_eq!(of_one.len(), 30);
        assert!(of_one.is_sorted());
    }
    tokio::time::sleep(FORGET_AFTER * 4).await;
    assert_eq!(scene.spool.waiting().await.unwrap(), []);
}

#[tokio::test]
async fn a_report_about_the_gate_goes_after_all_before_it_and_before_all_behind_it() {
    let scene = scene(|_| true).await;
    let mut reports: Vec<Report> = (1..=20).map(|device| start(device, &format!("a{device}"))).collect();
    reports.push(Report::on("on".into(), wall()));
    reports.extend((1..=20).map(|device| start(device, &format!("b{device}"))));
    scene.commit(reports).await;
    assert!(scene.handle.drained(Duration::from_secs(10)).await);
    let ids = scene.heard.ids();
    assert_eq!(ids.iter().position(|id| id == "on"), Some(20));
    assert!(ids[..20].iter().all(|id| id.starts_with('a')) && ids[21..].iter().all(|id| id.starts_with('b')));
}

#[tokio::test]
async fn tries_one_at_a_time_while_nobody_answers_and_delivers_all_when_somebody_does() {
    let is_up = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let scene = scene(move |_| up.load(std::sync::atomic::Ordering::Relaxed)).await;
    scene.commit(vec![start(1, "first")]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    scene
        .commit((2..=50).map(|device| start(device, "later")).collect())
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(scene.heard.ids(), ["first"], "waits a second before it tries again");
    is_up.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(scene.handle.drained(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn a_report_that_fits_no_packet_is_parked_and_holds_up_nobody() {
    let scene = scene(|_| true).await;
    let mut poison = start(1, "poison");
    poison.classes = vec![vec![0; 253]; 40];
    let reports = vec![
        poison,
        start(1, "next"),
        Report::on("on".into(), wall()),
        start(2, "other"),
    ];
    scene.commit(reports).await;
    assert!(scene.handle.drained(Duration::from_secs(10)).await);
    assert_eq!(scene.heard.ids(), ["next", "on", "other"]);
    assert_eq!(scene.spool.parked().await.unwrap(), 1);
}

#[tokio::test]
async fn a_report_that_only_is_refused_rests_while_the_others_go_on() {
    let scene = scene(|id| id != "poison").await;
    scene.commit(vec![start(1, "poison"), start(1, "behind")]).await;
    for n in 0..20 {
        scene.commit(vec![start(2, &format!("{n}"))]).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let ids = scene.heard.reach(21).await;
    assert!(!ids.contains(&"behind".to_owned()));
    assert!(scene.handle.settled(&[mac(2)], Duration::from_secs(1)).await);
    assert_eq!(scene.handle.backlog(), 2);
}

#[tokio::test]
async fn a_report_that_only_is_refused_holds_up_neither_one_about_the_gate_nor_those_behind_it() {
    let scene = scene(|id| id != "poison").await;
    let mut reports = vec![start(1, "poison"), start(1, "behind")];
    reports.push(Report::on("on".into(), wall()));
    reports.extend((2..=9).map(|device| start(device, &format!("after-{device}"))));
    scene.commit(reports).await;
    let patience = Duration::from_secs(10);
    for device in 2..=9 {
        assert!(scene.handle.settled(&[mac(device)], patience).await);
    }
    let ids = scene.heard.ids();
    assert!(!ids.contains(&"behind".to_owned()), "its own device's wait");
    let place = |id: &str| ids.iter().position(|other| other == id).unwrap();
    let early = (2..=9).filter(|device| place(&format!("after-{device}")) < place("on"));
    assert!(early.count() <= 1, "but for the probe they keep their order: {ids:?}");
    scene.commit(vec![start(10, "later")]).await;
    assert!(scene.handle.settled(&[mac(10)], patience).await);
    assert_eq!(scene.handle.backlog(), 2);
}

#[tokio::test]
async fn a_report_about_the_gate_that_is_refused_holds_up_neither_others_nor_a_login() {
    let scene = scene(|id| !id.starts_with("on") && id != "poison").await;
    let mut reports = vec![Report::on("on".into(), wall()), start(1, "poison")];
    reports.extend((2..=9).map(|device| start(device, &format!("{device}"))));
    reports.extend([Report::on("on-again".into(), wall()), start(10, "10")]);
    scene.commit(reports).await;
    for device in 2..=10 {
        assert!(scene.handle.settled(&[mac(device)], Duration::from_secs(10)).await);
    }
    assert_eq!(scene.handle.backlog(), 3);
    assert!(scene.handle.settled(&[mac(77)], Duration::from_millis(1)).await);
    scene.commit(vec![start(2, "more")]).await;
    assert!(scene.handle.settled(&[mac(2)], Duration::from_secs(2)).await);
}

#[tokio::test]
async fn an_outage_changes_the_order_of_nothing_but_a_probe() {
    let is_up = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let scene = scene(move |_| up.load(std::sync::atomic::Ordering::Relaxed)).await;
    let mut reports = vec![Report::on("on".into(), wall())];
    reports.extend((1..=9).map(|device| start(device, &format!("{device}"))));
    scene.commit(reports).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let ids = scene.heard.ids();
    assert_eq!(ids, ["on", "1"], "one more is tried, then both wait");
    is_up.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(scene.handle.drained(Duration::from_secs(10)).await);
    let ids = scene.heard.ids();
    assert_eq!(ids[2], "on");
    assert_eq!(ids.len(), 12, "nothing but these two was sent twice: {ids:?}");
}

#[tokio::test]
async fn a_report_refused_often_and_long_enough_is_parked() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(&dir.path().join("gateway.db")).await.unwrap();
    let changes = Changes {
        reports: vec![start(1, "poison"), start(1, "behind")],
        ..Changes::default()
    };
    let left = spool.commit(&changes, &[]).await.unwrap().waiting;
    let (address, _) = server(|_| true).await;
    let (mut courier, _handle) = Courier::new(spool.clone(), client(address), "gate".into(), left.clone());
    courier.lanes.insert(Some(mac(1)), VecDeque::from([left[1].clone()]));
    let refuse = |tries, since: Duration| Refusals {
        tries,
        since: Instant::now().checked_sub(since).unwrap(),
        at: Instant::now().checked_sub(since).unwrap(),
    };
    let began = Instant::now();
    courier.last_taken = Some(began);
    for (tries, since) in [(TRIES, Duration::ZERO), (3, TRIED_FOR)] {
        courier.refusals.insert(left[0].id, refuse(tries, since));
        courier.landed(left[0].clone(), Landing::Failed(began)).await;
        assert_eq!(spool.parked().await.unwrap(), 0);
        courier.lanes.get_mut(&Some(mac(1))).unwrap().pop_front();
    }
    let mut refused_since = refuse(TRIES, TRIED_FOR);
    refused_since.at = Instant::now();
    courier.refusals.insert(left[0].id, refused_since);
    let after = began + Duration::from_millis(1);
    courier.landed(left[0].clone(), Landing::Failed(after)).await;
    assert_eq!(
        spool.parked().await.unwrap(),
        0,
        "nobody was taken meanwhile: an outage"
    );
    (courier.away, courier.ready) = (None, VecDeque::new());
    courier.lanes.get_mut(&Some(mac(1))).unwrap().pop_front();
    courier.last_taken = Some(Instant::now());
    courier.landed(left[0].clone(), Landing::Failed(began)).await;
    assert_eq!(spool.parked().await.unwrap(), 1);
    assert_eq!(courier.ready, [Some(mac(1))], "what is behind it goes on");
}
