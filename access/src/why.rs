//! Why somebody is let in or refused: the decision that would be taken now, and every fact it rests on.
//!
//! The verdicts come from the very function that answers gates ([`crate::admit`]), in a transaction that is then undone: an
//! explanation can never differ from what happens.

mod facts;

use kavadam_domain::{Limits, Mac, MobileNumber, Reason, SessionId, Timestamp};
use kavadam_store::{NasRow, SessionRow, SubscriberRow, Tx};

pub use facts::{CodeFacts, DeviceFacts, GateFacts, Person, SessionFacts, TicketFacts};

use crate::admin::missing;
use crate::admit::{Asking, admit};
use crate::authorize::recognise;
use crate::{Access, AccessError};

/// Whom it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// A person.
    Number(MobileNumber),
    /// A device, whoever is behind it.
    Device(Mac),
    /// The person and the device of a session.
    Session(SessionId),
}

/// What would be answered now: limits, or the rule that refuses.
pub type Answer = Result<Limits, Reason>;

/// An explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// In front of which gate.
    pub gate: GateFacts,
    /// Who it is; nobody if the number or device never logged in here.
    pub person: Option<Person>,
    /// Which device, if one was named or seen.
    pub mac: Option<Mac>,
    /// To a login with the right code, or a right portal login.
    pub login: Option<Answer>,
    /// To the device, returning without a page.
    pub comeback: Option<Answer>,
}

impl Access {
    /// Explains what a gate would be answered about somebody now. `gate` is a NAS-Identifier; without, it is the one where they are or were last
    /// online, else the only one there is. Changes nothing but the audit, which says who asked.
    ///
    /// # Errors
    /// There is no such gate or session, it takes a gate's name to tell, or the service is out of order.
    pub async fn explain(
        &self,
        whom: &Whom,
        gate: Option<&str>,
        actor: &str,
        now: Timestamp,
    ) -> Result<Why, AccessError> {
        let mut tx = self.read().await?;
        let found = Found::look(&mut tx, whom).await?;
        let nas = choose_gate(&mut tx, gate, found.subscriber.as_ref(), found.session.as_ref()).await?;
        drop(tx);
        let (gate, person) = self.facts(&nas, found.subscriber.as_ref(), now).await?;
        let mut why = Why {
            gate,
            person,
            mac: found.mac,
            login: None,
            comeback: None,
        };
        if let Some(subscriber) = &found.subscriber {
            why.login = Some(self.rehearse(&nas, subscriber, found.mac, now).await?);
        }
        if let Some(mac) = found.mac {
            why.comeback = Some(self.rehearse_return(&nas, mac, now).await?);
        }
        let (whose, detail) = (whom.audited(), format!("at {}", nas.name));
        let mut tx = self.write().await?;
        tx.record_audit(actor, "subscriber.why", &whose, &detail, now).await?;
        tx.commit().await?;
        Ok(why)
    }

    /// Takes the decision on a login whose proof is right, and undoes it.
    async fn rehearse(
        &self,
        nas: &NasRow,
        subscriber: &SubscriberRow,
        mac: Option<Mac>,
        now: Timestamp,
    ) -> Result<Answer, AccessError> {
        let mut tx = self.write().await?;
        let subscriber = tx.lock_subscriber(subscriber.id).await?;
        self.judge(&mut tx, nas, &subscriber, mac, now).await
    }

    /// Likewise on a device that returns.
    async fn rehearse_return(&self, nas: &NasRow, mac: Mac, now: Timestamp) -> Result<Answer, AccessError> {
        let mut tx = self.write().await?;
        match recognise(&mut tx, Some(mac), nas.site_id, now).await? {
            Ok((subscriber, _)) => self.judge(&mut tx, nas, &subscriber, Some(mac), now).await,
            Err((reason, _)) => Ok(Err(reason)),
        }
    }

    async fn judge(
        &self,
        tx: &mut Tx,
        nas: &NasRow,
        subscriber: &SubscriberRow,
        mac: Option<Mac>,
        now: Timestamp,
    ) -> Result<Answer, AccessError> {
        let asking = Asking {
            nas: nas.id,
            site: nas.site_id,
            mac,
            ip: None,
            acct_session_id: None,
            is_renewable: nas.is_renewing,
            abilities: self.settings().abilities_of(&nas.profile),
        };
        // A device that is online asks anew; its session must not hide what a newcomer would be told.
        let granted = admit(tx, subscriber, &asking, None, now).await?;
        Ok(granted.map(|grant| grant.limits))
    }
}

/// Whom it is about, as far as the record goes.
struct Found {
    subscriber: Option<SubscriberRow>,
    mac: Option<Mac>,
    session: Option<SessionRow>,
}

impl Found {
    async fn look(tx: &mut Tx, whom: &Whom) -> Result<Self, AccessError> {
        match whom {
            Whom::Number(number) => {
                let subscriber = tx.subscriber_numbered(number).await?;
                let mut devices = match &subscriber {
                    Some(subscriber) => tx.devices(subscriber.id).await?,
                    None => Vec::new(),
                };
                devices.sort_by_key(|device| device.last_seen_at);
                Ok(Self {
                    subscriber,
                    mac: devices.last().map(|device| device.mac),
                    session: None,
                })
            }
            Whom::Device(mac) => {
                let last = tx.devices_with(*mac).await?.into_iter().next();
                let subscriber = match last {
                    Some(device) => tx.subscriber(device.subscriber_id).await?,
                    None => None,
                };
                Ok(Self {
                    subscriber,
                    mac: Some(*mac),
                    session: None,
                })
            }
            Whom::Session(id) => {
                let session = tx.session(*id).await?;
                let session = session.ok_or_else(|| missing("session", &id.to_string()))?;
                Ok(Self {
                    subscriber: tx.subscriber(session.subscriber_id).await?,
                    mac: session.mac,
                    session: Some(session),
                })
            }
        }
    }
}

impl Whom {
    /// In the audit a person stands under the number, as in its other entries; a device under what can be told of it in a list.
    fn audited(&self) -> String {
        match self {
            Self::Number(number) => number.digits().to_owned(),
            Self::Device(mac) => mac.masked(),
            Self::Session(id) => id.to_string(),
        }
    }
}

async fn choose_gate(
    tx: &mut Tx,
    named: Option<&str>,
    subscriber: Option<&SubscriberRow>,
    session: Option<&SessionRow>,
) -> Result<NasRow, AccessError> {
    let mut known = tx.nases().await?;
    if let Some(name) = named {
        let found = known.into_iter().find(|nas| nas.name == name);
        return found.ok_or_else(|| missing("gate", name));
    }
    let mut last = session.map(|session| session.nas_id);
    if let (None, Some(subscriber)) = (last, subscriber) {
        let live = tx.live_sessions_of(subscriber.id).await?.pop();
        let there = match live {
            Some(session) => Some(session),
            None => tx.last_session_of(subscriber.id).await?,
        };
        last = there.map(|session| session.nas_id);
    }
    if let Some(at) = known.iter().position(|nas| Some(nas.id) == last) {
        return Ok(known.swap_remove(at));
    }
    if known.len() == 1
        && let Some(only) = known.pop()
    {
        return Ok(only);
    }
    Err(AccessError::Invalid(
        "at which gate? They were online at none that is still known: name one with --gate".to_owned(),
    ))
}
