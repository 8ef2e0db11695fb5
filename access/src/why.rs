//! Why somebody is let in or refused: the decision that would be taken now, and every fact it rests on.
//!
//! The verdicts come from the very function that answers gates ([`crate::admit`]), in a transaction that is then undone: an
//! explanation can never differ from what happens.

use std::time::Duration;

use kavadam_domain::challenge::ChallengeState;
use kavadam_domain::plan::Plan;
use kavadam_domain::quota::Allowance;
use kavadam_domain::{Limits, Mac, MobileNumber, NasId, Reason, SessionId, Timestamp};
use kavadam_store::{ChallengeRow, DeviceRow, NasRow, SessionRow, SubscriberRow, TicketRow, Tx};

use crate::admin::missing;
use crate::admit::{Asking, admit};
use crate::authorize::recognise;
use crate::standing::load_standing;
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

/// The gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateFacts {
    /// Its number.
    pub id: NasId,
    /// NAS-Identifier.
    pub name: String,
    /// Name of its site.
    pub site: String,
    /// Whether the site lets anybody in.
    pub is_site_open: bool,
    /// It renews its leases.
    pub is_renewing: bool,
    /// Its last well signed request, to within a minute.
    pub seen_at: Option<Timestamp>,
}

/// The person, and what is theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Number.
    pub number: MobileNumber,
    /// Opaque name on the wire.
    pub alias: String,
    /// Blocked by an administrator.
    pub is_blocked: bool,
    /// The plan in force at that gate.
    pub plan: Plan,
    /// It is the person's own, not the site's.
    pub is_own_plan: bool,
    /// The present period.
    pub allowance: Allowance,
    /// Until the next period.
    pub period_left: Option<Duration>,
    /// Sessions not ended.
    pub sessions: Vec<SessionFacts>,
    /// Devices.
    pub devices: Vec<DeviceFacts>,
    /// The last code at that site.
    pub code: Option<CodeFacts>,
    /// The last portal login that is still on record.
    pub ticket: Option<TicketFacts>,
}

/// A session that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFacts {
    /// Its number.
    pub id: SessionId,
    /// The device.
    pub mac: Option<Mac>,
    /// NAS-Identifier of its gate.
    pub nas: String,
    /// Where it stands.
    pub state: &'static str,
    /// When it was let in.
    pub granted_at: Timestamp,
    /// Last word of it.
    pub heard_at: Timestamp,
    /// Octets it was promised, from its start; none where it is not metered.
    pub granted_octets: Option<u64>,
    /// Octets it used, as reported.
    pub used_octets: u64,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Its address.
    pub mac: Mac,
    /// Until when it returns without a code.
    pub remembered_until: Option<Timestamp>,
    /// Its owner disconnected it.
    pub is_paused: bool,
    /// Last login or return.
    pub last_seen_at: Timestamp,
}

/// A code that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeFacts {
    /// When it was made.
    pub made_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Tries left.
    pub tries_left: u32,
    /// `pending`, `verified`, `spent`, `superseded`.
    pub state: &'static str,
    /// What became of the message: when the provider took it.
    pub sent_at: Option<Timestamp>,
}

/// A one-time login made by the portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketFacts {
    /// NAS-Identifier of its gate.
    pub nas: String,
    /// For which device.
    pub mac: Mac,
    /// Until when.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
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

    async fn facts(
        &self,
        nas: &NasRow,
        subscriber: Option<&SubscriberRow>,
        now: Timestamp,
    ) -> Result<(GateFacts, Option<Person>), AccessError> {
        // The present period is made to be looked at, and undone with the rest.
        let mut tx = self.write().await?;
        let site = tx.site(nas.site_id).await?.ok_or(AccessError::Inconsistent("site"))?;
        let gate = GateFacts {
            id: nas.id,
            name: nas.name.clone(),
            site: site.name.clone(),
            is_site_open: site.is_open,
            is_renewing: nas.is_renewing,
            seen_at: nas.last_seen_at,
        };
        let person = match subscriber {
            Some(subscriber) => Some(person(&mut tx, nas, subscriber, now).await?),
            None => None,
        };
        Ok((gate, person))
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

async fn person(tx: &mut Tx, nas: &NasRow, subscriber: &SubscriberRow, now: Timestamp) -> Result<Person, AccessError> {
    let standing = load_standing(tx, subscriber, nas.site_id, now).await?;
    let gates = tx.nases().await?;
    let name_of = |id| {
        let named = gates.iter().find(|nas| nas.id == id);
        named.map_or_else(|| "a gate that is gone".to_owned(), |nas| nas.name.clone())
    };
    let sessions = tx.live_sessions_of(subscriber.id).await?;
    let code = match tx.last_challenge_of(nas.site_id, &subscriber.number).await? {
        Some(row) => Some(code_facts(tx, &row).await?),
        None => None,
    };
    let ticket = tx.last_ticket_of(subscriber.id).await?;
    let devices = tx.devices(subscriber.id).await?;
    Ok(Person {
        number: subscriber.number.clone(),
        alias: subscriber.alias.clone(),
        is_blocked: subscriber.is_blocked,
        is_own_plan: subscriber.plan_id.is_some(),
        period_left: standing.plan.window(now)?.end.map(|end| end.since(now)),
        plan: Plan::clone(&standing.plan),
        allowance: standing.allowance,
        sessions: sessions
            .iter()
            .map(|session| session_facts(session, name_of(session.nas_id)))
            .collect(),
        devices: devices.iter().map(device_facts).collect(),
        code,
        ticket: ticket.map(|ticket| ticket_facts(&ticket, name_of(ticket.nas_id))),
    })
}

fn session_facts(session: &SessionRow, nas: String) -> SessionFacts {
    SessionFacts {
        id: session.id,
        mac: session.mac,
        nas,
        state: session.state.word(),
        granted_at: session.granted_at,
        heard_at: session.heard_at,
        granted_octets: session.lease_id.map(|_| session.granted_octets),
        used_octets: session.meter().total_octets(),
    }
}

fn device_facts(device: &DeviceRow) -> DeviceFacts {
    DeviceFacts {
        mac: device.mac,
        remembered_until: device.remembered_until,
        is_paused: device.is_paused,
        last_seen_at: device.last_seen_at,
    }
}

fn ticket_facts(ticket: &TicketRow, nas: String) -> TicketFacts {
    TicketFacts {
        nas,
        mac: ticket.mac,
        expires_at: ticket.expires_at,
        used_at: ticket.used_at,
    }
}

async fn code_facts(tx: &mut Tx, row: &ChallengeRow) -> Result<CodeFacts, AccessError> {
    let message = tx.sms_of(row.id).await?;
    Ok(CodeFacts {
        made_at: row.created_at,
        expires_at: row.expires_at,
        tries_left: row.tries_left,
        state: match row.state {
            ChallengeState::Pending => "pending",
            ChallengeState::Verified => "verified",
            ChallengeState::Spent => "spent",
            ChallengeState::Superseded => "superseded",
        },
        sent_at: message.and_then(|message| message.sent_at),
    })
}
