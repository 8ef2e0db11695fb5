//! The visit token `v`: who is in front of the page, sealed by us, carried in hidden fields and in our own links.
//!
//! It is session and CSRF proof in one. A page of somebody else cannot know it; Referrer-Policy keeps it from leaking
//! and Cache-Control from being kept. It says nothing secret: sealing makes it unforgeable, not unreadable.
//!
//! Layout: version, flags, language, issued (8, seconds), MAC (6), gateway address (4 or 16) and port (2), device
//! address (4 or 16), challenge (16, if any), NAS name (rest); then HMAC-SHA-256 over all of it. Base64url without pad.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use hmac::{Hmac, Mac as _};
use kavadam_access::api::Ticket;
use kavadam_domain::{Language, Mac, Timestamp};
use sha2::Sha256;

use crate::config::TokenKey;

/// What the gate's redirect said, kept for the visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisitToken {
    /// NAS-Identifier of the gate: looked up anew at each request, so a gate withdrawn is a visit withdrawn.
    pub nas: String,
    /// The device.
    pub mac: Mac,
    /// Its address at the gate.
    pub ip: IpAddr,
    /// Where the gate's `/logon` is.
    pub gateway: SocketAddr,
    /// What the next `/logon` must answer; absent from redirects that do not ask for a login.
    pub challenge: Option<[u8; 16]>,
    /// The gate said that the device is online.
    pub is_open: bool,
    /// The language of the pages.
    pub language: Language,
    /// When the gate's redirect arrived, in whole seconds.
    pub issued: Timestamp,
}

/// Why a token is not honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadToken {
    /// Not made by us.
    Forged,
    /// Ours, but too old: a fresh one is to be had at this gate.
    Expired {
        /// UAM address of the gate.
        gateway: SocketAddr,
        /// The language of the pages so far.
        language: Language,
    },
}

const VERSION: u8 = 1;
const SEAL_OCTETS: usize = 32;
/// Base64url of the longest token: a NAS name of 253 octets, three addresses of 16.
const MOST_CHARS: usize = 512;
const IS_OPEN: u8 = 1;
const HAS_CHALLENGE: u8 = 2;
const GATEWAY_IS_V6: u8 = 4;
const DEVICE_IS_V6: u8 = 8;

/// What a browser brings back from the gate for a ticket that waits for it: nobody else can know it.
pub fn mark_of(ticket: &Ticket, key: &TokenKey) -> String {
    // No token begins like this, whose first octet is the version.
    HEXLOWER.encode(&seal_of(key, &[b"ticket ", ticket.user_name.as_bytes()].concat()))
}

impl VisitToken {
    /// The sealed text.
    pub fn seal(&self, key: &TokenKey) -> String {
        let mut octets = self.encode();
        let seal = seal_of(key, &octets);
        octets.extend_from_slice(&seal);
        BASE64URL_NOPAD.encode(&octets)
    }

    /// Opens a sealed text that is at most `lifetime` old.
    pub fn open(text: &str, key: &TokenKey, lifetime: Duration, now: Timestamp) -> Result<Self, BadToken> {
        let token = Self::unseal(text, key).ok_or(BadToken::Forged)?;
        if now.since(token.issued) >= lifetime {
            return Err(BadToken::Expired {
                gateway: token.gateway,
                language: token.language,
            });
        }
        Ok(token)
    }

    fn unseal(text: &str, key: &TokenKey) -> Option<Self> {
        if text.len() > MOST_CHARS {
            return None;
        }
        let octets = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (body, seal) = octets.split_at_checked(octets.len().checked_sub(SEAL_OCTETS)?)?;
        mac_over(key, body)?.verify_slice(seal).ok()?;
        Self::decode(body)
    }

    fn encode(&self) -> Vec<u8> {
        let mut flags = 0;
        for (is_set, flag) in [
            (self.is_open, IS_OPEN),
            (self.challenge.is_some(), HAS_CHALLENGE),
            (self.gateway.is_ipv6(), GATEWAY_IS_V6),
            (self.ip.is_ipv6(), DEVICE_IS_V6),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        let language = match self.language {
            Language::Ml => 0,
            Language::En => 1,
        };
        let mut octets = vec![VERSION, flags, language];
        octets.extend_from_slice(&self.issued.as_secs().to_be_bytes());
        octets.extend_from_slice(&self.mac.0);
        push_ip(&mut octets, self.gateway.ip());
        octets.extend_from_slice(&self.gateway.port().to_be_bytes());
        push_ip(&mut octets, self.ip);
        if let Some(challenge) = &self.challenge {
            octets.extend_from_slice(challenge);
        }
        octets.extend_from_slice(self.nas.as_bytes());
        octets
    }

    fn decode(octets: &[u8]) -> Option<Self> {
        let mut rest = octets;
        let [version, flags, language] = take(&mut rest)?;
        if version != VERSION {
            return None;
        }
        let issued = Timestamp::from_secs(i64::from_be_bytes(take(&mut rest)?));
        let mac = Mac(take(&mut rest)?);
        let gateway_ip = take_ip(&mut rest, flags & GATEWAY_IS_V6 != 0)?;
        let gateway = SocketAddr::new(gateway_ip, u16::from_be_bytes(take(&mut rest)?));
        let ip = take_ip(&mut rest, flags & DEVICE_IS_V6 != 0)?;
        let challenge = if flags & HAS_CHALLENGE == 0 {
            None
        } else {
            Some(take(&mut rest)?)
        };
        Some(Self {
            nas: std::str::from_utf8(rest).ok()?.to_owned(),
            mac,
            ip,
            gateway,
            challenge,
            is_open: flags & IS_OPEN != 0,
            language: if language == 1 { Language::En } else { Language::Ml },
            issued,
        })
    }
}

fn mac_over(key: &TokenKey, body: &[u8]) -> Option<Hmac<Sha256>> {
    // HMAC takes keys of any length, so this never fails; `None` then refuses the token.
    let mut mac = <Hmac<Sha256> as hmac::Mac>::new_from_slice(key.0.as_slice()).ok()?;
    mac.update(b"kavadam visit token\0");
    mac.update(body);
    Some(mac)
}

fn seal_of(key: &TokenKey, body: &[u8]) -> Vec<u8> {
    mac_over(key, body).map_or_else(Vec::new, |mac| mac.finalize().into_bytes().to_vec())
}

fn push_ip(octets: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => octets.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => octets.extend_from_slice(&ip.octets()),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

fn take_ip(rest: &mut &[u8], is_v6: bool) -> Option<IpAddr> {
    if is_v6 {
        take::<16>(rest).map(IpAddr::from)
    } else {
        take::<4>(rest).map(IpAddr::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn key() -> TokenKey {
        TokenKey::new([7; 32])
    }

    fn token() -> VisitToken {
        VisitToken {
            nas: "gate-1".into(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            ip: "10.80.1.2".parse().unwrap(),
            gateway: "10.80.0.1:3990".parse().unwrap(),
            challenge: Some([9; 16]),
            is_open: false,
            language: Language::En,
            issued: NOW,
        }
    }

    proptest! {
        #[test]
        fn opens_what_it_sealed(
            nas in "[a-z0-9-]{1,64}", mac: [u8; 6], ip: IpAddr, gateway_ip: IpAddr, port: u16,
            challenge: Option<[u8; 16]>, is_open: bool, is_english: bool,
        ) {
            let language = if is_english { Language::En } else { Language::Ml };
            let gateway = SocketAddr::new(gateway_ip, port);
            let token = VisitToken { nas, mac: Mac(mac), ip, gateway, challenge, is_open, language, issued: NOW };
            prop_assert_eq!(VisitToken::open(&token.seal(&key()), &key(), HOUR, NOW), Ok(token));
        }

        #[test]
        fn refuses_any_other_text(text in ".{0,200}") {
            prop_assert_eq!(VisitToken::open(&text, &key(), HOUR, NOW), Err(BadToken::Forged));
        }
    }

    #[test]
    fn refuses_a_token_with_any_bit_changed() {
        let sealed = BASE64URL_NOPAD.decode(token().seal(&key()).as_bytes()).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let text = BASE64URL_NOPAD.encode(&changed);
            assert_eq!(
                VisitToken::open(&text, &key(), HOUR, NOW),
                Err(BadToken::Forged),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn refuses_a_token_of_another_key() {
        let other = TokenKey::new([8; 32]);
        assert_eq!(
            VisitToken::open(&token().seal(&other), &key(), HOUR, NOW),
            Err(BadToken::Forged)
        );
    }

    #[test]
    fn names_the_gate_of_an_expired_token() {
        let sealed = token().seal(&key());
        let last_moment = NOW + HOUR - Duration::from_micros(1);
        assert!(VisitToken::open(&sealed, &key(), HOUR, last_moment).is_ok());
        let expired = BadToken::Expired {
            gateway: token().gateway,
            language: Language::En,
        };
        assert_eq!(VisitToken::open(&sealed, &key(), HOUR, NOW + HOUR), Err(expired));
    }

    #[test]
    fn a_clock_that_stepped_back_expires_nothing() {
        let sealed = token().seal(&key());
        assert!(VisitToken::open(&sealed, &key(), HOUR, NOW - HOUR).is_ok());
    }
}
