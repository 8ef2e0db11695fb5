//! The record of sessions, asked for in the ways that must stay quick when it is long.

use kavadam_domain::{SessionId, SubscriberId};

use crate::sql::rows;
use crate::{Result, SessionFilter, SessionListing, SessionRow, Tx};

impl Tx {
    /// A subscriber's last session, live or ended.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_session_of(&mut self, subscriber: SubscriberId) -> Result<Option<SessionRow>> {
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM session WHERE subscriber_id = $1 ORDER BY id DESC LIMIT 1",
            subscriber
        )
    }

    /// Lists a subscriber's sessions with the names that belong to them, the newest first. Of the filter, `subscriber` and `id` are ignored.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sessions_of(
        &mut self,
        subscriber: SubscriberId,
        filter: &SessionFilter,
    ) -> Result<Vec<SessionListing>> {
        rows!(
            self,
            fetch_all,
            "SELECT s.*, u.number, n.name AS nas_name, p.name AS site_name
             FROM session s JOIN subscriber u ON u.id = s.subscriber_id JOIN nas n ON n.id = s.nas_id
                 JOIN site p ON p.id = s.site_id
             WHERE s.subscriber_id = $1 AND ($2 = FALSE OR s.state <> 'ended') AND ($3 IS NULL OR s.site_id = $3)
                 AND ($4 IS NULL OR s.nas_id = $4)
             ORDER BY s.id DESC LIMIT $5",
            subscriber,
            filter.is_live,
            filter.site,
            filter.nas,
            filter.most.unwrap_or(1_000),
        )
    }

    /// One session with the names that belong to it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn session_listing(&mut self, id: SessionId) -> Result<Option<SessionListing>> {
        rows!(
            self,
            fetch_optional,
            "SELECT s.*, u.number, n.name AS nas_name, p.name AS site_name
             FROM session s JOIN subscriber u ON u.id = s.subscriber_id JOIN nas n ON n.id = s.nas_id
                 JOIN site p ON p.id = s.site_id
             WHERE s.id = $1",
            id,
        )
    }
}
