//! A refusal on its way through a redirect: `why=wrong-code.4`. Only words of ours are understood, so a forged one can
//! say nothing that the service would not say itself.

use std::time::Duration;

use kavadam_domain::Reason;

/// The value of `why` for a reason.
pub fn encode(reason: Reason) -> String {
    let figure = match reason {
        Reason::QuotaUsedUp(wait) => wait.map(secs_rounded_up),
        Reason::TooMany(wait) => Some(secs_rounded_up(wait)),
        Reason::WrongCode(n) | Reason::TooManyDevices(n) => Some(u64::from(n)),
        _ => None,
    };
    match figure {
        Some(figure) => format!("{}.{figure}", reason.code()),
        None => reason.code().to_owned(),
    }
}

/// The reason of a value of `why`; `None` for anything else.
pub fn decode(text: &str) -> Option<Reason> {
    let (word, figure) = match text.split_once('.') {
        Some((word, figure)) => (word, Some(figure.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let wait = figure.map(|secs| Duration::from_secs(u64::from(secs)));
    let reason = match (word, figure) {
        ("quota-used-up", _) => Reason::QuotaUsedUp(wait),
        ("too-many-attempts", Some(_)) => Reason::TooMany(wait?),
        ("wrong-code", Some(n)) => Reason::WrongCode(n),
        ("too-many-devices", Some(n)) => Reason::TooManyDevices(n),
        (_, Some(_)) => return None,
        (word, None) => *PLAIN.iter().find(|reason| reason.code() == word)?,
    };
    Some(reason)
}

/// Reasons without a figure.
const PLAIN: [Reason; 11] = [
    Reason::Blocked,
    Reason::BadCredential,
    Reason::UnknownDevice,
    Reason::UnknownSession,
    Reason::SiteClosed,
    Reason::NoChallenge,
    Reason::CodeExpired,
    Reason::InvalidNumber,
    Reason::NoConsent,
    Reason::BadVoucher,
    Reason::UnsupportedMethod,
];

fn secs_rounded_up(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).min(u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_a_redirect() {
        let wait = Duration::from_secs(90);
        let figured = [
            Reason::QuotaUsedUp(Some(wait)),
            Reason::QuotaUsedUp(None),
            Reason::TooManyDevices(2),
            Reason::TooMany(wait),
            Reason::WrongCode(0),
            Reason::WrongCode(4),
        ];
        for reason in figured.into_iter().chain(PLAIN) {
            assert_eq!(decode(&encode(reason)), Some(reason), "{reason:?}");
        }
    }

    #[test]
    fn says_nothing_that_is_not_ours() {
        for text in [
            "",
            "hello",
            "wrong-code",
            "wrong-code.-1",
            "blocked.3",
            "wrong-code.99999999999",
            "too-many-attempts",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
