//! Names that a plan gives and a gateway knows what is behind: they go over the wire, into configurations and into the kernel.

use std::fmt;

/// Most octets of a name.
pub const NAME_OCTETS: usize = 32;

/// What the wire, the command line and people say where there is none.
pub const NO_NAME: &str = "none";

/// 1 to 32 lower case letters, digits and dashes, and not `none`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PlainName {
    /// Filled up with zeros, which no name has.
    octets: [u8; NAME_OCTETS],
}

impl PlainName {
    pub(crate) fn as_str(&self) -> &str {
        let length = self.octets.iter().take_while(|octet| **octet != 0).count();
        let name = self.octets.get(..length).unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_allowed = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
        if text.is_empty() || text == NO_NAME || !text.bytes().all(is_allowed) {
            return None;
        }
        let mut octets = [0; NAME_OCTETS];
        octets.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { octets })
    }
}

impl fmt::Debug for PlainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A type for the names of one kind of thing, with the error for what is none of them.
macro_rules! plain_name {
    ($(#[$about:meta])* $name:ident, $(#[$about_error:meta])* $error:ident = $text:literal) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($crate::name::PlainName);

        $(#[$about_error])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        #[error($text)]
        pub struct $error;

        impl $name {
            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                $crate::name::PlainName::parse(text).map(Self).ok_or($error)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'d> serde::Deserialize<'d> for $name {
            fn deserialize<D: serde::Deserializer<'d>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use plain_name;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{ClassName, FilterName};

    #[test]
    fn a_name_is_short_and_plain() {
        for name in ["minors", "a", "0", "class-5-to-8", &"x".repeat(32)] {
            assert_eq!(name.parse::<FilterName>().unwrap().to_string(), name);
            assert_eq!(name.parse::<ClassName>().unwrap().to_string(), name);
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
            assert!(wrong.parse::<ClassName>().is_err(), "{wrong:?}");
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
