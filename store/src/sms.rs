//! Messages with codes, and what became of them.

use kavadam_domain::{ChallengeId, Language, MobileNumber, Timestamp};

use crate::sql::{Id, execute, row, rows};
use crate::{Result, Tx};

row! {
    /// A message to send; its text is made when it is sent.
    pub struct SmsRow {
        /// Identifier.
        pub id: i64,
        /// Which code.
        pub challenge_id: ChallengeId,
        /// The code's secret derives from it.
        pub public_id: [u8; 16],
        /// To whom.
        pub number: MobileNumber,
        /// In which language.
        pub language: Language,
        /// After this it is no use.
        pub expires_at: Timestamp,
        /// Sendings tried, this one included.
        pub attempts: u32,
    }
}

row! {
    /// What became of a message.
    pub struct SmsFate {
        /// Sendings tried.
        pub attempts: u32,
        /// When the provider took it.
        pub sent_at: Option<Timestamp>,
        /// What came of the last attempt, as far as is known.
        pub result: Option<String>,
    }
}

impl Tx {
    /// What became of the message with a code.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sms_of(&mut self, challenge: ChallengeId) -> Result<Option<SmsFate>> {
        rows!(
            self,
            fetch_optional,
            "SELECT attempts, sent_at, result FROM sms_outbox WHERE challenge_id = $1 ORDER BY id DESC LIMIT 1",
            challenge,
        )
    }

    /// Takes the next message that is due and puts it off until `retry_at`: should the sender die, it is sent again then.
    ///
    /// # Errors
    /// The database failed.
    pub async fn take_sms(&mut self, now: Timestamp, retry_at: Timestamp) -> Result<Option<SmsRow>> {
        // Two workers on PostgreSQL must not take the same message.
        let taken: Option<Id> = if self.is_sqlite() {
            rows!(
                self,
                fetch_optional,
                "UPDATE sms_outbox SET attempts = attempts + 1, next_at = $2
                 WHERE id = (SELECT id FROM sms_outbox WHERE next_at <= $1 ORDER BY next_at LIMIT 1)
                 RETURNING id",
                now,
                retry_at,
            )
        } else {
            rows!(
                self,
                fetch_optional,
                "UPDATE sms_outbox SET attempts = attempts + 1, next_at = $2
                 WHERE id = (SELECT id FROM sms_outbox WHERE next_at <= $1 ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
                 RETURNING id",
                now,
                retry_at,
            )
        }?;
        let Some(taken) = taken else { return Ok(None) };
        rows!(
            self,
            fetch_optional,
            "SELECT o.id, o.challenge_id, c.public_id, c.number, c.language, c.expires_at, o.attempts
             FROM sms_outbox o JOIN challenge c ON c.id = o.challenge_id WHERE o.id = $1",
            taken.id,
        )
    }

    /// Notes a message as sent (`sent_at`) or given up, with what the operator said.
    ///
    /// # Errors
    /// The database failed.
    pub async fn finish_sms(&mut self, id: i64, sent_at: Option<Timestamp>, result: &str) -> Result<()> {
        execute!(
            self,
            "UPDATE sms_outbox SET next_at = NULL, sent_at = $2, result = $3 WHERE id = $1",
            id,
            sent_at,
            result
        )?;
        Ok(())
    }

    /// Puts a message off until `next_at` after a failure, with what went wrong.
    ///
    /// # Errors
    /// The database failed.
    pub async fn postpone_sms(&mut self, id: i64, next_at: Timestamp, result: &str) -> Result<()> {
        execute!(
            self,
            "UPDATE sms_outbox SET next_at = $2, result = $3 WHERE id = $1 AND next_at IS NOT NULL",
            id,
            next_at,
            result,
        )?;
        Ok(())
    }

    /// Makes messages due at `now` that were put off for longer than `beyond`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn hasten_sms(&mut self, beyond: Timestamp, now: Timestamp) -> Result<()> {
        execute!(
            self,
            "UPDATE sms_outbox SET next_at = $2 WHERE next_at > $1",
            beyond,
            now
        )?;
        Ok(())
    }

    /// When the next message is due.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_sms_at(&mut self) -> Result<Option<Timestamp>> {
        let next: Option<NextAt> = rows!(
            self,
            fetch_optional,
            "SELECT next_at FROM sms_outbox WHERE next_at IS NOT NULL ORDER BY next_at LIMIT 1",
        )?;
        Ok(next.map(|row| row.next_at))
    }
}

row! {
    /// When the next message is due.
    pub struct NextAt {
        pub next_at: Timestamp,
    }
}
