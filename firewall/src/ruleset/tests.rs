//! The text as it is printed, and what must hold of any.

use super::*;
use crate::OtherLan;
use crate::layout::tests::sample;
use kavadam_domain::PortMapping;

/// Set `UPDATE_SNAPSHOT=1` to write the file anew after a wanted change.
fn assert_snapshot(name: &str, text: &str) {
    let path = format!("{}/tests/ruleset/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_SNAPSHOT").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{path} differs");
}

#[test]
fn matches_the_printed_copy() {
    let whole = text(&sample());
    let shares = whole.lines().find(|line| line.contains("element inet kavadam shares"));
    let (first, rest) = shares.unwrap().split_once(", ").unwrap();
    let (between, last) = rest.rsplit_once(", ").unwrap();
    assert_eq!(between.split(", ").count(), 2046);
    assert_snapshot(
        "sample.nft",
        &whole.replace(shares.unwrap(), &format!("{first}, …, {last}")),
    );
}

#[test]
fn matches_the_printed_copy_without_ipv6_garden_and_leases() {
    let bare = Layout {
        lan6: None,
        garden4: vec![],
        garden6: vec![],
        free4: vec![],
        free6: vec![],
        blocked4: vec![],
        blocked6: vec![],
        blocked_ports: vec![],
        filters: [].into(),
        citizen_names_port: None,
        strict: false,
        uplink: None,
        classes: [].into(),
        ..sample()
    };
    assert_snapshot("bare.nft", &text(&bare));
}

/// Rules without their comments.
fn rules(layout: &Layout) -> Vec<String> {
    let strip = |rule: &String| rule.split("  # ").next().unwrap().to_owned();
    chains(layout)
        .iter()
        .flat_map(|chain| &chain.rules)
        .map(strip)
        .collect()
}

#[test]
fn has_no_anonymous_set() {
    for rule in rules(&sample()) {
        let is_named = ["add @", "update @"].iter().any(|word| rule.contains(word));
        assert!(!rule.contains('{') || is_named, "{rule}");
    }
}

#[test]
fn names_interfaces_never_their_indexes() {
    for rule in rules(&sample()) {
        assert!(!rule.contains("iif ") && !rule.contains("oif "), "{rule}");
    }
}

#[test]
fn uses_every_set_and_reaches_every_chain() {
    let all = rules(&sample()).join("\n");
    let only_for_us = [set::SPENT, set::RESERVED];
    for (name, _) in sets(&sample()) {
        assert!(
            all.contains(&format!("@{name}")) || only_for_us.contains(&&*name),
            "set {name} is unused"
        );
    }
    for chain in chains(&sample()) {
        assert!(
            chain.hook.is_some()
                || ["goto", "jump"]
                    .iter()
                    .any(|go| all.contains(&format!("{go} {}", chain.name))),
            "chain {}",
            chain.name
        );
    }
}

#[test]
fn counts_connections_at_their_first_packet_only() {
    for chain in chains(&sample()) {
        if let Some(counting) = chain.rules.iter().position(|rule| rule.contains("jump newcomer")) {
            let before = chain.rules[..counting].join("\n");
            let is_new = chain.rules[counting].contains("ct status & confirmed == 0");
            let known_left = ["ct status confirmed", "ct state established,related"];
            assert!(
                is_new || known_left.iter().any(|known| before.contains(known)),
                "{}",
                chain.name
            );
        }
    }
    for chain in chains(&sample()) {
        for rule in &chain.rules {
            assert!(!rule.contains("ct count") || chain.name == "newcomer", "{rule}");
        }
    }
}

#[test]
fn forwards_nothing_by_default_and_ends_every_side_chain_in_a_verdict() {
    for chain in chains(&sample()) {
        if chain.name == "forward" {
            assert_eq!(chain.hook.unwrap().policy, "drop");
        }
    }
    for name in [
        "stranger",
        "uplink_known",
        "uplink_unmarked",
        "downlink",
        "downlink_free",
        "session_over",
        "garden_up",
        "garden_odd",
        "garden_down",
        "refused",
        "lan_in",
    ] {
        let chain = chains(&sample()).into_iter().find(|chain| chain.name == name).unwrap();
        assert!(chain.rules.last().unwrap().starts_with("drop"), "{name}");
    }
}

#[test]
fn other_lans_are_passed_over_and_never_reached_from_ours() {
    let two = Layout {
        table: "kavadam-lan1".to_owned(),
        other_lans: vec![OtherLan {
            interface: "lan1".to_owned(),
            table: "kavadam-lan2".to_owned(),
        }],
        ..sample()
    };
    let chain = |name| chains(&two).into_iter().find(|chain| chain.name == name).unwrap().rules;
    let forward = chain("forward").join("\n");
    assert!(
        !forward.contains("lan1"),
        "who is another's is told later, and only as long as that one is there"
    );
    assert!(forward.contains("iifname @others oifname \"wan0\" accept"));
    assert_eq!(chain("input").last().unwrap(), "goto other_in");
    assert!(!text(&two).contains(" kavadam "), "every line is of its own table");
}

#[test]
fn a_device_without_ports_of_its_own_has_none_of_anybodys() {
    let mapped = Layout {
        ports: PortMapping::new(
            "10.80.1.0".parse().unwrap(),
            "10.80.1.1".parse().unwrap(),
            vec!["198.51.100.2".parse().unwrap()],
            512,
        )
        .ok(),
        ..sample()
    };
    let chain = |name| {
        chains(&mapped)
            .into_iter()
            .find(|chain| chain.name == name)
            .unwrap()
            .rules
    };
    assert!(!chain("nat_post").concat().contains("masquerade"));
    assert!(chain("translate").contains(&"meta l4proto udp drop  # it has no ports of its own".to_owned()));
    assert!(text(&mapped).contains("{ 10.80.1.0 : 198.51.100.2 . 1024-1535, 10.80.1.1 : 198.51.100.2 . 1536-2047 }"));
}

#[test]
fn strict_mode_is_what_asks_for_a_lease() {
    assert!(rules(&sample()).iter().any(|rule| rule.contains("!= @leases drop")));
    let open = Layout {
        strict: false,
        ..sample()
    };
    for asked in ["!= @leases", "ether saddr != @lease_macs", "@lease_owners"] {
        assert!(!rules(&open).iter().any(|rule| rule.contains(asked)), "{asked}");
    }
}

#[test]
fn prefixes_that_come_and_go_are_in_a_set_and_the_gateways_own_leads_nowhere() {
    let delegated = Layout {
        delegated: true,
        ..sample()
    };
    let all = rules(&delegated);
    assert!(all.contains(&"ip6 saddr @lan6 meta mark set ether saddr map @auth6 goto citizen6".to_owned()));
    let at_home = all.iter().filter(|rule| rule.contains("fd00:80::/64"));
    assert_eq!(
        at_home.collect::<Vec<_>>(),
        ["iifname \"lan0\" oifname \"wan0\" ip6 saddr fd00:80::/64 reject with icmpv6 policy-fail"]
    );
    assert!(!text(&sample()).contains("@lan6"), "a fixed prefix costs no look-up");
    let nowhere = Layout {
        lan6: None,
        ..delegated
    };
    assert!(nowhere.check().is_err());
}

#[test]
fn devices_with_ipv6_only_are_admitted_where_that_is_wanted_and_strict_alone() {
    let admitting = Layout {
        admit_ipv6_only: true,
        ..sample()
    };
    let all = rules(&admitting);
    assert!(all.iter().any(|rule| rule.contains("add @unleased")));
    for layout in [
        sample(),
        Layout {
            strict: false,
            ..admitting
        },
    ] {
        assert!(!text(&layout).contains("unleased"));
    }
}
