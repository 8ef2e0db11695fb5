//! Authenticator apps: for people who would rather read the code there than wait for a message.

use kavadam_domain::challenge::{self, ChallengeState, check_authenticator};
use kavadam_domain::{Language, MobileNumber, Reason, Timestamp};
use kavadam_store::{ChallengeRow, SubscriberRow, Tx};
use zeroize::Zeroizing;

use crate::admin::missing;
use crate::{Access, AccessError};

/// RFC 4226 §4, R6: 160 bits.
const SECRET_OCTETS: usize = 20;

impl Access {
    /// Enrols a number's authenticator app: a fresh secret of 160 bits (RFC 6238: SHA-1, six digits, 30 s), which can be read this once. An
    /// earlier one is no longer good. Whoever logs in with that number may then enter the app's code in place of the message's.
    ///
    /// # Errors
    /// The service is out of order; nothing was changed.
    pub async fn enrol_authenticator(
        &self,
        number: &MobileNumber,
        actor: &str,
        now: Timestamp,
    ) -> Result<Zeroizing<Vec<u8>>, AccessError> {
        let secret = Zeroizing::new(rand::random::<[u8; SECRET_OCTETS]>().to_vec());
        let mut tx = self.write().await?;
        let alias = crate::login::fresh_alias();
        let found = tx.ensure_subscriber(number, &alias, Language::default(), now).await?;
        let row = SubscriberRow {
            totp_sealed: Some(self.sealer().seal(&secret, rand::random())?),
            totp_last_step: None,
            ..tx.lock_subscriber(found.id).await?
        };
        tx.save_subscriber(&row).await?;
        tx.record_audit(actor, "subscriber.enrol", number.digits(), "", now)
            .await?;
        tx.commit().await?;
        Ok(secret)
    }

    /// Forgets a number's authenticator app. `false` if it had none.
    ///
    /// # Errors
    /// There is no such subscriber, or the service is out of order; nothing was changed.
    pub async fn forget_authenticator(
        &self,
        number: &MobileNumber,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, AccessError> {
        let mut tx = self.write().await?;
        let found = tx.subscriber_numbered(number).await?;
        let found = found.ok_or_else(|| missing("subscriber", &number.masked()))?;
        let mut row = tx.lock_subscriber(found.id).await?;
        if row.totp_sealed.take().is_none() {
            return Ok(false);
        }
        row.totp_last_step = None;
        tx.save_subscriber(&row).await?;
        tx.record_audit(actor, "subscriber.unenrol", number.digits(), "", now)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Enters a code for a locked challenge: the message's, or that of its number's authenticator app. What is kept of the try is in the
    /// transaction; it must be committed before anybody learns the outcome. Nothing is kept of a try at a code that is open no more.
    pub(crate) async fn enter_code(
        &self,
        tx: &mut Tx,
        row: &ChallengeRow,
        entered: &str,
        now: Timestamp,
    ) -> Result<Result<(), Reason>, AccessError> {
        let mut challenge = row.challenge();
        let mut outcome = Ok(());
        if challenge.is_open(now) && self.takes_authenticator(tx, &row.number, entered, now).await? {
            challenge.state = ChallengeState::Verified;
        } else {
            let secret = self.sealer().code_secret(&row.public_id);
            (challenge, outcome) = challenge.enter(entered, secret.as_slice(), now);
        }
        if challenge != row.challenge() {
            tx.save_challenge(row.id, &challenge).await?;
        }
        Ok(outcome)
    }

    /// What the number's app shows about now, the latest last; nothing if there is no app.
    pub(crate) async fn authenticator_codes(
        &self,
        tx: &mut Tx,
        number: &MobileNumber,
        now: Timestamp,
    ) -> Result<Vec<Zeroizing<String>>, AccessError> {
        let found = tx.subscriber_numbered(number).await?;
        let Some(sealed) = found.and_then(|found| found.totp_sealed) else {
            return Ok(Vec::new());
        };
        let secret = self.sealer().open(&sealed)?;
        Ok(challenge::authenticator_codes(&secret, now)
            .map(Zeroizing::new)
            .to_vec())
    }

    /// Whether it is the present code of the number's app; then it is good no more.
    pub(crate) async fn takes_authenticator(
        &self,
        tx: &mut Tx,
        number: &MobileNumber,
        entered: &str,
        now: Timestamp,
    ) -> Result<bool, AccessError> {
        let Some(found) = tx.subscriber_numbered(number).await? else {
            return Ok(false);
        };
        if found.totp_sealed.is_none() {
            return Ok(false);
        }
        let mut row = tx.lock_subscriber(found.id).await?;
        let Some(sealed) = &row.totp_sealed else {
            return Ok(false);
        };
        let secret = self.sealer().open(sealed)?;
        let Some(step) = check_authenticator(entered, &secret, row.totp_last_step, now) else {
            return Ok(false);
        };
        row.totp_last_step = Some(step);
        tx.save_subscriber(&row).await?;
        Ok(true)
    }
}
