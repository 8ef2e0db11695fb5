//! The answer to an Access-Request.

use std::net::IpAddr;

use kavadam_domain::session::SessionState;
use kavadam_domain::{Language, Mac, Reason, SessionId, SiteId, Timestamp};
use kavadam_store::{NasRow, OrderKind, SessionRow, SubscriberRow, Tx, VendorRow};

use crate::account::without_nul;
use crate::admit::{Asking, BEHIND, admit};
use crate::ahead::set_right;
use crate::api::{AuthorizeRequest, Decision, Grant, Grounds, Proof, Seen, Service};
use crate::batch::{Answer, Question};
use crate::began::Asked;
use crate::ending::reopen;
use crate::find::{Found, find};
use crate::login;
use crate::password::language_of;
use crate::proof::{Proven, prove};
use crate::standing::load_standing;
use crate::ticket::ticket_id;
use crate::{Access, AccessError};

/// Whoever a request turned out to be from, or why it cannot be told; with the language to say so in.
pub(crate) type Identified = Result<(SubscriberRow, Option<SessionRow>), (Reason, Language)>;
/// Whoever logged in, with what their proof asks of us in turn; or why nobody did.
pub type LoggedIn = Result<(SubscriberRow, Proven), (Reason, Language)>;

impl Access {
    /// Decides an Access-Request: a login, the return of a remembered device, or a renewal.
    ///
    /// # Errors
    /// The database failed: the gate is to be left without an answer, so that it asks again.
    pub async fn authorize(&self, request: AuthorizeRequest, now: Timestamp) -> Result<Decision, AccessError> {
        match self.answer(vec![Question::Authorize(request)], now).await.pop() {
            Some(Ok(Answer::Decision(decision))) => Ok(decision),
            Some(Err(error)) => Err(error),
            Some(Ok(Answer::Accounted(_))) | None => Err(AccessError::Lost),
        }
    }

    /// Decides; the caller commits.
    pub(crate) async fn decide_request(
        &self,
        tx: &mut Tx,
        request: AuthorizeRequest,
        now: Timestamp,
    ) -> Result<Decision, AccessError> {
        let name = request.acct_session_id.map(without_nul);
        let request = AuthorizeRequest {
            acct_session_id: name.filter(|name| !name.is_empty()),
            ..request
        };
        let Some(nas) = tx.nas(request.nas).await? else {
            return Ok(refusal(Reason::BadCredential, Language::default()));
        };
        let mut proven = Proven::default();
        let identified = match &request.service {
            Service::Login(proof) => {
                let logged_in = Box::pin(self.log_in(tx, &request, &nas, proof, now)).await?;
                logged_in.map(|(subscriber, by)| {
                    proven = by;
                    (subscriber, None)
                })
            }
            Service::CallCheck => recognise(tx, request.mac, nas.site_id, now).await?,
            Service::Renewal => find_session(tx, &request, now).await?,
        };
        let (subscriber, existing) = match identified {
            Ok(found) => found,
            Err((reason, language)) => return Ok(refusal(reason, language)),
        };
        let abilities = self.settings().abilities_of(&nas.profile);
        let asking = match &existing {
            Some(session) => Asking::of(session, abilities),
            None => Asking {
                nas: request.nas,
                site: nas.site_id,
                mac: request.mac,
                ip: request.ip,
                acct_session_id: request.acct_session_id.clone(),
                is_renewable: nas.is_renewing && request.wants_cui,
                abilities,
            },
        };
        let outcome = admit(tx, &subscriber, &asking, existing, now).await?;
        let is_unnamed = asking.acct_session_id.is_none();
        // Of ours nothing but where a device is, if it says so; it names what it asks for.
        let is_to_be_kept = nas.is_vendors() || request.seen != Seen::default() || is_unnamed;
        if let Some(grant) = outcome.as_ref().ok().filter(|_| is_to_be_kept) {
            note_source(tx, grant, request.seen.from).await?;
            note_told(tx, grant, request.seen, is_unnamed.then_some(now)).await?;
        }
        let accept = |grant| {
            Decision::Accept(Grant {
                ms_chap2_success: proven.ms_chap2_success,
                ..grant
            })
        };
        match outcome {
            Ok(grant) => Ok(accept(grant)),
            Err(reason) => Ok(Decision::Reject {
                reason,
                message: reason.message(subscriber.language),
                grounds: Box::pin(grounds_of(tx, reason, &subscriber, &asking, now)).await?,
            }),
        }
    }

    async fn log_in(
        &self,
        tx: &mut Tx,
        request: &AuthorizeRequest,
        nas: &NasRow,
        proof: &Proof,
        now: Timestamp,
    ) -> Result<LoggedIn, AccessError> {
        if matches!(proof, Proof::MsChapV2(_)) && !nas.is_ms_chap_allowed {
            let number = request.user_name.parse().ok();
            let language = language_of(tx, nas.site_id, request.mac, number.as_ref()).await?;
            return Ok(Err((Reason::UnsupportedMethod, language)));
        }
        match ticket_id(&request.user_name) {
            Some(id) => self.redeem_ticket(tx, request, nas.site_id, &id, proof, now).await,
            None => self.log_in_by_number(tx, request, nas.site_id, proof, now).await,
        }
    }

    /// A ticket is good once, for a minute, for its device at its gate, and for the session that it was used for as long as its gate has not
    /// begun that: a second server may be asked while the first commits. Which of these failed is nobody's business. Only now is it known that
    /// the device is in the hand of whoever proved the number: it is remembered, where that was just now.
    async fn redeem_ticket(
        &self,
        tx: &mut Tx,
        request: &AuthorizeRequest,
        site: SiteId,
        id: &[u8; 16],
        proof: &Proof,
        now: Timestamp,
    ) -> Result<LoggedIn, AccessError> {
        let bad = Ok(Err((Reason::BadCredential, Language::default())));
        let Some(ticket) = tx.ticket(id).await? else { return bad };
        let owner = tx.subscriber(ticket.subscriber_id).await?;
        let language = owner.map_or_else(Language::default, |owner| owner.language);
        let fits = ticket.nas_id == request.nas && request.mac == Some(ticket.mac) && now < ticket.expires_at;
        let refused = Ok(Err((Reason::BadCredential, language)));
        let password = self.sealer().ticket_password(id);
        let Some(proven) = prove(proof, &request.user_name, &password).filter(|_| fits) else {
            return refused;
        };
        // Once, but for the same question again.
        let is_good =
            tx.use_ticket(id, now).await? || Box::pin(self.was_granted(tx, ticket.subscriber_id, request, now)).await?;
        if !is_good {
            return refused;
        }
        let subscriber = tx.lock_subscriber(ticket.subscriber_id).await?;
        // A code entered a second time gives a ticket as late as this.
        let is_fresh = |at: Timestamp| now.since(at) < 2 * self.settings().ticket_life;
        if subscriber.consent_at.is_some_and(is_fresh) {
            login::remember(tx, &subscriber, site, ticket.mac, now).await?;
        }
        Ok(Ok((subscriber, proven)))
    }
}

/// A device that logged in not long ago, and was not sent away by its owner.
pub(crate) async fn recognise(
    tx: &mut Tx,
    mac: Option<Mac>,
    site: SiteId,
    now: Timestamp,
) -> Result<Identified, AccessError> {
    let device = match mac {
        Some(mac) => tx.remembered_device(mac, now).await?,
        None => None,
    };
    match device.filter(|device| !device.is_paused) {
        Some(device) => Ok(Ok((tx.lock_subscriber(device.subscriber_id).await?, None))),
        None => Ok(Err((Reason::UnknownDevice, language_of(tx, site, mac, None).await?))),
    }
}

/// The session a renewal is for. One that is to end is not renewed.
async fn find_session(tx: &mut Tx, request: &AuthorizeRequest, now: Timestamp) -> Result<Identified, AccessError> {
    let unknown = Ok(Err((Reason::UnknownSession, Language::default())));
    let found = match find(tx, request.into()).await? {
        Found::Session(found) | Found::Renamed(found) => found,
        Found::Nothing => return unknown,
    };
    let subscriber = tx.lock_subscriber(found.subscriber).await?;
    // Read again under the lock: it may have ended meanwhile.
    let Some(mut session) = tx.session(found.id).await? else {
        return unknown;
    };
    set_right(&mut session, now);
    if reopen(tx, &mut session, now, now).await? {
        // Stands if the answer is no: whatever was decided meanwhile passed the session by.
        session.order(OrderKind::Change, now);
        tx.save_session(&session).await?;
    }
    if session.state == SessionState::Ended || session.order_action == Some(OrderKind::End) {
        return Ok(Err((Reason::UnknownSession, subscriber.language)));
    }
    // The answer carries the limits as they are now: no need to send them once more.
    session.settle_order();
    session.heard_at = now;
    Ok(Ok((subscriber, Some(session))))
}

/// Where a session is asked for, until its reports tell where it is: another than its gate may ask, as FreeRADIUS does for a supplicant.
async fn note_source(tx: &mut Tx, grant: &Grant, from: Option<IpAddr>) -> Result<(), AccessError> {
    if from.is_none() {
        return Ok(());
    }
    let session = tx.session(grant.session).await?;
    if let Some(mut session) = session.filter(|session| session.state == SessionState::Granted) {
        session.heard_from = from;
        tx.save_session(&session).await?;
    }
    Ok(())
}

/// Keeps what a gate is told and tells in its own words: at a vendor's, what changes later depends on it.
async fn note_told(tx: &mut Tx, grant: &Grant, seen: Seen, unnamed: Option<Timestamp>) -> Result<(), AccessError> {
    let known = tx.session_vendor(grant.session).await?;
    let mut row = known.clone().unwrap_or(VendorRow::of(grant.session));
    row.set_told(&grant.limits);
    row.handle = seen.handle.or(row.handle);
    row.nas_identifier = seen.calls.nas_identifier.or(row.nas_identifier);
    row.nas_ip = seen.calls.nas_ip.or(row.nas_ip);
    row.called_station_id = seen.calls.called_station_id.or(row.called_station_id);
    row.ssid = seen.ssid.or(row.ssid);
    row.access_point = seen.access_point.or(row.access_point);
    row.asked_at = match unnamed {
        Some(now) => asked_at(tx, grant.session, known.as_ref(), now).await?,
        None => None,
    };
    if known.as_ref() != Some(&row) {
        tx.save_session_vendor(&row).await?;
    }
    Ok(())
}

/// Since when a gate asks without a name for a session of which no report has shown yet what came of that. One not begun is asked for now: what
/// began before was upon another answer.
async fn asked_at(
    tx: &mut Tx,
    session: SessionId,
    known: Option<&VendorRow>,
    now: Timestamp,
) -> Result<Option<Timestamp>, AccessError> {
    let session = tx.session(session).await?.ok_or(AccessError::Inconsistent("session"))?;
    let asked =
        Asked::of(&session, known).filter(|asked| session.started_at.is_some() || now.since(asked.first) < BEHIND);
    Ok(Some(asked.map_or(now, |asked| asked.first)))
}

/// What the rule looked at: of somebody who is held, so that it is in memory.
async fn grounds_of(
    tx: &mut Tx,
    reason: Reason,
    subscriber: &SubscriberRow,
    asking: &Asking,
    now: Timestamp,
) -> Result<Grounds, AccessError> {
    let mut grounds = Grounds::default();
    match reason {
        Reason::TooManyDevices(_) => {
            let live = tx.live_sessions_of(subscriber.id).await?.into_iter();
            let others = live.filter(|session| session.mac.is_none() || session.mac != asking.mac);
            let online = others.map(|session| (session.mac, session.nas_id));
            grounds.online = online.take(Grounds::MOST).collect();
        }
        Reason::QuotaUsedUp(_) => {
            let standing = load_standing(tx, subscriber, asking.site, now).await?;
            grounds.allowance = Some(standing.allowance);
        }
        _ => {}
    }
    Ok(grounds)
}

fn refusal(reason: Reason, language: Language) -> Decision {
    Decision::Reject {
        reason,
        message: reason.message(language),
        grounds: Grounds::default(),
    }
}
