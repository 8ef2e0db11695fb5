//! Which names are open to strangers.

use std::collections::HashSet;

/// Names, and domains with everything beneath them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garden {
    names: HashSet<String>,
    domains: HashSet<String>,
}

/// What cannot be a name in a walled garden.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name: write help.example.org, or *.example.org for everything beneath it")]
pub struct InvalidGardenName(String);

impl Garden {
    /// Adds `help.example.org`, or `*.example.org`: every name beneath it, at any depth, and not itself.
    ///
    /// # Errors
    /// [`InvalidGardenName`]: it has characters or a length that no host's name has, or `*` where it opens a whole top-level domain.
    pub fn add(&mut self, text: &str) -> Result<(), InvalidGardenName> {
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let (set, name) = match name.strip_prefix("*.") {
            Some(domain) if !domain.contains('.') => return Err(InvalidGardenName(text.to_owned())),
            Some(domain) => (&mut self.domains, domain),
            None => (&mut self.names, name.as_str()),
        };
        if !is_host_name(name) || !name.contains('.') {
            return Err(InvalidGardenName(text.to_owned()));
        }
        set.insert(name.to_owned());
        Ok(())
    }

    /// Whether no name is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.domains.is_empty()
    }

    /// Whether this name, in lower case and without a dot at its end, is open.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// The name, or the nearest domain above it, by which such a name is open.
    pub(super) fn entry(&self, name: &str) -> Option<&str> {
        let beneath = |name: &str| name.split_once('.').map(|(_, domain)| domain.to_owned());
        let mut domains = std::iter::successors(beneath(name), |domain| beneath(domain));
        let own = self.names.get(name);
        own.or_else(|| domains.find_map(|domain| self.domains.get(&domain)))
            .map(String::as_str)
    }
}

/// RFC 1123 §2.1, with the underscores that are used all the same.
pub(super) fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn garden() -> Garden {
        let mut garden = Garden::default();
        garden.add("Help.Example.org.").unwrap();
        garden.add("*.kerala.gov.in").unwrap();
        garden
    }

    #[test]
    fn opens_a_name_alone_and_a_domain_with_all_beneath() {
        for open in ["help.example.org", "ksitm.kerala.gov.in", "a.b.kerala.gov.in"] {
            assert!(garden().has(open), "{open}");
        }
        for closed in [
            "example.org",
            "x.help.example.org",
            "kerala.gov.in",
            "notkerala.gov.in",
            "gov.in",
            "in",
            "",
        ] {
            assert!(!garden().has(closed), "{closed}");
        }
    }

    #[test]
    fn tells_by_which_entry_a_name_is_open() {
        let mut garden = garden();
        garden.add("*.ksitm.kerala.gov.in").unwrap();
        for (name, entry) in [
            ("help.example.org", "help.example.org"),
            ("a.b.kerala.gov.in", "kerala.gov.in"),
            ("a.ksitm.kerala.gov.in", "ksitm.kerala.gov.in"),
        ] {
            assert_eq!(garden.entry(name), Some(entry));
        }
    }

    #[test]
    fn refuses_what_is_no_name_or_would_open_too_much() {
        for text in [
            "",
            "*",
            "*.",
            "*.in",
            "org",
            "a..b.org",
            "a b.org",
            "*.*.org",
            "https://example.org",
            "ex\nample.org",
        ] {
            assert!(garden().add(text).is_err(), "{text:?}");
        }
        let long = format!("{}.org", "a".repeat(64));
        assert!(garden().add(&long).is_err());
    }
}
