//! The real thing, end to end: DHCP, DNS, HTTP, RADIUS, nftables and SMS in network namespaces of their own. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kavadam_lab::browser::Browser;
use kavadam_lab::citizen::CHECK;
use kavadam_lab::gateway::API_HOST;
use kavadam_lab::world::{WEB, WEB6, until};
use kavadam_lab::{Citizen, Phone, World};
use serde_json::Value;

const NUMBER: &str = "9876543210";

/// One world at a time: speeds are measured in it.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn program() -> PathBuf {
    let lab = Path::new(env!("CARGO_BIN_EXE_kavadam-lab"));
    let program = lab.with_file_name("kavadam");
    assert!(
        program.exists(),
        "kavadam is not built: run `make test`, or `cargo build --bin kavadam` first"
    );
    program
}

fn world(plan: &[&str]) -> World {
    let lab = Path::new(env!("CARGO_BIN_EXE_kavadam-lab"));
    let world = World::build(&program(), lab, "").unwrap_or_else(|error| panic!("no world: {error:#}"));
    world.set_plan(plan).unwrap();
    world
}

fn phone(world: &mut World) -> Phone {
    let phone = world.phone().unwrap();
    phone.dhcp().unwrap();
    phone
}

fn log_in(world: &World, phone: &Phone, number: &str) {
    Citizen { phone, number }
        .log_in(world)
        .unwrap_or_else(|error| panic!("no login: {error:#}"));
}

fn is_online(phone: &Phone) -> bool {
    phone.probe(CHECK).is_ok_and(|(status, _)| status == 204)
}

fn sessions(world: &World) -> Vec<Value> {
    world
        .admin_json(&["session", "list"])
        .unwrap()
        .as_array()
        .unwrap()
        .clone()
}

fn octets(session: &Value) -> u64 {
    session["up_octets"].as_u64().unwrap() + session["down_octets"].as_u64().unwrap()
}

fn is_over(world: &World, patience: Duration) -> bool {
    until(patience, || {
        sessions(world).iter().all(|session| session["state"] == "ended")
    })
}

#[test]
fn connectivity_checks_are_captured_and_after_login_answered_by_those_they_ask() {
    let _alone = alone();
    let mut world = world(&["--quota", "100MB"]);
    let phone = phone(&mut world);
    let checks = [
        ("Android", CHECK, "204", ""),
        ("iOS", "http://captive.apple.com/hotspot-detect.html", "200", "Success"),
        (
            "Windows",
            "http://www.msftconnecttest.com/connecttest.txt",
            "200",
            "Microsoft Connect Test",
        ),
        (
            "Firefox",
            "http://detectportal.firefox.com/success.txt",
            "200",
            "success",
        ),
        (
            "NetworkManager",
            "http://nmcheck.gnome.org/check_network_status.txt",
            "200",
            "NetworkManager is online",
        ),
    ];
    for (device, url, _, _) in checks {
        let (status, to) = phone.probe(url).unwrap();
        assert_eq!(status, 302, "{device}");
        assert!(to.starts_with("http://10.80.0.1:8081/?res=notyet&"), "{device}: {to}");
    }
    log_in(&world, &phone, NUMBER);
    for (device, url, status, body) in checks {
        let text = phone.curl(&["-w", "\n%{http_code}", url]).unwrap();
        let (said, code) = text.rsplit_once('\n').unwrap();
        assert_eq!(code, status, "{device}");
        assert!(said.contains(body), "{device}: {said}");
    }
}

#[test]
fn a_stranger_reaches_nothing_but_the_portal_and_is_told_so_at_once() {
    let _alone = alone();
    let mut world = world(&["--quota", "100MB"]);
    let phone = phone(&mut world);
    let refused_at_once = |arguments: &[&str]| {
        let start = Instant::now();
        assert!(phone.curl(arguments).is_err(), "{arguments:?} passed");
        assert!(start.elapsed() < Duration::from_secs(2), "{arguments:?} hung");
    };
    refused_at_once(&["-o", "/dev/null", "https://www.example.net/"]);
    refused_at_once(&["-o", "/dev/null", &format!("http://{WEB}:8000/")]);
    // QUIC: the port answers "prohibited", so the second datagram meets an error.
    let quic = format!("exec 3<>/dev/udp/{WEB}/443; echo a >&3; sleep 0.3; echo b >&3");
    assert!(
        !phone.netns().output("bash", &["-c", &quic]).unwrap().status.success(),
        "QUIC is not refused"
    );
    assert!(
        !phone
            .netns()
            .output("ping", &["-c1", "-W1", WEB])
            .unwrap()
            .status
            .success(),
        "ICMP passed"
    );
    assert!(
        !phone
            .netns()
            .output("ping", &["-6", "-c1", "-W1", WEB6])
            .unwrap()
            .status
            .success(),
        "ICMPv6 passed"
    );
    let page = phone.open("http://www.example.net/").unwrap();
    assert!(
        page.form("/number").is_ok(),
        "names resolve, and HTTP leads to the portal: {}",
        page.text()
    );
    // What is in the world but not for strangers: the database's and RADIUS' side of the gateway.
    for port in ["1812", "3799", "22"] {
        assert!(phone.curl(&["-m", "2", &format!("http://10.80.0.1:{port}/")]).is_err());
    }
}

#[test]
fn one_session_covers_both_versions_of_ip() {
    let _alone = alone();
    let mut world = world(&["--quota", "100MB"]);
    let phone = phone(&mut world);
    let url = format!("http://[{WEB6}]/generate_204");
    let has_address = until(Duration::from_secs(15), || {
        phone
            .netns()
            .ip("-6 addr show dev eth0 scope global")
            .is_ok_and(|text| text.contains("fd00:80:") && !text.contains("tentative"))
    });
    assert!(has_address, "no IPv6 address by SLAAC");
    let before = phone.probe(&url);
    assert!(!matches!(before, Ok((204, _))), "IPv6 passed before login");
    log_in(&world, &phone, NUMBER);
    assert!(is_online(&phone));
    assert_eq!(phone.probe(&url).unwrap().0, 204, "IPv6 after login");
}

#[test]
fn the_quota_ends_the_session_before_one_octet_too_many_crosses_the_wire() {
    let _alone = alone();
    let mut world = world(&["--quota", "20MB", "--down", "100Mbit", "--up", "100Mbit"]);
    let phone = phone(&mut world);
    log_in(&world, &phone, NUMBER);
    let before = phone.ip_octets().unwrap();
    // Both directions together.
    let up = format!("head -c 100000000 /dev/zero | curl -s -m 40 -o /dev/null -T - http://{WEB}/sink");
    let mut upload = phone.netns().command("bash").args(["-c", &up]).spawn().unwrap();
    let mut download = phone
        .netns()
        .command("curl")
        .args([
            "-s",
            "-m",
            "40",
            "-o",
            "/dev/null",
            &format!("http://{WEB}/bytes/100000000"),
        ])
        .spawn()
        .unwrap();
    assert!(is_over(&world, Duration::from_secs(40)), "the session did not end");
    let charged = octets(&sessions(&world)[0]);
    assert!(charged <= 20_000_000, "{charged}");
    assert!(charged > 20_000_000 - 65_536, "{charged}");
    let received = phone.netns().counter("eth0", "rx_bytes").unwrap();
    upload.kill().unwrap();
    download.kill().unwrap();
    upload.wait().unwrap();
    download.wait().unwrap();
    assert!(!is_online(&phone));
    // What the phone's own interface saw come in is within the quota: nothing slipped through behind the meter. (What it sent
    // and was refused is on its wire, too, so only the way in can be held against the quota.)
    assert!(received < 20_000_000 + before + 300_000, "{received}");
    let page = phone.open(CHECK).unwrap();
    assert!(
        page.form("/voucher").is_ok(),
        "the page that offers a voucher: {}",
        page.text()
    );
}

#[test]
fn two_devices_of_one_person_share_one_quota() {
    let _alone = alone();
    let mut world = world(&[
        "--quota",
        "20MB",
        "--down",
        "50Mbit",
        "--up",
        "50Mbit",
        "--devices",
        "2",
    ]);
    let (one, two) = (phone(&mut world), phone(&mut world));
    log_in(&world, &one, NUMBER);
    // Another code to the same number is to be had after half a minute only where the first is still pending; it was used.
    log_in(&world, &two, NUMBER);
    let url = format!("http://{WEB}/bytes/100000000");
    let mut downloads: Vec<_> = [&one, &two]
        .into_iter()
        .map(|phone| {
            phone
                .netns()
                .command("curl")
                .args(["-s", "-m", "60", "-o", "/dev/null", &url])
                .spawn()
                .unwrap()
        })
        .collect();
    assert!(is_over(&world, Duration::from_mins(1)), "the sessions did not end");
    for download in &mut downloads {
        download.kill().unwrap();
        download.wait().unwrap();
    }
    let each: Vec<u64> = sessions(&world).iter().map(octets).collect();
    let together: u64 = each.iter().sum();
    assert!(together <= 20_000_000, "{each:?}");
    assert!(together > 20_000_000 - 2 * 65_536, "{each:?}");
    assert!(
        each.iter().all(|octets| *octets > 1_000_000),
        "both had a part: {each:?}"
    );
}

#[test]
fn a_download_runs_within_five_per_cent_of_the_plans_speed() {
    let _alone = alone();
    let mut world = world(&["--quota", "none", "--down", "10Mbit", "--up", "10Mbit"]);
    let phone = phone(&mut world);
    log_in(&world, &phone, NUMBER);
    let url = format!("http://{WEB}/bytes/100000000");
    let mut download = phone
        .netns()
        .command("curl")
        .args(["-s", "-m", "60", "-o", "/dev/null", &url])
        .spawn()
        .unwrap();
    // The kernel's bucket holds a second of the rate: let it run dry first.
    std::thread::sleep(Duration::from_secs(3));
    let count = || phone.netns().counter("eth0", "rx_bytes").unwrap();
    let (start, before) = (Instant::now(), count());
    std::thread::sleep(Duration::from_secs(8));
    let octets = count() - before;
    let rate = u128::from(octets) * 8 * 1_000_000 / start.elapsed().as_micros();
    download.kill().unwrap();
    download.wait().unwrap();
    assert!((9_500_000..=10_500_000).contains(&rate), "{rate} bit/s");
}

#[test]
fn the_disconnect_button_ends_the_session_its_connections_and_the_automatic_return() {
    let _alone = alone();
    let mut world = world(&["--quota", "none", "--down", "10Mbit", "--up", "10Mbit"]);
    let phone = phone(&mut world);
    let citizen = Citizen {
        phone: &phone,
        number: NUMBER,
    };
    let status = citizen.log_in(&world).unwrap();
    let up = format!("head -c 100000000 /dev/zero | curl -s -m 60 -o /dev/null -T - http://{WEB}/sink");
    let mut upload = phone.netns().command("bash").args(["-c", &up]).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let page = phone.submit(&status.form("/disconnect").unwrap()).unwrap();
    assert!(page.form("/disconnect").is_err(), "still connected: {}", page.text());
    assert!(is_over(&world, Duration::from_secs(10)), "the session did not end");
    assert!(
        until(Duration::from_secs(5), || upload.try_wait().unwrap().is_some()),
        "an established connection lives on"
    );
    assert!(!is_online(&phone), "the device came back by itself");
    let page = phone.open(CHECK).unwrap();
    let page = phone
        .submit(
            &page
                .form("/connect")
                .unwrap_or_else(|_| panic!("no way back: {}", page.text())),
        )
        .unwrap();
    assert!(page.form("/disconnect").is_ok(), "back without a code: {}", page.text());
    assert!(is_online(&phone));
}

#[test]
fn a_remembered_device_returns_without_a_page() {
    let _alone = alone();
    let mut world = world(&["--quota", "none"]);
    let phone = phone(&mut world);
    log_in(&world, &phone, NUMBER);
    let id = sessions(&world)[0]["id"].to_string();
    world.admin(&["session", "end", &id]).unwrap();
    assert!(
        is_over(&world, Duration::from_secs(15)),
        "an administrator's end was not obeyed"
    );
    phone.dhcp().unwrap();
    assert!(
        until(Duration::from_secs(10), || is_online(&phone)),
        "not let in by its MAC"
    );
    assert_eq!(world.messages().len(), 1, "no second code");
}

#[test]
fn a_killed_gateway_leaves_people_online_and_loses_no_octet() {
    let _alone = alone();
    let mut world = world(&["--quota", "none", "--down", "20Mbit", "--up", "20Mbit"]);
    let phone = phone(&mut world);
    log_in(&world, &phone, NUMBER);
    let before = phone.netns().counter("eth0", "rx_bytes").unwrap();
    let url = format!("http://{WEB}/bytes/30000000");
    let mut download = phone
        .netns()
        .command("curl")
        .args(["-s", "-m", "60", "-o", "/dev/null", &url])
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    world.gateway.kill();
    std::thread::sleep(Duration::from_secs(3));
    assert!(is_online(&phone), "traffic stopped with the process");
    let World { gateway, gate, .. } = &mut world;
    gateway.start(gate).unwrap();
    assert!(download.wait().unwrap().success(), "the download broke off");
    assert_eq!(sessions(&world).len(), 1, "the session was adopted, not begun anew");
    let id = sessions(&world)[0]["id"].to_string();
    world.admin(&["session", "end", &id]).unwrap();
    assert!(is_over(&world, Duration::from_secs(15)));
    let counted = sessions(&world)[0]["down_octets"].as_u64().unwrap();
    let seen = phone.netns().counter("eth0", "rx_bytes").unwrap() - before;
    assert!(counted >= 30_000_000, "{counted}");
    assert!(counted <= seen, "counted {counted}, seen {seen}");
}

#[test]
fn accounting_waits_on_disk_while_the_centre_is_away() {
    let _alone = alone();
    let mut world = world(&["--quota", "none"]);
    let phone = phone(&mut world);
    log_in(&world, &phone, NUMBER);
    phone
        .curl(&["-o", "/dev/null", &format!("http://{WEB}/bytes/3000000")])
        .unwrap();
    // The centre's accounting port falls silent.
    for words in [
        "add table inet away",
        "add chain inet away in { type filter hook input priority -10; }",
        "add rule inet away in udp dport 1813 drop",
    ] {
        world.gate.run("nft", &[words]).unwrap();
    }
    let id = sessions(&world)[0]["id"].to_string();
    world.admin(&["session", "end", &id]).unwrap();
    assert!(
        until(Duration::from_secs(15), || !is_online(&phone)
            || sessions(&world).len() > 1),
        "the order was not obeyed"
    );
    assert!(
        octets(sessions(&world).last().unwrap()) < 3_000_000,
        "the Stop cannot have arrived"
    );
    // The gateway dies with the Stop undelivered.
    world.gateway.kill();
    let World { gateway, gate, .. } = &mut world;
    gateway.start(gate).unwrap();
    world.gate.run("nft", &["delete table inet away"]).unwrap();
    let is_charged = until(Duration::from_secs(40), || {
        octets(sessions(&world).last().unwrap()) >= 3_000_000
    });
    assert!(is_charged, "the Stop was lost: {:?}", sessions(&world));
}

#[test]
fn idle_and_session_time_end_sessions() {
    let _alone = alone();
    let mut world = world(&[
        "--quota",
        "none",
        "--idle-time",
        "30s",
        "--session-time",
        "60s",
        "--devices",
        "2",
        "--remember",
        "0d",
    ]);
    let (idle, busy) = (phone(&mut world), phone(&mut world));
    log_in(&world, &idle, NUMBER);
    log_in(&world, &busy, "9876543211");
    let start = Instant::now();
    let mut ends = [None, None];
    while ends.iter().any(Option::is_none) && start.elapsed() < Duration::from_secs(80) {
        let _ = busy.netns().output("ping", &["-c1", "-W1", WEB]);
        // The newest is listed first.
        let listed = sessions(&world);
        for (end, session) in ends.iter_mut().zip(listed.iter().rev()) {
            if end.is_none() && session["state"] == "ended" {
                *end = Some((start.elapsed().as_secs(), session["terminate_cause"].as_u64().unwrap()));
            }
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let [(idle_secs, idle_cause), (busy_secs, busy_cause)] = ends.map(|end| end.expect("a session did not end"));
    assert_eq!((idle_cause, busy_cause), (4, 5), "Idle-Timeout, Session-Timeout");
    assert!((25..=45).contains(&idle_secs), "{idle_secs}");
    assert!((55..=68).contains(&busy_secs), "{busy_secs}");
}

#[test]
fn the_captive_portal_api_says_where_a_device_stands() {
    let _alone = alone();
    let mut world = world(&["--quota", "100MB", "--session-time", "1h"]);
    let phone = world.phone().unwrap();
    let lease = phone.dhcp().unwrap();
    let url = lease.api.expect("DHCP option 114");
    assert_eq!(url, format!("https://{API_HOST}:8443/captive"));
    let ask = || {
        let text = phone
            .curl(&["--cacert", &world.gateway.authority(), "-D", "/dev/stderr", &url])
            .unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let before = ask();
    assert_eq!(before["captive"], true);
    assert!(
        before["user-portal-url"].as_str().unwrap().starts_with("http"),
        "{before}"
    );
    log_in(&world, &phone, NUMBER);
    let after = ask();
    assert_eq!(after["captive"], false);
    let secs = after["seconds-remaining"].as_u64().unwrap();
    assert!((3500..=3600).contains(&secs), "{after}");
    let octets = after["bytes-remaining"].as_u64().unwrap();
    assert!((99_000_000..=100_000_000).contains(&octets), "{after}");
    assert!(
        after["venue-info-url"].is_string() && after["can-extend-session"].is_boolean(),
        "{after}"
    );
}

#[test]
fn a_citizen_logs_in_with_a_real_browser_from_inside_the_phone() {
    let _alone = alone();
    let mut world = world(&["--quota", "100MB"]);
    let phone = phone(&mut world);
    let browser = Browser::open(&phone, "ml", world.dir()).unwrap_or_else(|error| panic!("no browser: {error:#}"));
    browser.go("http://www.example.net/").unwrap();
    browser.wait_for("input[name=number]").unwrap();
    assert!(
        browser.text().unwrap().contains("നിങ്ങളുടെ മൊബൈൽ നമ്പർ നൽകുക"),
        "Malayalam first"
    );
    browser.type_into("input[name=number]", NUMBER).unwrap();
    browser.click("input[name=consent]").unwrap();
    browser.click("form[action='/number'] button").unwrap();
    browser.wait_for("input[name=code]").unwrap();
    // The mini-browser is closed while the SMS is read, and opens on the step it left.
    browser.go("http://www.example.net/again").unwrap();
    browser.wait_for("input[name=code]").unwrap();
    let (_, code) = Citizen {
        phone: &phone,
        number: NUMBER,
    }
    .read_code(&world, 0)
    .unwrap();
    browser.type_into("input[name=code]", &code).unwrap();
    browser.click("form[action='/code'] button").unwrap();
    browser.wait_for("form[action='/disconnect'] button").unwrap();
    browser.go("http://www.example.net/").unwrap();
    assert!(
        browser.text().unwrap().contains("A page of the internet"),
        "{}",
        browser.text().unwrap()
    );
}
