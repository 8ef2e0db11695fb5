//! What a gate can be held to, and what is left to do where it cannot.
//!
//! Our own gateway takes every limit at a login and any change of it later. Vendors' gates take some limits at a login alone and know
//! others not at all. What a gate cannot be told has to be done otherwise: a limit that narrows ends the session, one that widens waits
//! for the next login, and octets of a gate that counts but does not stop are watched in its reports.

use crate::Limits;
use crate::quota::Share;

/// Name of our own gateway's profile.
pub const OWN_PROFILE: &str = "kavadam";
/// Name of the profile for gates of whom nothing is known but the RFCs.
pub const STANDARD_PROFILE: &str = "standard";

/// A session that goes on so much longer than told is not worth an order: the times of two clocks, rounded, differ by less, and what
/// flows within it is still charged to the period that ended.
const SLACK_SECS: u32 = 120;

/// How far a gate can be held to a limit of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// Not at all: nothing in its dialect says so.
    Never,
    /// As it was told at the login.
    AtLogin,
    /// As it was told at the login or by a CoA-Request since.
    Always,
}

/// What a gate can be held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Octets of both directions together.
    pub octets: Hold,
    /// Speeds.
    pub rate: Hold,
    /// The session's time.
    pub session_secs: Hold,
    /// The time without a packet.
    pub idle_secs: Hold,
    /// It ends a session when told to (Disconnect-Request).
    pub is_cut: bool,
}

/// What to do at a gate whose session is to have new limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Nothing: the limits are those it was told, or what is wider waits for the next login.
    Nothing,
    /// Tell it (CoA-Request).
    Change,
    /// End the session (Disconnect-Request): it would go on with more than it may have.
    End,
    /// It should be ended, and this gate cannot be told to.
    Impossible,
}

impl Abilities {
    /// Our own gateway, and CoovaChilli with its CoA port open.
    pub const ALL: Self = Self {
        octets: Hold::Always,
        rate: Hold::Always,
        session_secs: Hold::Always,
        idle_secs: Hold::Always,
        is_cut: true,
    };

    /// A gate of whom nothing is known but the RFCs, speeds by WISPr.
    pub const STANDARD: Self = Self {
        octets: Hold::Never,
        rate: Hold::AtLogin,
        session_secs: Hold::AtLogin,
        idle_secs: Hold::AtLogin,
        is_cut: true,
    };

    /// Whether any limit can be changed at any time, so that nothing needs to be remembered of what it was told.
    #[must_use]
    pub fn are_all(&self) -> bool {
        *self == Self::ALL
    }

    /// The same gate, had it refused to change anything.
    #[must_use]
    pub fn without_changes(self) -> Self {
        let at_most = |hold: Hold| hold.min(Hold::AtLogin);
        Self {
            octets: at_most(self.octets),
            rate: at_most(self.rate),
            session_secs: at_most(self.session_secs),
            idle_secs: at_most(self.idle_secs),
            is_cut: self.is_cut,
        }
    }

    /// How it takes its share of a quota, unless it renews its leases.
    #[must_use]
    pub const fn share(&self, max_devices: u32) -> Share {
        match self.octets {
            Hold::Always => Share::Fixed { max_devices },
            Hold::AtLogin => Share::Once { max_devices },
            Hold::Never => Share::Reported { is_cut: self.is_cut },
        }
    }

    /// What to do so that a session that was told the one has the limits of the other. What is not known to have been told counts as
    /// never told.
    #[must_use]
    pub fn deed(&self, told: Option<Limits>, new: &Limits) -> Deed {
        if self.are_all() {
            return Deed::Change;
        }
        let told = told.unwrap_or_default();
        let secs = Kind::of(self.session_secs, told.session_secs, new.session_secs, SLACK_SECS);
        let idle = Kind::of(self.idle_secs, told.idle_secs, new.idle_secs, 0);
        let kinds = [
            Kind::of(self.octets, told.max_total_octets, new.max_total_octets, 0),
            Kind::of(self.rate, told.up_bits_per_sec, new.up_bits_per_sec, 0),
            Kind::of(self.rate, told.down_bits_per_sec, new.down_bits_per_sec, 0),
            secs,
            // A gate that waits longer for a silent device gives nobody more than is theirs.
            if idle == Kind::Ends { Kind::Stays } else { idle },
        ];
        if kinds.contains(&Kind::Ends) {
            self.end()
        } else if kinds.contains(&Kind::Changes) {
            Deed::Change
        } else {
            Deed::Nothing
        }
    }

    /// What to do where a session must end.
    #[must_use]
    pub const fn end(&self) -> Deed {
        if self.is_cut { Deed::End } else { Deed::Impossible }
    }

    /// What the gate holds to after it obeyed a CoA-Request.
    #[must_use]
    pub fn told_after(&self, told: Option<Limits>, new: &Limits) -> Limits {
        let told = told.unwrap_or_default();
        let is_told = |hold| hold == Hold::Always;
        let (octets, rate) = (is_told(self.octets), is_told(self.rate));
        Limits {
            max_total_octets: if octets {
                new.max_total_octets
            } else {
                told.max_total_octets
            },
            up_bits_per_sec: if rate {
                new.up_bits_per_sec
            } else {
                told.up_bits_per_sec
            },
            down_bits_per_sec: if rate {
                new.down_bits_per_sec
            } else {
                told.down_bits_per_sec
            },
            session_secs: if is_told(self.session_secs) {
                new.session_secs
            } else {
                told.session_secs
            },
            idle_secs: if is_told(self.idle_secs) {
                new.idle_secs
            } else {
                told.idle_secs
            },
            interim_secs: told.interim_secs,
            remaining_octets: new.remaining_octets,
            filter: told.filter,
            class: told.class,
        }
    }
}

/// What one limit asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stays,
    Changes,
    Ends,
}

impl Kind {
    /// `None` is no limit: wider than any.
    fn of<T: Copy + Ord + Into<u64>>(hold: Hold, told: Option<T>, new: Option<T>, slack: u32) -> Self {
        let figure = |limit: Option<T>| limit.map_or(u64::MAX, Into::into);
        let (told, new) = (figure(told), figure(new));
        let is_narrower = new.saturating_add(u64::from(slack)) < told;
        match hold {
            Hold::AtLogin if is_narrower => Self::Ends,
            Hold::Never | Hold::AtLogin => Self::Stays,
            Hold::Always if told.abs_diff(new) <= u64::from(slack) => Self::Stays,
            Hold::Always => Self::Changes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates and times at any time, octets at the login alone.
    const MIKROTIK: Abilities = Abilities {
        octets: Hold::AtLogin,
        ..Abilities::ALL
    };
    /// Speeds are the business of a role; nothing can be changed.
    const ARUBA: Abilities = Abilities {
        octets: Hold::Never,
        rate: Hold::AtLogin,
        session_secs: Hold::AtLogin,
        idle_secs: Hold::AtLogin,
        is_cut: true,
    };

    fn limits() -> Limits {
        Limits {
            max_total_octets: Some(100),
            up_bits_per_sec: Some(10_000_000),
            down_bits_per_sec: Some(10_000_000),
            session_secs: Some(3_600),
            idle_secs: Some(600),
            interim_secs: Some(60),
            remaining_octets: Some(100),
            filter: None,
            class: None,
        }
    }

    #[test]
    fn what_the_gate_was_told_already_is_not_told_again() {
        for gate in [MIKROTIK, ARUBA] {
            let later = Limits {
                session_secs: Some(3_598),
                remaining_octets: Some(7),
                ..limits()
            };
            assert_eq!(gate.deed(Some(limits()), &later), Deed::Nothing);
        }
    }

    #[test]
    fn what_narrows_ends_the_session_where_the_gate_cannot_be_told() {
        let slower = Limits {
            up_bits_per_sec: Some(256_000),
            ..limits()
        };
        assert_eq!(MIKROTIK.deed(Some(limits()), &slower), Deed::Change);
        assert_eq!(ARUBA.deed(Some(limits()), &slower), Deed::End);
        let uncut = Abilities { is_cut: false, ..ARUBA };
        assert_eq!(uncut.deed(Some(limits()), &slower), Deed::Impossible);
        let fewer = Limits {
            max_total_octets: Some(50),
            ..limits()
        };
        assert_eq!(MIKROTIK.deed(Some(limits()), &fewer), Deed::End);
    }

    #[test]
    fn what_widens_waits_for_the_next_login() {
        let wider = Limits {
            max_total_octets: None,
            up_bits_per_sec: None,
            down_bits_per_sec: Some(20_000_000),
            session_secs: Some(7_200),
            ..limits()
        };
        assert_eq!(ARUBA.deed(Some(limits()), &wider), Deed::Nothing);
        assert_eq!(MIKROTIK.deed(Some(limits()), &wider), Deed::Change);
        assert_eq!(
            MIKROTIK.told_after(Some(limits()), &wider).max_total_octets,
            Some(100),
            "its octets are still those of the login"
        );
    }

    #[test]
    fn a_gate_that_counts_and_does_not_stop_is_left_to_its_reports() {
        let fewer = Limits {
            max_total_octets: Some(1),
            ..limits()
        };
        assert_eq!(ARUBA.deed(Some(limits()), &fewer), Deed::Nothing);
        assert_eq!(ARUBA.share(3), Share::Reported { is_cut: true });
        assert_eq!(MIKROTIK.share(3), Share::Once { max_devices: 3 });
    }

    #[test]
    fn a_shorter_idle_time_sends_nobody_away() {
        let stricter = Limits {
            idle_secs: Some(60),
            ..limits()
        };
        assert_eq!(ARUBA.deed(Some(limits()), &stricter), Deed::Nothing);
        assert_eq!(MIKROTIK.deed(Some(limits()), &stricter), Deed::Change);
    }

    #[test]
    fn a_gate_that_was_never_told_is_told_or_the_session_ends() {
        assert_eq!(ARUBA.deed(None, &limits()), Deed::End);
        let changing = Abilities {
            octets: Hold::Never,
            ..Abilities::ALL
        };
        assert_eq!(changing.deed(None, &limits()), Deed::Change);
        assert_eq!(changing.without_changes().deed(None, &limits()), Deed::End);
    }
}
