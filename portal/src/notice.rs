//! A refusal on its way through a redirect: `why=wrong-code.4`. Only words of ours are understood, so a forged one can
//! say nothing that the service would not say itself.

use std::time::Duration;

use kavadam_domain::{Language, Reason};

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
const PLAIN: [Reason; 12] = [
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
    Reason::UnsupportedService,
];

/// The reason that a gate passes on as a sentence (Reply-Message), in whichever language it came; `None` for a sentence
/// that is not ours.
pub fn recognise(reply: &str) -> Option<Reason> {
    let digits = reply
        .split(|c: char| !c.is_ascii_digit())
        .find(|digits| !digits.is_empty());
    // A sentence about one thing may say so without a figure.
    let n: u32 = digits.map_or(Ok(1), str::parse).ok()?;
    let waits = [1, 60, 3_600].map(|unit| Duration::from_secs(u64::from(n) * unit));
    let figured = waits
        .into_iter()
        .flat_map(|wait| [Reason::QuotaUsedUp(Some(wait)), Reason::TooMany(wait)])
        .chain([
            Reason::QuotaUsedUp(None),
            Reason::TooManyDevices(n),
            Reason::WrongCode(n),
            Reason::WrongCode(0),
        ]);
    let says_so = |reason: &Reason| Language::ALL.iter().any(|language| reason.message(*language) == reply);
    figured.chain(PLAIN).find(says_so)
}

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
    fn a_sentence_of_ours_is_recognised_in_every_language_and_no_other() {
        let figured = [
            Reason::QuotaUsedUp(Some(Duration::from_hours(18))),
            Reason::QuotaUsedUp(Some(Duration::from_mins(50))),
            Reason::QuotaUsedUp(None),
            Reason::TooManyDevices(1),
            Reason::TooManyDevices(2),
            Reason::TooMany(Duration::from_secs(1)),
            Reason::TooMany(Duration::from_mins(8)),
            Reason::WrongCode(0),
            Reason::WrongCode(1),
            Reason::WrongCode(4),
        ];
        for reason in figured.into_iter().chain(PLAIN) {
            for from in Language::ALL {
                let found = recognise(&reason.message(from)).unwrap_or_else(|| panic!("{reason:?}"));
                for to in Language::ALL {
                    assert_eq!(found.message(to), reason.message(to));
                }
            }
        }
        for reply in ["", "hello", "99999999999999", "Call 1800 123 now"] {
            assert_eq!(recognise(reply), None, "{reply}");
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
