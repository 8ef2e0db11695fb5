//! IPv6 as a provider gives it: a prefix that is delegated (RFC 8415 §6.3), and another one later.

use std::time::Duration;

use kavadam_lab::netns::sh;
use kavadam_lab::provider::Provider;
use kavadam_lab::world::until;
use kavadam_lab::{Phone, World};

use crate::decoded::{tshark, watched};
use crate::ipv6_only::{ADMITTED, both_families};
use crate::{NUMBER, WEB6, beside_others, end, log_in, octets, phone, sessions, world_with};

const DELEGATED: &str = "delegated_prefixes = true\n";
const FIRST: &str = "2001:db8:a000::";
const SECOND: &str = "2001:db8:b000::";
const FETCHED: u64 = 2_000_000;

/// How curl ends that speaks from this address of the phone.
fn fetch_from(phone: &Phone, own: &str) -> i32 {
    let url = format!("http://[{WEB6}]:8000/bytes/{FETCHED}");
    let words = ["-sS", "-m", "5", "-o", "/dev/null", "--interface", own, &url];
    phone.netns().output("curl", &words).unwrap().status.code().unwrap()
}

/// Counts in the internet what comes from there.
fn count_from(world: &World, name: &str, prefix: &str) {
    for words in [
        "add table inet seen".to_owned(),
        "add chain inet seen pre { type filter hook prerouting priority -300; }".to_owned(),
        format!("add counter inet seen {name}"),
        format!("add rule inet seen pre ip6 saddr {prefix} counter name {name}"),
    ] {
        world.internet.run("nft", &[&words]).unwrap();
    }
}

fn packets(world: &World, name: &str) -> u64 {
    let shown = world
        .internet
        .run("nft", &["-j", "list", "counter", "inet", "seen", name]);
    let shown: serde_json::Value = serde_json::from_str(&shown.unwrap()).unwrap();
    let entries = shown["nftables"].as_array().unwrap();
    let packets = entries.iter().find_map(|entry| entry["counter"]["packets"].as_u64());
    packets.unwrap()
}

#[test]
fn a_session_goes_on_when_the_provider_delegates_another_prefix() {
    let _machine = beside_others();
    let mut world = world_with(DELEGATED, &["--quota", "100MB"]);
    let provider = Provider::delegating(&world, FIRST).unwrap();
    let phone = phone(&mut world);
    let first = phone.slaac_in("2001:db8:a000:").unwrap();
    let own = phone.slaac_in("fd00:80:").unwrap();
    let checked = world.gateway.check(&world.gate);
    assert!(
        checked.contains("devices have addresses of 2001:db8:a000::/64"),
        "{checked}"
    );
    let page = phone.open(&format!("http://[{WEB6}]/")).unwrap();
    assert!(page.form("/number").is_ok(), "not captured, but: {}", page.text());
    assert_ne!(fetch_from(&phone, &first), 0, "a stranger");

    log_in(&world, &phone, NUMBER);
    assert_eq!(fetch_from(&phone, &first), 0);
    let before = sessions(&world);
    assert!(
        world.internet.run("ping", &["-c1", "-W1", &first]).is_err(),
        "only answers come in"
    );
    // curl's number for a connection that was refused.
    assert_eq!(fetch_from(&phone, &own), 7, "our own prefix leads nowhere, and says so");

    provider.renumber(&world, SECOND).unwrap();
    let second = phone.slaac_in("2001:db8:b000:").unwrap();
    assert!(
        until(Duration::from_secs(10), || fetch_from(&phone, &second) == 0),
        "offline after the change"
    );
    let after = sessions(&world);
    assert_eq!(
        (after.len(), &after[0]["id"]),
        (1, &before[0]["id"]),
        "the same session"
    );
    assert_ne!(after[0]["state"], "ended");
    assert!(
        world.internet.run("ping", &["-c1", "-W1", &second]).is_err(),
        "only answers come in"
    );

    count_from(&world, "before", &format!("{FIRST}/48"));
    count_from(&world, "now", &format!("{SECOND}/48"));
    count_from(&world, "foreign", "2001:db8:f00d::/48");
    // The phone has the first address still, for connections that are left.
    phone
        .netns()
        .ip(&format!("-6 addr replace {first}/64 dev eth0 nodad"))
        .unwrap();
    phone
        .netns()
        .ip("-6 addr add 2001:db8:f00d::5/64 dev eth0 nodad")
        .unwrap();
    assert_ne!(fetch_from(&phone, &first), 0, "the first prefix is over");
    assert_ne!(fetch_from(&phone, "2001:db8:f00d::5"), 0, "a foreign prefix");
    assert_eq!(fetch_from(&phone, &second), 0);
    assert!(packets(&world, "now") > 0);
    assert_eq!((packets(&world, "before"), packets(&world, "foreign")), (0, 0));

    end(&world);
    let charged = octets(&sessions(&world)[0]);
    assert!(charged > 3 * FETCHED, "{charged} octets were charged");
    assert_ne!(fetch_from(&phone, &second), 0, "a stranger again");
}

#[test]
fn a_gateway_that_starts_anew_knows_the_prefix_and_who_is_online() {
    let _machine = beside_others();
    let mut world = world_with(DELEGATED, &["--quota", "100MB"]);
    let provider = Provider::delegating(&world, FIRST).unwrap();
    let phone = phone(&mut world);
    let first = phone.slaac_in("2001:db8:a000:").unwrap();
    log_in(&world, &phone, NUMBER);
    world.gateway.kill();
    assert_eq!(fetch_from(&phone, &first), 0, "the kernel knows without us");
    // While nobody looks the provider delegates another.
    provider.renumber(&world, SECOND).unwrap();
    let second = phone.slaac_in("2001:db8:b000:").unwrap();
    assert_ne!(fetch_from(&phone, &second), 0, "nobody follows");
    world.gateway.start(&world.gate).unwrap();
    assert!(until(Duration::from_secs(10), || fetch_from(&phone, &second) == 0));
    assert_eq!(sessions(&world).len(), 1);
}

#[test]
fn the_record_tells_the_address_of_now() {
    let _machine = beside_others();
    let extra = both_families(&format!("{DELEGATED}{ADMITTED}"));
    let mut world = world_with(&extra, &["--quota", "100MB"]);
    let provider = Provider::delegating(&world, FIRST).unwrap();
    let phone = crate::ipv6_only::phone(&mut world);
    let first = phone.slaac_in("2001:db8:a000:").unwrap();
    let mut second = String::new();
    let capture = watched(&mut world, |world| {
        log_in(world, &phone, NUMBER);
        assert_eq!(fetch_from(&phone, &first), 0);
        std::thread::sleep(Duration::from_secs(7));
        provider.renumber(world, SECOND).unwrap();
        second = phone.slaac_in("2001:db8:b000:").unwrap();
        assert!(until(Duration::from_secs(10), || fetch_from(&phone, &second) == 0));
        std::thread::sleep(Duration::from_secs(7));
        end(world);
    });
    let words = [
        "-Y",
        "radius.code == 4",
        "-T",
        "fields",
        "-e",
        "radius.Framed_IPv6_Address",
    ];
    let told = tshark(&world, &capture, &words);
    let mut told: Vec<&str> = told.lines().map(str::trim).collect();
    told.dedup();
    let own = phone.slaac_in("fd00:80:").unwrap();
    // By what it logged in, by what it is seen in the internet, by nothing for a moment, and by what it is seen now.
    let whole = [own.as_str(), &first, "", &second];
    assert_eq!(
        told.iter().filter(|one| whole.contains(one)).count(),
        told.len(),
        "{told:?}"
    );
    assert_eq!(told.last(), Some(&second.as_str()), "{told:?}");
    assert!(told.contains(&first.as_str()), "{told:?}");
}

/// One router advertisement: prefixes with their preferred lifetimes in seconds, and resolvers.
struct Advertised {
    prefixes: Vec<(String, u32)>,
    resolvers: Vec<String>,
}

impl Advertised {
    fn preferred(&self, prefix: &str) -> Option<u32> {
        let mut known = self.prefixes.iter();
        known.find_map(|(one, secs)| (one == prefix).then_some(*secs))
    }
}

fn advertised(capture: &str) -> Vec<Advertised> {
    let field = |name: &str| format!("icmpv6.opt.{name}");
    let [prefix, preferred, resolver] = ["prefix", "prefix.preferred_lifetime", "rdnss"].map(field);
    let words = [
        "-r", capture, "-T", "fields", "-e", &prefix, "-e", &preferred, "-e", &resolver,
    ];
    let told = sh("tshark", &words).unwrap();
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let line = |line: &str| {
        let [prefixes, preferred, resolvers] = line.split('\t').map(list).collect::<Vec<_>>().try_into().unwrap();
        let preferred = preferred.into_iter().map(|secs| secs.parse().unwrap());
        Advertised {
            prefixes: prefixes.into_iter().zip(preferred).collect(),
            resolvers,
        }
    };
    told.lines().filter(|line| line.trim() != "").map(line).collect()
}

#[test]
fn devices_are_told_of_both_prefixes_of_one_resolver_and_of_a_prefix_that_goes() {
    let _machine = beside_others();
    let mut world = world_with(DELEGATED, &["--quota", "100MB"]);
    let provider = Provider::delegating(&world, FIRST).unwrap();
    let phone = world.phone().unwrap();
    let capture = world.dir().join("advertised.pcapng").display().to_string();
    let log = world.dir().join("dumpcap.log");
    let words = ["-q", "-i", "eth0", "-f", "icmp6 and ip6[40] == 134", "-w", &capture];
    let mut eye = phone.netns().start(&log, "dumpcap", &words).unwrap();
    phone.slaac_in("2001:db8:a000:").unwrap();
    provider.renumber(&world, SECOND).unwrap();
    phone.slaac_in("2001:db8:b000:").unwrap();
    // It is said more than once, as a Wi-Fi loses what goes to all.
    std::thread::sleep(Duration::from_secs(5));
    eye.terminate().unwrap();

    let all = advertised(&capture);
    assert!(
        all.iter()
            .all(|one| one.preferred("fd00:80::").is_some_and(|secs| secs > 0))
    );
    assert!(all.iter().all(|one| one.resolvers == ["fd00:80::1"]));
    let first = all.iter().filter_map(|one| one.preferred(FIRST)).collect::<Vec<_>>();
    assert!(first.iter().any(|secs| *secs > 0), "{first:?}");
    let last = all.last().unwrap();
    assert_eq!(last.preferred(FIRST), Some(0), "what has gone is no longer to be used");
    assert!(last.preferred(SECOND).is_some_and(|secs| (1..=1800).contains(&secs)));
}
