//! What the watchdog goes by: not that a timer runs, but that the work gets done.

use std::time::Duration;

use kavadam_access::Access;
use kavadam_gateway::Pulse;
use tokio_util::sync::CancellationToken;

use crate::notify;

/// Between looks; and an answer that takes longer is none. A database that is away says so within half of this. The watchdog of the unit
/// file is three times as patient, and where it is less so, a third of its patience takes the place of this.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The parts that everything else goes through.
#[derive(Default)]
pub struct Vitals {
    /// The centre's use cases.
    pub access: Option<Access>,
    /// The gateway's engine.
    pub gateway: Option<Pulse>,
}

impl Vitals {
    /// Tells systemd as long as both answer. A database that is out of reach is an answer: starting anew would not bring it
    /// back, and the gateway has work to do without it.
    pub async fn watch(self, stop: CancellationToken) {
        let heartbeat = notify::watchdog().map_or(HEARTBEAT, |watchdog| HEARTBEAT.min(watchdog / 3));
        let work = async {
            loop {
                match self.silent(heartbeat).await {
                    None => notify::alive(),
                    Some(part) => tracing::error!("{part} does not answer; systemd starts us anew if that lasts"),
                }
                tokio::time::sleep(heartbeat).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// The part that does not answer, if one does not.
    async fn silent(&self, patience: Duration) -> Option<&'static str> {
        if let Some(access) = &self.access
            && tokio::time::timeout(patience, access.sites()).await.is_err()
        {
            return Some("the centre");
        }
        if let Some(gateway) = &self.gateway
            && !matches!(tokio::time::timeout(patience, gateway.beats()).await, Ok(true))
        {
            return Some("the gateway");
        }
        None
    }
}
