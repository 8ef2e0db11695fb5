//! Upkeep: what nobody will come back for.

use std::time::Duration;

use kavadam_domain::Timestamp;
use kavadam_domain::session::{SessionState, terminate_cause};

use crate::admit::end_session;
use crate::{Access, AccessError};

/// A grant without a Start for so long was never used.
const GRANTED_PATIENCE: Duration = Duration::from_mins(2);
/// A session without a report for so long is dead: five interims missed.
const OPEN_PATIENCE: Duration = Duration::from_mins(5);
/// Challenges, tickets and attempts are kept so long after they expired.
const KEPT: Duration = Duration::from_hours(24);

impl Access {
    /// Ends sessions that were never begun or fell silent, with the octets known, and forgets what expired. A late report still adds its octets.
    /// Tells how many sessions were ended.
    ///
    /// # Errors
    /// The service is out of order; call again.
    pub async fn sweep(&self, now: Timestamp) -> Result<u32, AccessError> {
        let mut tx = self.write().await?;
        let silent = tx.silent_sessions(now - GRANTED_PATIENCE, now - OPEN_PATIENCE).await?;
        let mut ended = 0;
        for found in silent {
            tx.lock_subscriber(found.subscriber_id).await?;
            // Read again under the lock: a report may have come meanwhile.
            let Some(mut session) = tx.session(found.id).await? else {
                continue;
            };
            if session.state == SessionState::Ended || session.heard_at != found.heard_at {
                continue;
            }
            end_session(&mut tx, &mut session, terminate_cause::LOST_SERVICE, now).await?;
            ended += 1;
        }
        tx.delete_expired(now - KEPT).await?;
        tx.delete_unknown_reports(now - self.settings().unknown_reports_kept)
            .await?;
        tx.commit().await?;
        Ok(ended)
    }
}
