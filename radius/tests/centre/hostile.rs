//! What a server must bear: broken, forged, copied and flooding datagrams, and a centre that fails. Over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::lab::{Lab, Mood, SECRET, gate, interim, login, stand};
use kavadam_access::api::{AccountingKind, Proof, Service};
use kavadam_radius::server::DropReason;
use kavadam_radius::wire::{Code, Draft, Packet, attr, chap_response};
use tokio::net::UdpSocket;

#[tokio::test]
async fn broken_datagrams_of_every_length_get_silence_and_are_counted() {
    let lab = Lab::new().await;
    let whole = login(1, [1; 16]);
    let mut sent = 0;
    for length in 0..whole.len() {
        lab.gate.send_to(&whole[..length], lab.auth).await.unwrap();
        sent += 1;
    }
    for claimed in [0_u16, 19, 4097, u16::MAX] {
        let mut lying = whole.clone();
        lying[2..4].copy_from_slice(&claimed.to_be_bytes());
        lab.gate.send_to(&lying, lab.auth).await.unwrap();
        sent += 1;
    }
    for code in (0..=255).filter(|code| ![1, 12].contains(code)) {
        let mut other = whole.clone();
        other[0] = code;
        lab.gate.send_to(&other, lab.auth).await.unwrap();
        sent += 1;
    }
    assert_eq!(lab.hear(Duration::from_millis(500)).await, None, "not a word");
    let dropped = DropReason::ALL.map(|reason| lab.counts.dropped(reason));
    assert_eq!(dropped.iter().sum::<u64>(), sent);
    let of = |reason| lab.counts.dropped(reason);
    assert_eq!(of(DropReason::Truncated), u64::try_from(whole.len()).unwrap());
    assert_eq!(of(DropReason::Length), 4);
    assert_eq!((of(DropReason::WrongPort), of(DropReason::UnknownCode)), (11, 243));
    assert_eq!(lab.centre.calls.load(Ordering::SeqCst), 0, "nobody was bothered");
    assert!(lab.is_alive().await);
}

#[tokio::test]
async fn no_octet_of_a_request_can_be_changed_on_its_way() {
    let lab = Lab::new().await;
    let whole = login(1, [1; 16]);
    // The identifier (octet 1) is covered too.
    for at in 0..whole.len() {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        lab.gate.send_to(&bent, lab.auth).await.unwrap();
    }
    assert_eq!(lab.hear(Duration::from_millis(500)).await, None);
    assert_eq!(lab.centre.calls.load(Ordering::SeqCst), 0);
    assert!(lab.ask(lab.auth, &whole).await.is_some(), "the true one is answered");
}

#[tokio::test]
async fn a_request_without_message_authenticator_or_with_another_secret_gets_silence() {
    let lab = Lab::new().await;
    let mut unsigned = Draft::request(Code::AccessRequest, [1; 16]);
    unsigned.without_message_authenticator();
    unsigned.text(attr::USER_NAME, "9876543210");
    let unsigned = unsigned.seal_request(1, SECRET).unwrap();
    assert_eq!(lab.ask(lab.auth, &unsigned).await, None);
    let foreign = Draft::request(Code::StatusServer, [1; 16])
        .seal_request(1, b"another secret of length")
        .unwrap();
    assert_eq!(lab.ask(lab.auth, &foreign).await, None);
    assert_eq!(lab.counts.dropped(DropReason::Unsigned), 1);
    assert_eq!(lab.counts.dropped(DropReason::Unverified), 1);
}

#[tokio::test]
async fn message_authenticator_comes_first_in_every_answer() {
    let lab = Lab::new().await;
    let answer = lab.ask(lab.auth, &login(1, [1; 16])).await.unwrap();
    assert_eq!(answer[20..22], [attr::MESSAGE_AUTHENTICATOR, 18]);
    let answer = Packet::parse(&answer).unwrap();
    assert_eq!(answer.verify_reply(&[1; 16], SECRET, true), Ok(()));
    assert_eq!(answer.code(), Code::AccessReject);
    assert!(answer.has(attr::REPLY_MESSAGE), "a refusal says why");
}

#[tokio::test]
async fn proxy_states_come_back_all_of_them_in_their_order() {
    let lab = Lab::new().await;
    let mut draft = Draft::request(Code::StatusServer, [1; 16]);
    for state in [b"first".as_slice(), b"", b"second", b"first"] {
        draft.octets(attr::PROXY_STATE, state);
    }
    let answer = lab
        .ask(lab.auth, &draft.seal_request(1, SECRET).unwrap())
        .await
        .unwrap();
    let states = Packet::parse(&answer).unwrap().all_octets(attr::PROXY_STATE);
    assert_eq!(states, [b"first".as_slice(), b"", b"second", b"first"]);
}

#[tokio::test]
async fn chap_without_a_challenge_is_against_the_request_authenticator() {
    let lab = Lab::new().await;
    let mut draft = Draft::request(Code::AccessRequest, [5; 16]);
    draft.text(attr::USER_NAME, "9876543210");
    let response = chap_response(7, b"123456", &[5; 16]);
    draft.octets(attr::CHAP_PASSWORD, &[&[7], response.as_slice()].concat());
    assert!(
        lab.ask(lab.auth, &draft.seal_request(1, SECRET).unwrap())
            .await
            .is_some()
    );
    let asked = lab.centre.asked.lock().unwrap();
    let Service::Login(Proof::Chap {
        ident,
        challenge,
        response: found,
    }) = &asked[0].service
    else {
        panic!("no CHAP login")
    };
    assert_eq!(
        (*ident, challenge.as_slice(), *found),
        (7, [5; 16].as_slice(), response)
    );
}

#[tokio::test]
async fn a_long_password_is_revealed_whole() {
    let lab = Lab::new().await;
    let password = [b'x'; 40];
    let mut draft = Draft::request(Code::AccessRequest, [5; 16]);
    draft.text(attr::USER_NAME, "u");
    draft.octets(
        attr::USER_PASSWORD,
        &kavadam_radius::wire::hide_password(&password, &[5; 16], SECRET),
    );
    assert!(
        lab.ask(lab.auth, &draft.seal_request(1, SECRET).unwrap())
            .await
            .is_some()
    );
    let asked = lab.centre.asked.lock().unwrap();
    let Service::Login(Proof::Pap(found)) = &asked[0].service else {
        panic!("no PAP login")
    };
    assert_eq!(found.as_slice(), password);
}

#[tokio::test]
async fn gigawords_and_every_kind_of_report_arrive() {
    let lab = Lab::new().await;
    for (identifier, kind) in [1_u32, 3, 2, 7, 8].into_iter().enumerate() {
        let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
        draft.u32(attr::ACCT_STATUS_TYPE, kind);
        draft.text(attr::ACCT_SESSION_ID, "s1");
        draft.u32(attr::ACCT_OUTPUT_OCTETS, 5);
        draft.u32(attr::ACCT_OUTPUT_GIGAWORDS, 2);
        let packet = draft.seal_request(u8::try_from(identifier).unwrap(), SECRET).unwrap();
        let answer = lab.ask(lab.acct, &packet).await.unwrap();
        assert_eq!(answer[0], 5, "Accounting-Response");
    }
    let reports = lab.centre.reports.lock().unwrap();
    let kinds: Vec<_> = reports.iter().map(|report| report.kind).collect();
    assert!(matches!(
        kinds.as_slice(),
        [
            AccountingKind::Start,
            AccountingKind::Interim,
            AccountingKind::Stop(_),
            AccountingKind::On,
            AccountingKind::Off
        ]
    ));
    assert_eq!(reports[1].counters.down_octets, (2 << 32) + 5);
}

/// RFC 2866 §4.1: what is recorded is answered. A gate that is not answered sends it for ever, and takes the server for dead.
#[tokio::test]
async fn a_report_of_another_kind_or_of_no_session_is_kept_as_such_and_acknowledged() {
    let lab = Lab::new().await;
    let report = |identifier: u8, kind: Option<u32>, session: &str| {
        let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
        if let Some(kind) = kind {
            draft.u32(attr::ACCT_STATUS_TYPE, kind);
        }
        if !session.is_empty() {
            draft.text(attr::ACCT_SESSION_ID, session);
        }
        draft.u32(attr::ACCT_OUTPUT_OCTETS, 5);
        draft.seal_request(identifier, SECRET).unwrap()
    };
    // Tunnel-Start to Tunnel-Link-Reject, Failed, one that no RFC has, none; then of no session.
    let others = [Some(9), Some(10), Some(14), Some(15), Some(77), None];
    let nameless = [Some(1), Some(2), Some(3)];
    let sent = others.into_iter().map(|kind| (kind, "s1"));
    let sent: Vec<_> = sent.chain(nameless.map(|kind| (kind, ""))).collect();
    for (identifier, (kind, session)) in (0..).zip(&sent) {
        let answer = lab.ask(lab.acct, &report(identifier, *kind, session)).await;
        assert_eq!(answer.expect("silence")[0], 5, "{kind:?} of {session:?}");
    }
    let reports = lab.centre.reports.lock().unwrap();
    let kinds: Vec<_> = reports.iter().map(|report| report.kind).collect();
    let expected = sent.iter().map(|(kind, _)| AccountingKind::Other(kind.unwrap_or(0)));
    assert_eq!(kinds, expected.collect::<Vec<_>>(), "none is charged to a session");
}

#[tokio::test]
async fn a_report_whose_figures_cannot_be_read_is_not_acknowledged() {
    let lab = Lab::new().await;
    for (identifier, attribute) in (0..).zip([attr::ACCT_STATUS_TYPE, attr::ACCT_OUTPUT_OCTETS]) {
        let mut packet = Draft::request(Code::AccountingRequest, [0; 16]);
        packet.text(attr::ACCT_SESSION_ID, "s1");
        packet.octets(attribute, &[0; 8]);
        let packet = packet.seal_request(identifier, SECRET).unwrap();
        assert_eq!(lab.ask(lab.acct, &packet).await, None);
    }
    assert_eq!(lab.counts.dropped(DropReason::Unusable), 2);
    assert!(lab.centre.reports.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_copy_gets_the_same_octets_and_is_worked_on_once() {
    let lab = Lab::new().await;
    for (to, packet) in [(lab.auth, login(1, [1; 16])), (lab.acct, interim(1, 100))] {
        let before = lab.centre.calls.load(Ordering::SeqCst);
        let first = lab.ask(to, &packet).await.unwrap();
        for _ in 0..3 {
            assert_eq!(lab.ask(to, &packet).await.unwrap(), first);
        }
        assert_eq!(lab.centre.calls.load(Ordering::SeqCst), before + 1);
    }
    assert_eq!(lab.counts.replayed(), 6);
}

#[tokio::test]
async fn another_request_under_the_same_identifier_is_no_copy() {
    let lab = Lab::new().await;
    lab.ask(lab.auth, &login(1, [1; 16])).await.unwrap();
    lab.ask(lab.auth, &login(1, [2; 16])).await.unwrap();
    assert_eq!(lab.centre.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_copy_of_what_is_being_worked_on_is_absorbed() {
    let lab = Lab::new().await;
    lab.centre
        .moods
        .lock()
        .unwrap()
        .push_back(Mood::Slow(Duration::from_millis(300)));
    let packet = interim(1, 100);
    lab.gate.send_to(&packet, lab.acct).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    lab.gate.send_to(&packet, lab.acct).await.unwrap();
    assert!(lab.hear(Duration::from_secs(2)).await.is_some());
    assert_eq!(lab.hear(Duration::from_millis(500)).await, None, "one answer");
    assert_eq!(lab.centre.calls.load(Ordering::SeqCst), 1);
    assert_eq!(lab.counts.dropped(DropReason::InProgress), 1);
}

#[tokio::test]
async fn a_centre_out_of_order_is_silent_and_the_same_packet_succeeds_later() {
    let lab = Lab::new().await;
    for mood in [Mood::Fails, Mood::Panics] {
        lab.centre.moods.lock().unwrap().push_back(mood);
        let packet = interim(if mood == Mood::Fails { 1 } else { 2 }, 100);
        assert_eq!(
            lab.ask(lab.acct, &packet).await,
            None,
            "nothing was kept, so nothing is acknowledged"
        );
        assert!(lab.ask(lab.acct, &packet).await.is_some(), "its next copy is worked on");
    }
    assert_eq!(lab.centre.reports.lock().unwrap().len(), 2);
}

/// From a gate's own address, so that nobody is turned away unread; and never so much that the socket's buffer would lose what others send.
fn flood(lab: &Lab, is_over: &Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    const WAITING: u64 = 200;
    let rubbish = [vec![0xff; 200], {
        let mut forged = login(1, [1; 16]);
        forged[30] ^= 1;
        forged
    }];
    let (to, counts, is_over) = (lab.auth, Arc::clone(&lab.counts), Arc::clone(is_over));
    std::thread::spawn(move || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sent = 0;
        while !is_over.load(Ordering::Relaxed) {
            let dropped = counts.dropped(DropReason::Length) + counts.dropped(DropReason::Unverified);
            if sent - dropped >= WAITING {
                std::thread::yield_now();
                continue;
            }
            for datagram in &rubbish {
                socket.send_to(datagram, to).unwrap();
                sent += 1;
            }
        }
        sent
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_rubbish_floods_in_from_one_gates_address_another_gate_is_answered() {
    const OTHER: &[u8] = b"the secret of another gate";
    let lab = Lab::new().await;
    stand(&lab, [gate(1, "gate-1", SECRET), gate(2, "gate-2", OTHER)]);
    let is_over = Arc::new(AtomicBool::new(false));
    let flooding = flood(&lab, &is_over);
    let other = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let dropped = || lab.counts.dropped(DropReason::Unverified);
    for identifier in 0..20 {
        let before = dropped();
        while dropped() == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let question = Draft::request(Code::StatusServer, [identifier; 16]).seal_request(identifier, OTHER);
        other.send_to(&question.unwrap(), lab.auth).await.unwrap();
        let mut buffer = [0; 4096];
        let heard = tokio::time::timeout(Duration::from_secs(5), other.recv(&mut buffer)).await;
        heard.expect("nobody answers during the flood").unwrap();
        assert_eq!(buffer[..2], [Code::AccessAccept.octet(), identifier]);
    }
    let before = dropped();
    while dropped() == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    assert!(flooding.join().unwrap() > 20, "it flooded to the end");
    assert_eq!(lab.centre.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_was_begun_is_finished_before_the_server_stops() {
    let mut lab = Lab::new().await;
    lab.centre
        .moods
        .lock()
        .unwrap()
        .push_back(Mood::Slow(Duration::from_millis(300)));
    lab.gate.send_to(&interim(1, 100), lab.acct).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    lab.stop.cancel();
    assert!(
        lab.hear(Duration::from_secs(2)).await.is_some(),
        "answered all the same"
    );
    (&mut lab.running).await.unwrap();
    assert_eq!(lab.centre.reports.lock().unwrap().len(), 1);
}
