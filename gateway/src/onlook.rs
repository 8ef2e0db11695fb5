//! What only the running gateway knows of its devices, for a command that looks on.

use std::time::Instant;

use kavadam_domain::Mac;
use serde::{Deserialize, Serialize};

use crate::engine::EngineHandle;
use crate::fingerprints::Fingerprints;
use crate::sightings::Sightings;

/// A session, beside what the kernel shows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The device.
    pub mac: Mac,
    /// Acct-Session-Id.
    pub id: String,
    /// User-Name by which it is reported.
    pub person: Option<String>,
    /// Without a packet, seconds, as of the last reading of its meters.
    pub idle_secs: u64,
    /// It is stopped, and about to be reported and removed.
    pub is_ending: bool,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Standing {
    /// Its session.
    pub known: Option<Known>,
    /// A RADIUS server is being asked about it, or its session being opened.
    pub is_asking: bool,
    /// The server refused it, or was silent, and is asked again after so many seconds at the earliest.
    pub refused_for_secs: Option<u64>,
    /// Ports of the LAN's bridge at which it is seen in turns, as if it were two; none if it stays where it is.
    #[serde(default)]
    pub seen_in_turns_at: Vec<String>,
    /// It asks for its address in two ways in turns, as if it were two.
    #[serde(default)]
    pub asks_in_turns: bool,
}

/// Looks on; cheap to clone.
#[derive(Clone)]
pub struct Onlooker {
    pub(crate) engine: EngineHandle,
    pub(crate) sightings: Sightings,
    pub(crate) fingerprints: Fingerprints,
}

impl Onlooker {
    /// Every session; `None`: the engine is gone.
    pub async fn sessions(&self) -> Option<Vec<Known>> {
        self.engine.known().await
    }

    /// One device; `None`: the engine is gone.
    pub async fn device(&self, mac: Mac) -> Option<Standing> {
        let standing = self.engine.standing(mac).await?;
        Some(Standing {
            seen_in_turns_at: self.sightings.restless(mac, Instant::now()),
            asks_in_turns: self.fingerprints.are_two(mac, Instant::now()),
            ..standing
        })
    }
}
