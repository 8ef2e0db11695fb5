//! Languages a citizen can read the pages and refusals in.

use serde::{Deserialize, Serialize};

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Malayalam (`ml`), the first language of the service.
    #[default]
    Ml,
    /// English (`en`).
    En,
}

impl Language {
    /// Every language, in the order offered.
    pub const ALL: [Self; 2] = [Self::Ml, Self::En];

    /// The BCP 47 tag, for `lang=` and storage.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Ml => "ml",
            Self::En => "en",
        }
    }

    /// The language of a tag such as `ml`, `en-IN`; `None` if it is not one of ours.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next()?;
        Self::ALL.into_iter().find(|l| l.tag().eq_ignore_ascii_case(primary))
    }
}
