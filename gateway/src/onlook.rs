//! What only the running gateway knows of its devices, for a command that looks on.

use kavadam_domain::Mac;
use serde::{Deserialize, Serialize};

use crate::engine::EngineHandle;

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
}

/// Looks on; cheap to clone.
#[derive(Clone)]
pub struct Onlooker(pub(crate) EngineHandle);

impl Onlooker {
    /// Every session; `None`: the engine is gone.
    pub async fn sessions(&self) -> Option<Vec<Known>> {
        self.0.known().await
    }

    /// One device; `None`: the engine is gone.
    pub async fn device(&self, mac: Mac) -> Option<Standing> {
        self.0.standing(mac).await
    }
}
