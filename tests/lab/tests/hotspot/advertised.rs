//! Router advertisements of our own, as strangers read them: the kernel of a phone, and Wireshark.

use std::path::Path;
use std::time::Duration;

use kavadam_lab::gateway::API_HOST;
use kavadam_lab::netns::{Process, sh};
use kavadam_lab::provider::BEFORE_DHCPCD;
use kavadam_lab::world::until;
use kavadam_lab::{Phone, World};

use crate::ipv6_only::{ADMITTED, both_families};
use crate::{NUMBER, WEB6, beside_others, is_online, log_in, world_with};

pub(crate) const TOLD: Duration = Duration::from_secs(10);
pub(crate) const TRANSLATED: &str = "nat64_prefix = \"64:ff9b::/96\"\n";
/// What Wireshark calls the parts, in the order of [`Heard`].
const FIELDS: [&str; 13] = [
    "ipv6.src",
    "ipv6.dst",
    "ipv6.hlim",
    "icmpv6.checksum.status",
    "icmpv6.nd.ra.flag",
    "icmpv6.nd.ra.router_lifetime",
    "icmpv6.opt.prefix",
    "icmpv6.opt.prefix.preferred_lifetime",
    "icmpv6.opt.rdnss",
    "icmpv6.opt.rdnss.lifetime",
    "icmpv6.opt.captive_portal",
    "icmpv6.opt.pref64.prefix",
    "icmpv6.opt.pref64.scaled_lifetime",
];

/// One message, by [`FIELDS`].
pub(crate) type Heard = Vec<String>;

/// Watches what a phone hears and sends in neighbour discovery; ended by [`Eye::close`].
pub(crate) struct Eye {
    dumpcap: Process,
    capture: String,
}

impl Eye {
    pub(crate) fn open(world: &World, phone: &Phone) -> Self {
        let capture = format!("{}/{}.pcapng", world.dir().display(), phone.netns().name());
        let words = ["-q", "-i", "eth0", "-f", "icmp6", "-w", &capture];
        let dumpcap = phone.netns().start(&world.dir().join("dumpcap.log"), "dumpcap", &words);
        let dumpcap = dumpcap.unwrap();
        assert!(until(TOLD, || Path::new(&capture).exists()), "dumpcap does not watch");
        Self { dumpcap, capture }
    }

    /// Messages of this type.
    fn close(mut self, kind: u8) -> Vec<Heard> {
        // The kernel hands packets over in heaps.
        std::thread::sleep(Duration::from_secs(1));
        self.dumpcap.terminate().unwrap();
        let wanted = format!("icmpv6.type == {kind}");
        let mut words = vec!["-r", &self.capture, "-Y", &wanted, "-T", "fields"];
        words.extend(FIELDS.iter().flat_map(|field| ["-e", field]));
        let told = sh("tshark", &words).unwrap();
        let line = |line: &str| line.split('\t').map(str::to_owned).collect();
        told.lines().filter(|line| line.contains(':')).map(line).collect()
    }

    pub(crate) fn advertisements(self) -> Vec<Heard> {
        self.close(134)
    }
}

pub(crate) fn of<'a>(heard: &'a Heard, field: &str) -> &'a str {
    &heard[FIELDS.iter().position(|one| *one == field).unwrap()]
}

fn link_local(phone: &Phone) -> String {
    let shown = phone.netns().ip("-6 -o addr show dev eth0 scope link").unwrap();
    let mut words = shown.split_whitespace().skip_while(|word| *word != "inet6");
    words.nth(1).unwrap().split('/').next().unwrap().to_owned()
}

/// What dhcpcd makes of what it is told.
const DHCPCD: &str =
    "timeout 10 dhcpcd -6 -B -T -f /dev/null --nohook resolv.conf,hostname,timezone,ntp.conf --ipv6rs eth0";

/// Gives the LAN's interface an address as a client of prefix delegation does.
pub(crate) fn put(world: &World, net: &str) {
    let words = format!("-6 addr add {net} dev lan0 nodad valid_lft 7200 preferred_lft 3600");
    world.gate.ip(&words).unwrap();
}

/// Has the phone solicit: as it does whenever it joins.
pub(crate) fn join_again(phone: &Phone) {
    phone.netns().ip("link set eth0 down").unwrap();
    phone.netns().ip("link set eth0 up").unwrap();
}

#[test]
fn a_phone_without_dhcp_learns_of_the_router_the_resolver_the_portal_and_the_translator() {
    let _machine = beside_others();
    let extra = both_families(&format!("{ADMITTED}{TRANSLATED}"));
    let mut world = world_with(&extra, &["--quota", "100MB"]);
    let phone = world.phone().unwrap();
    let eye = Eye::open(&world, &phone);
    join_again(&phone);
    phone.slaac().unwrap();
    let route = phone.netns().ip("-6 route show default").unwrap();
    assert!(
        route.contains("via fe80:") && route.contains("proto ra"),
        "no way out: {route}"
    );
    let own = link_local(&phone);
    let all = eye.advertisements();
    for heard in &all {
        assert!(of(heard, "ipv6.src").starts_with("fe80:"), "{heard:?}");
        assert_eq!(of(heard, "ipv6.hlim"), "255");
        assert_eq!(of(heard, "icmpv6.checksum.status"), "1", "Wireshark finds it right");
        assert_eq!(
            of(heard, "icmpv6.nd.ra.flag"),
            "0x40",
            "other configuration, no addresses"
        );
        assert_eq!(of(heard, "icmpv6.nd.ra.router_lifetime"), "2700");
        assert_eq!(of(heard, "icmpv6.opt.prefix"), "fd00:80::");
        assert_eq!(of(heard, "icmpv6.opt.prefix.preferred_lifetime"), "2700");
        assert_eq!(of(heard, "icmpv6.opt.rdnss"), "fd00:80::1");
        assert_eq!(
            of(heard, "icmpv6.opt.captive_portal"),
            format!("https://{API_HOST}:8443/captive")
        );
        assert_eq!(of(heard, "icmpv6.opt.pref64.prefix"), "64:ff9b::");
    }
    let is_to = |heard: &Heard, address: &str| of(heard, "ipv6.dst") == address;
    assert!(
        !all.is_empty() && all.iter().all(|heard| is_to(heard, "ff02::1") || is_to(heard, &own)),
        "to all, or to this phone: {all:?}"
    );
    assert!(world.gateway.check(&world.gate).contains("sent by kavadam, which runs"));

    // What it was told is of use: by that resolver, that router and that portal it comes in.
    phone.set_resolver(of(&all[0], "icmpv6.opt.rdnss")).unwrap();
    let asked = [
        "--cacert",
        &world.gateway.authority(),
        of(&all[0], "icmpv6.opt.captive_portal"),
    ];
    let api: serde_json::Value = serde_json::from_str(&phone.curl(&asked).unwrap()).unwrap();
    assert_eq!(api["captive"], true, "{api}");
    let page = phone.open(&format!("http://[{WEB6}]/")).unwrap();
    assert!(page.form("/number").is_ok(), "not captured, but: {}", page.text());
    log_in(&world, &phone, NUMBER);
    assert!(is_online(&phone));
}

#[test]
fn a_strangers_client_finds_the_router_the_prefix_and_the_resolver() {
    let _machine = beside_others();
    let mut world = world_with("", &["--quota", "none"]);
    let laptop = world.phone().unwrap();
    // Its processes end with the first of them.
    let client = format!("{BEFORE_DHCPCD} && {DHCPCD}");
    let words = ["--pid", "--fork", "--kill-child", "sh", "-c", &client];
    let told = laptop.netns().output("unshare", &words).unwrap();
    let told = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
    for wanted in [
        "nd1_from='fe80:",
        "nd1_flags='O'",
        "nd1_lifetime='2700'",
        "nd1_prefix_information1_prefix='fd00:80::'",
        "nd1_prefix_information1_flags='LA'",
        "nd1_prefix_information1_pltime='2700'",
        "nd1_prefix_information1_vltime='5400'",
        "nd1_rdnss1_servers='fd00:80::1'",
    ] {
        assert!(told.contains(wanted), "{wanted} is missing from\n{told}");
    }
}

#[test]
fn who_solicits_is_answered_alone_if_it_is_on_the_link_itself() {
    let _machine = beside_others();
    let mut world = world_with("", &["--quota", "none"]);
    let phone = world.phone().unwrap();
    phone.slaac().unwrap();
    // What a router has passed on has a lower one.
    for words in [
        "add table ip6 far",
        "add chain ip6 far out { type filter hook output priority 0; }",
        "add rule ip6 far out icmpv6 type nd-router-solicit ip6 hoplimit set 64",
    ] {
        phone.netns().run("nft", &[words]).unwrap();
    }
    // Whatever it asked before has been answered by then.
    std::thread::sleep(Duration::from_secs(1));
    let eye = Eye::open(&world, &phone);
    join_again(&phone);
    std::thread::sleep(Duration::from_secs(6));
    let capture = eye.capture.clone();
    let answers = |all: &[Heard]| all.iter().filter(|heard| of(heard, "ipv6.dst") != "ff02::1").count();
    assert_eq!(answers(&eye.advertisements()), 0, "from afar");
    let asked = sh(
        "tshark",
        &["-r", &capture, "-Y", "icmpv6.type == 133 && ipv6.hlim == 64"],
    )
    .unwrap();
    assert!(!asked.is_empty(), "it did not solicit");

    phone.netns().run("nft", &["delete table ip6 far"]).unwrap();
    std::fs::remove_file(&capture).unwrap();
    let eye = Eye::open(&world, &phone);
    join_again(&phone);
    std::thread::sleep(Duration::from_secs(6));
    let own = link_local(&phone);
    let all = eye.advertisements();
    assert!(all.iter().any(|heard| of(heard, "ipv6.dst") == own), "{all:?}");
}

#[test]
fn a_prefix_that_is_replaced_is_deprecated_in_a_phone_at_once() {
    let _machine = beside_others();
    let mut world = world_with("delegated_prefixes = true\n", &["--quota", "100MB"]);
    put(&world, "2001:db8:a000::1/64");
    let phone = world.phone().unwrap();
    phone.slaac_in("2001:db8:a000:").unwrap();
    let eye = Eye::open(&world, &phone);
    world.gate.ip("-6 addr del 2001:db8:a000::1/64 dev lan0").unwrap();
    put(&world, "2001:db8:b000::1/64");
    let shown = || phone.netns().ip("-6 -o addr show dev eth0").unwrap();
    let has = |start: &str, word: &str| {
        let shown = shown();
        shown.lines().any(|line| line.contains(start) && line.contains(word))
    };
    assert!(
        until(TOLD, || has("2001:db8:a000:", "deprecated")
            && has("2001:db8:b000:", "inet6")),
        "{}",
        shown()
    );
    assert!(!has("fd00:80:", "deprecated") && !has("2001:db8:b000:", "deprecated"));
    let all = eye.advertisements();
    let last = all.last().unwrap();
    let prefixes = of(last, "icmpv6.opt.prefix").split(',');
    let lifetimes = of(last, "icmpv6.opt.prefix.preferred_lifetime").split(',');
    let told: Vec<(&str, &str)> = prefixes.zip(lifetimes).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[2], ("2001:db8:a000::", "0"), "what is there comes first");
}

#[test]
fn a_prefix_that_is_replaced_while_nobody_looks_is_deprecated_when_somebody_does() {
    let _machine = beside_others();
    let mut world = world_with("delegated_prefixes = true\n", &["--quota", "100MB"]);
    put(&world, "2001:db8:a000::1/64");
    let phone = world.phone().unwrap();
    phone.slaac_in("2001:db8:a000:").unwrap();
    world.gateway.stop_advertiser();
    world.gate.ip("-6 addr del 2001:db8:a000::1/64 dev lan0").unwrap();
    put(&world, "2001:db8:b000::1/64");
    world.gateway.start_advertiser(&world.gate).unwrap();
    phone.slaac_in("2001:db8:b000:").unwrap();
    let shown = || phone.netns().ip("-6 -o addr show dev eth0").unwrap();
    let is_deprecated = || {
        let shown = shown();
        let mut lines = shown.lines();
        lines.any(|line| line.contains("2001:db8:a000:") && line.contains("deprecated"))
    };
    assert!(until(TOLD, is_deprecated), "{}", shown());
}

#[test]
fn a_restart_and_an_interface_made_anew_take_nobodys_way_away() {
    let _machine = beside_others();
    let mut world = world_with("", &["--quota", "none"]);
    let phone = world.phone().unwrap();
    phone.slaac().unwrap();
    let has_way = |phone: &Phone| phone.netns().ip("-6 route show default").unwrap().contains("proto ra");
    let eye = Eye::open(&world, &phone);
    world.gateway.stop_advertiser();
    let told = world.gateway.check(&world.gate);
    assert!(told.contains("nobody sends router advertisements"), "{told}");
    std::thread::sleep(Duration::from_secs(1));
    assert!(has_way(&phone), "without us");
    let capture = eye.capture.clone();
    for _ in 0..3 {
        world.gateway.start_advertiser(&world.gate).unwrap();
        std::thread::sleep(Duration::from_secs(2));
    }
    assert_eq!(
        eye.advertisements(),
        [] as [Heard; 0],
        "it is told already, and is not woken"
    );
    assert!(has_way(&phone));
    std::fs::remove_file(&capture).unwrap();
    let eye = Eye::open(&world, &phone);
    join_again(&phone);
    phone.slaac().unwrap();
    let all = eye.advertisements();
    let mut lifetimes = all.iter().map(|heard| of(heard, "icmpv6.nd.ra.router_lifetime"));
    assert!(!all.is_empty() && lifetimes.all(|secs| secs == "2700"), "{all:?}");
    assert!(has_way(&phone));

    for words in [
        "link del lan0",
        "link add lan0 type bridge",
        "addr add 10.80.0.1/16 dev lan0",
        "addr add fd00:80::1/64 dev lan0 nodad",
        "link set lan0 up",
    ] {
        world.gate.ip(words).unwrap();
    }
    let newcomer = world.phone().unwrap();
    newcomer.slaac().unwrap();
    assert!(has_way(&newcomer));
}

#[test]
fn whoever_filters_what_is_sent_is_told_of_once_and_waited_out() {
    let _machine = beside_others();
    let mut world = world_with("", &["--quota", "none"]);
    let phone = world.phone().unwrap();
    phone.slaac().unwrap();
    for words in [
        "add table ip6 mute",
        "add chain ip6 mute out { type filter hook output priority 0; }",
        "add rule ip6 mute out icmpv6 type nd-router-advert drop",
    ] {
        world.gate.run("nft", &[words]).unwrap();
    }
    // As one that has told nobody yet.
    std::fs::remove_file(world.dir().join("told")).unwrap();
    world.gateway.start_advertiser(&world.gate).unwrap();
    let log = world.dir().join("advertise.log");
    let told = || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.matches("cannot advertise the gateway yet").count()
    };
    assert!(until(TOLD, || told() == 1));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(told(), 1);
    world.gate.run("nft", &["delete table ip6 mute"]).unwrap();
    world.phone().unwrap().slaac().unwrap();
}

#[test]
fn where_others_advertise_we_do_not_and_dhcpv6_answers_all_the_same() {
    let _machine = beside_others();
    let mut world = world_with("router_advertisements = \"none\"\n", &["--quota", "none"]);
    let phone = world.phone().unwrap();
    let eye = Eye::open(&world, &phone);
    join_again(&phone);
    // Time for two solicitations.
    std::thread::sleep(Duration::from_secs(6));
    let told = world.ask_lab_in(phone.netns(), &["ask-dhcp6", "eth0"]).unwrap();
    assert_eq!(told.trim(), format!("https://{API_HOST}:8443/captive"));
    assert_eq!(eye.advertisements(), [] as [Heard; 0]);
    assert!(world.gateway.check(&world.gate).contains("none of ours"));
}

#[test]
fn dnsmasq_advertises_where_it_is_to_but_cannot_tell_of_the_portal() {
    let _machine = beside_others();
    let mut world = world_with("router_advertisements = \"dnsmasq\"\n", &["--quota", "none"]);
    let phone = world.phone().unwrap();
    let eye = Eye::open(&world, &phone);
    join_again(&phone);
    phone.slaac().unwrap();
    let all = eye.advertisements();
    assert_eq!(of(&all[0], "icmpv6.opt.rdnss"), "fd00:80::1");
    assert_eq!(of(&all[0], "icmpv6.opt.captive_portal"), "");
    assert!(world.gateway.check(&world.gate).contains("learn of neither"));

    // As in an upgrade from a version that left it to dnsmasq: what runs is still the one of before.
    let (before, after) = (
        "router_advertisements = \"dnsmasq\"",
        "router_advertisements = \"kavadam\"",
    );
    world.gateway.amend(before, after).unwrap();
    world.gateway.stop_advertiser();
    let told = world.gateway.check(&world.gate);
    assert!(told.contains("until kavadam-dnsmasq is restarted"), "{told}");
    assert!(!told.contains("nobody sends router advertisements"), "{told}");
    world.gateway.start_dnsmasq(&world.gate).unwrap();
    let is_ours = || world.gateway.check(&world.gate).contains("sent by kavadam, which runs");
    assert!(until(TOLD, is_ours));
}

#[test]
fn a_phone_that_can_do_without_ipv4_is_told_for_how_long_if_it_asks() {
    let _machine = beside_others();
    let extra = both_families(&format!("{ADMITTED}{TRANSLATED}ipv6_only_preferred = \"30m\"\n"));
    let mut world = world_with(&extra, &["--quota", "none"]);
    let phone = world.phone().unwrap();
    let lease = phone.dhcp().unwrap();
    assert_eq!(lease.ipv6_only_secs, Some(1800));
    assert!(lease.api.is_some());
    let told = world.gateway.check(&world.gate);
    assert!(told.contains("64:ff9b::/96 alone"), "{told}");
}
