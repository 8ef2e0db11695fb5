//! Identifiers of stored things. Each is its own type, so that a site can never be passed for a plan.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

id! {
    /// A person, known by a mobile number (or an administrator's name for one).
    SubscriberId,
    /// A device seen with a subscriber; its MAC is a short-lived hint, never an identity.
    DeviceId,
    /// A place: one or more gates that share a portal look, limits and budgets.
    SiteId,
    /// A network access server: the RADIUS client that opens and closes the gate.
    NasId,
    /// What a subscriber may use.
    PlanId,
    /// One subscriber's allowance for one period of one plan.
    EntitlementId,
    /// Octets promised to a gate out of an entitlement.
    LeaseId,
    /// One device online at one gate.
    SessionId,
    /// One login in progress: a code sent and waiting to be entered.
    ChallengeId,
}
