//! The facts that a decision rests on: the gate, the person, and what is theirs.

use std::time::Duration;

use kavadam_domain::challenge::ChallengeState;
use kavadam_domain::plan::Plan;
use kavadam_domain::quota::Allowance;
use kavadam_domain::{Mac, MobileNumber, NasId, SessionId, Timestamp};
use kavadam_store::{ChallengeRow, DeviceRow, NasRow, SessionRow, SubscriberRow, TicketRow, Tx};

use crate::standing::load_standing;
use crate::{Access, AccessError};

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
    pub(super) async fn facts(
        &self,
        nas: &NasRow,
        subscriber: Option<&SubscriberRow>,
        now: Timestamp,
    ) -> Result<(GateFacts, Option<Person>), AccessError> {
        // Looked for before the transaction that others wait for.
        let ticket = match subscriber {
            Some(subscriber) => self.read_at_length().await?.last_ticket_of(subscriber.id).await?,
            None => None,
        };
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
            Some(subscriber) => Some(person(&mut tx, nas, subscriber, ticket, now).await?),
            None => None,
        };
        Ok((gate, person))
    }
}

async fn person(
    tx: &mut Tx,
    nas: &NasRow,
    subscriber: &SubscriberRow,
    ticket: Option<TicketRow>,
    now: Timestamp,
) -> Result<Person, AccessError> {
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
