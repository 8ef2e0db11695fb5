//! What an operator decides about the pages.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use kavadam_domain::Language;
use zeroize::Zeroizing;

/// How the pages present themselves and where they are reached.
#[derive(Debug, Clone)]
pub struct PortalConfig {
    /// Where devices reach the portal, exactly as the gates' redirects spell it: their signature covers it.
    pub public_url: PublicUrl,
    /// Name of the service, in the header of every page.
    pub service: PerLanguage,
    /// Who runs it: named in the footer, in the terms and as the one answerable in the privacy notice.
    pub operator: PerLanguage,
    /// Telephone number of the helpdesk.
    pub helpdesk: String,
    /// Whole years for which the law has login records kept, as the privacy notice says.
    pub records_kept_years: u32,
    /// Seals the visit tokens. Every process that serves the same `public_url` needs the same key.
    pub token_key: TokenKey,
    /// How long an opened page stays usable without another redirect by the gate.
    pub visit_lifetime: Duration,
    /// How long a gate honours the challenge of its redirect. A login later than that fetches a fresh one first.
    pub challenge_lifetime: Duration,
    /// UAM address of the gate to send somebody to who comes without a redirect; `None` where there are many gates.
    pub home_gateway: Option<SocketAddr>,
    /// Devices reach the portal untranslated (gate and portal on one machine), so that each request must come from the
    /// address its visit token was made for, or one of the other IP version. Behind a gate that translates addresses this must be off.
    pub sees_devices: bool,
    /// Codes are sent by message. Where not, people come in by voucher or authenticator app, and the pages ask for that.
    pub sends_codes: bool,
}

impl PortalConfig {
    /// A configuration with the defaults that suit a gate and a portal on one machine.
    #[must_use]
    pub fn new(public_url: PublicUrl, token_key: TokenKey) -> Self {
        Self {
            public_url,
            service: PerLanguage {
                ml: "പൊതു വൈഫൈ".into(),
                en: "Public Wi-Fi".into(),
            },
            operator: PerLanguage {
                ml: "കവാടം".into(),
                en: "Kavadam".into(),
            },
            helpdesk: "155300".into(),
            records_kept_years: 2,
            token_key,
            visit_lifetime: Duration::from_hours(12),
            challenge_lifetime: Duration::from_mins(5),
            home_gateway: None,
            sees_devices: true,
            sends_codes: true,
        }
    }
}

/// A name in each language of the pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerLanguage {
    /// Malayalam.
    pub ml: String,
    /// English.
    pub en: String,
}

impl PerLanguage {
    /// The words of one language.
    #[must_use]
    pub fn get(&self, language: Language) -> &str {
        match language {
            Language::Ml => &self.ml,
            Language::En => &self.en,
        }
    }
}

/// 256 bits that seal visit tokens; wiped when dropped, never shown.
#[derive(Clone)]
pub struct TokenKey(pub(crate) Zeroizing<[u8; 32]>);

impl TokenKey {
    /// Takes the key, drawn at random by whoever keeps it.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

/// `http://host[:port]` or `https://host[:port]`: an origin, since the pages stand at its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

/// The text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a portal: expected http://host[:port] or https://host[:port], without a path")]
pub struct InvalidUrl;

impl PublicUrl {
    /// The origin, without a slash at its end.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.0
    }

    /// Its host, an IPv6 address without brackets, and its port: 80 or 443 where it names none.
    #[must_use]
    pub fn host_and_port(&self) -> (&str, u16) {
        let (scheme, host) = self.0.split_once("://").unwrap_or(("http", &self.0));
        let default = if scheme == "https" { 443 } else { 80 };
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().unwrap_or(default)),
            _ => (host, default),
        };
        (name.trim_matches(['[', ']']), port)
    }

    /// Whether browsers are to speak TLS there.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl FromStr for PublicUrl {
    type Err = InvalidUrl;

    /// A slash at the end is forgiven; anything that could change the meaning of a header is not.
    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let origin = text.strip_suffix('/').unwrap_or(text);
        let host = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"))
            .ok_or(InvalidUrl)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(InvalidUrl);
        }
        Ok(Self(origin.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_an_origin_and_nothing_else() {
        for good in [
            "http://10.80.0.1:8081",
            "https://wifi.example.in/",
            "http://[fd00::1]:8081",
        ] {
            assert!(good.parse::<PublicUrl>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "10.80.0.1",
            "ftp://a",
            "http://",
            "http://a/b",
            "http://a b",
            "http://a;x",
            "http://u@a",
        ] {
            assert_eq!(bad.parse::<PublicUrl>(), Err(InvalidUrl), "{bad}");
        }
    }

    #[test]
    fn knows_its_host_and_port() {
        for (text, host, port) in [
            ("http://10.80.0.1:8081/", "10.80.0.1", 8081),
            ("http://10.80.0.1", "10.80.0.1", 80),
            ("https://wifi.example.in", "wifi.example.in", 443),
            ("http://[fd00::1]:8081", "fd00::1", 8081),
            ("http://[fd00::1]", "fd00::1", 80),
        ] {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!(url.host_and_port(), (host, port), "{text}");
        }
    }

    #[test]
    fn debug_output_hides_the_key() {
        assert_eq!(format!("{:?}", TokenKey::new([7; 32])), "TokenKey(…)");
    }
}
