//! Where gates stand, as their requests tell: orders go there.
//!
//! No request waits until that is written. It is known here at once, and written together with what was seen of other gates meanwhile: of
//! thousands of gates somebody is seen at every moment, and each commit is a journey to the disk.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use kavadam_domain::{NasId, Timestamp};
use kavadam_store::NasRow;

use crate::{Access, AccessError};

/// Where a gate stands is written down again only after so long, unless its address changes.
const SEEN_EVERY: Duration = Duration::from_mins(1);
/// Between transactions that write it; a process that dies forgets no more.
const GATHERING: Duration = Duration::from_secs(1);
/// Gates in one of them: it must not keep what gates ask from the writer for long.
const MOST: usize = 256;

/// The gates that were seen by this process.
#[derive(Default)]
pub struct Seen {
    sights: RwLock<HashMap<NasId, Sight>>,
    /// Somebody writes them.
    is_writing: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sight {
    address: IpAddr,
    at: Timestamp,
    is_written: bool,
}

impl Seen {
    /// Whether that is news, to be written.
    fn note(&self, nas: NasId, address: IpAddr, now: Timestamp) -> bool {
        let known = self.of(nas);
        if known.is_some_and(|known| known.address == address && now.since(known.at) < SEEN_EVERY) {
            return false;
        }
        let sight = Sight {
            address,
            at: now,
            is_written: false,
        };
        self.lock().insert(nas, sight);
        true
    }

    fn of(&self, nas: NasId) -> Option<Sight> {
        let sights = self.sights.read().unwrap_or_else(PoisonError::into_inner);
        sights.get(&nas).copied()
    }

    fn lock(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<NasId, Sight>> {
        self.sights.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is yet to be written, in the order in which everybody locks gates.
    fn unwritten(&self) -> Vec<(NasId, Sight)> {
        let sights = self.sights.read().unwrap_or_else(PoisonError::into_inner);
        let unwritten = sights.iter().filter(|(_, sight)| !sight.is_written);
        let mut unwritten: Vec<_> = unwritten.map(|(nas, sight)| (*nas, *sight)).collect();
        unwritten.sort_unstable_by_key(|(nas, _)| *nas);
        unwritten.truncate(MOST);
        unwritten
    }

    /// These are written; what was seen since is not.
    fn written(&self, written: &[(NasId, Sight)]) {
        let mut sights = self.lock();
        for (nas, sight) in written {
            if let Some(known) = sights.get_mut(nas).filter(|known| *known == sight) {
                known.is_written = true;
            }
        }
    }
}

impl Access {
    /// Notes that an authentic request of a gate came from there: its orders go to that address. It is written within seconds. Needs a Tokio
    /// runtime.
    pub fn nas_seen(&self, nas: NasId, from: SocketAddr, now: Timestamp) {
        let seen = &self.0.seen;
        if seen.note(nas, from.ip().to_canonical(), now) && !seen.is_writing.swap(true, Ordering::AcqRel) {
            let access = self.clone();
            tokio::spawn(async move { access.keep_sights().await });
        }
    }

    /// Where a gate was seen last, and when, by this process or another.
    pub(crate) fn last_sight(&self, nas: &NasRow) -> Option<(IpAddr, Timestamp)> {
        let written = nas.last_seen_address.zip(nas.last_seen_at);
        let known = self.0.seen.of(nas.id).map(|sight| (sight.address, sight.at));
        written.into_iter().chain(known).max_by_key(|(_, at)| *at)
    }

    /// Until nothing is left to write.
    async fn keep_sights(&self) {
        let seen = &self.0.seen;
        loop {
            tokio::time::sleep(GATHERING).await;
            let sights = seen.unwritten();
            if sights.is_empty() {
                seen.is_writing.store(false, Ordering::Release);
                // Somebody may have come after the look, and relied on this one.
                if seen.unwritten().is_empty() || seen.is_writing.swap(true, Ordering::AcqRel) {
                    return;
                }
                continue;
            }
            match self.write_sights(&sights).await {
                Ok(()) => seen.written(&sights),
                Err(error) => tracing::warn!(%error, "cannot write where gates were seen; it is tried again"),
            }
        }
    }

    async fn write_sights(&self, sights: &[(NasId, Sight)]) -> Result<(), AccessError> {
        let mut tx = self.write().await?;
        for (nas, sight) in sights {
            tx.nas_seen(*nas, sight.address, sight.at).await?;
        }
        Ok(tx.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    #[test]
    fn a_gate_is_written_down_once_a_minute_and_when_it_moves() {
        let seen = Seen::default();
        let [home, away]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        let (first, second) = (NasId(1), NasId(2));
        assert!(seen.note(second, home, NOW) && seen.note(first, home, NOW));
        assert!(!seen.note(first, home, NOW + Duration::from_secs(59)));
        let both = seen.unwritten();
        assert_eq!(both.iter().map(|(nas, _)| *nas).collect::<Vec<_>>(), [first, second]);
        // One moves while that is being written.
        assert!(seen.note(first, away, NOW));
        seen.written(&both);
        let left = seen.unwritten();
        assert_eq!(
            left.iter()
                .map(|(nas, sight)| (*nas, sight.address))
                .collect::<Vec<_>>(),
            [(first, away)]
        );
        seen.written(&left);
        assert_eq!(seen.unwritten(), []);
        assert!(seen.note(second, home, NOW + Duration::from_mins(1)));
        assert_eq!(seen.unwritten().len(), 1);
    }
}
