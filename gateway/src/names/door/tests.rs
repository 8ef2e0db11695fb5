//! The doors on loopback, before a resolver that answers what it is told to.

use std::net::Ipv4Addr;
use std::sync::Mutex;

use simple_dns::rdata::{A, RData, TXT};
use simple_dns::{CLASS, Name, Packet, Question, RCODE, ResourceRecord, TYPE};

use super::*;
use crate::config::BlockedConfig;
use crate::names::answer::STAY_AT_LEAST;
use crate::names::opened::MOST_OF_AN_ANSWER;
use crate::names::{Blocklist, Garden};
use crate::testing::sample_config;
use kavadam_domain::{FilterName, Mac};
use kavadam_firewall::{FirewallError, Opening};

const HELP: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 30));

/// Remembers what was opened, and for how long; and whether those online are led here.
#[derive(Clone, Default)]
struct Opened {
    addresses: Arc<Mutex<Vec<(Opening, IpAddr, Duration)>>>,
    is_kept: Arc<Mutex<Option<bool>>>,
    filter: Arc<Mutex<Option<FilterName>>>,
}

impl Naming for Opened {
    fn open_name(&self, open: Opening, address: IpAddr, stay: Duration) -> Result<(), FirewallError> {
        self.addresses.lock().unwrap().push((open, address, stay));
        Ok(())
    }
    fn keep_names(&self, stay: Option<Duration>) -> Result<(), FirewallError> {
        *self.is_kept.lock().unwrap() = Some(stay.is_some());
        Ok(())
    }
    fn filter_of(&self, _: Mac) -> Option<FilterName> {
        *self.filter.lock().unwrap()
    }
}

impl Opened {
    fn addresses(&self) -> Vec<(Opening, IpAddr, Duration)> {
        self.addresses.lock().unwrap().clone()
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
    if question.windows(4).any(|some| some == b"many") {
        let many = (1..=40).map(|last| Ipv4Addr::new(203, 0, 113, 100 + last));
        packet.answers.extend(many.map(|address| {
            record(RData::A(A {
                address: address.into(),
            }))
        }));
    }
    let text = "x".repeat(200);
    for _ in 0..padding / 200 {
        packet
            .answers
            .push(record(RData::TXT(TXT::new().with_string(&text).unwrap())));
    }
    packet.build_bytes_vec().unwrap()
}

/// Doors whose resolver's answers have so much padding.
struct Doors {
    strangers: SocketAddr,
    citizens: SocketAddr,
    opened: Opened,
    devices: Devices,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    _files: tempfile::TempDir,
}

/// The kernel gives a free port to whoever asks for none; a door must have the same for both protocols.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

async fn doors(padding: usize) -> Doors {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(resolver).await.unwrap();
    tokio::spawn(async move {
        let udp = Arc::new(udp);
        let mut buffer = [0; 512];
        loop {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            if buffer[..length].windows(6).any(|some| some == b"silent") {
                continue;
            }
            if buffer[..length].windows(4).any(|some| some == b"slow") {
                let (udp, answer) = (Arc::clone(&udp), answered(&buffer[..length], padding));
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    udp.send_to(&answer, from).await
                });
                continue;
            }
            udp.send_to(&answered(&buffer[..length], padding), from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let question = read_framed(&mut stream, 512).await.unwrap();
            if question.windows(6).any(|some| some == b"silent") {
                tokio::spawn(async move {
                    tokio::time::sleep(PATIENCE).await;
                    drop(stream);
                });
                continue;
            }
            write_framed(&mut stream, &answered(&question, padding)).await.unwrap();
        }
    });
    let files = tempfile::tempdir().unwrap();
    let list = files.path().join("list");
    std::fs::write(&list, "0.0.0.0 listed.example.com\n").unwrap();
    let (mut garden, mut free, mut names) = (Garden::default(), Garden::default(), Blocklist::default());
    garden.add("*.example.org").unwrap();
    free.add("free.example.net").unwrap();
    names.add("bad.example.com").unwrap();
    // The garden has precedence.
    names.add("help.example.org").unwrap();
    let mut minors = BlockedConfig {
        files: vec![files.path().join("minors")],
        ..BlockedConfig::default()
    };
    std::fs::write(&minors.files[0], "||games.example.com^\n").unwrap();
    minors.names.add("adult.example.com").unwrap();
    minors.names.add("free.example.net").unwrap();
    let config = GatewayConfig {
        lan4: "127.0.0.1/8".parse().unwrap(),
        lan6: None,
        names_port: free_port(),
        citizen_names_port: free_port(),
        garden_names: garden,
        free_names: free,
        blocked: BlockedConfig {
            names,
            files: vec![list],
            ..BlockedConfig::default()
        },
        filters: [("minors".parse().unwrap(), minors)].into(),
        ..sample_config()
    };
    let opened = Opened::default();
    let devices = Devices::default();
    let door = NameDoor::bind(opened.clone(), &config, devices.clone(), resolver).unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(door.run(stop.clone()));
    let at = |port| SocketAddr::new(config.lan4.addr().into(), port);
    Doors {
        strangers: at(config.names_port),
        citizens: at(config.citizen_names_port),
        opened,
        devices,
        stop,
        task,
        _files: files,
    }
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
    let doors = doors(0).await;
    let answer = over_udp(doors.strangers, &question).await;
    assert_eq!(
        doors.opened.addresses(),
        [(Opening::Garden, HELP, STAY_AT_LEAST)],
        "and the LAN's own is not"
    );
    assert_eq!(answer, answered(&question, 0));
    assert_eq!(over_tcp(doors.strangers, &question).await, answer);
    assert_eq!(over_udp(doors.citizens, &question).await, answer);
    assert_eq!(
        doors.opened.addresses().len(),
        1,
        "what was opened a moment ago stays as it is"
    );
}

#[tokio::test]
async fn where_an_open_name_is_served_nobody_is_led_to_what_is_not_open() {
    let doors = doors(0).await;
    for (door, name, is_empty) in [
        (doors.strangers, "help.example.org", true),
        (doors.strangers, "_8443._https.help.example.org", true),
        (doors.citizens, "help.example.org", true),
        (doors.citizens, "Free.example.net", true),
        (doors.strangers, "free.example.net", false),
        (doors.citizens, "www.example.net", false),
    ] {
        let question = asked(name, TYPE::HTTPS);
        let answer = over_udp(door, &question).await;
        let told = Packet::parse(&answer).unwrap();
        assert_eq!(told.rcode(), RCODE::NoError, "{name}");
        assert_eq!(told.answers.is_empty(), is_empty, "{name}");
        assert_eq!(over_tcp(door, &question).await, answer);
    }
    assert!(doors.opened.addresses().is_empty());
}

#[tokio::test]
async fn one_answer_opens_so_many_addresses_and_no_more() {
    let doors = doors(0).await;
    over_udp(doors.strangers, &asked("many.example.org", TYPE::A)).await;
    assert_eq!(doors.opened.addresses().len(), MOST_OF_AN_ANSWER);
}

#[tokio::test]
async fn other_names_are_answered_and_open_nothing() {
    let doors = doors(0).await;
    let question = asked("www.example.net", TYPE::A);
    for door in [doors.strangers, doors.citizens] {
        assert_eq!(over_udp(door, &question).await, answered(&question, 0));
    }
    assert!(doors.opened.addresses().is_empty());
}

#[tokio::test]
async fn what_is_free_opens_for_those_online_alone() {
    let doors = doors(0).await;
    let question = asked("Free.example.net", TYPE::A);
    over_udp(doors.strangers, &question).await;
    assert!(doors.opened.addresses().is_empty());
    assert_eq!(over_tcp(doors.citizens, &question).await, answered(&question, 0));
    assert_eq!(doors.opened.addresses(), [(Opening::Free, HELP, STAY_AT_LEAST)]);
}

#[tokio::test]
async fn what_a_filter_blocks_does_not_exist_for_those_who_have_it() {
    let doors = doors(0).await;
    let asks = async |door, name: &str| rcode(&over_udp(door, &asked(name, TYPE::A)).await);
    // The file is read a moment after the start.
    for _ in 0..100 {
        if asks(doors.citizens, "games.example.com").await == RCODE::NameError {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let names = ["adult.example.com", "www.adult.example.com", "games.example.com"];
    let both = [doors.strangers, doors.citizens];
    for (door, name) in both.iter().flat_map(|door| names.map(|name| (*door, name))) {
        assert_eq!(
            asks(door, name).await,
            RCODE::NameError,
            "{name}: nobody knows who asks"
        );
    }
    doors.devices.lease(Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::LOCALHOST);
    for (filter, told) in [
        (None, RCODE::NoError),
        ("adults".parse().ok(), RCODE::NoError),
        ("minors".parse().ok(), RCODE::NameError),
    ] {
        *doors.opened.filter.lock().unwrap() = filter;
        for (door, name) in both.iter().flat_map(|door| names.map(|name| (*door, name))) {
            assert_eq!(asks(door, name).await, told, "{name}, {filter:?}");
        }
        assert_eq!(asks(doors.citizens, "www.example.net").await, RCODE::NoError);
        assert_eq!(
            asks(doors.citizens, "free.example.net").await,
            RCODE::NoError,
            "what is free stays so"
        );
        assert_eq!(
            asks(doors.citizens, "bad.example.com").await,
            RCODE::NameError,
            "for all"
        );
    }
}

#[tokio::test]
async fn what_is_blocked_by_name_or_file_does_not_exist_for_anybody() {
    let doors = doors(0).await;
    for name in ["bad.example.com", "www.bad.example.com"] {
        for door in [doors.strangers, doors.citizens] {
            let question = asked(name, TYPE::A);
            assert_eq!(rcode(&over_udp(door, &question).await), RCODE::NameError, "{name}");
            assert_eq!(rcode(&over_tcp(door, &question).await), RCODE::NameError, "{name}");
        }
    }
    let is_listed = || async {
        let question = asked("x.listed.example.com", TYPE::HTTPS);
        rcode(&over_udp(doors.citizens, &question).await) == RCODE::NameError
    };
    let listed = async {
        while !is_listed().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listed).await.expect("the file is read");
}

#[tokio::test]
async fn those_online_may_ask_what_a_stranger_may_not() {
    let doors = doors(0).await;
    let question = asked("t.example.net", TYPE::TXT);
    for answer in [
        over_udp(doors.strangers, &question).await,
        over_tcp(doors.strangers, &question).await,
    ] {
        assert_eq!(rcode(&answer), RCODE::Refused);
    }
    assert_eq!(over_udp(doors.citizens, &question).await, answered(&question, 0));
    // And again, over the same connection.
    let mut stream = TcpStream::connect(doors.citizens).await.unwrap();
    for _ in 0..2 {
        write_framed(&mut stream, &question).await.unwrap();
        assert_eq!(read_framed(&mut stream, 65_535).await.unwrap(), answered(&question, 0));
    }
}

#[tokio::test]
async fn those_online_are_led_here_only_while_somebody_answers() {
    let doors = doors(0).await;
    over_udp(doors.citizens, &asked("www.example.net", TYPE::A)).await;
    assert_eq!(*doors.opened.is_kept.lock().unwrap(), Some(true));
    doors.stop.cancel();
    doors.task.await.unwrap();
    assert_eq!(*doors.opened.is_kept.lock().unwrap(), Some(false));
}

/// A device's questions over UDP, from its own socket, the same one so often; whether one of them is answered in time.
async fn is_answered(from: [u8; 4], door: SocketAddr, (count, name): (usize, &str), patience: Duration) -> bool {
    let socket = UdpSocket::bind(SocketAddr::from((from, 0))).await.unwrap();
    for at in 0..count {
        socket.send_to(&asked(name, TYPE::A), door).await.unwrap();
        if at % 32 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let mut buffer = [0; 512];
    tokio::time::timeout(patience, socket.recv(&mut buffer)).await.is_ok()
}

#[tokio::test]
async fn whose_questions_find_no_answer_takes_no_room_from_others() {
    let doors = doors(0).await;
    for (number, ip) in [(1, [127, 0, 0, 2]), (1, [127, 0, 0, 3]), (2, [127, 0, 0, 4])] {
        doors.devices.lease(Mac([2, 0, 0, 0, 0, number]), ip.into());
    }
    for (door, audience) in [
        (doors.strangers, Audience::Strangers),
        (doors.citizens, Audience::Citizens),
    ] {
        let flood = (bounds(audience).questions_of_one + 20, "silent.example.net");
        let moment = Duration::from_millis(200);
        assert!(!is_answered([127, 0, 0, 2], door, flood, moment).await);
        let one = (1, "www.example.net");
        assert!(!is_answered([127, 0, 0, 3], door, one, moment).await, "the same device");
        assert!(is_answered([127, 0, 0, 4], door, one, PATIENCE).await, "another");
    }
}

#[tokio::test]
async fn what_a_phone_asks_together_is_heard_beside_many_whose_questions_find_no_answer() {
    let doors = doors(0).await;
    let crowd = bounds(Audience::Strangers);
    for number in 0..=crowd.questions / 2 / crowd.questions_of_one {
        let from = [127, 0, 1, u8::try_from(number).unwrap()];
        let flood = (crowd.questions_of_one, "silent.example.net");
        assert!(!is_answered(from, doors.strangers, flood, Duration::from_millis(20)).await);
    }
    let phone = UdpSocket::bind("127.0.0.4:0").await.unwrap();
    let kinds = [TYPE::A, TYPE::AAAA, TYPE::HTTPS];
    for kind in kinds {
        phone
            .send_to(&asked("slow.example.net", kind), doors.strangers)
            .await
            .unwrap();
    }
    for _ in kinds {
        let answer = tokio::time::timeout(PATIENCE / 5, phone.recv(&mut [0; 512])).await;
        assert!(answer.is_ok(), "some of three were dropped");
    }
}

#[tokio::test]
async fn a_stranger_has_its_share_of_connections_for_questions() {
    let doors = doors(0).await;
    for (number, ip) in [(1, [127, 0, 0, 2]), (2, [127, 0, 0, 4])] {
        doors.devices.lease(Mac([2, 0, 0, 0, 0, number]), ip.into());
    }
    let connect = async |from: [u8; 4]| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(doors.strangers).await.unwrap()
    };
    let mut held = Vec::new();
    for _ in 0..bounds(Audience::Strangers).connections_of_one {
        let mut stream = connect([127, 0, 0, 2]).await;
        let silent = asked("silent.example.net", TYPE::A);
        write_framed(&mut stream, &silent).await.unwrap();
        held.push(stream);
    }
    let is_answered = async |mut stream: TcpStream| {
        let question = asked("www.example.net", TYPE::A);
        write_framed(&mut stream, &question).await.is_ok() && read_framed(&mut stream, 65_535).await.is_ok()
    };
    assert!(!is_answered(connect([127, 0, 0, 2]).await).await, "one too many");
    assert!(is_answered(connect([127, 0, 0, 4]).await).await, "another device");
}

#[tokio::test]
async fn one_name_asked_again_and_again_carries_no_more_than_its_share() {
    let doors = doors(2000).await;
    let question = asked("www.example.net", TYPE::A);
    let mut carried = 0;
    for _ in 0..100 {
        let answer = over_udp(doors.strangers, &question).await;
        if rcode(&answer) == RCODE::NoError {
            carried += answer.len();
        }
    }
    assert!((12_000..=18_000).contains(&carried), "{carried} octets");
    let help = over_udp(doors.strangers, &asked("help.example.org", TYPE::A)).await;
    assert_eq!(rcode(&help), RCODE::NoError, "a garden is open all the same");
}
