//! What the watchdog goes by: not that a timer runs, but that the work gets done.

use std::pin::pin;
use std::time::Duration;

use kavadam_access::Access;
use kavadam_gateway::Pulse;
use tokio_util::sync::CancellationToken;

use crate::notify;

/// Between looks, and between signs of life. The watchdog of the unit file is three times as patient, and where it is less so, a third of its
/// patience takes the place of this.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// An answer that takes longer is none, however impatient the watchdog is. A database that is away says so within half of this.
const PATIENCE: Duration = Duration::from_secs(10);

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
        let work = beat(heartbeat, || self.silent(), notify::alive);
        stop.run_until_cancelled(work).await;
    }

    /// The part that does not answer, if one does not.
    async fn silent(&self) -> Option<&'static str> {
        if let Some(access) = &self.access
            && tokio::time::timeout(PATIENCE, access.sites()).await.is_err()
        {
            return Some("the centre");
        }
        if let Some(gateway) = &self.gateway
            && !matches!(tokio::time::timeout(PATIENCE, gateway.beats()).await, Ok(true))
        {
            return Some("the gateway");
        }
        None
    }
}

/// Gives signs of life as long as no look finds a silent part; while one lasts too, unless the look before it found one.
async fn beat<Look: Future<Output = Option<&'static str>>>(every: Duration, look: impl Fn() -> Look, sign: impl Fn()) {
    let mut is_well = true;
    loop {
        let mut looking = pin!(look());
        let silent = loop {
            match tokio::time::timeout(every, &mut looking).await {
                Ok(silent) => break silent,
                Err(_) if is_well => sign(),
                Err(_) => {}
            }
        };
        is_well = silent.is_none();
        match silent {
            None => sign(),
            Some(part) => tracing::error!("{part} does not answer; systemd starts us anew if that lasts"),
        }
        tokio::time::sleep(every).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn an_answer_may_take_longer_than_the_watchdog_waits_but_none_is_a_sign_of_death() {
        let (looks, signs) = (Cell::new(0), Cell::new(0));
        let (third_sign, over) = (Notify::new(), Notify::new());
        let every = Duration::from_millis(10);
        let look = || {
            looks.set(looks.get() + 1);
            async {
                match looks.get() {
                    1 => {
                        third_sign.notified().await;
                        None
                    }
                    2 => Some("the centre"),
                    3 => {
                        tokio::time::sleep(every * 20).await;
                        Some("the centre")
                    }
                    _ => {
                        over.notify_one();
                        std::future::pending().await
                    }
                }
            }
        };
        let sign = || {
            signs.set(signs.get() + 1);
            if signs.get() == 3 {
                third_sign.notify_one();
            }
        };
        tokio::select! {
            () = beat(every, look, sign) => {}
            () = over.notified() => {}
        }
        assert_eq!(
            signs.get(),
            4,
            "three while it waited for the first answer, one for that, and none since"
        );
    }
}
