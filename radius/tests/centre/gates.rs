//! Which gate is meant, and what proves it: secrets that change under traffic, gates of one source, IPv6, Proxy-State. Over real
//! sockets.

use std::net::SocketAddr;
use std::time::Duration;

use crate::lab::{Lab, Mood, Paper, SECRET, gate, interim, login, stand};
use kavadam_access::api::{NasEntry, NasProof, OldSecret};
use kavadam_domain::{NasId, Timestamp};
use kavadam_radius::server::{DropReason, RadiusServer, ServerConfig};
use kavadam_radius::wire::{Code, Draft, Packet, attr};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

const NEXT: &[u8] = b"the secret that is to come";

fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Timestamp(i64::try_from(since.as_micros()).unwrap())
}

/// A report of its own for each number.
fn report(number: u32, secret: &[u8]) -> Vec<u8> {
    let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
    draft.u32(attr::ACCT_STATUS_TYPE, 3);
    draft.text(attr::ACCT_SESSION_ID, "s1");
    draft.u32(attr::ACCT_SESSION_TIME, number);
    draft.seal_request(number.to_be_bytes()[3], secret).unwrap()
}

#[tokio::test]
async fn a_secret_is_changed_under_traffic_without_one_request_lost() {
    let lab = Lab::new().await;
    let before = gate(1, "gate-1", SECRET);
    let during = NasEntry {
        proof: NasProof {
            old_secret: Some(OldSecret {
                secret: SECRET.to_vec().into(),
                until: now() + Duration::from_hours(1),
            }),
            ..NasProof::default()
        },
        ..gate(1, "gate-1", NEXT)
    };
    stand(&lab, [before]);
    for number in 0..600 {
        match number {
            // First here, then at the gate, then the old one is over.
            200 => stand(&lab, [during.clone()]),
            400 => stand(&lab, [gate(1, "gate-1", NEXT)]),
            _ => {}
        }
        // Its controllers take over the new secret one after the other.
        let secret = if number < 200 || (number < 400 && number % 3 != 0) {
            SECRET
        } else {
            NEXT
        };
        let asked = report(number, secret);
        let answer = lab.ask(lab.acct, &asked).await.expect("a request was lost");
        let answer = Packet::parse(&answer).unwrap();
        let authenticator = asked[4..20].try_into().unwrap();
        assert_eq!(
            answer.verify_reply(authenticator, secret, true),
            Ok(()),
            "{number}: not signed with the secret that it came with"
        );
    }
    assert_eq!(lab.centre.reports.lock().unwrap().len(), 600);
    assert_eq!(
        lab.ask(lab.acct, &report(601, SECRET)).await,
        None,
        "the old one is over"
    );
    assert_eq!(lab.counts.dropped(DropReason::Unverified), 1);
}

#[tokio::test]
async fn gates_behind_one_address_report_for_themselves_alone() {
    let lab = Lab::new().await;
    stand(&lab, [gate(1, "one", SECRET), gate(2, "two", NEXT)]);
    let from = |name: &str, secret: &[u8], identifier| {
        let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
        draft.u32(attr::ACCT_STATUS_TYPE, 1);
        draft.text(attr::ACCT_SESSION_ID, "s1");
        draft.text(attr::NAS_IDENTIFIER, name);
        draft.seal_request(identifier, secret).unwrap()
    };
    assert!(lab.ask(lab.acct, &from("one", SECRET, 1)).await.is_some());
    assert!(lab.ask(lab.acct, &from("two", NEXT, 2)).await.is_some());
    assert_eq!(lab.ask(lab.acct, &from("two", SECRET, 3)).await, None);
    assert_eq!(lab.ask(lab.acct, &from("one", NEXT, 4)).await, None);
    let reports = lab.centre.reports.lock().unwrap();
    assert_eq!(reports.iter().map(|report| report.nas.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(lab.counts.dropped(DropReason::Unverified), 2);
}

#[tokio::test]
async fn copies_of_gates_behind_one_address_are_counted_as_of_the_gate_that_sent_them() {
    let lab = Lab::new().await;
    stand(&lab, [gate(1, "one", SECRET), gate(2, "two", NEXT)]);
    let slow = Mood::Slow(Duration::from_millis(600));
    lab.centre.moods.lock().unwrap().push_back(slow);
    let asked = report(1, NEXT);
    assert_eq!(lab.ask(lab.acct, &asked).await, None, "it is being worked on");
    assert!(lab.ask(lab.acct, &asked).await.is_some(), "as its copy is told");
    assert!(
        lab.ask(lab.acct, &asked).await.is_some(),
        "and what is answered is said again"
    );
    let mut crowded = Draft::request(Code::AccountingRequest, [0; 16]);
    for _ in 0..33 {
        crowded.octets(attr::PROXY_STATE, &[1]);
    }
    let crowded = crowded.seal_request(2, NEXT).unwrap();
    assert_eq!(lab.ask(lab.acct, &crowded).await, None);
    let [one, two] = [1, 2].map(|id| lab.counts.gate(NasId(id)).figures());
    let dropped = |reason: DropReason| two.dropped.get(reason.word()).copied();
    assert_eq!((dropped(DropReason::InProgress), two.replayed), (Some(1), 1));
    assert_eq!(dropped(DropReason::ProxyState), Some(1));
    assert_eq!((one.dropped.len(), one.replayed), (0, 0));
    let nobody = lab.counts.nobody();
    assert_eq!((nobody.dropped.len(), nobody.replayed), (0, 0));
}

#[tokio::test]
async fn an_exception_is_heard_until_its_date_and_counted_afterwards() {
    let lab = Lab::new().await;
    let exempt = |until| NasEntry {
        proof: NasProof {
            unsigned_until: Some(until),
            ..NasProof::default()
        },
        ..gate(1, "gate-1", SECRET)
    };
    let unsigned = |identifier, is_proxied| {
        let mut draft = Draft::request(Code::AccessRequest, [identifier; 16]);
        draft.without_message_authenticator();
        draft.text(attr::USER_NAME, "9876543210");
        if is_proxied {
            draft.octets(attr::PROXY_STATE, b"chosen");
        }
        draft.seal_request(identifier, SECRET).unwrap()
    };
    stand(&lab, [exempt(now() + Duration::from_hours(1))]);
    let answer = lab.ask(lab.auth, &unsigned(1, false)).await.unwrap();
    assert_eq!(
        answer[20],
        attr::MESSAGE_AUTHENTICATOR,
        "answers are signed all the same"
    );
    assert_eq!(lab.ask(lab.auth, &unsigned(2, true)).await, None);
    stand(&lab, [exempt(now())]);
    assert_eq!(lab.ask(lab.auth, &unsigned(3, false)).await, None);
    let of = |reason| lab.counts.dropped(reason);
    assert_eq!(
        (of(DropReason::UnsignedProxyState), of(DropReason::ExceptionOver)),
        (1, 1)
    );
    assert!(lab.ask(lab.auth, &login(4, [4; 16])).await.is_some());
}

#[tokio::test]
async fn as_much_proxy_state_as_an_answer_holds_comes_back_and_more_is_counted() {
    let lab = Lab::new().await;
    let with = |identifier, count: usize, octets: usize| {
        let mut draft = Draft::request(Code::AccessRequest, [identifier; 16]);
        draft.text(attr::USER_NAME, "9876543210");
        draft.octets(attr::USER_PASSWORD, &[0; 16]);
        for number in 0..count {
            draft.octets(attr::PROXY_STATE, &vec![u8::try_from(number).unwrap(); octets]);
        }
        draft.seal_request(identifier, SECRET).unwrap()
    };
    for (identifier, count, octets) in [(1, 32, 62), (2, 8, 253), (3, 32, 0)] {
        let answer = lab.ask(lab.auth, &with(identifier, count, octets)).await.unwrap();
        let states = Packet::parse(&answer).unwrap().all_octets(attr::PROXY_STATE);
        let order: Vec<_> = states.iter().filter_map(|state| state.first()).collect();
        assert_eq!(states.len(), count);
        assert!(order.is_sorted() && states.iter().all(|state| state.len() == octets));
    }
    for (identifier, count, octets) in [(4, 33, 1), (5, 32, 63), (6, 15, 253)] {
        assert_eq!(lab.ask(lab.auth, &with(identifier, count, octets)).await, None);
    }
    assert_eq!(lab.counts.dropped(DropReason::ProxyState), 3);
}

#[tokio::test]
async fn status_server_is_answered_on_both_ports_with_message_authenticator_only() {
    let lab = Lab::new().await;
    for (to, code) in [(lab.auth, 2), (lab.acct, 5)] {
        let status = |identifier, is_signed: bool| {
            let mut draft = Draft::request(Code::StatusServer, [identifier; 16]);
            if !is_signed {
                draft.without_message_authenticator();
            }
            draft.seal_request(identifier, SECRET).unwrap()
        };
        assert_eq!(lab.ask(to, &status(1, true)).await.unwrap()[0], code);
        assert_eq!(lab.ask(to, &status(2, false)).await, None);
    }
    assert_eq!(lab.counts.dropped(DropReason::Unsigned), 2);
}

#[tokio::test]
async fn octets_behind_a_packet_are_padding_and_attributes_that_do_not_fit_are_counted() {
    let lab = Lab::new().await;
    let mut padded = interim(1, 100);
    padded.extend_from_slice(&[0xff; 40]);
    assert!(lab.ask(lab.acct, &padded).await.is_some());
    for (identifier, tail) in [[1_u8, 0], [1, 1], [1, 9]].into_iter().enumerate() {
        let mut broken = interim(u8::try_from(identifier + 2).unwrap(), 100);
        broken.extend_from_slice(&tail);
        let length = u16::try_from(broken.len()).unwrap();
        broken[2..4].copy_from_slice(&length.to_be_bytes());
        assert_eq!(lab.ask(lab.acct, &broken).await, None);
    }
    assert_eq!(lab.counts.dropped(DropReason::Attributes), 3);
}

#[tokio::test]
async fn attributes_nobody_knows_are_kept_and_never_fatal() {
    let lab = Lab::new().await;
    let mut draft = Draft::request(Code::AccessRequest, [1; 16]);
    draft.text(attr::USER_NAME, "9876543210");
    draft.octets(attr::USER_PASSWORD, &[0; 16]);
    for kind in (90..=255).filter(|kind| ![attr::CHARGEABLE_USER_IDENTITY, 97, 168].contains(kind)) {
        draft.octets(kind, &[kind; 9]);
    }
    draft.octets(attr::VENDOR_SPECIFIC, &[1, 2]);
    let packet = draft.seal_request(1, SECRET).unwrap();
    assert_eq!(Packet::parse(&packet).unwrap().octets(199), Some(vec![199; 9]));
    assert!(lab.ask(lab.auth, &packet).await.is_some());
}

#[tokio::test]
async fn at_each_of_its_addresses_a_gate_is_answered_from_the_one_that_it_asked() {
    let centre = Paper::default();
    *centre.gates.lock().unwrap() = Some(gate(1, "gate-1", SECRET).into());
    let any = "127.0.0.1:0".parse().unwrap();
    let server = RadiusServer::bind(ServerConfig { auth: any, acct: any }, centre.clone()).unwrap();
    let first = server.auth_addr().unwrap();
    let others = ["127.0.0.2", "::1"].map(|ip| SocketAddr::new(ip.parse().unwrap(), first.port()));
    let reports = server.acct_addr().unwrap();
    let other_reports = SocketAddr::new(others[0].ip(), reports.port());
    let server = server.also_at(&others, &[other_reports]).unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    let ask = async |from: &str, to: SocketAddr, packet: Vec<u8>| {
        let socket = UdpSocket::bind((from, 0)).await.unwrap();
        socket.send_to(&packet, to).await.unwrap();
        let mut buffer = [0; 4096];
        let heard = tokio::time::timeout(Duration::from_secs(2), socket.recv_from(&mut buffer)).await;
        let (_, by) = heard.expect("no answer").unwrap();
        assert_eq!(by, to);
    };
    for to in [first, others[0]] {
        ask("127.0.0.3", to, login(1, [1; 16])).await;
    }
    ask("::1", others[1], login(1, [1; 16])).await;
    for (number, to) in [(1, reports), (2, other_reports)] {
        ask("127.0.0.3", to, report(number, SECRET)).await;
    }
    assert_eq!(centre.reports.lock().unwrap().len(), 2);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_whose_requests_hang_keeps_no_other_from_its_answer() {
    let lab = Lab::new().await;
    stand(&lab, [gate(1, "gate-1", SECRET), gate(2, "gate-2", NEXT)]);
    let slow = Mood::Slow(Duration::from_secs(20));
    lab.centre.moods.lock().unwrap().extend(std::iter::repeat_n(slow, 1024));
    let mut sent = 0;
    for socket in 0..20_u32 {
        let controller = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for number in 0..256 {
            let request = report(socket << 8 | number, SECRET);
            controller.send_to(&request, lab.acct).await.unwrap();
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let dropped = async {
        while lab.counts.dropped(DropReason::Busy) < sent - 1024 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), dropped)
        .await
        .expect("each beyond its share is dropped");
    let busy = lab.counts.gate(NasId(1)).figures().dropped;
    assert_eq!(
        busy.get(DropReason::Busy.word()),
        Some(&(sent - 1024)),
        "and is counted as its own"
    );
    assert!(lab.ask(lab.acct, &report(1, NEXT)).await.is_some());
}
