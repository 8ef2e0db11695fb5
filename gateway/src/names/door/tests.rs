//! The door on loopback, before a resolver that answers what it is told to.

use std::net::Ipv4Addr;

use simple_dns::rdata::{A, RData, TXT};
use simple_dns::{CLASS, Name, Packet, Question, RCODE, ResourceRecord, TYPE};

use super::*;
use kavadam_firewall::FirewallError;

const HELP: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 30));

/// Remembers what was opened, and for how long.
#[derive(Clone, Default)]
struct Opened(Arc<Mutex<Vec<(IpAddr, Duration)>>>);

impl Gardening for Opened {
    fn admit_garden(&self, address: IpAddr, stay: Duration) -> Result<(), FirewallError> {
        self.0.lock().unwrap().push((address, stay));
        Ok(())
    }
}

fn asked(name: &str, kind: TYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(7);
    let question = Question::new(Name::new_unchecked(name), kind.into(), CLASS::IN.into(), false);
    packet.questions.push(question);
    packet.build_bytes_vec().unwrap()
}

/// [`HELP`], and an address of the LAN, which nobody may open; with so much beside it.
fn answered(question: &[u8], padding: usize) -> Vec<u8> {
    let mut packet = Packet::parse(question).unwrap().into_reply();
    let name = packet.questions[0].qname.clone();
    let record = |rdata| ResourceRecord::new(name.clone(), CLASS::IN, 60, rdata);
    for address in [Ipv4Addr::new(203, 0, 113, 30), Ipv4Addr::new(127, 0, 0, 9)] {
        packet.answers.push(record(RData::A(A {
            address: address.into(),
        })));
    }
    let text = "x".repeat(200);
    for _ in 0..padding / 200 {
        packet
            .answers
            .push(record(RData::TXT(TXT::new().with_string(&text).unwrap())));
    }
    packet.build_bytes_vec().unwrap()
}

/// A door whose resolver's answers have so much padding, the port it is at, and what it opened.
async fn door(padding: usize) -> (SocketAddr, Opened) {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(resolver).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            udp.send_to(&answered(&buffer[..length], padding), from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let question = read_framed(&mut stream, 512).await.unwrap();
            write_framed(&mut stream, &answered(&question, padding)).await.unwrap();
        }
    });
    let mut garden = Garden::default();
    garden.add("*.example.org").unwrap();
    let opened = Opened::default();
    let lan4 = "127.0.0.1/8".parse().unwrap();
    // The kernel gives a free port to whoever asks for none; the door must have the same for both protocols.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let door = NameDoor::bind(opened.clone(), garden, Devices::default(), (lan4, None), port, resolver).unwrap();
    tokio::spawn(door.run(CancellationToken::new()));
    (SocketAddr::new(lan4.addr().into(), port), opened)
}

async fn over_udp(door: SocketAddr, question: &[u8]) -> Vec<u8> {
    ask(door, question).await.unwrap()
}

async fn over_tcp(door: SocketAddr, question: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(door).await.unwrap();
    write_framed(&mut stream, question).await.unwrap();
    read_framed(&mut stream, 65_535).await.unwrap()
}

fn rcode(answer: &[u8]) -> RCODE {
    Packet::parse(answer).unwrap().rcode()
}

#[tokio::test]
async fn a_gardens_addresses_are_open_when_the_answer_arrives_over_either_protocol() {
    let question = asked("help.example.org", TYPE::A);
    let (at, opened) = door(0).await;
    let answer = over_udp(at, &question).await;
    assert_eq!(
        opened.0.lock().unwrap().as_slice(),
        [(HELP, STAY_AT_LEAST)],
        "and the LAN's own is not"
    );
    assert_eq!(answer, answered(&question, 0));
    let (at, opened) = door(0).await;
    assert_eq!(over_tcp(at, &question).await, answer);
    assert_eq!(opened.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn other_names_are_answered_and_open_nothing() {
    let (at, opened) = door(0).await;
    let question = asked("www.example.net", TYPE::A);
    assert_eq!(over_udp(at, &question).await, answered(&question, 0));
    assert!(opened.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_tunnel_asks_is_refused_over_either_protocol() {
    let (at, _) = door(0).await;
    let question = asked("t.example.net", TYPE::TXT);
    assert_eq!(rcode(&over_udp(at, &question).await), RCODE::Refused);
    assert_eq!(rcode(&over_tcp(at, &question).await), RCODE::Refused);
}

#[tokio::test]
async fn one_name_asked_again_and_again_carries_no_more_than_its_share() {
    let (at, _) = door(2000).await;
    let question = asked("www.example.net", TYPE::A);
    let mut carried = 0;
    for _ in 0..100 {
        let answer = over_udp(at, &question).await;
        if rcode(&answer) == RCODE::NoError {
            carried += answer.len();
        }
    }
    assert!((12_000..=18_000).contains(&carried), "{carried} octets");
    let help = over_udp(at, &asked("help.example.org", TYPE::A)).await;
    assert_eq!(rcode(&help), RCODE::NoError, "a garden is open all the same");
}
