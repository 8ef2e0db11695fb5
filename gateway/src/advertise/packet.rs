//! Router solicitations read, and router advertisements written (RFC 4861 §4.1 and §4.2). The kernel reckons the checksum, and verifies it.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use kavadam_domain::Mac;

use super::nat64::Nat64Prefix;

pub(super) const SOLICITATION: u8 = 133;
pub(super) const ADVERTISEMENT: u8 = 134;
/// Octets of either before their options.
const SOLICITATION_OCTETS: usize = 8;
/// What devices put into their packets as the hop limit.
const HOP_LIMIT: u8 = 64;
/// More can be asked for by `DHCPv6` (RFC 4861 §4.2). Addresses (`M`) cannot.
const OTHER_CONFIGURATION: u8 = 0x40;
/// Of a prefix: on the link, and to make addresses of (RFC 4861 §4.6.2).
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;
/// The only length that devices complete by themselves on Ethernet and Wi-Fi (RFC 2464 §4).
const AUTONOMOUS_LENGTH: u8 = 64;
/// The MTU that devices suppose.
const USUAL_MTU: u32 = 1500;
/// The least that IPv6 takes.
const LEAST_MTU: u32 = 1280;

/// Types of options.
pub(super) mod option {
    pub const SOURCE_LINK_LAYER: u8 = 1;
    pub const PREFIX: u8 = 3;
    pub const MTU: u8 = 5;
    /// RFC 8106 §5.1.
    pub const RESOLVERS: u8 = 25;
    /// RFC 8910 §2.3.
    pub const CAPTIVE_PORTAL: u8 = 37;
    /// RFC 8781 §4.
    pub const PREF64: u8 = 38;
}

/// A prefix with what is said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    pub net: Ipv6Net,
    /// Seconds for which devices may begin connections from an address of it.
    pub preferred_secs: u32,
    /// Seconds for which they may have one.
    pub valid_secs: u32,
}

/// Everything a router advertisement of ours says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Advertisement {
    /// How long we are a router, and what else has no lifetime of its own holds.
    pub lifetime_secs: u16,
    pub hardware_address: Option<Mac>,
    /// Of the LAN's interface.
    pub mtu: u32,
    pub offers: Vec<Offer>,
    pub resolver: Ipv6Addr,
    /// Not to be asked any longer.
    pub gone_resolvers: Vec<Ipv6Addr>,
    pub captive_portal: Option<String>,
    pub nat64: Option<Nat64Prefix>,
    /// Not to be used any longer.
    pub gone_nat64: Vec<Nat64Prefix>,
}

impl Advertisement {
    /// As it goes on the wire, the checksum left out.
    pub fn octets(&self) -> Vec<u8> {
        let [high, low] = self.lifetime_secs.to_be_bytes();
        let mut packet = vec![ADVERTISEMENT, 0, 0, 0, HOP_LIMIT, OTHER_CONFIGURATION, high, low];
        // Neither the time a neighbour is reachable nor that between solicitations is ours to say.
        packet.extend([0; 8]);
        if let Some(Mac(octets)) = self.hardware_address {
            put(&mut packet, option::SOURCE_LINK_LAYER, &[&octets]);
        }
        if (LEAST_MTU..USUAL_MTU).contains(&self.mtu) {
            put(&mut packet, option::MTU, &[&[0; 2], &self.mtu.to_be_bytes()]);
        }
        for offer in &self.offers {
            let length = offer.net.prefix_len();
            let autonomous = if length == AUTONOMOUS_LENGTH { AUTONOMOUS } else { 0 };
            let (valid, preferred) = (offer.valid_secs.to_be_bytes(), offer.preferred_secs.to_be_bytes());
            let prefix = offer.net.network().octets();
            let parts = [
                &[length, ON_LINK | autonomous],
                &valid[..],
                &preferred,
                &[0; 4],
                &prefix,
            ];
            put(&mut packet, option::PREFIX, &parts);
        }
        let gone = self.gone_resolvers.iter().map(|resolver| (resolver, 0));
        for (resolver, lifetime_secs) in std::iter::once((&self.resolver, self.lifetime_secs)).chain(gone) {
            let lifetime = u32::from(lifetime_secs).to_be_bytes();
            put(
                &mut packet,
                option::RESOLVERS,
                &[&[0; 2], &lifetime, &resolver.octets()],
            );
        }
        if let Some(url) = &self.captive_portal {
            put(&mut packet, option::CAPTIVE_PORTAL, &[url.as_bytes()]);
        }
        let gone = self.gone_nat64.iter().map(|nat64| (nat64, 0));
        for (nat64, lifetime_secs) in self.nat64.iter().map(|nat64| (nat64, self.lifetime_secs)).chain(gone) {
            put(&mut packet, option::PREF64, &[&nat64.octets(lifetime_secs)]);
        }
        packet
    }
}

/// Writes an option, filled up with zeros to whole units of eight octets; what is too long for one is left out.
fn put(packet: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let octets: usize = 2 + parts.iter().map(|part| part.len()).sum::<usize>();
    let Ok(units) = u8::try_from(octets.div_ceil(8)) else {
        return;
    };
    let end = packet.len() + usize::from(units) * 8;
    packet.extend([kind, units]);
    for part in parts {
        packet.extend_from_slice(part);
    }
    packet.resize(end, 0);
}

/// Whether this is a router solicitation to be heeded (RFC 4861 §6.1.1), from whom the hop limit and the checksum are right. What options it holds
/// plays no part, for a device gets an answer by what it is and not by what it says.
pub(crate) fn is_solicitation(packet: &[u8], from: Ipv6Addr) -> bool {
    let Some((head, rest)) = packet.split_at_checked(SOLICITATION_OCTETS) else {
        return false;
    };
    if !matches!(head, [SOLICITATION, 0, ..]) || from.is_multicast() {
        return false;
    }
    options(rest).is_some_and(|mut kinds| {
        // Who has no address yet has none to be answered at.
        kinds.all(|kind| kind != option::SOURCE_LINK_LAYER || !from.is_unspecified())
    })
}

/// The types of the options, if all of them are whole.
fn options(octets: &[u8]) -> Option<impl Iterator<Item = u8>> {
    let mut rest = octets;
    let mut kinds = Vec::new();
    while !rest.is_empty() {
        let &[kind, units] = rest.first_chunk()?;
        // One without a length would never end.
        let length = (units > 0).then(|| usize::from(units) * 8)?;
        rest = rest.get(length..)?;
        kinds.push(kind);
    }
    Some(kinds.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn sample() -> Advertisement {
        Advertisement {
            lifetime_secs: 2700,
            hardware_address: Some(MAC),
            mtu: 1500,
            offers: vec![Offer {
                net: "2001:db8:1:2::1/64".parse().unwrap(),
                preferred_secs: 1800,
                valid_secs: 3600,
            }],
            resolver: "fd00:80::1".parse().unwrap(),
            gone_resolvers: Vec::new(),
            captive_portal: Some("https://gate.wifi.internal:8443/captive".into()),
            nat64: None,
            gone_nat64: Vec::new(),
        }
    }

    /// Type and value of each option, by a reader of its own.
    fn read(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut rest = &packet[16..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let length = usize::from(rest[1]) * 8;
            found.push((rest[0], rest[2..length].to_vec()));
            rest = &rest[length..];
        }
        found
    }

    fn one(packet: &[u8], kind: u8) -> Option<Vec<u8>> {
        read(packet)
            .into_iter()
            .find_map(|(at, value)| (at == kind).then_some(value))
    }

    #[test]
    fn says_what_devices_need() {
        let packet = sample().octets();
        assert_eq!(packet[..8], [134, 0, 0, 0, 64, 0x40, 0x0a, 0x8c]);
        assert_eq!(one(&packet, 1).unwrap(), MAC.0);
        assert_eq!(one(&packet, 5), None, "1500 is what devices suppose");
        let prefix = one(&packet, 3).unwrap();
        assert_eq!(prefix[..10], [64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x07, 0x08]);
        assert_eq!(prefix[14..], "2001:db8:1:2::".parse::<Ipv6Addr>().unwrap().octets());
        let resolver = one(&packet, 25).unwrap();
        assert_eq!(resolver[2..6], [0, 0, 0x0a, 0x8c]);
        assert_eq!(resolver[6..], "fd00:80::1".parse::<Ipv6Addr>().unwrap().octets());
        let portal = one(&packet, 37).unwrap();
        let url = portal.iter().copied().take_while(|octet| *octet != 0).collect();
        assert_eq!(
            String::from_utf8(url).unwrap(),
            "https://gate.wifi.internal:8443/captive"
        );
        assert_eq!(one(&packet, 38), None);
        assert_eq!(packet.len() % 8, 0);
    }

    #[test]
    fn what_has_gone_is_told_with_a_lifetime_of_nothing_behind_what_is_there() {
        let mut other = sample();
        other.gone_resolvers = vec!["fd00:81::1".parse().unwrap()];
        other.nat64 = Some("64:ff9b::/96".parse().unwrap());
        other.gone_nat64 = vec!["2001:db8:64::/96".parse().unwrap()];
        let packet = other.octets();
        let all = |wanted| read(&packet).into_iter().filter(move |(kind, _)| *kind == wanted);
        let resolvers: Vec<_> = all(25).map(|(_, value)| (value[5], value[7 + 2])).collect();
        assert_eq!(resolvers, [(0x8c, 0x80), (0, 0x81)]);
        let translators: Vec<_> = all(38).map(|(_, value)| value[..4].to_vec()).collect();
        assert_eq!(translators, [[0x0a, 0x90, 0x00, 0x64], [0, 0, 0x20, 0x01]]);
    }

    #[test]
    fn a_smaller_mtu_is_told_and_an_impossible_one_is_not() {
        let told = |mtu| one(&Advertisement { mtu, ..sample() }.octets(), 5);
        assert_eq!(told(1450), Some(vec![0, 0, 0, 0, 0x05, 0xaa]));
        assert_eq!((told(9000), told(576)), (None, None));
    }

    #[test]
    fn of_a_prefix_of_another_length_no_address_is_made() {
        let mut other = sample();
        other.offers[0].net = "2001:db8:1::/60".parse().unwrap();
        assert_eq!(one(&other.octets(), 3).unwrap()[..2], [60, 0x80]);
    }

    #[test]
    fn a_solicitation_is_one_by_its_form_and_its_sender() {
        let (known, unknown) = ("fe80::1".parse().unwrap(), Ipv6Addr::UNSPECIFIED);
        let plain = [133, 0, 1, 2, 0, 0, 0, 0];
        let with = |option: &[u8]| [&plain[..], option].concat();
        let own = with(&[1, 1, 2, 0, 0, 0, 0, 1]);
        assert!(is_solicitation(&plain, known) && is_solicitation(&plain, unknown));
        assert!(is_solicitation(&own, known));
        assert!(is_solicitation(&with(&[14, 1, 1, 2, 3, 4, 5, 6]), unknown), "a nonce");
        for (why, packet, from) in [
            ("has no address, and says where to answer it", &own[..], unknown),
            ("is cut short", &plain[..7], known),
            ("is another message", &[134, 0, 0, 0, 0, 0, 0, 0], known),
            ("has a code", &[133, 1, 0, 0, 0, 0, 0, 0], known),
            ("has an option without length", &with(&[1, 0, 0, 0, 0, 0, 0, 0]), known),
            (
                "has an option that is not whole",
                &with(&[1, 2, 0, 0, 0, 0, 0, 0]),
                known,
            ),
            ("has half an option", &with(&[1]), known),
            ("comes from a group", &plain, "ff02::1".parse().unwrap()),
        ] {
            assert!(!is_solicitation(packet, from), "{why}");
        }
    }

    proptest! {
        #[test]
        fn hostile_octets_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1500), from in any::<u128>()) {
            if is_solicitation(&bytes, from.into()) {
                prop_assert!(bytes.len() >= 8 && bytes.len() % 8 == 0 && bytes.starts_with(&[133, 0]));
            }
        }

        #[test]
        fn what_is_written_is_whole(lengths in proptest::collection::vec(1..=128_u8, 0..20), url in ".{0,3000}") {
            let offers = lengths.iter().map(|length| Offer {
                net: Ipv6Net::new("2001:db8::".parse().unwrap(), *length).unwrap(),
                preferred_secs: 1,
                valid_secs: 2,
            });
            let packet = Advertisement { offers: offers.collect(), captive_portal: Some(url), ..sample() }.octets();
            prop_assert_eq!(packet.len() % 8, 0);
            prop_assert_eq!(read(&packet).iter().filter(|(kind, _)| *kind == 3).count(), lengths.len());
        }
    }
}
