//! From a number to a ticket: codes sent within limits, entered within tries, spent once.

use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use kavadam_domain::challenge::{Challenge, ChallengeState, Rate, wait_for};
use kavadam_domain::time::CLOCKS_WITHIN;
use kavadam_domain::{Mac, MobileNumber, Reason, SiteId, SubscriberId, Timestamp};
use kavadam_store::{ChallengeRow, NewChallenge, SubscriberRow, Tx};

use crate::api::{Message, PendingCode, Started, Verified, Visit};
use crate::form::Form;
use crate::{Access, AccessError};

impl Access {
    /// Sends a code to a number, if the limits allow. Whoever begins again with the same number before another code may be asked for is sent
    /// none: the one on its way is still good.
    ///
    /// # Errors
    /// The service is out of order; nothing was sent.
    pub async fn start_login(
        &self,
        visit: &Visit,
        number: &str,
        has_consent: bool,
        now: Timestamp,
    ) -> Result<Started, AccessError> {
        let Ok(number) = number.parse::<MobileNumber>() else {
            return Ok(Started::Refused(Reason::InvalidNumber));
        };
        if !has_consent {
            return Ok(Started::Refused(Reason::NoConsent));
        }
        let tx = self.write_form().await?;
        self.send_code(tx, visit, number, now).await
    }

    /// Sends another code to the number of the pending, expired or spent one; the old one is no longer good.
    ///
    /// # Errors
    /// The service is out of order; nothing was sent.
    pub async fn resend_code(&self, visit: &Visit, now: Timestamp) -> Result<Started, AccessError> {
        let mut tx = self.write_form().await?;
        let last = tx.last_challenge(visit.site, visit.mac).await?;
        let Some(row) = last.filter(|row| matches!(row.state, ChallengeState::Pending | ChallengeState::Spent)) else {
            return Ok(Started::Refused(Reason::NoChallenge));
        };
        let wait = self.resend_in(&row, now);
        if !wait.is_zero() {
            return Ok(Started::Refused(Reason::TooMany(wait)));
        }
        self.send_code(tx, visit, row.number, now).await
    }

    async fn send_code(
        &self,
        mut tx: Form,
        visit: &Visit,
        number: MobileNumber,
        now: Timestamp,
    ) -> Result<Started, AccessError> {
        let subscriber = tx.subscriber_numbered(&number).await?;
        if subscriber.is_some_and(|subscriber| subscriber.is_blocked) {
            return Ok(Started::Refused(Reason::Blocked));
        }
        let site = tx.site(visit.site).await?.ok_or(AccessError::Inconsistent("site"))?;
        if !site.is_open {
            return Ok(Started::Refused(Reason::SiteClosed));
        }
        let limits = self.limits(visit, &number);
        let wait = longest_wait(&mut tx, &limits, now).await?;
        // Read under the limits' locks, so that of two taps at once the second finds the code of the first.
        if let Some(started) = self.sent_just_now(&mut tx, visit, &number, now).await? {
            return Ok(started);
        }
        if let Some(wait) = wait {
            return Ok(Started::Refused(Reason::TooMany(wait)));
        }
        for limit in &limits {
            tx.record_attempt(limit.kind, &limit.key, now).await?;
        }
        let resend_in = self.settings().resend_after;
        let new = NewChallenge {
            public_id: rand::random(),
            nas_id: visit.nas,
            site_id: visit.site,
            mac: visit.mac,
            ip: visit.ip,
            number: number.clone(),
            language: visit.language,
            challenge: Challenge::start(now),
            resend_at: now + resend_in,
        };
        tx.start_challenge(&new, now).await?;
        tx.commit().await?;
        self.wake_messages();
        Ok(Started::Sent(pending(&number, &new.challenge, resend_in, now)))
    }

    /// Before another code may be sent to the number of the device's last one: that one, if it can be entered, else the wait. One that was
    /// entered right is no reason to wait.
    async fn sent_just_now(
        &self,
        tx: &mut Tx,
        visit: &Visit,
        number: &MobileNumber,
        now: Timestamp,
    ) -> Result<Option<Started>, AccessError> {
        let last = tx.last_challenge(visit.site, visit.mac).await?;
        let Some(row) = last.filter(|row| row.number == *number && row.state != ChallengeState::Verified) else {
            return Ok(None);
        };
        let wait = self.resend_in(&row, now);
        if wait.is_zero() {
            return Ok(None);
        }
        let challenge = row.challenge();
        Ok(Some(if challenge.is_open(now) {
            Started::Sent(pending(number, &challenge, wait, now))
        } else {
            Started::Refused(Reason::TooMany(wait))
        }))
    }

    /// How long until another code may be asked for in place of this one.
    pub(crate) fn resend_in(&self, row: &ChallengeRow, now: Timestamp) -> Duration {
        row.resend_at.wait_at(now, self.settings().resend_after)
    }

    /// What a code counts against, in a fixed order, since each key is locked until the commit.
    fn limits(&self, visit: &Visit, number: &MobileNumber) -> [Limit; 4] {
        let settings = self.settings();
        let limit = |kind, value: &str, rates| Limit {
            kind,
            key: self.sealer().digest(kind, value.as_bytes()),
            rates,
        };
        [
            // Sites have the same private addresses.
            limit(
                "address",
                &format!("{} {}", visit.site, visit.ip),
                vec![settings.address],
            ),
            limit("device", &visit.mac.to_string(), vec![settings.device]),
            limit(
                "number",
                number.digits(),
                vec![settings.number_burst, settings.number_daily],
            ),
            limit("site", &visit.site.to_string(), vec![settings.site]),
        ]
    }

    /// Checks a code and makes a ticket for it. The try is committed before anybody learns whether it was right. A device that was not seen
    /// is its owner's only once the gate has had the ticket from it: the code may have been typed into a link that somebody else passed on.
    ///
    /// # Errors
    /// The service is out of order; no try was lost.
    pub async fn verify_code(&self, visit: &Visit, code: &str, now: Timestamp) -> Result<Verified, AccessError> {
        let mut tx = self.write_form().await?;
        let Some(found) = tx.last_challenge(visit.site, visit.mac).await? else {
            return Ok(Verified::Refused(Reason::NoChallenge));
        };
        // A code that is open no more never is again: that is told without a lock and without a commit, however often it is asked.
        if found.state != ChallengeState::Verified && !found.challenge().is_open(now) {
            let past = found.challenge().enter("", &[], now).1.err();
            return Ok(Verified::Refused(past.unwrap_or(Reason::NoChallenge)));
        }
        if found.state == ChallengeState::Verified && self.entered_just_now(&mut tx, &found, now).await?.is_none() {
            return Ok(Verified::Refused(Reason::NoChallenge));
        }
        let row = tx
            .lock_challenge(found.id)
            .await?
            .ok_or(AccessError::Inconsistent("challenge"))?;
        if row.state == ChallengeState::Verified {
            return self.enter_again(tx, &row, visit, code, now).await;
        }
        if let Err(reason) = self.enter_code(&mut tx, &row, code, now).await? {
            tx.commit().await?;
            return Ok(Verified::Refused(reason));
        }
        let subscriber = know(&mut tx, &row, now).await?;
        if visit.is_seen {
            remember(&mut tx, &subscriber, row.site_id, visit.mac, now).await?;
        }
        self.give_ticket(tx, subscriber.id, visit, now).await
    }

    /// Whose a verified code is, as long as it may be entered again.
    async fn entered_just_now(
        &self,
        tx: &mut Tx,
        row: &ChallengeRow,
        now: Timestamp,
    ) -> Result<Option<SubscriberId>, AccessError> {
        if row.tries_left == 0 {
            return Ok(None);
        }
        let found = tx.subscriber_numbered(&row.number).await?;
        let is_fresh = |at: Timestamp| now.since(at) < self.settings().ticket_life;
        let found = found.filter(|subscriber| subscriber.consent_at.is_some_and(is_fresh));
        Ok(found.map(|subscriber| subscriber.id))
    }

    /// A second tap on "verify": the right code once more, while the ticket for the first may still be on its way. Wrong ones use up tries,
    /// right ones count as tickets that a device asks for.
    async fn enter_again(
        &self,
        mut tx: Form,
        row: &ChallengeRow,
        visit: &Visit,
        code: &str,
        now: Timestamp,
    ) -> Result<Verified, AccessError> {
        let Some(subscriber) = self.entered_just_now(&mut tx, row, now).await? else {
            return Ok(Verified::Refused(Reason::NoChallenge));
        };
        let again = Challenge {
            state: ChallengeState::Pending,
            ..row.challenge()
        };
        let secret = self.sealer().code_secret(&row.public_id);
        let (after, outcome) = again.enter(code, secret.as_slice(), now);
        if outcome.is_ok() {
            return match self.ask_for_ticket(&mut tx, visit.mac, now).await? {
                Some(wait) => Ok(Verified::Refused(Reason::TooMany(wait))),
                None => self.give_ticket(tx, subscriber, visit, now).await,
            };
        }
        let after = Challenge {
            state: ChallengeState::Verified,
            ..after
        };
        if after != row.challenge() {
            tx.save_challenge(row.id, &after).await?;
            tx.commit().await?;
        }
        Ok(Verified::Refused(Reason::NoChallenge))
    }

    /// Forgets the pending code and whose device this is, so that another number can be given.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn change_number(&self, visit: &Visit, _now: Timestamp) -> Result<(), AccessError> {
        let mut tx = self.write_form().await?;
        let last = tx.last_challenge(visit.site, visit.mac).await?;
        let is_waiting = last.is_some_and(|row| row.state == ChallengeState::Pending);
        if !is_waiting && tx.devices_with(visit.mac).await?.is_empty() {
            return Ok(());
        }
        tx.supersede_challenges(visit.site, visit.mac).await?;
        tx.forget_device(visit.mac).await?;
        tx.commit().await
    }
}

/// What one kind of key may ask for.
pub(crate) struct Limit {
    pub kind: &'static str,
    pub key: [u8; 32],
    pub rates: Vec<Rate>,
}

/// The longest wait that a limit asks for.
pub(crate) async fn longest_wait(
    tx: &mut Tx,
    limits: &[Limit],
    now: Timestamp,
) -> Result<Option<Duration>, AccessError> {
    let mut longest = None;
    for limit in limits {
        for rate in &limit.rates {
            let past = tx
                .attempts(
                    limit.kind,
                    &limit.key,
                    now - rate.within,
                    now + CLOCKS_WITHIN,
                    rate.most,
                )
                .await?;
            longest = longest.max(wait_for(*rate, &past, now));
        }
    }
    Ok(longest)
}

pub(crate) fn pending(
    number: &MobileNumber,
    challenge: &Challenge,
    resend_in: Duration,
    now: Timestamp,
) -> PendingCode {
    PendingCode {
        masked_number: number.masked(),
        resend_in,
        expires_in: challenge.expires_at().since(now),
        tries_left: if challenge.is_open(now) {
            challenge.tries_left
        } else {
            0
        },
        message: Message::Queued,
    }
}

/// An opaque name for a new subscriber.
pub(crate) fn fresh_alias() -> String {
    BASE32_NOPAD.encode(&rand::random::<[u8; 10]>()).to_ascii_lowercase()
}

/// Somebody proved a number: the subscriber, made if new, and the device remembered as the plan says.
pub(crate) async fn welcome(
    tx: &mut Tx,
    row: &ChallengeRow,
    mac: Mac,
    now: Timestamp,
) -> Result<SubscriberRow, AccessError> {
    let subscriber = know(tx, row, now).await?;
    remember(tx, &subscriber, row.site_id, mac, now).await?;
    Ok(subscriber)
}

/// Somebody proved a number: the subscriber, made if new.
async fn know(tx: &mut Tx, row: &ChallengeRow, now: Timestamp) -> Result<SubscriberRow, AccessError> {
    let alias = fresh_alias();
    let found = tx.ensure_subscriber(&row.number, &alias, row.language, now).await?;
    // Every column is saved: what an administrator is changing this instant must be read first.
    let mut subscriber = tx.lock_subscriber(found.id).await?;
    subscriber.language = row.language;
    subscriber.consent_at = Some(now);
    tx.save_subscriber(&subscriber).await?;
    Ok(subscriber)
}

/// The device is the subscriber's, and remembered as the plan says.
pub(crate) async fn remember(
    tx: &mut Tx,
    subscriber: &SubscriberRow,
    site: SiteId,
    mac: Mac,
    now: Timestamp,
) -> Result<(), AccessError> {
    let site = tx.site(site).await?.ok_or(AccessError::Inconsistent("site"))?;
    let plan = tx.plan(subscriber.plan_id.unwrap_or(site.plan_id)).await?;
    let days = u64::from(plan.ok_or(AccessError::Inconsistent("plan"))?.remembered_days);
    let until = (days > 0).then(|| now + Duration::from_hours(24 * days));
    Ok(tx.remember_device(subscriber.id, mac, until, now).await?)
}
