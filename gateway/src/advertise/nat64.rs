//! The prefix under which a translator (NAT64) has all of IPv4, as devices are told of it (PREF64, RFC 8781).

use std::fmt;
use std::str::FromStr;

use ipnet::Ipv6Net;

/// Lengths that there are (RFC 6052 §2.2), in the order of their codes (RFC 8781 §4).
const LENGTHS: [u8; 6] = [96, 64, 56, 48, 40, 32];
/// Octet of an address which is zero whatever the length (RFC 6052 §2.2).
const ZERO_OCTET: usize = 8;
/// In units of eight seconds, as many as 13 bits hold (RFC 8781 §4).
const MOST_UNITS: u16 = 8191;
const UNIT_SECS: u16 = 8;

/// Such as `64:ff9b::/96`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nat64Prefix {
    net: Ipv6Net,
    code: u16,
}

/// No such prefix can be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no prefix of a NAT64: write PREFIX/LENGTH with a length of 96, 64, 56, 48, 40 or 32, such as 64:ff9b::/96"
)]
pub struct InvalidNat64Prefix(String);

impl FromStr for Nat64Prefix {
    type Err = InvalidNat64Prefix;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let net: Ipv6Net = text.parse().ok()?;
            let at = LENGTHS.iter().position(|length| *length == net.prefix_len())?;
            let is_well_formed = net.trunc() == net
                && !net.addr().is_unspecified()
                && !net.addr().is_multicast()
                && net.addr().octets().get(ZERO_OCTET) == Some(&0);
            let code = u16::try_from(at).ok()?;
            is_well_formed.then_some(Self { net, code })
        };
        read().ok_or_else(|| InvalidNat64Prefix(text.to_owned()))
    }
}

impl fmt::Display for Nat64Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.net.fmt(f)
    }
}

impl Nat64Prefix {
    /// The option behind its type and length; a lifetime is rounded up to units of eight seconds.
    pub(super) fn octets(self, lifetime_secs: u16) -> Vec<u8> {
        let units = lifetime_secs.div_ceil(UNIT_SECS).min(MOST_UNITS);
        let mut octets = (units << 3 | self.code).to_be_bytes().to_vec();
        octets.extend(self.net.network().octets().into_iter().take(12));
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_has_its_code_and_no_other_length_is_one() {
        for (length, code) in [(96, 0), (64, 1), (56, 2), (48, 3), (40, 4), (32, 5)] {
            let prefix: Nat64Prefix = format!("2001:db8::/{length}").parse().unwrap();
            let octets = prefix.octets(2700);
            assert_eq!(u16::from_be_bytes([octets[0], octets[1]]), 338 << 3 | code, "{length}");
            assert_eq!(octets[2..], [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        let well_known: Nat64Prefix = "64:ff9b::/96".parse().unwrap();
        assert_eq!(well_known.to_string(), "64:ff9b::/96");
        assert_eq!(well_known.octets(u16::MAX)[..2], (8191_u16 << 3).to_be_bytes());
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "64:ff9b::",
            "64:ff9b::/95",
            "64:ff9b::/128",
            "64:ff9b::1/96",
            "::/96",
            "ff02::/96",
            "192.0.2.0/24",
            "2001:db8:1:2:ff00::/96",
            "64:ff9b::/96 ",
        ] {
            let told = text.parse::<Nat64Prefix>().unwrap_err().to_string();
            assert!(told.contains("64:ff9b::/96"), "{told}");
        }
    }
}
