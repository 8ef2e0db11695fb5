//! Text that people, devices and dnsmasq write, and what devices ask by name and in neighbour discovery.

use kavadam_domain::{Mac, MobileNumber};

/// A MAC and a number, in whatever spelling: what is read is written in one way and read back as the same.
pub fn domain(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    if let Ok(mac) = text.parse::<Mac>() {
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }
    if let Ok(number) = text.parse::<MobileNumber>() {
        assert!(number.digits().len() == 10 && number.digits().bytes().all(|octet| octet.is_ascii_digit()));
        assert_eq!(number.digits().parse(), Ok(number.clone()));
        assert!(!number.masked().contains(number.digits()));
    }
}

pub fn portal_query(octets: &[u8]) {
    if let Ok(text) = std::str::from_utf8(octets) {
        kavadam_portal::fuzzing::query(text);
    }
}

pub fn portal_token(octets: &[u8]) {
    if let Ok(text) = std::str::from_utf8(octets) {
        kavadam_portal::fuzzing::token(text);
    }
}

pub fn gateway_query(octets: &[u8]) {
    if let Ok(text) = std::str::from_utf8(octets) {
        kavadam_gateway::fuzzing::query(text);
    }
}

pub fn gateway_leases(octets: &[u8]) {
    if let Ok(text) = std::str::from_utf8(octets) {
        kavadam_gateway::fuzzing::leases(text);
    }
}

pub fn gateway_blocklist(octets: &[u8]) {
    if let Ok(text) = std::str::from_utf8(octets) {
        kavadam_gateway::fuzzing::blocklist(text);
    }
}

/// The address of who speaks, then what is said.
pub fn gateway_solicitation(octets: &[u8]) {
    if let Some((from, message)) = octets.split_first_chunk::<16>() {
        kavadam_gateway::fuzzing::solicitation(message, (*from).into());
    }
}

pub fn gateway_names(octets: &[u8]) {
    kavadam_gateway::fuzzing::names(octets);
}
