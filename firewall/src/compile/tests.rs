//! What is refused, and that no configuration brings a line that cannot be read. What the messages mean the kernel is asked (`tests/netns/compiled.rs`).

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::*;
use crate::class::ShapingClass;
use crate::layout::Layout;
use crate::layout::tests::sample;
use crate::netlink::Table;
use crate::ruleset;

fn compile(text: &str) -> Result<Compiled<'_>, Unreadable> {
    Compiled::add(text, Part::Whole, &mut Table::named("kavadam").batch(1))
}

#[test]
fn says_which_line_it_cannot_read_and_where() {
    for (line, wanted) in [
        ("add rule inet kavadam raw tcp dport 99999 accept", "another value"),
        ("add rule inet kavadam raw iifname lan0 accept", "another value"),
        (
            "add rule inet kavadam raw ip saddr 10.0.0.0/33 drop",
            "an address and a prefix",
        ),
        ("add rule inet kavadam raw tcp flags syn drop", "a field"),
        ("add rule inet kavadam raw goto", "more"),
        ("add rule inet kavadam raw reject", "with"),
        (
            "add rule inet kavadam raw add @x { ether saddr limit rate 1/week } drop",
            "kbytes/second",
        ),
        ("add set inet kavadam s { type uid; size 1; }", "a type"),
        (
            "add set inet kavadam s { typeof ip saddr; size 1; }",
            "places such as ether saddr . @th,288,48",
        ),
        ("add rule inet kavadam raw @th,289,48 @x drop", "a field"),
        ("add rule inet kavadam raw @th,72,16 0x10000 drop", "another value"),
        ("add set inet kavadam s { type mark; flags constant; }", "a flag"),
        ("add element inet kavadam nowhere { 1 }", "a set that is defined"),
        (
            "add chain inet kavadam c { type filter hook egress priority 0; policy drop; }",
            "a hook",
        ),
        ("delete table inet kavadam", "something to be added or flushed"),
        ("add table netdev kavadam", "inet, bridge or arp"),
    ] {
        let said = compile(line).unwrap_err();
        assert_eq!(said.wanted, wanted, "{said}");
        assert!(line.contains(said.line.trim()), "{said}");
    }
}

#[test]
fn an_element_must_be_of_its_sets_type() {
    for element in ["10.80.0.1 . 1", "fd00::1", "10.80.0.1 : 1", "1-2"] {
        let text = format!("add set inet t s {{ type ipv4_addr; size 9; }}\nadd element inet t s {{ {element} }}");
        assert!(compile(&text).is_err(), "{element}");
    }
}

#[test]
fn tells_the_line_of_a_message() {
    let text = "add counter inet t a\nadd set inet t s { type mark; size 2; }\nflush table inet t";
    let compiled = compile(text).unwrap();
    // The first number is of what begins the batch.
    assert_eq!(compiled.line_of(2), Some("add counter inet t a"));
    assert_eq!(compiled.line_of(4), Some("flush table inet t"));
    assert_eq!(compiled.line_of(1), None);
}

#[test]
fn a_range_up_to_the_last_address_has_no_end() {
    let (_, shape) = set::definition("s", "type ipv4_addr; size 9; flags interval;").unwrap();
    let ends = |list| {
        shape
            .elements(list)
            .unwrap()
            .iter()
            .map(|one| one.ends_range)
            .collect::<Vec<_>>()
    };
    assert_eq!(ends("192.0.2.0/24"), [false, true]);
    assert_eq!(ends("255.255.255.0/24"), [false]);
    assert_eq!(ends("0.0.0.0/0"), [false]);
}

proptest! {
    #[test]
    fn every_configurations_rules_can_be_read(
        name in "[a-zA-Z0-9_.@-]{3,15}",
        (address, prefix) in (any::<u32>(), 1u8..=30),
        (address6, prefix6) in (any::<u128>(), 1u8..=128),
        ports in proptest::collection::vec(1u16.., 1..4),
        flags in any::<[bool; 6]>(),
        classes in proptest::collection::vec("[a-z0-9-]{1,32}", 0..4),
    ) {
        let [strict, isolate, all_names, has_ipv6, delegated, admit_ipv6_only] = flags;
        let layout = Layout {
            lan_if: name,
            lan4: Ipv4Net::new(address.into(), prefix).unwrap(),
            lan6: has_ipv6.then(|| Ipv6Net::new(address6.into(), prefix6).unwrap()),
            local_ports: ports,
            strict,
            isolate,
            all_names,
            delegated,
            admit_ipv6_only,
            classes: classes
                .iter()
                .filter_map(|name| Some((name.parse().ok()?, ShapingClass::default())))
                .collect(),
            ..sample()
        };
        for text in [ruleset::content(&layout), ruleset::link::content(&layout), ruleset::arp::content(&layout)] {
            prop_assert!(compile(&text).is_ok(), "{:?}", compile(&text));
        }
    }

    #[test]
    fn hostile_lines_are_refused_without_panic(rule in "[a-z0-9@{}:;.,!=&/\" -]{0,60}", text in ".{0,80}") {
        let _ = compile(&format!("add rule inet kavadam raw {rule}"));
        let _ = compile(&format!("add map inet kavadam m {{ {rule} }}"));
        let _ = compile(&text);
    }
}
