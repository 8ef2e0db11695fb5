//! What a gateway opens, blocks, divides and tells its devices.

use super::{NO_MESSAGES, complains_of, problems};

#[test]
fn a_garden_of_what_is_no_name_is_refused() {
    for entry in ["https://example.org", "*", "*.in", "localhost", "a b.org", ""] {
        complains_of(
            &format!("gateway.walled_garden = ['203.0.113.30', '{entry}']"),
            &["gateway.walled_garden"],
        );
    }
    complains_of(
        "gateway.walled_garden = ['203.0.113.30', '2001:db8::1', 'help.example.org', '*.example.org']",
        &[],
    );
}

#[test]
fn what_devices_are_told_over_ipv6_must_hold_together() {
    let (nat64, wait) = ("gateway.nat64_prefix", "gateway.ipv6_only_preferred");
    for (text, keys) in [
        (
            "router_advertisements = 'radvd'",
            &["gateway.router_advertisements"][..],
        ),
        ("nat64_prefix = '64:ff9b::/95'", &[nat64]),
        ("nat64_prefix = '64:ff9b::1/96'", &[nat64]),
        ("lan6 = ''\nnat64_prefix = '64:ff9b::/96'", &[nat64]),
        (
            "router_advertisements = 'dnsmasq'\nnat64_prefix = '64:ff9b::/96'",
            &[nat64],
        ),
        ("ipv6_only_preferred = '30m'", &[wait, wait]),
        ("ipv6_only_preferred = '30m'\nadmit_ipv6_only = true", &[wait]),
        ("ipv6_only_preferred = '30m'\nnat64_prefix = '64:ff9b::/96'", &[wait]),
        ("ipv6_only_preferred = '299s'", &[wait]),
        ("ipv6_only_preferred = 'long'", &[wait]),
        (
            "ipv6_only_preferred = '5m'\nnat64_prefix = '2001:db8:64::/64'\nadmit_ipv6_only = true",
            &[],
        ),
        (
            "ipv6_only_preferred = '1d'\nrouter_advertisements = 'none'\nstrict = false",
            &[],
        ),
    ] {
        complains_of(&format!("[gateway]\n{text}"), keys);
    }
}

#[test]
fn what_is_free_or_blocked_is_written_as_people_write_it() {
    complains_of(
        "[gateway]\nfree = ['203.0.113.40', '*.kerala.gov.in', 'a.example.org']\n\
         [gateway.blocked]\nnames = ['casino.example.org', '*.bad.example.org']\naddresses = ['192.0.2.7', '2001:db8::/32']\n\
         ports = ['tcp/25', 'udp/5060']\n",
        &[],
    );
    for (text, key) in [
        ("[gateway]\nfree = ['https://example.org']\n", "gateway.free"),
        ("[gateway]\ncitizen_names_port = 53\n", "gateway.citizen_names_port"),
        ("[gateway.blocked]\nnames = ['org']\n", "gateway.blocked.names"),
        (
            "[gateway.blocked]\naddresses = ['0.0.0.0/0']\n",
            "gateway.blocked.addresses",
        ),
        (
            "[gateway.blocked]\naddresses = ['example.org']\n",
            "gateway.blocked.addresses",
        ),
        ("[gateway.blocked]\nports = ['25']\n", "gateway.blocked.ports"),
        ("[gateway.blocked]\nports = ['tcp/0']\n", "gateway.blocked.ports"),
        ("[gateway.blocked]\nports = ['icmp/8']\n", "gateway.blocked.ports"),
    ] {
        complains_of(text, &[key]);
    }
}

#[test]
fn a_filter_is_written_like_what_is_blocked_for_all() {
    complains_of(
        "[gateway.filters.minors]\nnames = ['casino.example.org']\nfiles = ['/etc/kavadam/adult.txt']\n\
         addresses = ['192.0.2.0/24', '2001:db8::/32']\nports = ['tcp/853']\n[gateway.filters.class-5]\n",
        &[],
    );
    let too_many = (0..65).map(|number| format!("[gateway.filters.f{number}]\n"));
    let too_many = too_many.collect::<Vec<_>>().concat();
    complains_of(&too_many, &["gateway.filters"]);
    complains_of("[gateway]\nfilters = ['minors']\n", &["gateway.filters"]);
    for (text, key) in [
        ("[gateway.filters.Minors]\n", "gateway.filters.Minors"),
        ("[gateway.filters.none]\n", "gateway.filters.none"),
        (
            "[gateway.filters.'a b; flush ruleset']\n",
            "gateway.filters.a b; flush ruleset",
        ),
        ("[gateway.filters.'']\n", "gateway.filters."),
        (
            "[gateway.filters.minors]\nevery_resolver = true\n",
            "gateway.filters.minors.every_resolver",
        ),
        (
            "[gateway.filters.minors]\nnames = ['org']\n",
            "gateway.filters.minors.names",
        ),
        (
            "[gateway.filters.minors]\nnames = [7]\n",
            "gateway.filters.minors.names",
        ),
        (
            "[gateway.filters.minors]\naddresses = ['0.0.0.0/0']\n",
            "gateway.filters.minors.addresses",
        ),
        (
            "[gateway.filters.minors]\nports = ['25']\n",
            "gateway.filters.minors.ports",
        ),
    ] {
        complains_of(text, &[key]);
    }
}

#[test]
fn a_class_is_guaranteed_what_the_line_carries_at_most() {
    let line = "[gateway.uplink]\nup = '20Mbit'\ndown = '100Mbit'\n";
    let with = |classes: &str| format!("{line}{classes}");
    for good in [
        "[gateway.uplink.classes.free]\n",
        "[gateway.uplink.classes.free]\nat_most = '50%'\n[gateway.uplink.classes.public-service]\nat_least = '20%'\n",
        "[gateway.uplink.classes.a]\nat_least = '60%'\nat_most = '100%'\n[gateway.uplink.classes.b]\nat_least = '8Mbit'\n",
    ] {
        complains_of(&with(good), &[]);
    }
    let many = |count| {
        let classes = (0..count).map(|number| format!("[gateway.uplink.classes.c{number}]\n"));
        with(&classes.collect::<Vec<_>>().concat())
    };
    complains_of(&many(8), &[]);
    complains_of(&many(9), &["gateway.uplink.classes"]);
    complains_of(
        "[gateway.uplink.classes.free]\nat_most = '50%'\n",
        &["gateway.uplink.classes"],
    );
    // In either direction.
    for classes in ["at_least = '50%'\nat_most = '49%'\n", "at_most = '1kbit'\n"] {
        let key = "gateway.uplink.classes";
        complains_of(&with(&format!("[gateway.uplink.classes.a]\n{classes}")), &[key, key]);
    }
    for (classes, key) in [
        (
            "a]\nat_least = '61%'\n[gateway.uplink.classes.b]\nat_least = '8Mbit'\n",
            "",
        ),
        ("a]\nat_least = '21Mbit'\n", ""),
        ("a]\nat_least = '0%'\n", ".a"),
        ("a]\nat_least = '101%'\n", ".a"),
        ("a]\nat_least = '-5%'\n", ".a"),
        ("a]\nat_least = 'half'\n", ".a"),
        ("a]\nat_least = 20\n", ".a.at_least"),
        ("a]\nprecedence = 1\n", ".a.precedence"),
        ("None]\n", ".None"),
        ("none]\n", ".none"),
        ("'a b; flush ruleset']\n", ".a b; flush ruleset"),
        ("'']\n", "."),
    ] {
        let key = format!("gateway.uplink.classes{key}");
        complains_of(&with(&format!("[gateway.uplink.classes.{classes}")), &[&key]);
    }
}

#[test]
fn a_network_in_the_walled_garden_is_told_to_be_one() {
    for key in ["walled_garden", "free"] {
        let found = problems(&format!("{NO_MESSAGES}gateway.{key} = ['10.0.0.0/8']"));
        assert!(
            found[0].starts_with(&format!("gateway.{key}: `10.0.0.0/8` is a network")),
            "{found:?}"
        );
    }
}
