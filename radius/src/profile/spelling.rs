//! How a MAC is spelled in a Calling-Station-Id: gates know a device by their own spelling of it, which on many is a setting.

use kavadam_domain::Mac;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Spelling {
    is_lower: bool,
    separator: Option<char>,
    /// Digits between separators.
    group: usize,
}

impl Spelling {
    /// That of RFC 3580 §3.21.
    pub(super) const RFC: Self = Self {
        is_lower: false,
        separator: Some('-'),
        group: 2,
    };

    /// Of the MAC `AA-BB-CC-DD-EE-FF`, spelled in the vendor's way.
    pub(super) fn of(example: &str) -> Option<Self> {
        let is_it = example.parse() == Ok(Mac([0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]));
        Self::heard(example).filter(|_| is_it)
    }

    /// As a gate spelled any MAC. `None` of what is none, or more than one; and of one without letters, which does not tell their case.
    pub(crate) fn heard(text: &str) -> Option<Self> {
        let mac: Mac = text.parse().ok()?;
        let separator = text.chars().find(|c| !c.is_ascii_hexdigit());
        let spelling = Self {
            is_lower: text.chars().find(char::is_ascii_alphabetic)?.is_ascii_lowercase(),
            separator,
            group: separator.and_then(|separator| text.find(separator)).unwrap_or(12),
        };
        ([2, 4, 6, 12].contains(&spelling.group) && spelling.spell(mac) == text).then_some(spelling)
    }

    pub(super) fn spell(self, mac: Mac) -> String {
        let digits = mac.0.map(|octet| format!("{octet:02X}")).concat();
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if let Some(separator) = self
                .separator
                .filter(|_| at > 0 && at.is_multiple_of(self.group.max(1)))
            {
                text.push(separator);
            }
            text.push(if self.is_lower {
                digit.to_ascii_lowercase()
            } else {
                digit
            });
        }
        text
    }
}
