//! Seeing what RADIUS does, through the program: a server that runs, asked and looked at.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::desk::{Desk, NUMBER, text};

const SECRET: &str = "a-secret-of-thirty-two-octets-xx";
const MAC: &str = "02-11-22-33-44-55";

pub fn free_udp() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn free_tcp() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A centre that runs, with one gate at 127.0.0.1 and none elsewhere.
pub struct Service {
    pub desk: Desk,
    child: Child,
    pub auth: u16,
    pub acct: u16,
    metrics: u16,
    pub secret: String,
}

impl Service {
    pub fn start() -> Self {
        let (auth, acct, portal, metrics) = (free_udp(), free_udp(), free_tcp(), free_tcp());
        let desk = Desk::with(&format!(
            "role = \"centre\"\n[sms]\nroute = \"log-nothing\"\n\
             [radius]\nauth_listen = \"127.0.0.1:{auth}\"\nacct_listen = \"127.0.0.1:{acct}\"\n\
             [portal]\nlisten = \"127.0.0.1:{portal}\"\n[metrics]\nlisten = \"127.0.0.1:{metrics}\"\n"
        ));
        desk.done(&["plan", "set", "citizen", "--quota", "1GB"]);
        desk.done(&["site", "set", "Stand", "--plan", "citizen"]);
        let secret = desk.file("secret", SECRET);
        desk.done(&[
            "nas",
            "set",
            "gate-1",
            "--site",
            "Stand",
            "--source",
            "127.0.0.1",
            "--secret-file",
            &secret,
            "--uam-secret-file",
            &secret,
        ]);
        desk.done(&["subscriber", "unblock", NUMBER]);
        let child = Command::new(env!("CARGO_BIN_EXE_kavadam"))
            .arg("--config")
            .arg(desk.config())
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let service = Self {
            desk,
            child,
            auth,
            acct,
            metrics,
            secret,
        };
        let begun = Instant::now();
        while !service.test(&["status", "--tries", "1"]).status.success() {
            assert!(begun.elapsed() < Duration::from_mins(1), "it does not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        service
    }

    pub fn test(&self, words: &[&str]) -> Output {
        self.test_with(words, "")
    }

    fn test_with(&self, words: &[&str], password: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kavadam"))
            .arg("--config")
            .arg(self.desk.config())
            .args(["radius", "test"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that needs no password may be gone already.
        _ = child.stdin.take().unwrap().write_all(password.as_bytes());
        child.wait_with_output().unwrap()
    }

    pub fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics)).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

pub fn says(output: &Output, code: i32, words: &[&str]) {
    let said = text(&output.stdout);
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}{complaint}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in\n{said}{complaint}");
    }
    assert!(!said.contains(SECRET), "{said}");
    for line in said.lines() {
        // Attributes may be as long as they like.
        assert!(line.chars().count() <= 110, "{line}");
    }
}

#[test]
fn a_test_asks_every_kind_of_question_and_says_what_the_answer_means() {
    let service = Service::start();
    says(
        &service.test(&["status"]),
        0,
        &["Status-Server to", "Access-Accept after", "WELL: the server is alive"],
    );
    let refused = service.test_with(&["pap", NUMBER, "--mac", MAC], "000000");
    says(
        &refused,
        4,
        &["Access-Reject", "REFUSED", "User-Password = hidden", "Reply-Message"],
    );
    assert!(!text(&refused.stdout).contains(NUMBER), "masked");
    says(
        &service.test_with(&["chap", NUMBER], "000000"),
        4,
        &["CHAP-Password = hidden"],
    );
    says(
        &service.test(&["mac", "--mac", MAC]),
        4,
        &["Call-Check", "Access-Reject"],
    );
    for kind in ["start", "interim", "stop"] {
        says(
            &service.test(&[kind, "--session", "s1"]),
            0,
            &["Accounting-Response", "BELONGS TO NO SESSION"],
        );
    }
    let unowned = service.metrics();
    let line = "kavadam_radius_unowned_reports_total{nas=\"gate-1\",site=\"Stand\"} 3";
    assert!(unowned.contains(line), "{unowned}");
    let sheet = service.desk.done(&["nas", "show", "gate-1"]);
    assert!(sheet.contains("reports of no session          3"), "{sheet}");
    assert_eq!(service.desk.json(&["nas", "show", "gate-1"])["unowned_reports"], 3);
    assert_eq!(service.desk.json(&["nas", "list"])[0]["unowned_reports"], 3);
    let set = service.desk.done(&["nas", "set", "gate-1", "--coa-port", "3799"]);
    assert!(
        set.contains("last seen") && !set.contains("reports of no session"),
        "who sets a gate waits for no counting: {set}"
    );
    let checked = text(&service.desk.run(&["check"]).stdout);
    assert!(
        checked.contains("3 accounting reports of the gate `gate-1`"),
        "{checked}"
    );
}

#[test]
fn a_test_that_is_not_answered_is_told_why() {
    let service = Service::start();
    let wrong = service.desk.file("wrong", "not-the-secret-of-that-gate");
    let silent = service.test(&["status", "--tries", "1", "--secret-file", &wrong]);
    says(&silent, 1, &["NO ANSWER", "our secret is not the gate's"]);
    let stranger = service.test(&[
        "status",
        "--tries",
        "1",
        "--source",
        "127.0.0.9",
        "--secret-file",
        &wrong,
    ]);
    says(&stranger, 1, &["NO ANSWER", "knows no gate at the address"]);
    let closed = format!("127.0.0.1:{}", free_udp());
    let closed = service.test(&["status", "--server", &closed, "--secret-file", &service.secret]);
    says(&closed, 1, &["NOBODY LISTENS"]);
    // Somebody with another secret answers.
    let forger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = forger.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let (_, from) = forger.recv_from(&mut buffer).unwrap();
        let reply = [&[2, buffer[1], 0, 20][..], &[0; 16]].concat();
        forger.send_to(&reply, from).unwrap();
    });
    let untrue = service.test(&["status", "--server", &at, "--secret-file", &service.secret]);
    answering.join().unwrap();
    says(&untrue, 1, &["WRONG SECRET"]);
}

#[test]
fn a_test_takes_the_mishaps_of_others_for_none_of_its_own() {
    let service = Service::start();
    let other = ["nas", "set", "gate-2", "--site", "Stand", "--source", "127.0.0.2"];
    let second = service.desk.file("second", "another-secret-of-thirty-two-oct");
    let secrets = ["--secret-file", &second, "--uam-secret-file", &second];
    service.desk.done(&[&other[..], &secrets].concat());
    // The server hears within seconds of what another process did.
    let begun = Instant::now();
    let as_other = ["status", "--tries", "1", "--source", "127.0.0.2"];
    while !service.test(&as_other).status.success() {
        assert!(begun.elapsed() < Duration::from_mins(1), "it does not hear of the gate");
    }
    let wrong = service.desk.file("wrong", "not-the-secret-of-that-gate");
    let (auth, stop) = (service.auth, Arc::new(AtomicBool::new(false)));
    let noise = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let [stranger, gate] = ["127.0.0.9:0", "127.0.0.2:0"].map(|from| UdpSocket::bind(from).unwrap());
            // A Status-Server of the other gate, with nobody's secret.
            let mut unsigned = vec![12, 1, 0, 38];
            unsigned.extend([7; 16]);
            unsigned.extend([80, 18]);
            unsigned.extend([0; 16]);
            while !stop.load(Ordering::Relaxed) {
                for from in [&stranger, &gate] {
                    from.send_to(&unsigned, ("127.0.0.1", auth)).unwrap();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    let ours = service.test(&["status", "--tries", "1", "--secret-file", &wrong]);
    let stranger = ["--source", "127.0.0.8", "--secret-file", &wrong];
    let nobodys = service.test(&[&["status", "--tries", "1"], &stranger[..]].concat());
    stop.store(true, Ordering::Relaxed);
    noise.join().unwrap();
    says(&ours, 1, &["NO ANSWER", "our secret is not the gate's"]);
    says(&nobodys, 1, &["NO ANSWER", "knows no gate at the address"]);
}

#[test]
fn the_table_and_the_metrics_tell_of_each_gate_what_happened() {
    let service = Service::start();
    service.test(&["mac", "--mac", MAC]);
    UdpSocket::bind("127.0.0.7:0")
        .unwrap()
        .send_to(b"hello", ("127.0.0.1", service.auth))
        .unwrap();
    let top = service.desk.json(&["radius", "top", "--once"]);
    let gate = &top["gates"][0];
    assert_eq!((&gate["nas"], &gate["site"]), (&"gate-1".into(), &"Stand".into()));
    assert_eq!(gate["rejects"]["unknown-device"], 1);
    assert_eq!(gate["replies"]["access-reject"], 1);
    assert_eq!(top["unknown_sources"][0][0], "127.0.0.7");
    let table = service.desk.done(&["radius", "top", "--once"]);
    assert!(table.contains("gate-1") && table.contains("127.0.0.7"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let page = service.metrics();
    let line = "kavadam_radius_rejects_total{nas=\"gate-1\",site=\"Stand\",reason=\"unknown-device\"} 1";
    assert!(page.contains(line), "{page}");
    assert!(table.contains("\ncommits "), "{table}");
    for line in ["kavadam_commit_seconds_count 1", "kavadam_committed_requests_total 1"] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
    assert!(
        !page.contains("127.0.0.7") && !page.contains("02-11") && !page.contains(NUMBER),
        "{page}"
    );
}

#[test]
fn why_names_the_rule_the_facts_and_what_the_gate_was_told() {
    let service = Service::start();
    service.desk.done(&["subscriber", "block", NUMBER]);
    service.test_with(&["pap", NUMBER], "000000");
    let said = service.desk.done(&["why", NUMBER, "--gate", "gate-1"]);
    for words in [
        "REFUSED, blocked",
        "rule: a blocked number",
        "subscriber unblock",
        "BLOCKED",
        "refused: ",
    ] {
        assert!(said.contains(words), "`{words}` is not in\n{said}");
    }
    assert!(!said.contains(NUMBER), "{said}");
    service.desk.done(&["subscriber", "unblock", NUMBER]);
    let why = service.desk.json(&["why", NUMBER]);
    assert_eq!(why["login"]["is_accepted"], true, "{why}");
    assert_eq!(why["person"]["promised_octets"], 0, "the rehearsal left nothing behind");
    assert_eq!(why["last_answers"][0]["nas"], "gate-1");
    service.test_with(&["pap", "+91 98765 43210"], "000000");
    let again = service.desk.json(&["why", NUMBER]);
    assert_eq!(
        again["last_answers"].as_array().unwrap().len(),
        2,
        "however it was spelled: {again}"
    );
    service.desk.done(&["site", "set", "Stand", "--closed"]);
    assert_eq!(service.desk.json(&["why", NUMBER])["login"]["reason"], "site-closed");
    assert_eq!(
        service.desk.json(&["session", "list"]),
        serde_json::json!([]),
        "and opened no session"
    );
    let audit = service.desk.done(&["audit", "list"]);
    assert!(audit.contains("subscriber.why"), "the audit says who looked: {audit}");
}

#[test]
fn why_tells_what_a_refusal_rested_on_though_it_is_otherwise_by_now() {
    let service = Service::start();
    service
        .desk
        .done(&["plan", "set", "citizen", "--quota", "1GB", "--devices", "1"]);
    let codes = service
        .desk
        .done(&["voucher", "create", "--octets", "1GB", "--count", "2"]);
    let codes: Vec<&str> = codes.lines().filter(|line| !line.is_empty()).collect();
    let log_in = |mac: &str, code: &str| {
        let session = &mac[15..];
        service.test_with(&["pap", NUMBER, "--mac", mac, "--session", session], code)
    };
    says(&log_in("02-00-00-00-00-01", codes[0]), 0, &["Access-Accept"]);
    says(&log_in("02-00-00-00-00-02", codes[1]), 4, &["Access-Reject"]);
    let session = ["--mac", "02-00-00-00-00-01", "--session", "01"];
    says(&service.test(&[&["stop", NUMBER][..], &session].concat()), 0, &[]);
    let said = service.desk.done(&["why", NUMBER]);
    let then = said
        .lines()
        .find(|line| line.contains("then online: "))
        .unwrap_or_else(|| panic!("{said}"));
    assert!(
        then.ends_with(" at gate-1") && !then.contains("02-00-00-00-00-01"),
        "{then}"
    );
    let told = service.desk.json(&["why", NUMBER, "--show-personal"]);
    assert_eq!(told["person"]["sessions"], serde_json::json!([]), "by now");
    let refused = told["last_answers"].as_array().unwrap().iter();
    let refused = refused.filter(|answer| answer["reason"] == "too-many-devices");
    let online: Vec<_> = refused.map(|answer| &answer["online"]).collect();
    assert_eq!(
        online,
        [&serde_json::json!([{ "mac": "02-00-00-00-00-01", "nas": "gate-1" }])]
    );
}

#[test]
fn why_without_a_server_tells_the_rule_all_the_same() {
    let desk = Desk::new();
    desk.refused(&["why", NUMBER], 1, "at which gate");
    desk.refused(&["why", "4711"], 3, "no session");
    desk.refused(&["why", "nobody"], 2, "mobile number");
    desk.refused(&["radius", "top", "--once"], 1, "no kavadam with a RADIUS server runs");
}

#[test]
fn the_socket_is_its_owners_alone_and_a_dead_ones_is_not_in_the_way() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut service = Service::start();
    let socket = service.desk.dir.path().join("state/watch.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    assert!(socket.exists());
    service.child = Command::new(env!("CARGO_BIN_EXE_kavadam"))
        .arg("--config")
        .arg(service.desk.config())
        .arg("run")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !service.desk.run(&["radius", "top", "--once"]).status.success() {
        assert!(begun.elapsed() < Duration::from_mins(1), "it does not start again");
    }
}

/// A capture with one Access-Request of `user`, made at the gate.
pub fn capture(user: &str) -> Vec<u8> {
    let mut radius = vec![1, 9, 0, 0];
    radius.extend([7; 16]);
    radius.extend([1, u8::try_from(2 + user.len()).unwrap()]);
    radius.extend(user.as_bytes());
    radius.extend([2, 18]);
    radius.extend([65; 16]);
    let length = u16::try_from(radius.len()).unwrap();
    radius[2..4].copy_from_slice(&length.to_be_bytes());
    let mut packet = vec![0x45, 0];
    packet.extend((28 + length).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    packet.extend(5000_u16.to_be_bytes());
    packet.extend(1812_u16.to_be_bytes());
    packet.extend((8 + length).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(radius);
    let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 101, 0, 0, 0]);
    let size = u32::try_from(packet.len()).unwrap();
    for word in [1_700_000_000, 5, size, size] {
        file.extend(word.to_le_bytes());
    }
    file.extend(packet);
    file
}

#[test]
fn a_capture_is_told_without_passwords_and_without_people() {
    let desk = Desk::new();
    desk.done(&["plan", "set", "citizen"]);
    desk.done(&["site", "set", "Stand", "--plan", "citizen"]);
    let secret = desk.file("secret", SECRET);
    desk.done(&[
        "nas",
        "set",
        "gate-1",
        "--site",
        "Stand",
        "--source",
        "127.0.0.1",
        "--secret-file",
        &secret,
        "--uam-secret-file",
        &secret,
    ]);
    let file = desk.file("trace.pcap", capture(NUMBER));
    let sniff = ["radius", "sniff", "--file", &file];
    let said = desk.done(&sniff);
    for words in [
        "Access-Request id 9",
        "[gate-1]",
        "NO Message-Authenticator",
        "User-Password = hidden",
    ] {
        assert!(said.contains(words), "`{words}` is not in\n{said}");
    }
    assert!(
        !said.contains(NUMBER) && !said.contains("AAAA") && !said.contains("4141"),
        "{said}"
    );
    assert!(desk.done(&[&sniff[..], &["--show-personal"]].concat()).contains(NUMBER));
    assert!(
        desk.done(&[&sniff[..], &["--user", NUMBER, "--nas", "gate-1"]].concat())
            .contains("id 9")
    );
    assert_eq!(desk.done(&[&sniff[..], &["--code", "access-reject"]].concat()), "");
    assert_eq!(desk.done(&[&sniff[..], &["--nas", "10.0.0.0/8"]].concat()), "");
    let line = desk.done(&[&sniff[..], &["--json"]].concat());
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["code"], &line["nas"]),
        (&"Access-Request".into(), &"gate-1".into())
    );
    let file = desk.file("broken.pcap", &capture(NUMBER)[..60]);
    desk.refused(&["radius", "sniff", "--file", &file], 1, "broken");
    let file = desk.file("none.pcap", "this is no capture, whatever its name");
    desk.refused(&["radius", "sniff", "--file", &file], 1, "neither pcap nor pcapng");
}
