//! The record of sessions, asked for in the ways that must stay quick when it is long: each way has a text of its own, since neither database
//! uses an index for "this column, if it was asked for".

use std::net::IpAddr;

use kavadam_domain::{SessionId, SiteId, SubscriberId, Timestamp};

use crate::sql::rows;
use crate::{Result, SessionListing, SessionRow, Tx};

/// Sessions with the names that belong to them, in the case given.
macro_rules! listing {
    ($case:literal) => {
        concat!(
            "SELECT s.*, u.number, n.name AS nas_name, p.name AS site_name, v.ssid, v.access_point,
                 v.public_ip, v.first_port, v.last_port, v.free_up_octets, v.free_down_octets
             FROM session s JOIN subscriber u ON u.id = s.subscriber_id JOIN nas n ON n.id = s.nas_id
                 JOIN site p ON p.id = s.site_id LEFT JOIN session_vendor v ON v.session_id = s.id ",
            $case
        )
    };
}

// `+`: SQLite would else go through all that ever was in the order of the identifiers, and not through the index of what is live.
const LIVE: &str = listing!("WHERE s.ended_at IS NULL ORDER BY +s.id DESC LIMIT $1");
const LIVE_AT_SITE: &str = listing!(
    "WHERE s.nas_id IN (SELECT id FROM nas WHERE site_id = $1) AND s.ended_at IS NULL
     ORDER BY +s.id DESC LIMIT $2"
);

impl Tx {
    /// A subscriber's last session, live or ended.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_session_of(&mut self, subscriber: SubscriberId) -> Result<Option<SessionRow>> {
        self.settle().await?;
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM session WHERE id IN
                 (SELECT id FROM session WHERE subscriber_id = $1 AND ended_at IS NULL
                  UNION ALL
                  SELECT id FROM (SELECT id FROM session WHERE subscriber_id = $1 AND ended_at IS NOT NULL
                                  ORDER BY granted_at DESC LIMIT 1) AS ended)
             ORDER BY granted_at DESC, id DESC LIMIT 1",
            subscriber
        )
    }

    /// Lists a subscriber's sessions, only the live ones if asked, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sessions_of(
        &mut self,
        subscriber: SubscriberId,
        site: Option<SiteId>,
        is_live: bool,
        most: u32,
    ) -> Result<Vec<SessionListing>> {
        self.settle().await?;
        let mut live: Vec<SessionListing> = rows!(
            self,
            fetch_all,
            listing!(
                "WHERE s.subscriber_id = $1 AND ($2 IS NULL OR s.site_id = $2) AND s.ended_at IS NULL
                 ORDER BY s.granted_at DESC, s.id DESC LIMIT $3"
            ),
            subscriber,
            site,
            most,
        )?;
        if !is_live {
            let ended: Vec<SessionListing> = rows!(
                self,
                fetch_all,
                listing!(
                    "WHERE s.subscriber_id = $1 AND ($2 IS NULL OR s.site_id = $2) AND s.ended_at IS NOT NULL
                     ORDER BY s.granted_at DESC, s.id DESC LIMIT $3"
                ),
                subscriber,
                site,
                most,
            )?;
            live.extend(ended);
            live.sort_by_key(|found| std::cmp::Reverse((found.session.granted_at, found.session.id)));
            live.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        }
        Ok(live)
    }

    /// Lists live sessions, everywhere or at the gates of a site, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_sessions(&mut self, site: Option<SiteId>, most: u32) -> Result<Vec<SessionListing>> {
        self.settle().await?;
        let Some(site) = site else {
            return rows!(self, fetch_all, LIVE, most);
        };
        rows!(self, fetch_all, LIVE_AT_SITE, site, most)
    }

    /// Lists sessions, live or ended, everywhere or at a site, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_sessions(&mut self, site: Option<SiteId>, most: u32) -> Result<Vec<SessionListing>> {
        self.settle().await?;
        let Some(site) = site else {
            return rows!(self, fetch_all, listing!("ORDER BY s.id DESC LIMIT $1"), most);
        };
        rows!(
            self,
            fetch_all,
            listing!("WHERE s.site_id = $1 ORDER BY s.id DESC LIMIT $2"),
            site,
            most,
        )
    }

    /// Lists the sessions that went on at that time, and that the internet saw by this address and port, the newest first: one, unless gates
    /// share the address.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sessions_behind(&mut self, address: IpAddr, port: u16, at: Timestamp) -> Result<Vec<SessionListing>> {
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            listing!(
                "WHERE s.id IN (SELECT session_id FROM session_ports
                         WHERE public_ip = $1 AND first_port <= $2 AND last_port >= $2 AND since_at <= $3
                             AND (until_at IS NULL OR until_at >= $3))
                     AND (s.ended_at IS NULL OR s.ended_at >= $3)
                 ORDER BY s.granted_at DESC, s.id DESC LIMIT 1000"
            ),
            address,
            u32::from(port),
            at,
        )
    }

    /// One session with the names that belong to it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn session_listing(&mut self, id: SessionId) -> Result<Option<SessionListing>> {
        self.settle().await?;
        rows!(self, fetch_optional, listing!("WHERE s.id = $1"), id)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnection;
    use sqlx::{AssertSqlSafe, Connection as _};

    use super::*;

    #[tokio::test]
    async fn what_is_live_is_found_without_going_through_all_that_ever_was() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        crate::sqlite::MIGRATIONS.run(&mut connection).await.unwrap();
        for text in [LIVE, LIVE_AT_SITE] {
            let plan = sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}")));
            let plan: Vec<(i64, i64, i64, String)> = plan.fetch_all(&mut connection).await.unwrap();
            let is_quick = |step: &(i64, i64, i64, String)| step.3.contains("session_live_of_subscriber");
            assert!(plan.iter().any(is_quick), "{plan:?}");
        }
    }
}
