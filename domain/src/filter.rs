//! The name of a filter: where those on some plans may not go, as each gateway says.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most octets of a name.
pub const FILTER_NAME_OCTETS: usize = 32;

/// What the wire, the command line and people say where there is none.
pub const NO_FILTER: &str = "none";

/// 1 to 32 lower case letters, digits and dashes, and not `none`; travels as Filter-Id (RFC 2865 §5.11). What is in a filter is the gateway's to say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilterName {
    /// Filled up with zeros, which no name has.
    octets: [u8; FILTER_NAME_OCTETS],
}

/// The text names no filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a name of a filter: use 1 to 32 lower case letters, digits and dashes, such as minors; `none` is none")]
pub struct InvalidFilterName;

impl FilterName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let length = self.octets.iter().take_while(|octet| **octet != 0).count();
        let name = self.octets.get(..length).unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }
}

impl FromStr for FilterName {
    type Err = InvalidFilterName;

    fn from_str(text: &str) -> Result<Self, InvalidFilterName> {
        let is_allowed = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
        if text.is_empty() || text == NO_FILTER || !text.bytes().all(is_allowed) {
            return Err(InvalidFilterName);
        }
        let mut octets = [0; FILTER_NAME_OCTETS];
        let place = octets.get_mut(..text.len()).ok_or(InvalidFilterName)?;
        place.copy_from_slice(text.as_bytes());
        Ok(Self { octets })
    }
}

impl fmt::Display for FilterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for FilterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilterName({})", self.as_str())
    }
}

impl Serialize for FilterName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'d> Deserialize<'d> for FilterName {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for name in ["minors", "a", "0", "class-5-to-8", &"x".repeat(32)] {
            assert_eq!(name.parse::<FilterName>().unwrap().to_string(), name);
        }
        for wrong in [
            "",
            "none",
            "Minors",
            "two words",
            "a_b",
            "a.b",
            "a/b",
            "a\0",
            "a\n",
            "കുട്ടികൾ",
            "x; flush ruleset",
            &"x".repeat(33),
        ] {
            assert!(wrong.parse::<FilterName>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_a_name_is_read_back(text in "\\PC{0,40}") {
            if let Ok(name) = text.parse::<FilterName>() {
                prop_assert_eq!(name.as_str(), &text);
            }
        }
    }
}
