//! Logins by number at a controller with a page of its own: User-Name is the number, the password a one-time code, the code of an
//! authenticator app, or that of a voucher.

use std::time::Duration;

use kavadam_domain::challenge::{self, ChallengeState, Rate};
use kavadam_domain::{Language, Mac, MobileNumber, Reason, SiteId, SubscriberId, Timestamp};
use kavadam_store::{ChallengeRow, SubscriberRow, Tx, VoucherRow};

use crate::api::{AuthorizeRequest, Proof, Visit};
use crate::authorize::LoggedIn;
use crate::login::{self, Limit, longest_wait, welcome};
use crate::proof::{Proven, prove};
use crate::{Access, AccessError, voucher};

/// Codes of an authenticator app that may be tried for a number while no message's code is pending, whose own tries count otherwise.
const AUTHENTICATOR_TRIES: [Rate; 2] = [
    Rate {
        most: 5,
        within: Duration::from_mins(10),
    },
    Rate {
        most: 30,
        within: Duration::from_hours(24),
    },
];

/// Who asks, and where.
struct Person {
    number: MobileNumber,
    site: SiteId,
    mac: Option<Mac>,
}

/// Who asks, and with what.
struct Caller<'a> {
    person: Person,
    user_name: &'a str,
    proof: &'a Proof,
}

impl Access {
    pub(crate) async fn log_in_by_number(
        &self,
        tx: &mut Tx,
        request: &AuthorizeRequest,
        site: SiteId,
        proof: &Proof,
        now: Timestamp,
    ) -> Result<LoggedIn, AccessError> {
        let Ok(number) = request.user_name.parse::<MobileNumber>() else {
            let language = language_of(tx, site, request.mac, None).await?;
            return Ok(Err((Reason::InvalidNumber, language)));
        };
        let caller = Caller {
            person: Person {
                number,
                site,
                mac: request.mac,
            },
            user_name: &request.user_name,
            proof,
        };
        let person = &caller.person;
        if let Proof::Pap(password) = proof
            && let Some(code) = voucher::normalise(&String::from_utf8_lossy(password))
        {
            return self.spend_voucher(tx, person, &code, now).await;
        }
        let last = match tx.last_challenge_of(site, &person.number).await? {
            Some(found) => tx.lock_challenge(found.id).await?,
            None => None,
        };
        match last {
            Some(row) if row.challenge().is_open(now) => self.check_code(tx, &caller, &row, now).await,
            Some(row) if row.state == ChallengeState::Verified => {
                match self.code_again(tx, &caller, &row, request, now).await? {
                    Some(logged_in) => Ok(Ok(logged_in)),
                    None => self.check_authenticator(tx, &caller, Some(&row), now).await,
                }
            }
            last => self.check_authenticator(tx, &caller, last.as_ref(), now).await,
        }
    }

    /// While a code is pending: that, or the one of the number's app. Each counts as one of the code's tries.
    async fn check_code(
        &self,
        tx: &mut Tx,
        caller: &Caller<'_>,
        row: &ChallengeRow,
        now: Timestamp,
    ) -> Result<LoggedIn, AccessError> {
        let code = challenge::code(self.sealer().code_secret(&row.public_id).as_slice());
        let (entered, proven) = self.entered(tx, caller, Some(code), now).await?;
        if let Err(reason) = self.enter_code(tx, row, &entered, now).await? {
            return Ok(Err((reason, row.language)));
        }
        let subscriber = welcome(tx, row, caller.person.mac.unwrap_or(row.mac), now).await?;
        Ok(Ok((tx.lock_subscriber(subscriber.id).await?, proven)))
    }

    /// A code that was spent on that very session a moment ago is no second entry: another server was asked the same.
    async fn code_again(
        &self,
        tx: &mut Tx,
        caller: &Caller<'_>,
        row: &ChallengeRow,
        request: &AuthorizeRequest,
        now: Timestamp,
    ) -> Result<Option<(SubscriberRow, Proven)>, AccessError> {
        let code = challenge::code(self.sealer().code_secret(&row.public_id).as_slice());
        let Some(proven) = prove(caller.proof, caller.user_name, &code) else {
            return Ok(None);
        };
        // Its consent is of when the code was spent.
        let is_fresh = |at: Timestamp| now.since(at) < self.settings().ticket_life;
        let found = tx.subscriber_numbered(&caller.person.number).await?;
        let Some(subscriber) = found.filter(|subscriber| subscriber.consent_at.is_some_and(is_fresh)) else {
            return Ok(None);
        };
        if !self.was_granted(tx, subscriber.id, request, now).await? {
            return Ok(None);
        }
        Ok(Some((tx.lock_subscriber(subscriber.id).await?, proven)))
    }

    /// While no code is pending: the app alone, if the number has one. `last` is the number's last code, to say what became of it.
    async fn check_authenticator(
        &self,
        tx: &mut Tx,
        caller: &Caller<'_>,
        last: Option<&ChallengeRow>,
        now: Timestamp,
    ) -> Result<LoggedIn, AccessError> {
        let known = tx.subscriber_numbered(&caller.person.number).await?;
        let language = match (&known, last) {
            (Some(subscriber), _) => subscriber.language,
            (None, Some(row)) => row.language,
            (None, None) => language_of(tx, caller.person.site, caller.person.mac, None).await?,
        };
        let Some(subscriber) = known.filter(|known| known.totp_sealed.is_some()) else {
            let past = last.and_then(|row| row.challenge().enter("", &[], now).1.err());
            return Ok(Err((past.unwrap_or(Reason::BadCredential), language)));
        };
        let limit = Limit {
            kind: "authenticator",
            key: self
                .sealer()
                .digest("authenticator-try", caller.person.number.digits().as_bytes()),
            rates: AUTHENTICATOR_TRIES.to_vec(),
        };
        if let Some(wait) = self.try_once(tx, &[limit], now).await? {
            return Ok(Err((Reason::TooMany(wait), language)));
        }
        let (entered, proven) = self.entered(tx, caller, None, now).await?;
        if !self
            .takes_authenticator(tx, &caller.person.number, &entered, now)
            .await?
        {
            return Ok(Err((Reason::BadCredential, language)));
        }
        let subscriber = tx.lock_subscriber(subscriber.id).await?;
        if let Some(mac) = caller.person.mac {
            login::remember(tx, &subscriber, caller.person.site, mac, now).await?;
        }
        Ok(Ok((subscriber, proven)))
    }

    /// The code behind a proof. CHAP and MS-CHAP tell only whether it is one of those that it could be: anything else is a code that
    /// cannot be right.
    async fn entered(
        &self,
        tx: &mut Tx,
        caller: &Caller<'_>,
        code: Option<String>,
        now: Timestamp,
    ) -> Result<(String, Proven), AccessError> {
        if let Proof::Pap(password) = caller.proof {
            return Ok((String::from_utf8_lossy(password).into_owned(), Proven::default()));
        }
        let shown = self.authenticator_codes(tx, &caller.person.number, now).await?;
        let candidates = code.into_iter().chain(shown.iter().map(|code| code.to_string()));
        let found = candidates
            .into_iter()
            .find_map(|code| Some((prove(caller.proof, caller.user_name, &code)?, code)));
        Ok(found.map_or_else(Default::default, |(proven, code)| (code, proven)))
    }

    /// A voucher typed on a page together with the number. Where the device was not seen, its own limit is the caller's to keep.
    pub(crate) async fn log_in_by_voucher(
        &self,
        tx: &mut Tx,
        visit: &Visit,
        number: MobileNumber,
        code: &str,
        now: Timestamp,
    ) -> Result<LoggedIn, AccessError> {
        let person = Person {
            number,
            site: visit.site,
            mac: visit.is_seen.then_some(visit.mac),
        };
        self.spend_voucher(tx, &person, code, now).await
    }

    /// A voucher as password is redeemed for the number, once, within the limits of the page for the device, and the same for the number.
    /// Who sends it again within a minute is let in and given nothing more: the answer may have been lost.
    async fn spend_voucher(
        &self,
        tx: &mut Tx,
        person: &Person,
        code: &str,
        now: Timestamp,
    ) -> Result<LoggedIn, AccessError> {
        let language = language_of(tx, person.site, person.mac, Some(&person.number)).await?;
        let limits = self.voucher_limits(person);
        if let Some(wait) = self.try_once(tx, &limits, now).await? {
            return Ok(Err((Reason::TooMany(wait), language)));
        }
        let hash = self.sealer().digest("voucher", code.as_bytes());
        let holder = tx.subscriber_numbered(&person.number).await?.map(|known| known.id);
        let found = tx.voucher_coded(&hash).await?;
        if !found.is_some_and(|voucher| self.is_good_for(&voucher, holder, now)) {
            return Ok(Err((Reason::BadVoucher, language)));
        }
        let site = tx.site(person.site).await?.ok_or(AccessError::Inconsistent("site"))?;
        if !site.is_open {
            return Ok(Err((Reason::SiteClosed, language)));
        }
        let alias = login::fresh_alias();
        let made = tx.ensure_subscriber(&person.number, &alias, language, now).await?;
        let subscriber = tx.lock_subscriber(made.id).await?;
        if subscriber.is_blocked {
            return Ok(Err((Reason::Blocked, language)));
        }
        if !self.take_voucher(tx, subscriber, &hash, person.site, now).await? {
            return Ok(Err((Reason::BadVoucher, language)));
        }
        // Read again: the voucher may have changed the plan.
        let subscriber = tx.lock_subscriber(made.id).await?;
        if let Some(mac) = person.mac {
            login::remember(tx, &subscriber, person.site, mac, now).await?;
        }
        Ok(Ok((subscriber, Proven::default())))
    }

    /// Unused and not expired, or used by this subscriber just now.
    fn is_good_for(&self, voucher: &VoucherRow, holder: Option<SubscriberId>, now: Timestamp) -> bool {
        match voucher.used_at {
            None => voucher.expires_at.is_none_or(|expires_at| now < expires_at),
            Some(used_at) => {
                holder.is_some() && voucher.used_by == holder && now.since(used_at) < self.settings().ticket_life
            }
        }
    }

    /// Uses a voucher up and gives what it is worth; nothing more to who used it just now. `false` if it is no good, or somebody else's.
    pub(crate) async fn take_voucher(
        &self,
        tx: &mut Tx,
        subscriber: SubscriberRow,
        hash: &[u8; 32],
        site: SiteId,
        now: Timestamp,
    ) -> Result<bool, AccessError> {
        let holder = subscriber.id;
        let Some(voucher) = tx.use_voucher(hash, holder, now).await? else {
            let found = tx.voucher_coded(hash).await?;
            return Ok(found.is_some_and(|voucher| self.is_good_for(&voucher, Some(holder), now)));
        };
        voucher::apply(tx, subscriber, &voucher, site, now).await?;
        self.wake_orders();
        Ok(true)
    }

    /// Counts a try of a device with a voucher, or tells how long to wait for the next.
    pub(crate) async fn try_voucher(
        &self,
        tx: &mut Tx,
        mac: Mac,
        now: Timestamp,
    ) -> Result<Option<Duration>, AccessError> {
        self.try_once(tx, &[self.voucher_limit(&mac.to_string())], now).await
    }

    /// In a fixed order, since each key is locked until the commit.
    fn voucher_limits(&self, person: &Person) -> Vec<Limit> {
        let device = person.mac.map(|mac| self.voucher_limit(&mac.to_string()));
        let number = self.voucher_limit(person.number.digits());
        device.into_iter().chain([number]).collect()
    }

    fn voucher_limit(&self, key: &str) -> Limit {
        Limit {
            kind: "voucher",
            key: self.sealer().digest("voucher-try", key.as_bytes()),
            rates: vec![voucher::TRIES],
        }
    }

    /// Counts a try, or tells how long to wait for the next.
    pub(crate) async fn try_once(
        &self,
        tx: &mut Tx,
        limits: &[Limit],
        now: Timestamp,
    ) -> Result<Option<Duration>, AccessError> {
        let wait = longest_wait(tx, limits, now).await?;
        if wait.is_none() {
            for limit in limits {
                tx.record_attempt(limit.kind, &limit.key, now).await?;
            }
        }
        Ok(wait)
    }

    /// What somebody is to be told in whom no rule has looked at: their request could not be read.
    ///
    /// # Errors
    /// The database failed.
    pub async fn language_at(&self, site: SiteId, mac: Option<Mac>, user_name: &str) -> Result<Language, AccessError> {
        let mut tx = self.read().await?;
        language_of(&mut tx, site, mac, user_name.parse().ok().as_ref()).await
    }
}

/// What a refusal is to be said in: the language of the number's subscriber, else of whoever had the device last, else of the device's last
/// code, else the service's own.
pub async fn language_of(
    tx: &mut Tx,
    site: SiteId,
    mac: Option<Mac>,
    number: Option<&MobileNumber>,
) -> Result<Language, AccessError> {
    if let Some(number) = number
        && let Some(subscriber) = tx.subscriber_numbered(number).await?
    {
        return Ok(subscriber.language);
    }
    let Some(mac) = mac else { return Ok(Language::default()) };
    if let Some(session) = tx.last_session_of_device(site, mac).await?
        && let Some(subscriber) = tx.subscriber(session.subscriber_id).await?
    {
        return Ok(subscriber.language);
    }
    let challenge = tx.last_challenge(site, mac).await?;
    Ok(challenge.map_or_else(Language::default, |row| row.language))
}
