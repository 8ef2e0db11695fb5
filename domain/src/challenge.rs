//! One-time codes: six digits, ten minutes, five tries, one use.
//!
//! ```text
//!            wrong code, tries left
//!               ┌──────┐
//!               ▼      │
//!  start ──▶ Pending ──┴─ right code ─▶ Verified      (spent: a second entry is refused)
//!               ├──────── fifth wrong ─▶ Spent
//!               ├──────── ten minutes ─▶ Expired
//!               └──────── a new code ──▶ Superseded
//! ```
//!
//! A code is computed from a secret of its own (which the caller derives from a key and a random number), never stored.

use std::time::Duration;

use subtle::ConstantTimeEq;
use totp_rs::{Algorithm, Builder, Totp};

use crate::number::ascii_digit;
use crate::time::CLOCKS_WITHIN;
use crate::{Reason, Timestamp};

/// How long a code is good.
pub const CODE_LIFE: Duration = Duration::from_mins(10);
/// Wrong codes before it is spent.
pub const TRIES: u32 = 5;
/// Digits of a code.
const DIGITS: u8 = 6;

/// A code that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// When it was made.
    pub created_at: Timestamp,
    /// Tries left.
    pub tries_left: u32,
    /// Where it stands.
    pub state: ChallengeState,
}

/// Where a code stands. Only a pending one can be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeState {
    /// Waiting to be entered.
    Pending,
    /// Entered, right.
    Verified,
    /// Wrong too often.
    Spent,
    /// Another was sent in its place, or the number was changed.
    Superseded,
}

impl Challenge {
    /// A fresh one.
    #[must_use]
    pub const fn start(now: Timestamp) -> Self {
        Self {
            created_at: now,
            tries_left: TRIES,
            state: ChallengeState::Pending,
        }
    }

    /// When it expires.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.created_at + CODE_LIFE
    }

    /// Whether it can still be entered.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state == ChallengeState::Pending && now < self.expires_at()
    }

    /// An entry: the challenge as it stands afterwards, and whether the entry was right. The new state must be stored before
    /// anybody is told.
    ///
    /// The reasons a refusal may have: no such challenge, expired, or wrong with the tries left.
    pub fn enter(self, entered: &str, secret: &[u8], now: Timestamp) -> (Self, Result<(), Reason>) {
        match self.state {
            ChallengeState::Pending => {}
            ChallengeState::Spent => return (self, Err(Reason::WrongCode(0))),
            ChallengeState::Verified | ChallengeState::Superseded => return (self, Err(Reason::NoChallenge)),
        }
        if now >= self.expires_at() {
            return (self, Err(Reason::CodeExpired));
        }
        if is_code(entered, secret) {
            return (
                Self {
                    state: ChallengeState::Verified,
                    ..self
                },
                Ok(()),
            );
        }
        let tries_left = self.tries_left.saturating_sub(1);
        let state = if tries_left == 0 {
            ChallengeState::Spent
        } else {
            ChallengeState::Pending
        };
        (
            Self {
                tries_left,
                state,
                ..self
            },
            Err(Reason::WrongCode(tries_left)),
        )
    }
}

/// The six digits of a challenge's secret (20 octets or more).
#[must_use]
pub fn code(secret: &[u8]) -> String {
    totp(secret, CODE_LIFE.as_secs()).generate(0).to_string()
}

/// Compares in constant time; forgives spaces, dashes and the digits of other scripts.
fn is_code(entered: &str, secret: &[u8]) -> bool {
    normalise(entered).is_some_and(|digits| digits.as_bytes().ct_eq(code(secret).as_bytes()).into())
}

fn normalise(entered: &str) -> Option<String> {
    if entered.len() > 64 {
        return None;
    }
    let marks = |c: &char| !matches!(c, ' ' | '-' | '\u{a0}');
    let digits: Option<String> = entered.trim().chars().filter(marks).map(ascii_digit).collect();
    digits.filter(|digits| digits.len() == usize::from(DIGITS))
}

/// RFC 6238 §5.2.
const AUTHENTICATOR_STEP_SECS: u64 = 30;

/// Checks a code of an enrolled authenticator app (RFC 6238: 30 s steps, one step of skew either way). `last_step` is the step of the last
/// code accepted: neither it nor an earlier one is accepted again. Returns the step to remember.
#[must_use]
pub fn check_authenticator(entered: &str, secret: &[u8], last_step: Option<u64>, now: Timestamp) -> Option<u64> {
    let digits = normalise(entered)?;
    let current = u64::try_from(now.as_secs()).ok()? / AUTHENTICATOR_STEP_SECS;
    let app = totp(secret, AUTHENTICATOR_STEP_SECS);
    let mut found = None;
    for step in current.saturating_sub(1)..=current + 1 {
        let expected = app.generate(step * AUTHENTICATOR_STEP_SECS).to_string();
        if bool::from(digits.as_bytes().ct_eq(expected.as_bytes())) {
            found = Some(step);
        }
    }
    found.filter(|step| last_step.is_none_or(|last| *step > last))
}

/// What an authenticator app with this secret shows (RFC 6238).
#[must_use]
pub fn authenticator_code(secret: &[u8], now: Timestamp) -> String {
    let secs = u64::try_from(now.as_secs()).unwrap_or_default();
    totp(secret, AUTHENTICATOR_STEP_SECS).generate(secs).to_string()
}

/// What an authenticator app with this secret shows now, and one step of skew before and after: what [`check_authenticator`] takes.
#[must_use]
pub fn authenticator_codes(secret: &[u8], now: Timestamp) -> [String; 3] {
    let step = Duration::from_secs(AUTHENTICATOR_STEP_SECS);
    [now - step, now, now + step].map(|at| authenticator_code(secret, at))
}

fn totp(secret: &[u8], step_secs: u64) -> Totp {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_skew(0)
        .with_step_duration(step_secs)
        .with_secret(secret.to_vec())
        .build_noncompliant()
}

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At most so many.
    pub most: u32,
    /// Within any span of this length.
    pub within: Duration,
}

/// When the next one is allowed: now (`None`), or after a wait. `past` are the times of earlier ones, in any order. Those of later than now were
/// noted by a clock that was ahead, and count for nothing.
#[must_use]
pub fn wait_for(rate: Rate, past: &[Timestamp], now: Timestamp) -> Option<Duration> {
    let since = now - rate.within;
    let mut recent: Vec<Timestamp> = past
        .iter()
        .copied()
        .filter(|at| *at > since && *at <= now + CLOCKS_WITHIN)
        .collect();
    recent.sort_unstable();
    let most = usize::try_from(rate.most).unwrap_or(usize::MAX);
    // The oldest that must leave the span before another fits.
    let blocking = recent.len().checked_sub(most)?;
    let at = recent.get(blocking).copied().unwrap_or(now);
    Some((at + rate.within).since(now))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn the_right_code_is_good_once() {
        let (challenge, outcome) = Challenge::start(at(0)).enter(&code(&SECRET), &SECRET, at(599));
        assert_eq!(outcome, Ok(()));
        assert_eq!(
            challenge.enter(&code(&SECRET), &SECRET, at(599)).1,
            Err(Reason::NoChallenge)
        );
    }

    #[test]
    fn ten_minutes_later_it_is_not() {
        let (challenge, outcome) = Challenge::start(at(0)).enter(&code(&SECRET), &SECRET, at(600));
        assert_eq!(outcome, Err(Reason::CodeExpired));
        assert_eq!(challenge.tries_left, TRIES, "an expired code costs no try");
    }

    #[test]
    fn five_wrong_codes_spend_it_even_for_the_right_one() {
        let mut challenge = Challenge::start(at(0));
        for left in (0..TRIES).rev() {
            let (next, outcome) = challenge.enter("not it", &SECRET, at(1));
            assert_eq!(outcome, Err(Reason::WrongCode(left)));
            challenge = next;
        }
        assert_eq!(
            challenge.enter(&code(&SECRET), &SECRET, at(1)).1,
            Err(Reason::WrongCode(0))
        );
    }

    #[test]
    fn a_code_may_be_typed_with_spaces_and_in_malayalam_digits() {
        let digits = code(&SECRET);
        let malayalam: String = digits
            .chars()
            .map(|c| char::from_u32(0xd66 + c.to_digit(10).unwrap()).unwrap())
            .collect();
        let (three, rest) = digits.split_at(3);
        for entered in [malayalam, format!(" {three} {rest} "), format!("{three}-{rest}")] {
            assert!(is_code(&entered, &SECRET), "{entered}");
        }
        assert!(!is_code(&format!("{digits}0"), &SECRET));
        assert!(!is_code(&"1".repeat(1_000_000), &SECRET));
    }

    #[test]
    fn an_authenticator_shows_what_rfc_6238_says() {
        let rfc = b"12345678901234567890";
        for (secs, shown) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert_eq!(authenticator_code(rfc, at(secs)), shown);
        }
    }

    #[test]
    fn an_authenticator_code_is_good_once_and_one_step_around() {
        let now = at(1_000_000_000);
        let entered = totp(&SECRET, 30).generate(1_000_000_000 - 30).to_string();
        let step = check_authenticator(&entered, &SECRET, None, now);
        assert_eq!(step, Some(1_000_000_000 / 30 - 1));
        assert_eq!(check_authenticator(&entered, &SECRET, step, now), None, "replayed");
        assert_eq!(
            check_authenticator(&entered, &SECRET, None, now + Duration::from_mins(2)),
            None,
            "old"
        );
    }

    #[test]
    fn every_code_that_an_app_may_show_is_taken_and_no_other() {
        let now = at(1_000_000_000);
        for code in authenticator_codes(&SECRET, now) {
            assert!(check_authenticator(&code, &SECRET, None, now).is_some(), "{code}");
        }
    }

    #[test]
    fn a_clock_that_was_ahead_locks_nobody_out() {
        let rate = Rate {
            most: 1,
            within: Duration::from_mins(10),
        };
        assert!(wait_for(rate, &[at(1000)], at(1000)).is_some());
        assert!(
            wait_for(rate, &[at(1060)], at(1000)).is_some(),
            "another machine's clock"
        );
        assert_eq!(wait_for(rate, &[at(1061), at(9_000)], at(1000)), None);
    }

    proptest! {
        #[test]
        fn after_the_wait_it_is_allowed_and_just_before_it_is_not(
            past in prop::collection::vec(0i64..2_000_000_000, 0..40), most in 1u32..6,
        ) {
            let rate = Rate { most, within: Duration::from_mins(10) };
            let past: Vec<_> = past.into_iter().map(Timestamp).collect();
            let now = Timestamp(2_000_000_000);
            match wait_for(rate, &past, now) {
                None => prop_assert!(past.iter().filter(|at| **at > now - rate.within).count() < most as usize),
                Some(wait) => {
                    prop_assert_eq!(wait_for(rate, &past, now + wait), None);
                    let almost = now + wait.saturating_sub(Duration::from_micros(1));
                    prop_assert!(wait_for(rate, &past, almost).is_some());
                }
            }
        }
    }
}
