//! Names and values of a query or a form, strictly: the same name twice, or bytes that are no UTF-8, are refused rather
//! than guessed at, so that no two readers of one request can see different things in it.

use percent_encoding::percent_decode_str;

/// Decoded pairs in the order sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

/// The text is no well-formed query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed, repeated or too many parameters")]
pub struct Malformed;

/// A gate sends a dozen; more than this is no honest request.
const MOST: usize = 40;

impl Params {
    /// Reads `application/x-www-form-urlencoded` text.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if pairs.len() == MOST || pairs.iter().any(|(known, _)| *known == name) {
                return Err(Malformed);
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of a name, if it was sent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

fn decode(text: &str) -> Result<String, Malformed> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| Malformed)?;
    if decoded.contains('\0') {
        return Err(Malformed);
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_browsers_send() {
        let params = Params::parse("a=1&b=x+y%20z&c&d=%E0%B4%95&=e").unwrap();
        assert_eq!(params.get("a"), Some("1"));
        assert_eq!(params.get("b"), Some("x y z"));
        assert_eq!(params.get("c"), Some(""));
        assert_eq!(params.get("d"), Some("ക"));
        assert_eq!(params.get("z"), None);
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        for text in ["a=1&a=2", "a=1&%61=2", "a=%ff", "a=%00", "%ff=1"] {
            assert_eq!(Params::parse(text), Err(Malformed), "{text}");
        }
        let many: Vec<String> = (0..=MOST).map(|n| format!("p{n}=1")).collect();
        assert_eq!(Params::parse(&many.join("&")), Err(Malformed));
    }
}
