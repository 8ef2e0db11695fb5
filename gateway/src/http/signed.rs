//! The redirect to the portal, signed, in the UAM dialect of CoovaChilli.

use std::net::{IpAddr, Ipv4Addr};

use data_encoding::{HEXLOWER, HEXUPPER};
use ipnet::Ipv6Net;
use kavadam_domain::Mac;
use kavadam_radius::Secret;
use md5::{Digest, Md5};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::core::Device;

/// What the redirect says of the device (`res`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A stranger.
    NotYet,
    /// Its login succeeded.
    Success,
    /// Its login failed, with these words.
    Failed(String),
    /// It is online.
    Already,
    /// It is a stranger again.
    LoggedOff,
}

impl Outcome {
    const fn word(&self) -> &'static str {
        match self {
            Self::NotYet => "notyet",
            Self::Success => "success",
            Self::Failed(_) => "failed",
            Self::Already => "already",
            Self::LoggedOff => "logoff",
        }
    }

    /// Whether the device may log in next, for which it needs a challenge.
    pub const fn asks_for_login(&self) -> bool {
        matches!(self, Self::NotYet | Self::Failed(_) | Self::LoggedOff)
    }
}

/// What is the same in every redirect.
#[derive(Debug, Clone)]
pub(crate) struct Portal {
    pub url: String,
    pub secret: Secret,
    pub nas_identifier: String,
    pub lan4: Ipv4Addr,
    /// Our address, and the prefix that it is of.
    pub lan6: Option<Ipv6Net>,
    pub uam_port: u16,
    pub called: Mac,
}

/// Longest original URL that is carried along.
const MOST_USERURL_OCTETS: usize = 512;
/// A Reply-Message has no more.
const MOST_REPLY_CHARS: usize = 253;

impl Portal {
    /// `{portal}/?res=…&md=…`. The original URL is only carried: nobody here follows it.
    pub fn redirect(
        &self,
        outcome: &Outcome,
        device: &Device,
        challenge: Option<[u8; 16]>,
        session_id: Option<&str>,
        userurl: Option<&str>,
    ) -> String {
        // A device that has both is known by the family that the portal is reached by.
        let (gate, ip) = match (device.ipv4, device.ipv6) {
            (None, Some(ip)) => (
                self.lan6.map_or(IpAddr::V4(self.lan4), |lan6| IpAddr::V6(lan6.addr())),
                IpAddr::V6(ip),
            ),
            (ip, _) => (IpAddr::V4(self.lan4), IpAddr::V4(ip.unwrap_or(Ipv4Addr::UNSPECIFIED))),
        };
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut url = format!(
            "{}/?res={}&uamip={}&uamport={}",
            self.url,
            outcome.word(),
            address(gate),
            self.uam_port
        );
        let mut parameter = |name: &str, value: &str| {
            url.push('&');
            url.push_str(name);
            url.push('=');
            url.push_str(value);
        };
        if let Some(challenge) = challenge {
            parameter("challenge", &HEXLOWER.encode(&challenge));
        }
        parameter("called", &self.called.to_string());
        parameter("mac", &device.mac.to_string());
        parameter("ip", &address(ip));
        parameter("nasid", &encoded(&self.nas_identifier));
        if let Some(id) = session_id {
            parameter("sessionid", &encoded(id));
        }
        if let Outcome::Failed(reply) = outcome {
            let reply: String = reply.chars().take(MOST_REPLY_CHARS).collect();
            parameter("reply", &encoded(&reply));
        }
        if let Some(userurl) = userurl.filter(|userurl| userurl.len() <= MOST_USERURL_OCTETS) {
            parameter("userurl", &encoded(userurl));
        }
        let md = self.signature(&url);
        url.push_str("&md=");
        url.push_str(&md);
        url
    }

    /// Where a device goes before the portal that was captured under a prefix which a provider has delegated: to us, and it comes from the address
    /// from which it will come to the portal. A redirect names that one, and a portal believes no other. `None`: straight to the portal.
    pub fn first_stop(&self, device: &Device, userurl: Option<&str>) -> Option<String> {
        let lan6 = self.lan6.filter(|_| device.ipv4.is_none())?;
        device.ipv6.filter(|ip| !lan6.contains(ip))?;
        let mut url = format!("http://[{}]:{}/prelogin", lan6.addr(), self.uam_port);
        if let Some(userurl) = userurl.filter(|userurl| userurl.len() <= MOST_USERURL_OCTETS) {
            url.push_str("?userurl=");
            url.extend(utf8_percent_encode(userurl, NON_ALPHANUMERIC));
        }
        Some(url)
    }

    /// Upper-case hex of MD5(URL ‖ secret).
    pub fn signature(&self, url: &str) -> String {
        let digest = Md5::new()
            .chain_update(url)
            .chain_update(self.secret.octets())
            .finalize();
        HEXUPPER.encode(&digest)
    }

    /// The challenge as both ends compute with it: MD5(challenge ‖ secret).
    pub fn bound(&self, challenge: &[u8; 16]) -> [u8; 16] {
        let digest = Md5::new()
            .chain_update(challenge)
            .chain_update(self.secret.octets())
            .finalize();
        digest.into()
    }
}

/// IPv6 has colons, which a query may hold but strict readers mistrust.
fn address(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => utf8_percent_encode(&ip.to_string(), NON_ALPHANUMERIC).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_stop(ipv4: Option<&str>, ipv6: &str) -> Option<String> {
        let portal = Portal {
            url: "http://gate.wifi.internal:8081".into(),
            secret: Secret::new(b"uam secret".to_vec()),
            nas_identifier: "local".into(),
            lan4: "10.80.0.1".parse().unwrap(),
            lan6: Some("fd00:80::1/64".parse().unwrap()),
            uam_port: 3990,
            called: Mac([0; 6]),
        };
        let device = Device {
            mac: Mac([2, 0, 0, 0, 0, 1]),
            ipv4: ipv4.map(|ip| ip.parse().unwrap()),
            ipv6: Some(ipv6.parse().unwrap()),
        };
        portal.first_stop(&device, Some("http://example.org/?a=1&b"))
    }

    #[test]
    fn who_has_ipv6_only_comes_to_the_portal_from_the_address_that_the_redirect_names() {
        assert_eq!(
            first_stop(None, "2001:db8:a000::5").unwrap(),
            "http://[fd00:80::1]:3990/prelogin?userurl=http%3A%2F%2Fexample%2Eorg%2F%3Fa%3D1%26b"
        );
        assert_eq!(first_stop(None, "fd00:80::5"), None, "it is named already");
        assert_eq!(
            first_stop(Some("10.80.1.1"), "2001:db8:a000::5"),
            None,
            "known by its IPv4 address"
        );
    }
}
