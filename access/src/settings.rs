//! What the operator sets about logins.

use std::collections::BTreeMap;
use std::time::Duration;

use kavadam_domain::challenge::Rate;
use kavadam_domain::gate::{Abilities, OWN_PROFILE};

/// Limits and texts; the defaults are those of the example configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Before another code may be asked for.
    pub resend_after: Duration,
    /// Codes sent to one number in a short time.
    pub number_burst: Rate,
    /// Codes sent to one number in a day.
    pub number_daily: Rate,
    /// Codes asked for by one device.
    pub device: Rate,
    /// Codes asked for from one address.
    pub address: Rate,
    /// Codes asked for at one site.
    pub site: Rate,
    /// How long a ticket is good.
    pub ticket_life: Duration,
    /// How long a report that belongs to no session is kept.
    pub unknown_reports_kept: Duration,
    /// What the gates of each vendor's profile can be held to.
    pub abilities: BTreeMap<String, Abilities>,
}

impl Settings {
    /// What the gates of a profile can be held to; of one that is not known here, what any gate can.
    #[must_use]
    pub fn abilities_of(&self, profile: &str) -> Abilities {
        self.abilities.get(profile).copied().unwrap_or(Abilities::STANDARD)
    }
}

impl Default for Settings {
    fn default() -> Self {
        let rate = |most, within| Rate { most, within };
        Self {
            resend_after: Duration::from_secs(30),
            number_burst: rate(3, Duration::from_mins(10)),
            number_daily: rate(10, Duration::from_hours(24)),
            device: rate(5, Duration::from_mins(10)),
            address: rate(10, Duration::from_mins(10)),
            site: rate(120, Duration::from_mins(1)),
            ticket_life: Duration::from_mins(1),
            unknown_reports_kept: Duration::from_hours(30 * 24),
            abilities: BTreeMap::from([(OWN_PROFILE.to_owned(), Abilities::ALL)]),
        }
    }
}
