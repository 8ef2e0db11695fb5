//! The client of a gate against servers that lie, are slow, or are not there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kavadam_domain::Timestamp;
use kavadam_radius::client::{Client, ClientConfig, ClientError, ServerAddress};
use kavadam_radius::wire::{Code, Draft, Packet, attr};
use kavadam_radius::{
    AccessReply, AccessRequest, AccountingKind, AccountingRequest, Credential, NasIdentity, Retry, Secret, ServiceType,
};
use tokio::net::UdpSocket;

const SECRET: &[u8] = b"a-secret-of-the-gate";
const WAIT: Duration = Duration::from_millis(150);

fn client(servers: &[SocketAddr], tries: u32) -> Client {
    let server = |address: &SocketAddr| ServerAddress {
        auth: *address,
        acct: *address,
        secret: Secret::new(SECRET),
    };
    Client::new(ClientConfig {
        servers: servers.iter().map(server).collect(),
        nas: NasIdentity {
            identifier: "gate-1".into(),
            ..NasIdentity::default()
        },
        retry: Retry {
            first_wait: WAIT,
            tries,
        },
        source: None,
        requires_message_authenticator: true,
    })
}

fn question() -> AccessRequest {
    AccessRequest::new(
        ServiceType::Login,
        "9876543210",
        Credential::Pap(b"123456".to_vec().into()),
    )
}

async fn ear() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn hear(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 4096];
    let heard = tokio::time::timeout(Duration::from_secs(5), socket.recv_from(&mut buffer)).await;
    let (length, from) = heard.expect("nothing was asked").unwrap();
    (buffer[..length].to_vec(), from)
}

fn answer(request: &Packet, code: Code, secret: &[u8]) -> Vec<u8> {
    Draft::reply(code, request).seal_reply(secret).unwrap()
}

/// Whatever is no answer of the server asked, made from its request.
fn forgeries(octets: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let request = Packet::parse(octets).unwrap();
    let truth = answer(&request, Code::AccessAccept, SECRET);
    let mut other_identifier = truth.clone();
    other_identifier[1] = other_identifier[1].wrapping_add(1);
    let mut bent_authenticator = truth.clone();
    bent_authenticator[4] ^= 1;
    let mut bent_signature = truth.clone();
    bent_signature[30] ^= 1;
    let mut other_code = truth.clone();
    other_code[0] = Code::AccessReject.octet();
    let mut unsigned = Draft::reply(Code::AccessAccept, &request);
    unsigned.without_message_authenticator();
    vec![
        ("another identifier", other_identifier),
        ("a wrong Response Authenticator", bent_authenticator),
        ("a wrong Message-Authenticator", bent_signature),
        ("a refusal made of an accept", other_code),
        (
            "another secret",
            answer(&request, Code::AccessAccept, b"another secret of length"),
        ),
        ("no Message-Authenticator", unsigned.seal_reply(SECRET).unwrap()),
        (
            "an answer to another kind of question",
            answer(&request, Code::AccountingResponse, SECRET),
        ),
        ("the request itself", octets.to_vec()),
        ("rubbish", vec![0xff; 64]),
        ("nothing", Vec::new()),
    ]
}

#[tokio::test]
async fn no_forgery_is_taken_for_the_answer_and_the_truth_after_it_is() {
    let (server, at) = ear().await;
    let client = client(&[at], 1);
    let serve = async {
        let (octets, from) = hear(&server).await;
        for (_, forgery) in forgeries(&octets) {
            server.send_to(&forgery, from).await.unwrap();
        }
        let request = Packet::parse(&octets).unwrap();
        let mut truth = Draft::reply(Code::AccessReject, &request);
        truth.text(attr::REPLY_MESSAGE, "the truth");
        server.send_to(&truth.seal_reply(SECRET).unwrap(), from).await.unwrap();
    };
    let asked = question();
    let (answer, ()) = tokio::join!(client.authenticate(&asked), serve);
    let AccessReply::Reject { message } = answer.unwrap() else {
        panic!("a forgery won")
    };
    assert_eq!(message.as_deref(), Some("the truth"));
}

#[tokio::test]
async fn each_forgery_alone_is_no_answer() {
    let (server, at) = ear().await;
    for index in 0..forgeries(&login_octets().await).len() {
        let client = client(&[at], 1);
        let serve = async {
            let (octets, from) = hear(&server).await;
            let (what, forgery) = forgeries(&octets).swap_remove(index);
            server.send_to(&forgery, from).await.unwrap();
            what
        };
        let asked = question();
        let (answer, what) = tokio::join!(client.authenticate(&asked), serve);
        assert!(matches!(answer, Err(ClientError::NoAnswer)), "{what}");
    }
}

/// A login as the client writes it.
async fn login_octets() -> Vec<u8> {
    let (server, at) = ear().await;
    let client = client(&[at], 1);
    let asked = question();
    let (_, (octets, _)) = tokio::join!(client.authenticate(&asked), hear(&server));
    octets
}

#[tokio::test]
async fn an_answer_from_another_address_is_none() {
    let (server, at) = ear().await;
    let (stranger, _) = ear().await;
    let client = client(&[at], 1);
    let serve = async {
        let (octets, from) = hear(&server).await;
        let request = Packet::parse(&octets).unwrap();
        stranger
            .send_to(&answer(&request, Code::AccessAccept, SECRET), from)
            .await
            .unwrap();
    };
    let asked = question();
    let (answer, ()) = tokio::join!(client.authenticate(&asked), serve);
    assert!(matches!(answer, Err(ClientError::NoAnswer)));
}

#[tokio::test]
async fn what_is_asked_again_is_the_same_octet_for_octet() {
    let (server, at) = ear().await;
    let client = client(&[at], 3);
    let serve = async {
        let mut copies = Vec::new();
        for _ in 0..3 {
            copies.push(hear(&server).await);
        }
        copies
    };
    let asked = question();
    let (answer, copies) = tokio::join!(client.authenticate(&asked), serve);
    assert!(answer.is_err());
    assert!(
        copies.iter().all(|copy| *copy == copies[0]),
        "socket, identifier, authenticator and all"
    );
}

#[tokio::test]
async fn a_silent_server_gives_way_to_the_next_which_is_asked_first_from_then_on() {
    let (silent, first) = ear().await;
    let (server, second) = ear().await;
    let client = client(&[first, second], 2);
    let report = AccountingRequest::new(AccountingKind::Start, "s1", Timestamp::from_secs(1_800_000_000));
    let now = Timestamp::from_secs(1_800_000_007);
    for round in 0..2 {
        let serve = async {
            let (octets, from) = hear(&server).await;
            let request = Packet::parse(&octets).unwrap();
            assert_eq!(request.u32(attr::ACCT_DELAY_TIME), Some(7), "it waited so long");
            server
                .send_to(&answer(&request, Code::AccountingResponse, SECRET), from)
                .await
                .unwrap();
        };
        let (taken, ()) = tokio::join!(client.account(&report, now), serve);
        taken.unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    let mut heard = 0;
    let mut buffer = [0; 4096];
    while silent.try_recv(&mut buffer).is_ok() {
        heard += 1;
    }
    assert_eq!(heard, 2, "two tries in the first round, none in the second");
}

#[tokio::test]
async fn more_questions_than_identifiers_are_all_answered_each_with_its_own() {
    const QUESTIONS: u32 = 600;
    let (server, at) = ear().await;
    let client = Arc::new(client(&[at], 5));
    let serve = tokio::spawn(async move {
        loop {
            let (octets, from) = hear(&server).await;
            let request = Packet::parse(&octets).unwrap();
            let mut reply = Draft::reply(Code::AccessReject, &request);
            reply.text(attr::REPLY_MESSAGE, &request.text(attr::USER_NAME).unwrap());
            server.send_to(&reply.seal_reply(SECRET).unwrap(), from).await.unwrap();
        }
    });
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..QUESTIONS {
        let client = Arc::clone(&client);
        asking.spawn(async move {
            let name = format!("user {number}");
            let asked = AccessRequest::new(ServiceType::Login, &name, Credential::Pap(b"1".to_vec().into()));
            let reply = client.authenticate(&asked).await.unwrap();
            assert_eq!(reply, AccessReply::Reject { message: Some(name) });
        });
    }
    let mut answered = 0;
    while let Some(done) = asking.join_next().await {
        done.unwrap();
        answered += 1;
    }
    assert_eq!(answered, QUESTIONS);
    serve.abort();
}
