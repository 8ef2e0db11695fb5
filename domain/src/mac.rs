//! Hardware addresses, in every spelling a controller may send.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A 48-bit MAC address. Shown as `AA-BB-CC-DD-EE-FF`, the spelling of RFC 3580 §3.21.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

/// The text is no 48-bit hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address: expected 12 hexadecimal digits, such as 02:00:5e:10:00:01")]
pub struct InvalidMac;

impl Mac {
    /// The address in a Calling-Station-Id or in the name that a gate gives a device: spaces around it, and the name of a network after a
    /// colon (`AA-BB-CC-DD-EE-FF:SSID`, RFC 3580 §3.20), do not matter.
    #[must_use]
    pub fn of_station(text: &str) -> Option<Self> {
        /// Octets of the spellings, the longest first.
        const LENGTHS: [usize; 4] = [17, 14, 13, 12];
        let text = text.trim();
        text.parse().ok().or_else(|| {
            LENGTHS.into_iter().find_map(|length| {
                let (mac, rest) = text.split_at_checked(length)?;
                mac.parse().ok().filter(|_| rest.starts_with(':'))
            })
        })
    }

    /// The vendor half only, for screens and logs that do not need the whole address.
    #[must_use]
    pub fn masked(self) -> String {
        let [a, b, c, ..] = self.0;
        format!("{a:02X}-{b:02X}-{c:02X}-xx-xx-xx")
    }
}

impl FromStr for Mac {
    type Err = InvalidMac;

    /// Accepts `aa:bb:cc:dd:ee:ff`, `AA-BB-…`, `aabb.ccdd.eeff`, `aabbccddeeff` and `aabbcc-ddeeff`; separators must not
    /// mix. A Called-Station-Id's `:SSID` tail is the caller's to cut off.
    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let separators: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_hexdigit()).collect();
        let plausible = match separators.as_slice() {
            [] => true,
            [first, rest @ ..] => {
                matches!(first, b':' | b'-' | b'.')
                    && rest.iter().all(|b| b == first)
                    && text
                        .split(char::from(*first))
                        .all(|part| part.len() == 12 / (separators.len() + 1))
            }
        };
        let digits: Vec<u8> = text
            .chars()
            .filter_map(|c| c.to_digit(16))
            .filter_map(|d| u8::try_from(d).ok())
            .collect();
        let (pairs, rest) = digits.as_chunks::<2>();
        let octets: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        match <[u8; 6]>::try_from(octets.as_slice()) {
            Ok(octets) if plausible && rest.is_empty() => Ok(Self(octets)),
            _ => Err(InvalidMac),
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, octet) in self.0.iter().enumerate() {
            let dash = if index == 0 { "" } else { "-" };
            write!(f, "{dash}{octet:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({})", self.masked())
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = InvalidMac;
    fn try_from(text: String) -> Result<Self, InvalidMac> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_spelling_in_the_field() {
        for text in [
            "02:00:5e:10:00:01",
            "02-00-5E-10-00-01",
            "0200.5e10.0001",
            "02005e100001",
            "02005e-100001",
        ] {
            assert_eq!(text.parse(), Ok(Mac([2, 0, 0x5e, 0x10, 0, 1])), "{text}");
        }
    }

    /// How vendors write an address, in lower case.
    fn spellings(mac: Mac) -> Vec<String> {
        let octets = mac.0.map(|octet| format!("{octet:02x}"));
        let (pairs, _) = octets.as_chunks::<2>();
        let quads: Vec<String> = pairs.iter().map(|pair| pair.concat()).collect();
        let bare = octets.concat();
        vec![
            octets.join(":"),
            octets.join("-"),
            quads.join("."),
            quads.join("-"),
            format!("{}-{}", &bare[..6], &bare[6..]),
            bare,
        ]
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_station_is_its_address(octets: [u8; 6], network in "\\PC{0,32}", is_upper: bool) {
            let mac = Mac(octets);
            for spelling in spellings(mac) {
                let spelling = if is_upper { spelling.to_uppercase() } else { spelling };
                prop_assert_eq!(Mac::of_station(&spelling), Some(mac));
                prop_assert_eq!(Mac::of_station(&format!(" {spelling} ")), Some(mac));
                let with_network = format!("{spelling}:{network}");
                prop_assert_eq!(Mac::of_station(&with_network), Some(mac), "{}", with_network);
            }
        }

        #[test]
        fn no_text_makes_reading_a_station_fail(text in "\\PC{0,64}") {
            if let Some(mac) = Mac::of_station(&text) {
                let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(12).collect();
                let bare: String = spellings(mac).pop().unwrap();
                prop_assert_eq!(digits.to_lowercase(), bare);
            }
        }
    }

    #[test]
    fn refuses_what_is_not_one() {
        for text in [
            "",
            "02:00:5e:10:00",
            "02:00-5e:10:00:01",
            "02005e10000",
            "zz:00:5e:10:00:01",
            "0:2005e100001",
            "02:00:5e:10:00:01:",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(InvalidMac), "{text}");
        }
    }

    #[test]
    fn debug_output_hides_the_device_half() {
        assert_eq!(format!("{:?}", Mac([1, 2, 3, 4, 5, 6])), "Mac(01-02-03-xx-xx-xx)");
    }
}
