//! Reading queries and hosts that hostile devices may have written.

use percent_encoding::percent_decode_str;

const MOST_QUERY_OCTETS: usize = 4_096;
const MOST_PARAMETERS: usize = 32;

/// The first value of each parameter. What is no UTF-8, too long or too much is left out.
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub fn parse(query: Option<&str>) -> Self {
        let query = query
            .filter(|query| query.len() <= MOST_QUERY_OCTETS)
            .unwrap_or_default();
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((decode(name)?, decode(value)?))
        };
        Self(query.split('&').take(MOST_PARAMETERS).filter_map(pair).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }
}

fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    Some(percent_decode_str(&text).decode_utf8().ok()?.into_owned())
}

/// Whether this is a host with or without a port, and nothing else.
pub(crate) fn is_host(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    (1..=255).contains(&text.len()) && text.bytes().all(plain)
}

/// Whether a JSONP callback is a plain name, `a.b` included: anything else would let a page inject script.
pub(crate) fn is_callback(name: &str) -> bool {
    let part = |part: &str| {
        let mut bytes = part.bytes();
        let begins = bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b'$');
        begins && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$')
    };
    name.len() <= 64 && name.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_the_first_of_what_is_given_twice() {
        let parameters = Parameters::parse(Some("a=1&a=2&b=%41+c&d=&%zz=1&e=%ff&plain"));
        assert_eq!(parameters.get("a"), Some("1"));
        assert_eq!(parameters.get("b"), Some("A c"));
        for absent in ["d", "e", "plain", "f"] {
            assert_eq!(parameters.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn a_callback_is_a_name() {
        for good in ["cb", "jQuery123_4", "_x.$y", "a.b.c"] {
            assert!(is_callback(good), "{good}");
        }
        for bad in [
            "",
            "1a",
            "a.",
            ".a",
            "a b",
            "alert(1)",
            "a;b",
            "a[0]",
            "a\n",
            "<script>",
            "ക",
            &"a".repeat(65),
        ] {
            assert!(!is_callback(bad), "{bad}");
        }
    }

    #[test]
    fn a_host_is_a_host() {
        for good in ["example.org", "[fd00::1]:80", "10.80.0.1:3990"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "a b", "a/b", "a\"b", "user@host", "a\r\nb", "<a>"] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reading_hostile_queries_never_panics(query in ".{0,300}", name in ".{0,10}") {
            let parameters = Parameters::parse(Some(&query));
            prop_assert!(parameters.get(&name).is_none_or(|value| value.len() <= query.len() * 3));
            prop_assert!(parameters.0.len() <= MOST_PARAMETERS);
        }
    }
}
