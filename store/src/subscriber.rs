//! Subscribers and their devices.

use kavadam_domain::{DeviceId, Language, Mac, MobileNumber, PlanId, SubscriberId, Timestamp};

use serde::{Deserialize, Serialize};

use crate::sql::{execute, row, rows};
use crate::{Result, Tx};

row! {
    /// A person, known by a number.
    #[derive(Serialize, Deserialize)]
    pub struct SubscriberRow {
        /// Identifier.
        pub id: SubscriberId,
        /// The number.
        pub number: MobileNumber,
        /// Opaque, stable: User-Name in accounting and Chargeable-User-Identity.
        pub alias: String,
        /// A plan of their own, else the site's.
        pub plan_id: Option<PlanId>,
        /// Blocked by an administrator.
        pub is_blocked: bool,
        /// For messages.
        pub language: Language,
        /// When the terms were last accepted.
        pub consent_at: Option<Timestamp>,
        /// Secret of an enrolled authenticator app, sealed.
        pub totp_sealed: Option<Vec<u8>>,
        /// Step of the last authenticator code accepted: no code is good twice.
        pub totp_last_step: Option<u64>,
        /// First seen.
        pub created_at: Timestamp,
    }
}

row! {
    /// A device seen with a subscriber.
    pub struct DeviceRow {
        /// Identifier.
        pub id: DeviceId,
        /// Whose.
        pub subscriber_id: SubscriberId,
        /// Its address: a hint, not an identity.
        pub mac: Mac,
        /// Until when it returns without a code.
        pub remembered_until: Option<Timestamp>,
        /// Its owner disconnected it: it returns only when asked to.
        pub is_paused: bool,
        /// Last login or return.
        pub last_seen_at: Timestamp,
    }
}

impl Tx {
    /// The subscriber of a number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn subscriber_numbered(&mut self, number: &MobileNumber) -> Result<Option<SubscriberRow>> {
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM subscriber WHERE number = $1",
            number
        )
    }

    /// The newest subscribers, at most `most`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn subscribers(&mut self, most: u32) -> Result<Vec<SubscriberRow>> {
        rows!(
            self,
            fetch_all,
            "SELECT * FROM subscriber ORDER BY id DESC LIMIT $1",
            most
        )
    }

    /// One subscriber.
    ///
    /// # Errors
    /// The database failed.
    pub async fn subscriber(&mut self, id: SubscriberId) -> Result<Option<SubscriberRow>> {
        if let Some(row) = self.working.subscriber(id) {
            return Ok(Some(row.clone()));
        }
        rows!(self, fetch_optional, "SELECT * FROM subscriber WHERE id = $1", id)
    }

    /// The subscriber of a number, made if there is none; `alias` and `language` are for a new one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn ensure_subscriber(
        &mut self,
        number: &MobileNumber,
        alias: &str,
        language: Language,
        now: Timestamp,
    ) -> Result<SubscriberRow> {
        execute!(
            self,
            "INSERT INTO subscriber (number, alias, language, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (number) DO NOTHING",
            number,
            alias,
            language,
            now,
        )?;
        rows!(self, fetch_one, "SELECT * FROM subscriber WHERE number = $1", number)
    }

    /// Saves what may change of a subscriber: plan, block, language, consent, authenticator.
    ///
    /// # Errors
    /// The database failed.
    pub async fn save_subscriber(&mut self, row: &SubscriberRow) -> Result<()> {
        self.hold(row.id).await?;
        execute!(
            self,
            "UPDATE subscriber SET plan_id = $2, is_blocked = $3, language = $4, consent_at = $5, totp_sealed = $6,
                 totp_last_step = $7
             WHERE id = $1",
            row.id,
            row.plan_id,
            row.is_blocked,
            row.language,
            row.consent_at,
            row.totp_sealed,
            row.totp_last_step,
        )?;
        if let Some(known) = self.working.subscriber_mut(row.id) {
            known.clone_from(row);
        }
        Ok(())
    }

    /// A subscriber's devices, the last seen first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn devices(&mut self, subscriber: SubscriberId) -> Result<Vec<DeviceRow>> {
        rows!(
            self,
            fetch_all,
            "SELECT * FROM device WHERE subscriber_id = $1 ORDER BY last_seen_at DESC, id",
            subscriber
        )
    }

    /// The device of that address that is still remembered, with whoever it was seen with last.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remembered_device(&mut self, mac: Mac, now: Timestamp) -> Result<Option<DeviceRow>> {
        let is_remembered = |device: &DeviceRow| device.remembered_until.is_some_and(|until| until > now);
        if let Some(known) = self.carried.get().devices.get(&mac) {
            return Ok(Some(known.clone()).filter(is_remembered));
        }
        if self.absent_devices.contains(&mac) {
            return Ok(None);
        }
        let found: Option<DeviceRow> = rows!(
            self,
            fetch_optional,
            "SELECT * FROM device WHERE mac = $1 AND remembered_until > $2 ORDER BY last_seen_at DESC, id DESC LIMIT 1",
            mac,
            now,
        )?;
        if let Some(device) = &found
            && self.is_sqlite()
        {
            self.carried.get().devices.insert(mac, device.clone());
        }
        Ok(found)
    }

    /// What is remembered of a device is about to change.
    fn doubt_device(&mut self, mac: Mac) {
        self.absent_devices.remove(&mac);
        let carry = self.carried.get();
        carry.devices.remove(&mac);
        carry.is_uncertain = true;
    }

    /// Notes a login of a device: it is this subscriber's now, not paused, remembered until then, and no longer with anybody else.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remember_device(
        &mut self,
        subscriber: SubscriberId,
        mac: Mac,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()> {
        self.doubt_device(mac);
        execute!(
            self,
            "UPDATE device SET remembered_until = NULL
             WHERE mac = $1 AND subscriber_id <> $2 AND remembered_until IS NOT NULL",
            mac,
            subscriber,
        )?;
        execute!(
            self,
            "INSERT INTO device (subscriber_id, mac, remembered_until, is_paused, last_seen_at)
             VALUES ($1, $2, $3, FALSE, $4)
             ON CONFLICT (subscriber_id, mac) DO UPDATE SET remembered_until = excluded.remembered_until, is_paused = FALSE,
                 last_seen_at = excluded.last_seen_at",
            subscriber,
            mac,
            until,
            now,
        )?;
        Ok(())
    }

    /// Pauses a device (its owner disconnected it) or lets it return again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn pause_device(&mut self, subscriber: SubscriberId, mac: Mac, is_paused: bool) -> Result<()> {
        self.doubt_device(mac);
        execute!(
            self,
            "UPDATE device SET is_paused = $3 WHERE subscriber_id = $1 AND mac = $2",
            subscriber,
            mac,
            is_paused
        )?;
        Ok(())
    }

    /// A device of a subscriber, remembered or not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn device(&mut self, subscriber: SubscriberId, mac: Mac) -> Result<Option<DeviceRow>> {
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM device WHERE subscriber_id = $1 AND mac = $2",
            subscriber,
            mac
        )
    }

    /// Forgets a device, whoever's: it needs a code next time, and nobody is assumed to hold it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_device(&mut self, mac: Mac) -> Result<()> {
        self.doubt_device(mac);
        execute!(self, "DELETE FROM device WHERE mac = $1", mac)?;
        Ok(())
    }
}
