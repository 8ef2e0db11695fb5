//! What is there just now, in figures; and what belongs to one person or device, for whoever asks why.

use kavadam_domain::{Mac, NasId, SessionId, SubscriberId, Timestamp};

use crate::sql::{Figure, row, rows};
use crate::{DeviceRow, Result, TicketRow, Tx};

row! {
    /// How many sessions a gate has open.
    pub struct OnlineRow {
        /// Which gate.
        pub nas_id: NasId,
        /// Sessions not ended.
        pub figure: u64,
    }
}

row! {
    /// How many sessions of a gate nothing was heard of for long.
    pub struct UnheardRow {
        /// Which gate.
        pub nas_id: NasId,
        /// Of those that began before then.
        pub unheard: u64,
        /// All that did.
        pub online: u64,
    }
}

row! {
    /// A session that is taken for ended, with an end that was ordered of its gate.
    pub struct KeptOrder {
        /// Which.
        pub id: SessionId,
        /// Whose.
        pub subscriber_id: SubscriberId,
    }
}

impl Tx {
    /// Sessions not ended, of every gate that has some.
    ///
    /// # Errors
    /// The database failed.
    pub async fn online_by_nas(&mut self) -> Result<Vec<OnlineRow>> {
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            "SELECT nas_id, COUNT(*) AS figure FROM session WHERE ended_at IS NULL GROUP BY nas_id",
        )
    }

    /// Of sessions not ended that began before a time, those of which nothing was heard since: of every gate that has such sessions.
    ///
    /// # Errors
    /// The database failed.
    pub async fn unheard_by_nas(&mut self, since: Timestamp) -> Result<Vec<UnheardRow>> {
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            "SELECT nas_id, COUNT(CASE WHEN heard_at < $1 THEN 1 END) AS unheard, COUNT(*) AS online FROM session
             WHERE ended_at IS NULL AND started_at < $1 GROUP BY nas_id",
            since,
        )
    }

    /// Messages that wait to be sent, or to be sent again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn waiting_sms(&mut self) -> Result<u64> {
        let found: Figure = rows!(
            self,
            fetch_one,
            "SELECT COUNT(*) AS figure FROM sms_outbox WHERE next_at IS NOT NULL",
        )?;
        Ok(found.figure)
    }

    /// Orders that gates have not obeyed yet; not those kept for sessions that are taken for ended, should they be heard of again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn waiting_orders(&mut self) -> Result<u64> {
        self.settle().await?;
        let found: Figure = rows!(
            self,
            fetch_one,
            "SELECT COUNT(*) AS figure FROM session WHERE order_action IS NOT NULL AND ended_at IS NULL",
        )?;
        Ok(found.figure)
    }

    /// Orders kept for sessions that have been taken for ended since before `before`, at most `most`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn orders_kept(&mut self, before: Timestamp, most: u32) -> Result<Vec<KeptOrder>> {
        self.settle().await?;
        rows!(
            self,
            fetch_all,
            "SELECT id, subscriber_id FROM session
             WHERE order_action IS NOT NULL AND order_next_at IS NULL AND ended_at < $1 LIMIT $2",
            before,
            most,
        )
    }

    /// Everybody with whom a device was seen, remembered or not, the last first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn devices_with(&mut self, mac: Mac) -> Result<Vec<DeviceRow>> {
        rows!(
            self,
            fetch_all,
            "SELECT * FROM device WHERE mac = $1 ORDER BY last_seen_at DESC, id DESC",
            mac,
        )
    }

    /// The last login of a person that was made for a gate. There is no index over whose they are, which every login would write: looks at all
    /// of the last day, and is for a transaction that nobody waits for.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_ticket_of(&mut self, subscriber: SubscriberId) -> Result<Option<TicketRow>> {
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM ticket WHERE subscriber_id = $1 ORDER BY expires_at DESC LIMIT 1",
            subscriber,
        )
    }
}
