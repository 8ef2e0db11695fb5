//! The gate's redirect and our way back to it, in the UAM dialect of CoovaChilli.

use std::net::{IpAddr, SocketAddr};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE, HEXUPPER};
use kavadam_access::api::Ticket;
use kavadam_domain::Mac;
use md5::{Digest, Md5};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use subtle::ConstantTimeEq;

use crate::params::Params;

/// What the gate says about the device (`res`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A stranger: let it log in.
    NotYet,
    /// The login just succeeded.
    Success,
    /// The login failed.
    Failed,
    /// It is online already.
    Already,
    /// It has just been logged off.
    LoggedOff,
}

/// A redirect, parsed. Nothing in it is to be believed before [`is_signed`] says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// `res`.
    pub outcome: Outcome,
    /// `nasid`: NAS-Identifier.
    pub nas: String,
    /// `mac`.
    pub mac: Mac,
    /// `ip`.
    pub ip: IpAddr,
    /// `uamip` and `uamport`.
    pub gateway: SocketAddr,
    /// `challenge`, 32 hexadecimal digits.
    pub challenge: Option<[u8; 16]>,
    /// `reply`: the Reply-Message of a refusal.
    pub reply: Option<String>,
    /// `userurl`: where the browser wanted to go, or the mark that we sent with it to the gate.
    pub mark: Option<String>,
}

/// RFC 2865 §5: an attribute holds at most 253 octets.
const MOST_NAME_OCTETS: usize = 253;

impl Arrival {
    /// Reads the parameters; `None` if one is missing that every gate of this dialect sends.
    pub fn parse(params: &Params) -> Option<Self> {
        let outcome = match params.get("res")? {
            "notyet" => Outcome::NotYet,
            "success" => Outcome::Success,
            "failed" => Outcome::Failed,
            "already" => Outcome::Already,
            "logoff" => Outcome::LoggedOff,
            _ => return None,
        };
        let nas = params
            .get("nasid")
            .filter(|name| (1..=MOST_NAME_OCTETS).contains(&name.len()))?;
        let port = params.get("uamport")?.parse().ok().filter(|port| *port != 0)?;
        Some(Self {
            outcome,
            nas: nas.to_owned(),
            mac: params.get("mac")?.parse().ok()?,
            ip: params.get("ip")?.parse().ok()?,
            gateway: SocketAddr::new(params.get("uamip")?.parse().ok()?, port),
            challenge: params.get("challenge").and_then(read_challenge),
            reply: params.get("reply").map(str::to_owned).filter(|reply| !reply.is_empty()),
            mark: params.get("userurl").map(str::to_owned),
        })
    }
}

fn read_challenge(text: &str) -> Option<[u8; 16]> {
    let octets = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    octets.try_into().ok()
}

/// Whether `query` ends in the `md` that a gate with this secret puts there: upper-case hex of
/// MD5(URL before `&md=` ‖ secret). Compared in constant time.
pub fn is_signed(origin: &str, path: &str, query: &str, uam_secret: &[u8]) -> bool {
    let Some((before, md)) = query.rsplit_once("&md=") else {
        return false;
    };
    let digest = Md5::new()
        .chain_update(origin)
        .chain_update(path)
        .chain_update("?")
        .chain_update(before)
        .chain_update(uam_secret)
        .finalize();
    HEXUPPER.encode(&digest).as_bytes().ct_eq(md.as_bytes()).into()
}

/// The gate's address for a login with this ticket: CHAP over HTTP, identifier 0, with the challenge bound to the
/// secret that the gate and we share. A mark comes back as `userurl`, whatever becomes of the login.
pub fn logon_url(
    gateway: SocketAddr,
    challenge: &[u8; 16],
    uam_secret: &[u8],
    ticket: &Ticket,
    mark: Option<&str>,
) -> String {
    let bound = Md5::new().chain_update(challenge).chain_update(uam_secret).finalize();
    let response = Md5::new()
        .chain_update([0])
        .chain_update(ticket.password.as_bytes())
        .chain_update(bound)
        .finalize();
    format!(
        "http://{gateway}/logon?username={}&response={}{}",
        utf8_percent_encode(&ticket.user_name, NON_ALPHANUMERIC),
        HEXLOWER.encode(&response),
        mark.map_or_else(String::new, |mark| format!("&userurl={mark}"))
    )
}

/// The gate's address that redirects here with a fresh challenge, and with the mark as `userurl`.
pub fn prelogin_url(gateway: SocketAddr, mark: Option<&str>) -> String {
    let query = mark.map_or_else(String::new, |mark| format!("?userurl={mark}"));
    format!("http://{gateway}/prelogin{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"uam secret";
    const ORIGIN: &str = "http://10.80.0.1:8081";
    const QUERY: &str = "res=notyet&uamip=10.80.0.1&uamport=3990&challenge=000102030405060708090a0b0c0d0e0f\
        &called=AA-BB-CC-00-00-01&mac=02-00-00-00-00-01&ip=10.80.1.2&nasid=gate-1&sessionid=1\
        &userurl=http%3a%2f%2fexample.org%2f";

    fn sign(query: &str) -> String {
        let md = Md5::digest([format!("{ORIGIN}/?{query}").as_bytes(), SECRET].concat());
        format!("{query}&md={}", HEXUPPER.encode(&md))
    }

    fn parse(query: &str) -> Option<Arrival> {
        Arrival::parse(&Params::parse(query).unwrap())
    }

    #[test]
    fn reads_a_gates_redirect() {
        let arrival = parse(QUERY).unwrap();
        assert_eq!(arrival.outcome, Outcome::NotYet);
        assert_eq!(arrival.gateway, "10.80.0.1:3990".parse().unwrap());
        assert_eq!(
            arrival.challenge,
            Some(std::array::from_fn(|i| u8::try_from(i).unwrap()))
        );
        assert_eq!(arrival.reply, None);
    }

    #[test]
    fn refuses_a_redirect_that_names_no_gate_or_device() {
        for (from, to) in [
            ("res=notyet", "res=maybe"),
            ("uamip=10.80.0.1", "uamip=evil.example"),
            ("uamport=3990", "uamport=0"),
            ("uamport=3990", "uamport=3990@evil.example"),
            ("mac=02-00-00-00-00-01", "mac=me"),
            ("&ip=10.80.1.2", "&ip=10.80.1"),
            ("nasid=gate-1", "nasid="),
        ] {
            assert!(QUERY.contains(from), "{from}");
            assert_eq!(parse(&QUERY.replace(from, to)), None, "{to}");
        }
    }

    #[test]
    fn believes_only_what_the_secret_signed() {
        let signed = sign(QUERY);
        assert!(is_signed(ORIGIN, "/", &signed, SECRET));
        assert!(!is_signed(ORIGIN, "/", &signed, b"another secret"));
        assert!(!is_signed("http://other:8081", "/", &signed, SECRET));
        assert!(!is_signed(ORIGIN, "/", QUERY, SECRET));
        assert!(!is_signed(
            ORIGIN,
            "/",
            &signed.replace("uamip=10.80.0.1", "uamip=10.80.0.2"),
            SECRET
        ));
        assert!(!is_signed(ORIGIN, "/", &format!("{signed}&uamport=80"), SECRET));
        assert!(!is_signed(ORIGIN, "/", &format!("{QUERY}&md="), SECRET));
        assert!(!is_signed(ORIGIN, "/", &signed.to_lowercase(), SECRET));
    }

    #[test]
    fn answers_the_challenge_as_chap_does() {
        let ticket = Ticket {
            user_name: "t-a/b&c".into(),
            password: "secret".to_owned().into(),
        };
        let bound = Md5::digest([&[1; 16][..], SECRET].concat());
        let response = Md5::digest([&[0][..], b"secret", &bound].concat());
        let url = logon_url("[fd00:80::1]:3990".parse().unwrap(), &[1; 16], SECRET, &ticket, None);
        let expected = format!(
            "http://[fd00:80::1]:3990/logon?username=t%2Da%2Fb%26c&response={}",
            HEXLOWER.encode(&response)
        );
        assert_eq!(url, expected);
    }
}
