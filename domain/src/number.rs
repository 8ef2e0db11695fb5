//! Indian mobile numbers, the identity of a subscriber.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Ten digits, the first 6–9. `Debug` and [`MobileNumber::masked`] show the last four only; ask for
/// [`MobileNumber::digits`] where the whole number is needed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MobileNumber(String);

/// The text is no Indian mobile number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Indian mobile number: expected 10 digits starting with 6, 7, 8 or 9")]
pub struct InvalidNumber;

impl MobileNumber {
    /// The ten digits.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// `xxxxxx3210`, for pages and logs.
    #[must_use]
    pub fn masked(&self) -> String {
        let tail: String = self.0.chars().skip(6).collect();
        format!("xxxxxx{tail}")
    }
}

impl FromStr for MobileNumber {
    type Err = InvalidNumber;

    /// Forgives what people type: spaces, dashes, `+91`, `91`, a leading `0`, and the digits of any script
    /// (Malayalam `൯`, Devanagari `९`, full width).
    fn from_str(text: &str) -> Result<Self, InvalidNumber> {
        if text.len() > 64 {
            return Err(InvalidNumber);
        }
        let mut digits = String::with_capacity(13);
        for (index, c) in text.trim().chars().enumerate() {
            match c {
                ' ' | '-' | '\u{a0}' | '(' | ')' => {}
                '+' if index == 0 => {}
                c => digits.push(ascii_digit(c).ok_or(InvalidNumber)?),
            }
        }
        let national = match digits.len() {
            10 => digits.as_str(),
            11 => digits.strip_prefix('0').ok_or(InvalidNumber)?,
            12 => digits.strip_prefix("91").ok_or(InvalidNumber)?,
            13 => digits.strip_prefix("091").ok_or(InvalidNumber)?,
            _ => return Err(InvalidNumber),
        };
        if national.starts_with(['6', '7', '8', '9']) {
            Ok(Self(national.to_owned()))
        } else {
            Err(InvalidNumber)
        }
    }
}

/// A decimal digit of the scripts people here type in, as ASCII.
pub(crate) fn ascii_digit(c: char) -> Option<char> {
    const ZEROS: [char; 6] = ['0', '\u{d66}', '\u{966}', '\u{be6}', '\u{ce6}', '\u{ff10}'];
    ZEROS.iter().find_map(|zero| {
        let value = u32::from(c).checked_sub(u32::from(*zero))?;
        char::from_digit(value, 10)
    })
}

impl fmt::Debug for MobileNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MobileNumber({})", self.masked())
    }
}

impl From<MobileNumber> for String {
    fn from(number: MobileNumber) -> Self {
        number.0
    }
}

impl TryFrom<String> for MobileNumber {
    type Error = InvalidNumber;
    fn try_from(text: String) -> Result<Self, InvalidNumber> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgives_what_people_type() {
        for text in [
            "9876543210",
            "+91 98765 43210",
            "098765-43210",
            "919876543210",
            "൯൮൭൬൫൪൩൨൧൦",
        ] {
            assert_eq!(text.parse::<MobileNumber>().unwrap().digits(), "9876543210", "{text}");
        }
    }

    #[test]
    fn refuses_what_cannot_receive_a_code() {
        for text in [
            "",
            "987654321",
            "98765432101",
            "1234567890",
            "9876543210 ext 5",
            "९८७६५४३२1x",
            "98+76543210",
        ] {
            assert_eq!(text.parse::<MobileNumber>(), Err(InvalidNumber), "{text}");
        }
    }

    #[test]
    fn debug_output_shows_four_digits_only() {
        let number: MobileNumber = "9876543210".parse().unwrap();
        assert_eq!(format!("{number:?}"), "MobileNumber(xxxxxx3210)");
    }
}
