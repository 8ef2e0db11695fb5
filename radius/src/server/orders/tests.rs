use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use kavadam_access::api::{Calls, NasProof, OldSecret, OrderAction, WhichSecret};
use kavadam_domain::gate::Abilities;
use kavadam_domain::{Limits, SiteId, SubscriberId};
use tokio::net::UdpSocket;

use super::*;
use crate::dynamic::{Authority, DynamicConfig, DynamicHandler, DynamicServer};
use crate::wire::{Code, Draft, Packet, Secret, attr};
use crate::{LimitsPatch, Retry, Target};

const SECRET: &[u8] = b"a-secret-of-the-gate";

/// Orders for gates that all stand on this machine; the gate of that address is `nas`.
struct Book {
    nas: NasId,
    secret: &'static [u8],
    proof: NasProof,
    profile: &'static str,
    /// The gate's record is of a network.
    is_network: bool,
    orders: Vec<Order>,
    answers: Mutex<Vec<(SessionId, OrderAnswer)>>,
    writers: AtomicUsize,
    most_writers: AtomicUsize,
}

impl OrderBook for Book {
    type Error = std::io::Error;

    async fn orders_changed(&self) {
        std::future::pending::<()>().await;
    }

    async fn due_orders(&self, _: Timestamp) -> Result<Vec<(SessionId, NasId)>, Self::Error> {
        Ok(self.orders.iter().map(|order| (order.session, order.nas)).collect())
    }

    async fn decide_order(&self, session: SessionId, _: Timestamp) -> Result<Option<Order>, Self::Error> {
        self.write().await;
        Ok(self.orders.iter().find(|order| order.session == session).cloned())
    }

    async fn order_answered(&self, order: &Order, answer: OrderAnswer, _: Timestamp) -> Result<(), Self::Error> {
        self.write().await;
        self.answers.lock().unwrap().push((order.session, answer));
        Ok(())
    }

    async fn nas_of_order(&self, order: &Order) -> Result<Option<NasEntry>, Self::Error> {
        // Two gates on one machine, told apart by their addresses.
        let source = match &order.to {
            Destination::Seen(to) => to.ip(),
            Destination::Given(..) => Ipv4Addr::LOCALHOST.into(),
        };
        let id = if source == IpAddr::from(OTHER) {
            OTHER_NAS
        } else {
            self.nas
        };
        Ok((id == order.nas).then(|| self.entry(id, source)))
    }

    async fn nas_by_id(&self, nas: NasId) -> Result<Option<NasEntry>, Self::Error> {
        Ok(Some(self.entry(nas, Ipv4Addr::LOCALHOST.into())))
    }
}

impl Book {
    /// A commit takes its time.
    async fn write(&self) {
        let writers = self.writers.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_writers.fetch_max(writers, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.writers.fetch_sub(1, Ordering::SeqCst);
    }

    fn entry(&self, id: NasId, source: IpAddr) -> NasEntry {
        NasEntry {
            id,
            name: "gate".into(),
            site: SiteId(1),
            source: if self.is_network {
                "127.0.0.0/8".parse().unwrap()
            } else {
                source.into()
            },
            secret: self.secret.to_vec().into(),
            proof: self.proof.clone(),
            uam_secret: Vec::new().into(),
            coa_port: 3799,
            coa_host: None,
            profile: self.profile.into(),
            abilities: Abilities::ALL,
        }
    }
}

#[tokio::test]
async fn a_gate_is_asked_with_the_secret_that_it_has_while_that_is_being_changed() {
    let (_gate, at, _stop) = gate(Ipv4Addr::LOCALHOST);
    let mut reconciler = reconciler(NasId(1), vec![order(1, NasId(1), at)]);
    let book = &mut Arc::get_mut(&mut reconciler.hands).unwrap().book;
    book.secret = b"the secret that it is to have";
    book.proof.old_secret = Some(OldSecret {
        secret: SECRET.to_vec().into(),
        until: clock::now() + Duration::from_hours(1),
    });
    let began = Instant::now();
    assert_eq!(reconciler.answers().await, [(SessionId(1), OrderAnswer::Done)]);
    let is_slow = began.elapsed() >= Duration::from_millis(250);
    assert!(is_slow, "the new secret came first, and met silence");
    let book = &reconciler.hands.book;
    let nas = book.nas_of_order(&book.orders[0]).await.unwrap().unwrap();
    nas.proven_by(WhichSecret::Old);
    let began = Instant::now();
    assert_eq!(reconciler.answers().await, [(SessionId(1), OrderAnswer::Done)]);
    let is_fast = began.elapsed() < Duration::from_millis(250);
    assert!(is_fast, "the one that its last request was signed with comes first");
}

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER_NAS: NasId = NasId(2);

fn order(session: i64, nas: NasId, to: SocketAddr) -> Order {
    Order {
        session: SessionId(session),
        subscriber: SubscriberId(1),
        number: 1,
        nas,
        to: Destination::Seen(to),
        acct_session_id: format!("s{session}"),
        user_name: "alias".into(),
        class: Vec::new(),
        mac: None,
        ip: None,
        handle: None,
        calls: Calls::default(),
        action: OrderAction::Change(Limits::default()),
        role: None,
        attempts: 0,
    }
}

fn reconciler(nas: NasId, orders: Vec<Order>) -> Reconciler<Book> {
    reconciler_of("kavadam", nas, orders)
}

fn reconciler_of(profile: &'static str, nas: NasId, orders: Vec<Order>) -> Reconciler<Book> {
    reconciler_with(Profiles::built_in().unwrap(), profile, nas, orders)
}

fn reconciler_with(profiles: Profiles, profile: &'static str, nas: NasId, orders: Vec<Order>) -> Reconciler<Book> {
    let retry = Retry {
        first_wait: Duration::from_millis(300),
        tries: 1,
    };
    Reconciler {
        hands: Arc::new(Hands {
            counts: Arc::default(),
            book: Book {
                nas,
                secret: SECRET,
                proof: NasProof::default(),
                profile,
                is_network: false,
                orders,
                answers: Mutex::default(),
                writers: AtomicUsize::default(),
                most_writers: AtomicUsize::default(),
            },
            writing: Semaphore::new(WRITING),
            client: DynamicClient::new(None, retry),
            profiles: Arc::new(profiles),
        }),
        tasks: JoinSet::new(),
        under_way: HashMap::new(),
        silent: HashSet::new(),
    }
}

impl Reconciler<Book> {
    /// Looks once, and waits for the end of what that began.
    async fn answers(&mut self) -> Vec<(SessionId, OrderAnswer)> {
        self.look().await.unwrap();
        while let Some(done) = self.tasks.join_next().await {
            if let Some(told) = done.unwrap() {
                self.note(&told);
            }
        }
        std::mem::take(&mut self.hands.book.answers.lock().unwrap())
    }
}

/// Knows sessions by their Acct-Session-Id only, and users by the name they logged in with.
struct Stubborn(Mutex<Vec<Target>>);

impl DynamicHandler for Arc<Stubborn> {
    async fn disconnect(&self, _: Target) -> Result<(), ErrorCause> {
        Err(ErrorCause::RESOURCES_UNAVAILABLE)
    }

    async fn change(&self, target: Target, _: LimitsPatch) -> Result<(), ErrorCause> {
        let is_known = target.user_name.is_none() && target.acct_session_id.as_deref() == Some("s1");
        self.0.lock().unwrap().push(target);
        if is_known {
            Ok(())
        } else {
            Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND)
        }
    }
}

fn gate(at: Ipv4Addr) -> (Arc<Stubborn>, SocketAddr, CancellationToken) {
    gate_at((at, 0).into())
}

fn gate_at(listen: SocketAddr) -> (Arc<Stubborn>, SocketAddr, CancellationToken) {
    let gate = Arc::new(Stubborn(Mutex::default()));
    let config = DynamicConfig {
        listen,
        authorities: vec![Authority {
            source: "127.0.0.0/8".parse().unwrap(),
            secret: Secret::new(SECRET),
        }],
        nas_identifier: "gate".into(),
        nas_addresses: Vec::new(),
        is_strict: true,
    };
    let server = DynamicServer::bind(config, Arc::clone(&gate)).unwrap();
    let at = server.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(server.run(stop.clone()));
    (gate, at, stop)
}

#[tokio::test]
async fn a_gate_that_keeps_its_own_user_name_is_asked_without_ours() {
    let (gate, at, _stop) = gate(Ipv4Addr::LOCALHOST);
    let orders = vec![order(1, NasId(1), at), order(2, NasId(1), at)];
    let mut answers = reconciler(NasId(1), orders).answers().await;
    answers.sort_by_key(|(session, _)| *session);
    assert_eq!(
        answers,
        [
            (SessionId(1), OrderAnswer::Done),
            (SessionId(2), OrderAnswer::SessionGone)
        ]
    );
    assert_eq!(gate.0.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn an_order_is_not_shown_to_another_gate_at_that_address() {
    let (gate, at, _stop) = gate(Ipv4Addr::LOCALHOST);
    let mut reconciler = reconciler(NasId(7), vec![order(1, NasId(1), at)]);
    assert_eq!(reconciler.answers().await, [(SessionId(1), OrderAnswer::Silence)]);
    assert!(gate.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_silent_gate_takes_no_places_of_another() {
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (_gate, at, _stop) = gate(OTHER);
    let silent = deaf.local_addr().unwrap();
    let many = i64::try_from(CONCURRENCY).unwrap() + 10;
    let mut orders: Vec<Order> = (10..10 + many).map(|n| order(n, NasId(1), silent)).collect();
    orders.push(order(1, OTHER_NAS, at));
    let mut reconciler = reconciler(NasId(1), orders);
    let began = Instant::now();
    let answers = reconciler.answers().await;
    assert!(
        answers.contains(&(SessionId(1), OrderAnswer::Done)),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(answers.len(), 1 + CONCURRENCY_PER_GATE);
}

#[tokio::test]
async fn however_many_orders_are_due_few_of_them_are_written_at_once() {
    let (_gate, at, _stop) = gate(Ipv4Addr::LOCALHOST);
    let orders: Vec<Order> = (1..=16).map(|n| order(n, NasId(1), at)).collect();
    let mut reconciler = reconciler(NasId(1), orders);
    assert_eq!(reconciler.answers().await.len(), 16);
    assert_eq!(reconciler.hands.book.most_writers.load(Ordering::SeqCst), WRITING);
}

#[tokio::test]
async fn a_gate_that_was_silent_is_asked_one_thing_at_a_time_until_it_answers() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = socket.local_addr().unwrap();
    let orders: Vec<Order> = (1..=40).map(|n| order(n, NasId(1), silent)).collect();
    let mut reconciler = reconciler(NasId(1), orders);
    assert_eq!(reconciler.answers().await.len(), CONCURRENCY_PER_GATE);
    assert_eq!(reconciler.answers().await.len(), 1);
    // Its end of the orders comes to life where the silent one was.
    drop(socket);
    let (_gate, _, _stop) = gate_at(silent);
    assert_eq!(reconciler.answers().await.len(), 1);
    assert_eq!(reconciler.answers().await.len(), CONCURRENCY_PER_GATE, "it answered");
}

#[tokio::test]
async fn of_a_network_of_gates_one_that_is_silent_holds_up_no_other() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = socket.local_addr().unwrap();
    let orders: Vec<Order> = (1..=40).map(|n| order(n, NasId(1), silent)).collect();
    let mut reconciler = reconciler(NasId(1), orders);
    Arc::get_mut(&mut reconciler.hands).unwrap().book.is_network = true;
    for _ in 0..2 {
        assert_eq!(reconciler.answers().await.len(), CONCURRENCY_PER_GATE);
    }
}

/// A vendor's gate: answers each request as told, and keeps it.
async fn vendor(answers: Vec<(Code, Option<u32>)>) -> (SocketAddr, tokio::task::JoinHandle<Vec<Packet>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let hearing = tokio::spawn(async move {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        for (code, cause) in answers {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let request = Packet::parse(&buffer[..length]).unwrap();
            request.verify_request(SECRET, false).unwrap();
            let mut draft = Draft::reply(code, &request);
            if let Some(cause) = cause {
                draft.u32(attr::ERROR_CAUSE, cause);
            }
            socket.send_to(&draft.seal_reply(SECRET).unwrap(), from).await.unwrap();
            heard.push(request);
        }
        heard
    });
    (at, hearing)
}

#[tokio::test]
async fn a_gate_that_is_silent_on_one_port_is_asked_on_the_other_and_from_then_on_there() {
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = deaf.local_addr().unwrap();
    let (at, hearing) = vendor(vec![(Code::DisconnectAck, None); 2]).await;
    let text = format!(
        "name = 'acme'\ntitle = 'Acme'\n[limits]\nsession_secs = {{ attribute = 'Session-Timeout' }}\n\
         [orders]\nport = [{}, {}]\nsession = [['Acct-Session-Id']]\n",
        silent.port(),
        at.port()
    );
    let profiles = Profiles::read(&[("acme.toml".to_owned(), text)]).unwrap();
    let end = Order {
        action: OrderAction::End,
        ..order(1, NasId(1), silent)
    };
    let mut reconciler = reconciler_with(profiles, "acme", NasId(1), vec![end]);
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(reconciler.answers().await[0].1);
    }
    assert_eq!(answers, [OrderAnswer::Silence, OrderAnswer::Done, OrderAnswer::Done]);
    assert_eq!(hearing.await.unwrap().len(), 2);
}

/// A session to be ended at a gate of that vendor.
async fn asked(profile: &'static str, answers: Vec<(Code, Option<u32>)>) -> (OrderAnswer, Vec<Packet>) {
    let (at, hearing) = vendor(answers).await;
    let order = Order {
        action: OrderAction::End,
        mac: Some("02-00-00-00-00-01".parse().unwrap()),
        handle: Some("0A07".into()),
        ..order(1, NasId(1), at)
    };
    let answers = reconciler_of(profile, NasId(1), vec![order]).answers().await;
    (answers[0].1, hearing.await.unwrap())
}

const NAK: Code = Code::DisconnectNak;

#[tokio::test]
async fn a_gate_that_refuses_an_attribute_is_asked_with_others() {
    for cause in [401, 402, 404] {
        let (answer, heard) = asked("cisco", vec![(NAK, Some(cause)), (Code::DisconnectAck, None)]).await;
        assert_eq!(answer, OrderAnswer::Done);
        assert_eq!(heard[0].vendor_texts((9, 1)), ["audit-session-id=0A07"]);
        assert!(heard[1].vendor_texts((9, 1)).is_empty());
        assert_eq!(heard[1].text(attr::CALLING_STATION_ID).unwrap(), "02-00-00-00-00-01");
    }
    let (answer, _) = asked("ruckus", vec![(NAK, Some(402)), (NAK, Some(401))]).await;
    assert_eq!(answer, OrderAnswer::Refused(401), "by no name at all");
}

#[tokio::test]
async fn a_session_is_gone_only_if_the_gate_knows_it_by_none_of_its_names() {
    let (answer, _) = asked("cisco", vec![(NAK, Some(503)), (Code::DisconnectAck, None)]).await;
    assert_eq!(answer, OrderAnswer::Done);
    let (answer, _) = asked("ruckus", vec![(NAK, Some(503)), (NAK, Some(402))]).await;
    assert_eq!(answer, OrderAnswer::SessionGone);
}

#[tokio::test]
async fn a_gate_that_gives_no_causes_says_by_a_bare_refusal_that_the_session_is_gone() {
    for (profile, ways) in [("coovachilli", 1), ("uspot", 2)] {
        let (answer, heard) = asked(profile, vec![(NAK, None); ways]).await;
        assert_eq!((answer, heard.len()), (OrderAnswer::SessionGone, ways), "{profile}");
    }
    let (answer, _) = asked("ruckus", vec![(NAK, None); 2]).await;
    assert_eq!(answer, OrderAnswer::Refused(0), "of others it says nothing");
}

#[tokio::test]
async fn a_gate_that_cannot_just_now_is_left_in_peace() {
    let (answer, heard) = asked("ruckus", vec![(NAK, Some(506))]).await;
    assert_eq!((answer, heard.len()), (OrderAnswer::Refused(506), 1));
}

#[tokio::test]
async fn what_a_gate_refuses_to_see_is_left_out_for_it() {
    let (answer, heard) = asked("uspot", vec![(Code::DisconnectAck, None)]).await;
    assert_eq!(answer, OrderAnswer::Done);
    let kinds: Vec<u8> = heard[0].kinds().collect();
    assert_eq!(kinds, [attr::USER_NAME, attr::ACCT_SESSION_ID]);
    let (_, heard) = asked("mikrotik", vec![(Code::DisconnectAck, None)]).await;
    assert!(heard[0].has(attr::MESSAGE_AUTHENTICATOR) && heard[0].has(attr::EVENT_TIMESTAMP));
}

#[tokio::test]
async fn a_gate_in_a_cloud_is_found_by_its_name() {
    let (at, hearing) = vendor(vec![(Code::DisconnectAck, None)]).await;
    let order = |host: &str| Order {
        action: OrderAction::End,
        to: Destination::Given(host.into(), at.port()),
        ..order(1, NasId(1), at)
    };
    let unknown = reconciler_of("meraki", NasId(1), vec![order("nowhere.invalid")])
        .answers()
        .await;
    assert_eq!(unknown[0].1, OrderAnswer::Silence);
    let known = reconciler_of("meraki", NasId(1), vec![order("127.0.0.1")])
        .answers()
        .await;
    assert_eq!(known[0].1, OrderAnswer::Done);
    assert_eq!(hearing.await.unwrap().len(), 1);
}
