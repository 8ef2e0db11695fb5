//! Upkeep: what nobody will come back for.

use std::time::Duration;

use kavadam_domain::session::SessionState;
use kavadam_domain::{SessionId, SubscriberId, Timestamp};
use kavadam_store::SessionRow;

use crate::ending::presume_ended;
use crate::{Access, AccessError};

/// A grant without a Start for so long was never used.
const GRANTED_PATIENCE: Duration = Duration::from_mins(2);
/// A session without a report for so long is dead: three times the longest interval that a gate insists on (Meraki, five minutes).
const OPEN_PATIENCE: Duration = Duration::from_mins(15);
/// Challenges, tickets and attempts are kept so long after they expired.
const KEPT: Duration = Duration::from_hours(24);
/// Silent sessions looked at in one go.
const MOST: u32 = 1000;

impl Access {
    /// Takes sessions for ended that were never begun or fell silent, with the octets known, each in a transaction of its own, and forgets
    /// what expired. A late report still adds its octets, and reopens what is alive after all. Silence counts from `up_since` at the
    /// earliest: the service hears the gates without a break since then. Tells how many sessions were ended.
    ///
    /// # Errors
    /// The service is out of order; call again.
    pub async fn sweep(&self, up_since: Timestamp, now: Timestamp) -> Result<u32, AccessError> {
        let before = |patience| (now.since(up_since) >= patience).then(|| now - patience);
        let silent = self
            .read()
            .await?
            .silent_sessions(before(GRANTED_PATIENCE), before(OPEN_PATIENCE), MOST)
            .await?;
        let mut ended = 0;
        for found in silent {
            let is_ended = self
                .end_silent(found.subscriber_id, found.id, found.heard_at, now)
                .await?;
            ended += u32::from(is_ended);
        }
        let mut tx = self.write().await?;
        tx.delete_expired(now - KEPT).await?;
        self.prune_unknown(&mut tx).await?;
        tx.delete_unknown_reports(now - self.settings().unknown_reports_kept)
            .await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Ends a session unless something was heard of it meanwhile.
    async fn end_silent(
        &self,
        subscriber: SubscriberId,
        id: SessionId,
        heard_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, AccessError> {
        let mut tx = self.write().await?;
        tx.lock_subscriber(subscriber).await?;
        let silent = |session: &SessionRow| session.state != SessionState::Ended && session.heard_at == heard_at;
        let Some(mut session) = tx.session(id).await?.filter(silent) else {
            return Ok(false);
        };
        presume_ended(&mut tx, &mut session, now).await?;
        tx.commit().await?;
        Ok(true)
    }
}
