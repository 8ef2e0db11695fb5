//! Doors for fuzzing: what hostile devices and a mangled lease file may hold. Only with the feature `fuzzing`.

use std::net::Ipv6Addr;

use crate::advertise::is_solicitation;
use crate::http::query::{Parameters, is_callback, is_host};
use crate::lease::{read_event, read_file};
use crate::names::{self, Blocklist};

/// A query, a Host header and a JSONP callback, which a device may write as it likes.
///
/// # Panics
/// Something that could leave its place in a header or a script was let through.
pub fn query(text: &str) {
    let parameters = Parameters::parse(Some(text));
    for name in ["username", "response", "userurl", "callback", ""] {
        assert!(parameters.get(name).is_none_or(|value| !value.is_empty()));
    }
    if is_host(text) {
        assert!(
            text.bytes()
                .all(|octet| octet.is_ascii_graphic() && !b"/?#@\\\"'<>%".contains(&octet))
        );
    }
    if is_callback(text) {
        assert!(
            text.bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || b"_$.".contains(&octet))
        );
    }
}

/// A datagram at the port for names, be it from a device or from the resolver.
///
/// # Panics
/// A refusal is longer than what was asked.
pub fn names(datagram: &[u8]) {
    _ = names::read(datagram);
    _ = names::addresses(datagram);
    _ = (names::name(datagram), names::denial(datagram));
    assert!(names::refusal(datagram).is_none_or(|refused| refused.len() <= datagram.len()));
}

/// A message that a device sends to routers, from whatever address.
///
/// # Panics
/// One is heeded that RFC 4861 §6.1.1 has us drop.
pub fn solicitation(message: &[u8], from: Ipv6Addr) {
    if !is_solicitation(message, from) {
        return;
    }
    assert!(message.starts_with(&[133, 0]) && message.len() >= 8 && message.len().is_multiple_of(8));
    assert!(!from.is_multicast());
    let mut rest = message.get(8..).unwrap_or_default();
    while let [kind, units, ..] = rest {
        assert!(*units > 0 && (*kind != 1 || !from.is_unspecified()));
        rest = rest.get(usize::from(*units) * 8..).unwrap_or_default();
    }
}

/// A blocklist that others publish.
///
/// # Panics
/// It blocks a whole top-level domain, or more names than it has words.
pub fn blocklist(text: &str) {
    let mut list = Blocklist::default();
    let read = list.read(text);
    assert!(read.names + read.strange <= text.split_whitespace().count());
    assert!(!["in", "org", "com"].iter().any(|domain| list.has(domain)));
}

/// dnsmasq's lease file, and its script's words.
///
/// # Panics
/// More leases than lines.
pub fn leases(text: &str) {
    assert!(read_file(text).len() <= text.lines().count());
    _ = read_event(text);
}
