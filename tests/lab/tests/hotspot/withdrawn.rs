//! What devices were told of in router advertisements and are to have no longer, and what they are to keep.

use std::time::Duration;

use kavadam_lab::world::until;

use crate::advertised::{Eye, TOLD, of, put};
use crate::{beside_others, world_with};

#[test]
fn the_resolver_and_the_translator_of_before_are_taken_back() {
    let _machine = beside_others();
    let before = "lan6 = \"fd00:80::1/64\"\nnat64_prefix = \"64:ff9b::/96\"\n";
    let mut world = world_with(before, &["--quota", "none"]);
    let phone = world.phone().unwrap();
    phone.slaac().unwrap();
    world.gateway.stop_advertiser();
    world.gateway.amend("fd00:80::1/64", "fd00:81::1/64").unwrap();
    world.gateway.amend("64:ff9b::/96", "2001:db8:64::/96").unwrap();
    world.gate.ip("-6 addr del fd00:80::1/64 dev lan0").unwrap();
    world.gate.ip("-6 addr add fd00:81::1/64 dev lan0 nodad").unwrap();
    let eye = Eye::open(&world, &phone);
    world.gateway.start_advertiser(&world.gate).unwrap();
    phone.slaac_in("fd00:81:").unwrap();
    let all = eye.advertisements();
    let heard = all.iter().find(|heard| of(heard, "ipv6.dst") == "ff02::1").unwrap();
    for (field, told) in [
        ("icmpv6.opt.prefix", "fd00:81::,fd00:80::"),
        ("icmpv6.opt.prefix.preferred_lifetime", "2700,0"),
        ("icmpv6.opt.rdnss", "fd00:81::1,fd00:80::1"),
        ("icmpv6.opt.rdnss.lifetime", "2700,0"),
        ("icmpv6.opt.pref64.prefix", "2001:db8:64::,64:ff9b::"),
        // In units of eight seconds.
        ("icmpv6.opt.pref64.scaled_lifetime", "338,0"),
    ] {
        assert_eq!(of(heard, field), told, "{field}");
    }
}

#[test]
fn a_prefix_whose_address_is_given_anew_is_kept() {
    let _machine = beside_others();
    let mut world = world_with("delegated_prefixes = true\n", &["--quota", "100MB"]);
    put(&world, "2001:db8:a000::1/64");
    let phone = world.phone().unwrap();
    phone.slaac_in("2001:db8:a000:").unwrap();
    let shown = || phone.netns().ip("-6 -o addr show dev eth0").unwrap();
    let is_deprecated = || shown().contains("deprecated");
    world.gate.ip("-6 addr del 2001:db8:a000::1/64 dev lan0").unwrap();
    assert!(!until(Duration::from_secs(4), is_deprecated), "{}", shown());
    // It is asked for at others first.
    let words = "-6 addr add 2001:db8:a000::1/64 dev lan0 valid_lft 7200 preferred_lft 3600";
    world.gate.ip(words).unwrap();
    // A restart in between finds it, or does not.
    world.gateway.start_advertiser(&world.gate).unwrap();
    assert!(!until(Duration::from_secs(11), is_deprecated), "{}", shown());
    world.gate.ip("-6 addr del 2001:db8:a000::1/64 dev lan0").unwrap();
    assert!(until(TOLD * 2, is_deprecated), "it has gone: {}", shown());
}
