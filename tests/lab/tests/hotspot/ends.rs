//! How sessions end, and how people come back.

use std::time::{Duration, Instant};

use kavadam_lab::citizen::CHECK;
use kavadam_lab::netns::Process;
use kavadam_lab::world::until;
use kavadam_lab::{Citizen, Tally, World};

use crate::{ENDLESS, NUMBER, WEB, beside_others, end, is_online, is_over, log_in, phone, sessions, world};

#[test]
fn the_disconnect_button_ends_the_session_its_connections_and_the_automatic_return() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "none", "--down", "10Mbit", "--up", "10Mbit"]);
    let phone = phone(&mut world);
    let citizen = Citizen {
        phone: &phone,
        number: NUMBER,
    };
    let status = citizen.log_in(&world).unwrap();
    let tally = Tally::begin(&world, &[&phone]).unwrap();
    let mut flows = [
        phone.download(ENDLESS).unwrap(),
        phone.upload(&format!("http://{WEB}/sink")).unwrap(),
    ];
    std::thread::sleep(Duration::from_secs(1));
    assert!(flows.iter_mut().all(Process::is_running), "no connections to end");
    let page = phone.submit(&status.form("/disconnect").unwrap()).unwrap();
    assert!(page.form("/disconnect").is_err(), "still connected: {}", page.text());
    assert!(is_over(&world, Duration::from_secs(10)), "the session did not end");
    let [_download, upload] = &mut flows;
    let is_dead = until(Duration::from_secs(5), || !upload.is_running());
    assert!(is_dead, "an upload lives on");
    // A phone that only listens learns nothing; its download's other end does.
    let is_dead = until(Duration::from_secs(5), || {
        let connections = ["-Htn", "state", "established", "sport", "=", ":8000"];
        world.internet.run("ss", &connections).is_ok_and(|text| text.is_empty())
    });
    assert!(is_dead, "a download lives on");
    let crossed = tally.both().unwrap();
    // Whatever wakes the gate's memory of the device: a lease, a request, time.
    phone.dhcp().unwrap();
    for _ in 0..5 {
        assert!(!is_online(&phone), "the device came back by itself");
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(sessions(&world).len(), 1, "a session by itself");
    assert_eq!(tally.both().unwrap(), crossed, "octets without a session");
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
    assert_eq!(world.messages().len(), 1, "a second code");
}

#[test]
fn a_remembered_device_returns_without_a_page() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "none"]);
    let phone = phone(&mut world);
    log_in(&world, &phone, NUMBER);
    end(&world);
    phone.dhcp().unwrap();
    assert!(
        until(Duration::from_secs(10), || is_online(&phone)),
        "not let in by its MAC"
    );
    assert_eq!(world.messages().len(), 1, "no second code");
}

#[test]
fn who_asks_for_an_address_in_a_remembered_devices_name_lets_nobody_in_and_the_device_itself_does() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "none"]);
    let (absent, stranger) = (phone(&mut world), phone(&mut world));
    log_in(&world, &absent, NUMBER);
    end(&world);
    absent.netns().ip("link set eth0 down").unwrap();
    // Its lease is over, and the kernel knows: otherwise nobody else would be heard in its name.
    world.gateway.stop().unwrap();
    std::fs::remove_file(world.dir().join("dnsmasq/dnsmasq.leases")).unwrap();
    let World { gateway, gate, .. } = &mut world;
    for set in ["leases", "lease_macs", "lease_clients", "lease_owners", "leased"] {
        gate.run("nft", &["flush", "set", "inet", "kavadam", set]).unwrap();
    }
    gateway.start(gate).unwrap();
    gateway.start_dnsmasq(gate).unwrap();
    let words = [
        "starve",
        "clients",
        "--mac",
        stranger.mac(),
        "--most",
        "1",
        "--victim",
        absent.mac(),
    ];
    let got = world.ask_lab_in(stranger.netns(), &words).unwrap();
    assert_eq!(got.trim(), "1", "an address, which is no harm");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sessions(&world).len(), 1, "a session of somebody who is not there");
    absent.netns().ip("link set eth0 up").unwrap();
    absent.dhcp().unwrap();
    assert!(
        until(Duration::from_secs(5), || sessions(&world).len() == 2),
        "not let in by its MAC alone, without a request"
    );
}

#[test]
fn a_remembered_device_that_kept_its_address_over_a_boot_of_the_gateway_returns_with_its_first_frame() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "none"]);
    let phone = phone(&mut world);
    log_in(&world, &phone, NUMBER);
    end(&world);
    // A port that is down forgets its devices, as a bridge does that is made anew.
    phone.netns().ip("link set eth0 down").unwrap();
    let World { gateway, gate, .. } = &mut world;
    gateway.stop().unwrap();
    gateway.start(gate).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sessions(&world).len(), 1, "a session of somebody who is not there");
    phone.netns().ip("link set eth0 up").unwrap();
    let _ = phone.netns().output("ping", &["-c1", "-W1", "10.80.0.1"]);
    assert!(
        until(Duration::from_secs(5), || sessions(&world).len() == 2),
        "not let in by its MAC alone, without a request or a message to DHCP"
    );
}

#[test]
fn idle_and_session_time_end_sessions() {
    // Beside the others: it takes a minute and measures nothing but that.
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
