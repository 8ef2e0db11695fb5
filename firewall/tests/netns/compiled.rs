//! Our rules as we bring them to the kernel, and as `nft` does: it shows the same of both.

use std::process::Command;

use ipnet::Ipv4Net;
use kavadam_domain::PortMapping;
use kavadam_firewall::{DhcpPool, Filter, Gate, Layout, OtherLan, ShapingClass, Uplink, ruleset};

use crate::Case;
use crate::lab::{Inside, layout};

pub const CASES: &[Case] = &[(
    "brings_the_kernel_what_nft_would_have_brought_it",
    brings_the_kernel_what_nft_would,
)];

fn brings_the_kernel_what_nft_would(_lab: &Inside) {
    for layout in layouts() {
        let text = ruleset::text(&layout);
        let path = std::env::temp_dir().join(format!("kavadam-rules-{}.nft", std::process::id()));
        std::fs::write(&path, &text).unwrap();
        nft(&["-f", path.to_str().unwrap()]);
        std::fs::remove_file(&path).unwrap();
        if let Some(lan6) = layout.lan6.filter(|_| layout.delegated) {
            // What the gate finds at the interface, which is not there.
            nft(&[
                "add",
                "element",
                "inet",
                "kavadam",
                "lan6",
                &format!("{{ {} }}", lan6.trunc()),
            ]);
        }
        let by_nft = shown();
        nft(&["flush", "ruleset"]);

        let gate = Gate::load(&layout).unwrap();
        let by_us = shown();
        assert!(by_nft.len() > 600, "{by_nft:#?}");
        for (at, (theirs, ours)) in by_nft.iter().zip(&by_us).enumerate() {
            let around = &by_us[at.saturating_sub(8)..at];
            assert_eq!(theirs, ours, "after {around:#?}");
        }
        assert_eq!(by_nft.len(), by_us.len());
        gate.reload(&layout).unwrap();
        assert_eq!(shown(), by_us, "loading them again changes nothing");
        drop(gate);
        nft(&["flush", "ruleset"]);
    }
}

/// Every rule that any configuration brings, and prefixes that end within an octet.
fn layouts() -> Vec<Layout> {
    let plain = layout();
    let narrow: Ipv4Net = "10.80.4.1/22".parse().unwrap();
    let full = Layout {
        citizen_names_port: Some(5301),
        names_port: 5300,
        free4: vec!["203.0.113.40".parse().unwrap(), "203.0.113.41".parse().unwrap()],
        free6: vec!["2001:db8:113::40".parse().unwrap()],
        blocked4: vec!["192.0.2.0/25".parse().unwrap(), "198.18.0.0/15".parse().unwrap()],
        blocked6: vec!["2001:db8:bad::/48".parse().unwrap()],
        blocked_ports: vec![(6, 25), (17, 5060)],
        filters: [("minors", "198.51.100.0/24"), ("guests", "198.51.100.128/25")]
            .map(|(name, net)| {
                let filter = Filter {
                    nets4: vec![net.parse().unwrap()],
                    ports: vec![(6, 25)],
                    ..Filter::default()
                };
                (name.parse().unwrap(), filter)
            })
            .into(),
        uplink: Some(Uplink {
            up_bits_per_sec: 20_000_000,
            down_bits_per_sec: 100_000_000,
        }),
        classes: ["free", "public-service"]
            .map(|name| (name.parse().unwrap(), ShapingClass::default()))
            .into(),
        ports: PortMapping::new(
            "10.80.1.0".parse().unwrap(),
            "10.80.1.9".parse().unwrap(),
            vec!["198.51.100.2".parse().unwrap()],
            512,
        )
        .ok(),
        other_lans: vec![OtherLan {
            interface: "lan-2.10".to_owned(),
            table: "kavadam-lan2".to_owned(),
        }],
        ..plain.clone()
    };
    let bare = Layout {
        dhcp: DhcpPool {
            addresses: 9,
            share_percent: 100,
            ..DhcpPool::default()
        },
        lan4: narrow,
        lan6: None,
        strict: false,
        isolate: false,
        all_names: true,
        garden4: vec![],
        garden6: vec![],
        ..plain.clone()
    };
    let odd = Layout {
        lan6: Some("fd00:80:0:e::1/61".parse().unwrap()),
        lan4: "10.0.0.1/8".parse().unwrap(),
        all_names: true,
        delegated: true,
        admit_ipv6_only: true,
        ..full.clone()
    };
    vec![plain, full, bare, odd]
}

/// The bytecode of every rule in order, and what `nft` reads of it; without what differs each time: handles, and the order of elements.
fn shown() -> Vec<String> {
    let output = Command::new("nft")
        .args(["--debug=netlink", "list", "ruleset"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("[ immediate reg 0 accept ]"),
        "{text}"
    );
    let mut lines: Vec<String> = Vec::new();
    let mut elements: Vec<String> = Vec::new();
    let mut set = "";
    for line in text.lines() {
        let named = line.split_whitespace().find_map(|word| word.strip_prefix('@'));
        let listed = line.strip_prefix("\tset ").and_then(|rest| rest.split(' ').next());
        set = named.filter(|_| !line.starts_with('\t')).or(listed).unwrap_or(set);
        let is_element = line.starts_with("\telement ") || line.starts_with("\t\t\t     ");
        if is_element || line.contains("elements = {") {
            let list = line.trim().trim_start_matches("elements = {").trim_end_matches('}');
            // What the gate has found at the interface is in no text.
            if set != "lan6" {
                elements.extend(list.split(',').map(|one| one.trim().to_owned()));
            }
            continue;
        }
        elements.sort();
        lines.append(&mut elements);
        // The owner's mark, which a table that nft has made has not.
        let is_mark = line.trim().starts_with("flags owner") || line.trim().starts_with("flags persist");
        if is_mark || line.is_empty() {
            continue;
        }
        lines.push(
            line.split("# progname")
                .next()
                .map_or_else(String::new, without_handles),
        );
    }
    lines
}

/// `inet kavadam raw 69 68` tells the chain of a rule, its handle and the one before.
fn without_handles(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        [family @ ("inet" | "bridge" | "arp"), table, chain, _, ..] if !line.starts_with('\t') => {
            format!("{family} {table} {chain}")
        }
        _ => line.trim_end().to_owned(),
    }
}

fn nft(words: &[&str]) {
    let output = Command::new("nft").args(words).output().unwrap();
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
