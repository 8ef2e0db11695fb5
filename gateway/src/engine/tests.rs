//! The engine with a kernel of numbers, a true spool and a server that answers accounting; RADIUS answers are put in by hand.

use super::*;
use crate::core::Settings;
use crate::core::tests::fake::FakeKernel;
use crate::core::tests::{MB, device, lease, mac};
use crate::courier::Courier;
use crate::courier::tests::{Heard, client, server};
use crate::report::Kind;
use kavadam_radius::Credential;

struct Scene {
    kernel: FakeKernel,
    spool: Spool,
    handle: EngineHandle,
    cancel: CancellationToken,
    engine: tokio::task::JoinHandle<Engine<FakeKernel>>,
    asked: u64,
    heard: Heard,
    _dir: tempfile::TempDir,
}

/// The courier does not run: what is committed stays to be looked at.
async fn scene() -> Scene {
    scene_with(false).await
}

async fn scene_with(is_delivering: bool) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(&dir.path().join("gateway.db")).await.unwrap();
    let (address, heard) = server(|_| true).await;
    let client = client(address);
    let (courier, courier_handle) = Courier::new(spool.clone(), Arc::clone(&client), "gate".into(), Vec::new());
    let cancel = CancellationToken::new();
    if is_delivering {
        tokio::spawn(courier.run(cancel.clone()));
    } else {
        std::mem::forget(courier);
    }
    let kernel = FakeKernel::default();
    let settings = Settings {
        interim: Duration::from_mins(1),
        called_station_id: "gate".into(),
        seed: 7,
    };
    let channel = EngineHandle::new();
    let handle = channel.0.clone();
    let core = Core::new(settings, kernel.clone());
    let engine = Engine::new(core, spool.clone(), courier_handle, client, channel, Devices::default());
    let engine = tokio::spawn(engine.run(Vec::new(), cancel.clone()));
    Scene {
        kernel,
        spool,
        handle,
        cancel,
        engine,
        asked: 0,
        heard,
        _dir: dir,
    }
}

impl Scene {
    /// A login up to the server's decision; what is told comes later.
    async fn accept(&mut self, number: u8) -> oneshot::Receiver<Told> {
        let (reply, told) = oneshot::channel();
        let message = Message::Logon {
            device: device(number),
            user_name: "t".into(),
            credential: Redacted(Credential::Absent),
            reply,
        };
        self.handle.send(message).await;
        // The core numbers sessions and questions in turn.
        self.asked += 2;
        self.answer(self.asked, 10).await;
        told
    }

    async fn answer(&self, ask: u64, mega_octets: u64) {
        let grant = Answer::Accept(Box::new(lease(mega_octets * MB)));
        self.handle.send(Message::Answered(AskId(ask), grant)).await;
    }

    async fn kinds(&self) -> Vec<Kind> {
        let waiting = self.spool.waiting().await.unwrap();
        waiting.into_iter().map(|one| one.report.kind).collect()
    }

    async fn fail(&self) {
        self.spool.fail(true).await;
        // Something to be committed shows it.
        self.handle
            .send(Message::Address(mac(1), std::net::Ipv4Addr::new(10, 80, 7, 7)))
            .await;
    }
}

async fn soon<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), waiting)
        .await
        .expect("soon")
}

#[tokio::test]
async fn whoever_is_told_of_a_session_finds_it_written_and_open() {
    let mut scene = scene().await;
    let told = scene.accept(1).await;
    assert_eq!(soon(told).await, Ok(Told::Online));
    assert_eq!(scene.kinds().await, [Kind::Start]);
    assert_eq!(scene.spool.sessions().await.unwrap().len(), 1);
    assert!(scene.kernel.is_open(mac(1)));
    assert_eq!(soon(scene.handle.log_off(mac(1))).await, Told::Over);
    assert!(matches!(scene.kinds().await[..], [Kind::Start, Kind::Stop(_)]));
    assert!(!scene.kernel.is_open(mac(1)));
    scene.cancel.cancel();
    soon(scene.engine).await.unwrap();
    assert_eq!(scene.spool.sessions().await.unwrap(), []);
}

#[tokio::test]
async fn nobody_logs_in_while_nothing_can_be_written() {
    let mut scene = scene().await;
    scene.spool.fail(true).await;
    let told = scene.accept(1).await;
    assert_eq!(soon(told).await, Ok(Told::Unavailable));
    assert!(!scene.kernel.is_open(mac(1)));
    let second = scene.handle.log_on(device(2), "t".into(), Credential::Absent);
    assert_eq!(soon(second).await, Told::Unavailable);
    assert_eq!(soon(scene.handle.knock(device(3))).await, Told::Unavailable);
    scene.spool.fail(false).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    // The first question was number 2, and nobody else asked.
    let told = scene.accept(1).await;
    assert_eq!(soon(told).await, Ok(Told::Online));
}

#[tokio::test]
async fn people_online_are_served_while_nothing_can_be_written_and_nothing_is_lost() {
    let mut scene = scene().await;
    let told = scene.accept(1).await;
    soon(told).await.unwrap();
    scene.fail().await;
    assert!(soon(scene.handle.view(mac(1))).await.is_some());
    assert_eq!(soon(scene.handle.knock(device(1))).await, Told::Already);

    // The lease is used up and renewed.
    let (_, depleted) = scene.kernel.flow(mac(1), 11 * MB);
    scene
        .handle
        .send(Message::Gate(GateEvent::PoolUsedUp(depleted.unwrap())))
        .await;
    scene.answer(3, 20).await;
    let raised = async {
        while scene.kernel.pool_limit(scene.kernel.pool_of(mac(1))) != Some(20 * MB) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(raised).await;
    scene.kernel.flow(mac(1), MB);

    // An end stops the device, keeps its meters, and is acknowledged when it is written.
    let handle = scene.handle.clone();
    let end = tokio::spawn(async move { handle.log_off(mac(1)).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!end.is_finished() && scene.kernel.is_open(mac(1)));
    assert_eq!(scene.kernel.flow(mac(1), MB).0, 0);
    assert_eq!(scene.kinds().await, [Kind::Start]);
    scene.spool.fail(false).await;
    assert_eq!(soon(end).await.unwrap(), Told::Over);
    assert!(!scene.kernel.is_open(mac(1)));
    let stop = scene.spool.waiting().await.unwrap().pop().unwrap().report;
    assert!(matches!(stop.kind, Kind::Stop(_)));
    assert_eq!(stop.down_octets, 11 * MB);
}

#[tokio::test]
async fn what_was_used_is_told_before_more_is_asked_for_although_nothing_can_be_written() {
    let mut scene = scene_with(true).await;
    let told = scene.accept(1).await;
    soon(told).await.unwrap();
    let heard = scene.heard.clone();
    let reach = async |count| {
        while heard.ids().len() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(reach(1)).await;
    scene.fail().await;
    let (_, depleted) = scene.kernel.flow(mac(1), 11 * MB);
    let depleted = Message::Gate(GateEvent::PoolUsedUp(depleted.unwrap()));
    scene.handle.send(depleted).await;
    soon(reach(2)).await;
    let ids = heard.ids();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    scene.spool.fail(false).await;
}

#[tokio::test]
async fn an_answer_counts_as_unsettled_until_all_that_was_used_is_told() {
    let reply = || Ok(AccessReply::Accept(lease(MB)));
    assert!(matches!(answer(reply(), true), Answer::Accept(_)));
    assert!(matches!(answer(reply(), false), Answer::Unsettled(_)));

    let (address, _) = server(|id| id != "poison").await;
    let client = client(address);
    let report = |id: &str| {
        let report = crate::core::tests::row(id).report(
            Kind::Interim,
            kavadam_firewall::Meter::default(),
            1,
            crate::core::tests::wall(),
        );
        report.request("gate")
    };
    assert!(tell_all(&client, &[report("one"), report("other")]).await);
    assert!(!tell_all(&client, &[report("one"), report("poison")]).await);
}

#[tokio::test]
async fn stops_when_told_to_although_nothing_can_be_written() {
    let mut scene = scene().await;
    let told = scene.accept(1).await;
    soon(told).await.unwrap();
    scene.fail().await;
    scene.cancel.cancel();
    soon(scene.engine).await.unwrap();
    assert!(scene.kernel.is_open(mac(1)), "people stay online");
}

#[tokio::test]
async fn a_captured_request_does_not_wait_for_a_server_that_is_away() {
    let scene = scene().await;
    let (handle, _messages) = EngineHandle::new();
    let began = Instant::now();
    assert_eq!(soon(handle.knock(device(1))).await, Told::Unavailable);
    assert!(began.elapsed() < Duration::from_secs(2));
    scene.cancel.cancel();
}

#[tokio::test]
async fn an_engine_answers_when_it_comes_round_and_never_when_it_hangs_or_is_gone() {
    let (handle, mut messages) = EngineHandle::new();
    let asking = tokio::spawn({
        let handle = handle.clone();
        async move { handle.answers().await }
    });
    let Some(Message::View(_, reply)) = messages.recv().await else {
        panic!("no question")
    };
    reply.send(None).unwrap();
    assert!(asking.await.unwrap());
    let patience = Duration::from_millis(50);
    assert!(tokio::time::timeout(patience, handle.answers()).await.is_err(), "hangs");
    drop(messages);
    assert!(!handle.answers().await, "gone");
}

#[tokio::test]
async fn a_stop_lets_a_login_in_progress_be_answered_before_the_engine_ends() {
    let scene = scene().await;
    let (reply, waiting) = oneshot::channel();
    let message = Message::Logon {
        device: device(1),
        user_name: "t".into(),
        credential: Redacted(Credential::Absent),
        reply,
    };
    scene.handle.send(message).await;
    let (shown, page) = oneshot::channel();
    let mut doors = tokio::task::JoinSet::new();
    doors.spawn(async move {
        shown.send(waiting.await).unwrap();
        "a door"
    });
    let stop = CancellationToken::new();
    let stopping = tokio::spawn(crate::run::wind_down(
        doors,
        scene.engine,
        stop.clone(),
        scene.cancel.clone(),
    ));
    stop.cancelled().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let grant = Answer::Accept(Box::new(lease(10 * MB)));
    scene.handle.send(Message::Answered(AskId(2), grant)).await;
    assert_eq!(soon(page).await.unwrap(), Ok(Told::Online));
    soon(stopping).await.unwrap().unwrap();
    assert_eq!(scene.spool.sessions().await.unwrap().len(), 1);
}
