//! The generator against a small server that checks everything and may misbehave.

use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::Parser;
use hmac::{Hmac, Mac as _};
use md5::{Digest as _, Md5};
use serde_json::Value;

use super::work::{self, Load};

const SECRET: &[u8] = b"a-secret-of-the-test";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Sound,
    /// Hears only the second copy of each request.
    Deaf,
    Silent,
    /// Answers with another secret.
    Forging,
    Refusing,
}

/// What it heard.
#[derive(Default)]
struct Heard {
    /// By the packet's octets, with the port each came from.
    copies: HashMap<(SocketAddr, Vec<u8>), u32>,
    sources: HashSet<std::net::IpAddr>,
    statuses: HashMap<u8, u32>,
    /// Acct-Session-Id by the Class it was given.
    classes: HashMap<Vec<u8>, Vec<u8>>,
}

struct Server {
    ports: [u16; 2],
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Heard>>,
}

impl Server {
    fn start(manner: Manner) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sockets = [0; 2].map(|port| UdpSocket::bind(("127.0.0.1", port)).unwrap());
        let ports = sockets.each_ref().map(|socket| socket.local_addr().unwrap().port());
        let serve = |socket: UdpSocket| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || serve(&socket, manner, &stop))
        };
        let threads = sockets.map(serve).into();
        Self { ports, stop, threads }
    }

    /// Logins and reports.
    fn end(self) -> [Heard; 2] {
        self.stop.store(true, Ordering::Relaxed);
        let heard: Vec<Heard> = self.threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        heard.try_into().ok().unwrap()
    }
}

fn serve(socket: &UdpSocket, manner: Manner, stop: &AtomicBool) -> Heard {
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut heard = Heard::default();
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let packet = buffer[..length].to_vec();
        verify(&packet);
        let copies = heard.copies.entry((from, packet.clone())).or_default();
        *copies += 1;
        let is_first = *copies == 1;
        heard.sources.insert(from.ip());
        let session = attribute(&packet, 44).unwrap();
        if packet[0] == 4 && is_first {
            *heard.statuses.entry(attribute(&packet, 40).unwrap()[3]).or_default() += 1;
            if let Some(class) = attribute(&packet, 25) {
                let given = heard.classes.entry(class).or_insert_with(|| session.clone());
                assert_eq!(*given, session, "a Class belongs to one session");
            }
        }
        if manner == Manner::Silent || manner == Manner::Deaf && is_first {
            continue;
        }
        socket.send_to(&reply(&packet, &session, manner), from).unwrap();
    }
    heard
}

fn reply(packet: &[u8], session: &[u8], manner: Manner) -> Vec<u8> {
    let code = match (packet[0], manner) {
        (1, Manner::Refusing) => 3,
        (1, _) => 2,
        _ => 5,
    };
    let mut reply = vec![code, packet[1], 0, 0];
    reply.extend(&packet[4..20]);
    if code == 2 {
        reply.extend([25, u8::try_from(session.len() + 2).unwrap()]);
        reply.extend(session);
    }
    reply[3] = u8::try_from(reply.len()).unwrap();
    let secret = if manner == Manner::Forging { b"another" } else { SECRET };
    let digest = Md5::new().chain_update(&reply).chain_update(secret).finalize();
    reply[4..20].copy_from_slice(&digest);
    reply
}

/// As RFC 2866 §3 and RFC 3579 §3.2 ask.
fn verify(packet: &[u8]) {
    assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
    let mut zeroed = packet.to_vec();
    if packet[0] == 4 {
        zeroed[4..20].fill(0);
        let digest = Md5::new().chain_update(&zeroed).chain_update(SECRET).finalize();
        assert_eq!(digest.as_slice(), &packet[4..20]);
    } else {
        assert_eq!(packet[20], 80, "Message-Authenticator comes first");
        zeroed[22..38].fill(0);
        let mut keyed = Hmac::<Md5>::new_from_slice(SECRET).unwrap();
        keyed.update(&zeroed);
        keyed.verify_slice(&packet[22..38]).unwrap();
        let name = attribute(packet, 1).unwrap();
        assert_eq!(revealed(packet), name, "the password of a device is its name");
    }
}

fn revealed(packet: &[u8]) -> Vec<u8> {
    let mut last = packet[4..20].to_vec();
    let mut shown = Vec::new();
    for block in attribute(packet, 2).unwrap().chunks(16) {
        let pad = Md5::new().chain_update(SECRET).chain_update(&last).finalize();
        shown.extend(block.iter().zip(pad).map(|(octet, pad)| octet ^ pad));
        last = block.to_vec();
    }
    shown.into_iter().take_while(|octet| *octet != 0).collect()
}

fn attribute(packet: &[u8], wanted: u8) -> Option<Vec<u8>> {
    let mut rest = &packet[20..];
    while let [kind, length, ..] = *rest {
        let value = &rest[2..usize::from(length)];
        if kind == wanted {
            return Some(value.to_vec());
        }
        rest = &rest[usize::from(length)..];
    }
    None
}

#[derive(Parser)]
struct Words {
    #[command(flatten)]
    load: Load,
}

fn run(server: &Server, dir: &Path, words: &str) -> Value {
    let secret = dir.join("secret");
    std::fs::write(&secret, [SECRET, b"\n"].concat()).unwrap();
    let [auth, acct] = server.ports;
    let all = format!(
        "load --secret-file {} --auth-port {auth} --acct-port {acct} --first-gate 127.1.0.1 --gates 4 --warm-up 0 --retry-ms 100 {words}",
        secret.display()
    );
    let words = Words::try_parse_from(all.split_whitespace()).unwrap();
    work::run(&words.load).unwrap()
}

fn once(manner: Manner, words: &str) -> (Value, [Heard; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(manner);
    let told = run(&server, dir.path(), words);
    (told, server.end())
}

#[test]
fn a_mix_is_answered_and_has_the_parts_it_promises() {
    let words = "--scenario mix --devices 41 --rate 700 --seconds 1 --threads 2";
    let (told, [logins, reports]) = once(Manner::Sound, words);
    assert_eq!(told["answered"], told["due"]);
    assert_eq!((&told["lost"], &told["bad_answers"]), (&0.into(), &0.into()));
    let (starts, stops, interims) = (reports.statuses[&1], reports.statuses[&2], reports.statuses[&3]);
    assert!(
        starts.abs_diff(stops) <= 41 && interims.abs_diff(4 * stops) <= 3 * 41,
        "{starts} {stops} {interims}"
    );
    assert_eq!(logins.sources.len(), 4, "each gate has an address of its own");
    assert!(
        reports.classes.len() > 50,
        "the Class of the Accept goes into every report"
    );
}

#[test]
fn what_is_lost_once_is_asked_again_octet_by_octet() {
    let (told, heard) = once(Manner::Deaf, "--scenario mix --devices 40 --rate 200 --seconds 0.5");
    assert_eq!((&told["lost"], &told["asked_again"]), (&0.into(), &told["due"]));
    assert!(
        told["latency"]["p50_us"].as_u64() >= Some(100_000),
        "it counts from the first time"
    );
    for heard in heard {
        assert!(heard.copies.values().all(|copies| *copies == 2));
    }
}

#[test]
fn silence_is_told_as_loss() {
    let words = "--scenario acct --devices 40 --rate 100 --seconds 0.3 --tries 2";
    let (told, _) = once(Manner::Silent, words);
    assert_eq!((&told["lost"], &told["answered"]), (&told["due"], &0.into()));
    assert_eq!(told["due"], 30);
}

#[test]
fn what_a_slow_server_left_no_room_to_send_is_told() {
    // Ten devices, each waiting 200 ms for nothing: 50 requests a second can be sent.
    let words = "--scenario acct --devices 10 --rate 1000 --seconds 1 --tries 2";
    let (told, _) = once(Manner::Silent, words);
    let (due, unsent) = (told["due"].as_u64().unwrap(), told["unsent"].as_u64().unwrap());
    assert!(due + unsent == 1000 && unsent > 800, "{due} {unsent}");
}

#[test]
fn an_answer_under_another_secret_is_none() {
    let words = "--scenario auth --devices 40 --rate 100 --seconds 0.3 --tries 1 --check 1";
    let (told, _) = once(Manner::Forging, words);
    assert_eq!((&told["bad_answers"], &told["answered"]), (&told["due"], &0.into()));
}

#[test]
fn of_a_fresh_population_nobody_reports_before_the_login() {
    let words =
        "--fresh --user-name user{number} --password user{number} --scenario mix --devices 20 --rate 200 --seconds 0.5";
    let (told, [logins, reports]) = once(Manner::Sound, words);
    assert_eq!((&told["answered"], logins.copies.len()), (&told["due"], 20));
    assert_eq!(reports.statuses[&1], 20);
    let names: HashSet<_> = logins.copies.keys().map(|(_, packet)| attribute(packet, 1)).collect();
    assert!(names.contains(&Some(b"user19".to_vec())));
}

#[test]
fn a_refusal_is_neither_loss_nor_success() {
    let (told, _) = once(
        Manner::Refusing,
        "--scenario auth --devices 40 --rate 100 --seconds 0.3",
    );
    assert_eq!(
        (&told["rejected"], &told["answered"], &told["lost"]),
        (&told["due"], &0.into(), &0.into())
    );
}

#[test]
fn a_storm_ends_when_everybody_is_back() {
    let (told, [logins, reports]) = once(Manner::Sound, "--scenario storm --devices 300 --rate 3000 --seconds 30");
    assert_eq!(told["answered"], 600);
    assert_eq!((logins.copies.len(), reports.statuses[&1]), (300, 300));
    assert!(told["seconds"].as_f64() < Some(5.0));
}

#[test]
fn the_next_run_goes_on_where_the_last_one_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Manner::Sound);
    let words = format!(
        "--scenario mix --devices 40 --in-flight 8 --seconds 0.2 --state {}/state",
        dir.path().display()
    );
    let told = [0; 2].map(|_| run(&server, dir.path(), &words));
    let [logins, _] = server.end();
    let sessions: HashSet<_> = logins.copies.keys().map(|(_, packet)| attribute(packet, 44)).collect();
    assert_eq!(sessions.len(), logins.copies.len(), "no Acct-Session-Id is given twice");
    assert!(told.iter().all(|told| told["answered"].as_u64() > Some(40)));
}
