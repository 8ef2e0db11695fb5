//! The same question at another server: the answer of the first was lost, or came too late, and what logs in once was spent for it.

use kavadam_domain::SubscriberId;
use kavadam_domain::Timestamp;
use kavadam_domain::session::SessionState;
use kavadam_store::Tx;

use crate::api::AuthorizeRequest;
use crate::{Access, AccessError};

impl Access {
    /// Whether that device was granted that very session of that gate for that person within the life of a ticket, and its gate has made
    /// nothing of it yet. Who then shows again what it was granted for may have the same grant again, and no other. Holds the subscriber.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn was_granted(
        &self,
        tx: &mut Tx,
        subscriber: SubscriberId,
        request: &AuthorizeRequest,
        now: Timestamp,
    ) -> Result<bool, AccessError> {
        if request.acct_session_id.is_none() || request.mac.is_none() {
            return Ok(false);
        }
        tx.lock_subscriber(subscriber).await?;
        let live = tx.live_sessions_of(subscriber).await?;
        Ok(live.iter().any(|session| {
            session.state == SessionState::Granted
                && session.nas_id == request.nas
                && session.mac == request.mac
                && session.acct_session_id == request.acct_session_id
                && now.since(session.granted_at) < self.settings().ticket_life
        }))
    }
}
