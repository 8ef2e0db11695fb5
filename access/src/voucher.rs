//! Vouchers: printed codes worth octets or a plan. Only a keyed digest of a code is stored.

use std::fmt;
use std::time::Duration;

use data_encoding::Specification;
use kavadam_domain::challenge::Rate;
use kavadam_domain::{MobileNumber, Reason, SiteId, Timestamp};
use kavadam_store::{NewVoucher, OrderKind, SubscriberRow, Tx, VoucherRow};
use zeroize::Zeroizing;

use crate::admin::missing;
use crate::api::{Verified, Visit};
use crate::standing::load_standing;
use crate::step::holder;
use crate::{Access, AccessError};

/// Digits and letters that nobody takes for one another: no 0, O, 1, I, L or U.
const ALPHABET: &str = "23456789ABCDEFGHJKMNPQRSTVWXYZ+/";
/// Letters of a code: 60 bits, too many to guess.
const CODE_LETTERS: usize = 12;
/// Codes a device may try.
pub(crate) const TRIES: Rate = Rate {
    most: 10,
    within: Duration::from_mins(10),
};
/// Most vouchers made in one go.
const MOST: u32 = 10_000;

/// What a voucher gives: octets for the present period, a plan from then on, or both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Worth<'a> {
    /// 1 MiB or more.
    pub octets: Option<u64>,
    /// By its name.
    pub plan: Option<&'a str>,
}

impl Worth<'_> {
    /// Octets alone.
    #[must_use]
    pub const fn octets(octets: u64) -> Self {
        Self {
            octets: Some(octets),
            plan: None,
        }
    }

    fn check(&self) -> Result<(), AccessError> {
        let is_wrong = |octets| !((1 << 20)..(1 << 60)).contains(&octets);
        let complaint = match self {
            Self {
                octets: None,
                plan: None,
            } => "vouchers: say what each is worth, in octets, a plan or both",
            Self {
                octets: Some(octets), ..
            } if is_wrong(*octets) => "vouchers: each of 1 MiB or more",
            _ => return Ok(()),
        };
        Err(AccessError::Invalid(complaint.to_owned()))
    }
}

impl fmt::Display for Worth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.octets, self.plan) {
            (Some(octets), Some(plan)) => write!(f, "{octets} octets and the plan {plan}"),
            (Some(octets), None) => write!(f, "{octets} octets"),
            (None, plan) => write!(f, "the plan {}", plan.unwrap_or_default()),
        }
    }
}

impl Access {
    /// Makes vouchers and tells their codes, the only time they can be read.
    ///
    /// # Errors
    /// The numbers make no sense, there is no such plan, or the service is out of order; then none was made.
    pub async fn create_vouchers(
        &self,
        count: u32,
        worth: Worth<'_>,
        label: &str,
        expires_at: Option<Timestamp>,
        actor: &str,
        now: Timestamp,
    ) -> Result<Vec<Zeroizing<String>>, AccessError> {
        worth.check()?;
        if !(1..=MOST).contains(&count) {
            return Err(AccessError::Invalid(format!("vouchers: make 1 to {MOST} at once")));
        }
        let mut tx = self.write().await?;
        let plan_id = match worth.plan {
            Some(name) => Some(tx.plan_named(name).await?.ok_or_else(|| missing("plan", name))?.id),
            None => None,
        };
        let mut codes = Vec::new();
        for _ in 0..count {
            let code = fresh_code()?;
            let code_hash = self.sealer().digest("voucher", code.as_bytes());
            let new = NewVoucher {
                code_hash,
                label: label.to_owned(),
                octets: worth.octets,
                plan_id,
                expires_at,
            };
            tx.add_voucher(&new, now).await?;
            codes.push(code);
        }
        tx.record_audit(actor, "voucher.create", label, &format!("{count} of {worth}"), now)
            .await?;
        tx.commit().await?;
        Ok(codes)
    }

    /// Gives what a voucher is worth (octets for the present period, a plan, or both) to whoever holds the device, and lets the device in. A
    /// code that was wrong counts as a try; what cannot be used by this person now is not used up. Who sends it again within a minute is let in
    /// and given nothing more: a second tap, or an answer that was lost.
    ///
    /// # Errors
    /// The service is out of order; the voucher is as it was.
    pub async fn redeem_voucher(&self, visit: &Visit, code: &str, now: Timestamp) -> Result<Verified, AccessError> {
        let mut tx = self.write_form().await?;
        if let Some(wait) = self.try_voucher(&mut tx, visit.mac, now).await? {
            return Ok(Verified::Refused(Reason::TooMany(wait)));
        }
        let Some((holder, _)) = holder(&mut tx, visit, now).await? else {
            return Ok(Verified::Refused(Reason::UnknownDevice));
        };
        let site = tx.site(visit.site).await?.ok_or(AccessError::Inconsistent("site"))?;
        if !site.is_open {
            return Ok(Verified::Refused(Reason::SiteClosed));
        }
        let subscriber = tx.lock_subscriber(holder).await?;
        if subscriber.is_blocked {
            return Ok(Verified::Refused(Reason::Blocked));
        }
        let is_taken = match normalise(code) {
            Some(code) => {
                let hash = self.sealer().digest("voucher", code.as_bytes());
                self.take_voucher(&mut tx, subscriber, &hash, visit.site, now).await?
            }
            None => false,
        };
        if !is_taken {
            tx.commit().await?;
            return Ok(Verified::Refused(Reason::BadVoucher));
        }
        tx.pause_device(holder, visit.mac, false).await?;
        let verified = self.give_ticket(tx, holder, visit, now).await?;
        self.wake_orders();
        Ok(verified)
    }

    /// The same for whoever gives the number with the voucher, where no code is sent that would prove it: the voucher is the number's, as at a gate
    /// that has a page of its own.
    ///
    /// # Errors
    /// The service is out of order; the voucher is as it was.
    pub async fn redeem_voucher_for(
        &self,
        visit: &Visit,
        number: &str,
        has_consent: bool,
        code: &str,
        now: Timestamp,
    ) -> Result<Verified, AccessError> {
        let Ok(number) = number.parse::<MobileNumber>() else {
            return Ok(Verified::Refused(Reason::InvalidNumber));
        };
        if !has_consent {
            return Ok(Verified::Refused(Reason::NoConsent));
        }
        let Some(code) = normalise(code) else {
            return Ok(Verified::Refused(Reason::BadVoucher));
        };
        let mut tx = self.write_form().await?;
        if !visit.is_seen
            && let Some(wait) = self.try_voucher(&mut tx, visit.mac, now).await?
        {
            return Ok(Verified::Refused(Reason::TooMany(wait)));
        }
        let mut subscriber = match self.log_in_by_voucher(&mut tx, visit, number, &code, now).await? {
            Ok((subscriber, _)) => subscriber,
            Err((reason, _)) => {
                tx.commit().await?;
                return Ok(Verified::Refused(reason));
            }
        };
        subscriber.language = visit.language;
        subscriber.consent_at = Some(now);
        tx.save_subscriber(&subscriber).await?;
        let verified = self.give_ticket(tx, subscriber.id, visit, now).await?;
        self.wake_orders();
        Ok(verified)
    }
}

pub(crate) async fn apply(
    tx: &mut Tx,
    mut subscriber: SubscriberRow,
    voucher: &VoucherRow,
    site: SiteId,
    now: Timestamp,
) -> Result<(), AccessError> {
    if voucher.plan_id.is_some() {
        subscriber.plan_id = voucher.plan_id;
        tx.save_subscriber(&subscriber).await?;
    }
    if let Some(octets) = voucher.octets {
        let standing = load_standing(tx, &subscriber, site, now).await?;
        tx.top_up(standing.entitlement.id, octets).await?;
    }
    // Sessions that were slowed, or hold the last of the quota, hear of it at once.
    for mut session in tx.live_sessions_of(subscriber.id).await? {
        session.order(OrderKind::Change, now);
        tx.save_session(&session).await?;
    }
    Ok(())
}

fn fresh_code() -> Result<Zeroizing<String>, AccessError> {
    let mut specification = Specification::new();
    specification.symbols.push_str(ALPHABET);
    let encoding = specification
        .encoding()
        .map_err(|error| AccessError::Invalid(error.to_string()))?;
    loop {
        let text = Zeroizing::new(encoding.encode(&rand::random::<[u8; 15]>()));
        // Two of the 32 symbols are not for print.
        let code: String = text
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(CODE_LETTERS)
            .collect();
        if code.len() == CODE_LETTERS {
            return Ok(Zeroizing::new(code));
        }
    }
}

/// Forgives case, spaces and dashes.
pub(crate) fn normalise(code: &str) -> Option<Zeroizing<String>> {
    let letters = code.chars().filter(|c| !matches!(c, ' ' | '-')).take(CODE_LETTERS + 1);
    let code: String = letters.map(|c| c.to_ascii_uppercase()).collect();
    let fits = code.len() == CODE_LETTERS && code.chars().all(|c| c.is_ascii_alphanumeric() && ALPHABET.contains(c));
    fits.then(|| Zeroizing::new(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_code_survives_being_typed() {
        for _ in 0..200 {
            let code = fresh_code().unwrap();
            let (one, rest) = code.split_at(4);
            assert_eq!(
                normalise(&format!("{}-{rest}", one.to_lowercase())).as_ref(),
                Some(&code)
            );
        }
    }

    #[test]
    fn what_cannot_be_a_code_is_refused() {
        for code in [
            "",
            "2345",
            "2345 6789 ABC0",
            "2345 6789 ABCD E",
            "++++////++++",
            "ക",
            &"2".repeat(1_000_000),
        ] {
            assert_eq!(normalise(code), None);
        }
    }
}
