//! Which prefixes are offered, and for how long: those of the interface's addresses as long as these last, and those that have gone for as long as
//! devices may still have addresses of them (RFC 9096).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;
use kavadam_firewall::LanAddress;

use super::memory::Item;
use super::packet::Offer;

/// Never longer than this, so that what nobody could take back is soon over by itself (RFC 9096 §4).
const MOST_PREFERRED_SECS: u32 = 2700;
pub(super) const MOST_VALID_SECS: u32 = 5400;
/// In one advertisement, which must be one packet (RFC 6980).
const MOST: usize = 16;

/// A prefix that is not found has gone only after this, unless another is there in its stead: networkd takes an address away to give it anew, and after a
/// boot `DHCPv6` has to ask for the same prefix again.
const PATIENCE: Duration = Duration::from_secs(10);

/// What devices were told.
#[derive(Debug, Default)]
pub(super) struct Offers {
    told: BTreeMap<Ipv6Net, Told>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    valid_until: Instant,
    stand: Stand,
}

/// How it is with a prefix, as of the last look.
#[derive(Debug, Clone, Copy)]
enum Stand {
    /// For how long devices may prefer it, and have it.
    There { preferred_secs: u32, valid_secs: u32 },
    /// Told as preferred and not found since; nothing is said of it. `None`: told by a process before, and not looked for yet.
    Missing { since: Option<Instant> },
    /// Not to be preferred any longer.
    Gone,
}

impl Stand {
    /// What becomes of it if it is not found.
    fn not_found(self, is_replaced: bool, now: Instant) -> Self {
        match self {
            Self::Missing { since: Some(since) } if now >= since + PATIENCE => Self::Gone,
            Self::There { preferred_secs: 0, .. } | Self::Gone => Self::Gone,
            _ if is_replaced => Self::Gone,
            Self::There { .. } | Self::Missing { since: None } => Self::Missing { since: Some(now) },
            missing @ Self::Missing { .. } => missing,
        }
    }

    const fn is_preferred(self) -> bool {
        match self {
            Self::There { preferred_secs, .. } => preferred_secs > 0,
            Self::Missing { .. } => true,
            Self::Gone => false,
        }
    }
}

impl Offers {
    /// Takes the interface's addresses of now, link-local ones left out. Whether devices must hear of it at once: a prefix has come, has gone, or is no
    /// longer preferred.
    pub fn look(&mut self, addresses: &[LanAddress], now: Instant) -> bool {
        let before = self.preferred();
        let found = self.lifetimes(addresses);
        let is_new = |net: &Ipv6Net, preferred_secs: u32| preferred_secs > 0 && !before.contains(net);
        let is_replaced = found
            .iter()
            .any(|(net, (preferred_secs, _))| is_new(net, *preferred_secs));
        for (net, told) in &mut self.told {
            if !found.contains_key(net) {
                told.stand = told.stand.not_found(is_replaced, now);
            }
        }
        for (net, (preferred_secs, valid_secs)) in found {
            let told = Told {
                valid_until: now + Duration::from_secs(valid_secs.into()),
                stand: Stand::There {
                    preferred_secs,
                    valid_secs,
                },
            };
            self.told.insert(net, told);
        }
        self.told.retain(|_, told| told.valid_until > now);
        self.preferred() != before
    }

    /// Of each prefix that is there for how long it is preferred and valid: of several addresses the longest lived counts. One that is being asked for again
    /// after the cable was out is there if devices were told of it, and is not told of anew.
    fn lifetimes(&self, addresses: &[LanAddress]) -> BTreeMap<Ipv6Net, (u32, u32)> {
        let mut found = BTreeMap::new();
        for address in addresses.iter().filter(|one| !one.is_link_local()) {
            let net = address.net.trunc();
            let is_told = self.told.get(&net).is_some_and(|told| told.stand.is_preferred());
            if address.is_sure || (is_told && !address.is_taken) {
                let valid_secs = address.valid_secs.min(MOST_VALID_SECS);
                let preferred_secs = address.preferred_secs.min(MOST_PREFERRED_SECS).min(valid_secs);
                let most: &mut (u32, u32) = found.entry(net).or_default();
                *most = (most.0.max(preferred_secs), most.1.max(valid_secs));
            }
        }
        found
    }

    /// Takes what a process before has told.
    pub fn recall(&mut self, told: &[Item<Ipv6Net>], now: Instant) {
        for item in told {
            let stand = if item.is_gone {
                Stand::Gone
            } else {
                Stand::Missing { since: None }
            };
            let valid_until = now + item.left;
            self.told.insert(item.value, Told { valid_until, stand });
        }
    }

    /// Each prefix that devices may have addresses of, and for how long.
    pub fn told(&self, now: Instant) -> Vec<Item<Ipv6Net>> {
        let item = |(net, told): (&Ipv6Net, &Told)| Item {
            value: *net,
            left: told.valid_until.saturating_duration_since(now),
            is_gone: !told.stand.is_preferred(),
        };
        self.told.iter().map(item).collect()
    }

    /// What is to be said now: first what is there, then what has gone, the latest first.
    pub fn offers(&self, now: Instant) -> Vec<Offer> {
        let mut all: Vec<(&Ipv6Net, &Told)> = self.told.iter().collect();
        all.sort_by_key(|(_, told)| (matches!(told.stand, Stand::Gone), std::cmp::Reverse(told.valid_until)));
        let offer = |(net, told): (&Ipv6Net, &Told)| {
            // What is there lasts as long at each time; what has gone, in real time.
            let (preferred_secs, valid_secs) = match told.stand {
                Stand::There {
                    preferred_secs,
                    valid_secs,
                } => (preferred_secs, valid_secs),
                Stand::Missing { .. } => return None,
                Stand::Gone => {
                    let left = told.valid_until.saturating_duration_since(now).as_secs();
                    (0, u32::try_from(left).unwrap_or(MOST_VALID_SECS))
                }
            };
            Some(Offer {
                net: *net,
                preferred_secs,
                valid_secs,
            })
        };
        all.into_iter().filter_map(offer).take(MOST).collect()
    }

    /// Those to be used for new connections.
    fn preferred(&self) -> BTreeSet<Ipv6Net> {
        let preferred = self.told.iter().filter(|(_, told)| told.stand.is_preferred());
        preferred.map(|(net, _)| *net).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "fd00:80::1/64";
    const FIRST: &str = "2001:db8:a::1/64";
    const SECOND: &str = "2001:db8:b::1/64";

    fn address(net: &str, preferred_secs: u32, valid_secs: u32) -> LanAddress {
        LanAddress {
            net: net.parse().unwrap(),
            preferred_secs,
            valid_secs,
            is_sure: true,
            is_taken: false,
        }
    }

    fn fixed() -> LanAddress {
        address(OWN, LanAddress::FOR_EVER, LanAddress::FOR_EVER)
    }

    fn told(net: &str, secs: u64) -> Item<Ipv6Net> {
        Item {
            value: net.parse::<Ipv6Net>().unwrap().trunc(),
            left: Duration::from_secs(secs),
            is_gone: false,
        }
    }

    fn said(offers: &Offers, now: Instant) -> Vec<(String, u32, u32)> {
        let each = |offer: Offer| (offer.net.to_string(), offer.preferred_secs, offer.valid_secs);
        offers.offers(now).into_iter().map(each).collect()
    }

    #[test]
    fn lifetimes_are_the_addresses_own_and_never_long() {
        let (mut offers, now) = (Offers::default(), Instant::now());
        assert!(offers.look(&[fixed(), address(FIRST, 1000, 2000)], now));
        let first = |preferred, valid| ("2001:db8:a::/64".to_owned(), preferred, valid);
        let own = || ("fd00:80::/64".to_owned(), 2700, 5400);
        assert_eq!(said(&offers, now), [own(), first(1000, 2000)]);
        let between = now + Duration::from_millis(999);
        assert_eq!(said(&offers, between)[0], own(), "as long at each time");
        let later = now + Duration::from_secs(10);
        assert!(!offers.look(&[fixed(), address(FIRST, 990, 1990)], later), "no news");
        assert_eq!(said(&offers, later), [own(), first(990, 1990)]);
        assert!(offers.look(&[fixed(), address(FIRST, 0, 900)], later), "deprecated");
        assert_eq!(said(&offers, later), [own(), first(0, 900)]);
    }

    #[test]
    fn what_has_gone_is_said_to_have_gone_until_nobody_can_have_it() {
        let (mut offers, start) = (Offers::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        offers.look(&[fixed(), address(FIRST, 3000, 9000)], start);
        assert!(offers.look(&[fixed(), address(SECOND, 3000, 9000)], at(60)));
        let gone = |secs| ("2001:db8:a::/64".to_owned(), 0, secs);
        let rest = [
            ("2001:db8:b::/64".to_owned(), 2700, 5400),
            ("fd00:80::/64".to_owned(), 2700, 5400),
        ];
        let mut told = said(&offers, at(60));
        assert_eq!(told.pop(), Some(gone(5340)), "in real time");
        told.sort();
        assert_eq!(told, rest);
        assert!(!offers.look(&[fixed(), address(SECOND, 3000, 9000)], at(5399)));
        assert_eq!(said(&offers, at(5399)).pop(), Some(gone(1)));
        assert!(
            !offers.look(&[fixed(), address(SECOND, 3000, 9000)], at(5401)),
            "no news"
        );
        assert_eq!(said(&offers, at(5401)).len(), 2, "it is over");
        assert!(
            offers.look(&[fixed(), address(FIRST, 100, 200)], at(5402)),
            "it is back"
        );
        assert!(said(&offers, at(5402)).contains(&("2001:db8:a::/64".to_owned(), 100, 200)));
    }

    #[test]
    fn what_a_process_before_has_told_has_gone_unless_it_is_there() {
        let (mut offers, now) = (Offers::default(), Instant::now());
        offers.recall(&[OWN, FIRST].map(|net| told(net, 500)), now);
        assert!(offers.look(&[fixed(), address(SECOND, 600, 700)], now));
        let found: Vec<_> = said(&offers, now)
            .into_iter()
            .map(|(net, preferred, _)| (net, preferred))
            .collect();
        let each = |net: &str, preferred| (net.to_owned(), preferred);
        assert_eq!(
            found,
            [
                each("fd00:80::/64", 2700),
                each("2001:db8:b::/64", 600),
                each("2001:db8:a::/64", 0)
            ]
        );
        let kept = offers
            .told(now)
            .into_iter()
            .map(|item| (item.value.to_string(), item.left.as_secs(), item.is_gone));
        assert_eq!(
            kept.collect::<Vec<_>>(),
            [
                ("2001:db8:a::/64".to_owned(), 500, true),
                ("2001:db8:b::/64".to_owned(), 700, false),
                ("fd00:80::/64".to_owned(), 5400, false)
            ]
        );
        // What it said has gone is no news, and what is there still is none either.
        let mut again = Offers::default();
        again.recall(&offers.told(now), now);
        assert!(!again.look(&[fixed(), address(SECOND, 600, 700)], now));
        assert_eq!(said(&again, now), said(&offers, now));
    }

    #[test]
    fn what_is_not_found_is_said_to_have_gone_when_it_is_sure_to_have() {
        let (mut offers, start) = (Offers::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        let first = address(FIRST, 600, 700);
        offers.look(&[fixed(), first], start);
        assert!(!offers.look(&[fixed()], at(1)));
        assert_eq!(said(&offers, at(1)).len(), 1, "nothing is said of it");
        assert!(!offers.look(&[fixed(), first], at(9)), "it was given anew");
        assert_eq!(said(&offers, at(9)).len(), 2);
        assert!(!offers.look(&[fixed()], at(10)));
        assert!(!offers.look(&[fixed()], at(19)));
        assert!(offers.look(&[fixed()], at(20)));
        assert_eq!(
            said(&offers, at(20)).pop(),
            Some(("2001:db8:a::/64".to_owned(), 0, 689))
        );

        // A process that begins does not know for how long it has been missing.
        let mut offers = Offers::default();
        offers.recall(&[told(FIRST, 3000)], start);
        assert!(offers.look(&[fixed()], at(100)), "the gateway's own was not told of");
        let mut offers = Offers::default();
        offers.recall(&[FIRST, OWN].map(|net| told(net, 3000)), start);
        assert!(!offers.look(&[fixed()], at(100)) && !offers.look(&[fixed()], at(109)));
        assert!(offers.look(&[fixed()], at(110)));
    }

    #[test]
    fn an_address_that_is_asked_for_again_keeps_its_prefix_unless_another_machine_has_it() {
        let (mut offers, now) = (Offers::default(), Instant::now());
        let tentative = |one: LanAddress| LanAddress { is_sure: false, ..one };
        offers.look(&[fixed(), address(FIRST, 600, 700)], now);
        let before = said(&offers, now);
        assert!(!offers.look(&[fixed(), address(FIRST, 600, 700)].map(tentative), now));
        assert_eq!(said(&offers, now), before);
        let taken = LanAddress {
            is_taken: true,
            ..tentative(address(FIRST, 600, 700))
        };
        assert!(!offers.look(&[fixed(), taken], now));
        assert!(offers.look(&[fixed(), taken], now + PATIENCE));
        assert_eq!(
            said(&offers, now + PATIENCE).pop(),
            Some(("2001:db8:a::/64".to_owned(), 0, 690))
        );
    }

    #[test]
    fn an_address_that_may_be_somebody_elses_is_not_offered() {
        let (mut offers, now) = (Offers::default(), Instant::now());
        let unsure = LanAddress {
            is_sure: false,
            ..fixed()
        };
        assert!(!offers.look(&[unsure, address("fe80::1/64", 9, 9)], now));
        assert_eq!(said(&offers, now), []);
    }

    #[test]
    fn of_two_addresses_of_a_prefix_the_longer_lived_counts() {
        let (mut offers, now) = (Offers::default(), Instant::now());
        for all in [[(0, 100), (50, 80)], [(50, 80), (0, 100)]] {
            let both = all.map(|(preferred, valid)| address(FIRST, preferred, valid));
            offers.look(&both, now);
            assert_eq!(said(&offers, now), [("2001:db8:a::/64".to_owned(), 50, 100)]);
        }
    }

    #[test]
    fn a_provider_that_changes_prefixes_all_the_time_fills_no_packet() {
        let (mut offers, now) = (Offers::default(), Instant::now());
        for number in 0..100 {
            let net = format!("2001:db8:{number:x}::1/64");
            offers.look(&[fixed(), address(&net, 100, 200 + number)], now);
        }
        let told = said(&offers, now);
        assert_eq!(told.len(), MOST);
        assert!(
            told[0].0.contains("fd00:80") && told[1].0.contains("2001:db8:63:"),
            "{told:?}"
        );
    }
}
