//! Before login: what is reached afterwards is refused at once; names are the gate's to resolve.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kavadam_lab::world::{FOREIGN_ANSWER, FOREIGN_RESOLVER, WEB_PORT, until};
use kavadam_lab::{Phone, World};

use crate::{NUMBER, WEB, WEB6, beside_others, log_in, phone, world};

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Reached,
    /// By a reset, or an ICMP message, within a second.
    Refused,
    /// No answer at all.
    Silent,
}

fn tcp(phone: &Phone, arguments: &[&str]) -> Reach {
    let times = "%{time_total} %{time_namelookup}";
    let words = [&["-sSk", "-m", "8", "-o", "/dev/null", "-w", times], arguments].concat();
    let output = phone.netns().output("curl", &words).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let mut secs = said.split(' ').filter_map(|secs| secs.parse::<f64>().ok());
    // Without the time in which the name was asked for.
    let took = secs.next().unwrap_or(f64::MAX) - secs.next().unwrap_or_default();
    match output.status.code() {
        Some(0) => Reach::Reached,
        // curl's number for a connection that was refused. What is lost is sent again after a second.
        Some(7) if took < 1.0 => Reach::Refused,
        code => {
            eprintln!("curl {arguments:?}: {code:?} after {said:?} s");
            Reach::Silent
        }
    }
}

fn udp(world: &World, phone: &Phone, address: &str) -> Reach {
    let start = Instant::now();
    let said = world.ask_lab_in(phone.netns(), &["knock", address]).unwrap();
    match said.trim() {
        "reached" => Reach::Reached,
        "refused" if start.elapsed() < Duration::from_secs(1) => Reach::Refused,
        _ => Reach::Silent,
    }
}

fn ping(phone: &Phone, address: &str) -> Reach {
    let output = phone.netns().output("ping", &["-c1", "-W1", address]).unwrap();
    if output.status.success() {
        Reach::Reached
    } else {
        Reach::Silent
    }
}

/// Everything but HTTP and DNS, which are captured.
fn elsewhere(world: &World, phone: &Phone) -> [(&'static str, Reach); 8] {
    let plain = |host: &str| tcp(phone, &[&format!("http://{host}:{WEB_PORT}/")]);
    [
        ("HTTPS", tcp(phone, &["-4", "https://www.example.net/"])),
        ("HTTPS over IPv6", tcp(phone, &["-6", "https://www.example.net/"])),
        ("another port", plain(WEB)),
        ("another port over IPv6", plain(&format!("[{WEB6}]"))),
        ("QUIC", udp(world, phone, &format!("{WEB}:443"))),
        ("QUIC over IPv6", udp(world, phone, &format!("[{WEB6}]:443"))),
        ("ping", ping(phone, WEB)),
        ("ping over IPv6", ping(phone, WEB6)),
    ]
}

#[test]
fn a_stranger_is_refused_at_once_what_a_citizen_reaches() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "100MB"]);
    let phone = phone(&mut world);
    phone.slaac().unwrap();
    for (what, reach) in elsewhere(&world, &phone) {
        // A ping is dropped, so that a flood of them gets no answers.
        let wanted = if what.starts_with("ping") {
            Reach::Silent
        } else {
            Reach::Refused
        };
        assert_eq!(reach, wanted, "{what} before login");
    }
    for host in ["www.example.net", WEB, &format!("[{WEB6}]")] {
        let page = phone.open(&format!("http://{host}/")).unwrap();
        assert!(
            page.form("/number").is_ok(),
            "HTTP to {host} leads to the portal: {}",
            page.text()
        );
    }
    log_in(&world, &phone, NUMBER);
    for (what, reach) in elsewhere(&world, &phone) {
        assert_eq!(reach, Reach::Reached, "{what} after login");
    }
}

#[test]
fn a_strangers_names_are_resolved_by_the_gate_whomever_he_asks() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "100MB"]);
    let phone = phone(&mut world);
    world
        .internet
        .run(
            "nft",
            &[&format!(
                "table inet asked {{ counter foreign {{ }}; chain in {{ type filter hook input priority 0; \
                 ip daddr {FOREIGN_RESOLVER} counter name foreign; }}; }}"
            )],
        )
        .unwrap();
    let is_asked = || {
        let text = world
            .internet
            .run("nft", &["list", "counter", "inet", "asked", "foreign"])
            .unwrap();
        !text.contains("packets 0 ")
    };
    let resolve = || phone.netns().run("getent", &["ahostsv4", "www.example.net"]).unwrap();
    phone.set_resolver(FOREIGN_RESOLVER).unwrap();
    assert!(resolve().starts_with(WEB), "{}", resolve());
    assert!(!is_asked(), "a stranger's question left the gate");
    log_in(&world, &phone, NUMBER);
    assert!(resolve().starts_with(FOREIGN_ANSWER), "{}", resolve());
    assert!(is_asked());
}

#[test]
fn what_else_listens_on_the_gate_is_not_for_its_guests() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "100MB"]);
    let phone = phone(&mut world);
    let _shell = world.lab_in(&world.gate, &["serve-web", "0.0.0.0:22"]).unwrap();
    let _other = world.lab_in(&world.gate, &["serve-echo", "0.0.0.0:161"]).unwrap();
    let knock = |at: &str| world.ask_lab_in(&world.gate, &["knock", at]).unwrap();
    let is_there = until(Duration::from_secs(5), || {
        let answer = world.gate.output("curl", &["-s", "-m", "1", "http://127.0.0.1:22/"]);
        answer.is_ok_and(|output| output.status.success()) && knock("127.0.0.1:161").trim() == "reached"
    });
    assert!(is_there, "nothing listens");
    let refused = |when: &str| {
        for address in ["10.80.0.1", "198.51.100.2"] {
            let url = format!("http://{address}:22/");
            assert_eq!(tcp(&phone, &[&url]), Reach::Refused, "{url} {when}");
            let socket: SocketAddr = format!("{address}:161").parse().unwrap();
            let reach = udp(&world, &phone, &socket.to_string());
            assert_ne!(reach, Reach::Reached, "{socket} {when}");
        }
    };
    refused("before login");
    log_in(&world, &phone, NUMBER);
    refused("after login");
}

#[test]
fn a_garden_by_name_opens_for_who_asks_for_the_name_and_for_nothing_else() {
    let _machine = beside_others();
    for (garden, reach) in [
        ("www.example.net", Reach::Reached),
        ("*.example.net", Reach::Reached),
        ("example.net", Reach::Refused),
    ] {
        let extra = format!("walled_garden = [\"{garden}\"]\n");
        let mut world = crate::world_with(&extra, &["--quota", "100MB"]);
        let phone = phone(&mut world);
        phone.slaac().unwrap();
        let address = format!("http://{WEB}:{WEB_PORT}/");
        let unasked = tcp(&phone, &[&address]);
        assert_eq!(unasked, Reach::Refused, "{garden}: nobody has asked for it yet");
        for family in ["-4", "-6"] {
            // At the first packet: curl does not try again.
            let name = format!("http://www.example.net:{WEB_PORT}/");
            assert_eq!(tcp(&phone, &[family, &name]), reach, "{garden}, {family}");
        }
        // A restart of the gateway forgets nothing that is open.
        let World { gateway, gate, .. } = &mut world;
        gateway.kill();
        gateway.start(gate).unwrap();
        assert_eq!(tcp(&phone, &[&address]), reach, "{garden}: after a restart");
    }
}
