//! What passes between our gateway and our centre, in the eyes of Wireshark.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use kavadam_lab::World;
use kavadam_lab::netns::sh;
use kavadam_lab::world::until;

use crate::{ENDLESS, NUMBER, beside_others, end, is_online, log_in, phone, world};

/// Every RADIUS packet of a day: logins and refusals, by CHAP and by MAC, leases renewed, reports, a change of plan and an end.
fn live_a_day(world: &mut World) {
    let (one, two) = (phone(world), phone(world));
    log_in(world, &one, NUMBER);
    let url = ENDLESS.replace("1000000000000", "25000000");
    one.curl(&["-o", "/dev/null", &url]).unwrap();
    world.set_plan(&["--quota", "60MB", "--down", "50Mbit"]).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    end(world);
    one.dhcp().unwrap();
    assert!(
        until(Duration::from_secs(10), || is_online(&one)),
        "not let in by its MAC"
    );
    log_in(world, &two, "9876543211");
    world.gateway.stop().unwrap();
}

/// The gate's own eye on what passes between it and its centre, for as long as that lasts.
pub(crate) fn watched(world: &mut World, while_it: impl FnOnce(&mut World)) -> String {
    let capture = world.dir().join("radius.pcapng").display().to_string();
    let log = world.dir().join("dumpcap.log");
    let filter = "udp port 1812 or udp port 1813 or udp port 3799";
    let words = ["-q", "-i", "lo", "-f", filter, "-w", &capture];
    let mut eye = world.gate.start(&log, "dumpcap", &words).unwrap();
    assert!(
        until(Duration::from_secs(10), || Path::new(&capture).exists()),
        "dumpcap does not watch"
    );
    while_it(world);
    // The kernel hands packets over in heaps.
    std::thread::sleep(Duration::from_secs(1));
    eye.terminate().unwrap();
    capture
}

/// What Wireshark makes of the packets.
pub(crate) fn tshark(world: &World, capture: &str, words: &[&str]) -> String {
    let secret = std::fs::read_to_string(world.dir().join("state/local-nas.secret")).unwrap();
    let secret = format!("radius.shared_secret:{}", secret.trim());
    let known = ["-r", capture, "-o", &secret, "-o", "radius.validate_authenticator:TRUE"];
    sh("tshark", &[&known, words].concat()).unwrap()
}

#[test]
fn wireshark_finds_nothing_amiss_in_what_gateway_and_centre_say() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "40MB", "--down", "none", "--up", "none"]);
    let capture = watched(&mut world, live_a_day);
    let amiss = "!radius || _ws.expert || _ws.malformed || radius.authenticator.invalid == 1";
    assert_eq!(tshark(&world, &capture, &["-Y", amiss]), "");
    let numbers = format!("frame contains \"{NUMBER}\"");
    assert_eq!(tshark(&world, &capture, &["-Y", &numbers]), "", "a number on the wire");

    let first = ["radius.code", "radius.avp.type", "radius.authenticator.valid"];
    let words = [
        "-T",
        "fields",
        "-E",
        "occurrence=f",
        "-e",
        first[0],
        "-e",
        first[1],
        "-e",
        first[2],
    ];
    let mut codes = BTreeSet::new();
    for line in tshark(&world, &capture, &words).lines() {
        let [code, first, is_valid]: [&str; 3] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        codes.insert(code.parse::<u8>().unwrap());
        // Wireshark checks the authenticators of answers.
        assert!(
            is_valid == "1" || !["2", "3", "5", "41", "44"].contains(&code),
            "{line}"
        );
        // Message-Authenticator, where it is called for, stands before everything else.
        assert!(first == "80" || ["4", "5"].contains(&code), "{line}");
    }
    let wanted = [1, 2, 3, 4, 5, 40, 41, 43, 44];
    assert!(wanted.iter().all(|code| codes.contains(code)), "{codes:?}");

    // Of all attributes this Wireshark does not know one, CoovaChilli's gigawords.
    let text = tshark(&world, &capture, &["-V", "-O", "radius"]);
    let unknown = text.lines().filter(|line| line.contains("=Unknown-Attribute"));
    let others: Vec<&str> = unknown
        .filter(|line| !line.contains("VSA: t=Unknown-Attribute(23)"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}
