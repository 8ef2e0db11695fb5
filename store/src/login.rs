//! Logins in progress: codes, limits, tickets.

use std::net::IpAddr;

use kavadam_domain::challenge::{Challenge, ChallengeState};
use kavadam_domain::{ChallengeId, Language, Mac, MobileNumber, NasId, SiteId, SubscriberId, Timestamp};

use crate::sql::{Id, execute, row, rows};
use crate::{Result, Tx};

row! {
    /// A code that was sent to a number and is to be entered on a device.
    pub struct ChallengeRow {
        /// Identifier.
        pub id: ChallengeId,
        /// Random: the code's secret derives from it.
        pub public_id: [u8; 16],
        /// The gate in front of which it began.
        pub nas_id: NasId,
        /// Where that stands.
        pub site_id: SiteId,
        /// The device.
        pub mac: Mac,
        /// Its address.
        pub ip: IpAddr,
        /// Where the code went.
        pub number: MobileNumber,
        /// For the message.
        pub language: Language,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it expires.
        pub expires_at: Timestamp,
        /// When another may be asked for.
        pub resend_at: Timestamp,
        /// Tries left.
        pub tries_left: u32,
        /// Where it stands.
        pub state: ChallengeState,
    }
}

impl ChallengeRow {
    /// The part of it that decides.
    #[must_use]
    pub const fn challenge(&self) -> Challenge {
        Challenge {
            created_at: self.created_at,
            tries_left: self.tries_left,
            state: self.state,
        }
    }
}

/// A code about to be sent; see [`ChallengeRow`].
#[derive(Debug, Clone)]
pub struct NewChallenge {
    /// Random.
    pub public_id: [u8; 16],
    /// The gate.
    pub nas_id: NasId,
    /// Where it stands.
    pub site_id: SiteId,
    /// The device.
    pub mac: Mac,
    /// Its address.
    pub ip: IpAddr,
    /// Where the code goes.
    pub number: MobileNumber,
    /// For the message.
    pub language: Language,
    /// When another may be asked for.
    pub resend_at: Timestamp,
    /// Fresh.
    pub challenge: Challenge,
}

row! {
    /// A one-time login.
    pub struct TicketRow {
        /// Random: the password derives from it.
        pub public_id: [u8; 16],
        /// Whose.
        pub subscriber_id: SubscriberId,
        /// At which gate.
        pub nas_id: NasId,
        /// For which device.
        pub mac: Mac,
        /// Until when.
        pub expires_at: Timestamp,
        /// When it was used.
        pub used_at: Option<Timestamp>,
    }
}

/// What expired before `$1`, up to the time of the one after the oldest `$2`. That time is the only bound: of two, SQLite goes through all
/// that the looser one leaves, in each portion anew.
macro_rules! delete_oldest {
    ($table:literal, $at:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE ",
            $at,
            " <= COALESCE((SELECT ",
            $at,
            " FROM ",
            $table,
            " WHERE ",
            $at,
            " < $1 ORDER BY ",
            $at,
            " LIMIT 1 OFFSET $2), $1 - 1)"
        )
    };
}

const DELETE_CHALLENGES: &str = delete_oldest!("challenge", "expires_at");
const DELETE_TICKETS: &str = delete_oldest!("ticket", "expires_at");
const DELETE_ATTEMPTS: &str = delete_oldest!("attempt", "at");

impl Tx {
    /// The last code of a device at a site, whatever became of it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_challenge(&mut self, site: SiteId, mac: Mac) -> Result<Option<ChallengeRow>> {
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM challenge WHERE site_id = $1 AND mac = $2 ORDER BY id DESC LIMIT 1",
            site,
            mac,
        )
    }

    /// The last code of a number at a site: what a controller with a login page of its own asks with.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_challenge_of(&mut self, site: SiteId, number: &MobileNumber) -> Result<Option<ChallengeRow>> {
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM challenge WHERE number = $1 AND site_id = $2 ORDER BY id DESC LIMIT 1",
            number,
            site,
        )
    }

    /// A code, locked until the transaction ends, so that two tries at once are counted one after the other.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lock_challenge(&mut self, id: ChallengeId) -> Result<Option<ChallengeRow>> {
        rows!(
            self,
            fetch_optional,
            "UPDATE challenge SET tries_left = tries_left WHERE id = $1 RETURNING *",
            id,
        )
    }

    /// Makes a code, supersedes the device's earlier ones at the site, and queues its message.
    ///
    /// # Errors
    /// The database failed.
    pub async fn start_challenge(&mut self, new: &NewChallenge, now: Timestamp) -> Result<ChallengeId> {
        self.supersede_challenges(new.site_id, new.mac).await?;
        let made: Id = rows!(
            self,
            fetch_one,
            "INSERT INTO challenge (public_id, nas_id, site_id, mac, ip, number, language, created_at, expires_at, resend_at,
                 tries_left, state)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             RETURNING id",
            new.public_id,
            new.nas_id,
            new.site_id,
            new.mac,
            new.ip,
            new.number,
            new.language,
            new.challenge.created_at,
            new.challenge.expires_at(),
            new.resend_at,
            new.challenge.tries_left,
            new.challenge.state,
        )?;
        execute!(
            self,
            "INSERT INTO sms_outbox (challenge_id, next_at) VALUES ($1, $2)",
            ChallengeId(made.id),
            now
        )?;
        Ok(ChallengeId(made.id))
    }

    /// Saves what an entry made of a code.
    ///
    /// # Errors
    /// The database failed.
    pub async fn save_challenge(&mut self, id: ChallengeId, challenge: &Challenge) -> Result<()> {
        let (tries_left, state) = (challenge.tries_left, challenge.state);
        execute!(
            self,
            "UPDATE challenge SET tries_left = $2, state = $3 WHERE id = $1",
            id,
            tries_left,
            state
        )?;
        Ok(())
    }

    /// Takes back the codes waiting on a device; messages not yet sent are not sent any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn supersede_challenges(&mut self, site: SiteId, mac: Mac) -> Result<()> {
        execute!(
            self,
            "UPDATE sms_outbox SET next_at = NULL, result = 'superseded'
             WHERE next_at IS NOT NULL AND challenge_id IN
                 (SELECT id FROM challenge WHERE site_id = $1 AND mac = $2 AND state = 'pending')",
            site,
            mac,
        )?;
        execute!(
            self,
            "UPDATE challenge SET state = 'superseded' WHERE site_id = $1 AND mac = $2 AND state = 'pending'",
            site,
            mac,
        )?;
        Ok(())
    }

    /// The times of the newest `most` attempts under a key after `since` and up to `until`, the newest first. Held until the transaction ends, so that two
    /// at once are counted one after the other. Take several keys in a fixed order.
    ///
    /// # Errors
    /// The database failed.
    pub async fn attempts(
        &mut self,
        kind: &str,
        key: &[u8],
        since: Timestamp,
        until: Timestamp,
        most: u32,
    ) -> Result<Vec<Timestamp>> {
        if !self.is_sqlite() {
            let lock = key.iter().fold(0_i64, |lock, octet| {
                lock.wrapping_mul(31).wrapping_add(i64::from(*octet))
            });
            execute!(self, "SELECT pg_advisory_xact_lock($1)", lock)?;
        }
        let found: Vec<At> = rows!(
            self,
            fetch_all,
            "SELECT at FROM attempt WHERE kind = $1 AND key = $2 AND at > $3 AND at <= $4 ORDER BY at DESC LIMIT $5",
            kind,
            key,
            since,
            until,
            most,
        )?;
        Ok(found.into_iter().map(|row| row.at).collect())
    }

    /// Notes an attempt under a key.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record_attempt(&mut self, kind: &str, key: &[u8], now: Timestamp) -> Result<()> {
        execute!(
            self,
            "INSERT INTO attempt (kind, key, at) VALUES ($1, $2, $3)",
            kind,
            key,
            now
        )?;
        Ok(())
    }

    /// Makes a ticket.
    ///
    /// # Errors
    /// The database failed.
    pub async fn add_ticket(&mut self, ticket: &TicketRow) -> Result<()> {
        execute!(
            self,
            "INSERT INTO ticket (public_id, subscriber_id, nas_id, mac, expires_at) VALUES ($1, $2, $3, $4, $5)",
            ticket.public_id,
            ticket.subscriber_id,
            ticket.nas_id,
            ticket.mac,
            ticket.expires_at,
        )?;
        Ok(())
    }

    /// A ticket.
    ///
    /// # Errors
    /// The database failed.
    pub async fn ticket(&mut self, public_id: &[u8; 16]) -> Result<Option<TicketRow>> {
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM ticket WHERE public_id = $1",
            public_id
        )
    }

    /// Uses a ticket up; false if it was used before, be it this instant by another.
    ///
    /// # Errors
    /// The database failed.
    pub async fn use_ticket(&mut self, public_id: &[u8; 16], now: Timestamp) -> Result<bool> {
        let used = execute!(
            self,
            "UPDATE ticket SET used_at = $2 WHERE public_id = $1 AND used_at IS NULL",
            public_id,
            now
        )?;
        Ok(used == 1)
    }

    /// Deletes what has served: codes and tickets that expired, attempts that no limit looks at any more, all before `before`; of each kind the
    /// oldest `most`, and those of the same instant as the last. Tells how many: fewer than `most` means that none is left.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_expired(&mut self, before: Timestamp, most: u32) -> Result<u64> {
        self.be_patient();
        let others = most.saturating_sub(1);
        let challenges = execute!(self, DELETE_CHALLENGES, before, others)?;
        let tickets = execute!(self, DELETE_TICKETS, before, others)?;
        let attempts = execute!(self, DELETE_ATTEMPTS, before, others)?;
        Ok(challenges + tickets + attempts)
    }
}

row! {
    /// The time of an attempt.
    pub struct At {
        pub at: Timestamp,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use sqlx::sqlite::SqliteConnection;
    use sqlx::{Connection as _, Executor as _};

    use super::*;

    /// What SQLite does to delete the oldest `others + 1` of so many attempts.
    async fn steps_among(attempts: u32, others: u32) -> u64 {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        crate::sqlite::MIGRATIONS.run(&mut connection).await.unwrap();
        let many = format!(
            "WITH RECURSIVE n (at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM n WHERE at < {attempts})
             INSERT INTO attempt (kind, key, at) SELECT 'number', x'00', at FROM n"
        );
        connection.execute(sqlx::AssertSqlSafe(many)).await.unwrap();
        let steps = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&steps);
        connection
            .lock_handle()
            .await
            .unwrap()
            .set_progress_handler(1, move || {
                counted.fetch_add(1, Ordering::Relaxed);
                true
            });
        let delete = sqlx::query(DELETE_ATTEMPTS).bind(i64::from(attempts)).bind(others);
        let deleted = delete.execute(&mut connection).await.unwrap().rows_affected();
        assert_eq!(deleted, u64::from(others) + 1);
        steps.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn to_delete_a_portion_is_the_same_work_however_much_has_expired() {
        let (of_few, of_many) = (steps_among(1_000, 99).await, steps_among(20_000, 99).await);
        assert!(of_many < of_few * 2, "{of_few} of a thousand, {of_many} of twenty");
    }
}
