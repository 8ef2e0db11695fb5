//! Doors for fuzzing: what a hostile device may write, read as the pages read it. Only with the feature `fuzzing`.

use std::time::Duration;

use kavadam_domain::{Language, Timestamp};

use crate::config::TokenKey;
use crate::params::Params;
use crate::token::VisitToken;
use crate::uam::Arrival;

/// A query or a form: what two readers could read differently is refused, and what is accepted names each name once.
///
/// # Panics
/// It does not hold.
pub fn query(text: &str) {
    let Ok(params) = Params::parse(text) else { return };
    if let Some(arrival) = Arrival::parse(&params) {
        assert!(arrival.gateway.port() != 0, "a login must have somewhere to go");
        let token = VisitToken {
            nas: arrival.nas,
            mac: arrival.mac,
            ip: arrival.ip,
            gateway: arrival.gateway,
            challenge: arrival.challenge,
            is_open: false,
            language: Language::default(),
            issued: Timestamp::from_secs(1),
        };
        let key = TokenKey::new([7; 32]);
        let opened = VisitToken::open(&token.seal(&key), &key, Duration::from_mins(1), Timestamp::from_secs(2));
        assert_eq!(opened, Ok(token), "a visit survives its journey");
    }
}

/// A visit token: nothing but what we sealed is honoured.
///
/// # Panics
/// It does not hold.
pub fn token(text: &str) {
    let key = TokenKey::new([7; 32]);
    if let Ok(token) = VisitToken::open(text, &key, Duration::from_mins(1), Timestamp::from_secs(2)) {
        assert_eq!(token.seal(&key), text, "one visit, one spelling");
    }
}
