//! Names that nobody is led to: a category file may have a million.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

use super::garden::is_host_name;

/// Names, each with everything beneath it. Kept as numbers that nobody outside can foresee: 64 bits, so that two names in a million million
/// million have the same.
#[derive(Clone, Default)]
pub struct Blocklist {
    names: HashSet<u64>,
    hasher: RandomState,
}

/// What a file held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListRead {
    /// Names taken from it.
    pub names: usize,
    /// Lines that hold something else.
    pub strange: usize,
    /// The first of them, with its number.
    pub first_strange: Option<(usize, String)>,
}

/// What cannot be blocked by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name: write example.org, which blocks everything beneath it too")]
pub struct InvalidBlockedName(String);

impl Blocklist {
    /// Adds a name with all beneath it; `*.example.org` is the same as `example.org`.
    ///
    /// # Errors
    /// [`InvalidBlockedName`]; a whole top-level domain is none either.
    pub fn add(&mut self, text: &str) -> Result<(), InvalidBlockedName> {
        let name = text.trim_start_matches("*.").trim_end_matches('.').to_ascii_lowercase();
        if !is_host_name(&name) || !name.contains('.') || name.parse::<IpAddr>().is_ok() {
            return Err(InvalidBlockedName(text.to_owned()));
        }
        self.names.insert(self.hasher.hash_one(name.as_str()));
        Ok(())
    }

    /// Adds what a file holds: a name a line, a `hosts` file, or the `||name^` of advertisement blockers; `#` and `!` begin comments.
    pub fn read(&mut self, text: &str) -> ListRead {
        let mut read = ListRead::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() || line.starts_with('!') {
                continue;
            }
            let mut words = line.split_ascii_whitespace().peekable();
            let is_hosts = words.next_if(|word| word.parse::<IpAddr>().is_ok()).is_some();
            for word in words {
                // A hosts file names the machine itself as well.
                if is_hosts && !word.contains('.') {
                    continue;
                }
                let name = word
                    .strip_prefix("||")
                    .and_then(|rest| rest.strip_suffix('^'))
                    .unwrap_or(word);
                if self.add(name).is_ok() {
                    read.names += 1;
                } else {
                    read.strange += 1;
                    read.first_strange
                        .get_or_insert_with(|| (number, line.chars().take(80).collect()));
                }
            }
        }
        read
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether this name, in lower case and without a dot at its end, is in it, or beneath one that is.
    pub(crate) fn has(&self, name: &str) -> bool {
        fn beneath<'a>(name: &&'a str) -> Option<&'a str> {
            name.split_once('.').map(|(_, domain)| domain)
        }
        if self.names.is_empty() {
            return false;
        }
        std::iter::successors(Some(name), beneath).any(|name| self.names.contains(&self.hasher.hash_one(name)))
    }
}

impl fmt::Debug for Blocklist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blocklist({} names)", self.names.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_a_name_and_all_beneath_it() {
        let mut list = Blocklist::default();
        list.add("Casino.Example.org.").unwrap();
        list.add("*.bad.example.net").unwrap();
        for blocked in [
            "casino.example.org",
            "www.casino.example.org",
            "bad.example.net",
            "a.b.bad.example.net",
        ] {
            assert!(list.has(blocked), "{blocked}");
        }
        for free in ["example.org", "mycasino.example.org", "org", ""] {
            assert!(!list.has(free), "{free}");
        }
        for wrong in ["", "org", "*.org", "203.0.113.1", "a b.org", "https://x.org"] {
            assert!(list.add(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn reads_the_files_that_others_publish() {
        let mut list = Blocklist::default();
        let read = list.read(
            "# a hosts file\n127.0.0.1 localhost\n0.0.0.0 ads.example.org tracker.example.org # both\n\r\n! a filter\n||pop.example.net^\n\
             plain.example.com\r\n|not a filter|\n",
        );
        assert_eq!(read.names, 4);
        assert_eq!(read.strange, 3);
        assert_eq!(read.first_strange, Some((8, "|not a filter|".to_owned())));
        for blocked in [
            "ads.example.org",
            "tracker.example.org",
            "pop.example.net",
            "plain.example.com",
        ] {
            assert!(list.has(blocked), "{blocked}");
        }
        assert!(!list.has("localhost"));
    }

    proptest! {
        #[test]
        fn hostile_files_never_panic_and_block_no_top_level_domain(text in "\\PC{0,200}") {
            let mut list = Blocklist::default();
            let _ = list.read(&text);
            prop_assert!(!list.has("org") && !list.has(""));
        }
    }
}
