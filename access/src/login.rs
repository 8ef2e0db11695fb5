//! From a number to a ticket: codes sent within limits, entered within tries, spent once.

use data_encoding::BASE32_NOPAD;
use kavadam_domain::challenge::{Challenge, wait_for};
use kavadam_domain::session::SessionState;
use kavadam_domain::{Mac, MobileNumber, Reason, SubscriberId, Timestamp};
use kavadam_store::{ChallengeRow, NewChallenge, OrderKind, SubscriberRow, TicketRow, Tx};

use crate::api::{PendingCode, Started, Ticket, Verified, Visit};
use crate::{Access, AccessError};

/// A ticket's User-Name: this, then its random number.
const TICKET_PREFIX: &str = "t-";

/// The random number of a ticket's User-Name; `None` if it is not one.
#[must_use]
pub fn ticket_id(user_name: &str) -> Option<[u8; 16]> {
    let text = user_name.strip_prefix(TICKET_PREFIX)?;
    if text.len() > 32 {
        return None;
    }
    BASE32_NOPAD
        .decode(text.to_ascii_uppercase().as_bytes())
        .ok()?
        .try_into()
        .ok()
}

fn ticket_name(id: &[u8; 16]) -> String {
    format!("{TICKET_PREFIX}{}", BASE32_NOPAD.encode(id).to_ascii_lowercase())
}

impl Access {
    /// Sends a code to a number, if the limits allow.
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
        let mut tx = self.write().await?;
        if tx
            .subscriber_numbered(&number)
            .await?
            .is_some_and(|subscriber| subscriber.is_blocked)
        {
            return Ok(Started::Refused(Reason::Blocked));
        }
        self.send_code(tx, visit, number, now).await
    }

    /// Sends another code to the number of the pending one; the old one is no longer good.
    ///
    /// # Errors
    /// The service is out of order; nothing was sent.
    pub async fn resend_code(&self, visit: &Visit, now: Timestamp) -> Result<Started, AccessError> {
        let mut tx = self.write().await?;
        let Some(row) = tx.last_challenge(visit.site, visit.mac).await? else {
            return Ok(Started::Refused(Reason::NoChallenge));
        };
        let wait = (row.challenge().created_at + self.settings().resend_after).since(now);
        if !wait.is_zero() {
            return Ok(Started::Refused(Reason::TooMany(wait)));
        }
        self.send_code(tx, visit, row.number, now).await
    }

    async fn send_code(
        &self,
        mut tx: Tx,
        visit: &Visit,
        number: MobileNumber,
        now: Timestamp,
    ) -> Result<Started, AccessError> {
        let site = tx.site(visit.site).await?.ok_or(AccessError::Inconsistent("site"))?;
        if !site.is_open {
            return Ok(Started::Refused(Reason::SiteClosed));
        }
        if let Some(reason) = self.count_attempt(&mut tx, visit, &number, now).await? {
            return Ok(Started::Refused(reason));
        }
        let new = NewChallenge {
            public_id: rand::random(),
            nas_id: visit.nas,
            site_id: visit.site,
            mac: visit.mac,
            ip: visit.ip,
            number: number.clone(),
            language: visit.language,
            challenge: Challenge::start(now),
            resend_at: now + self.settings().resend_after,
        };
        tx.start_challenge(&new, now).await?;
        tx.commit().await?;
        self.wake_messages();
        Ok(Started::Sent(self.pending(&number, &Challenge::start(now), now)))
    }

    /// The longest wait that a limit asks for; without one, the attempt is noted under every key.
    async fn count_attempt(
        &self,
        tx: &mut Tx,
        visit: &Visit,
        number: &MobileNumber,
        now: Timestamp,
    ) -> Result<Option<Reason>, AccessError> {
        let settings = self.settings();
        let (mac, ip) = (visit.mac.to_string(), visit.ip.to_string());
        let site = visit.site.to_string();
        // In a fixed order, since each key is locked until the commit.
        let limits = [
            ("address", ip.as_str(), vec![settings.address]),
            ("device", mac.as_str(), vec![settings.device]),
            (
                "number",
                number.digits(),
                vec![settings.number_burst, settings.number_daily],
            ),
            ("site", site.as_str(), vec![settings.site]),
        ];
        let mut longest = None;
        for (kind, value, rates) in &limits {
            let key = self.sealer().digest(kind, value.as_bytes());
            for rate in rates {
                let past = tx.attempts(kind, &key, now - rate.within, rate.most).await?;
                longest = longest.max(wait_for(*rate, &past, now));
            }
        }
        if let Some(wait) = longest {
            return Ok(Some(Reason::TooMany(wait)));
        }
        for (kind, value, _) in &limits {
            tx.record_attempt(kind, &self.sealer().digest(kind, value.as_bytes()), now)
                .await?;
        }
        Ok(None)
    }

    pub(crate) fn pending(&self, number: &MobileNumber, challenge: &Challenge, now: Timestamp) -> PendingCode {
        PendingCode {
            masked_number: number.masked(),
            resend_in: (challenge.created_at + self.settings().resend_after).since(now),
            expires_in: challenge.expires_at().since(now),
            tries_left: challenge.tries_left,
        }
    }

    /// Checks a code and makes a ticket for it. The try is committed before anybody learns whether it was right.
    ///
    /// # Errors
    /// The service is out of order; no try was lost.
    pub async fn verify_code(&self, visit: &Visit, code: &str, now: Timestamp) -> Result<Verified, AccessError> {
        let mut tx = self.write().await?;
        let Some(found) = tx.last_challenge(visit.site, visit.mac).await? else {
            return Ok(Verified::Refused(Reason::NoChallenge));
        };
        let row = tx
            .lock_challenge(found.id)
            .await?
            .ok_or(AccessError::Inconsistent("challenge"))?;
        if let Err(reason) = self.enter_code(&mut tx, &row, code, now).await? {
            tx.commit().await?;
            return Ok(Verified::Refused(reason));
        }
        let subscriber = welcome(&mut tx, &row, visit.mac, now).await?;
        self.give_ticket(tx, subscriber.id, visit, now).await
    }

    /// Forgets the pending code and whose device this is, so that another number can be given.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn change_number(&self, visit: &Visit, _now: Timestamp) -> Result<(), AccessError> {
        let mut tx = self.write().await?;
        tx.supersede_challenges(visit.site, visit.mac).await?;
        tx.forget_device(visit.mac).await?;
        Ok(tx.commit().await?)
    }

    /// A ticket without a code, for a device that is remembered.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn reconnect(&self, visit: &Visit, now: Timestamp) -> Result<Verified, AccessError> {
        let mut tx = self.write().await?;
        let Some(device) = tx.remembered_device(visit.mac, now).await? else {
            return Ok(Verified::Refused(Reason::UnknownDevice));
        };
        tx.pause_device(device.subscriber_id, visit.mac, false).await?;
        self.give_ticket(tx, device.subscriber_id, visit, now).await
    }

    pub(crate) async fn give_ticket(
        &self,
        mut tx: Tx,
        subscriber_id: SubscriberId,
        visit: &Visit,
        now: Timestamp,
    ) -> Result<Verified, AccessError> {
        let public_id: [u8; 16] = rand::random();
        let ticket = TicketRow {
            public_id,
            subscriber_id,
            nas_id: visit.nas,
            mac: visit.mac,
            expires_at: now + self.settings().ticket_life,
            used_at: None,
        };
        tx.add_ticket(&ticket).await?;
        tx.commit().await?;
        let password = self.sealer().ticket_password(&public_id);
        Ok(Verified::Ticket(Ticket {
            user_name: ticket_name(&public_id),
            password,
        }))
    }

    /// Ends the device's session by its owner's wish; it comes back only by its owner's wish. `false` if it had none.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn disconnect(&self, visit: &Visit, now: Timestamp) -> Result<bool, AccessError> {
        let mut tx = self.write().await?;
        let Some(session) = tx.last_session_of_device(visit.site, visit.mac).await? else {
            return Ok(false);
        };
        tx.lock_subscriber(session.subscriber_id).await?;
        tx.pause_device(session.subscriber_id, visit.mac, true).await?;
        let Some(mut session) = tx.session(session.id).await? else {
            return Ok(false);
        };
        if session.state == SessionState::Ended {
            tx.commit().await?;
            return Ok(false);
        }
        session.order(OrderKind::End, now);
        tx.save_session(&session).await?;
        tx.commit().await?;
        self.wake_orders();
        Ok(true)
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
    let alias = fresh_alias();
    let found = tx.ensure_subscriber(&row.number, &alias, row.language, now).await?;
    // Every column is saved: what an administrator is changing this instant must be read first.
    let mut subscriber = tx.lock_subscriber(found.id).await?;
    subscriber.language = row.language;
    subscriber.consent_at = Some(now);
    tx.save_subscriber(&subscriber).await?;
    let site = tx.site(row.site_id).await?.ok_or(AccessError::Inconsistent("site"))?;
    let plan = tx.plan(subscriber.plan_id.unwrap_or(site.plan_id)).await?;
    let days = u64::from(plan.ok_or(AccessError::Inconsistent("plan"))?.remembered_days);
    let until = (days > 0).then(|| now + std::time::Duration::from_hours(24 * days));
    tx.remember_device(subscriber.id, mac, until, now).await?;
    Ok(subscriber)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tickets_name_leads_back_to_it_and_nothing_else_does() {
        assert_eq!(ticket_id(&ticket_name(&[7; 16])), Some([7; 16]));
        for name in [
            "",
            "t-",
            "9876543210",
            "t-????",
            "t-AAAA",
            &format!("t-{}", "a".repeat(10_000)),
        ] {
            assert_eq!(ticket_id(name), None, "{name}");
        }
    }
}
