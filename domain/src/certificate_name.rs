//! By what in its TLS certificate a gate is known (RFC 6614 §2.3).

use std::fmt;
use std::str::FromStr;

const FINGERPRINT: &str = "sha256:";
const FINGERPRINT_OCTETS: usize = 32;

/// One name of a certificate. A gate's record holds one; the gate is whoever shows a trusted certificate that bears it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateName {
    /// A `dNSName` of its subjectAltName, in lower case.
    Dns(String),
    /// A `uniformResourceIdentifier` of its subjectAltName, compared octet for octet.
    Uri(String),
    /// SHA-256 of the whole certificate: survives no renewal.
    Fingerprint([u8; FINGERPRINT_OCTETS]),
}

/// The text names no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a name in a certificate: expected a DNS name such as gate-7.example.org, a URI such as urn:gate:7, or sha256: and 64 \
     hexadecimal digits"
)]
pub struct InvalidCertificateName;

impl FromStr for CertificateName {
    type Err = InvalidCertificateName;

    /// `sha256:…` is a fingerprint, with or without colons between its octets; other text with a colon is a URI; the rest is a DNS
    /// name. A wildcard is none: it would let any holder of such a certificate be this gate.
    fn from_str(text: &str) -> Result<Self, InvalidCertificateName> {
        if let Some(digits) = text.strip_prefix(FINGERPRINT) {
            return fingerprint(digits).map(Self::Fingerprint).ok_or(InvalidCertificateName);
        }
        let is_graphic = !text.is_empty() && text.len() <= 253 && text.bytes().all(|octet| octet.is_ascii_graphic());
        if text.contains(':') {
            return if is_graphic {
                Ok(Self::Uri(text.to_owned()))
            } else {
                Err(InvalidCertificateName)
            };
        }
        let is_label = |label: &str| {
            let allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
            (1..=63).contains(&label.len()) && label.bytes().all(allowed)
        };
        if is_graphic && text.split('.').all(is_label) {
            Ok(Self::Dns(text.to_ascii_lowercase()))
        } else {
            Err(InvalidCertificateName)
        }
    }
}

fn fingerprint(digits: &str) -> Option<[u8; FINGERPRINT_OCTETS]> {
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    if digits.len() != 2 * FINGERPRINT_OCTETS || !digits.is_ascii() {
        return None;
    }
    let mut octets = [0; FINGERPRINT_OCTETS];
    for (at, octet) in octets.iter_mut().enumerate() {
        let pair = digits.get(2 * at..2 * at + 2)?;
        *octet = pair
            .bytes()
            .all(|b| b.is_ascii_hexdigit())
            .then(|| u8::from_str_radix(pair, 16).ok())??;
    }
    Some(octets)
}

impl fmt::Display for CertificateName {
    /// What [`FromStr`] reads as the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) => f.write_str(name),
            Self::Fingerprint(octets) => {
                f.write_str(FINGERPRINT)?;
                octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name_is_read_and_written_back() {
        let hex = "AB".repeat(32);
        let colons: Vec<String> = std::iter::repeat_n("ab".to_owned(), 32).collect();
        for (text, written) in [
            ("Gate-7.Example.ORG", "gate-7.example.org".to_owned()),
            ("urn:gate:7", "urn:gate:7".to_owned()),
            ("https://example.org/Gate7", "https://example.org/Gate7".to_owned()),
            (&format!("sha256:{hex}"), format!("sha256:{}", "ab".repeat(32))),
            (
                &format!("sha256:{}", colons.join(":")),
                format!("sha256:{}", "ab".repeat(32)),
            ),
        ] {
            let name: CertificateName = text.parse().unwrap();
            assert_eq!(name.to_string(), written);
            assert_eq!(written.parse(), Ok(name));
        }
    }

    #[test]
    fn refuses_wildcards_and_what_is_no_name() {
        let long = "a".repeat(64);
        for text in [
            "",
            "*.example.org",
            "a b",
            "gate..org",
            "sha256:abcd",
            "urn:a b",
            &long,
            "sha256:+1",
        ] {
            assert_eq!(text.parse::<CertificateName>(), Err(InvalidCertificateName), "{text}");
        }
    }
}
