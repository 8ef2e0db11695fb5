//! Devices with IPv6 only: no DHCP lease, and IPv4 by way of their own CLAT and the provider's NAT64 (464XLAT, RFC 6877).

use std::time::Duration;

use kavadam_lab::flood::Nuisance;
use kavadam_lab::gateway::API_HOST;
use kavadam_lab::{Phone, World, xlat};

use crate::{NUMBER, WEB6, alone, beside_others, end, is_online, log_in, sessions, world_with};

/// A portal that both families lead to.
pub(crate) fn both_families(more: &str) -> String {
    format!("{more}[portal]\nlisten = \"[::]:8081\"\npublic_url = \"http://{API_HOST}:8081\"\n")
}

pub(crate) const ADMITTED: &str = "admit_ipv6_only = true\n";
/// The phone's second address, of its CLAT.
const CLAT: &str = "fd00:80::464";
const FETCHED: u64 = 2_000_000;

/// A phone that asks for no IPv4 address.
pub(crate) fn phone(world: &mut World) -> Phone {
    let phone = world.phone().unwrap();
    phone.set_resolver("fd00:80::1").unwrap();
    phone.slaac().unwrap();
    phone
}

fn fetches(phone: &Phone, words: &[&str]) -> bool {
    let words = [&["-sS", "-m", "10", "-o", "/dev/null"], words].concat();
    phone.netns().output("curl", &words).unwrap().status.success()
}

#[test]
fn a_phone_with_ipv6_only_is_heard_captured_logged_in_and_online() {
    let _machine = beside_others();
    let mut world = world_with(&both_families(ADMITTED), &["--quota", "100MB"]);
    let phone = phone(&mut world);
    let told = world.ask_lab_in(phone.netns(), &["ask-dhcp6", "eth0"]).unwrap();
    assert_eq!(told.trim(), format!("https://{API_HOST}:8443/captive"));
    let fetch = format!("http://[{WEB6}]:8000/bytes/{FETCHED}");
    assert!(!fetches(&phone, &[&fetch]), "a stranger");
    log_in(&world, &phone, NUMBER);
    assert!(fetches(&phone, &[&fetch]));
    end(&world);
    let session = &sessions(&world)[0];
    assert!(session["down_octets"].as_u64().unwrap() > FETCHED, "{session}");
}

#[test]
fn without_it_a_phone_without_a_lease_is_not_heard() {
    let _machine = beside_others();
    let mut world = world_with(&both_families(""), &["--quota", "100MB"]);
    let phone = phone(&mut world);
    assert!(!fetches(&phone, &[&format!("http://[{WEB6}]/")]));
    assert!(phone.netns().run("ping", &["-c1", "-W1", "fd00:80::1"]).is_err());
}

#[test]
fn a_literal_of_ipv4_goes_through_the_phones_own_translator_and_is_charged() {
    let _machine = beside_others();
    if !std::path::Path::new("/dev/net/tun").exists() {
        eprintln!("not tried: this machine has no /dev/net/tun");
        return;
    }
    let mut world = world_with(&both_families(ADMITTED), &["--quota", "100MB"]);
    let _nat64 = xlat::nat64(&world).unwrap();
    for words in [
        "add table inet seen",
        "add chain inet seen pre { type filter hook prerouting priority -300; }",
        "add rule inet seen pre iifname eth0 ip6 daddr 64:ff9b::/96 counter",
    ] {
        world.internet.run("nft", &[words]).unwrap();
    }
    let phone = phone(&mut world);
    let _clat = xlat::clat(&world, &phone, CLAT).unwrap();

    // RFC 7050: how a phone learns of the translator.
    let found = phone.netns().run("getent", &["ahostsv6", "ipv4only.arpa"]).unwrap();
    assert!(found.contains("64:ff9b::c000:aa"), "{found}");
    let literal = format!("http://{}:8000/bytes/{FETCHED}", xlat::WEB4);
    let captured = |url: &str| {
        let (status, to) = phone.probe(url).unwrap();
        assert_eq!(status, 302, "{url}");
        assert!(
            to.starts_with(&format!("http://{API_HOST}:8081/?res=notyet&")),
            "{url}: {to}"
        );
    };
    assert!(!fetches(&phone, &[&literal]), "a stranger");
    captured("http://[64:ff9b::c058:630a]/");
    captured(&format!("http://{}/", xlat::WEB4));
    let seen = world.internet.run("nft", &["list", "table", "inet", "seen"]).unwrap();
    assert!(
        seen.contains("counter packets 0 "),
        "nothing of a stranger comes out: {seen}"
    );

    log_in(&world, &phone, NUMBER);
    assert!(fetches(&phone, &[&literal]), "nothing through the translators");
    let body = world.dir().join("body");
    std::fs::write(&body, vec![b'x'; 1_000_000]).unwrap();
    let sink = format!("http://{}:8000/sink", xlat::WEB4);
    assert!(fetches(&phone, &["-T", &body.display().to_string(), &sink]));
    end(&world);
    let session = &sessions(&world)[0];
    assert!(session["down_octets"].as_u64().unwrap() > FETCHED, "{session}");
    assert!(session["up_octets"].as_u64().unwrap() > 1_000_000, "{session}");
    assert!(!fetches(&phone, &[&literal]), "a stranger again");
}

/// MACs that are heard without a lease.
fn admitted(world: &World) -> usize {
    let told = world
        .gate
        .run("nft", &["-j", "list", "set", "inet", "kavadam", "unleased"]);
    let told: serde_json::Value = serde_json::from_str(&told.unwrap()).unwrap();
    let sets = told["nftables"].as_array().unwrap();
    let elements = sets.iter().find_map(|entry| entry["set"]["elem"].as_array());
    elements.map_or(0, Vec::len)
}

#[test]
fn invented_devices_are_admitted_a_few_a_second_and_nobody_with_a_lease_or_online_notices() {
    let _alone = alone();
    let mut world = world_with(&both_families(ADMITTED), &["--quota", "none"]);
    let online = phone(&mut world);
    log_in(&world, &online, NUMBER);
    let attacker = crate::phone(&mut world);
    let began = std::time::Instant::now();
    let _flood = world.flood(&attacker, Nuisance::Neighbours).unwrap();
    std::thread::sleep(Duration::from_secs(10));
    let newcomer = crate::phone(&mut world);
    log_in(&world, &newcomer, "9876543211");
    assert!(is_online(&newcomer));
    assert!(fetches(&online, &[&format!("http://[{WEB6}]:8000/bytes/{FETCHED}")]));
    let seen = admitted(&world);
    let most = 25 + 5 * usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(
        (20..=most).contains(&seen),
        "{seen} were admitted, of some hundred thousands"
    );
}
